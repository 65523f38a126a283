#include "collector/cache_shared.h"

#include <errno.h>
#include <hiredis/hiredis.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/crypto.h"
#include "common/log.h"
#include "common/time.h"

#define TICK_MS      250 /* between two signs of life, and between two tries to reach it */
#define EVERYBODY    "*" /* in place of a credential: forget all of them */
#define KEY_NAME_MAX 128 /* of a key in Redis without its prefix: a letter, a name, a digest */

/*
 * The time at which the key is forgiven all (GCRA, as ratelimit.c), in microseconds of the
 * server's clock, so that the collectors' clocks need not agree.
 */
static const char take_script[] =
    "local t = redis.call('TIME') "
    "local now, step, room = t[1] * 1000000 + t[2], tonumber(ARGV[1]), tonumber(ARGV[2]) "
    "local clear = tonumber(redis.call('GET', KEYS[1]) or 0) "
    "if clear < now then clear = now end "
    "clear = clear + step "
    "local used = clear - now "
    "if used > room then return {1, string.format('%.0f', used - room)} end "
    "redis.call('SET', KEYS[1], string.format('%.3f', clear), 'PX', math.ceil(used / 1000) + 1) "
    "return {0, string.format('%.0f', used)}";

static const char give_back_script[] =
    "local clear, left = redis.call('GET', KEYS[1]), redis.call('PTTL', KEYS[1]) "
    "if clear and left > 0 then redis.call('SET', KEYS[1], "
    "string.format('%.3f', clear - ARGV[1]), 'PX', left) end "
    "return 1";

struct script {
    const char *text;
    char digest[41];
};

static const char *const channels[CACHE_TOPICS] = {
    [CACHE_COMMITTED] = "committed",
    [CACHE_CREDENTIALS] = "credentials",
};

struct cache_shared {
    struct redis *redis;
    char prefix[CACHE_PREFIX_MAX + 1];
    char me[UUID_TEXT]; /* tells own messages from those of others */
    struct script take, give_back;
    cache_deliver_fn *deliver;
    void *arg;
    pthread_t thread;
    bool is_running;
    int wake_fd;
    _Atomic bool stop; /* pairs with the wake: written before, read after it */
    _Atomic bool has_committed, owes_credentials; /* as `stop` */
    _Atomic uint64_t heard_ns; /* 0: not subscribed. relaxed: see cache_shared_is_current */
    _Atomic uint64_t received, resubscribed;

    /* the thread's own */
    redisContext *subscription;
    uint64_t asked_ns; /* for the last sign of life */
    uint64_t tried_ns; /* to connect */
    uint64_t away_ns;  /* since when; 0: it isn't */
};

/* ---------------------------------------------------------------- names */

static void script_init(struct script *s, const char *text)
{
    uint8_t digest[SHA1_BYTES];

    s->text = text;
    crypto_sha1(text, strlen(text), digest);
    (void)hex_encode(digest, sizeof(digest), s->digest);
}

struct key {
    char text[CACHE_PREFIX_MAX + KEY_NAME_MAX];
    size_t n;
};

/* People's names and addresses do not go to Redis, and a key has a known length. */
static struct redis_word key_make(const struct cache_shared *s, struct key *k, const char *kind,
                                  const char *name)
{
    uint8_t digest[SHA256_BYTES];
    char hex[HEX_TEXT(16)];

    crypto_sha256(name, strlen(name), digest);
    (void)hex_encode(digest, 16, hex);
    k->n = (size_t)snprintf(k->text, sizeof(k->text), "%s%s:%s", s->prefix, kind, hex);
    return (struct redis_word){k->text, k->n};
}

/* ---------------------------------------------------------------- values and limits */

int cache_shared_get(struct cache_shared *s, const char *key, struct buf *into)
{
    const size_t len = into->len;
    struct key k;
    const struct redis_word words[] = {redis_text("GET"), key_make(s, &k, "value", key)};
    redisReply *reply;

    if (redis_do(s->redis, words, 2, &reply) != 0)
        return REDIS_AWAY;
    const bool is_there = reply->type == REDIS_REPLY_STRING;
    if (is_there)
        buf_put(into, reply->str, reply->len);
    freeReplyObject(reply);
    if (!into->failed)
        return is_there ? 0 : CACHE_ABSENT;
    buf_truncate(into, len);
    return CACHE_ABSENT;
}

