#include "sensor/sink_http.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/jsonw.h"
#include "common/time.h"

#define PATH            "/api/ingest"
#define BODY_MAX        (SINK_HTTP_BATCH_BYTES + 2 * SPOOL_ENTRY_MAX + 65536)
#define TIMEOUT_S       30L
#define CONNECT_S       5L
#define RETRY_AFTER_MAX 300

struct sink_http {
    struct sink base;
    const struct sink_conf *conf;
    struct buf body;
    struct jsonw json; /* of the body */
    CURLM *multi;
    CURL *easy;
    struct curl_slist *headers;
    struct buf answer;
    size_t alerts; /* of the batch */
    bool is_global;
    char error[CURL_ERROR_SIZE];
};

/* ---------------------------------------------------------------- settings */

struct address {
    char *scheme, *host, *user, *path;
};

static void address_done(struct address *a)
{
    curl_free(a->scheme);
    curl_free(a->host);
    curl_free(a->user);
    curl_free(a->path);
}

static bool address_parse(const char *url, struct address *a)
{
    CURLU *u = curl_url();
    bool good = u != NULL && curl_url_set(u, CURLUPART_URL, url, 0) == CURLUE_OK &&
                curl_url_get(u, CURLUPART_SCHEME, &a->scheme, 0) == CURLUE_OK &&
                curl_url_get(u, CURLUPART_HOST, &a->host, 0) == CURLUE_OK &&
                curl_url_get(u, CURLUPART_PATH, &a->path, 0) == CURLUE_OK;

    if (good)
        (void)curl_url_get(u, CURLUPART_USER, &a->user, 0);
    curl_url_cleanup(u);
    return good;
}

static bool is_loopback(const char *host)
{
    struct in_addr v4;

    return strcasecmp(host, "localhost") == 0 || strcmp(host, "[::1]") == 0 ||
           (inet_pton(AF_INET, host, &v4) == 1 && ntohl(v4.s_addr) >> 24 == 127);
}

static int check_address(const struct sink_conf *conf, const struct address *a, struct err *e)
{
    const bool is_plain = strcasecmp(a->scheme, "http") == 0;

    if (!is_plain && strcasecmp(a->scheme, "https") != 0)
        return err_set(e, -EINVAL, "uplink.url: '%s' is neither https nor http", a->scheme);
    if (a->user != NULL)
        return err_set(e, -EINVAL,
                       "uplink.url: no user or password here; the key goes into "
                       "uplink.key_file");
    if (strcmp(a->path, "/") != 0)
        return err_set(e, -EINVAL, "uplink.url: only scheme, host and port: 'https://host:8443'");
    if (is_plain && !is_loopback(a->host) && !conf->insecure)
        return err_set(e, -EINVAL,
                       "uplink.url: plain http to '%s' would show the key to the network; use "
                       "https, or set uplink.insecure: yes",
                       a->host);
    return 0;
}

int sink_conf_check(const struct sink_conf *conf, struct err *e)
{
    struct address a = {0};
    int r;

    if (conf->url[0] == '\0')
        return 0;
    if (address_parse(conf->url, &a))
        r = check_address(conf, &a, e);
    else
        r = err_set(e, -EINVAL, "uplink.url: '%s' is not a URL", conf->url);
    address_done(&a);
    if (r < 0)
        return r;
    if (strncmp(conf->key, "wind_", 5) != 0)
        return err_set(e, -EINVAL,
                       "uplink.key_file: a key begins with 'wind_'; the collector "
                       "makes one with --create-key NAME --scope ingest");
    for (const char *c = conf->key; *c != '\0'; c++)
        if (*c <= ' ' || *c > '~')
            return err_set(e, -EINVAL, "uplink.key_file: a key has letters and digits only");
    if (conf->ca_file[0] != '\0' && access(conf->ca_file, R_OK) != 0)
        return err_set(e, -errno, "uplink.ca_file '%s': %s", conf->ca_file, strerror(errno));
    return 0;
}

int sink_key_load(struct sink_conf *conf, const char *path, struct err *e)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    char text[sizeof(conf->key) + 2];

    if (fd < 0)
        return err_set(e, -errno, "uplink.key_file '%s': %s", path, strerror(errno));
    const ssize_t n = read(fd, text, sizeof(text) - 1);
    (void)close(fd);
    if (n < 0)
        return err_set(e, -EIO, "uplink.key_file '%s': cannot be read", path);
    text[n] = '\0';
    text[strcspn(text, " \t\r\n")] = '\0';
    if (text[0] == '\0' || strlen(text) >= sizeof(conf->key))
        return err_set(e, -EINVAL, "uplink.key_file '%s': not one line with a key", path);
    memcpy(conf->key, text, strlen(text) + 1);
    explicit_bzero(text, sizeof(text));
    return 0;
}

