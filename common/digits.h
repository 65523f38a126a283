/*
 * digits.h - decimal digits, two at a time.
 *
 * Why      printf takes ten times as long, and the record stream is mostly numbers.
 * Threads  Any: there is no state.
 */
#pragma once

#include <stdint.h>
#include <string.h>

#define DIGITS_U64_MAX 20

extern const char digits_pairs[201];

/* Exactly two digits; v below 100. Returns the end. */
static inline char *digits_2(char *to, uint32_t v)
{
    memcpy(to, &digits_pairs[(size_t)v * 2], 2);
    return to + 2;
}

/* As many digits as it takes, at most DIGITS_U64_MAX. Returns the end. */
char *digits_u64(char *to, uint64_t v);
