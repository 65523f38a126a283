/*
 * bus_sequence.h - which of a sensor's numbered messages have come, and which are lost.
 *
 * Why      A broker that lost messages, a topic that was pruned before it was read: nobody would
 *          know. Each sensor numbers what it sends, gapless, per topic and run. They are spread
 *          over partitions, which are read one far ahead of another, by several collectors: so a
 *          number that is missing is no loss yet, but it is one after a while.
 * Owns     The blocks of numbers in which some are missing. The table bus_sequences keeps them in
 *          the transaction of the messages, so that all collectors count together.
 * Threads  Any, each with a transaction of its own.
 * Bounds   SEQUENCE_BLOCKS blocks of a run: with more, what is missing in the lowest is a loss at
 *          once, and what comes of it later is taken for a duplicate. A jump over more than all
 *          of them is one loss. SEQUENCE_RUNS runs a sensor and topic and SEQUENCES_MAX in all:
 *          the ones unused longest are forgotten.
 *
 * Where the first message we heard of begins is all that is known: what was before it is not
 * missed. A loss that comes after all is taken off again.
 */
#pragma once

#include "collector/db.h"

#define SEQUENCE_BLOCK  1024 /* numbers of a block */
#define SEQUENCE_BLOCKS 512
#define SEQUENCE_RUNS   4
#define SEQUENCES_MAX   10000
#define SEQUENCE_TOLD   16 /* losses that settle names */

#define SEQUENCE_WORDS (SEQUENCE_BLOCK / 64)

struct sequence_block {
    int64_t base;     /* its first number */
    int64_t since_ns; /* since then numbers below `mark` are missing; 0: none is */
    int64_t mark;
    uint64_t seen[SEQUENCE_WORDS], lost[SEQUENCE_WORDS]; /* lost: it was told */
};

struct sequence {
    int64_t first, next; /* next 0: nothing was heard yet */
    size_t n, room;
    struct sequence_block *blocks; /* in order; those that are not here are complete */
    bool is_kept;                  /* the table has it */
};

void sequence_done(struct sequence *s);

/* What happened; also of several sequences together. */
struct sequence_events {
    int64_t gaps, missing; /* missing goes down when a loss comes after all */
    int64_t duplicates, reordered, found;
};

/* One message. Returns false when it had come before. */
bool sequence_take(struct sequence *s, int64_t seq, struct sequence_events *ev);

struct sequence_range {
    int64_t from, to;
};

/*
 * What is missing for longer than `wait_ns` is lost from now on. Returns how many ranges are in
 * ret_lost: of all of them (ev->gaps) the first, at most SEQUENCE_TOLD.
 */
size_t sequence_settle(struct sequence *s, int64_t now_ns, int64_t wait_ns,
                       struct sequence_events *ev, struct sequence_range *ret_lost);

/* When something is lost, if it has not come by then; 0: nothing is missing. */
int64_t sequence_due(const struct sequence *s, int64_t wait_ns);

/* The blocks as bytes, the same on every machine. -EINVAL: these are none. */
#define SEQUENCE_BLOCK_BYTES (24 + 2 * SEQUENCE_BLOCK / 8)
void sequence_write(const struct sequence *s, uint8_t *to); /* s->n * SEQUENCE_BLOCK_BYTES */
WIND_MUST_USE int sequence_read(struct sequence *s, int64_t first, int64_t next, const void *from,
                                size_t len);

/* ---- in the table */

struct sequence_key {
    const char *sensor, *topic, *run;
};

/* Ask for it; several before the first load go to the database together. */
WIND_MUST_USE int sequence_ask(struct db_tx *tx, const struct sequence_key *key,
                               struct db_stmt **ret_stmt, struct err *e);

/* A sequence that isn't there is an empty one. */
WIND_MUST_USE int sequence_load(struct db_stmt *stmt, struct sequence *ret_sequence, struct err *e);

/* Keep it, and add `ev` to the sensor's gaps and missing. */
WIND_MUST_USE int sequence_save(struct db_tx *tx, const struct sequence_key *key,
                                const struct sequence *s, int64_t wait_ns,
                                const struct sequence_events *ev, struct err *e);

/* Called for each loss after the transaction that says so has lasted. */
typedef void sequence_lost(const struct sequence_key *key, const struct sequence_range *range);

/* Of sensors that are silent now: what is due is lost. */
WIND_MUST_USE int sequence_sweep(struct db *db, int64_t now_ns, int64_t wait_ns,
                                 sequence_lost *lost, struct sequence_events *ev, struct err *e);
