/*
 * source.h - the bytes of a capture file, decompressed, as a window that moves forward.
 *
 * Why      Formats read plain and compressed input, files, growing files and pipes, in the same
 *          way.
 * Owns     The packed input (packed.h) and the window. Borrows a thread, if it is lent one.
 * Threads  One; a lent thread decompresses ahead of it (source_thread.h).
 * Bounds   A plain regular file that isn't followed is one mapping. Anything else passes through
 *          a window of SOURCE_WINDOW bytes, or through the blocks of the thread.
 *
 * Bytes of the window stay where they are until the next source_fill.
 */
#pragma once

#include "sensor/source_thread.h"

#define SOURCE_WINDOW (1 << 20)

struct source;

/* Takes `fd` when it returns 0. Reads nothing yet. Flags: PACKED_... */
WIND_MUST_USE int source_new(struct source **ret_source, int fd, unsigned flags, struct err *e);

/* Close; NULL is fine. Always returns NULL. */
struct source *source_free(struct source *s);
WIND_DEFINE_FREE(source)

/* Before the first source_fill: decompress in that thread, which must outlive the source. */
void source_lend_thread(struct source *s, struct source_thread *t);

/* What is there to read. The format advances it. */
struct span *source_window(struct source *s);

/* Get more into the window, whose bytes may move. At most SOURCE_CARRY bytes may be in it. */
enum source_fill source_fill(struct source *s, int wait_ms);

/* The window is the whole file, mapped: its bytes stay where they are. Known after the first
 * source_fill. */
bool source_is_mapped(const struct source *s);

/* "gzip", "zstd", "lz4" or "": known after the first source_fill. */
const char *source_compression(const struct source *s);

/* After SOURCE_BAD: what is wrong, e.g. "its gzip data are damaged (invalid block type)". */
const char *source_problem(const struct source *s);

/* A file that was followed is complete: from now on its end is one. */
void source_stop_following(struct source *s);

/* Is it worth a thread? (packed_looks_compressed) */
bool source_looks_compressed(const struct source *s);
