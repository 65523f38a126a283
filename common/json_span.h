/*
 * json_span.h - a value in a JSON text that was checked: where it stands, and what it says.
 *
 * Why      What the scanner (json_scan.h) found is used where it is, without a copy.
 * Owns     Nothing: a span borrows from the text.
 * Threads  Any: there is no state.
 * Bounds   Numbers have at most JSON_NUMBER_MAX bytes; the scanner sees to it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base.h"

#define JSON_NUMBER_MAX 400

enum span_kind {
    SPAN_ABSENT,
    SPAN_NULL,
    SPAN_FALSE,
    SPAN_TRUE,
    SPAN_INT,  /* fits an int64 */
    SPAN_REAL, /* is finite */
    SPAN_STRING,
    SPAN_OBJECT,
    SPAN_ARRAY
};

/* One value, valid JSON. Of a string: what is between the quotes. */
struct json_span {
    const char *p;
    uint32_t len;
    uint8_t kind;    /* of enum span_kind */
    bool is_escaped; /* a string with backslashes in it */
};

/* The whole value as text, for strings with their quotes. */
static inline const char *json_span_raw(const struct json_span *v, size_t *ret_len)
{
    const size_t quotes = v->kind == SPAN_STRING;

    *ret_len = v->len + 2 * quotes;
    return v->p - quotes;
}

/* The items of an array, in order; true while there is another. All else has none. */
struct json_items {
    const char *p;
};
struct json_items json_items_of(const struct json_span *array);
bool json_items_next(struct json_items *it, struct json_span *ret_item);
size_t json_items_count(const struct json_span *array);

/*
 * A string without escapes into `to`, which has room for v->len + 1 bytes; ends with a NUL.
 * Returns its length; it holds no NUL.
 */
size_t json_span_text(const struct json_span *v, char *to);

/* The same for a short one, into `size` bytes; "" when it is no string, or too long. Returns `to`.
 */
const char *json_span_short(const struct json_span *v, char *to, size_t size);

/* A string equal to `text`, of at most 40 characters. */
bool json_span_is(const struct json_span *v, const char *text);

int64_t json_span_i64(const struct json_span *v); /* SPAN_INT; 0 for all else */
double json_span_f64(const struct json_span *v);  /* SPAN_INT, SPAN_REAL; 0 for all else */

/* ---- for the scanner */

/* The character of the escape at p, and its length there; 0: it is none that may be. */
size_t json_escape(const char *p, const char *end, uint32_t *ret_char);

/* A checked string's bytes; `to` has room for as many. An escape is never the shorter form. */
size_t json_unescape(const char *p, size_t len, char *to);
