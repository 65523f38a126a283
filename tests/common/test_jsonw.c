#include <criterion/criterion.h>
#include <jansson.h>
#include <math.h>
#include <string.h>

#include "common/ip.h"
#include "common/jsonw.h"
#include "common/utf8.h"

static struct buf out;
static struct jsonw j;

static void begin(void)
{
    buf_init(&out, 1 << 20);
    jsonw_begin(&j, &out);
}

static void end(void)
{
    buf_done(&out);
}

TestSuite(jsonw, .init = begin, .fini = end);

Test(jsonw, nested_values_are_separated_as_json_wants)
{
    jsonw_object(&j, NULL);
    jsonw_str(&j, "a", "x");
    jsonw_array(&j, "b");
    jsonw_u64(&j, NULL, UINT64_MAX);
    jsonw_i64(&j, NULL, INT64_MIN);
    jsonw_object(&j, NULL);
    jsonw_end(&j);
    jsonw_array(&j, NULL);
    jsonw_end(&j);
    jsonw_end(&j);
    jsonw_bool(&j, "c", true);
    jsonw_null(&j, "d");
    jsonw_raw(&j, "e", "[1]", 3);
    jsonw_end(&j);
    cr_assert_not(out.failed);
    cr_assert_str_eq(buf_text(&out),
                     "{\"a\":\"x\",\"b\":[18446744073709551615,-9223372036854775808,{},[]],"
                     "\"c\":true,\"d\":null,\"e\":[1]}");
}

Test(jsonw, times_and_addresses_are_strings)
{
    uint8_t a[16];

    cr_assert_eq(ip_parse("2001:db8::1", a), 0);
    jsonw_array(&j, NULL);
    jsonw_time(&j, NULL, UINT64_C(1767323045678901234));
    jsonw_time_rfc3339(&j, NULL, 0);
    jsonw_ip(&j, NULL, a);
    jsonw_end(&j);
    cr_assert_str_eq(buf_text(&out), "[\"2026-01-02T03:04:05.678901+0000\","
                                     "\"1970-01-01T00:00:00.000000Z\",\"2001:db8::1\"]");
}

