#include "collector/http_server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <microhttpd.h>
#include <netdb.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "collector/cache.h"
#include "collector/collector.h"
#include "collector/exchange.h"
#include "collector/http_writes.h"
#include "collector/listener.h"
#include "collector/metrics.h"
#include "collector/routes.h"
#include "collector/write_queue.h"
#include "collector/ws.h"
#include "common/crypto.h"
#include "common/log.h"
#include "common/time.h"

#define RATE_SLOTS     8192
#define TLS_FILE_MAX   ((size_t)256 * 1024)
#define HEAD_BYTES     ((intptr_t)32 * 1024) /* of a connection: request line, headers, output */
#define ADDRESS_FACTOR 10 /* failed logins of one address, against those of one user there */

static const char page_policy[] =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "font-src 'self'; connect-src 'self'; manifest-src 'self'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'";

struct http_server {
    struct collector *app; /* borrowed */
    struct gate gate;
    struct http_writes grouped;
    struct write_queue *writes;
    struct MHD_Daemon *daemon;
    struct listener listener;
    bool is_tls;
    char *cert, *key; /* PEM */
    char url[128];
};

/* ---------------------------------------------------------------- what requests are asked */

const char *request_query(const struct request *rq, const char *name)
{
    return MHD_lookup_connection_value(rq->connection, MHD_GET_ARGUMENT_KIND, name);
}

const char *request_header(const struct request *rq, const char *name)
{
    return MHD_lookup_connection_value(rq->connection, MHD_HEADER_KIND, name);
}

static void client_address(struct MHD_Connection *c, char text[46])
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(c, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    const struct sockaddr *a = info != NULL ? info->client_addr : NULL;
    const socklen_t len = a != NULL && a->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6)
                                                                : sizeof(struct sockaddr_in);

    if (a == NULL || getnameinfo(a, len, text, 46, NULL, 0, NI_NUMERICHOST) != 0)
        (void)snprintf(text, 46, "unknown");
}

/* ---------------------------------------------------------------- answers */

static bool has_word(const char *list, const char *word)
{
    const size_t n = strlen(word);

    while (list != NULL && *list != '\0') {
        list += strspn(list, " \t,");
        const size_t len = strcspn(list, " \t,");
        if (len == n && strncasecmp(list, word, n) == 0)
            return true;
        list += len;
    }
    return false;
}

/*
 * Pages of others may not use up the WebSocket's places from a visitor's browser. Programs send
 * no Origin.
 */
static bool is_foreign(const struct request *rq)
{
    const char *origin = request_header(rq, "Origin"), *host = request_header(rq, "Host");
    const struct conf_list *others = &rq->app->conf.api_origins;

    if (origin == NULL)
        return false;
    for (size_t i = 0; i < others->n; i++)
        if (strcasecmp(origin, others->item[i]) == 0)
            return false;
    const char *authority = strstr(origin, "://");
    return authority == NULL || host == NULL || strcasecmp(authority + 3, host) != 0;
}

int respond_upgrade(struct request *rq, struct response *rs)
{
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    const char *key = request_header(rq, "Sec-WebSocket-Key");
    const char *version = request_header(rq, "Sec-WebSocket-Version");
    char text[64], accept[BASE64_TEXT(SHA1_BYTES)];
    uint8_t digest[SHA1_BYTES];

    if (!has_word(request_header(rq, "Upgrade"), "websocket") ||
        !has_word(request_header(rq, "Connection"), "upgrade") || key == NULL ||
        strlen(key) != 24 || version == NULL || strcmp(version, "13") != 0) {
        respond_header(rs, "Sec-WebSocket-Version", "13");
        return respond_problem(rs, 426, "upgrade_required", "this is a WebSocket, version 13");
    }
    if (is_foreign(rq))
        return respond_problem(rs, 403, "origin_foreign",
                               "this page is of another origin; see api.origins");
    if (!ws_reserve(rq->app->ws)) {
        respond_header(rs, "Retry-After", "10");
        return respond_problem(rs, 503, "busy", "all WebSocket places are taken");
    }
    const int n = snprintf(text, sizeof(text), "%s%s", key, guid);
    crypto_sha1(text, (size_t)n, digest);
    (void)base64_encode(digest, sizeof(digest), accept);
    rs->status = 101;
    rs->is_upgrade = true;
    respond_header(rs, "Sec-WebSocket-Accept", "%s", accept);
    return 0;
}

