#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "common/hash.h"
#include "features/fmath.h"
#include "features/sketch.h"

static void fill(struct sketch *s, uint64_t from, uint64_t n)
{
    for (uint64_t i = from; i < from + n; i++)
        sketch_add(s, hash_u64(i, 7));
}

Test(sketch, nothing_is_zero_and_one_thing_is_one_however_often)
{
    struct sketch s = {0};

    cr_assert_eq(sketch_count(&s, NULL), 0);
    for (int i = 0; i < 1000; i++)
        sketch_add(&s, 42);
    cr_assert_eq(sketch_count(&s, NULL), 1);
}

Test(sketch, counts_are_close_up_to_a_thousand)
{
    for (uint64_t n = 1; n <= 1000; n = n * 3 / 2 + 1) {
        double sum = 0;
        for (uint64_t run = 0; run < 50; run++) {
            struct sketch s = {0};
            fill(&s, run * 1000000, n);
            sum += sketch_count(&s, NULL);
        }
        const double mean = sum / 50, allowed = 0.03 * (double)n + 0.5;
        cr_assert(mean > (double)n - allowed && mean < (double)n + allowed, "%lu: %f", n, mean);
    }
}

Test(sketch, two_count_what_is_in_either)
{
    struct sketch a = {0}, b = {0}, both = {0};

    fill(&a, 0, 300);
    fill(&b, 200, 300);
    fill(&both, 0, 500);
    cr_assert_eq(sketch_count(&a, &b), sketch_count(&both, NULL));
    cr_assert_eq(sketch_count(&b, &a), sketch_count(&both, NULL));
}

Test(sketch, a_full_one_says_the_most_it_can)
{
    struct sketch s;

    memset(&s, 0xff, sizeof(s));
    cr_assert_eq(sketch_count(&s, NULL), SKETCH_MAX);
    s.bit[3] = ~UINT64_C(1);
    cr_assert_eq(sketch_count(&s, NULL), 7098); /* 1024 ln 1024 */
}

/* n = -m ln(share of bits that are still 0), for every number of bits */
Test(sketch, the_table_is_the_formula)
{
    for (unsigned set = 0; set < SKETCH_BITS; set++) {
        struct sketch s = {0};
        const double share = (double)(SKETCH_BITS - set) / SKETCH_BITS;

        for (unsigned i = 0; i < set; i++)
            sketch_add(&s, i);
        cr_assert_eq(sketch_count(&s, NULL),
                     (uint32_t)(-(double)SKETCH_BITS * fmath_log(share) + 0.5), "%u bits", set);
    }
}
