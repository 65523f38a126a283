#include <criterion/criterion.h>
#include <float.h>
#include <math.h>

#include "features/fmath.h"

Test(fmath, log2_agrees_with_the_c_library)
{
    for (double x = 1e-300; x < 1e300; x *= 1.37)
        cr_assert_float_eq(fmath_log2(x), log2(x), 1e-14 * (1 + fabs(log2(x))), "log2 of %g", x);
    for (double x = 0.5; x < 2; x += 0.0009)
        cr_assert_float_eq(fmath_log2(x), log2(x), 1e-15, "log2 of %g", x);
    cr_assert_float_eq(fmath_log(10), 2.302585092994046, 1e-14);
}

Test(fmath, exp2_agrees_with_the_c_library)
{
    for (double x = -1022; x <= 1023; x += 0.37)
        cr_assert_float_eq(fmath_exp2(x), exp2(x), 1e-14 * exp2(x), "2^%g", x);
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
