/*
 * search_rest_setup.h - indices of the search server: templates, life-cycle, retention. Only
 * search_rest*.c includes this.
 *
 * Why      Everything about whole indices stands here, everything about documents in
 *          search_rest.c.
 * Owns     struct search_rest is search_rest.c's.
 * Threads  The follower alone; `refresh`, `is_dirty`, `http` and `prefix` are for all.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "collector/search_bulk.h"
#include "collector/search_rest.h"

#define INDEX_MAX 96

struct search_rest {
    struct search_http *http;
    struct json_scan *metadata;
    char prefix[64];
    int64_t retention_ns;
    struct search_ids ids;
    struct search_bulk bulk;
    struct buf tokens;
    int64_t version; /* theirs */
    json_t *gone[TOPICS];
    pthread_mutex_t refresh;
    _Atomic bool is_dirty; /* what was sent does not show yet */
};

/* Templates and policy. *ret_is_empty: the indices are not of this generation, and were deleted. */
WIND_MUST_USE int search_rest_setup(struct search_rest *r, const char *generation,
                                    bool *ret_is_empty, struct err *e);

/* Months that are over for longer than the retention, and what the database has no more. */
WIND_MUST_USE int search_rest_prune(struct search_rest *r, struct db *db, struct err *e);

/* All documents that a query (taken) finds. */
WIND_MUST_USE int search_rest_delete(struct search_rest *r, enum topic t, json_t *query,
                                     struct err *e);
