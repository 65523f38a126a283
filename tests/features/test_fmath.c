#include <criterion/criterion.h>
#include <float.h>
#include <math.h>

#include "features/fmath.h"

Test(fmath, log2_agrees_with_the_c_library)
{
    double x = 1e-300;
    for (int i = 0; i < 4300; i++, x *= 1.37)
        cr_assert_float_eq(fmath_log2(x), log2(x), 1e-14 * (1 + fabs(log2(x))), "log2 of %g", x);
    for (int i = 512; i < 2048; i++)
        cr_assert_float_eq(fmath_log2(i / 1024.0), log2(i / 1024.0), 1e-15, "log2 of %d/1024", i);
    cr_assert_float_eq(fmath_log(10), 2.302585092994046, 1e-14);
}

Test(fmath, exp2_agrees_with_the_c_library)
{
    for (int i = -3066; i <= 3069; i++)
        cr_assert_float_eq(fmath_exp2(i / 3.0), exp2(i / 3.0), 1e-14 * exp2(i / 3.0), "2^(%d/3)",
                           i);
    for (int i = -1022; i <= 1023; i++)
        cr_assert_float_eq(fmath_exp2(i), ldexp(1, i), 0, "2^%d is exact", i);
}

Test(fmath, edges_stay_finite)
{
    cr_assert_float_eq(fmath_log2(0), 0, 0);
    cr_assert_float_eq(fmath_log2(-1), 0, 0);
    cr_assert_float_eq(fmath_log2(NAN), 0, 0);
    cr_assert_float_eq(fmath_log2(INFINITY), 1024, 0);
    cr_assert_float_eq(fmath_log2(DBL_TRUE_MIN), -1074, 0);
    cr_assert_float_eq(fmath_exp2(-INFINITY), 0, 0);
    cr_assert_float_eq(fmath_exp2(INFINITY), DBL_MAX, 0);
    cr_assert_float_eq(fmath_exp2(NAN), 1, 0);
}
