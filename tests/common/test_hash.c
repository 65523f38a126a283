#include <criterion/criterion.h>
#include <math.h>

#include "common/base.h"
#include "common/hash.h"

#define BUCKETS 1024
#define PER     64
#define KEYS    (BUCKETS * PER)

/* Sum of squares against what a random spread gives: it is 1 on average. */
static double spread(const unsigned bucket[BUCKETS])
{
    double sum = 0;

    for (int i = 0; i < BUCKETS; i++) {
        const double off = (double)bucket[i] - PER;

        sum += off * off / PER;
    }
    return sum / BUCKETS;
}

Test(hash, counted_keys_spread_evenly_over_low_and_high_bits)
{
    static unsigned low[BUCKETS], high[BUCKETS], word[BUCKETS];
    uint8_t key[40] = {0};

    for (uint32_t i = 0; i < KEYS; i++) {
        memcpy(key + 12, &i, sizeof(i));
        const uint64_t h = hash64(key, sizeof(key), 7);

        low[h % BUCKETS]++;
        high[h >> 54]++;
        word[hash_u64(i, 7) % BUCKETS]++;
    }
    cr_expect_lt(fabs(spread(low) - 1), 0.2, "%f", spread(low));
    cr_expect_lt(fabs(spread(high) - 1), 0.2, "%f", spread(high));
    cr_expect_lt(fabs(spread(word) - 1), 0.2, "%f", spread(word));
}

/* Each bit of the key flips about half of the bits of the hash, at every length. */
Test(hash, every_bit_of_the_key_counts)
{
    for (size_t n = 1; n <= 50; n++) {
        uint8_t key[50] = {0};

        const uint64_t h = hash64(key, n, 1);
        for (size_t bit = 0; bit < n * 8; bit++) {
            key[bit / 8] ^= (uint8_t)(1U << bit % 8);
            const int flipped = __builtin_popcountll(h ^ hash64(key, n, 1));
            key[bit / 8] ^= (uint8_t)(1U << bit % 8);
            cr_assert(flipped > 8 && flipped < 56, "length %zu bit %zu: %d", n, bit, flipped);
        }
        cr_assert_neq(h, hash64(key, n - 1, 1), "zeros of different lengths");
        cr_assert_neq(h, hash64(key, n, 2), "the seed counts");
    }
}

/* The constants in hash.h are public; as a part of a key they must not silence the rest of it. */
Test(hash, no_known_prefix_makes_keyed_hashes_meet)
{
    const uint64_t prefix[] = {0, HASH_K0, HASH_K1, HASH_K2, ~HASH_K1, HASH_K0 ^ HASH_K1};

    for (size_t i = 0; i < WIND_ARRAY_SIZE(prefix); i++) {
        for (uint64_t n = 0; n < 64; n++) {
            const uint64_t a[2] = {prefix[i], n}, b[2] = {prefix[i], n + 1};
            const uint64_t c[2] = {n, prefix[i]}, d[2] = {n + 1, prefix[i]};
            cr_assert_neq(hash64_keyed(a, 16, 5), hash64_keyed(b, 16, 5), "prefix %zu", i);
            cr_assert_neq(hash64_keyed(c, 16, 5), hash64_keyed(d, 16, 5), "suffix %zu", i);
        }
    }
}

Test(hash, fnv1a_gives_the_published_values)
{
    cr_assert_eq(hash_fnv1a(""), UINT64_C(0xcbf29ce484222325));
    cr_assert_eq(hash_fnv1a("a"), UINT64_C(0xaf63dc4c8601ec8c));
    cr_assert_eq(hash_fnv1a("foobar"), UINT64_C(0x85944171f73967e8));
}
