#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/buf.h"
#include "common/json_scan.h"

static const char *const paths[] = {"a", "b.c", "b", "b.d.e", "list"};
enum { A, B_C, B, B_D_E, LIST, PATHS };

static int scan(const char *text, size_t len, struct json_span *spans, struct err *e)
{
    static struct json_scan *s;

    if (s == NULL)
        cr_assert_eq(json_scan_new(&s, paths, PATHS, NULL), 0);
    return json_scan(s, text, len, spans, e);
}

static void good(const char *text, struct json_span *spans)
{
    struct err e = {0};

    cr_assert_eq(scan(text, strlen(text), spans, &e), 0, "%s: %s", text, e.text);
}

static void bad(const char *text, size_t len, const char *said)
{
    struct json_span spans[PATHS];
    struct err e = {0};

    cr_expect_eq(scan(text, len, spans, &e), -EINVAL, "%s", text);
    cr_expect_not_null(strstr(e.text, said), "%s: %s", text, e.text);
}

Test(json_scan, values_of_known_paths_are_found_where_they_stand)
{
    static const char text[] = "{\"x\": {\"a\": 7}, \"a\" : -12, \"b\": {\"c\":\"hi\", \"d\": "
                               "{\"e\": 1.5e1}}, \"list\": [1, \"two\", [3], {\"f\": []}, null]}";
    struct json_span spans[PATHS], item;
    size_t len = 0;

    good(text, spans);
    cr_assert_eq(spans[A].kind, SPAN_INT);
    cr_assert_eq(json_span_i64(&spans[A]), -12);
    cr_assert_eq(spans[A].p, strstr(text, "-12"));
    cr_assert(json_span_is(&spans[B_C], "hi"));
    cr_assert_not(json_span_is(&spans[B_C], "hi!"));
    const char *raw = json_span_raw(&spans[B_C], &len);
    cr_assert_eq(len, 4);
    cr_assert_eq(memcmp(raw, "\"hi\"", 4), 0);
    cr_assert_eq(spans[B_D_E].kind, SPAN_REAL);
    cr_assert_eq(json_span_f64(&spans[B_D_E]), 15.0);
    cr_assert_eq(spans[B].kind, SPAN_OBJECT);
    cr_assert_eq(spans[B].len, strlen("{\"c\":\"hi\", \"d\": {\"e\": 1.5e1}}"));

    static const struct {
        uint8_t kind;
        const char *text;
    } items[] = {{SPAN_INT, "1"},
                 {SPAN_STRING, "two"},
                 {SPAN_ARRAY, "[3]"},
                 {SPAN_OBJECT, "{\"f\": []}"},
                 {SPAN_NULL, "null"}};
    struct json_items it = json_items_of(&spans[LIST]);
    for (size_t i = 0; i < WIND_ARRAY_SIZE(items); i++) {
        cr_assert(json_items_next(&it, &item));
        cr_assert_eq(item.kind, items[i].kind);
        cr_assert_eq(item.len, strlen(items[i].text));
        cr_assert_eq(memcmp(item.p, items[i].text, item.len), 0);
    }
    cr_assert_not(json_items_next(&it, &item));
    it = json_items_of(&spans[A]);
    cr_assert_not(json_items_next(&it, &item), "what is no list has no items");
}

Test(json_scan, what_is_not_there_is_absent)
{
    struct json_span spans[PATHS];

    good("{\"b\": [{\"c\": 1}], \"a\": null}", spans);
    cr_assert_eq(spans[A].kind, SPAN_NULL);
    cr_assert_eq(spans[B].kind, SPAN_ARRAY);
    cr_assert_eq(spans[B_C].kind, SPAN_ABSENT);
    cr_assert_eq(spans[LIST].kind, SPAN_ABSENT);
    good("[{\"a\": 1}]", spans);
    cr_assert_eq(spans[A].kind, SPAN_ABSENT);
    good(" 7 ", spans);
    cr_assert_eq(json_span_i64(&spans[A]), 0);
}

Test(json_scan, escapes_are_read_and_keys_with_escapes_are_the_same_keys)
{
    struct json_span spans[PATHS];
    char text[64];

    good("{\"\\u0061\": \"\\u00e9\\ud83d\\ude00\\n\\\"\\/ plain\"}", spans);
    cr_assert(spans[A].is_escaped);
    const size_t len = json_span_text(&spans[A], text);
    cr_assert_str_eq(text, "\xc3\xa9\xf0\x9f\x98\x80\n\"/ plain");
    cr_assert_eq(len, strlen(text));
    cr_assert(json_span_is(&spans[A], text));
}

