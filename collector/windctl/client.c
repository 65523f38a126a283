#include "collector/windctl/client.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#include "common/buf.h"
#include "common/crypto.h"
#include "common/file.h"

#define CONNECT_S     5L
#define RENEW_EARLY_S 20 /* a token that ends sooner is renewed before it is used */

struct client {
    CURL *easy;
    struct profile *profile;
    char url[512], ca_file[PATH_MAX], key[128];
    bool is_insecure, is_loopback;
    char error[CURL_ERROR_SIZE];
};

/* ---------------------------------------------------------------- the address */

static bool is_loopback(const char *host)
{
    struct in_addr v4;

    return strcasecmp(host, "localhost") == 0 || strcmp(host, "[::1]") == 0 ||
           (inet_pton(AF_INET, host, &v4) == 1 && ntohl(v4.s_addr) >> 24 == 127);
}

static int judge_url(struct client *c, const char *scheme, const char *host, bool has_user,
                     struct err *e)
{
    const bool is_plain = strcasecmp(scheme, "http") == 0;

    c->is_loopback = is_loopback(host);
    if (!is_plain && strcasecmp(scheme, "https") != 0)
        return err_set(e, OPTIONS_CONFIG, "'%s' is neither http nor https", c->url);
    if (has_user)
        return err_set(e, OPTIONS_CONFIG,
                       "no user or password belongs into the address; give "
                       "--username, and the password when asked");
    if (is_plain && !c->is_loopback && !c->is_insecure)
        return err_set(e, OPTIONS_CONFIG,
                       "plain http to '%s' would show the password to the network; use https, or "
                       "--insecure if you know better",
                       host);
    return 0;
}

static int check_url(struct client *c, struct err *e)
{
    CURLU *u = curl_url();
    char *scheme = NULL, *host = NULL, *user = NULL;
    int r;

    if (u != NULL && curl_url_set(u, CURLUPART_URL, c->url, 0) == CURLUE_OK &&
        curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
        curl_url_get(u, CURLUPART_HOST, &host, 0) == CURLUE_OK) {
        const bool has_user = curl_url_get(u, CURLUPART_USER, &user, 0) == CURLUE_OK;
        r = judge_url(c, scheme, host, has_user, e);
    } else {
        r = err_set(e, OPTIONS_CONFIG, "'%s' is no address; it looks like https://host:8443",
                    c->url);
    }
    curl_free(scheme);
    curl_free(host);
    curl_free(user);
    curl_url_cleanup(u);
    return r;
}

static int set_text(char *ret_text, size_t size, const char *text, struct err *e)
{
    const size_t n = strlen(text);

    if (n >= size)
        return err_set(e, OPTIONS_CONFIG, "'%.40s...' is too long", text);
    memcpy(ret_text, text, n + 1);
    return 0;
}

static int set_url(struct client *c, const struct options *o, struct err *e)
{
    const char *url = o->url;

    if (url == NULL)
        url = c->profile->url[0] != '\0' ? c->profile->url : CLIENT_DEFAULT;
    int r = set_text(c->url, sizeof(c->url), url, e);
    if (r < 0)
        return r;
    for (size_t n = strlen(c->url); n > 0 && c->url[n - 1] == '/'; n--)
        c->url[n - 1] = '\0';
    /* What was said at login holds for that address only. */
    const bool is_known = strcmp(c->url, c->profile->url) == 0;
    c->is_insecure = o->is_insecure || (is_known && c->profile->is_insecure);
    if (o->ca_file != NULL || is_known)
        r = set_text(c->ca_file, sizeof(c->ca_file),
                     o->ca_file != NULL ? o->ca_file : c->profile->ca_file, e);
    return r == 0 ? check_url(c, e) : r;
}

static int set_key(struct client *c, const char *path, struct err *e)
{
    if (path == NULL)
        return 0;
    if (file_read_secret(path, c->key, sizeof(c->key), e) < 0)
        return err_wrap(e, OPTIONS_CONFIG, "--key-file");
    if (strncmp(c->key, "wind_", 5) != 0)
        return err_set(e, OPTIONS_CONFIG,
                       "--key-file %s: a key begins with wind_; make one with wind-collector "
                       "--create-key NAME --scope alerts:read",
                       path);
    return 0;
}

static size_t take_body(char *data, size_t size, size_t n, void *arg)
{
    struct buf *body = arg;

    buf_put(body, data, size * n);
    return body->failed ? 0 : size * n;
}

