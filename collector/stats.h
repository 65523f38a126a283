/*
 * stats.h - the figures of the page: how many alerts of what, when, and around whom.
 *
 * Why      A replayed old capture has to look as alive as today's: the timeline runs over the
 *          data's own extent in event time, not over the clock's last day.
 * Owns     Nothing: one read transaction of the caller.
 * Threads  Any.
 * Bounds   STATS_BUCKETS buckets, STATS_TOP entities, STATS_TYPES types.
 */
#pragma once

#include <jansson.h>

#include "collector/db.h"

#define STATS_BUCKETS 120
#define STATS_TOP     10
#define STATS_TYPES   50

/* Event time, both ends included; < 0: as far as the data goes. */
struct stats_range {
    int64_t from_ns, to_ns;
};

/* All of it follows from what the outbox has told: with the same newest number it is the same. */
WIND_MUST_USE int stats_get(struct db_tx *tx, const struct stats_range *range, json_t **ret_stats,
                            struct err *e);

/* Seconds: the smallest round number that covers from..to in at most STATS_BUCKETS buckets. */
int64_t stats_bucket_s(int64_t from_s, int64_t to_s);
