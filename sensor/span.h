/*
 * span.h - read bytes in place through a cursor that cannot overrun.
 *
 * Why      Every parser of packets and capture files reads through this and nothing else.
 * Owns     Nothing: at..at+left is borrowed.
 * Threads  Any: there is no state.
 * Bounds   span_take says no (NULL) rather than go past the end.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct span {
    const uint8_t *at;
    size_t left;
};

/* The next n bytes, which are then behind the cursor; NULL when there are fewer. */
static inline const uint8_t *span_take(struct span *s, size_t n)
{
    const uint8_t *const at = s->at;

    if (n > s->left)
        return NULL;
    s->at += n;
    s->left -= n;
    return at;
}

/* Numbers at `p`, of which the caller has taken enough bytes. Compiled to single loads. */
static inline uint16_t load_be16(const uint8_t *p)
{
    uint16_t v;

    memcpy(&v, p, sizeof(v));
    return __builtin_bswap16(v);
}

static inline uint32_t load_be32(const uint8_t *p)
{
    uint32_t v;

    memcpy(&v, p, sizeof(v));
    return __builtin_bswap32(v);
}

static inline uint16_t load_16(const uint8_t *p, bool swapped)
{
    uint16_t v;

    memcpy(&v, p, sizeof(v));
    return swapped ? __builtin_bswap16(v) : v;
}

static inline uint32_t load_32(const uint8_t *p, bool swapped)
{
    uint32_t v;

    memcpy(&v, p, sizeof(v));
    return swapped ? __builtin_bswap32(v) : v;
}

static inline uint64_t load_64(const uint8_t *p, bool swapped)
{
    uint64_t v;

    memcpy(&v, p, sizeof(v));
    return swapped ? __builtin_bswap64(v) : v;
}
