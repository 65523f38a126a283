/*
 * buf.h - a growing run of bytes with a limit.
 *
 * Why      Text and records are built piece by piece; one check at the end is enough.
 * Owns     Its bytes, from the first append to buf_done.
 * Threads  One at a time.
 * Bounds   Never holds more than `max` bytes. An append that does not fit, or finds no memory,
 *          appends nothing and sets `failed`; every later append does nothing either.
 *
 * Over memory of the caller's: struct buf b = BUF_FIXED(array); such a buf is never freed.
 */
#pragma once

#include <stdbool.h>
#include <string.h>

#include "common/base.h"

struct buf {
    char *data;
    size_t len, cap;
    size_t max;
    bool failed;
};

#define BUF_FIXED(array)                                                                           \
    (struct buf)                                                                                   \
    {                                                                                              \
        .data = (array), .cap = sizeof(array), .max = sizeof(array)                                \
    }

void buf_init(struct buf *b, size_t max);

/* Free the bytes. The buf is as after buf_init; calling it twice is fine. */
void buf_done(struct buf *b);

/* Make room for n more bytes; see buf_room. */
bool buf_grow(struct buf *b, size_t n);

/* Where the next n bytes may be written, or NULL. They count once `len` is raised. */
static inline char *buf_room(struct buf *b, size_t n)
{
    if (WIND_UNLIKELY(b->failed || b->cap - b->len < n) && !buf_grow(b, n))
        return NULL;
    return b->data + b->len;
}

static inline void buf_put(struct buf *b, const void *p, size_t n)
{
    char *at = n > 0 ? buf_room(b, n) : NULL;

    if (WIND_LIKELY(at != NULL)) {
        memcpy(at, p, n);
        b->len += n;
    }
}

static inline void buf_putc(struct buf *b, char c)
{
    char *at = buf_room(b, 1);

    if (WIND_LIKELY(at != NULL)) {
        *at = c;
        b->len++;
    }
}

void buf_puts(struct buf *b, const char *s);
void buf_printf(struct buf *b, const char *fmt, ...) WIND_PRINTF(2, 3);

/* Empty it and clear `failed`; the memory is kept. */
void buf_reset(struct buf *b);

/* Back to `len` bytes, and clear `failed`: takes back a piece that did not fit. */
void buf_truncate(struct buf *b, size_t len);

/* The content as a C string, valid until the next change. "" if the NUL found no room. */
const char *buf_text(struct buf *b);
