/*
 * filter.h - the search grammar: from what people type to a page of rows.
 *
 *     src:10.0.0.0/8 -status:closed score:>0.9 type:port_scan,beacon "free words" sort:-time
 *
 * Why      One grammar for alerts, incidents, windctl and the page; one table of its keys.
 * Owns     What the search says. No text of a user ever becomes SQL.
 * Threads  One at a time.
 * Bounds   FILTER_TEXT_MAX bytes, FILTER_TERMS terms, FILTER_ARGS values; beyond: -EINVAL.
 *
 * Terms are joined by AND, values behind one key (a,b) by OR; a leading - negates. Severity,
 * numbers and times take > >= < <=. `none` finds what is not set. An address or network
 * without a key means that any entity has it. The newest comes first: the highest id, or, unless
 * sort says otherwise, the latest time (of alerts) or created, whichever is searched by first.
 *
 * Other words are searched in the texts (description or title, type, source, entities) by their
 * parts, as collector/search_token.h cuts them: evil-c2.example.com is four parts that stand one
 * behind the other, whatever is between them. The last part may go on (scan finds scanner),
 * but not in quotes ("port scan"), nor when the word ends in a sign (10.0.0. is no 10.0.01).
 *
 * All failures are -EINVAL with a sentence for the user, or -ENOMEM.
 */
#pragma once

#include "collector/db.h"
#include "common/jsonw.h"

#define FILTER_TEXT_MAX 1024
#define FILTER_TERMS    32
#define FILTER_ARGS     200
#define FILTER_CURSOR   128
#define FILTER_PAGE_MAX 200

enum filter_table { FILTER_ALERTS, FILTER_INCIDENTS };

struct filter;

WIND_MUST_USE int filter_new(struct filter **ret_filter, enum filter_table t, struct err *e);
struct filter *filter_free(struct filter *f);
WIND_DEFINE_FREE(filter)

/* Each at most once, in this order; `text` may be NULL. */
WIND_MUST_USE int filter_search(struct filter *f, const char *text, struct err *e);
WIND_MUST_USE int filter_sort(struct filter *f, const char *text, struct err *e);
WIND_MUST_USE int filter_cursor(struct filter *f, const char *text, struct err *e);
void filter_limit(struct filter *f, int64_t rows); /* 1..FILTER_PAGE_MAX; without it 50 */

/* Are there words for the text index? */
bool filter_has_words(const struct filter *f);

/* Writes the row that `s` stands on, one JSON value. */
typedef int filter_row(struct db_tx *tx, struct db_stmt *s, struct jsonw *j, void *arg,
                       struct err *e);

struct filter_rows {
    const char *columns; /* what `row` reads, from column 0 */
    int n_columns;
    filter_row *row;
    /* PostgreSQL: first, all rows at once (one may be too many), so that what belongs to them can
     * be asked for together; may be NULL. */
    int (*look)(struct db_tx *tx, struct db_stmt *s, void *arg, struct err *e);
    void *arg;
};

/* Into an open array. ret_cursor: "" at the end of the list. */
WIND_MUST_USE int filter_page(struct filter *f, struct db_tx *tx, const struct filter_rows *rows,
                              struct jsonw *j, char ret_cursor[FILTER_CURSOR], struct err *e);
