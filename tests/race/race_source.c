/*
 * A thread that decompresses ahead of its reader: the same bytes as without it, however the two
 * take turns, and whenever the reader leaves.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zstd.h>

#include "sensor/source.h"

#define BYTES (6 << 20)

static uint8_t plain[BYTES];

static int packed_file(void)
{
    const size_t max = ZSTD_compressBound(BYTES);
    uint8_t *const packed = malloc(max);
    uint32_t random = 1;

    for (size_t i = 0; i < BYTES; i++)
        plain[i] = (uint8_t)((random = random * 1664525 + 1013904223) >> 26);
    const size_t len = packed != NULL ? ZSTD_compress(packed, max, plain, BYTES, 1) : 0;
    const int fd = memfd_create("packed", 0);
    const bool is_written = len > 0 && fd >= 0 && write(fd, packed, len) == (ssize_t)len;
    free(packed);
    return is_written ? fd : -1;
}

/* Read at most `max` bytes; `step`: how many at a time. Returns how many were as they should be. */
static size_t read_some(struct source_thread *t, int fd, size_t max, size_t step)
{
    WIND_AUTO(source) struct source *s = NULL;
    size_t n = 0;
    enum source_fill r = SOURCE_FILLED;

    if (source_new(&s, dup(fd), 0, NULL) < 0)
        return 0;
    source_lend_thread(s, t);
    while (n < max && (r == SOURCE_FILLED || r == SOURCE_WAIT)) {
        struct span *const w = source_window(s);
        while (n < max && w->left >= step) {
            if (memcmp(span_take(w, step), plain + n, step) != 0)
                return 0;
            n += step;
        }
        if (n < max)
            r = source_fill(s, 100);
    }
    return n;
}

int main(void)
{
    const int fd = packed_file();
    WIND_AUTO(source_thread) struct source_thread *t = NULL;

    if (fd < 0 || source_thread_new(&t, NULL) < 0)
        return 2;
    for (size_t step = 4099; step < 1 << 19; step = step * 3 + 2) /* so that something is left */
        if (read_some(t, fd, BYTES / step * step, step) != BYTES / step * step)
            return 1;
    for (size_t n = 0; n * 4099 <= BYTES; n += 100) /* leaves, wherever the thread is */
        if (read_some(t, fd, n * 4099, 4099) != n * 4099)
            return 1;
    (void)close(fd);
    (void)puts("the same bytes every time");
    return 0;
}
