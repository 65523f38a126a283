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

/* In `sql`, `?` is the next parameter and `#` the operator (=, <, ...). */
struct filter_key {
    const char *name;
    enum filter_kind kind;
    const char *sql;
    const char *field; /* in the documents of a search server (search_doc.h) */
    const char *const *words;
    const char *none; /* what `none` means; NULL: it is no value of this key */
};

struct filter_order {
    const char *name, *sql, *field;
    bool is_real;
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
