#include "collector/redis.h"

#include <curl/curl.h>
#include <errno.h>
#include <hiredis/hiredis.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/crypto.h"
#include "common/file.h"
#include "common/ip.h"
#include "common/log.h"
#include "common/time.h"

#define PORT       6379
#define DATABASES  1000000
#define ALIVE_S    "10" /* life of the key that shows that it can be written */
#define SECRET_MAX 256

struct redis {
    char host[256], user[128], password[SECRET_MAX], alive[256];
    int port, database;
    struct timeval timeout;
    uint64_t timeout_ns;
    unsigned max;
    void (*on_down)(void *arg);
    void *on_down_arg;

    _Atomic bool is_up; /* relaxed: who sees it late fails once more */
    _Atomic uint64_t commands, failures, skipped;

    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t freed;
    redisContext *idle[REDIS_CONNECTIONS_MAX];
    unsigned n_idle, n_open; /* open: idle and lent */
    uint64_t age;            /* grows with each failure: what was lent before is not taken back */
    char why[160];           /* of the newest failure */
};

/* ---------------------------------------------------------------- configuration */

/* The part of the URL, or "". False: it does not fit. */
static bool url_part(CURLU *u, CURLUPart part, char *ret, size_t size)
{
    char *text = NULL;

    ret[0] = '\0';
    if (curl_url_get(u, part, &text, part == CURLUPART_USER ? CURLU_URLDECODE : 0) != CURLUE_OK)
        return true;
    const bool fits = snprintf(ret, size, "%s", text) < (int)size;
    curl_free(text);
    return fits;
}

static int number(const char *text, int otherwise, int max)
{
    char *end;
    const long v = strtol(text, &end, 10);

    if (text[0] == '\0')
        return otherwise;
    return *end == '\0' && v >= 0 && v <= max ? (int)v : -1;
}

static bool read_parts(struct redis *r, CURLU *u)
{
    char port[16], path[64], scheme[16], other[16];
    const size_t n = sizeof(r->host);

    if (!url_part(u, CURLUPART_SCHEME, scheme, sizeof(scheme)) || strcmp(scheme, "redis") != 0 ||
        !url_part(u, CURLUPART_HOST, r->host, n) || r->host[0] == '\0' ||
        !url_part(u, CURLUPART_USER, r->user, sizeof(r->user)) ||
        !url_part(u, CURLUPART_PORT, port, sizeof(port)) ||
        !url_part(u, CURLUPART_PATH, path, sizeof(path)) ||
        !url_part(u, CURLUPART_QUERY, other, sizeof(other)) || other[0] != '\0')
        return false;
    const size_t len = strlen(r->host);
    if (r->host[0] == '[') { /* of an IPv6 address */
        memmove(r->host, r->host + 1, len);
        r->host[len - 2] = '\0';
    }
    r->port = number(port, PORT, 65535);
    r->database = number(path[0] == '/' ? path + 1 : path, 0, DATABASES);
    return r->port > 0 && r->database >= 0;
}

static bool is_here(const char *host)
{
    static const uint8_t six[16] = {[15] = 1};
    uint8_t address[16];

    if (ip_parse(host, address) != 0)
        return strcmp(host, "localhost") == 0;
    return memcmp(address, six, sizeof(six)) == 0 || (ip_is_v4(address) && address[12] == 127);
}

static int read_url(struct redis *r, const char *url, struct err *e)
{
    char password[8];

    if (strncmp(url, "rediss://", 9) == 0)
        return err_set(e, -EINVAL,
                       "cache.url: TLS is not spoken here; let a local proxy (stunnel) do it");
    CURLU *u = curl_url();
    const bool is_url =
        u != NULL && curl_url_set(u, CURLUPART_URL, url, CURLU_NON_SUPPORT_SCHEME) == CURLUE_OK;
    const bool has_password =
        is_url &&
        (!url_part(u, CURLUPART_PASSWORD, password, sizeof(password)) || password[0] != '\0');
    const bool good = is_url && !has_password && read_parts(r, u);
    curl_url_cleanup(u);
    if (has_password)
        return err_set(e, -EINVAL, "cache.url: a password belongs into cache.password_file");
    if (!good) /* not shown: it may have a password in it */
        return err_set(e, -EINVAL, "cache.url must be like redis://[user@]host:6379/0");
    return 0;
}

