/*
 * merge.h - the flow rings of all workers as one stream of records, in the order of their packets.
 *
 * Why      Analysis sees the flows that it would see of a single worker, however many there are,
 *          and in every run the same. Only of those that end at the same turn of the clock each
 *          worker's come together: so scores, and what an alert says at first, may differ a little
 *          between one worker and several.
 * Owns     The place in the stream. Borrows rings and counters. Stage 0 of the rings.
 * Threads  The analysis stage.
 * Bounds   One record is in hand at a time. Live, a worker that says nothing for MERGE_PATIENCE_NS
 *          is not waited for until it goes on; then its late records come at once.
 *
 * The record with the lowest header.order comes first, the worker with the lowest number where
 * they are equal. A worker with an empty ring is waited for as long as counters.order says that a
 * lower one may still come; with a single worker there is nothing to wait for.
 *
 * header.time_ns never runs backwards in the stream: what comes late has the time of the stream.
 */
#pragma once

#include "common/rings.h"
#include "sensor/counter.h"

#define MERGE_PATIENCE_NS UINT64_C(500000000)

struct merge;

WIND_MUST_USE int merge_new(struct merge **ret_merge, const struct rings *flows,
                            struct counters *counters, bool is_live, struct err *e);
struct merge *merge_free(struct merge *m);
WIND_DEFINE_FREE(merge)

/*
 * The record in hand, which is the caller's until merge_release; else the next one; or NULL: there
 * is none that may be taken yet.
 */
struct record_header *merge_peek(struct merge *m);

/* Number the record in hand (header.after) and pass it on to the uplink. */
void merge_release(struct merge *m);

/* Records released so far, by whichever analyser: what an alert must not come before. */
uint64_t merge_count(const struct merge *m);

/* No record to come is older than this: ask before merge_peek, use when that said NULL. */
uint64_t merge_clock(const struct merge *m);

/* Sleep until there is more to take, at most wait_ms. */
void merge_wait(const struct merge *m, int wait_ms);
