#include "collector/schema.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/time.h"
#include "common/utf8.h"

#define TEXT_MAX  1024
#define ITEMS_MAX 1000
#define TIME_END  (UINT64_C(9214646400) * WIND_NS_PER_S) /* the year 2262 begins */

/*
 * Where a value is: a chain on the stack, from the value up to "body", so that nothing is
 * allocated unless a fault has to be told.
 */
struct place {
    const struct place *up;
    const char *name; /* NULL: `index` */
    size_t index;
};

static bool check_value(const struct field *f, json_t *v, const struct place *at, json_t *errors);
static bool check_object(const struct schema *s, json_t *v, const struct place *at, json_t *errors);

int word_find(const char *const *words, const char *word)
{
    for (int i = 0; words[i] != NULL; i++)
        if (strcmp(words[i], word) == 0)
            return i;
    return -1;
}

int schema_time(const char *text, int64_t *ret_ns)
{
    uint64_t ns;

    if (time_parse_rfc3339(text, &ns) != 0 || ns >= TIME_END)
        return -EINVAL;
    *ret_ns = (int64_t)ns;
    return 0;
}

/* ---------------------------------------------------------------- faults */

WIND_PRINTF(3, 0)
static void add_fault(json_t *errors, json_t *takes_loc, const char *fmt, va_list ap)
{
    char msg[240];

    (void)vsnprintf(msg, sizeof(msg), fmt, ap);
    utf8_cut(msg);
    if (json_array_size(errors) >= SCHEMA_ERRORS_MAX) {
        json_decref(takes_loc);
        return;
    }
    json_t *fault = json_object();
    json_object_set_new(fault, "loc", takes_loc);
    json_object_set_new(fault, "msg", json_string(msg));
    json_array_append_new(errors, fault);
}

void schema_fault(json_t *errors, const char *where, const char *field, const char *fmt, ...)
{
    json_t *loc = json_array();
    json_array_append_new(loc, json_string(where));
    if (field != NULL)
        json_array_append_new(loc, json_string(field));

    va_list ap;
    va_start(ap, fmt);
    add_fault(errors, loc, fmt, ap);
    va_end(ap);
}

/* Returns false, so that a check ends with `return fault(...)`. */
WIND_PRINTF(3, 4)
static bool fault(const struct place *at, json_t *errors, const char *fmt, ...)
{
    json_t *loc = json_array();
    for (const struct place *p = at; p != NULL; p = p->up)
        json_array_insert_new(
            loc, 0, p->name != NULL ? json_string(p->name) : json_integer((json_int_t)p->index));

    va_list ap;
    va_start(ap, fmt);
    add_fault(errors, loc, fmt, ap);
    va_end(ap);
    return false;
}

static bool fault_words(const struct field *f, const struct place *at, json_t *errors)
{
    char list[160] = "";
    size_t n = 0;
    for (const char *const *w = f->words; *w != NULL && n + 1 < sizeof(list); w++) {
        const int put = snprintf(list + n, sizeof(list) - n, "%s%s", w == f->words ? "" : ", ", *w);
        n += put > 0 ? (size_t)put : 0;
    }
    return fault(at, errors, "must be one of: %s", list);
}

/* ---------------------------------------------------------------- checks */
/* NOLINTBEGIN(misc-no-recursion): as deep as the tables, which are static */

static bool check_text(const struct field *f, const char *s, size_t len, const struct place *at,
                       json_t *errors)
{
    const int64_t max = f->max > 0 ? f->max : TEXT_MAX;
    int64_t ns;

    if (strlen(s) != len)
        return fault(at, errors, "must not contain a NUL character");
    if (f->type == FIELD_WORD)
        return word_find(f->words, s) >= 0 || fault_words(f, at, errors);
    if (f->type == FIELD_TIME)
        return schema_time(s, &ns) == 0 ||
               fault(at, errors, "must be a time like 2026-01-02T03:04:05Z");
    if ((int64_t)len < f->min)
        return f->min == 1
                   ? fault(at, errors, "must not be empty")
                   : fault(at, errors, "must have at least %lld characters", (long long)f->min);
    if ((int64_t)len > max)
        return fault(at, errors, "must have at most %lld characters", (long long)max);
    return true;
}

