#include "common/utf8.h"

#include <string.h>

size_t utf8_len(const void *p, size_t left)
{
    static const struct {
        unsigned char first_lo, first_hi, second_lo, second_hi, len;
    } forms[] = {
        {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3}, {0xe1, 0xec, 0x80, 0xbf, 3},
        {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3}, {0xf0, 0xf0, 0x90, 0xbf, 4},
        {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
    };
    const unsigned char *s = p;

    if (left == 0 || s[0] < 0x80)
        return left == 0 ? 0 : 1;
    for (size_t i = 0; i < WIND_ARRAY_SIZE(forms); i++) {
        if (s[0] < forms[i].first_lo || s[0] > forms[i].first_hi)
            continue;
        if (left < forms[i].len || s[1] < forms[i].second_lo || s[1] > forms[i].second_hi)
            return 0;
        for (size_t k = 2; k < forms[i].len; k++)
            if ((s[k] & 0xc0) != 0x80)
                return 0;
        return forms[i].len;
    }
    return 0;
}

bool utf8_valid(const void *p, size_t n)
{
    const unsigned char *s = p;

    while (n > 0) {
        const size_t len = utf8_len(s, n);

        if (len == 0)
            return false;
        s += len;
        n -= len;
    }
    return true;
}

void utf8_cut(char *text)
{
    size_t left = strlen(text), len;

    for (; left > 0 && (len = utf8_len(text, left)) > 0; left -= len)
        text += len;
    *text = '\0';
}

bool utf8_is_line(const void *p, size_t n)
{
    const unsigned char *s = p;

    for (size_t i = 0; i < n; i++)
        if (s[i] < 0x20 || s[i] == 0x7f)
            return false;
    return utf8_valid(p, n);
}
