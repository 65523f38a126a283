/*
 * redis.h - connections to one Redis that never hold up a request for long.
 *
 * Why      Redis may die, hang or come back at any time, and requests must not notice more than
 *          one short wait: after a failure nobody asks it again before it has shown that it works.
 * Owns     Its connections. Only redis_tend and redis_dial connect: looking up names can take
 *          long, so no request does.
 * Threads  redis_do, redis_is_up and redis_stats: any. redis_tend and redis_dial: the one thread
 *          that looks after it.
 * Bounds   `connections` connections. A call waits `timeout` for a free one, and as long for an
 *          answer.
 *
 *     down --redis_tend could write--> up --any failure--> down
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/time.h>

#include "common/err.h"

#define REDIS_CONNECTIONS_MAX 256

struct redis;
struct redisContext;
struct redisReply;

struct redis_conf {
    const char *url;           /* redis://[user@]host[:port][/database] */
    const char *password_file; /* "" = none */
    const char *prefix;        /* of all keys */
    bool is_insecure;          /* may be on another machine, in plain text */
    int64_t timeout_ns;
    unsigned connections;
};

/* Outcomes of redis_do; none is one of cache.h. */
#define REDIS_AWAY      8 /* it is down, or has just failed */
#define REDIS_NO_SCRIPT 9 /* EVALSHA: it does not know the script */

/* Only looks at the URL and the password file: the first redis_tend connects. */
WIND_MUST_USE int redis_new(struct redis **ret, const struct redis_conf *conf, struct err *e);
struct redis *redis_free(struct redis *r);
WIND_DEFINE_FREE(redis)

bool redis_is_up(const struct redis *r);

/* One command of n words. *ret is set on 0 only, is not an error, and goes to freeReplyObject. */
struct redis_word {
    const char *p;
    size_t len;
};
#define REDIS_WORDS_MAX 16
WIND_MUST_USE int redis_do(struct redis *r, const struct redis_word *words, size_t n,
                           struct redisReply **ret);

static inline struct redis_word redis_text(const char *s)
{
    return (struct redis_word){s, strlen(s)};
}

/* Something else says that it went away: it is down until redis_tend has tried it. */
void redis_doubt(struct redis *r, const char *why);

/* What the newest failure was. */
void redis_why(struct redis *r, char *ret_text, size_t size);

/* Called whenever redis_is_up turns false. Set before threads start. */
void redis_on_down(struct redis *r, void (*fn)(void *arg), void *arg);

/*
 * Connects what is missing; when it is down, tries whether it works again. -EAGAIN: it is down,
 * and `e` says why.
 */
WIND_MUST_USE int redis_tend(struct redis *r, struct err *e);

/* One more connection, for a subscription; the caller's, for redisFree. */
WIND_MUST_USE int redis_dial(struct redis *r, struct redisContext **ret, struct err *e);

struct redis_stats {
    uint64_t commands, failures, skipped; /* skipped: not asked, it was down or all were busy */
};
void redis_stats(const struct redis *r, struct redis_stats *ret);
