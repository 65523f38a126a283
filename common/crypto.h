/*
 * crypto.h - digests, random bytes and their texts.
 *
 * Why      One door to the primitives; all of them are mbedtls's or the kernel's.
 * Threads  Any: there is no state.
 * Bounds   Encoders write at most the size their macro names, and always end with a NUL;
 *          decoders take a size and refuse what does not fit.
 *
 * A machine that cannot give random bytes or compute a digest stops (WIND_CHECK): nothing
 * sensible can follow.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/base.h"

#define SHA1_BYTES   20
#define SHA256_BYTES 32

void crypto_random(void *ret_bytes, size_t n);

void crypto_sha1(const void *p, size_t n, uint8_t ret_digest[SHA1_BYTES]);
void crypto_sha256(const void *p, size_t n, uint8_t ret_digest[SHA256_BYTES]);
void crypto_hmac_sha256(const void *key, size_t key_len, const void *p, size_t n,
                        uint8_t ret_digest[SHA256_BYTES]);

/* Takes as long whether they are equal or not. */
bool crypto_equal(const void *a, const void *b, size_t n);

/* Overwrite a secret; the compiler may not drop it. */
void crypto_wipe(void *p, size_t n);

#define HEX_TEXT(n)    (2 * (n) + 1)
#define BASE64_TEXT(n) (((n) + 2) / 3 * 4 + 1)
#define UUID_TEXT      37

/* Lower case. Returns the length. */
size_t hex_encode(const void *p, size_t n, char *ret_text);

/* Value of one digit of either case, or -1. */
int hex_value(char c);

/* Either case. Returns how many bytes, or -EINVAL: odd, not hex, or more than max bytes. */
WIND_MUST_USE ssize_t hex_decode(const char *s, void *ret_bytes, size_t max);

/* RFC 4648. base64url has no padding. Return the length; the text needs BASE64_TEXT(n) bytes. */
size_t base64_encode(const void *p, size_t n, char *ret_text);
size_t base64url_encode(const void *p, size_t n, char *ret_text);

/*
 * len characters without padding. Returns how many bytes, or -EINVAL: not base64url, bits left
 * over that are not zero, or more than max bytes.
 */
WIND_MUST_USE ssize_t base64url_decode(const char *s, size_t len, void *ret_bytes, size_t max);

/* Sorts by time. The caller gives both parts, so a replay can make the same ids again. */
void uuid_v7(uint64_t ms, const uint8_t random[10], uint8_t ret_uuid[16]);

/* "0198f2c4-7a31-7c5e-9d2b-0123456789ab" */
void uuid_format(const uint8_t uuid[16], char ret_text[UUID_TEXT]);

/* Either case, dashes in their places, any version. -EINVAL otherwise. */
WIND_MUST_USE int uuid_parse(const char *s, uint8_t ret_uuid[16]);
