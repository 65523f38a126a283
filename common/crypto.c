#include "common/crypto.h"

#include <errno.h>
#include <mbedtls/base64.h>
#include <mbedtls/md.h>
#include <mbedtls/platform_util.h>
#include <mbedtls/sha1.h>
#include <mbedtls/sha256.h>
#include <string.h>
#include <sys/random.h>

void crypto_random(void *ret_bytes, size_t n)
{
    uint8_t *to = ret_bytes;

    while (n > 0) {
        const ssize_t got = getrandom(to, n, 0);

        if (got < 0 && errno == EINTR)
            continue;
        WIND_CHECK(got > 0);
        to += got;
        n -= (size_t)got;
    }
}

void crypto_sha1(const void *p, size_t n, uint8_t ret_digest[SHA1_BYTES])
{
    WIND_CHECK(mbedtls_sha1_ret(p, n, ret_digest) == 0);
}

void crypto_sha256(const void *p, size_t n, uint8_t ret_digest[SHA256_BYTES])
{
    WIND_CHECK(mbedtls_sha256_ret(p, n, ret_digest, 0) == 0);
}

void crypto_hmac_sha256(const void *key, size_t key_len, const void *p, size_t n,
                        uint8_t ret_digest[SHA256_BYTES])
{
    const mbedtls_md_info_t *sha256 = mbedtls_md_info_from_type(MBEDTLS_MD_SHA256);

    WIND_CHECK(mbedtls_md_hmac(sha256, key, key_len, p, n, ret_digest) == 0);
}

bool crypto_equal(const void *a, const void *b, size_t n)
{
    const volatile uint8_t *x = a, *y = b;
    uint8_t differ = 0;

    for (size_t i = 0; i < n; i++)
        differ |= x[i] ^ y[i];
    return differ == 0;
}

void crypto_wipe(void *p, size_t n)
{
    if (n > 0)
        mbedtls_platform_zeroize(p, n);
}

size_t hex_encode(const void *p, size_t n, char *ret_text)
{
    static const char hex[] = "0123456789abcdef";
    const uint8_t *from = p;

    for (size_t i = 0; i < n; i++) {
        ret_text[2 * i] = hex[from[i] >> 4];
        ret_text[2 * i + 1] = hex[from[i] & 15];
    }
    ret_text[2 * n] = '\0';
    return 2 * n;
}

int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

ssize_t hex_decode(const char *s, void *ret_bytes, size_t max)
{
    uint8_t *to = ret_bytes;
    const size_t len = strlen(s);

    if (len % 2 != 0 || len / 2 > max)
        return -EINVAL;
    for (size_t i = 0; i < len; i += 2) {
        const int high = hex_value(s[i]), low = hex_value(s[i + 1]);

        if (high < 0 || low < 0)
            return -EINVAL;
        to[i / 2] = (uint8_t)(high << 4 | low);
    }
    return (ssize_t)(len / 2);
}

size_t base64_encode(const void *p, size_t n, char *ret_text)
{
    size_t len;

    WIND_CHECK(mbedtls_base64_encode((unsigned char *)ret_text, BASE64_TEXT(n), &len, p, n) == 0);
    ret_text[len] = '\0';
    return len;
}

size_t base64url_encode(const void *p, size_t n, char *ret_text)
{
    size_t len = base64_encode(p, n, ret_text);

    while (len > 0 && ret_text[len - 1] == '=')
        len--;
    ret_text[len] = '\0';
    for (size_t i = 0; i < len; i++) {
        if (ret_text[i] == '+')
            ret_text[i] = '-';
        else if (ret_text[i] == '/')
            ret_text[i] = '_';
    }
    return len;
}

static int base64url_value(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '-' ? 62 : c == '_' ? 63 : -1;
}

/* Not through mbedtls: it wants padding, and takes texts whose last bits are not zero, so that
 * one token would have several spellings. */
ssize_t base64url_decode(const char *s, size_t len, void *ret_bytes, size_t max)
{
    uint8_t *to = ret_bytes;
    uint32_t bits = 0;
    unsigned held = 0;
    size_t n = 0;

    if (len % 4 == 1 || len / 4 * 3 + (len % 4 * 6) / 8 > max)
        return -EINVAL;
    for (size_t i = 0; i < len; i++) {
        const int v = base64url_value(s[i]);

        if (v < 0)
            return -EINVAL;
        bits = bits << 6 | (uint32_t)v;
        held += 6;
        if (held >= 8) {
            held -= 8;
            to[n++] = (uint8_t)(bits >> held);
        }
    }
    if ((bits & ((1U << held) - 1)) != 0)
        return -EINVAL;
    return (ssize_t)n;
}

void uuid_v7(uint64_t ms, const uint8_t random[10], uint8_t ret_uuid[16])
{
    for (int i = 0; i < 6; i++)
        ret_uuid[i] = (uint8_t)(ms >> (40 - 8 * i));
    memcpy(ret_uuid + 6, random, 10);
    ret_uuid[6] = (uint8_t)(0x70 | (random[0] & 0x0f));
    ret_uuid[8] = (uint8_t)(0x80 | (random[2] & 0x3f));
}

static bool uuid_has_dash(size_t at)
{
    return at == 8 || at == 13 || at == 18 || at == 23;
}

void uuid_format(const uint8_t uuid[16], char ret_text[UUID_TEXT])
{
    char hex[HEX_TEXT(16)];
    const char *from = hex;

    (void)hex_encode(uuid, 16, hex);
    for (size_t i = 0; i < UUID_TEXT; i++)
        if (uuid_has_dash(i))
            ret_text[i] = '-';
        else
            ret_text[i] = *from++;
}

int uuid_parse(const char *s, uint8_t ret_uuid[16])
{
    char hex[HEX_TEXT(16)];
    uint8_t uuid[16];
    char *to = hex;

    if (strlen(s) != UUID_TEXT - 1)
        return -EINVAL;
    for (size_t i = 0; i < UUID_TEXT; i++) {
        if (!uuid_has_dash(i))
            *to++ = s[i];
        else if (s[i] != '-')
            return -EINVAL;
    }
    if (hex_decode(hex, uuid, sizeof(uuid)) != 16)
        return -EINVAL;
    memcpy(ret_uuid, uuid, sizeof(uuid));
    return 0;
}
