/*
 * replay.h - the answer to a POST is kept under its Idempotency-Key.
 *
 * Why      A client that lost the answer may ask again without doing the thing twice.
 * Owns     The table `replays`.
 * Threads  Any.
 * Bounds   REPLAY_HOURS, REPLAYS_MAX answers, REPLAY_BODY_MAX bytes each (larger: not kept).
 *
 *     unknown -> running --2xx--> kept -> forgotten        running --else--> unknown
 *     running for more than REPLAY_STUCK_S (its collector died) counts as unknown
 */
#pragma once

#include <stdint.h>

#include "collector/http_server.h"
#include "common/crypto.h"
#include "common/err.h"

#define REPLAY_HOURS    24
#define REPLAYS_MAX     10000
#define REPLAY_BODY_MAX ((size_t)256 * 1024)
#define REPLAY_STUCK_S  60

/* Outcomes of replay_begin. */
#define REPLAY_FOUND    1 /* the response is filled */
#define REPLAY_MISMATCH 2 /* the key was used for another body */
#define REPLAY_RUNNING  3 /* the first request with this key has not ended */

struct replay {
    uint8_t key[SHA256_BYTES], body[SHA256_BYTES];
};

/* `who` and `what` (method and path) are part of the key, so nobody sees another's answer. */
void replay_key(struct replay *r, const struct principal *who, const struct request *rq,
                const char *key, const void *body, size_t n);

/* 0: go on, and call replay_end. */
WIND_MUST_USE int replay_begin(struct db *db, const struct replay *r, struct response *rs,
                               struct err *e);
WIND_MUST_USE int replay_end(struct db *db, const struct replay *r, const struct response *rs,
                             struct err *e);
