/*
 * cache_shared.h - cache.h's side of Redis: scripts, messages, and the thread behind them.
 *
 * Why      What is said to Redis is here, how it is reached is redis.h.
 * Owns     The pool, the subscription, and a thread.
 * Threads  Any; `deliver` is called by the thread.
 * Bounds   Those of redis.h. A subscription that was silent for CACHE_SILENCE_MS is none.
 */
#pragma once

#include "collector/cache.h"
#include "collector/redis.h"

#define CACHE_SILENCE_MS 1000

struct cache_shared;

/* `text` NULL: some may have been missed. */
typedef void cache_deliver_fn(void *arg, enum cache_topic t, const char *text);

WIND_MUST_USE int cache_shared_new(struct cache_shared **ret, const struct cache_conf *conf,
                                   struct err *e);
struct cache_shared *cache_shared_free(struct cache_shared *s);
WIND_DEFINE_FREE(cache_shared)

WIND_MUST_USE int cache_shared_start(struct cache_shared *s, cache_deliver_fn *deliver, void *arg,
                                     struct err *e);
void cache_shared_stop(struct cache_shared *s);

/* 0, CACHE_ABSENT or REDIS_AWAY. */
int cache_shared_get(struct cache_shared *s, const char *key, struct buf *into);
/* 0 or REDIS_AWAY. */
int cache_shared_put(struct cache_shared *s, const char *key, const struct redis_word *data,
                     int64_t ttl_s);

/* What one event of a limit costs, and how many fit. */
struct cache_rate {
    const char *name;
    int64_t burst;
    double step_us;
};
int cache_shared_take(struct cache_shared *s, const struct cache_rate *rate, const char *key,
                      struct ratelimit_verdict *ret);
void cache_shared_give_back(struct cache_shared *s, const struct cache_rate *rate, const char *key);

/* To the other collectors. */
void cache_shared_publish(struct cache_shared *s, enum cache_topic t, const char *text);
bool cache_shared_is_current(const struct cache_shared *s);

struct cache_shared_stats {
    struct redis_stats redis;
    uint64_t received, resubscribed;
    bool is_up, is_current;
};
void cache_shared_stats(const struct cache_shared *s, struct cache_shared_stats *ret);