/* NOLINTNEXTLINE(readability-function-size): the library's signature */
static void on_upgrade(void *cls, struct MHD_Connection *connection, void *req_cls,
                       const char *early, size_t early_n, MHD_socket fd,
                       struct MHD_UpgradeResponseHandle *handle)
{
    struct http_server *s = cls;
    const struct exchange *x = req_cls;

    (void)connection;
    ws_accept(s->app->ws, &(struct ws_connection){.fd = fd,
                                                  .handle = handle,
                                                  .early = early,
                                                  .early_n = early_n,
                                                  .principal = x->rq.principal});
}

static void add_header(struct MHD_Response *r, const char *name, const char *value)
{
    (void)MHD_add_response_header(r, name, value);
}

static void add_safety(const struct http_server *s, struct MHD_Response *r)
{
    add_header(r, "X-Content-Type-Options", "nosniff");
    add_header(r, "X-Frame-Options", "DENY");
    add_header(r, "Referrer-Policy", "no-referrer");
    add_header(r, "Cross-Origin-Resource-Policy", "same-origin");
    if (s->is_tls)
        add_header(r, "Strict-Transport-Security", "max-age=31536000");
}

static struct MHD_Response *file_response(struct exchange *x)
{
    const struct static_file *f = x->file;
    const char *have = request_header(&x->rq, "If-None-Match");
    const bool is_same = have != NULL && strstr(have, f->etag) != NULL;

    x->rs.status = is_same ? 304 : 200;
    struct MHD_Response *r =
        MHD_create_response_from_buffer(is_same ? 0 : f->n, f->bytes, MHD_RESPMEM_PERSISTENT);
    if (r == NULL)
        return NULL;
    add_header(r, "Content-Type", f->type);
    add_header(r, "ETag", f->etag);
    add_header(r, "Cache-Control",
               f->is_immutable ? "public, max-age=31536000, immutable" : "no-cache");
    add_header(r, "Content-Security-Policy", page_policy);
    return r;
}

static struct MHD_Response *api_response(struct http_server *s, struct exchange *x)
{
    struct response *rs = &x->rs;
    struct MHD_Response *r;

    if (rs->is_upgrade) {
        r = MHD_create_response_for_upgrade(on_upgrade, s);
        if (r != NULL)
            add_header(r, "Upgrade", "websocket");
        return r;
    }
    r = MHD_create_response_from_buffer(
        rs->n, rs->bytes, rs->is_static ? MHD_RESPMEM_PERSISTENT : MHD_RESPMEM_MUST_FREE);
    if (r == NULL)
        return NULL;
    rs->bytes = NULL; /* the response has taken them */
    if (rs->type != NULL)
        add_header(r, "Content-Type", rs->type);
    if (rs->status == 401)
        add_header(r, "WWW-Authenticate", "Bearer realm=\"wind\"");
    add_header(r, "Cache-Control", "no-store");
    add_header(r, "Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'");
    return r;
}

static enum MHD_Result send_answer(struct http_server *s, struct MHD_Connection *connection,
                                   struct exchange *x)
{
    struct MHD_Response *r = x->file != NULL ? file_response(x) : api_response(s, x);

    if (r == NULL) {
        if (x->rs.is_upgrade)
            ws_unreserve(s->app->ws);
        return MHD_NO;
    }
    add_safety(s, r);
    for (size_t i = 0; i < x->rs.n_headers; i++)
        add_header(r, x->rs.headers[i].name, x->rs.headers[i].value);
    const enum MHD_Result ok = MHD_queue_response(connection, (unsigned)x->rs.status, r);
    MHD_destroy_response(r);
    if (ok != MHD_YES && x->rs.is_upgrade)
        ws_unreserve(s->app->ws);
    const uint64_t took_ns = time_mono_ns() - x->began_ns;
    metrics_request(s->app->metrics, x->rq.route, x->rs.status, took_ns);
    log_debug("%s %s %s: %d in %" PRIu64 " us", x->rq.client_ip, x->rq.method, x->rq.path,
              x->rs.status, took_ns / WIND_NS_PER_US);
    return ok;
}

