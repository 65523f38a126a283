/*
 * fmath.h - logarithm and power of two that give the same bits on every CPU and C library.
 *
 * Why      A score has to be the same wherever it is computed again. These use only + - * / on
 *          doubles, which IEEE 754 fixes; the tree is built without contraction to FMA.
 * Threads  Any; pure.
 * Bounds   Relative error below 1e-14.
 */
#pragma once

/* log2 of x; 0 for x <= 0 or NaN, 1024 for infinity. */
double fmath_log2(double x);

/* 2^x; 0 below -1022, the largest double above 1023, 1 for NaN. */
double fmath_exp2(double x);

/* Natural logarithm. */
static inline double fmath_log(double x)
{
    return fmath_log2(x) * 0.69314718055994530942;
}
