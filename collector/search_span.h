/*
 * search_span.h - the rows that an index takes at a time. Only search*.c includes this.
 *
 * Why      Rows are asked for by their ids, a part of them at a time: what the changes say would be
 *          read again for each part.
 * Owns     Nothing.
 * Threads  Any.
 * Bounds   SEARCH_BATCH_MAX ids.
 */
#pragma once

#include "collector/db.h"
#include "collector/search.h"
#include "collector/store.h"

/* Rows to take: those that the changes (from, to] of the outbox touched, or ids (from, to]. */
struct search_span {
    enum topic topic; /* of ids */
    bool is_ids;
    bool is_far; /* leave out incidents that change again soon after `to` */
    int64_t from, to;
};

struct search_ids {
    size_t n;
    int64_t id[SEARCH_BATCH_MAX]; /* ascending */
};

/* Which rows of a topic are of the span; some of them may be gone. */
WIND_MUST_USE int search_span_ids(struct db_tx *tx, const struct search_span *span, enum topic t,
                                  struct search_ids *ret_ids, struct err *e);

/*
 * The condition on the id column (`a` is "a." or so) that finds some of them, and its parameters
 * $1 to $3. The bounds are for PostgreSQL, which leaves out partitions by them alone.
 */
#define SEARCH_SOME(a)           a "id = ANY($1) AND " a "id BETWEEN $2 AND $3"
#define SEARCH_SOME_ARGS(ids, n) db_ints(ids, n), db_int((ids)[0]), db_int((ids)[(n)-1])
