/*
 * search_state.h - how far an index is filled, in the database. Only search*.c includes this.
 *
 * Why      Position and rows change in one transaction, so that a kill in between loses nothing.
 * Owns     The table search_state, a row an index.
 * Threads  Any, each with a transaction of its own; save and anew need a write one.
 * Bounds   None of its own.
 */
#pragma once

#include "collector/search_index.h"

struct search_state {
    char generation[SEARCH_GENERATION]; /* of what it was filled with */
    int64_t seq;                        /* changes of the outbox up to it are in */
    int64_t done[TOPICS], to[TOPICS];   /* ids of a rebuild; equal: there is none */
};

/* *ret_is_there false: it was never filled. */
WIND_MUST_USE int search_state_load(struct db_tx *tx, const char *index,
                                    struct search_state *ret_state, bool *ret_is_there,
                                    struct err *e);

/* From `old` to `st`. Who was faster (another collector, a rebuild that was asked for) wins. */
WIND_MUST_USE int search_state_save(struct db_tx *tx, const char *index,
                                    const struct search_state *old, const struct search_state *st,
                                    bool *ret_is_ours, struct err *e);

/* All rows that are there now, and the changes after now. */
WIND_MUST_USE int search_state_anew(struct db_tx *tx, const char *index, const char *generation,
                                    struct err *e);