int cache_shared_put(struct cache_shared *s, const char *key, const struct redis_word *data,
                     int64_t ttl_s)
{
    char ttl[24];
    struct key k;
    redisReply *reply;

    (void)snprintf(ttl, sizeof(ttl), "%" PRId64, ttl_s);
    const struct redis_word words[] = {redis_text("SET"), key_make(s, &k, "value", key), *data,
                                       redis_text("EX"), redis_text(ttl)};
    if (redis_do(s->redis, words, WIND_ARRAY_SIZE(words), &reply) != 0)
        return REDIS_AWAY;
    freeReplyObject(reply);
    return 0;
}

/* words[0..2] are for the script's name and its number of keys. */
static int run_script(struct cache_shared *s, const struct script *script, struct redis_word *words,
                      size_t n, redisReply **ret)
{
    words[0] = redis_text("EVALSHA");
    words[1] = redis_text(script->digest);
    words[2] = redis_text("1");
    int r = redis_do(s->redis, words, n, ret);
    if (r == REDIS_NO_SCRIPT) { /* it has been started anew */
        words[0] = redis_text("EVAL");
        words[1] = redis_text(script->text);
        r = redis_do(s->redis, words, n, ret);
    }
    return r == 0 ? 0 : REDIS_AWAY;
}

static bool read_verdict(const redisReply *reply, const struct cache_rate *rate,
                         struct ratelimit_verdict *ret)
{
    const double room_us = rate->step_us * (double)rate->burst;

    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2 ||
        reply->element[0]->type != REDIS_REPLY_INTEGER ||
        reply->element[1]->type != REDIS_REPLY_STRING)
        return false;
    const double us = strtod(reply->element[1]->str, NULL);
    const bool is_over = reply->element[0]->integer != 0;
    *ret = (struct ratelimit_verdict){
        .is_over = is_over,
        .limit = rate->burst,
        .remaining = is_over ? 0 : (int64_t)((room_us - us) / rate->step_us + 1e-6),
        .wait_s = (int64_t)((us + 999999) / 1e6),
    };
    return true;
}

int cache_shared_take(struct cache_shared *s, const struct cache_rate *rate, const char *key,
                      struct ratelimit_verdict *ret)
{
    char step[32], room[32];
    struct key k;
    redisReply *reply;

    (void)snprintf(step, sizeof(step), "%.6f", rate->step_us);
    (void)snprintf(room, sizeof(room), "%.6f", rate->step_us * (double)rate->burst);
    struct redis_word words[6] = {
        [3] = key_make(s, &k, rate->name, key), redis_text(step), redis_text(room)};
    if (run_script(s, &s->take, words, WIND_ARRAY_SIZE(words), &reply) != 0)
        return REDIS_AWAY;
    const bool good = read_verdict(reply, rate, ret);
    freeReplyObject(reply);
    return good ? 0 : REDIS_AWAY;
}

void cache_shared_give_back(struct cache_shared *s, const struct cache_rate *rate, const char *key)
{
    char step[32];
    struct key k;
    redisReply *reply;

    (void)snprintf(step, sizeof(step), "%.6f", rate->step_us);
    struct redis_word words[5] = {[3] = key_make(s, &k, rate->name, key), redis_text(step)};
    if (run_script(s, &s->give_back, words, WIND_ARRAY_SIZE(words), &reply) == 0)
        freeReplyObject(reply);
}

/* ---------------------------------------------------------------- messages */

static void wake(void *arg)
{
    const struct cache_shared *s = arg;
    const uint64_t one = 1;

    if (write(s->wake_fd, &one, sizeof(one)) < 0) { /* full: it is awake already */
    }
}

/* "<who says it> <text>" */
static int publish(struct cache_shared *s, enum cache_topic t, const char *text)
{
    char channel[CACHE_PREFIX_MAX + KEY_NAME_MAX], message[UUID_TEXT + CACHE_KEY_MAX + 2];
    redisReply *reply;

    (void)snprintf(channel, sizeof(channel), "%s%s", s->prefix, channels[t]);
    (void)snprintf(message, sizeof(message), "%s %s", s->me, text);
    const struct redis_word words[] = {redis_text("PUBLISH"), redis_text(channel),
                                       redis_text(message)};
    if (redis_do(s->redis, words, WIND_ARRAY_SIZE(words), &reply) != 0)
        return REDIS_AWAY;
    freeReplyObject(reply);
    return 0;
}

/* That something was committed can wait for the thread; that somebody lost a right cannot. */
void cache_shared_publish(struct cache_shared *s, enum cache_topic t, const char *text)
{
    if (t == CACHE_COMMITTED) {
        if (!atomic_exchange_explicit(&s->has_committed, true, memory_order_acq_rel))
            wake(s);
    } else if (publish(s, t, text) != 0) {
        atomic_store_explicit(&s->owes_credentials, true, memory_order_release);
    }
}

