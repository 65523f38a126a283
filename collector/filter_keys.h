/*
 * filter_keys.h - the tables behind the search grammar. Only filter*.c includes this.
 *
 * Why      A new key of the grammar is one line here, for alerts or for incidents.
 * Owns     Nothing: tables are static.
 * Threads  Any.
 */
#pragma once

#include <stdbool.h>

#include "collector/filter.h"

enum filter_kind {
    FILTER_WORD,     /* one of `words` */
    FILTER_TEXT,     /* equal */
    FILTER_LOWER,    /* equal, whatever the case */
    FILTER_SEVERITY, /* word, also compared */
    FILTER_INT,
    FILTER_REAL,
    FILTER_TIME,
    FILTER_UID,
    FILTER_NET, /* address or network: two parameters, first and last address */
};

/* Are few rows with a value found at once, and those of one value in the order of ids? */
enum filter_index { FILTER_NO_INDEX, FILTER_INDEX, FILTER_INDEX_IDS };

/*
 * Rows of another table that say something of ours: `id` is ours; `also` (may be NULL) holds. Of an
 * alert's entities, `entity` finds the one that has a value: those of its rows that have one of the
 * `roles` are in the order of `id`, a role at a time.
 */
struct filter_select {
    const char *id, *from, *also;
    const char *entity; /* NULL: it is something else */
    const char *const *roles;
};

/* In `sql`, `?` is the next parameter and `#` the operator (=, <, ...). */
struct filter_key {
    const char *name;
    enum filter_kind kind;
    const char *sql;   /* of our row, or of one of `select` */
    const char *field; /* in the documents of a search server (search_doc.h) */
    const char *const *words;
    const char *none; /* what `none` means (of a select: that there is no row); NULL: no value */
    enum filter_index index;
    const struct filter_select *select;
};

struct filter_order {
    const char *name, *sql, *field;
    bool is_real, is_lasting; /* lasting: the value of a row never changes */
};

struct filter_keys {
    const char *from, *id;
    const struct filter_key *keys;
    const struct filter_order *sorts;
    const char *text; /* the table of their tokens */
};

/* By enum filter_table; both have the key "host", which an address without a key means. Keys and
 * orders end with a row whose name is NULL; the first order is the default. */
extern const struct filter_keys filter_keys[];
