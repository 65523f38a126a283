/*
 * source.h - the bytes of a capture file, decompressed, as a window that moves forward.
 *
 * Why      Formats read plain, gzip and zstd input, files and pipes, in the same way.
 * Owns     The descriptor, the mapping, the window.
 * Threads  One.
 * Bounds   A plain regular file is one mapping. Anything else passes through a window of
 *          SOURCE_WINDOW bytes (zstd adds at most 128 MiB of its own).
 *
 * Bytes of the window stay where they are until the next source_fill.
 * A mapped file that somebody cuts while it is read costs the process a SIGBUS: after its
 * restart it sees the new length, and reports a truncated file.
 */
#pragma once

#include "common/err.h"
#include "sensor/span.h"

#define SOURCE_WINDOW (1 << 20)

enum source_fill {
    SOURCE_FILLED, /* the window has more bytes than before */
    SOURCE_WAIT,   /* nothing came within wait_ms */
    SOURCE_END,    /* the input is complete */
    SOURCE_CUT,    /* the compressed data end too early */
    SOURCE_BAD     /* damaged or unreadable: source_problem says how */
};

struct source;

/* Takes `fd` when it returns 0. Reads nothing yet. */
WIND_MUST_USE int source_new(struct source **ret_source, int fd, struct err *e);

/* Close; NULL is fine. Always returns NULL. */
struct source *source_free(struct source *s);
WIND_DEFINE_FREE(source)

/* What is there to read. The format advances it. */
struct span *source_window(struct source *s);

/* Get more into the window, whose bytes may move. The window must not be full. */
enum source_fill source_fill(struct source *s, int wait_ms);

/* "gzip", "zstd" or "": known after the first source_fill. */
const char *source_compression(const struct source *s);

/* After SOURCE_BAD: what is wrong, e.g. "its gzip data are damaged (invalid block type)". */
const char *source_problem(const struct source *s);
