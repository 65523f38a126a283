#include "collector/cache.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "collector/cache_local.h"
#include "collector/cache_shared.h"
#include "collector/metrics.h"
#include "common/time.h"

struct listener {
    cache_fn *fn; /* NULL: nobody listens */
    void *arg;
};

struct cache {
    struct cache_local *local;
    struct cache_shared *shared; /* NULL: in the process alone */
    struct listener listeners[CACHE_TOPICS];
    _Atomic uint64_t heard[CACHE_TOPICS]; /* seq_cst: a reader orders it with the database */
    _Atomic uint64_t hits, misses;        /* relaxed */
};

struct cache_limit {
    struct cache *cache;
    struct ratelimit *here;
    struct cache_rate rate;
};

int cache_new(struct cache **ret, const struct cache_conf *conf, struct err *e)
{
    WIND_AUTO(cache) struct cache *c = calloc(1, sizeof(*c));
    if (c == NULL)
        return err_set(e, -ENOMEM, "cache: out of memory");
    int r = cache_local_new(&c->local, conf->memory, e);
    if (r == 0 && conf->url != NULL && conf->url[0] != '\0')
        r = cache_shared_new(&c->shared, conf, e);
    if (r != 0)
        return r;
    *ret = WIND_STEAL(c);
    return 0;
}

struct cache *cache_free(struct cache *c)
{
    if (c == NULL)
        return NULL;
    cache_shared_free(c->shared);
    cache_local_free(c->local);
    free(c);
    return NULL;
}

/* ---------------------------------------------------------------- values */

static void count(_Atomic uint64_t *n)
{
    atomic_fetch_add_explicit(n, 1, memory_order_relaxed);
}

int cache_get(struct cache *c, const char *key, struct buf *into)
{
    int r =
        c->shared == NULL ? REDIS_AWAY : cache_redis_get(cache_shared_server(c->shared), key, into);

    if (r == REDIS_AWAY)
        r = cache_local_get(c->local, key, into, time_mono_ns());
    count(r == 0 ? &c->hits : &c->misses);
    return r;
}

void cache_put(struct cache *c, const char *key, const void *data, size_t n, int64_t ttl_s)
{
    const struct cache_value v = {data, n, time_mono_ns() + (uint64_t)ttl_s * WIND_NS_PER_S};
    const struct redis_word word = {data, n};

    if (c->shared == NULL ||
        cache_redis_put(cache_shared_server(c->shared), key, &word, ttl_s) != 0)
        cache_local_put(c->local, key, &v);
}

/* ---------------------------------------------------------------- limits */

int cache_limit_new(struct cache_limit **ret, struct cache *c, const char *name,
                    const struct ratelimit_conf *conf, struct err *e)
{
    WIND_AUTO(cache_limit) struct cache_limit *l = calloc(1, sizeof(*l));
    if (l == NULL)
        return err_set(e, -ENOMEM, "limit '%s': out of memory", name);
    l->cache = c;
    l->rate = (struct cache_rate){name, conf->burst, 60e6 / (double)conf->per_minute};
    const int r = ratelimit_new(&l->here, conf, e);
    if (r != 0)
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): it does not see WIND_AUTO */
        return r;
    *ret = WIND_STEAL(l);
    return 0;
}

struct cache_limit *cache_limit_free(struct cache_limit *l)
{
    if (l == NULL)
        return NULL;
    ratelimit_free(l->here);
    free(l);
    return NULL;
}

/*
 * Counted here in any case, so that nobody is forgiven when Redis goes away. Who is over here is
 * over everywhere, and a flood does not reach Redis. What Redis refuses costs nothing here.
 */
struct ratelimit_verdict cache_limit_take(struct cache_limit *l, const char *key)
{
    struct cache_shared *shared = l->cache->shared;
    struct ratelimit_verdict v = ratelimit_take(l->here, key, time_mono_ns());

    if (v.is_over || shared == NULL || cache_shared_take(shared, &l->rate, key, &v) != 0)
        return v;
    if (v.is_over)
        ratelimit_give_back(l->here, key);
    return v;
}

void cache_limit_give_back(struct cache_limit *l, const char *key)
{
    ratelimit_give_back(l->here, key);
    if (l->cache->shared != NULL)
        cache_redis_give_back(cache_shared_server(l->cache->shared), &l->rate, key);
}

/* ---------------------------------------------------------------- topics */

void cache_listen(struct cache *c, enum cache_topic t, cache_fn *fn, void *arg)
{
    c->listeners[t] = (struct listener){fn, arg};
}

static void deliver(void *arg, enum cache_topic t, const char *text)
{
    struct cache *c = arg;
    const struct listener *l = &c->listeners[t];

    /* Twice: who compares before and after sees a message that came, and one that is being told. */
    atomic_fetch_add(&c->heard[t], 1);
    if (l->fn != NULL)
        l->fn(l->arg, text);
    atomic_fetch_add(&c->heard[t], 1);
}

void cache_publish(struct cache *c, enum cache_topic t, const char *text)
{
    deliver(c, t, text);
    if (c->shared != NULL)
        cache_shared_publish(c->shared, t, text);
}

bool cache_is_current(struct cache *c, enum cache_topic t)
{
    return c->shared == NULL || cache_shared_is_current(c->shared, t);
}

uint64_t cache_heard(struct cache *c, enum cache_topic t)
{
    return atomic_load(&c->heard[t]);
}

int cache_start(struct cache *c, struct err *e)
{
    return c->shared == NULL ? 0 : cache_shared_start(c->shared, deliver, c, e);
}

void cache_stop(struct cache *c)
{
    if (c != NULL && c->shared != NULL)
        cache_shared_stop(c->shared);
}

/* ---------------------------------------------------------------- metrics */

static uint64_t get(_Atomic uint64_t *n)
{
    return atomic_load_explicit(n, memory_order_relaxed);
}

void cache_print(struct cache *c, struct buf *out)
{
    struct cache_shared_stats s;

    metrics_print_one(out, "wind_cache_hits_total", "counter", "Kept values that were found.",
                      get(&c->hits));
    metrics_print_one(out, "wind_cache_misses_total", "counter", "Kept values that were not.",
                      get(&c->misses));
    metrics_print_one(out, "wind_cache_bytes", "gauge", "Values kept in the process.",
                      cache_local_bytes(c->local));
    if (c->shared == NULL)
        return;
    cache_shared_stats(c->shared, &s);
    metrics_print_one(out, "wind_cache_up", "gauge", "1: Redis serves.", s.is_up);
    metrics_print_one(out, "wind_cache_current", "gauge",
                      "1: what other collectors say of credentials arrives.", s.is_current);
    metrics_print_one(out, "wind_cache_commands_total", "counter", "Commands sent to Redis.",
                      s.redis.commands);
    metrics_print_one(out, "wind_cache_failures_total", "counter",
                      "Of them without a good answer in time.", s.redis.failures);
    metrics_print_one(out, "wind_cache_skipped_total", "counter",
                      "Not sent: it was away or busy, and the process did it alone.",
                      s.redis.skipped);
    metrics_print_one(out, "wind_cache_messages_total", "counter",
                      "Messages of other collectors that came.", s.received);
    metrics_print_one(out, "wind_cache_subscriptions_total", "counter",
                      "Times that listening to other collectors began.", s.resubscribed);
}
