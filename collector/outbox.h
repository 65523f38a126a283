/*
 * outbox.h - what changed, in the order of commits: live listeners resume from a number.
 *
 * Why      The largest id is no bookmark: rows become visible when they are committed, and
 *          updates make no new id. Here each change has a sequence of its own.
 * Owns     The table. A row says which object changed; readers get the object as it is now,
 *          so several changes of one object between two reads are told once.
 * Threads  Any; adding needs the caller's write transaction. db_on_commit says when to look.
 * Bounds   The newest OUTBOX_KEEP rows are kept, and those that an index (search.h) has not
 *          taken yet, up to OUTBOX_HELD; who comes later than that reads OUTBOX_GAP and has to
 *          load the lists anew.
 */
#pragma once

#include "collector/store.h"

#define OUTBOX_KEEP 100000
#define OUTBOX_HELD 5000000
#define OUTBOX_GAP  1

struct outbox_item {
    int64_t seq;
    enum topic topic;
    bool is_new;     /* created; else updated */
    struct buf data; /* the alert or incident as the API shows it, JSON; owned */
};

WIND_MUST_USE int outbox_add(struct db_tx *tx, enum topic t, int64_t id, bool is_new,
                             struct err *e);

/* One row for each id; of deleted objects listeners hear nothing, indexes do. */
enum outbox_op { OUTBOX_CREATED, OUTBOX_UPDATED, OUTBOX_DELETED };
WIND_MUST_USE int outbox_add_all(struct db_tx *tx, enum topic t, enum outbox_op op,
                                 const int64_t *ids, size_t n, struct err *e);

struct outbox_change {
    enum topic topic;
    int64_t id;
    bool is_new;
};

/* A row that nobody else can have written, even if ours was undone and its number given again. */
struct outbox_mark {
    int64_t seq, at_ns;
};

/* Many at once, in this order; *ret_last is set when n > 0. */
WIND_MUST_USE int outbox_add_changes(struct db_tx *tx, const struct outbox_change *changes,
                                     size_t n, struct outbox_mark *ret_last, struct err *e);

/* The newest; zeros when there is none. */
WIND_MUST_USE int outbox_mark(struct db_tx *tx, struct outbox_mark *ret_last, struct err *e);

/* The newest sequence number; 0 when there was never one. */
WIND_MUST_USE int outbox_last(struct db_tx *tx, int64_t *ret_seq, struct err *e);

/* The oldest and the newest that are kept; 1 and 0 when there was never one. */
WIND_MUST_USE int outbox_range(struct db_tx *tx, int64_t *ret_first, int64_t *ret_last,
                               struct err *e);

#define OUTBOX_BATCH 64

struct outbox_batch {
    int64_t seq; /* where to go on: can be beyond the last item */
    size_t n;
    struct outbox_item items[OUTBOX_BATCH];
};

/*
 * The next changes after `since`, in order; n is 0 when there are none.
 * OUTBOX_GAP: some after `since` are forgotten, or `since` is from another database.
 */
WIND_MUST_USE int outbox_read(struct db_tx *tx, int64_t since, struct outbox_batch *ret_batch,
                              struct err *e);
void outbox_done(struct outbox_batch *b);
