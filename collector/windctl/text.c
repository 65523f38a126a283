#include "collector/windctl/text.h"

#include <stdint.h>
#include <wchar.h>

#include "common/utf8.h"

#define REPLACEMENT "\xef\xbf\xbd"

static uint32_t decode(const unsigned char *s, size_t len)
{
    static const unsigned char first_mask[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    uint32_t c = s[0] & first_mask[len];

    for (size_t i = 1; i < len; i++)
        c = c << 6 | (s[i] & 0x3f);
    return c;
}

/* Code points that move the cursor, change direction, or cannot be seen. */
static bool is_hostile(uint32_t c)
{
    static const struct {
        uint32_t from, to;
    } ranges[] = {
        {0x00, 0x1f},     {0x7f, 0x9f},     {0xad, 0xad},       {0x61c, 0x61c},
        {0x180e, 0x180e}, {0x200b, 0x200f}, {0x2028, 0x202e},   {0x2060, 0x206f},
        {0xfeff, 0xfeff}, {0xfff9, 0xfffb}, {0xe0000, 0xe0fff},
    };

    for (size_t i = 0; i < WIND_ARRAY_SIZE(ranges); i++)
        if (c >= ranges[i].from && c <= ranges[i].to)
            return true;
    return false;
}

void text_safe(struct buf *to, const char *s, size_t n)
{
    for (size_t at = 0; at < n;) {
        const size_t len = utf8_len(s + at, n - at);
        const uint32_t c = len > 0 ? decode((const unsigned char *)s + at, len) : 0;

        if (len == 0)
            buf_puts(to, REPLACEMENT);
        else if (c == '\n' || c == '\r' || c == '\t')
            buf_putc(to, ' ');
        else if (is_hostile(c))
            buf_printf(to, "\\u{%x}", (unsigned)c);
        else
            buf_put(to, s + at, len);
        at += len > 0 ? len : 1;
    }
}

/* wcwidth knows wide letters only in a UTF-8 locale, which main() asks for. */
static size_t columns(const char *s, size_t left, size_t *ret_len)
{
    const size_t len = utf8_len(s, left);
    const int width = len > 0 ? wcwidth((wchar_t)decode((const unsigned char *)s, len)) : 1;

    *ret_len = len > 0 ? len : 1;
    return width >= 0 ? (size_t)width : 1;
}

size_t text_width(const char *s, size_t n)
{
    size_t width = 0, len;

    for (size_t at = 0; at < n; at += len)
        width += columns(s + at, n - at, &len);
    return width;
}

size_t text_fit(const char *s, size_t n, size_t width)
{
    size_t used = 0, len;

    for (size_t at = 0; at < n; at += len) {
        used += columns(s + at, n - at, &len);
        if (used > width)
            return at;
    }
    return n;
}

void text_csv(struct buf *to, const char *s, size_t n)
{
    static const char starts[] = {'=', '+', '-', '@', '\t', '\r', '\n'};
    const bool is_formula = n > 0 && memchr(starts, s[0], sizeof(starts)) != NULL;
    bool is_quoted = is_formula || (n > 0 && (s[0] == ' ' || s[n - 1] == ' '));

    for (size_t i = 0; i < n && !is_quoted; i++)
        is_quoted = s[i] == '"' || s[i] == ',' || s[i] == '\n' || s[i] == '\r';
    if (is_quoted)
        buf_putc(to, '"');
    if (is_formula)
        buf_putc(to, '\'');
    for (size_t i = 0; i < n; i++) {
        if (s[i] == '"')
            buf_putc(to, '"');
        if (s[i] != '\0')
            buf_putc(to, s[i]);
    }
    if (is_quoted)
        buf_putc(to, '"');
}
