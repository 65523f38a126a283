/*
 * ratelimit.h - at most so many events a key, in bounded memory.
 *
 * Why      Guessing a password and hammering the API must cost time, and the table that
 *          remembers who did must not be a way to fill the memory.
 * Owns     A fixed table of slots. Keys are kept as keyed hashes only.
 * Threads  Any; one short lock.
 * Bounds   `slots` keys. When a set of the table is full the key that is nearest to being
 *          forgiven gives way.
 *
 * Each slot is one number (GCRA): the time at which the key will have been forgiven all.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"

struct ratelimit;

struct ratelimit_verdict {
    bool is_over;
    int64_t limit, remaining; /* of the burst */
    int64_t wait_s;           /* if over: seconds until one more is allowed; else until all are */
};

/* `per_minute` events in the long run, `burst` at once. `slots` is rounded up to a power of two. */
struct ratelimit_conf {
    int64_t per_minute, burst;
    size_t slots;
};

WIND_MUST_USE int ratelimit_new(struct ratelimit **ret, const struct ratelimit_conf *conf,
                                struct err *e);
struct ratelimit *ratelimit_free(struct ratelimit *l);
WIND_DEFINE_FREE(ratelimit)

/* Count one event of `key` at `now_ns` (monotonic), unless it is over. */
struct ratelimit_verdict ratelimit_take(struct ratelimit *l, const char *key, uint64_t now_ns);

/* Undo one ratelimit_take: the event turned out to be harmless. */
void ratelimit_give_back(struct ratelimit *l, const char *key);
