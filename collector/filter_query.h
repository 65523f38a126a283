/*
 * filter_query.h - the printer of a search as SQL. Only filter*.c includes this.
 *
 * Why      PostgreSQL knows how many rows have what, and mostly plans by itself. SQLite doesn't:
 *          it is told here, by conditions that an index may serve and others that it may not.
 * Owns     Nothing.
 * Threads  One at a time.
 * Bounds   A query is 64 KB at most, else -ENOMEM.
 */
#pragma once

#include "collector/filter_tree.h"
#include "common/buf.h"

enum filter_way {
    FILTER_PLAIN, /* as the database likes: PostgreSQL, or nothing is asked for */
    FILTER_SEEK,  /* rows that have one of the terms, from its index; then they are sorted */
    FILTER_LIST,  /* rows that have the words, from the text index; then they are sorted */
    FILTER_DRIVE, /* the same in the order of ids, up to the end of the page */
    FILTER_WALK,  /* rows in the order that was asked for; each is looked at */
    FILTER_READ,  /* the same, by lists that are made first: for all rows there are */
};

/* The last row that is wanted: its value in the order, and its id. */
struct filter_edge {
    struct db_value value;
    int64_t id;
};

#define FILTER_FEW 3000 /* rows are listed and sorted, at 1.4 us each */
#define FILTER_FAR 4000 /* rows are looked at, when no index has few */

struct filter_ids {
    size_t n;
    int64_t id[FILTER_FAR];
};

/* What is known of the words that rows have. */
struct filter_words {
    struct buf match;           /* what SQLite's text index is asked; "": as they were said */
    bool is_open[FILTER_TERMS]; /* not in it, but sought in the rows */
    struct filter_ids ids;      /* rows that have them (in PostgreSQL), or are of an entity ... */
    struct db_value list;       /* ... as one value */
};

#define FILTER_NO_TERM SIZE_MAX

struct filter_plan {
    enum filter_way way;
    size_t seek;    /* the term of FILTER_SEEK */
    size_t along;   /* a walk goes through the rows that have this one value ... */
    int64_t entity; /* ... which is of this entity (filter_select) ... */
    const struct db_value *along_ids; /* ... and only these of them; NULL: all there are */
    const struct filter_edge *edge;   /* NULL: none */
    const struct filter_words *words; /* NULL: as they were said */
    const struct db_value *ids;       /* of all rows that have the words; NULL: not known */
};

/* A page, and one row more, of `columns`, what it is sorted by, and the id. */
WIND_MUST_USE int filter_query(const struct filter *f, struct db_tx *tx,
                               const struct filter_plan *p, const char *columns,
                               struct db_stmt **ret_stmt, struct err *e);

/* Who has the value of a term whose select has an `entity`. 0: nobody; 2: several; 1: *ret_entity.
 */
WIND_MUST_USE int filter_find_entity(const struct filter *f, struct db_tx *tx, size_t term,
                                     int64_t *ret_entity, struct err *e);

/*
 * The ids of the next rows of the plan's entity, at most `most` (up to FILTER_FAR), in their order;
 * some may be there twice.
 */
WIND_MUST_USE int filter_list_along(const struct filter *f, struct db_tx *tx,
                                    const struct filter_plan *p, size_t most,
                                    struct filter_ids *ret_ids, struct err *e);

/* The row that is `rows` from where the page begins. 0: there are no more than that. */
WIND_MUST_USE int filter_find_edge(const struct filter *f, struct db_tx *tx,
                                   const struct filter_plan *p, int rows,
                                   struct filter_edge *ret_edge, struct err *e);

/* How many rows have it, at most `most`: with more, counting ends. */
WIND_MUST_USE int filter_count_term(const struct filter *f, struct db_tx *tx, size_t term,
                                    int64_t most, int64_t *ret_n, struct err *e);
WIND_MUST_USE int filter_count_words(const struct filter *f, struct db_tx *tx,
                                     const struct filter_words *w, int64_t most, int64_t *ret_n,
                                     struct err *e);

/* PostgreSQL: those of these rows that have the words, in no order. */
WIND_MUST_USE int filter_narrow_words(const struct filter *f, struct db_tx *tx,
                                      struct filter_ids *ids, struct err *e);

/* PostgreSQL: the ids of the first `most` rows that have the words, in no order. */
WIND_MUST_USE int filter_list_words(const struct filter *f, struct db_tx *tx, size_t most,
                                    struct filter_ids *ret_ids, struct err *e);