Test(json_scan, what_is_no_json_is_refused_with_its_reason)
{
    static const struct {
        const char *text, *said;
    } rows[] = {
        {"", "a value is missing at byte 0"},
        {"{", "a key is missing"},
        {"{\"a\"}", "a colon is missing at byte 4"},
        {"{\"a\":}", "a value is missing"},
        {"{\"a\":1,}", "a key is missing"},
        {"[1,]", "a value is missing"},
        {"[1 2]", "a comma or an end is missing"},
        {"[1}", "a comma or an end"},
        {"{} {}", "something follows at byte 3"},
        {"\"abc", "a string has no end"},
        {"\"a\nb\"", "a control character"},
        {"\"\\x\"", "an escape"},
        {"\"\\u00g0\"", "an escape"},
        {"\"\\u0000\"", "an escape"},
        {"\"\\udc00\"", "an escape"},
        {"\"\\ud800\\u0041\"", "an escape"},
        {"\"\\ud800", "an escape"},
        {"\"\xff\"", "no UTF-8"},
        {"\"\xc3\"", "no UTF-8"},
        {"\"\xed\xa0\x80\"", "no UTF-8"},
        {"\"12345678\xc0\x80\"", "no UTF-8"},
        {"01", "a number"},
        {"-", "a number"},
        {"1.", "a number"},
        {"1e", "a number"},
        {"+1", "a value is missing"},
        {"NaN", "a value is missing"},
        {"nul", "a word"},
        {"truest", "something follows"},
        {"9223372036854775808", "too large"},
        {"-9223372036854775809", "too large"},
        {"1e309", "too large"},
        {"{\"a\":1,\"a\":2}", "a key that is there twice at byte 8"},
        {"{\"a\":1,\"\\u0061\":2}", "twice"},
        {"{\"\\u0061\":1,\"a\":2}", "twice"},
        {"{\"x\":{\"k\":{},\"l\":[{\"k\":1}],\"k\":2}}", "twice"},
    };

    for (size_t i = 0; i < WIND_ARRAY_SIZE(rows); i++)
        bad(rows[i].text, strlen(rows[i].text), rows[i].said);
    bad("1\0", 2, "something follows");
    bad("\"a\0b\"", 5, "a control character");
}

Test(json_scan, numbers_at_their_limits_are_taken)
{
    struct json_span spans[PATHS];

    good("{\"a\":9223372036854775807}", spans);
    cr_assert_eq(json_span_i64(&spans[A]), INT64_MAX);
    good("{\"a\":-9223372036854775808}", spans);
    cr_assert_eq(json_span_i64(&spans[A]), INT64_MIN);
    good("{\"a\":123456789012345678901234567890.0}", spans);
    cr_assert_float_eq(json_span_f64(&spans[A]), 123456789012345678901234567890.0, 1e15);
    good("{\"a\":1e-999}", spans);
    cr_assert_eq(json_span_f64(&spans[A]), 0);
    good("{\"a\":-0}", spans);
    cr_assert_eq(json_span_i64(&spans[A]), 0);
}

static void repeat(struct buf *b, const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        buf_puts(b, text);
}

Test(json_scan, beyond_its_bounds_a_text_is_refused)
{
    struct json_span spans[PATHS];
    struct buf b;

    buf_init(&b, 1 << 20);
    for (size_t depth = JSON_SCAN_DEPTH; depth <= JSON_SCAN_DEPTH + 1; depth++) {
        buf_reset(&b);
        repeat(&b, "[", depth);
        repeat(&b, "]", depth);
        if (depth == JSON_SCAN_DEPTH)
            good(buf_text(&b), spans);
        else
            bad(b.data, b.len, "nested too deeply");
    }
    for (int more = 0; more < 2; more++) {
        buf_reset(&b);
        buf_puts(&b, "{");
        for (int i = 0; i < JSON_SCAN_MEMBERS + more; i++)
            buf_printf(&b, "%s\"key%d\":1", i > 0 ? "," : "", i);
        buf_puts(&b, "}");
        if (more == 0)
            good(buf_text(&b), spans);
        else
            bad(b.data, b.len, "too many members");
    }
    buf_truncate(&b, b.len - strlen(",\"key1024\":1}"));
    buf_truncate(&b, b.len - strlen(",\"key1023\":1"));
    buf_puts(&b, ",\"key7\":1}");
    bad(b.data, b.len, "twice");
    buf_reset(&b);
    buf_puts(&b, "{\"");
    repeat(&b, "k", JSON_SCAN_KEY + 1);
    buf_puts(&b, "\":1}");
    bad(b.data, b.len, "key is too long");
    buf_reset(&b);
    buf_puts(&b, "0.");
    repeat(&b, "1", JSON_NUMBER_MAX);
    bad(b.data, b.len, "number is too large");
    buf_done(&b);
}

/* Valgrind and ASAN would find it: a text that ends anywhere is never read beyond its end. */
Test(json_scan, a_text_cut_anywhere_is_refused)
{
    static const char text[] = "{\"a\":\"\\u00e9 \xe2\x82\xac long enough\",\"b\":{\"c\":-1.5e+3,"
                               "\"d\":{\"e\":[true,false,null]}},\"list\":[]}";
    struct json_span spans[PATHS];

    good(text, spans);
    for (size_t n = 0; n + 1 < sizeof(text); n++) {
        char *cut = malloc(n + 1);
        cr_assert_not_null(cut);
        memcpy(cut, text, n);
        cr_assert_eq(scan(cut, n, spans, NULL), -EINVAL, "%zu bytes", n);
        free(cut);
    }
}

Test(json_scan, paths_have_to_be_different_and_few)
{
    static const char *const twice[] = {"a.b", "a.b"};
    static const char *many[JSON_SCAN_PATHS / 2 + 1];
    char names[JSON_SCAN_PATHS / 2 + 1][8];
    struct json_scan *s = NULL;

    cr_assert_eq(json_scan_new(&s, twice, 2, NULL), -EINVAL);
    cr_assert_eq(json_scan_new(&s, twice, JSON_SCAN_PATHS + 1, NULL), -EINVAL);
    for (size_t i = 0; i < WIND_ARRAY_SIZE(many); i++) {
        (void)snprintf(names[i], sizeof(names[i]), "k%zu", i);
        many[i] = names[i];
    }
    cr_assert_eq(json_scan_new(&s, many, WIND_ARRAY_SIZE(many), NULL), -EINVAL);
    cr_assert_null(s);
}
