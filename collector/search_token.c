#include "collector/search_token.h"

#include <stdint.h>

#include "common/utf8.h"

/* ---------------------------------------------------------------- characters */

/* Of a valid sequence of `len` bytes. */
static uint32_t code_point(const unsigned char *p, size_t len)
{
    uint32_t c = len == 1 ? p[0] : p[0] & (0xffU >> (len + 1));

    for (size_t i = 1; i < len; i++)
        c = c << 6 | (p[i] & 0x3fU);
    return c;
}

/* Beyond ASCII all is a letter but for signs, punctuation and spaces. */
static bool is_letter(uint32_t c)
{
    static const struct {
        uint32_t from, to;
    } signs[] = {
        {0x80, 0xa9},     {0xab, 0xb4},     {0xb6, 0xb9},     {0xbb, 0xbf},
        {0xd7, 0xd7},     {0xf7, 0xf7},     {0x2000, 0x2bff}, {0x3000, 0x3020},
        {0xd800, 0xf8ff}, {0xfe10, 0xfe6f}, {0xfeff, 0xff0f}, {0xfff0, 0xffff},
    };

    if (c < 0x80)
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    for (size_t i = 0; i < WIND_ARRAY_SIZE(signs); i++)
        if (c >= signs[i].from && c <= signs[i].to)
            return false;
    return true;
}

/* Capitals of one run: each + `by`, or (by 1) each second one from `from`. */
static uint32_t small(uint32_t c)
{
    static const struct {
        uint32_t from, to, by;
    } runs[] = {
        {0xc0, 0xde, 32},    {0x100, 0x137, 1},  {0x139, 0x148, 1},  {0x14a, 0x177, 1},
        {0x179, 0x17e, 1},   {0x391, 0x3a9, 32}, {0x400, 0x40f, 80}, {0x410, 0x42f, 32},
        {0x460, 0x481, 1},   {0x48a, 0x4bf, 1},  {0x4d0, 0x52f, 1},  {0x1e00, 0x1e95, 1},
        {0x1ea0, 0x1eff, 1},
    };

    for (size_t i = 0; i < WIND_ARRAY_SIZE(runs); i++)
        if (c >= runs[i].from && c <= runs[i].to)
            return runs[i].by > 1 || (c - runs[i].from) % 2 == 0 ? c + runs[i].by : c;
    return c;
}

/* As written in a token. */
static size_t write_letter(uint32_t c, char ret_bytes[12])
{
    static const char hex[] = "0123456789abcdef";
    unsigned char bytes[4];
    size_t n = 0, len = 0;

    if (c >= 0x10000)
        bytes[n++] = (unsigned char)(0xf0 | c >> 18);
    if (c >= 0x800)
        bytes[n++] = (unsigned char)(c >= 0x10000 ? 0x80 | (c >> 12 & 0x3f) : 0xe0 | c >> 12);
    bytes[n++] = (unsigned char)(c >= 0x800 ? 0x80 | (c >> 6 & 0x3f) : 0xc0 | c >> 6);
    bytes[n++] = (unsigned char)(0x80 | (c & 0x3f));
    for (size_t i = 0; i < n; i++) {
        ret_bytes[len++] = '_';
        ret_bytes[len++] = hex[bytes[i] >> 4];
        ret_bytes[len++] = hex[bytes[i] & 15];
    }
    return len;
}

/* The letter at p, small and written, and the bytes it took; *ret_n 0: it separates. */
static size_t take_letter(const unsigned char *p, size_t left, char ret_bytes[12], size_t *ret_n)
{
    *ret_n = 0;
    if (p[0] < 0x80) {
        ret_bytes[0] = (char)(p[0] >= 'A' && p[0] <= 'Z' ? p[0] + 32 : p[0]);
        *ret_n = is_letter(p[0]);
        return 1;
    }
    const size_t len = utf8_len(p, left);
    if (len == 0)
        return 1; /* a broken byte separates */
    const uint32_t c = code_point(p, len);
    if (is_letter(c))
        *ret_n = write_letter(small(c), ret_bytes);
    return len;
}

/* ---------------------------------------------------------------- tokens */

static void put_token(struct buf *out, const char *token, size_t len)
{
    const size_t before = out->len;

    if (out->failed)
        return;
    if (before > 0)
        buf_putc(out, ' ');
    buf_put(out, token, len);
    if (out->failed) {
        buf_truncate(out, before);
        out->failed = true;
    }
}

size_t search_tokens(struct buf *out, const char *text)
{
    const unsigned char *p = (const unsigned char *)text;
    size_t left = strlen(text), n = 0, len = 0;
    char token[SEARCH_TOKEN_MAX], letter[12];
    bool is_cut = false;

    while (left > 0 && n < SEARCH_TOKENS_MAX) {
        size_t written;
        const size_t took = take_letter(p, left, letter, &written);
        p += took;
        left -= took;
        is_cut |= len + written > sizeof(token);
        if (!is_cut) {
            memcpy(token + len, letter, written);
            len += written;
        }
        if (len > 0 && (written == 0 || left == 0)) {
            put_token(out, token, len);
            n++;
            len = 0;
            is_cut = false;
        }
    }
    return n;
}

void search_gap(struct buf *out)
{
    if (out->len > 0)
        put_token(out, SEARCH_GAP, sizeof(SEARCH_GAP) - 1);
}

bool search_is_prefix(const char *word)
{
    const unsigned char *p = (const unsigned char *)word;
    size_t left = strlen(word), written = 0;
    char letter[12];

    if (left > 0 && word[left - 1] == '*')
        return true;
    while (left > 0) {
        const size_t took = take_letter(p, left, letter, &written);
        p += took;
        left -= took;
    }
    return written > 0;
}
