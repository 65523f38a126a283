/*
 * cache_shared.h - the thread that keeps several collectors in step through Redis.
 *
 * Why      Somebody has to connect, listen, notice silence, and say later what could not be said.
 * Owns     A thread, the subscription, and what cache_redis.h owns.
 * Threads  Any; `deliver` is called by the thread.
 * Bounds   Those of redis.h. A subscription that was silent for CACHE_SILENCE_MS is none.
 */
#pragma once

#include "collector/cache_redis.h"

#define CACHE_SILENCE_MS 500

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

/* For all that needs no thread: values, and giving back. */
struct cache_redis *cache_shared_server(struct cache_shared *s);

/* 0 or REDIS_AWAY. */
int cache_shared_take(struct cache_shared *s, const struct cache_rate *rate, const char *key,
                      struct ratelimit_verdict *ret);

/*
 * To the other collectors. What could not be said about credentials is waited for, until it was
 * said or nobody believes what he keeps any more: at most CACHE_SILENCE_MS.
 */
void cache_shared_publish(struct cache_shared *s, enum cache_topic t, const char *text);
bool cache_shared_is_current(const struct cache_shared *s, enum cache_topic t);

struct cache_shared_stats {
    struct redis_stats redis;
    uint64_t received, resubscribed;
    bool is_up, is_current;
};
void cache_shared_stats(const struct cache_shared *s, struct cache_shared_stats *ret);
