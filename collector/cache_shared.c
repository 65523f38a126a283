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

#include "common/log.h"
#include "common/time.h"

#define TICK_MS   100 /* between two signs of life, and between two tries to reach it */
#define EVERYBODY "*" /* in place of a credential: forget all of them */

/* Release by the thread, acquire. */
struct rounds {
    _Atomic uint64_t told; /* of the newest message that was delivered */
    _Atomic uint64_t seen; /* the highest that Redis spoke of */
};

struct cache_shared {
    struct cache_redis *server;
    struct redis *redis; /* of `server` */
    cache_deliver_fn *deliver;
    void *arg;
    pthread_t thread;
    bool is_running;
    int wake_fd;
    _Atomic bool stop;               /* pairs with the wake: written before, read after it */
    _Atomic bool owes[CACHE_TOPICS]; /* as `stop`: what could not be said */
    _Atomic bool is_odd;             /* as `stop`: Redis spoke of a round that was before */
    _Atomic uint64_t heard_ns;       /* 0: not subscribed; release by the thread, acquire */
    struct rounds rounds[CACHE_TOPICS];
    _Atomic uint64_t down_ns; /* when Redis was last found to be away */
    _Atomic uint64_t received, resubscribed;

    /* the thread's own */
    redisContext *subscription;
    uint64_t asked_ns; /* for the last sign of life */
    uint64_t tried_ns; /* to connect */
    uint64_t away_ns;  /* since when; 0: it isn't */
};

/* ---------------------------------------------------------------- from other threads */

static void wake(void *arg)
{
    const struct cache_shared *s = arg;
    const uint64_t one = 1;

    if (write(s->wake_fd, &one, sizeof(one)) < 0) { /* full: it is awake already */
    }
}

static void fell(void *arg)
{
    struct cache_shared *s = arg;

    atomic_store_explicit(&s->down_ns, time_mono_ns(), memory_order_release);
    wake(s);
}

/*
 * Redis spoke of this round. A higher one than ours has a message on its way. A lower one is
 * an answer that was overtaken by a message, or Redis has forgotten it: the thread looks.
 */
static void see(struct cache_shared *s, const uint64_t rounds[CACHE_TOPICS])
{
    for (int t = 0; t < CACHE_TOPICS; t++) {
        struct rounds *r = &s->rounds[t];
        uint64_t seen = atomic_load_explicit(&r->seen, memory_order_acquire);
        if (rounds[t] < atomic_load_explicit(&r->told, memory_order_acquire) &&
            !atomic_exchange_explicit(&s->is_odd, true, memory_order_acq_rel))
            wake(s);
        while (rounds[t] > seen &&
               !atomic_compare_exchange_weak_explicit(&r->seen, &seen, rounds[t],
                                                      memory_order_acq_rel, memory_order_acquire))
            ;
    }
}

int cache_shared_take(struct cache_shared *s, const struct cache_rate *rate, const char *key,
                      struct ratelimit_verdict *ret)
{
    uint64_t rounds[CACHE_TOPICS];
    const int r = cache_redis_take(s->server, rate, key, ret, rounds);

    if (r == 0)
        see(s, rounds);
    return r;
}

/* The others hear nothing either, and stop believing; or they do, and it is said later. */
static void wait_for_silence(const struct cache_shared *s)
{
    const uint64_t down_ns = atomic_load_explicit(&s->down_ns, memory_order_acquire);
    const uint64_t end_ns = down_ns + (CACHE_SILENCE_MS + TICK_MS) * WIND_NS_PER_MS;

    while (time_mono_ns() < end_ns &&
           atomic_load_explicit(&s->owes[CACHE_CREDENTIALS], memory_order_acquire))
        (void)usleep(2000);
}

void cache_shared_publish(struct cache_shared *s, enum cache_topic t, const char *text)
{
    if (cache_redis_publish(s->server, t, text) == 0)
        return;
    atomic_store_explicit(&s->owes[t], true, memory_order_release);
    if (t == CACHE_CREDENTIALS)
        wait_for_silence(s);
}

/* What could not be said before is said once for all. */
static void publish_owed(struct cache_shared *s)
{
    for (int t = 0; t < CACHE_TOPICS && redis_is_up(s->redis); t++)
        if (atomic_exchange_explicit(&s->owes[t], false, memory_order_acq_rel) &&
            cache_redis_publish(s->server, (enum cache_topic)t, EVERYBODY) != 0)
            atomic_store_explicit(&s->owes[t], true, memory_order_release);
}