int redis_new(struct redis **ret, const struct redis_conf *conf, struct err *e)
{
    WIND_AUTO(redis) struct redis *r = calloc(1, sizeof(*r));
    pthread_condattr_t attr;

    if (r == NULL)
        return err_set(e, -ENOMEM, "Redis: out of memory");
    (void)pthread_mutex_init(&r->lock, NULL);
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&r->freed, &attr);
    (void)pthread_condattr_destroy(&attr);
    r->max = conf->connections;
    r->timeout_ns = (uint64_t)conf->timeout_ns;
    r->timeout.tv_sec = (time_t)(r->timeout_ns / WIND_NS_PER_S);
    r->timeout.tv_usec = (suseconds_t)(r->timeout_ns % WIND_NS_PER_S / WIND_NS_PER_US);
    (void)snprintf(r->alive, sizeof(r->alive), "%salive", conf->prefix);
    int code = read_url(r, conf->url, e);
    if (code == 0 && !conf->is_insecure && !is_here(r->host))
        code =
            err_set(e, -EINVAL,
                    "cache.url: '%s' is another machine, and TLS is not spoken here; let a local "
                    "proxy (stunnel) do it, or set cache.insecure",
                    r->host);
    if (code == 0 && conf->password_file[0] != '\0') {
        code = file_read_secret(conf->password_file, r->password, sizeof(r->password), e);
        if (code == FILE_EXPOSED)
            log_warn("cache.password_file '%s' can be read by others, using it",
                     conf->password_file);
        code = code < 0 ? err_wrap(e, code, "cache.password_file") : 0;
    }
    if (code != 0)
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): it does not see WIND_AUTO */
        return code;
    *ret = WIND_STEAL(r);
    return 0;
}

struct redis *redis_free(struct redis *r)
{
    if (r == NULL)
        return NULL;
    for (unsigned i = 0; i < r->n_idle; i++)
        redisFree(r->idle[i]);
    (void)pthread_cond_destroy(&r->freed);
    (void)pthread_mutex_destroy(&r->lock);
    crypto_wipe(r->password, sizeof(r->password));
    free(r);
    return NULL;
}

/* ---------------------------------------------------------------- the pool */

bool redis_is_up(const struct redis *r)
{
    return atomic_load_explicit(&r->is_up, memory_order_relaxed);
}

void redis_on_down(struct redis *r, void (*fn)(void *arg), void *arg)
{
    r->on_down = fn;
    r->on_down_arg = arg;
}

static void count(_Atomic uint64_t *c)
{
    atomic_fetch_add_explicit(c, 1, memory_order_relaxed);
}

static struct timespec deadline_of(uint64_t after_ns)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    const uint64_t ns = (uint64_t)t.tv_nsec + after_ns;
    t.tv_sec += (time_t)(ns / WIND_NS_PER_S);
    t.tv_nsec = (long)(ns % WIND_NS_PER_S);
    return t;
}

/* NULL: it is down, or all connections stay busy. */
static redisContext *lend(struct redis *r, uint64_t *ret_age)
{
    redisContext *c = NULL;
    int waited = 0;

    (void)pthread_mutex_lock(&r->lock);
    if (r->n_idle == 0 && redis_is_up(r)) {
        const struct timespec deadline = deadline_of(r->timeout_ns);
        while (r->n_idle == 0 && redis_is_up(r) && waited == 0)
            waited = pthread_cond_timedwait(&r->freed, &r->lock, &deadline);
    }
    if (r->n_idle > 0 && redis_is_up(r))
        c = r->idle[--r->n_idle];
    *ret_age = r->age;
    (void)pthread_mutex_unlock(&r->lock);
    return c;
}

static void take_back(struct redis *r, redisContext *c, uint64_t age)
{
    (void)pthread_mutex_lock(&r->lock);
    const bool is_kept = r->age == age;
    if (is_kept)
        r->idle[r->n_idle++] = c;
    (void)pthread_cond_signal(&r->freed);
    (void)pthread_mutex_unlock(&r->lock);
    if (!is_kept)
        redisFree(c);
}

/* All connections go: they lead to the same server. */
static void drop_all(struct redis *r, uint64_t age, const char *why)
{
    redisContext *gone[REDIS_CONNECTIONS_MAX];
    unsigned n = 0;

    (void)pthread_mutex_lock(&r->lock);
    const bool is_news = r->age == age;
    if (is_news) {
        r->age++;
        for (n = 0; n < r->n_idle; n++)
            gone[n] = r->idle[n];
        r->n_idle = r->n_open = 0;
        (void)snprintf(r->why, sizeof(r->why), "%s", why);
        atomic_store_explicit(&r->is_up, false, memory_order_relaxed);
        (void)pthread_cond_broadcast(&r->freed);
    }
    (void)pthread_mutex_unlock(&r->lock);
    for (unsigned i = 0; i < n; i++)
        redisFree(gone[i]);
    if (is_news && r->on_down != NULL)
        r->on_down(r->on_down_arg);
}

static void fail(struct redis *r, redisContext *c, uint64_t age, const char *why)
{
    count(&r->failures);
    drop_all(r, age, why);
    redisFree(c);
}

void redis_doubt(struct redis *r, const char *why)
{
    (void)pthread_mutex_lock(&r->lock);
    const uint64_t age = r->age;
    (void)pthread_mutex_unlock(&r->lock);
    drop_all(r, age, why);
}

static const char *reason(const redisContext *c)
{
    if (c->err == REDIS_ERR_IO && (errno == EAGAIN || errno == EINPROGRESS))
        return "no answer in time";
    return c->errstr;
}

