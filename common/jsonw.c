#include "common/jsonw.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/digits.h"
#include "common/ip.h"
#include "common/time.h"
#include "common/utf8.h"

#define ONES  UINT64_C(0x0101010101010101)
#define HIGHS UINT64_C(0x8080808080808080)

void jsonw_begin(struct jsonw *j, struct buf *buf)
{
    *j = (struct jsonw){.buf = buf};
}

static uint64_t load_8(const unsigned char *p)
{
    uint64_t v;

    memcpy(&v, p, sizeof(v));
    return v;
}

static uint32_t load_4(const unsigned char *p)
{
    uint32_t v;

    memcpy(&v, p, sizeof(v));
    return v;
}

/* Whether any of 8 bytes is below 0x20, '"', '\\' or above 0x7f. May say yes for nothing. */
static bool needs_care(uint64_t v)
{
    const uint64_t quote = v ^ (ONES * '"');
    const uint64_t slash = v ^ (ONES * '\\');
    return (((v - ONES * 0x20) | (quote - ONES) | (slash - ONES) | v) & HIGHS) != 0;
}

/* How many bytes from p on can be copied as they are. */
static size_t clean_len(const unsigned char *p, size_t n)
{
    size_t i = 0;

    while (i < n) {
        while (n - i >= 8 && !needs_care(load_8(p + i)))
            i += 8;
        if (i == n)
            break;
        if (p[i] >= 0x80) {
            const size_t len = utf8_len(p + i, n - i);

            if (len == 0)
                break;
            i += len;
        } else if (p[i] < 0x20 || p[i] == '"' || p[i] == '\\') {
            break;
        } else {
            i++;
        }
    }
    return i;
}

/* ASCII that needs no escape, as nearly all is. Some bytes are looked at twice, none by itself. */
static bool is_plain(const unsigned char *p, size_t n)
{
    bool care = false;

    if (n >= 8) {
        for (size_t i = 0; i + 8 <= n; i += 8)
            care |= needs_care(load_8(p + i));
        return !care && !needs_care(load_8(p + n - 8));
    }
    if (n >= 4)
        return !needs_care(load_4(p) | (uint64_t)load_4(p + n - 4) << 32);
    for (size_t i = 0; i < n; i++)
        care |= p[i] < 0x20 || p[i] > 0x7f || p[i] == '"' || p[i] == '\\';
    return !care;
}

