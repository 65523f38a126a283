/*
 * The scanner beside jansson: both take a text or both refuse it (but for the scanner's bounds),
 * and what stands at each path is the same value.
 */
#include <jansson.h>
#include <string.h>

#include "common/json_scan.h"
#include "support/fuzz.h"

static const char *const paths[] = {"a",    "b",        "a.a",   "a.b",      "a.a.a",
                                    "wind", "wind.uid", "b.a.b", "wind.a.a", "c"};

static const uint8_t kinds[] = {
    [JSON_OBJECT] = SPAN_OBJECT, [JSON_ARRAY] = SPAN_ARRAY, [JSON_STRING] = SPAN_STRING,
    [JSON_INTEGER] = SPAN_INT,   [JSON_REAL] = SPAN_REAL,   [JSON_TRUE] = SPAN_TRUE,
    [JSON_FALSE] = SPAN_FALSE,   [JSON_NULL] = SPAN_NULL,
};

static const json_t *at_path(const json_t *v, const char *path)
{
    char key[16];

    while (*path != '\0') {
        const size_t n = strcspn(path, ".");
        memcpy(key, path, n);
        key[n] = '\0';
        v = json_object_get(v, key);
        path += n + (path[n] == '.');
    }
    return v;
}

static void same(const struct json_span *span, const json_t *v)
{
    size_t len = 0;

    FUZZ_CHECK(span->kind == (v == NULL ? SPAN_ABSENT : kinds[json_typeof(v)]));
    if (v == NULL)
        return;
    const char *raw = json_span_raw(span, &len);
    json_t *again = json_loadb(raw, len, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL);
    FUZZ_CHECK(again != NULL && json_equal(again, v));
    json_decref(again);
    FUZZ_CHECK(json_span_i64(span) == json_integer_value(v));
    FUZZ_CHECK(json_span_f64(span) == json_number_value(v));
    if (json_is_string(v)) {
        char *text = malloc(span->len + 1);
        FUZZ_CHECK(text != NULL && json_span_text(span, text) == json_string_length(v));
        FUZZ_CHECK(strcmp(text, json_string_value(v)) == 0);
        FUZZ_CHECK(json_string_length(v) > 40 || json_span_is(span, text));
        free(text);
    }
}

static void same_items(const struct json_span *array, const json_t *v)
{
    struct json_items it = json_items_of(array);
    struct json_span item;
    size_t n = 0;

    while (json_items_next(&it, &item))
        same(&item, json_array_get(v, n++));
    FUZZ_CHECK(n == json_array_size(v));
}

static bool is_beyond_bounds(const char *why)
{
    static const char *const bounds[] = {"too deeply", "too many members", "key is too long",
                                         "number is too large"};

    for (size_t i = 0; i < WIND_ARRAY_SIZE(bounds); i++)
        if (strstr(why, bounds[i]) != NULL)
            return true;
    return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct json_scan *scan;
    struct json_span spans[WIND_ARRAY_SIZE(paths)];
    struct err e = {0};

    if (scan == NULL)
        FUZZ_CHECK(json_scan_new(&scan, paths, WIND_ARRAY_SIZE(paths), NULL) == 0);
    char *text = malloc(size > 0 ? size : 1); /* just so long: reading beyond it is found */
    FUZZ_CHECK(text != NULL);
    if (size > 0)
        memcpy(text, data, size);
    json_t *v = json_loadb(text, size, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL);
    if (json_scan(scan, text, size, spans, &e) != 0) {
        /* jansson passes over a NUL behind a number */
        FUZZ_CHECK(v == NULL || is_beyond_bounds(e.text) || memchr(text, '\0', size) != NULL);
    } else {
        FUZZ_CHECK(v != NULL);
        for (size_t i = 0; i < WIND_ARRAY_SIZE(paths); i++) {
            const json_t *there = at_path(v, paths[i]);
            same(&spans[i], there);
            if (json_is_array(there))
                same_items(&spans[i], there);
        }
    }
    json_decref(v);
    free(text);
    return 0;
}