/* ---------------------------------------------------------------- MHD's callbacks */

/* What says where a body ends; two answers are how requests are smuggled past a proxy. */
struct framing {
    int lengths, codings, hosts;
    bool is_odd;
};

static enum MHD_Result read_framing(void *cls, enum MHD_ValueKind kind, const char *name,
                                    const char *value)
{
    struct framing *f = cls;

    (void)kind;
    f->hosts += strcasecmp(name, "Host") == 0;
    f->lengths += strcasecmp(name, "Content-Length") == 0;
    if (strcasecmp(name, "Transfer-Encoding") == 0) {
        f->codings++;
        f->is_odd = value == NULL || strcasecmp(value, "chunked") != 0;
    }
    return MHD_YES;
}

static bool is_ambiguous(struct MHD_Connection *connection, const char *version)
{
    struct framing f = {.lengths = 0};

    (void)MHD_get_connection_values(connection, MHD_HEADER_KIND, read_framing, &f);
    return f.is_odd || f.lengths + f.codings > 1 || f.hosts > 1 ||
           (f.hosts == 0 && strcmp(version, "HTTP/1.1") == 0);
}

/* A NUL would end a path or a value early: it becomes a byte that fits nowhere. */
static size_t unescape(void *cls, struct MHD_Connection *connection, char *s)
{
    const size_t n = MHD_http_unescape(s);

    (void)cls;
    (void)connection;
    for (char *p = memchr(s, '\0', n); p != NULL; p = memchr(p, '\0', n - (size_t)(p - s)))
        *p = (char)0xff;
    return n;
}

static int64_t announced_length(const struct request *rq)
{
    const char *text = request_header(rq, "Content-Length");
    return text != NULL ? strtoll(text, NULL, 10) : -1;
}

static enum MHD_Result begin(struct http_server *s, struct exchange *x,
                             struct MHD_Connection *connection, const char *version)
{
    const int64_t body_len = announced_length(&x->rq);

    client_address(connection, x->rq.client_ip);
    if (is_ambiguous(connection, version)) {
        (void)respond_problem(&x->rs, 400, "bad_request",
                              "a request has one Host, and one length or the coding chunked");
        respond_header(&x->rs, "Connection", "close");
        x->is_refused = true;
        return send_answer(s, connection, x);
    }
    exchange_admit(x, body_len);
    /* A small body is read and dropped, so that the answer is not lost in a reset. */
    if (x->is_refused && body_len > (int64_t)HTTP_BODY_MAX)
        return send_answer(s, connection, x);
    return MHD_YES;
}

static void resume(struct exchange *x)
{
    MHD_resume_connection(x->rq.connection); /* on_request is called once more */
}

static void suspend(void *connection)
{
    MHD_suspend_connection(connection);
}

/* True: it is run together with others, and answered then. */
static bool is_put_off(struct http_server *s, struct exchange *x)
{
    if (x->is_refused || x->is_settled || (x->rq.route->flags & ROUTE_GROUPED) == 0 ||
        !exchange_check(x))
        return false;
    x->n_headers = x->rs.n_headers;
    x->job = (struct write_job){.of = x};
    return write_queue_put(s->writes, &x->job, suspend, x->rq.connection);
}

/* NOLINTNEXTLINE(readability-function-size): the library's signature */
static enum MHD_Result on_request(void *cls, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_size, void **req_cls)
{
    struct http_server *s = cls;
    struct exchange *x = *req_cls;

    if (x == NULL) {
        x = malloc(sizeof(*x));
        if (x == NULL)
            return MHD_NO;
        exchange_init(x, &s->gate, connection);
        x->rq.path = url;
        x->rq.method = method;
        *req_cls = x;
        return begin(s, x, connection, version);
    }
    if (*upload_size > 0) {
        const bool go_on = exchange_take_body(x, upload, *upload_size);
        *upload_size = 0;
        return go_on ? MHD_YES : MHD_NO;
    }
    if (is_put_off(s, x))
        return MHD_YES;
    if (!x->is_refused && !x->is_settled)
        exchange_run(x);
    return send_answer(s, connection, x);
}