Test(jsonw, text_is_escaped_and_broken_utf8_replaced)
{
    jsonw_strn(&j, NULL, "\"\\\b\f\n\r\t\x01\x7f/\0\xc3\xa9\xff\xed\xa0\x80\xe2\x82", 19);
    cr_assert_not(out.failed);
    cr_assert_str_eq(buf_text(&out),
                     "\"\\\"\\\\\\b\\f\\n\\r\\t\\u0001\x7f/\\u0000\xc3\xa9\xef\xbf\xbd"
                     "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"");
}

/* The scan goes eight bytes at a time: a byte to escape must be seen at every place. */
Test(jsonw, every_byte_at_every_place_of_a_word_reads_back)
{
    for (unsigned c = 0; c < 256; c++) {
        for (size_t at = 0; at < 17; at++) {
            char text[17];

            memset(text, 'a', sizeof(text));
            text[at] = (char)c;
            buf_reset(&out);
            jsonw_begin(&j, &out);
            jsonw_strn(&j, NULL, text, sizeof(text));
            json_t *v = json_loadb(out.data, out.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
            cr_assert(v != NULL, "byte %u at %zu", c, at);
            if (c < 0x80) {
                cr_assert_eq(json_string_length(v), sizeof(text));
                cr_assert_arr_eq(json_string_value(v), text, sizeof(text));
            } else {
                cr_assert(strstr(json_string_value(v), "\xef\xbf\xbd") != NULL);
            }
            json_decref(v);
        }
    }
}

static const char *real(double v, bool is_float)
{
    buf_reset(&out);
    jsonw_begin(&j, &out);
    if (is_float)
        jsonw_f32(&j, NULL, (float)v);
    else
        jsonw_f64(&j, NULL, v);
    return buf_text(&out);
}

Test(jsonw, reals_are_as_short_as_they_can_be)
{
    cr_expect_str_eq(real(0.98, true), "0.98");
    cr_expect_str_eq(real(1, true), "1.0");
    cr_expect_str_eq(real(0, false), "0.0");
    cr_expect_str_eq(real(-0.0, false), "-0.0");
    cr_expect_str_eq(real(-12.5, false), "-12.5");
    cr_expect_str_eq(real(0.1, false), "0.1");
    cr_expect_str_eq(real(0.1f, false), "1.0000000149011612e-01");
    cr_expect_str_eq(real(1 / 3.0, false), "0.3333333333333333");
    cr_expect_str_eq(real(1 / 3.0, true), "0.33333334");
    cr_expect_str_eq(real(0.05, true), "0.05");
    cr_expect_str_eq(real(2e-7, true), "2e-07");
    cr_expect_str_eq(real(-1.5e-300, false), "-1.5e-300");
    cr_expect_str_eq(real(1e300, false), "1e+300");
    cr_expect_str_eq(real(16777216, true), "16777216.0");
    cr_expect_str_eq(real(INFINITY, true), "null");
    cr_expect_str_eq(real(NAN, false), "null");
}

Test(jsonw, reals_read_back_as_the_same_number)
{
    uint64_t seed = 1;

    for (int i = 0; i < 200000; i++) {
        double d;
        float f;

        seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407U;
        const uint64_t bits = seed ^ seed >> 29;
        memcpy(&d, &bits, sizeof(d));
        memcpy(&f, &bits, sizeof(f));
        if (i % 2 == 0) { /* the kind that records hold */
            d = (double)(bits >> 40) / 1000;
            f = (float)(bits >> 40) / (float)(1 << 24);
        }
        if (isfinite(d))
            cr_assert_eq(strtod(real(d, false), NULL), d, "%.17g", d);
        if (isfinite(f))
            cr_assert_eq((float)strtod(real((double)f, true), NULL), f, "%.9g", (double)f);
    }
}

Test(jsonw, a_key_where_none_belongs_or_a_missing_one_fails)
{
    jsonw_object(&j, NULL);
    jsonw_u64(&j, NULL, 1);
    cr_assert(out.failed);

    buf_reset(&out);
    jsonw_begin(&j, &out);
    jsonw_array(&j, NULL);
    jsonw_u64(&j, "k", 1);
    cr_assert(out.failed);

    buf_reset(&out);
    jsonw_begin(&j, &out);
    jsonw_u64(&j, NULL, 1);
    jsonw_u64(&j, NULL, 2);
    cr_assert(out.failed, "two values at the top");

    buf_reset(&out);
    jsonw_begin(&j, &out);
    jsonw_end(&j);
    cr_assert(out.failed, "nothing to close");
}

Test(jsonw, more_levels_than_the_limit_fail)
{
    for (int i = 0; i < JSONW_DEPTH_MAX; i++)
        jsonw_array(&j, NULL);
    cr_assert_not(out.failed);
    jsonw_array(&j, NULL);
    cr_assert(out.failed);
}

Test(utf8, sequences_are_valid_exactly_as_rfc_3629_says)
{
    char text[4];

    for (uint32_t c = 0; c < 0x120000; c++) {
        size_t n;

        if (c < 0x80) {
            text[0] = (char)c;
            n = 1;
        } else if (c < 0x800) {
            text[0] = (char)(0xc0 | c >> 6);
            n = 2;
        } else if (c < 0x10000) {
            text[0] = (char)(0xe0 | c >> 12);
            n = 3;
        } else {
            text[0] = (char)(0xf0 | c >> 18);
            n = 4;
        }
        for (size_t i = 1; i < n; i++)
            text[i] = (char)(0x80 | (c >> 6 * (n - 1 - i) & 0x3f));
        const bool valid = c < 0xd800 || (c > 0xdfff && c < 0x110000);
        cr_assert_eq(utf8_valid(text, n), valid, "U+%04X", c);
        cr_assert_eq(utf8_len(text, n - 1), 0, "cut U+%04X", c);
    }
    cr_assert_not(utf8_valid("\xc0\x80", 2), "long form");
    cr_assert_not(utf8_valid("\x80", 1));
    cr_assert(utf8_is_line("a\xc3\xa9", 3));
    cr_assert_not(utf8_is_line("a\n", 2));
}
