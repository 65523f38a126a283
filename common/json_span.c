#include "common/json_span.h"

#include <stdlib.h>
#include <string.h>

/* ---------------------------------------------------------------- escapes */

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* The four digits of \uXXXX, from the backslash; -1: it is none. */
static int32_t take_unit(const char *p, const char *end)
{
    int32_t v = 0;

    if (end - p < 6 || p[0] != '\\' || p[1] != 'u')
        return -1;
    for (int i = 2; i < 6; i++) {
        const int d = hex_digit(p[i]);
        if (d < 0)
            return -1;
        v = v * 16 + d;
    }
    return v;
}

size_t json_escape(const char *p, const char *end, uint32_t *ret_char)
{
    static const char names[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
    const char *name = end - p >= 2 && p[1] != '\0' ? strchr(names, p[1]) : NULL;

    if (name != NULL) {
        *ret_char = (uint8_t)meant[name - names];
        return 2;
    }
    const int32_t high = take_unit(p, end);
    if (high <= 0 || (high >= 0xdc00 && high <= 0xdfff)) /* no NUL: texts are C strings */
        return 0;
    *ret_char = (uint32_t)high;
    if (high < 0xd800 || high > 0xdbff)
        return 6;
    const int32_t low = take_unit(p + 6, end);
    if (low < 0xdc00 || low > 0xdfff)
        return 0;
    *ret_char = 0x10000 + ((uint32_t)(high - 0xd800) << 10) + (uint32_t)(low - 0xdc00);
    return 12;
}

static char *put_char(char *to, uint32_t v)
{
    if (v < 0x80) {
        *to++ = (char)v;
        return to;
    }
    if (v < 0x800) {
        *to++ = (char)(0xc0 | v >> 6);
    } else {
        if (v < 0x10000) {
            *to++ = (char)(0xe0 | v >> 12);
        } else {
            *to++ = (char)(0xf0 | v >> 18);
            *to++ = (char)(0x80 | (v >> 12 & 0x3f));
        }
        *to++ = (char)(0x80 | (v >> 6 & 0x3f));
    }
    *to++ = (char)(0x80 | (v & 0x3f));
    return to;
}

size_t json_unescape(const char *p, size_t len, char *to)
{
    const char *const end = p + len;
    char *const start = to;

    while (p < end) {
        const char *from = p;
        uint32_t v = 0;
        while (p < end && *p != '\\')
            p++;
        memcpy(to, from, (size_t)(p - from));
        to += p - from;
        if (p == end)
            break;
        const size_t n = json_escape(p, end, &v);
        WIND_CHECK(n > 0);
        to = put_char(to, v);
        p += n;
    }
    return (size_t)(to - start);
}

/* ---------------------------------------------------------------- items */

static bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

struct json_items json_items_of(const struct json_span *array)
{
    /* of anything but an array: none */
    return (struct json_items){.p = array->kind == SPAN_ARRAY ? array->p + 1 : "]"};
}

/* Over a string that was checked, from its opening quote on. */
static const char *pass_string(const char *p, bool *ret_escaped)
{
    *ret_escaped = false;
    for (p++; *p != '"'; p++)
        if (*p == '\\') {
            *ret_escaped = true;
            p++;
        }
    return p + 1;
}

static const char *pass_container(const char *p)
{
    bool ignored;
    int depth = 0;

    do {
        if (*p == '"') {
            p = pass_string(p, &ignored);
            continue;
        }
        depth += *p == '{' || *p == '[';
        depth -= *p == '}' || *p == ']';
        p++;
    } while (depth > 0);
    return p;
}

static const char *pass_scalar(const char *p, uint8_t *ret_kind)
{
    *ret_kind = *p == 'n' ? SPAN_NULL : *p == 't' ? SPAN_TRUE : *p == 'f' ? SPAN_FALSE : SPAN_INT;
    for (; *p != ',' && *p != ']' && !is_space(*p); p++)
        if (*ret_kind == SPAN_INT && (*p == '.' || *p == 'e' || *p == 'E'))
            *ret_kind = SPAN_REAL;
    return p;
}

bool json_items_next(struct json_items *it, struct json_span *ret_item)
{
    const char *p = it->p;
    struct json_span v = {.kind = SPAN_ARRAY};

    while (*p == ',' || is_space(*p))
        p++;
    if (*p == ']') {
        it->p = p;
        return false;
    }
    v.p = p;
    switch (*p) {
    case '"':
        v.kind = SPAN_STRING;
        v.p = p + 1;
        p = pass_string(p, &v.is_escaped);
        break;
    case '{':
        v.kind = SPAN_OBJECT;
        p = pass_container(p);
        break;
    case '[':
        p = pass_container(p);
        break;
    default:
        p = pass_scalar(p, &v.kind);
        break;
    }
    v.len = (uint32_t)(p - v.p) - (v.kind == SPAN_STRING);
    it->p = p;
    *ret_item = v;
    return true;
}

size_t json_items_count(const struct json_span *array)
{
    struct json_items it = json_items_of(array);
    struct json_span item;
    size_t n = 0;

    while (json_items_next(&it, &item))
        n++;
    return n;
}

size_t json_span_text(const struct json_span *v, char *to)
{
    size_t len = v->len;

    if (v->kind != SPAN_STRING)
        len = 0;
    else if (v->is_escaped)
        len = json_unescape(v->p, v->len, to);
    else
        memcpy(to, v->p, len);
    to[len] = '\0';
    return len;
}

const char *json_span_short(const struct json_span *v, char *to, size_t size)
{
    to[0] = '\0';
    if (v->kind == SPAN_STRING && v->len < size)
        (void)json_span_text(v, to);
    return to;
}

bool json_span_is(const struct json_span *v, const char *text)
{
    char plain[256];

    if (v->kind != SPAN_STRING)
        return false;
    if (!v->is_escaped)
        return strlen(text) == v->len && memcmp(v->p, text, v->len) == 0;
    return v->len < sizeof(plain) && json_span_text(v, plain) == strlen(text) &&
           strcmp(plain, text) == 0;
}

int64_t json_span_i64(const struct json_span *v)
{
    const bool is_negative = v->kind == SPAN_INT && *v->p == '-';
    uint64_t n = 0;

    if (v->kind == SPAN_INT)
        for (const char *p = v->p + is_negative; p < v->p + v->len; p++)
            n = n * 10 + (uint64_t)(*p - '0');
    return (int64_t)(is_negative ? 0 - n : n);
}

double json_span_f64(const struct json_span *v)
{
    char copy[JSON_NUMBER_MAX + 1];

    if (v->kind != SPAN_INT && v->kind != SPAN_REAL)
        return 0;
    memcpy(copy, v->p, v->len);
    copy[v->len] = '\0';
    return strtod(copy, NULL);
}