static bool check_int(const struct field *f, int64_t v, const struct place *at, json_t *errors)
{
    if ((f->min != 0 || f->max != 0) && (v < f->min || v > f->max))
        return fault(at, errors, "must be between %lld and %lld", (long long)f->min,
                     (long long)f->max);
    return true;
}

static bool check_list(const struct field *f, json_t *v, const struct place *at, json_t *errors)
{
    const size_t max = f->max > 0 ? (size_t)f->max : ITEMS_MAX;
    const struct field item = {.type = f->item, .words = f->words, .of = f->of};
    bool ok = true;

    if (!json_is_array(v))
        return fault(at, errors, "must be a list");
    if (json_array_size(v) < (size_t)f->min)
        return fault(at, errors, "must have at least %lld items", (long long)f->min);
    if (json_array_size(v) > max)
        return fault(at, errors, "must have at most %zu items", max);
    for (size_t i = 0; i < json_array_size(v); i++) {
        const struct place here = {.up = at, .index = i};
        ok = check_value(&item, json_array_get(v, i), &here, errors) && ok;
    }
    return ok;
}

static bool check_value(const struct field *f, json_t *v, const struct place *at, json_t *errors)
{
    if (json_is_null(v) && f->type != FIELD_ANY)
        return (f->flags & FIELD_NULLABLE) != 0 || fault(at, errors, "must not be null");
    switch (f->type) {
    case FIELD_TEXT:
    case FIELD_WORD:
    case FIELD_TIME:
        if (!json_is_string(v))
            return fault(at, errors, "must be a text");
        return check_text(f, json_string_value(v), json_string_length(v), at, errors);
    case FIELD_INT:
        if (!json_is_integer(v))
            return fault(at, errors, "must be an integer");
        return check_int(f, json_integer_value(v), at, errors);
    case FIELD_NUMBER:
        return json_is_number(v) || fault(at, errors, "must be a number");
    case FIELD_BOOL:
        return json_is_boolean(v) || fault(at, errors, "must be true or false");
    case FIELD_OBJECT:
        if (!json_is_object(v))
            return fault(at, errors, "must be an object");
        return f->of == NULL || check_object(f->of, v, at, errors);
    case FIELD_LIST:
        return check_list(f, v, at, errors);
    case FIELD_NAME:
        return json_is_string(v) || json_is_integer(v) ||
               fault(at, errors, "must be a name or an id");
    case FIELD_ANY:
        break;
    }
    return true;
}

static const struct field *find_field(const struct schema *s, const char *name)
{
    for (const struct field *f = s->fields; f->name != NULL; f++)
        if (strcmp(f->name, name) == 0)
            return f;
    return NULL;
}

static bool check_object(const struct schema *s, json_t *v, const struct place *at, json_t *errors)
{
    bool ok = true;
    const char *key;
    json_t *ignored;

    for (const struct field *f = s->fields; f->name != NULL; f++) {
        const struct place here = {.up = at, .name = f->name};
        json_t *value = json_object_get(v, f->name);
        if (value != NULL)
            ok = check_value(f, value, &here, errors) && ok;
        else if ((f->flags & FIELD_REQUIRED) != 0)
            ok = fault(&here, errors, "is required");
    }
    if (s->open)
        return ok;
    json_object_foreach(v, key, ignored)
    {
        const struct place here = {.up = at, .name = key};
        if (find_field(s, key) == NULL)
            ok = fault(&here, errors, "is not a field of %s", s->name);
    }
    return ok;
}

/* NOLINTEND(misc-no-recursion) */

bool schema_check(const struct schema *s, json_t *value, const char *where, json_t *errors)
{
    const struct place at = {.name = where};

    if (!json_is_object(value))
        return fault(&at, errors, "must be a JSON object");
    return check_object(s, value, &at, errors);
}

bool schema_check_text(const struct field *f, const char *value, json_t *errors)
{
    const struct place top = {.name = "query"}, at = {.up = &top, .name = f->name};
    char *end = NULL;

    if (!utf8_valid(value, strlen(value)))
        return fault(&at, errors, "must be UTF-8");
    if (f->type == FIELD_INT) {
        errno = 0;
        const long long v = strtoll(value, &end, 10);
        if (errno != 0 || end == value || *end != '\0' || strchr("-0123456789", *value) == NULL)
            return fault(&at, errors, "must be an integer");
        return check_int(f, v, &at, errors);
    }
    if (f->type == FIELD_BOOL)
        return strcmp(value, "true") == 0 || strcmp(value, "false") == 0 ||
               fault(&at, errors, "must be true or false");
    return check_text(f, value, strlen(value), &at, errors);
}

