/*
 * cache.h - what several collectors agree on: limits, kept answers, who was told to leave.
 *
 * Why      One collector keeps it in the process; several share a Redis. Nothing here is the
 *          only copy of anything that matters: the database decides who gets in and holds
 *          every event, so a cache that is away, slow or empty costs time and never truth.
 * Owns     The values in the process, the limits' tables, the topics' listeners; with a URL the
 *          connections to Redis and a thread that looks after them.
 * Threads  Any. cache_listen before cache_start; new, start and free: main.
 * Bounds   In the process `memory` bytes of values, CACHE_SLOTS of them; the one unused longest
 *          gives way. A limit's table: see ratelimit.h. In Redis every key has a time to live.
 *          A call waits for Redis at most twice `timeout`; after a failure nobody waits until it
 *          works again, and limits and values are those of the process.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "collector/ratelimit.h"
#include "common/buf.h"
#include "common/err.h"

#define CACHE_SLOTS      1024
#define CACHE_KEY_MAX    200
#define CACHE_PREFIX_MAX 64

struct cache;

struct cache_conf {
    const char *url;           /* redis://...; NULL or "" = in the process */
    const char *password_file; /* "" = none */
    const char *prefix;        /* of all keys and channels in Redis */
    bool is_insecure;          /* it may be on another machine, in plain text */
    int64_t timeout_ns;
    unsigned connections;
    size_t memory;
};

/* Outcome of cache_get. */
#define CACHE_ABSENT 1

WIND_MUST_USE int cache_new(struct cache **ret, const struct cache_conf *conf, struct err *e);
struct cache *cache_free(struct cache *c);
WIND_DEFINE_FREE(cache)

/* Before it nothing is shared. Without a URL it starts no thread. */
WIND_MUST_USE int cache_start(struct cache *c, struct err *e);
void cache_stop(struct cache *c); /* no listener is called after it */

/*
 * ---- values: keys are texts of 1..CACHE_KEY_MAX bytes. A key says all that its value depends on
 * (such as the outbox's newest number): nothing is ever taken back, only no longer asked for.
 */

/* Appends the value to `into`. 0 or CACHE_ABSENT; also if it does not fit, or isn't reachable. */
int cache_get(struct cache *c, const char *key, struct buf *into);
/* May keep nothing: a value larger than an eighth of the memory is not kept. ttl_s > 0. */
void cache_put(struct cache *c, const char *key, const void *data, size_t n, int64_t ttl_s);

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
    CACHE_CREDENTIALS, /* "user 7" (and keys of that user), "session SID", "key 12" changed */
    CACHE_TOPICS
};

/* `text` NULL: some may have been missed; forget what depends on them. Any thread calls it. */
typedef void cache_fn(void *arg, const char *text);

/* One listener a topic. */
void cache_listen(struct cache *c, enum cache_topic t, cache_fn *fn, void *arg);

/* When this returns, the own listener was called, and the others are not current until theirs was.
 */
void cache_publish(struct cache *c, enum cache_topic t, const char *text);

/*
 * Whoever keeps what the database said of something that a topic is about
 *
 *     believes it only while cache_is_current: false means that messages may be missing. When
 *     that is so after a cache_limit_take, and cache_heard is the same as before the look-up,
 *     nothing was missing: what one collector did counts in all when its call has returned;
 *     forgets what a message names, and all of it when the text is NULL;
 *     takes cache_heard before asking the database, and keeps the answer only if it is still the
 *     same: the answer may be older than a message that came meanwhile.
 *
 * All of it is cheap enough for every request. Credentials are kept for CACHE_KEPT_S at most: a
 * collector that is cut off from Redis alone cannot tell the others.
 */
#define CACHE_KEPT_S 10
bool cache_is_current(struct cache *c, enum cache_topic t);
uint64_t cache_heard(struct cache *c, enum cache_topic t); /* changes with each message */

/* How it goes, for /metrics. */
void cache_print(struct cache *c, struct buf *out);