bool cache_shared_is_current(const struct cache_shared *s, enum cache_topic t)
{
    const uint64_t heard_ns = atomic_load_explicit(&s->heard_ns, memory_order_acquire);

    return heard_ns != 0 && redis_is_up(s->redis) &&
           time_mono_ns() - heard_ns < CACHE_SILENCE_MS * WIND_NS_PER_MS &&
           atomic_load_explicit(&s->rounds[t].seen, memory_order_acquire) ==
               atomic_load_explicit(&s->rounds[t].told, memory_order_acquire);
}

struct cache_redis *cache_shared_server(struct cache_shared *s)
{
    return s->server;
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

/* From now on nothing can be missed; what was kept before is forgotten first. */
static void subscribe(struct cache_shared *s)
{
    struct err e = {0};

    uint64_t rounds[CACHE_TOPICS];

    if (s->subscription != NULL || !redis_is_up(s->redis) ||
        cache_redis_subscribe(s->server, &s->subscription, &e) != 0)
        return;
    if (cache_redis_rounds(s->server, rounds) != 0) { /* messages up to it may have been missed */
        unsubscribe(s);
        return;
    }
    atomic_fetch_add_explicit(&s->resubscribed, 1, memory_order_relaxed);
    missed(s);
    for (int t = 0; t < CACHE_TOPICS; t++) {
        atomic_store_explicit(&s->rounds[t].told, rounds[t], memory_order_release);
        atomic_store_explicit(&s->rounds[t].seen, rounds[t], memory_order_release);
    }
    s->asked_ns = time_mono_ns();
    atomic_store_explicit(&s->heard_ns, s->asked_ns, memory_order_release);
}

static void receive_message(struct cache_shared *s, const redisReply *reply)
{
    struct cache_message m;

    if (!cache_redis_read(s->server, reply, &m))
        return;
    struct rounds *r = &s->rounds[m.topic];
    const uint64_t before = atomic_load_explicit(&r->told, memory_order_relaxed);
    const bool is_all = m.round > before + 1 || strcmp(m.text, EVERYBODY) == 0;
    if (!m.is_own)
        atomic_fetch_add_explicit(&s->received, 1, memory_order_relaxed);
    if (is_all || !m.is_own)
        s->deliver(s->arg, m.topic, is_all ? NULL : m.text);
    if (m.round > before)
        atomic_store_explicit(&r->told, m.round, memory_order_release);
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

/* Asks for a sign of life, and keeps the rounds alive. */
static bool send_ping(struct cache_shared *s)
{
    uint64_t rounds[CACHE_TOPICS];
    int done = 0;

    s->asked_ns = time_mono_ns();
    atomic_store_explicit(&s->is_odd, false, memory_order_release);
    if (cache_redis_rounds(s->server, rounds) == 0) {
        for (int t = 0; t < CACHE_TOPICS; t++)
            if (rounds[t] < atomic_load_explicit(&s->rounds[t].told, memory_order_relaxed))
                return false; /* somebody emptied it: begin anew */
        see(s, rounds);
    }
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
    if (good && (now_ns - s->asked_ns >= TICK_MS * WIND_NS_PER_MS ||
                 atomic_load_explicit(&s->is_odd, memory_order_acquire)))
        good = send_ping(s);
    if (good && time_mono_ns() - atomic_load_explicit(&s->heard_ns, memory_order_relaxed) <
                    CACHE_SILENCE_MS * WIND_NS_PER_MS)
        return;
    unsubscribe(s);
    redis_doubt(s->redis, "the subscription broke");
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

    if (s == NULL)
        return err_set(e, -ENOMEM, "cache: out of memory");
    s->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (s->wake_fd < 0)
        return err_set(e, -errno, "cache: %s", strerror(errno));
    const int r = cache_redis_new(&s->server, conf, e);
    if (r != 0)
        return r;
    s->redis = cache_redis_server(s->server);
    redis_on_down(s->redis, fell, s);
    s->down_ns = time_mono_ns();
    *ret = WIND_STEAL(s);
    return 0;
}

struct cache_shared *cache_shared_free(struct cache_shared *s)
{
    if (s == NULL)
        return NULL;
    cache_shared_stop(s);
    unsubscribe(s);
    cache_redis_free(s->server);
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
    ret->is_current = cache_shared_is_current(s, CACHE_CREDENTIALS);
}
