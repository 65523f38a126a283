/*
 * filter_sql.h - parts of a search as SQL. Only filter*.c includes this.
 *
 * Why      filter_query.c asks for a page, for its end and for counts: all of the same terms.
 * Owns     text is freed by whoever began; match is the caller's memory, and args point into it.
 * Threads  One at a time.
 * Bounds   FILTER_SQL_ARGS parameters; text fails beyond 64 KB.
 */
#pragma once

#include "collector/filter_query.h"

#define FILTER_SQL_ARGS (2 * FILTER_ARGS + FILTER_TERMS + 8)

struct filter_sql {
    enum db_engine engine;
    const struct filter *f;
    const struct filter_plan *plan;
    struct buf text, match;
    struct db_value args[FILTER_SQL_ARGS];
    size_t n_args;
};

void filter_sql_begin(struct filter_sql *q, const struct filter *f, const struct db_tx *tx,
                      const struct filter_plan *p, struct buf match);
/* The value of the next parameter, $n_args + 1. */
void filter_sql_arg(struct filter_sql *q, struct db_value v);

/* A term of a key, with AND in front; `bare` is for an index, the rest is not to go by one. */
void filter_sql_term(struct filter_sql *q, size_t term);
void filter_sql_value(struct filter_sql *q, const struct filter_key *k,
                      const struct filter_value *v, bool is_bare);

/* FROM and WHERE of other rows that have any of the values; `t` NULL: of all. */
void filter_sql_from(struct filter_sql *q, const struct filter_select *s,
                     const struct filter_term *t, bool is_bare);
/* The ids, as `id`, of the next rows of the plan's entity, `rows` of them in each of the roles. */
void filter_sql_along(struct filter_sql *q, const struct filter_select *s, const char *order,
                      size_t rows);

/* Is it a bound of what the rows are sorted by? A walk begins or ends there. */
bool filter_is_bound(const struct filter *f, const struct filter_term *t);
/* Is `term` sought with `seek`: that one, or another bound of the same column? */
bool filter_is_sought_with(const struct filter *f, size_t term, size_t seek);

/* At the end of an EXISTS that is to be asked of each row. */
const char *filter_sql_fence(const struct filter_sql *q);

/* All terms without a key: words. */
void filter_sql_words(struct filter_sql *q);

/* What the text index is asked for words of one sign; p == NULL: nothing. */
struct filter_match {
    const char *p;
    size_t len;
};
struct filter_match filter_match_of(struct filter_sql *q, bool is_negated);