/* ---------------------------------------------------------------- connection */

static size_t take_answer(char *data, size_t size, size_t n, void *arg)
{
    struct buf *answer = arg;

    buf_put(answer, data, size * n);
    return answer->failed ? 0 : size * n; /* 0: give up */
}

static bool add_header(struct sink_http *s, const char *text)
{
    struct curl_slist *more = curl_slist_append(s->headers, text);

    if (more != NULL)
        s->headers = more;
    return more != NULL;
}

static bool add_headers(struct sink_http *s, const struct sink_conf *conf)
{
    char key[sizeof(conf->key) + 16];

    (void)snprintf(key, sizeof(key), "X-API-Key: %s", conf->key);
    const bool good = add_header(s, key) && add_header(s, "Content-Type: application/json") &&
                      add_header(s, "Expect:");
    explicit_bzero(key, sizeof(key));
    return good;
}

static bool set_options(struct sink_http *s, const struct sink_conf *conf)
{
    char url[sizeof(conf->url) + sizeof(PATH)];
    size_t n = strlen(conf->url);
    const bool is_plain = strncasecmp(conf->url, "https:", 6) != 0;

    while (n > 0 && conf->url[n - 1] == '/')
        n--;
    (void)snprintf(url, sizeof(url), "%.*s%s", (int)n, conf->url, PATH);
    return curl_easy_setopt(s->easy, CURLOPT_URL, url) == CURLE_OK &&
           curl_easy_setopt(s->easy, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK &&
           /* A proxy from the environment would carry a plain request, and the key, elsewhere. */
           (!is_plain || curl_easy_setopt(s->easy, CURLOPT_PROXY, "") == CURLE_OK) &&
           curl_easy_setopt(s->easy, CURLOPT_POST, 1L) == CURLE_OK &&
           curl_easy_setopt(s->easy, CURLOPT_HTTPHEADER, s->headers) == CURLE_OK &&
           curl_easy_setopt(s->easy, CURLOPT_USERAGENT, "wind-sensor") == CURLE_OK &&
           curl_easy_setopt(s->easy, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
           /* A name server that does not answer must not hold up our end. */
           curl_easy_setopt(s->easy, CURLOPT_QUICK_EXIT, 1L) == CURLE_OK &&
           curl_easy_setopt(s->easy, CURLOPT_TIMEOUT, TIMEOUT_S) == CURLE_OK &&
           curl_easy_setopt(s->easy, CURLOPT_CONNECTTIMEOUT, CONNECT_S) == CURLE_OK &&
           curl_easy_setopt(s->easy, CURLOPT_ERRORBUFFER, s->error) == CURLE_OK &&
           curl_easy_setopt(s->easy, CURLOPT_WRITEFUNCTION, take_answer) == CURLE_OK &&
           curl_easy_setopt(s->easy, CURLOPT_WRITEDATA, &s->answer) == CURLE_OK &&
           (conf->ca_file[0] == '\0' ||
            curl_easy_setopt(s->easy, CURLOPT_CAINFO, conf->ca_file) == CURLE_OK);
}

static void http_free(struct sink *base)
{
    struct sink_http *s = (struct sink_http *)base;

    if (base->is_busy)
        (void)curl_multi_remove_handle(s->multi, s->easy);
    curl_easy_cleanup(s->easy);
    (void)curl_multi_cleanup(s->multi);
    curl_slist_free_all(s->headers);
    buf_done(&s->answer);
    buf_done(&s->body);
    if (s->is_global)
        curl_global_cleanup();
    free(s);
}

/* ---------------------------------------------------------------- a batch */

static void http_begin(struct sink *base)
{
    struct sink_http *s = (struct sink_http *)base;
    const struct sink_conf *c = s->conf;

    s->alerts = 0;
    buf_reset(&s->body);
    jsonw_begin(&s->json, &s->body);
    jsonw_object(&s->json, NULL);
    jsonw_strn(&s->json, "sensor", c->sensor, strnlen(c->sensor, sizeof(c->sensor)));
    jsonw_strn(&s->json, "version", c->version, strnlen(c->version, sizeof(c->version)));
    jsonw_array(&s->json, "alerts");
}

static bool http_has_room(const struct sink *base)
{
    return ((const struct sink_http *)base)->body.len < SINK_HTTP_BATCH_BYTES;
}

static void http_put(struct sink *base, const struct spool_entry *alert, const char *run)
{
    struct sink_http *s = (struct sink_http *)base;

    (void)run;
    jsonw_raw(&s->json, NULL, alert->json, alert->len);
    s->alerts++;
}

static void http_put_stats(struct sink *base, const char *json, size_t len)
{
    struct sink_http *s = (struct sink_http *)base;

    jsonw_end(&s->json);
    jsonw_raw(&s->json, "stats", json, len);
}

static int http_send(struct sink *base)
{
    struct sink_http *s = (struct sink_http *)base;

    while (s->json.depth > 0)
        jsonw_end(&s->json);
    buf_reset(&s->answer);
    s->error[0] = '\0';
    if (s->body.failed ||
        curl_easy_setopt(s->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)s->body.len) !=
            CURLE_OK ||
        curl_easy_setopt(s->easy, CURLOPT_POSTFIELDS, s->body.data) != CURLE_OK ||
        curl_multi_add_handle(s->multi, s->easy) != CURLM_OK)
        return -ENOMEM;
    base->is_busy = true;
    return 0;
}

static uint64_t retry_after_ns(CURL *easy)
{
    curl_off_t seconds = 0;

    if (curl_easy_getinfo(easy, CURLINFO_RETRY_AFTER, &seconds) != CURLE_OK || seconds <= 0)
        return 0;
    return (uint64_t)(seconds > RETRY_AFTER_MAX ? RETRY_AFTER_MAX : seconds) * WIND_NS_PER_S;
}

static enum sink_event http_step(struct sink *base, struct sink_answer *ret_answer,
                                 uint64_t *ret_after_ns)
{
    struct sink_http *s = (struct sink_http *)base;
    int running = 0, left = 0;
    long status = 0;

    if (!base->is_busy)
        return SINK_NOTHING;
    (void)curl_multi_perform(s->multi, &running);
    const CURLMsg *m = curl_multi_info_read(s->multi, &left);
    if (m == NULL || m->msg != CURLMSG_DONE)
        return SINK_NOTHING;

    const CURLcode result = m->data.result;
    if (result == CURLE_OK)
        (void)curl_easy_getinfo(s->easy, CURLINFO_RESPONSE_CODE, &status);
    *ret_after_ns = result == CURLE_OK ? retry_after_ns(s->easy) : 0;
    (void)curl_multi_remove_handle(s->multi, s->easy);
    base->is_busy = false;
    if (result == CURLE_OK) {
        sink_answer_parse(status, s->answer.data, s->answer.len, s->alerts, ret_answer);
    } else {
        *ret_answer = (struct sink_answer){.verdict = SINK_LATER};
        (void)snprintf(ret_answer->text, sizeof(ret_answer->text), "cannot be reached: %.160s",
                       s->error[0] != '\0' ? s->error : curl_easy_strerror(result));
    }
    return SINK_ANSWERED;
}

static void http_wait(struct sink *base, int wait_ms)
{
    (void)curl_multi_poll(((struct sink_http *)base)->multi, NULL, 0, wait_ms, NULL);
}

static const struct sink_ops http_ops = {
    .free = http_free,
    .begin = http_begin,
    .has_room = http_has_room,
    .put = http_put,
    .put_stats = http_put_stats,
    .send = http_send,
    .step = http_step,
    .wait = http_wait,
};

int sink_http_new(struct sink **ret_sink, const struct sink_conf *conf, struct err *e)
{
    const int r = sink_conf_check(conf, e);

    if (r < 0)
        return r;
    struct sink_http *s = calloc(1, sizeof(*s));
    if (s == NULL)
        return err_set(e, -ENOMEM, "uplink: out of memory");
    WIND_AUTO(sink) struct sink *base = &s->base;
    s->base = (struct sink){.ops = &http_ops,
                            .peer = "the collector",
                            .if_refused =
                                "it doesn't take this sensor's key: make one with 'wind-collector "
                                "--create-key NAME --scope ingest' and put it into uplink.key_file",
                            .if_strange = "uplink.url doesn't lead to a collector of this version",
                            .batch_max = SINK_HTTP_BATCH_ALERTS};
    s->conf = conf;
    buf_init(&s->body, BODY_MAX);
    buf_init(&s->answer, SINK_ANSWER_MAX);
    s->is_global = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
    s->multi = curl_multi_init();
    s->easy = curl_easy_init();
    if (!s->is_global || s->multi == NULL || s->easy == NULL || !add_headers(s, conf) ||
        !set_options(s, conf))
        return err_set(e, -ENOMEM, "uplink: libcurl cannot be set up");
    *ret_sink = WIND_STEAL(base);
    return 0;
}