static void put_escape(struct buf *b, unsigned char c)
{
    static const char names[0x20] = {
        ['\b'] = 'b', ['\f'] = 'f', ['\n'] = 'n', ['\r'] = 'r', ['\t'] = 't'};
    static const char hex[] = "0123456789abcdef";

    if (c >= 0x80) {
        buf_put(b, "\xef\xbf\xbd", 3); /* U+FFFD */
    } else if (c == '"' || c == '\\') {
        buf_put(b, (char[]){'\\', (char)c}, 2);
    } else if (names[c] != 0) {
        buf_put(b, (char[]){'\\', names[c]}, 2);
    } else {
        buf_put(b, (char[]){'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]}, 6);
    }
}

/* Bytes that need no escape, quoted: one look at the room for all of it. */
static char *quote(char *at, const char *s, size_t n)
{
    *at++ = '"';
    memcpy(at, s, n);
    at[n] = '"';
    return at + n + 1;
}

void jsonw_put_str(struct jsonw *j, const char *s, size_t n)
{
    struct buf *const b = j->buf;
    const unsigned char *p = (const unsigned char *)s;
    char *const at = is_plain(p, n) ? buf_room(b, n + 2) : NULL;

    if (WIND_LIKELY(at != NULL)) {
        b->len = (size_t)(quote(at, s, n) - b->data);
        return;
    }
    buf_putc(b, '"');
    for (;;) {
        const size_t clean = clean_len(p, n);

        buf_put(b, p, clean);
        p += clean;
        n -= clean;
        if (n == 0)
            break;
        put_escape(b, *p++);
        n--;
    }
    buf_putc(b, '"');
}

void jsonw_key(struct jsonw *j, const char *key, size_t n)
{
    const bool in_object = j->depth > 0 && (j->arrays >> (j->depth - 1) & 1) == 0;
    const bool comma = j->comma;

    if ((key != NULL) != in_object || (j->depth == 0 && comma))
        j->buf->failed = true;
    j->comma = true;
    if (key == NULL) {
        if (comma)
            buf_putc(j->buf, ',');
        return;
    }
#ifndef NDEBUG
    WIND_CHECK(is_plain((const unsigned char *)key, n));
#endif
    const size_t need = n + sizeof("\"\":") - 1 + comma;
    char *at = buf_room(j->buf, need);

    if (at == NULL)
        return;
    if (comma)
        *at++ = ',';
    *quote(at, key, n) = ':';
    j->buf->len += need;
}

void jsonw_open(struct jsonw *j, bool is_array)
{
    if (j->depth == JSONW_DEPTH_MAX) {
        j->buf->failed = true;
        return;
    }
    const uint32_t bit = UINT32_C(1) << j->depth;
    j->arrays = is_array ? j->arrays | bit : j->arrays & ~bit;
    j->depth++;
    j->comma = false;
    buf_putc(j->buf, is_array ? '[' : '{');
}

void jsonw_end(struct jsonw *j)
{
    if (j->depth == 0) {
        j->buf->failed = true;
        return;
    }
    j->depth--;
    j->comma = true;
    buf_putc(j->buf, (j->arrays >> j->depth & 1) != 0 ? ']' : '}');
}

void jsonw_put_u64(struct jsonw *j, uint64_t v)
{
    char *at = buf_room(j->buf, DIGITS_U64_MAX);

    if (at != NULL)
        j->buf->len += (size_t)(digits_u64(at, v) - at);
}

void jsonw_i64(struct jsonw *j, const char *key, int64_t v)
{
    jsonw_before(j, key);
    if (v < 0)
        buf_putc(j->buf, '-');
    jsonw_put_u64(j, v < 0 ? -(uint64_t)v : (uint64_t)v);
}

void jsonw_raw(struct jsonw *j, const char *key, const char *text, size_t n)
{
    jsonw_before(j, key);
    buf_put(j->buf, text, n);
}

void jsonw_bool(struct jsonw *j, const char *key, bool v)
{
    jsonw_raw(j, key, v ? "true" : "false", v ? 4 : 5);
}

void jsonw_null(struct jsonw *j, const char *key)
{
    jsonw_raw(j, key, "null", 4);
}

#define REAL_TEXT     40
#define REAL_DECIMALS 19

/*
 * A number m / 10^k with m < 2^53 and k <= 22 is what a correct reader makes of those digits,
 * so one division proves that a candidate reads back. Returns the length, or 0: not this way.
 */
static size_t real_by_division(char *to, double v, bool is_float)
{
    static const double power[REAL_DECIMALS + 1] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,
                                                    1e7,  1e8,  1e9,  1e10, 1e11, 1e12, 1e13,
                                                    1e14, 1e15, 1e16, 1e17, 1e18, 1e19};
    const double a = fabs(v);
    char digits[DIGITS_U64_MAX];

    for (size_t k = 0; k <= REAL_DECIMALS; k++) {
        const double scaled = a * power[k] + 0.5;
        if (!(scaled < 9e15))
            return 0;
        const uint64_t m = (uint64_t)scaled;
        const double back = (double)m / power[k];
        if (is_float ? (float)back != (float)a : back != a)
            continue;

        char *at = to;
        if (signbit(v))
            *at++ = '-';
        const uint64_t whole = k == 0 ? m : m / (uint64_t)power[k];
        const uint64_t part = k == 0 ? 0 : m % (uint64_t)power[k];
        at = digits_u64(at, whole);
        *at++ = '.';
        const size_t n = (size_t)(digits_u64(digits, part) - digits);
        for (size_t i = n; i < k; i++)
            *at++ = '0';
        memcpy(at, digits, n);
        return (size_t)(at + n - to);
    }
    return 0;
}

/* "-1.2300e-07" -> "-1.23e-07" */
static size_t trim_zeros(char *text, size_t len)
{
    const size_t e = (size_t)(strchr(text, 'e') - text);
    const size_t point = text[0] == '-' ? 2 : 1;
    size_t keep = e;

    text[point] = '.'; /* a locale may have put a comma */
    while (text[keep - 1] == '0')
        keep--;
    if (keep == point + 1)
        keep = point;
    memmove(text + keep, text + e, len - e);
    return keep + len - e;
}

/* Very small, very large, or 16 and more digits: rare, so printf may do it. */
static size_t real_by_printf(char *to, double v, bool is_float)
{
    int n = 0;

    for (int digits = is_float ? 6 : 15; digits <= 17; digits++) {
        n = snprintf(to, REAL_TEXT, "%.*e", digits - 1, v);
        const double back = strtod(to, NULL);
        if (is_float ? (float)back == (float)v : back == v)
            break;
    }
    return trim_zeros(to, (size_t)n);
}

static void put_real(struct jsonw *j, const char *key, double v, bool is_float)
{
    char text[REAL_TEXT];

    if (!isfinite(v)) {
        jsonw_null(j, key);
        return;
    }
    size_t n = v != 0 && fabs(v) < 1e-5 ? 0 : real_by_division(text, v, is_float);
    if (n == 0)
        n = real_by_printf(text, v, is_float);
    jsonw_raw(j, key, text, n);
}

void jsonw_f32(struct jsonw *j, const char *key, float v)
{
    put_real(j, key, (double)v, true);
}

void jsonw_f64(struct jsonw *j, const char *key, double v)
{
    put_real(j, key, v, false);
}

static void put_quoted(struct jsonw *j, const char *key, const char *text, size_t n)
{
    jsonw_before(j, key);
    buf_putc(j->buf, '"');
    buf_put(j->buf, text, n);
    buf_putc(j->buf, '"');
}

void jsonw_time(struct jsonw *j, const char *key, uint64_t ns)
{
    char text[TIME_TEXT];

    put_quoted(j, key, text, time_eve(ns, text));
}

void jsonw_time_rfc3339(struct jsonw *j, const char *key, uint64_t ns)
{
    char text[TIME_TEXT];

    put_quoted(j, key, text, time_rfc3339(ns, text));
}

void jsonw_ip(struct jsonw *j, const char *key, const uint8_t a[16])
{
    char text[IP_TEXT];

    put_quoted(j, key, text, ip_format(a, text));
}
