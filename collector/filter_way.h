/*
 * filter_way.h - which way a database goes to a page. Only filter*.c includes this.
 *
 * Why      SQLite keeps no statistics and would read all that have a value, a row or a million,
 *          to sort them. So it is tried: first a few rows in the order of the list, which are
 *          enough when many have what is wanted; then, when few have one of the terms, those.
 *          PostgreSQL's statistics say little of words, and nothing of two columns that go
 *          together, such as ids and times: there it is tried, too. Of a host neither knows that
 *          its rows come in the order of ids: the next of them are listed first.
 * Owns     Nothing.
 * Threads  One at a time.
 * Bounds   What neither finds reads until the page is full: what few rows have that have no
 *          index (port, proto, type, source), or rows that have two values which many have.
 */
#pragma once

#include "collector/filter_words.h"

/*
 * 0: *ret_plan is the way, or the rows are picked already (filter_tree.h). `ret_words` (its match
 * begun) is what the plan points to.
 */
WIND_MUST_USE int filter_way(struct filter *f, struct db_tx *tx, struct filter_words *ret_words,
                             struct filter_plan *ret_plan, struct err *e);

/* May FILTER_SEEK have it? */
bool filter_is_sought(const struct filter *f, const struct filter_term *t);