void redis_why(struct redis *r, char *ret_text, size_t size)
{
    (void)pthread_mutex_lock(&r->lock);
    (void)snprintf(ret_text, size, "%s", r->why);
    (void)pthread_mutex_unlock(&r->lock);
}

int redis_do(struct redis *r, const struct redis_word *words, size_t n, struct redisReply **ret)
{
    const char *argv[REDIS_WORDS_MAX];
    size_t lens[REDIS_WORDS_MAX];
    uint64_t age = 0;

    WIND_CHECK(n <= REDIS_WORDS_MAX);
    for (size_t i = 0; i < n; i++) {
        argv[i] = words[i].p;
        lens[i] = words[i].len;
    }
    redisContext *c = redis_is_up(r) ? lend(r, &age) : NULL;

    if (c == NULL) {
        count(&r->skipped);
        return REDIS_AWAY;
    }
    count(&r->commands);
    redisReply *reply = redisCommandArgv(c, (int)n, argv, lens);
    if (reply == NULL) {
        fail(r, c, age, reason(c));
        return REDIS_AWAY;
    }
    if (reply->type != REDIS_REPLY_ERROR) {
        take_back(r, c, age);
        *ret = reply;
        return 0;
    }
    const bool is_script = strncmp(reply->str, "NOSCRIPT", 8) == 0;
    if (is_script)
        take_back(r, c, age);
    else
        fail(r, c, age, reply->str);
    freeReplyObject(reply);
    return is_script ? REDIS_NO_SCRIPT : REDIS_AWAY;
}

/* ---------------------------------------------------------------- connecting */

static int ask(redisContext *c, struct err *e, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    redisReply *reply = redisvCommand(c, fmt, args);
    va_end(args);
    if (reply == NULL)
        return err_set(e, -EAGAIN, "%s", reason(c));
    const int code = reply->type == REDIS_REPLY_ERROR ? err_set(e, -EAGAIN, "%s", reply->str) : 0;
    freeReplyObject(reply);
    return code;
}

static int greet(const struct redis *r, redisContext *c, struct err *e)
{
    int code = 0;

    (void)redisEnableKeepAlive(c);
    if (redisSetTimeout(c, r->timeout) != REDIS_OK)
        return err_set(e, -EAGAIN, "%s", c->errstr);
    if (r->password[0] != '\0')
        code = r->user[0] != '\0' ? ask(c, e, "AUTH %s %s", r->user, r->password)
                                  : ask(c, e, "AUTH %s", r->password);
    if (code == 0 && r->database > 0)
        code = ask(c, e, "SELECT %d", r->database);
    return code;
}

int redis_dial(struct redis *r, struct redisContext **ret, struct err *e)
{
    redisContext *c = redisConnectWithTimeout(r->host, r->port, r->timeout);

    if (c == NULL)
        return err_set(e, -ENOMEM, "no memory for a connection");
    const int code = c->err != 0 ? err_set(e, -EAGAIN, "%s", reason(c)) : greet(r, c, e);
    if (code != 0) {
        redisFree(c);
        return code;
    }
    *ret = c;
    return 0;
}

/* Does it answer, and can it be written? It may be loading, full, or a replica. */
static int try_it(struct redis *r, struct err *e)
{
    redisContext *c = NULL;
    int code = redis_dial(r, &c, e);

    if (code != 0)
        return code;
    code = ask(c, e, "SET %s 1 EX " ALIVE_S, r->alive);
    if (code != 0) {
        redisFree(c);
        return code;
    }
    (void)pthread_mutex_lock(&r->lock);
    r->idle[r->n_idle++] = c;
    r->n_open = r->n_idle;
    atomic_store_explicit(&r->is_up, true, memory_order_relaxed);
    (void)pthread_mutex_unlock(&r->lock);
    return 0;
}

int redis_tend(struct redis *r, struct err *e)
{
    int code = redis_is_up(r) ? 0 : try_it(r, e);

    while (code == 0 && redis_is_up(r)) {
        redisContext *c = NULL;
        (void)pthread_mutex_lock(&r->lock);
        const bool is_enough = r->n_open >= r->max;
        const uint64_t age = r->age;
        (void)pthread_mutex_unlock(&r->lock);
        if (is_enough)
            return 0;
        code = redis_dial(r, &c, e);
        if (code != 0)
            break;
        (void)pthread_mutex_lock(&r->lock);
        r->n_open += r->age == age;
        (void)pthread_mutex_unlock(&r->lock);
        take_back(r, c, age);
    }
    return code;
}

void redis_stats(const struct redis *r, struct redis_stats *ret)
{
    *ret = (struct redis_stats){
        .commands = atomic_load_explicit(&r->commands, memory_order_relaxed),
        .failures = atomic_load_explicit(&r->failures, memory_order_relaxed),
        .skipped = atomic_load_explicit(&r->skipped, memory_order_relaxed),
    };
}
