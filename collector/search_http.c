#include "collector/search_http.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include <curl/curl.h>
#include <zlib.h>

#include "common/crypto.h"
#include "common/file.h"
#include "common/log.h"

#define URL_MAX    256
#define SECRET_MAX 256
#define GZIP_FROM  1024 /* bytes; smaller bodies go as they are */

struct search_http {
    char urls[SEARCH_ADDRESSES][URL_MAX]; /* without the final slash */
    size_t n_urls;
    _Atomic size_t url; /* that answered last; relaxed, any will do */
    char user[128], password[SECRET_MAX];
    char ca_file[256];
    bool is_gzip;
    pthread_mutex_t lock; /* guards what follows */
    CURL *idle[SEARCH_IDLE];
    size_t n_idle;
};

/* ---------------------------------------------------------------- making */

static int take_url(struct search_http *h, const char *from, size_t len, struct err *e)
{
    while (len > 0 && from[len - 1] == '/')
        len--;
    if (h->n_urls == SEARCH_ADDRESSES)
        return err_set(e, -EINVAL, "search.url: more than %d addresses", SEARCH_ADDRESSES);
    if (len >= URL_MAX || (strncmp(from, "http://", 7) != 0 && strncmp(from, "https://", 8) != 0))
        return err_set(e, -EINVAL,
                       "search.url: '%.*s' is not an address like https://search.example.com:9200",
                       (int)len, from);
    if (memchr(from, '@', len) != NULL)
        return err_set(e, -EINVAL,
                       "search.url: user and password belong into search.user and "
                       "search.password_file");
    memcpy(h->urls[h->n_urls], from, len);
    h->urls[h->n_urls++][len] = '\0';
    return 0;
}

static int take_urls(struct search_http *h, const char *urls, struct err *e)
{
    int r = 0;

    while (r == 0 && *urls != '\0') {
        const size_t len = strcspn(urls, ", ");
        if (len > 0)
            r = take_url(h, urls, len, e);
        urls += len + (urls[len] != '\0');
    }
    return r == 0 && h->n_urls == 0 ? err_set(e, -EINVAL, "search.url: no address") : r;
}

static int take_password(struct search_http *h, const char *file, struct err *e)
{
    if (file[0] == '\0')
        return 0;
    const int r = file_read_secret(file, h->password, sizeof(h->password), e);
    if (r == FILE_EXPOSED)
        log_warn("search.password_file '%s' can be read by others, using it", file);
    return r < 0 ? err_wrap(e, r, "search.password_file") : 0;
}

int search_http_new(struct search_http **ret_http, const struct search_http_conf *conf,
                    struct err *e)
{
    WIND_AUTO(search_http) struct search_http *h = calloc(1, sizeof(*h));

    if (h == NULL)
        return err_set(e, -ENOMEM, "search: out of memory");
    (void)pthread_mutex_init(&h->lock, NULL);
    (void)curl_global_init(CURL_GLOBAL_DEFAULT);
    h->is_gzip = conf->is_gzip;
    (void)snprintf(h->user, sizeof(h->user), "%s", conf->user);
    (void)snprintf(h->ca_file, sizeof(h->ca_file), "%s", conf->ca_file);
    int r = take_urls(h, conf->urls, e);
    if (r == 0)
        r = take_password(h, conf->password_file, e);
    if (r == 0 && (h->user[0] == '\0') != (h->password[0] == '\0'))
        r = err_set(e, -EINVAL, "search.user and search.password_file need each other");
    if (r != 0)
        return r;
    *ret_http = WIND_STEAL(h);
    return 0;
}

struct search_http *search_http_free(struct search_http *h)
{
    if (h == NULL)
        return NULL;
    for (size_t i = 0; i < h->n_idle; i++)
        curl_easy_cleanup(h->idle[i]);
    (void)pthread_mutex_destroy(&h->lock);
    crypto_wipe(h->password, sizeof(h->password));
    free(h);
    return NULL;
}

/* ---------------------------------------------------------------- one call */

