/*
 * filter_tree.h - what a search says once it was read. Only filter*.c and search*.c include this.
 *
 * Why      The grammar is read once; SQL and the query language of a search server are two
 *          printers of the same tree, so that they can't understand it differently.
 * Owns     All texts of the tree lie in `text`.
 * Threads  One at a time.
 * Bounds   FILTER_TERMS, FILTER_ARGS, FILTER_TEXTS.
 */
#pragma once

#include "collector/filter_keys.h"

#define FILTER_TEXTS ((size_t)4 * FILTER_TEXT_MAX)

enum filter_op { FILTER_EQ, FILTER_LT, FILTER_LE, FILTER_GT, FILTER_GE, FILTER_UNSET };

struct filter_value {
    enum filter_op op;
    int64_t i;         /* INT, TIME, SEVERITY */
    double real;       /* REAL */
    const char *text;  /* WORD, TEXT, LOWER; of words: their tokens */
    uint8_t first[16]; /* NET: first and last address; UID: the first alone */
    uint8_t last[16];
};

/* Values are joined by OR. */
struct filter_term {
    const struct filter_key *key; /* NULL: one value, words for the text index */
    bool is_negated;
    bool is_prefix; /* words: the last token may go on */
    size_t first, n;
};

struct filter {
    enum filter_table what;
    const struct filter_keys *table;
    size_t n_terms, n_values, text_len;
    const struct filter_order *sort;
    bool is_descending;
    bool is_sorted; /* somebody said how */
    int64_t limit;
    bool has_cursor; /* the last row that was given: its value (as the order says) and id */
    int64_t cursor_int, cursor_id;
    double cursor_real;
    bool is_picked; /* a search server picked the rows of this page */
    size_t n_picked;
    int64_t picked[FILTER_PAGE_MAX];
    char picked_cursor[FILTER_CURSOR];
    struct filter_term terms[FILTER_TERMS];
    struct filter_value values[FILTER_ARGS];
    char text[FILTER_TEXTS];
};

/* Of the row after which the next page begins. */
void filter_cursor_of(const struct filter *f, int64_t value, double real, int64_t id,
                      char ret_cursor[FILTER_CURSOR]);