/* What could not be said before is said once for all. */
static void publish_owed(struct cache_shared *s)
{
    if (!redis_is_up(s->redis))
        return;
    if (atomic_exchange_explicit(&s->owes_credentials, false, memory_order_acq_rel) &&
        publish(s, CACHE_CREDENTIALS, EVERYBODY) != 0)
        atomic_store_explicit(&s->owes_credentials, true, memory_order_release);
    if (atomic_exchange_explicit(&s->has_committed, false, memory_order_acq_rel))
        (void)publish(s, CACHE_COMMITTED, ""); /* lost: the others look once a second anyway */
}

bool cache_shared_is_current(const struct cache_shared *s)
{
    const uint64_t heard_ns = atomic_load_explicit(&s->heard_ns, memory_order_acquire);

    return heard_ns != 0 && redis_is_up(s->redis) &&
           time_mono_ns() - heard_ns < CACHE_SILENCE_MS * WIND_NS_PER_MS;
}

/* ---------------------------------------------------------------- the thread */

static void unsubscribe(struct cache_shared *s)
{
    atomic_store_explicit(&s->heard_ns, 0, memory_order_release);
    if (s->subscription != NULL)
        redisFree(s->subscription);
    s->subscription = NULL;
}

static void missed(struct cache_shared *s)
{
    for (int t = 0; t < CACHE_TOPICS; t++)
        s->deliver(s->arg, (enum cache_topic)t, NULL);
}

/* Only now nothing can be missed: what was kept before is forgotten first. */
static void subscribe(struct cache_shared *s)
{
    struct err e = {0};

    if (s->subscription != NULL || !redis_is_up(s->redis) ||
        redis_dial(s->redis, &s->subscription, &e) != 0)
        return;
    bool good = true;
    for (int t = 0; t < CACHE_TOPICS; t++) {
        redisReply *reply = redisCommand(s->subscription, "SUBSCRIBE %s%s", s->prefix, channels[t]);
        good = good && reply != NULL && reply->type == REDIS_REPLY_ARRAY;
        freeReplyObject(reply);
    }
    if (!good) {
        unsubscribe(s);
        return;
    }
    atomic_fetch_add_explicit(&s->resubscribed, 1, memory_order_relaxed);
    missed(s);
    s->asked_ns = time_mono_ns();
    atomic_store_explicit(&s->heard_ns, s->asked_ns, memory_order_release);
}

static void receive_message(struct cache_shared *s, const redisReply *m)
{
    const size_t me = strlen(s->me), prefix = strlen(s->prefix);

    if (m->type != REDIS_REPLY_ARRAY || m->elements != 3 || m->element[1]->str == NULL ||
        m->element[2]->str == NULL || strcmp(m->element[0]->str, "message") != 0)
        return; /* an answer to PING */
    const char *channel = m->element[1]->str, *text = m->element[2]->str;
    if (strncmp(text, s->me, me) == 0 || m->element[2]->len <= me)
        return;
    for (int t = 0; t < CACHE_TOPICS; t++)
        if (strcmp(channel + prefix, channels[t]) == 0) {
            atomic_fetch_add_explicit(&s->received, 1, memory_order_relaxed);
            s->deliver(s->arg, (enum cache_topic)t,
                       strcmp(text + me + 1, EVERYBODY) == 0 ? NULL : text + me + 1);
        }
}

/* All that has come. What was said before an answer to PING has been delivered by then. */
static bool receive(struct cache_shared *s)
{
    void *reply = NULL;

    if (redisBufferRead(s->subscription) != REDIS_OK)
        return false;
    while (redisGetReplyFromReader(s->subscription, &reply) == REDIS_OK && reply != NULL) {
        receive_message(s, reply);
        freeReplyObject(reply);
    }
    if (s->subscription->err != 0)
        return false;
    atomic_store_explicit(&s->heard_ns, time_mono_ns(), memory_order_release);
    return true;
}

static bool send_ping(struct cache_shared *s)
{
    int done = 0;

    s->asked_ns = time_mono_ns();
    if (redisAppendCommand(s->subscription, "PING") != REDIS_OK)
        return false;
    while (done == 0)
        if (redisBufferWrite(s->subscription, &done) != REDIS_OK)
            return false;
    return true;
}