static void on_completed(void *cls, struct MHD_Connection *connection, void **req_cls,
                         enum MHD_RequestTerminationCode why)
{
    struct exchange *x = *req_cls;

    (void)cls;
    (void)connection;
    (void)why;
    if (x == NULL)
        return;
    exchange_done(x);
    free(x);
    *req_cls = NULL;
}

WIND_PRINTF(2, 0)
static void on_log(void *cls, const char *fmt, va_list ap)
{
    char text[240];

    (void)cls;
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    text[strcspn(text, "\r\n")] = '\0';
    log_debug("http: %s", text);
}

/* ---------------------------------------------------------------- life */

static int read_pem(const char *path, char **ret_text, struct err *e)
{
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return err_set(e, -errno, "cannot read '%s': %s", path, strerror(errno));
    char *text = calloc(1, TLS_FILE_MAX + 1);
    const size_t n = text != NULL ? fread(text, 1, TLS_FILE_MAX, f) : 0;
    (void)fclose(f);
    if (n == 0) {
        free(text);
        return err_set(e, text == NULL ? -ENOMEM : -EINVAL, "'%s' is empty", path);
    }
    *ret_text = text;
    return 0;
}

static int read_tls(struct http_server *s, const struct collector_conf *conf, struct err *e)
{
    if (conf->api_tls_cert[0] == '\0' && conf->api_tls_key[0] == '\0')
        return 0;
    if (conf->api_tls_cert[0] == '\0' || conf->api_tls_key[0] == '\0')
        return err_set(e, -EINVAL, "api.tls_cert and api.tls_key belong together");
    s->is_tls = true;
    int r = read_pem(conf->api_tls_cert, &s->cert, e);
    if (r == 0)
        r = read_pem(conf->api_tls_key, &s->key, e);
    return r == 0 ? 0 : err_wrap(e, r, "api.tls");
}

static int make_limit(struct cache_limit **ret, const struct gate *g, const char *name,
                      int64_t per_minute, int64_t burst, struct err *e)
{
    const struct ratelimit_conf conf = {per_minute, burst, RATE_SLOTS};

    return cache_limit_new(ret, g->app->cache, name, &conf, e);
}

static int make_gate(struct http_server *s, const struct collector_conf *conf, struct err *e)
{
    struct gate *g = &s->gate;
    const int64_t logins = conf->auth_login_rate;
    int r = 0;

    g->app = s->app;
    g->tables = all_routes;
    g->body_memory = (size_t)conf->api_body_memory;
    if (conf->api_rate > 0)
        r = make_limit(&g->requests, g, "requests", conf->api_rate, conf->api_burst, e);
    if (r == 0)
        r = make_limit(&g->logins, g, "logins", logins, logins, e);
    if (r == 0)
        r = make_limit(&g->addresses, g, "addresses", logins * ADDRESS_FACTOR,
                       logins * ADDRESS_FACTOR, e);
    if (r == 0)
        r = static_files_new(&g->files, conf->dashboard_dir, e);
    return r;
}

static int open_listener(struct http_server *s, const struct collector_conf *conf, struct err *e)
{
    int r = listener_open(&s->listener, conf->api_listen, e);
    if (r != 0)
        return r;
    if (!s->listener.is_loopback && !s->is_tls && !conf->api_insecure)
        return err_set(e, -EINVAL,
                       "api.listen %s: others could read passwords; set api.tls_cert and "
                       "api.tls_key, or api.insecure if a proxy in front does TLS",
                       conf->api_listen);
    (void)snprintf(s->url, sizeof(s->url), "%s://%s:%u", s->is_tls ? "https" : "http",
                   s->listener.host, (unsigned)s->listener.port);
    return 0;
}

