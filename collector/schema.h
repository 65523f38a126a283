/*
 * schema.h - what a JSON body or a query looks like, as a table.
 *
 * Why      One table checks every request and is printed as openapi.json, so that what the
 *          document promises and what the server accepts cannot drift apart.
 * Owns     Nothing: tables are static.
 * Threads  Any.
 * Bounds   Every text, number and list in a table has a limit; errors stop at SCHEMA_ERRORS_MAX.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base.h"

#define SCHEMA_ERRORS_MAX 32

enum field_type {
    FIELD_TEXT,   /* min..max bytes; max 0 = 1024 */
    FIELD_INT,    /* min..max; both 0 = any int64 */
    FIELD_NUMBER, /* integer or real */
    FIELD_BOOL,
    FIELD_WORD,   /* one of `words` */
    FIELD_TIME,   /* RFC 3339, within the years that schema_time knows */
    FIELD_OBJECT, /* `of`, or any object */
    FIELD_LIST, /* of `item` (and `of` / `words` for its items); at most max items; max 0 = 1000 */
    FIELD_NAME, /* a text, or an id that stands for it */
    FIELD_ANY,
};

enum field_flag { FIELD_REQUIRED = 1, FIELD_NULLABLE = 2 };

struct schema;

struct field {
    const char *name;
    enum field_type type;
    unsigned flags; /* of enum field_flag */
    int64_t min, max;
    const char *const *words; /* FIELD_WORD; ends with NULL */
    const struct schema *of;
    enum field_type item; /* FIELD_LIST only */
    const char *help;     /* one sentence for the document; may be NULL */
};

struct schema {
    const char *name;           /* "AlertPatch": the name in openapi.json */
    const struct field *fields; /* ends with a row whose name is NULL */
    bool open;                  /* keep fields that are not in the table (else: 422) */
};

/*
 * Check `value` (borrowed) against `s`. Every fault is appended to `errors`, a JSON array, as
 * {"loc": [where, ..., field], "msg": text}. Returns true if there was none.
 */
bool schema_check(const struct schema *s, json_t *value, const char *where, json_t *errors);

/* Check one query value, which is text. As above; loc is ["query", name]. */
bool schema_check_text(const struct field *f, const char *value, json_t *errors);

/* Append one fault: loc is [where, field] (field may be NULL). */
void schema_fault(json_t *errors, const char *where, const char *field, const char *fmt, ...)
    WIND_PRINTF(4, 5);

/* The schema as JSON Schema (new reference), naming others by "$ref"; NULL without memory. */
json_t *schema_document(const struct schema *s);

/* The JSON Schema of one field (new reference). */
json_t *schema_field_document(const struct field *f);

/*
 * A time as the database keeps it. -EINVAL: no time, or not within 1970 to 2261. Later ones would
 * fit an int64 for another three months: so much room is left to add windows to them.
 */
WIND_MUST_USE int schema_time(const char *text, int64_t *ret_ns);

/* Index of `word` in a NULL-ended list, or -1. */
int word_find(const char *const *words, const char *word);
