/*
 * cache_redis.h - what is said to Redis: keys, scripts and messages of cache.h.
 *
 * Why      What is said is here; how it is reached is redis.h, and when cache_shared.h.
 * Owns     The pool of connections.
 * Threads  Those of redis.h.
 * Bounds   Those of redis.h. Every key is short and has an end.
 */
#pragma once

#include "collector/cache.h"
#include "collector/redis.h"

struct cache_redis;

WIND_MUST_USE int cache_redis_new(struct cache_redis **ret, const struct cache_conf *conf,
                                  struct err *e);
struct cache_redis *cache_redis_free(struct cache_redis *s);
WIND_DEFINE_FREE(cache_redis)
struct redis *cache_redis_server(struct cache_redis *s);

/* All below: 0 or REDIS_AWAY. */

/* Also CACHE_ABSENT. */
int cache_redis_get(struct cache_redis *s, const char *key, struct buf *into);
int cache_redis_put(struct cache_redis *s, const char *key, const struct redis_word *data,
                    int64_t ttl_s);

/* What one event of a limit costs, and how many fit. */
struct cache_rate {
    const char *name;
    int64_t burst;
    double step_us;
};
/* ret_rounds: numbers of the newest messages. */
int cache_redis_take(struct cache_redis *s, const struct cache_rate *rate, const char *key,
                     struct ratelimit_verdict *ret, uint64_t ret_rounds[CACHE_TOPICS]);
void cache_redis_give_back(struct cache_redis *s, const struct cache_rate *rate, const char *key);

int cache_redis_publish(struct cache_redis *s, enum cache_topic t, const char *text);
int cache_redis_rounds(struct cache_redis *s, uint64_t ret[CACHE_TOPICS]);

/* A connection that hears all topics; the caller's, for redisFree. */
WIND_MUST_USE int cache_redis_subscribe(struct cache_redis *s, struct redisContext **ret,
                                        struct err *e);

struct cache_message {
    enum cache_topic topic;
    bool is_own;
    uint64_t round;   /* of its topic, without gaps */
    const char *text; /* lives as long as the reply */
};
/* False: it is no message, but an answer. */
bool cache_redis_read(const struct cache_redis *s, const struct redisReply *reply,
                      struct cache_message *ret);