static int set_up(struct client *c, struct err *e)
{
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK || (c->easy = curl_easy_init()) == NULL)
        return err_set(e, -ENOMEM, "out of memory");
    if (c->ca_file[0] != '\0' && access(c->ca_file, R_OK) != 0)
        return err_set(e, OPTIONS_CONFIG, "--ca-file %s: %s", c->ca_file, strerror(errno));
    (void)curl_easy_setopt(c->easy, CURLOPT_ERRORBUFFER, c->error);
    (void)curl_easy_setopt(c->easy, CURLOPT_WRITEFUNCTION, take_body);
    (void)curl_easy_setopt(c->easy, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(c->easy, CURLOPT_PROTOCOLS_STR, "http,https");
    (void)curl_easy_setopt(c->easy, CURLOPT_CONNECTTIMEOUT, CONNECT_S);
    (void)curl_easy_setopt(c->easy, CURLOPT_TIMEOUT, CLIENT_TIMEOUT_S);
    (void)curl_easy_setopt(c->easy, CURLOPT_USERAGENT, "windctl/" WIND_VERSION);
    (void)curl_easy_setopt(c->easy, CURLOPT_ACCEPT_ENCODING, "");
    if (c->is_loopback)
        (void)curl_easy_setopt(c->easy, CURLOPT_NOPROXY, "*");
    if (c->ca_file[0] != '\0')
        (void)curl_easy_setopt(c->easy, CURLOPT_CAINFO, c->ca_file);
    return 0;
}

int client_new(struct client **ret_client, const struct options *o, struct profile *p,
               struct err *e)
{
    WIND_AUTO(client) struct client *c = calloc(1, sizeof(*c));
    if (c == NULL)
        return err_set(e, -ENOMEM, "out of memory");

    c->profile = p;
    int r = set_url(c, o, e);
    if (r == 0)
        r = set_key(c, o->key_file, e);
    if (r == 0)
        r = set_up(c, e);
    if (r != 0) /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): it does not see WIND_AUTO */
        return r;
    *ret_client = WIND_STEAL(c);
    return 0;
}

struct client *client_free(struct client *c)
{
    if (c == NULL)
        return NULL;
    curl_easy_cleanup(c->easy);
    crypto_wipe(c->key, sizeof(c->key));
    free(c);
    return NULL;
}

const char *client_url(const struct client *c)
{
    return c->url;
}

bool client_has_key(const struct client *c)
{
    return c->key[0] != '\0';
}

/* Is there a key, or a login at this address? */
static bool has_login(const struct client *c)
{
    return client_has_key(c) ||
           (c->profile->access[0] != '\0' && strcmp(c->url, c->profile->url) == 0);
}

/* ---------------------------------------------------------------- one request */

static int no_answer(struct client *c, CURLcode code, struct err *e)
{
    const char *what = c->error[0] != '\0' ? c->error : curl_easy_strerror(code);
    const char *fix = "is it running? --url names another one";

    if (code == CURLE_PEER_FAILED_VERIFICATION)
        fix = "--ca-file FILE names the certificates to trust";
    else if (code == CURLE_COULDNT_RESOLVE_HOST)
        fix = "is the name right?";
    else if (code == CURLE_WRITE_ERROR)
        return err_set(e, -EFBIG, "%s: the answer is too long; ask for less with --limit", c->url);
    return err_set(e, -EIO, "no collector answers at %s (%s); %s", c->url, what, fix);
}

static void take_headers(struct client *c, struct reply *r)
{
    struct curl_header *h = NULL;
    curl_off_t us = 0;

    (void)curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &r->status);
    (void)curl_easy_getinfo(c->easy, CURLINFO_TOTAL_TIME_T, &us);
    r->seconds = (double)us / 1e6;
    if (curl_easy_header(c->easy, "Date", 0, CURLH_HEADER, -1, &h) == CURLHE_OK) {
        const time_t t = curl_getdate(h->value, NULL);
        r->date_s = t > 0 ? t : 0;
    }
    if (curl_easy_header(c->easy, "Retry-After", 0, CURLH_HEADER, -1, &h) == CURLHE_OK)
        (void)snprintf(r->retry, sizeof(r->retry), "%s", h->value);
}

static int perform(struct client *c, const char *path, const char *form, const char *header,
                   struct reply *ret_reply, struct err *e)
{
    char url[8192];
    struct buf body;
    struct curl_slist *headers = NULL;

    if (snprintf(url, sizeof(url), "%s%s", c->url, path) >= (int)sizeof(url))
        return err_set(e, CLI_USAGE, "the query is too long");
    if (header != NULL && (headers = curl_slist_append(NULL, header)) == NULL)
        return err_set(e, -ENOMEM, "out of memory");
    buf_init(&body, CLIENT_ANSWER_MAX);
    c->error[0] = '\0';
    (void)curl_easy_setopt(c->easy, CURLOPT_URL, url);
    (void)curl_easy_setopt(c->easy, CURLOPT_HTTPHEADER, headers);
    (void)curl_easy_setopt(c->easy, CURLOPT_WRITEDATA, &body);
    if (form != NULL)
        (void)curl_easy_setopt(c->easy, CURLOPT_POSTFIELDS, form);
    else
        (void)curl_easy_setopt(c->easy, CURLOPT_HTTPGET, 1L);
    const CURLcode code = curl_easy_perform(c->easy);
    curl_slist_free_all(headers);

