#include "common/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define BUF_FIRST 256

void buf_init(struct buf *b, size_t max)
{
    *b = (struct buf){.max = max};
}

void buf_done(struct buf *b)
{
    free(b->data);
    buf_init(b, b->max);
}

bool buf_grow(struct buf *b, size_t n)
{
    if (b->failed || n > b->max - b->len) {
        b->failed = true;
        return false;
    }
    const size_t need = b->len + n;
    size_t cap = b->cap < BUF_FIRST ? BUF_FIRST : b->cap;

    while (cap < need)
        cap = cap > b->max / 2 ? b->max : cap * 2;
    if (cap > b->max)
        cap = b->max;
    if (cap <= b->cap)
        return true;

    char *data = realloc(b->data, cap);
    if (data == NULL) {
        b->failed = true;
        return false;
    }
    b->data = data;
    b->cap = cap;
    return true;
}

void buf_puts(struct buf *b, const char *s)
{
    buf_put(b, s, strlen(s));
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list ap, again;

    if (b->failed)
        return;
    va_start(ap, fmt);
    va_copy(again, ap);
    const int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);

    char *at = n >= 0 ? buf_room(b, (size_t)n + 1) : NULL;
    if (at != NULL) {
        (void)vsnprintf(at, (size_t)n + 1, fmt, again);
        b->len += (size_t)n;
    } else {
        b->failed = true;
    }
    va_end(again);
}

void buf_reset(struct buf *b)
{
    buf_truncate(b, 0);
}

void buf_truncate(struct buf *b, size_t len)
{
    WIND_CHECK(len <= b->len);
    b->len = len;
    b->failed = false;
}

const char *buf_text(struct buf *b)
{
    const bool failed = b->failed;

    b->failed = false; /* what is there can be read, even if more did not fit */
    char *end = buf_room(b, 1);
    b->failed = failed;
    if (end == NULL)
        return "";
    *end = '\0';
    return b->data;
}
