/*
 * filter_words.h - which words SQLite's text index has for those that may go on. Only filter*.c
 * includes this.
 *
 * Why      FTS5 makes one list of all rows that have a word which begins so, before it gives the
 *          first of them (60 ns a row). Asked for those words by name, it gives what is wanted.
 * Owns     Nothing.
 * Threads  One at a time.
 * Bounds   FILTER_WORDS_MAX words for one; what more begin so is sought in the rows.
 */
#pragma once

#include "collector/filter_query.h"

#define FILTER_WORDS_MAX   16
#define FILTER_WORDS_BYTES ((size_t)16 * 1024) /* of `match` */

/* Fills ret_words, whose `match` the caller has begun. */
WIND_MUST_USE int filter_words_look(const struct filter *f, struct db_tx *tx,
                                    struct filter_words *ret_words, struct err *e);