static CURL *take_handle(struct search_http *h)
{
    CURL *c = NULL;

    (void)pthread_mutex_lock(&h->lock);
    if (h->n_idle > 0)
        c = h->idle[--h->n_idle];
    (void)pthread_mutex_unlock(&h->lock);
    return c != NULL ? c : curl_easy_init();
}

static void give_handle(struct search_http *h, CURL *c)
{
    curl_easy_reset(c); /* its connection stays */
    (void)pthread_mutex_lock(&h->lock);
    if (h->n_idle < SEARCH_IDLE) {
        h->idle[h->n_idle++] = c;
        c = NULL;
    }
    (void)pthread_mutex_unlock(&h->lock);
    if (c != NULL)
        curl_easy_cleanup(c);
}

static size_t take_answer(char *p, size_t size, size_t n, void *arg)
{
    struct buf *answer = arg;

    buf_put(answer, p, size * n);
    return answer->failed ? 0 : size * n;
}

static int compress_body(struct buf *out, const char *body, size_t len)
{
    z_stream z = {.next_in = (Bytef *)(uintptr_t)body, .avail_in = (uInt)len};

    if (deflateInit2(&z, Z_BEST_SPEED, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        return -ENOMEM;
    const size_t bound = deflateBound(&z, (uLong)len);
    char *room = buf_room(out, bound);
    int r = Z_MEM_ERROR;
    if (room != NULL) {
        z.next_out = (Bytef *)room;
        z.avail_out = (uInt)bound;
        r = deflate(&z, Z_FINISH);
        out->len += z.total_out;
    }
    (void)deflateEnd(&z);
    return r == Z_STREAM_END ? 0 : -ENOMEM;
}

/* What one exchange needs, for as long as it runs. */
struct exchange_parts {
    struct curl_slist *headers;
    struct buf packed, answer;
    char url[URL_MAX + 1024];
    char why[CURL_ERROR_SIZE];
};

static void set_body(const struct search_http *h, CURL *c, const struct search_call *call,
                     struct exchange_parts *x)
{
    const char *body = call->body;
    size_t len = call->len;

    (void)curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, call->method);
    if (body == NULL)
        return;
    x->headers = curl_slist_append(x->headers, call->is_lines ? "Content-Type: application/x-ndjson"
                                                              : "Content-Type: application/json");
    if (h->is_gzip && len >= GZIP_FROM && compress_body(&x->packed, body, len) == 0) {
        x->headers = curl_slist_append(x->headers, "Content-Encoding: gzip");
        body = x->packed.data;
        len = x->packed.len;
    }
    (void)curl_easy_setopt(c, CURLOPT_POSTFIELDS, body);
    (void)curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)len);
}

static CURLcode perform(const struct search_http *h, CURL *c, const struct search_call *call,
                        struct exchange_parts *x)
{
    x->headers = curl_slist_append(NULL, "Expect:");
    set_body(h, c, call, x);
    (void)curl_easy_setopt(c, CURLOPT_URL, x->url);
    (void)curl_easy_setopt(c, CURLOPT_HTTPHEADER, x->headers);
    (void)curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
    (void)curl_easy_setopt(c, CURLOPT_ERRORBUFFER, x->why);
    (void)curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(c, CURLOPT_NOPROXY, "*");
    (void)curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, (long)SEARCH_CONNECT_S);
    (void)curl_easy_setopt(c, CURLOPT_TIMEOUT, (long)SEARCH_CALL_S);
    (void)curl_easy_setopt(c, CURLOPT_ACCEPT_ENCODING, "");
    (void)curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, take_answer);
    (void)curl_easy_setopt(c, CURLOPT_WRITEDATA, &x->answer);
    if (h->user[0] != '\0') {
        (void)curl_easy_setopt(c, CURLOPT_HTTPAUTH, CURLAUTH_BASIC);
        (void)curl_easy_setopt(c, CURLOPT_USERNAME, h->user);
        (void)curl_easy_setopt(c, CURLOPT_PASSWORD, h->password);
    }
    if (h->ca_file[0] != '\0')
        (void)curl_easy_setopt(c, CURLOPT_CAINFO, h->ca_file);
    return curl_easy_perform(c);
}

