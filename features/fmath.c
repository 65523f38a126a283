/*
 * log2: x = 2^e * m with m in [sqrt(1/2), sqrt(2)), and ln m = 2 atanh((m - 1) / (m + 1)), whose
 * series in s^2 <= 0.0295 is below 1e-16 after eleven terms. exp2: 2^x = 2^i * e^(f ln 2) with
 * |f| <= 1/2, a Taylor series of fourteen terms.
 */
#include "features/fmath.h"

#include <float.h>
#include <stdint.h>
#include <string.h>

#include "common/base.h"

#define LN2 0.69314718055994530942

static uint64_t bits_of(double x)
{
    uint64_t b;

    memcpy(&b, &x, sizeof(b));
    return b;
}

static double of_bits(uint64_t b)
{
    double x;

    memcpy(&x, &b, sizeof(x));
    return x;
}

static const double one_by_odd[] = {1.0 / 21, 1.0 / 19, 1.0 / 17, 1.0 / 15, 1.0 / 13, 1.0 / 11,
                                    1.0 / 9,  1.0 / 7,  1.0 / 5,  1.0 / 3,  1.0};

double fmath_log2(double x)
{
    int e = 0;

    if (!(x > 0))
        return 0;
    if (x > DBL_MAX)
        return 1024;
    if (x < DBL_MIN) { /* subnormal: make it normal, exactly */
        x *= 18014398509481984.0;
        e = -54;
    }
    const uint64_t b = bits_of(x);
    e += (int)(b >> 52 & 0x7ff) - 1023;
    double m = of_bits((b & UINT64_C(0xfffffffffffff)) | UINT64_C(0x3ff0000000000000));
    if (m > 1.4142135623730951) {
        m *= 0.5;
        e++;
    }
    const double s = (m - 1) / (m + 1), s2 = s * s;
    double sum = 0;
    for (size_t i = 0; i < WIND_ARRAY_SIZE(one_by_odd); i++)
        sum = sum * s2 + one_by_odd[i];
    return e + 2 * s * sum / LN2;
}

double fmath_exp2(double x)
{
    if (x != x)
        return 1;
    if (x < -1022)
        return 0;
    if (x > 1023)
        return DBL_MAX;
    const int i = (int)(x < 0 ? x - 0.5 : x + 0.5);
    const double y = (x - i) * LN2;
    double sum = 1;
    for (int k = 14; k >= 1; k--)
        sum = 1 + sum * y / k;
    return sum * of_bits((uint64_t)(i + 1023) << 52);
}
