#include "sensor/tls_ja4.h"

#include <stdio.h>
#include <string.h>

#include "common/crypto.h"

#define HASH_DIGITS 12
#define ENTRY_TEXT  5 /* "c02b," */

void ja4_begin(struct ja4 *j)
{
    j->ciphers.n = j->extensions.n = j->signatures.n = 0;
    j->alpn = (struct span){NULL, 0};
    j->version = 0;
    j->has_name = false;
}

bool ja4_add(struct ja4_list *l, uint16_t value)
{
    if (ja4_is_grease(value))
        return true;
    if (l->n == JA4_LIST_MAX)
        return false;
    l->value[l->n++] = value;
    return true;
}

bool ja4_add_all(struct ja4_list *l, struct span values)
{
    const uint8_t *p;

    while ((p = span_take(&values, 2)) != NULL)
        if (!ja4_add(l, load_be16(p)))
            return false;
    return true;
}

/* Shell's: a hostile order costs little, and nothing is allocated. */
static void sort(struct ja4_list *l)
{
    static const uint16_t gaps[] = {301, 132, 57, 23, 10, 4, 1};

    for (size_t g = 0; g < WIND_ARRAY_SIZE(gaps); g++) {
        for (size_t i = gaps[g]; i < l->n; i++) {
            const uint16_t v = l->value[i];
            size_t k = i;
            for (; k >= gaps[g] && l->value[k - gaps[g]] > v; k -= gaps[g])
                l->value[k] = l->value[k - gaps[g]];
            l->value[k] = v;
        }
    }
}

static const char *version_digits(uint16_t version)
{
    switch (version) {
    case 0x0304:
        return "13";
    case 0x0303:
        return "12";
    case 0x0302:
        return "11";
    case 0x0301:
        return "10";
    case 0x0300:
        return "s3";
    case 0x0002:
        return "s2";
    default:
        return "00";
    }
}

static bool is_alnum(uint8_t c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

/* First and last character of the name, or of its hexadecimal form. */
static void alpn_ends(struct span name, char ret_ends[3])
{
    static const char digit[] = "0123456789abcdef";

    memcpy(ret_ends, "00", 3);
    if (name.left == 0)
        return;
    const uint8_t first = name.at[0], last = name.at[name.left - 1];
    const bool is_text = is_alnum(first) && is_alnum(last);
    if (is_text) {
        ret_ends[0] = (char)first;
        ret_ends[1] = (char)last;
    } else {
        ret_ends[0] = digit[first >> 4];
        ret_ends[1] = digit[last & 15];
    }
}

/* "c02b,c02f"; ret_text has room for ENTRY_TEXT bytes each. Returns the length. */
static size_t put_list(const struct ja4_list *l, bool skip_names, char *ret_text)
{
    static const char digit[] = "0123456789abcdef";
    char *at = ret_text;

    for (size_t i = 0; i < l->n; i++) {
        const uint16_t v = l->value[i];
        if (skip_names && (v == 0 || v == 16)) /* server name, ALPN */
            continue;
        if (at > ret_text)
            *at++ = ',';
        for (int shift = 12; shift >= 0; shift -= 4)
            *at++ = digit[v >> shift & 15];
    }
    return (size_t)(at - ret_text);
}

static void put_hash(const char *text, size_t n, char ret_digits[HASH_DIGITS])
{
    uint8_t digest[SHA256_BYTES];
    char hex[HEX_TEXT(SHA256_BYTES)];

    if (n == 0) {
        memset(ret_digits, '0', HASH_DIGITS);
        return;
    }
    crypto_sha256(text, n, digest);
    (void)hex_encode(digest, sizeof(digest), hex);
    memcpy(ret_digits, hex, HASH_DIGITS);
}

void ja4_text(struct ja4 *j, char ret_text[TLS_JA4_TEXT])
{
    char list[2 * ENTRY_TEXT * JA4_LIST_MAX + 1], ends[3];
    char *at = ret_text;

    sort(&j->ciphers);
    sort(&j->extensions);
    alpn_ends(j->alpn, ends);
    at += snprintf(at, 12, "t%s%c%02u%02u%s_", version_digits(j->version), j->has_name ? 'd' : 'i',
                   j->ciphers.n < 99 ? j->ciphers.n : 99u,
                   j->extensions.n < 99 ? j->extensions.n : 99u, ends);
    put_hash(list, put_list(&j->ciphers, false, list), at);
    at += HASH_DIGITS;
    *at++ = '_';
    size_t n = put_list(&j->extensions, true, list);
    if (j->signatures.n > 0 && n > 0) {
        list[n++] = '_';
        n += put_list(&j->signatures, false, list + n);
    }
    put_hash(list, n, at);
    at[HASH_DIGITS] = '\0';
}
