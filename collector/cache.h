/*
 * cache.h - what several collectors agree on: limits, kept answers, who was told to leave.
 *
 * Why      One collector keeps it in the process; several share a Redis. Nothing here is the
 *          only copy of anything that matters: the database decides who gets in and holds
 *          every event, so a cache that is away or empty costs time and never truth.
 * Owns     The values in the process, the limits' tables, the topics' listeners.
 * Threads  Any. cache_listen before the first publish; new and free: main.
 * Bounds   `memory` bytes of values, CACHE_SLOTS of them; the one unused longest gives way. Every
 *          value has a time to live. A limit's table: see ratelimit.h.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "collector/ratelimit.h"
#include "common/buf.h"
#include "common/err.h"

#define CACHE_SLOTS   1024
#define CACHE_KEY_MAX 200

struct cache;

struct cache_conf {
    size_t memory;
};

/* Outcome of cache_get. */
#define CACHE_ABSENT 1

WIND_MUST_USE int cache_new(struct cache **ret, const struct cache_conf *conf, struct err *e);
struct cache *cache_free(struct cache *c);
WIND_DEFINE_FREE(cache)

/* ---- values: keys are texts of 1..CACHE_KEY_MAX bytes */

/* Appends the value to `into`. 0 or CACHE_ABSENT; also when it does not fit, or is not reachable.
 */
int cache_get(struct cache *c, const char *key, struct buf *into);
/* May keep nothing: a value larger than an eighth of the memory is not kept. */
void cache_put(struct cache *c, const char *key, const void *data, size_t n, int64_t ttl_s);
void cache_drop(struct cache *c, const char *key);

/* ---- limits: ratelimit.h, counted over all collectors that share the cache */

struct cache_limit;

/* `name` tells limits apart, and is the same in every collector. Free it before the cache. */
WIND_MUST_USE int cache_limit_new(struct cache_limit **ret, struct cache *c, const char *name,
                                  const struct ratelimit_conf *conf, struct err *e);
struct cache_limit *cache_limit_free(struct cache_limit *l);
WIND_DEFINE_FREE(cache_limit)

struct ratelimit_verdict cache_limit_take(struct cache_limit *l, const char *key);
void cache_limit_give_back(struct cache_limit *l, const char *key);

/* ---- topics: what one collector says to all, itself included */

enum cache_topic {
    CACHE_COMMITTED,   /* something is in the database: look at the outbox. The text is "" */
    CACHE_CREDENTIALS, /* "user 7", "session SID", "key 12" is no longer what it was */
    CACHE_TOPICS
};

/* `text` NULL: some may have been missed; forget what depends on them. Any thread calls it. */
typedef void cache_fn(void *arg, const char *text);

/* One listener a topic. */
void cache_listen(struct cache *c, enum cache_topic t, cache_fn *fn, void *arg);

/* The own listener has been called when this returns; the others hear it soon, or NULL later. */
void cache_publish(struct cache *c, enum cache_topic t, const char *text);

/*
 * False: messages may be missing now, so what was kept of credentials must not be believed; ask
 * the database. Cheap enough for every request.
 */
bool cache_is_current(struct cache *c);
