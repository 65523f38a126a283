/*
 * Bytes drive the writer: each picks a call. What it wrote without `failed` must be JSON for
 * jansson, and strings and numbers must come back as they went in.
 */
#include <jansson.h>
#include <math.h>
#include <string.h>

#include "common/jsonw.h"
#include "common/utf8.h"
#include "support/fuzz.h"

struct source {
    const uint8_t *data;
    size_t left;
};

static void take(struct source *s, void *to, size_t n)
{
    const size_t have = n < s->left ? n : s->left;

    memset(to, 0, n);
    if (have > 0)
        memcpy(to, s->data, have);
    s->data += have;
    s->left -= have;
}

/* A text of up to 40 bytes, any bytes; NUL-terminated. */
static size_t take_text(struct source *s, char text[41])
{
    uint8_t n;

    take(s, &n, 1);
    n %= 41;
    if (n > s->left)
        n = (uint8_t)s->left;
    take(s, text, n);
    text[n] = '\0';
    return n;
}

static json_t *read_back(const struct buf *b)
{
    json_error_t error;

    /* the API allows NUL in texts, and equal keys are the caller's affair */
    return json_loadb(b->data, b->len, JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
}

/* One value alone, then read by jansson. */
static void check_text(const char *text, size_t n)
{
    struct buf b;
    struct jsonw j;

    buf_init(&b, 4096);
    jsonw_begin(&j, &b);
    jsonw_strn(&j, NULL, text, n);
    FUZZ_CHECK(!b.failed);
    json_t *v = read_back(&b);
    FUZZ_CHECK(json_is_string(v));
    if (utf8_valid(text, n)) {
        FUZZ_CHECK(json_string_length(v) == n);
        FUZZ_CHECK(memcmp(json_string_value(v), text, n) == 0);
    }
    json_decref(v);
    buf_done(&b);
}

static void check_real(double v, bool is_float)
{
    struct buf b;
    struct jsonw j;

    buf_init(&b, 4096);
    jsonw_begin(&j, &b);
    if (is_float)
        jsonw_f32(&j, NULL, (float)v);
    else
        jsonw_f64(&j, NULL, v);
    FUZZ_CHECK(!b.failed && b.len <= 32);
    json_t *r = read_back(&b);
    FUZZ_CHECK(r != NULL);
    if (isfinite(v))
        FUZZ_CHECK(is_float ? (float)json_real_value(r) == (float)v : json_real_value(r) == v);
    else
        FUZZ_CHECK(json_is_null(r));
    json_decref(r);
    buf_done(&b);
}

/* A key: nothing in it needs an escape. */
static void take_word(struct source *s, char key[41])
{
    const size_t n = take_text(s, key);

    for (size_t i = 0; i < n; i++)
        key[i] = (char)('a' + (key[i] & 15));
}

/* One call of the writer; whether it fits the place is the writer's to notice. */
static void step(struct jsonw *j, struct source *s)
{
    uint8_t op;
    char key[41], text[41];
    uint64_t n;

    take(s, &op, 1);
    const char *k = (op & 0x80) != 0 ? key : NULL;
    if (k != NULL)
        take_word(s, key);
    switch (op & 0x0f) {
    case 0:
        jsonw_object(j, k);
        break;
    case 1:
        jsonw_array(j, k);
        break;
    case 2:
    case 3:
        jsonw_end(j);
        break;
    case 4:
        jsonw_bool(j, k, (op & 0x10) != 0);
        break;
    case 5:
        jsonw_null(j, k);
        break;
    case 6:
        take(s, &n, sizeof(n));
        jsonw_u64(j, k, n & INT64_MAX); /* jansson's integers are signed */
        jsonw_i64(j, k, (int64_t)n);
        break;
    case 7:
        take(s, &n, sizeof(n));
        jsonw_time(j, k, n);
        jsonw_time_rfc3339(j, k, n);
        break;
    default:
        n = take_text(s, text);
        check_text(text, (size_t)n);
        jsonw_strn(j, k, text, (size_t)n);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct source s = {data, size};
    struct buf b;
    struct jsonw j;
    double d;
    float f;

    if (size > 4096)
        return 0;
    take(&s, &d, sizeof(d));
    take(&s, &f, sizeof(f));
    check_real(d, false);
    check_real((double)f, true);

    buf_init(&b, (size & 1) != 0 ? 256 : 1 << 16);
    jsonw_begin(&j, &b);
    jsonw_array(&j, NULL);
    while (s.left > 0 && j.depth > 0 && !b.failed)
        step(&j, &s);
    while (j.depth > 0)
        jsonw_end(&j);
    FUZZ_CHECK(b.len <= b.max);
    if (!b.failed) {
        FUZZ_CHECK(utf8_valid(b.data, b.len));
        json_t *v = read_back(&b);
        FUZZ_CHECK(v != NULL);
        json_decref(v);
    }
    buf_done(&b);
    return 0;
}