int http_server_new(struct http_server **ret, struct collector *app, struct err *e)
{
    WIND_AUTO(http_server) struct http_server *s = calloc(1, sizeof(*s));
    if (s == NULL)
        return err_set(e, -ENOMEM, "http: out of memory");
    s->app = app;
    s->listener.fd = -1;
    s->grouped = (struct http_writes){.app = app, .resume = resume};
    const struct write_ops ops = http_writes_ops(&s->grouped);
    int r = write_queue_new(&s->writes, app->db, app->metrics, &ops, e);
    if (r == 0)
        r = read_tls(s, &app->conf, e);
    if (r == 0)
        r = make_gate(s, &app->conf, e);
    if (r == 0)
        r = open_listener(s, &app->conf, e);
    if (r != 0)
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): it does not see WIND_AUTO */
        return r;
    *ret = WIND_STEAL(s);
    return 0;
}

int http_server_start(struct http_server *s, struct err *e)
{
    const struct collector_conf *conf = &s->app->conf;
    struct MHD_OptionItem options[16];
    size_t n = 0;
    unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_UPGRADE | MHD_ALLOW_SUSPEND_RESUME |
                     MHD_USE_ERROR_LOG;

#define OPTION(...) options[n++] = (struct MHD_OptionItem){__VA_ARGS__}
    OPTION(MHD_OPTION_LISTEN_SOCKET, s->listener.fd, NULL);
    OPTION(MHD_OPTION_NOTIFY_COMPLETED, (intptr_t)on_completed, s);
    OPTION(MHD_OPTION_CONNECTION_LIMIT, (intptr_t)conf->api_connections, NULL);
    OPTION(MHD_OPTION_PER_IP_CONNECTION_LIMIT, (intptr_t)conf->api_connections_each, NULL);
    OPTION(MHD_OPTION_CONNECTION_TIMEOUT, (intptr_t)(conf->api_timeout_ns / (int64_t)WIND_NS_PER_S),
           NULL);
    OPTION(MHD_OPTION_CONNECTION_MEMORY_LIMIT, HEAD_BYTES, NULL);
    OPTION(MHD_OPTION_UNESCAPE_CALLBACK, (intptr_t)unescape, NULL);
    OPTION(MHD_OPTION_STRICT_FOR_CLIENT, 1, NULL);
    if (conf->api_threads > 1)
        OPTION(MHD_OPTION_THREAD_POOL_SIZE, (intptr_t)conf->api_threads, NULL);
    if (s->is_tls) {
        flags |= MHD_USE_TLS;
        OPTION(MHD_OPTION_HTTPS_MEM_CERT, 0, s->cert);
        OPTION(MHD_OPTION_HTTPS_MEM_KEY, 0, s->key);
        OPTION(MHD_OPTION_HTTPS_PRIORITIES, 0,
               (void *)(uintptr_t) "SECURE128:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2");
    }
    OPTION(MHD_OPTION_END, 0, NULL);
#undef OPTION
    s->daemon = MHD_start_daemon(flags, 0, NULL, NULL, on_request, s, MHD_OPTION_EXTERNAL_LOGGER,
                                 on_log, s, MHD_OPTION_ARRAY, options, MHD_OPTION_END);
    if (s->daemon == NULL)
        return err_set(e, -EIO, "the HTTP server does not start%s",
                       s->is_tls ? "; are api.tls_cert and api.tls_key a PEM pair?" : "");
    return write_queue_start(s->writes, e);
}

void http_server_quiesce(struct http_server *s)
{
    if (s->daemon != NULL)
        (void)MHD_quiesce_daemon(s->daemon);
}

struct http_server *http_server_free(struct http_server *s)
{
    if (s == NULL)
        return NULL;
    write_queue_stop(s->writes); /* nobody waits for it any more: the daemon may stop */
    if (s->daemon != NULL)
        MHD_stop_daemon(s->daemon);
    write_queue_free(s->writes);
    if (s->listener.fd >= 0)
        (void)close(s->listener.fd);
    cache_limit_free(s->gate.requests);
    cache_limit_free(s->gate.logins);
    cache_limit_free(s->gate.addresses);
    static_files_free(s->gate.files);
    free(s->cert);
    if (s->key != NULL)
        crypto_wipe(s->key, strlen(s->key));
    free(s->key);
    free(s);
    return NULL;
}

const char *http_server_url(const struct http_server *s)
{
    return s->url;
}