static void wait_for_news(struct cache_shared *s)
{
    struct pollfd fds[2] = {
        {.fd = s->wake_fd, .events = POLLIN},
        {.fd = s->subscription != NULL ? s->subscription->fd : -1, .events = POLLIN}};
    uint64_t wakes;

    if (poll(fds, 2, TICK_MS) < 0)
        return;
    if (fds[0].revents != 0 && read(s->wake_fd, &wakes, sizeof(wakes)) < 0) { /* as in wake */
    }
    if (s->subscription == NULL)
        return;
    const uint64_t now_ns = time_mono_ns();
    bool good = fds[1].revents == 0 || receive(s);
    if (good && now_ns - s->asked_ns >= TICK_MS * WIND_NS_PER_MS)
        good = send_ping(s);
    if (good && time_mono_ns() - atomic_load_explicit(&s->heard_ns, memory_order_relaxed) >=
                    CACHE_SILENCE_MS * WIND_NS_PER_MS)
        good = false;
    if (!good) {
        unsubscribe(s);
        redis_doubt(s->redis, "the subscription broke");
    }
}

/* Connect, and say what changed. */
static void tend(struct cache_shared *s)
{
    const uint64_t now_ns = time_mono_ns();
    const bool was_up = redis_is_up(s->redis);
    struct err e = {0};

    if (!was_up && now_ns - s->tried_ns < TICK_MS * WIND_NS_PER_MS)
        return;
    s->tried_ns = now_ns;
    const int r = redis_tend(s->redis, &e);
    if (r != 0 && s->away_ns == 0) {
        s->away_ns = now_ns;
        log_warn("cache: Redis does not serve (%s): limits are counted here alone, sessions are "
                 "asked of the database, trying again",
                 e.text);
    } else if (r == 0 && s->away_ns != 0) {
        log_info("cache: Redis serves again after %" PRIu64 " s",
                 (now_ns - s->away_ns) / WIND_NS_PER_S);
        s->away_ns = 0;
    } else if (r == 0 && !was_up) {
        char why[160];
        redis_why(s->redis, why, sizeof(why));
        log_info("cache: connected to Redis%s%s", why[0] != '\0' ? " again after: " : "", why);
    }
}

static void *run(void *arg)
{
    struct cache_shared *s = arg;

    while (!atomic_load_explicit(&s->stop, memory_order_acquire)) {
        tend(s);
        subscribe(s);
        publish_owed(s);
        wait_for_news(s);
    }
    return NULL;
}

/* ---------------------------------------------------------------- life */

int cache_shared_new(struct cache_shared **ret, const struct cache_conf *conf, struct err *e)
{
    WIND_AUTO(cache_shared) struct cache_shared *s = calloc(1, sizeof(*s));
    const struct redis_conf redis = {.url = conf->url,
                                     .password_file = conf->password_file,
                                     .prefix = conf->prefix,
                                     .timeout_ns = conf->timeout_ns,
                                     .connections = conf->connections};
    uint8_t random[10], uuid[16];

    if (s == NULL)
        return err_set(e, -ENOMEM, "cache: out of memory");
    (void)snprintf(s->prefix, sizeof(s->prefix), "%s", conf->prefix);
    script_init(&s->take, take_script);
    script_init(&s->give_back, give_back_script);
    crypto_random(random, sizeof(random));
    uuid_v7(time_wall_ns() / WIND_NS_PER_MS, random, uuid);
    uuid_format(uuid, s->me);
    s->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (s->wake_fd < 0)
        return err_set(e, -errno, "cache: %s", strerror(errno));
    const int r = redis_new(&s->redis, &redis, e);
    if (r != 0)
        return r;
    redis_on_down(s->redis, wake, s);
    *ret = WIND_STEAL(s);
    return 0;
}

struct cache_shared *cache_shared_free(struct cache_shared *s)
{
    if (s == NULL)
        return NULL;
    cache_shared_stop(s);
    unsubscribe(s);
    redis_free(s->redis);
    if (s->wake_fd > 0)
        (void)close(s->wake_fd);
    free(s);
    return NULL;
}

int cache_shared_start(struct cache_shared *s, cache_deliver_fn *deliver, void *arg, struct err *e)
{
    s->deliver = deliver;
    s->arg = arg;
    const int r = pthread_create(&s->thread, NULL, run, s);
    if (r != 0)
        return err_set(e, -r, "cache: no thread: %s", strerror(r));
    s->is_running = true;
    return 0;
}

void cache_shared_stop(struct cache_shared *s)
{
    if (!s->is_running)
        return;
    atomic_store_explicit(&s->stop, true, memory_order_release);
    wake(s);
    (void)pthread_join(s->thread, NULL);
    s->is_running = false;
}

void cache_shared_stats(const struct cache_shared *s, struct cache_shared_stats *ret)
{
    redis_stats(s->redis, &ret->redis);
    ret->received = atomic_load_explicit(&s->received, memory_order_relaxed);
    ret->resubscribed = atomic_load_explicit(&s->resubscribed, memory_order_relaxed);
    ret->is_up = redis_is_up(s->redis);
    ret->is_current = cache_shared_is_current(s);
}
