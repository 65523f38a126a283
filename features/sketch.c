#include "features/sketch.h"

#include <stddef.h>

/* How many bits of each byte are set, in that byte. */
static inline uint64_t ones_by_byte(uint64_t v)
{
    v -= v >> 1 & UINT64_C(0x5555555555555555);
    v = (v & UINT64_C(0x3333333333333333)) + (v >> 2 & UINT64_C(0x3333333333333333));
    return (v + (v >> 4)) & UINT64_C(0x0f0f0f0f0f0f0f0f);
}

/* By arithmetic: the instruction for it is not in every processor that Wind runs on. */
static unsigned bits_set(const struct sketch *a, const struct sketch *b)
{
    const uint64_t even = UINT64_C(0x00ff00ff00ff00ff);
    uint64_t sum = 0; /* a byte holds 8 * SKETCH_WORDS */

    for (unsigned i = 0; i < SKETCH_WORDS; i++)
        sum += ones_by_byte(a->bit[i] | (b != NULL ? b->bit[i] : 0));
    sum = (sum & even) + (sum >> 8 & even);
    return (unsigned)(sum * UINT64_C(0x0001000100010001) >> 48);
}

uint32_t sketch_count(const struct sketch *a, const struct sketch *b)
{
    static const uint16_t distinct[SKETCH_BITS + 1] = {
#include "features/sketch_count.def"
    };

    return distinct[bits_set(a, b)];
}
