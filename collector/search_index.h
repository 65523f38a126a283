/*
 * search_index.h - what an index has to offer to search.c. Only search*.c includes this.
 *
 * Why      search.c keeps the thread, the position and rebuilds; an index takes rows and finds
 *          them.
 * Owns     `index` is its own; search.c frees it once.
 * Threads  open, take and send: one at a time. find: any.
 */
#pragma once

#include "collector/filter_tree.h"
#include "collector/search_span.h"

#define SEARCH_GENERATION 64
#define SEARCH_ENTITIES   2000 /* of an incident */

struct search_ops {
    const char *name;
    const char *version; /* of what it is filled with */
    int64_t batch[2];    /* changes or rows at a time, by db_engine */
    /* Make it ready. *ret_is_empty: it is not what this generation filled, fill it anew. */
    int (*open)(void *index, const char *generation, bool *ret_is_empty, struct err *e);
    /* Read the rows of a span. -EFBIG: they do not fit, those of a smaller one may. */
    int (*take)(void *index, struct db_tx *tx, const struct search_span *span, uint64_t *ret_taken,
                struct err *e);
    /* What was read goes out (-EFBIG: as above), or into the database, whose write `tx` is. */
    int (*send)(void *index, uint64_t *ret_refused, struct err *e);
    int (*write)(void *index, struct db_tx *tx, const struct search_span *span, struct err *e);
    /* Pick the rows of a page; NULL: the filter's SQL asks the index itself. */
    int (*find)(void *index, struct filter *f, struct err *e);
    /* Now and then: what the database has no more, and what is too old. */
    int (*prune)(void *index, struct db *db, struct err *e);
    void (*done)(void *index);
};

extern const struct search_ops search_text_ops;
WIND_MUST_USE int search_text_new(void **ret_index, struct err *e);