    const int r = code == CURLE_OK ? 0 : no_answer(c, code, e);
    if (r == 0) {
        *ret_reply = (struct reply){.status = 0};
        take_headers(c, ret_reply);
        ret_reply->body = body.len > 0 ? json_loadb(body.data, body.len, 0, NULL) : NULL;
    }
    if (body.data != NULL)
        crypto_wipe(body.data, body.len); /* it may be tokens */
    buf_done(&body);
    return r;
}

int client_ask(struct client *c, const char *path, const char *form, struct reply *ret_reply,
               struct err *e)
{
    return perform(c, path, form, NULL, ret_reply, e);
}

void reply_done(struct reply *r)
{
    json_decref(r->body);
    r->body = NULL;
}

static const char *text_in(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));

    return s != NULL ? s : "";
}

/* "limit: must be at most 200", the first of the faults, or "". */
static void first_fault(const json_t *body, char *ret_text, size_t size)
{
    const json_t *fault = json_array_get(json_object_get(body, "errors"), 0);
    const json_t *loc = json_object_get(fault, "loc");
    const char *where = json_string_value(json_array_get(loc, json_array_size(loc) - 1));

    ret_text[0] = '\0';
    if (fault != NULL)
        (void)snprintf(ret_text, size, "%s%s%s", where != NULL ? where : "",
                       where != NULL ? ": " : "", text_in(fault, "msg"));
}

/* A refusal as a sentence; returns < 0. */
static int reply_fail(const struct client *c, const struct reply *r, struct err *e)
{
    const char *detail = text_in(r->body, "detail");
    char fault[200];

    first_fault(r->body, fault, sizeof(fault));
    if (r->body == NULL)
        return err_set(e, -EPROTO,
                       "%s answered %ld, and not as a collector does; is the address right?",
                       c->url, r->status);
    if (r->status == 401 && client_has_key(c))
        return err_set(e, -EACCES,
                       "the key is not good any more (%s); make another one with "
                       "wind-collector --create-key",
                       text_in(r->body, "code"));
    if (r->status == 401)
        return err_set(e, -EACCES, "%s (%s); log in again: windctl login %s",
                       detail[0] != '\0' ? detail : "the login has ended", text_in(r->body, "code"),
                       c->url);
    if (r->status == 403)
        return err_set(e, -EPERM, "not allowed: %s", detail);
    if (r->status == 429 || r->status == 503)
        return err_set(e, -EAGAIN, "the collector is busy: %s; try again in %s s", detail,
                       r->retry[0] != '\0' ? r->retry : "a few");
    return err_set(e, r->status == 404 ? -ENOENT : -EIO, "%s", fault[0] != '\0' ? fault : detail);
}

/* ---------------------------------------------------------------- tokens */

static int take_tokens(struct client *c, const json_t *body, struct err *e)
{
    struct profile *p = c->profile;
    const char *access = text_in(body, "access_token"), *refresh = text_in(body, "refresh_token");
    const json_int_t life = json_integer_value(json_object_get(body, "expires_in"));

    if (access[0] == '\0' || strlen(access) >= sizeof(p->access) ||
        strlen(refresh) >= sizeof(p->refresh) || life < 0 || life > 366 * INT64_C(86400))
        return err_set(e, -EPROTO, "%s answered, but not as a collector does", c->url);
    (void)snprintf(p->access, sizeof(p->access), "%s", access);
    (void)snprintf(p->refresh, sizeof(p->refresh), "%s", refresh);
    p->expires_s = time(NULL) + life;
    return 0;
}

static int ask_tokens(struct client *c, const struct buf *form, struct err *e)
{
    struct reply reply = {.status = 0};

    if (form->failed)
        return err_set(e, CLI_USAGE, "the name or the password is too long");
    int r = client_ask(c, "/api/auth/token", form->data, &reply, e);
    if (r < 0)
        return r;
    if (reply.status == 200)
        r = take_tokens(c, reply.body, e);
    else if (reply.status == 401 && strcmp(text_in(reply.body, "code"), "credentials_invalid") == 0)
        r = err_set(e, -EACCES, "wrong user name or password");
    else
        r = reply_fail(c, &reply, e);
    reply_done(&reply);
    return r;
}

