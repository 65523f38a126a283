/*
 * db_value.h - what goes into a statement: DB_ARGS(db_int(7), db_str(name), db_null()), or DB_NONE.
 *
 * Why      One form of parameters for both databases.
 * Owns     Nothing: texts, bytes and arrays are borrowed until the statement was bound.
 * Bounds   DB_UNNEST arrays in one unnest().
 *
 * An array is one parameter that stands for many values:
 *     WHERE uid = ANY($1)
 *     FROM unnest($1, $2) AS t(kind, value)      -- arrays of one length as rows
 * Exactly these two forms, with these spaces, are understood by both databases.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define DB_UNNEST 16

enum db_type {
    DB_TYPE_NULL,
    DB_TYPE_INT,
    DB_TYPE_F64,
    DB_TYPE_TEXT,
    DB_TYPE_BLOB,
    DB_TYPE_TSVECTOR, /* PostgreSQL's own, as search_tsvector.h writes it */
    DB_TYPE_INTS,     /* p: int64_t[len] */
    DB_TYPE_ARRAY,    /* p: struct db_value[len], each of type `of` or NULL */
};

struct db_value {
    enum db_type type, of;
    union {
        int64_t i;
        double f;
        const void *p;
    };
    size_t len;
};

static inline struct db_value db_null(void)
{
    return (struct db_value){.type = DB_TYPE_NULL};
}
static inline struct db_value db_int(int64_t v)
{
    return (struct db_value){.type = DB_TYPE_INT, .i = v};
}
static inline struct db_value db_f64(double v)
{
    return (struct db_value){.type = DB_TYPE_F64, .f = v};
}
/* NULL text and NULL blobs are SQL NULL. */
static inline struct db_value db_str(const char *s)
{
    return (struct db_value){
        .type = s ? DB_TYPE_TEXT : DB_TYPE_NULL, .p = s, .len = s ? strlen(s) : 0};
}
static inline struct db_value db_text_n(const char *s, size_t len)
{
    return (struct db_value){.type = s ? DB_TYPE_TEXT : DB_TYPE_NULL, .p = s, .len = len};
}
static inline struct db_value db_bytes(const void *p, size_t len)
{
    return (struct db_value){.type = p ? DB_TYPE_BLOB : DB_TYPE_NULL, .p = p, .len = len};
}
static inline struct db_value db_tsvector(const void *p, size_t len)
{
    return (struct db_value){.type = DB_TYPE_TSVECTOR, .p = p, .len = len};
}
/* Is it at `p`, of `len` bytes? */
static inline bool db_has_bytes(const struct db_value *v)
{
    return v->type == DB_TYPE_TEXT || v->type == DB_TYPE_BLOB || v->type == DB_TYPE_TSVECTOR;
}
static inline struct db_value db_ints(const int64_t *items, size_t n)
{
    return (struct db_value){.type = DB_TYPE_INTS, .of = DB_TYPE_INT, .p = items, .len = n};
}
/* `of` is the type of all items that aren't NULL: INT, F64, TEXT or BLOB. */
static inline struct db_value db_array(enum db_type of, const struct db_value *items, size_t n)
{
    return (struct db_value){.type = DB_TYPE_ARRAY, .of = of, .p = items, .len = n};
}

/* clang-format off */
#define DB_NONE      NULL, 0
#define DB_ARGS(...) ((const struct db_value[]){__VA_ARGS__}), \
                     (sizeof((const struct db_value[]){__VA_ARGS__}) / sizeof(struct db_value))
/* clang-format on */
