#include "common/digits.h"

const char digits_pairs[201] =
    "00010203040506070809101112131415161718192021222324252627282930313233343536373839"
    "40414243444546474849505152535455565758596061626364656667686970717273747576777879"
    "8081828384858687888990919293949596979899";

char *digits_u64(char *to, uint64_t v)
{
    char text[DIGITS_U64_MAX];
    char *at = text + sizeof(text);

    while (v >= 100) {
        at -= 2;
        (void)digits_2(at, (uint32_t)(v % 100));
        v /= 100;
    }
    if (v >= 10) {
        at -= 2;
        (void)digits_2(at, (uint32_t)v);
    } else {
        *--at = (char)('0' + v);
    }
    const size_t n = (size_t)(text + sizeof(text) - at);
    memcpy(to, at, n);
    return to + n;
}