void client_escape(struct buf *to, const char *s)
{
    char *text = curl_easy_escape(NULL, s, 0);

    if (text != NULL)
        buf_puts(to, text);
    else
        to->failed = true;
    curl_free(text);
}

int client_login(struct client *c, const char *username, const char *password, struct err *e)
{
    struct profile *p = c->profile;
    struct buf form;

    buf_init(&form, 8192);
    buf_puts(&form, "grant_type=password&username=");
    client_escape(&form, username);
    buf_puts(&form, "&password=");
    client_escape(&form, password);
    (void)buf_text(&form);
    int r = ask_tokens(c, &form, e);
    if (form.data != NULL)
        crypto_wipe(form.data, form.len);
    buf_done(&form);
    if (r < 0)
        return r;
    (void)snprintf(p->url, sizeof(p->url), "%s", c->url);
    (void)snprintf(p->username, sizeof(p->username), "%s", username);
    (void)snprintf(p->ca_file, sizeof(p->ca_file), "%s", c->ca_file);
    p->is_insecure = c->is_insecure;
    return 0;
}

static int renew_locked(struct client *c, const char *used, struct err *e)
{
    struct buf form;

    int r = profile_load(c->profile, e);
    if (r < 0 || strcmp(c->profile->access, used) != 0)
        return r; /* another windctl was faster: its tokens will do */
    buf_init(&form, sizeof(c->profile->refresh) * 2);
    buf_puts(&form, "grant_type=refresh_token&refresh_token=");
    client_escape(&form, c->profile->refresh);
    (void)buf_text(&form);
    r = ask_tokens(c, &form, e);
    buf_done(&form);
    return r == 0 ? profile_save(c->profile, e) : r;
}

static int renew(struct client *c, struct err *e)
{
    char used[PROFILE_TOKEN];

    (void)snprintf(used, sizeof(used), "%s", c->profile->access);
    const int lock = profile_lock(c->profile, e);
    if (lock < 0)
        return lock;
    const int r = renew_locked(c, used, e);
    (void)close(lock);
    crypto_wipe(used, sizeof(used));
    return r;
}

static int not_logged_in(const struct client *c, struct err *e)
{
    if (c->profile->access[0] == '\0')
        return err_set(e, OPTIONS_CONFIG, "not logged in; log in first: windctl login %s", c->url);
    return err_set(e, OPTIONS_CONFIG,
                   "the login is for %s, not for %s; log in there: windctl "
                   "login %s",
                   c->profile->url, c->url, c->url);
}

static int with_credentials(struct client *c, const char *path, const char *form,
                            struct reply *ret_reply, struct err *e)
{
    char header[PROFILE_TOKEN + 64];

    (void)snprintf(header, sizeof(header), "%s%s",
                   client_has_key(c) ? "X-API-Key: " : "Authorization: Bearer ",
                   client_has_key(c) ? c->key : c->profile->access);
    const int r = perform(c, path, form, header, ret_reply, e);
    crypto_wipe(header, sizeof(header));
    return r;
}

/* Any answer, with credentials that are as good as they can be. */
static int call(struct client *c, const char *path, const char *form, struct reply *ret_reply,
                struct err *e)
{
    int r = 0;

    if (!has_login(c))
        return not_logged_in(c, e);
    if (client_has_key(c))
        return with_credentials(c, path, form, ret_reply, e);
    if (c->profile->expires_s < time(NULL) + RENEW_EARLY_S)
        r = renew(c, e);
    if (r == 0)
        r = with_credentials(c, path, form, ret_reply, e);
    if (r == 0 && ret_reply->status == 401 &&
        strcmp(text_in(ret_reply->body, "code"), "token_expired") == 0) {
        reply_done(ret_reply); /* this machine's clock is behind */
        r = renew(c, e);
        if (r == 0)
            r = with_credentials(c, path, form, ret_reply, e);
    }
    return r;
}

int client_get(struct client *c, const char *path, json_t **ret_body, struct reply *ret_reply,
               struct err *e)
{
    struct reply reply = {.status = 0};

    int r = call(c, path, NULL, &reply, e);
    if (r < 0)
        return r;
    if (reply.status != 200 || reply.body == NULL)
        r = reply_fail(c, &reply, e);
    else
        *ret_body = json_incref(reply.body);
    reply_done(&reply);
    if (ret_reply != NULL)
        *ret_reply = reply;
    return r;
}

int client_post(struct client *c, const char *path, struct err *e)
{
    struct reply reply = {.status = 0};

    int r = call(c, path, "", &reply, e);
    if (r < 0)
        return r;
    if (reply.status < 200 || reply.status > 299)
        r = reply_fail(c, &reply, e);
    reply_done(&reply);
    return r;
}