/* ---------------------------------------------------------------- the document */

static json_t *reference(const struct schema *s)
{
    return json_pack("{s:s+}", "$ref", "#/components/schemas/", s->name);
}

static const char *type_name(enum field_type t)
{
    switch (t) {
    case FIELD_TEXT:
    case FIELD_WORD:
    case FIELD_TIME:
        return "string";
    case FIELD_INT:
        return "integer";
    case FIELD_NUMBER:
        return "number";
    case FIELD_BOOL:
        return "boolean";
    case FIELD_OBJECT:
        return "object";
    case FIELD_LIST:
        return "array";
    case FIELD_NAME:
    case FIELD_ANY:
        break;
    }
    return NULL;
}

static void document_bounds(const struct field *f, json_t *o)
{
    if (f->type == FIELD_TEXT) {
        if (f->min > 0)
            json_object_set_new(o, "minLength", json_integer(f->min));
        json_object_set_new(o, "maxLength", json_integer(f->max > 0 ? f->max : TEXT_MAX));
    } else if (f->type == FIELD_INT && (f->min != 0 || f->max != 0)) {
        json_object_set_new(o, "minimum", json_integer(f->min));
        json_object_set_new(o, "maximum", json_integer(f->max));
    } else if (f->type == FIELD_LIST) {
        if (f->min > 0)
            json_object_set_new(o, "minItems", json_integer(f->min));
        json_object_set_new(o, "maxItems", json_integer(f->max > 0 ? f->max : ITEMS_MAX));
    } else if (f->type == FIELD_TIME) {
        json_object_set_new(o, "format", json_string("date-time"));
    } else if (f->type == FIELD_WORD) {
        json_t *words = json_array();
        for (const char *const *w = f->words; *w != NULL; w++)
            json_array_append_new(words, json_string(*w));
        if ((f->flags & FIELD_NULLABLE) != 0)
            json_array_append_new(words, json_null());
        json_object_set_new(o, "enum", words);
    }
}

/* NOLINTNEXTLINE(misc-no-recursion): as deep as the tables */
json_t *schema_field_document(const struct field *f)
{
    const char *type = type_name(f->type);
    const bool is_nullable = (f->flags & FIELD_NULLABLE) != 0;
    json_t *o = json_object();

    if (f->type == FIELD_OBJECT && f->of != NULL) {
        json_decref(o);
        return is_nullable ? json_pack("{s:[o,{s:s}]}", "anyOf", reference(f->of), "type", "null")
                           : reference(f->of);
    }
    if (type != NULL)
        json_object_set_new(o, "type",
                            is_nullable ? json_pack("[s,s]", type, "null") : json_string(type));
    if (f->help != NULL)
        json_object_set_new(o, "description", json_string(f->help));
    if (f->type == FIELD_NAME)
        json_object_set_new(o, "type",
                            is_nullable ? json_pack("[s,s,s]", "string", "integer", "null")
                                        : json_pack("[s,s]", "string", "integer"));
    document_bounds(f, o);
    if (f->type == FIELD_LIST) {
        const struct field item = {.type = f->item, .words = f->words, .of = f->of};
        json_object_set_new(o, "items", schema_field_document(&item));
    }
    return o;
}

json_t *schema_document(const struct schema *s)
{
    json_t *properties = json_object(), *required = json_array();

    for (const struct field *f = s->fields; f->name != NULL; f++) {
        json_object_set_new(properties, f->name, schema_field_document(f));
        if ((f->flags & FIELD_REQUIRED) != 0)
            json_array_append_new(required, json_string(f->name));
    }
    json_t *o = json_pack("{s:s,s:o,s:b}", "type", "object", "properties", properties,
                          "additionalProperties", s->open);
    if (json_array_size(required) > 0)
        json_object_set(o, "required", required);
    json_decref(required);
    return o;
}
