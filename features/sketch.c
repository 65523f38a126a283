#include "features/sketch.h"

#include <stddef.h>

#include "features/fmath.h"

/* n = -m ln(share of bits that are still 0) */
uint32_t sketch_count(const struct sketch *a, const struct sketch *b)
{
    unsigned set = 0;

    for (unsigned i = 0; i < SKETCH_WORDS; i++)
        set += (unsigned)__builtin_popcountll(a->bit[i] | (b != NULL ? b->bit[i] : 0));
    if (set == SKETCH_BITS)
        return SKETCH_MAX;
    return (uint32_t)(-(double)SKETCH_BITS * fmath_log((double)(SKETCH_BITS - set) / SKETCH_BITS) +
                      0.5);
}
