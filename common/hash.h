/*
 * hash.h - hashes for tables. For anything that must not be forged: common/crypto.h.
 *
 * Why      A table indexed by what strangers send needs a key, or they choose the bucket:
 *          hash64_keyed with a seed from crypto_random.
 * Threads  Any: there is no state.
 *
 * hash64 multiplies 64 x 64 bits and folds (the idea of wyhash, not its bytes). The result is
 * the same in every run with the same seed, and differs between big and little endian.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define HASH_K0 UINT64_C(0xa0761d6478bd642f)
#define HASH_K1 UINT64_C(0xe7037ed1a0b428db)
#define HASH_K2 UINT64_C(0x8ebc6af09c88c6e3)

static inline uint64_t hash_fold(uint64_t a, uint64_t b)
{
    const unsigned __int128 m = (unsigned __int128)a * b;

    return (uint64_t)m ^ (uint64_t)(m >> 64);
}

static inline uint64_t hash_load(const uint8_t *p, size_t n)
{
    uint64_t v = 0;

    memcpy(&v, p, n);
    return v;
}

/* Inline, so that a constant n becomes straight code. */
static inline uint64_t hash64(const void *data, size_t n, uint64_t seed)
{
    const uint8_t *p = data;
    size_t left = n;
    uint64_t h = seed ^ hash_fold(seed ^ HASH_K0, HASH_K1);

    for (; left > 16; left -= 16, p += 16)
        h = hash_fold(hash_load(p, 8) ^ HASH_K1, hash_load(p + 8, 8) ^ h);

    const uint64_t a = left > 8 ? hash_load(p, 8) : hash_load(p, left);
    const uint64_t b = left > 8 ? hash_load(p + 8, left - 8) : 0;
    h = hash_fold(a ^ HASH_K1, b ^ h);
    return hash_fold(h ^ HASH_K2, HASH_K1 ^ n);
}

/*
 * For tables whose keys strangers choose. Not hash64: there HASH_K1 as the first eight bytes makes
 * the product 0 whatever the rest and the seed are, so one IPv6 prefix of such hosts would fill
 * one bucket. Here both factors depend on the seed, which nobody knows.
 */
static inline uint64_t hash64_keyed(const void *data, size_t n, uint64_t seed)
{
    const uint8_t *p = data;
    size_t left = n;
    uint64_t h = seed ^ hash_fold(seed ^ HASH_K0, HASH_K1);

    for (; left > 16; left -= 16, p += 16)
        h = hash_fold(hash_load(p, 8) ^ (h << 32 | h >> 32), hash_load(p + 8, 8) ^ h);

    const uint64_t a = left > 8 ? hash_load(p, 8) : hash_load(p, left);
    const uint64_t b = left > 8 ? hash_load(p + 8, left - 8) : 0;
    h = hash_fold(a ^ (h << 32 | h >> 32), b ^ h);
    return hash_fold(h ^ HASH_K2, HASH_K1 ^ n);
}

static inline uint64_t hash_u64(uint64_t v, uint64_t seed)
{
    return hash_fold(hash_fold(v ^ HASH_K0, seed ^ HASH_K1) ^ HASH_K2, HASH_K1);
}

/* FNV-1a, 64 bits: stable for ever, for schema ids and file formats. Not for tables. */
static inline uint64_t hash_fnv1a(const char *s)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);

    for (; *s != '\0'; s++)
        h = (h ^ (uint8_t)*s) * UINT64_C(0x100000001b3);
    return h;
}