static int no_answer(const char *url, CURLcode code, const char *why, struct err *e)
{
    const char *remedy = "is it running, and is search.url right?";

    if (code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CACERT_BADFILE)
        remedy = "name the authority that signed its certificate in search.ca_file";
    else if (code == CURLE_OPERATION_TIMEDOUT)
        remedy = "it is overloaded, or something on the way holds its answers back";
    else if (code == CURLE_WRITE_ERROR)
        remedy = "its answer is too long";
    return err_set(e, -EAGAIN, "search server '%s' does not answer: %s; %s", url,
                   why[0] != '\0' ? why : curl_easy_strerror(code), remedy);
}

static int call_one(struct search_http *h, const char *url, const struct search_call *call,
                    json_t **ret_answer, struct err *e)
{
    struct exchange_parts x = {.headers = NULL};
    CURL *c = take_handle(h);
    long status = 0;

    if (c == NULL)
        return err_set(e, -ENOMEM, "search: out of memory");
    buf_init(&x.packed, call->len + 65536);
    buf_init(&x.answer, SEARCH_ANSWER_MAX);
    (void)snprintf(x.url, sizeof(x.url), "%s%s", url, call->path);
    const CURLcode code = perform(h, c, call, &x);
    (void)curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &status);
    give_handle(h, c);
    const int r = code == CURLE_OK ? (int)status : no_answer(url, code, x.why, e);
    if (code == CURLE_OK && ret_answer != NULL)
        *ret_answer = json_loadb(x.answer.data != NULL ? x.answer.data : "", x.answer.len, 0, NULL);
    curl_slist_free_all(x.headers);
    buf_done(&x.packed);
    buf_done(&x.answer);
    return r;
}

int search_http_call(struct search_http *h, const struct search_call *call, json_t **ret_answer,
                     struct err *e)
{
    const size_t first = atomic_load_explicit(&h->url, memory_order_relaxed);
    int r = -EAGAIN;

    if (ret_answer != NULL)
        *ret_answer = NULL;
    for (size_t i = 0; r < 0 && i < h->n_urls; i++) {
        const size_t at = (first + i) % h->n_urls;
        r = call_one(h, h->urls[at], call, ret_answer, e);
        if (r > 0)
            atomic_store_explicit(&h->url, at, memory_order_relaxed);
    }
    return r;
}

int search_http_refused(const struct search_http *h, const char *doing, int status,
                        const json_t *answer, struct err *e)
{
    const json_t *error = json_object_get(answer, "error");
    const char *reason = json_string_value(json_object_get(error, "reason"));
    const char *remedy = "";

    if (reason == NULL)
        reason = json_is_string(error) ? json_string_value(error) : "no reason given";
    if (status == 401)
        remedy = h->user[0] != '\0' ? "; check search.user and search.password_file"
                                    : "; it wants search.user and search.password_file";
    else if (status == 403)
        remedy = "; search.user needs the rights to monitor, to manage index templates, and all "
                 "on the indices of search.index";
    else if (status == 413)
        remedy = "; raise its http.max_content_length";
    return err_set(e, -EAGAIN, "search server: %s: %d: %.120s%s", doing, status, reason, remedy);
}

int search_http_do(struct search_http *h, const char *method, const char *path, json_t *body,
                   json_t **ret_answer, struct err *e)
{
    json_auto_t *answer = NULL;
    char *text = body == NULL ? NULL : json_dumps(body, JSON_COMPACT);
    const struct search_call c = {
        .method = method, .path = path, .body = text, .len = text == NULL ? 0 : strlen(text)};

    json_decref(body);
    const int status = search_http_call(h, &c, &answer, e);
    free(text);
    if (status < 0)
        return status;
    if (status >= 300)
        return search_http_refused(h, path, status, answer, e);
    if (ret_answer != NULL) {
        *ret_answer = answer;
        answer = NULL;
    }
    return 0;
}
