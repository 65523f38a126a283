/*
 * sketch.h - how many different things were there, in 128 bytes.
 *
 * Why      A scanner's targets are counted, not listed.
 * Owns     Nothing. All zero is the empty sketch.
 * Threads  Whoever owns it.
 * Bounds   1024 bits, linear counting (Whang et al. 1990): within about 3 % up to 1000, and
 *          SKETCH_MAX when every bit is set.
 */
#pragma once

#include <stdint.h>

#define SKETCH_WORDS 16
#define SKETCH_BITS  (SKETCH_WORDS * 64)
#define SKETCH_MAX   7098u /* 1024 * ln(1024) */

struct sketch {
    uint64_t bit[SKETCH_WORDS];
};

static inline void sketch_add(struct sketch *s, uint64_t hash)
{
    const unsigned bit = (unsigned)(hash % SKETCH_BITS);

    s->bit[bit / 64] |= UINT64_C(1) << (bit % 64);
}

/* Distinct hashes in the union of both; `b` may be NULL. */
uint32_t sketch_count(const struct sketch *a, const struct sketch *b);
