/*
 * packed.h - what is in an input, decompressed: a file, a pipe, or a file that grows.
 *
 * Why      Where the bytes come from, and what was done to them, is nobody else's business.
 * Owns     The descriptor, the mapping, the decompressor.
 * Threads  One at a time: source.c lends it to a thread of its own (source_thread.h).
 * Bounds   A regular file is mapped; anything else passes through 256 KiB. Beside that, those of
 *          unpack.h.
 *
 *     packed_start ... 0 -> PLAIN FILE: packed_mapping;  anything else: packed_fill ... END
 *
 * A mapped file that somebody cuts while it is read costs the process a SIGBUS: after its
 * restart it sees the new length, and reports a truncated file. A file that is followed is read,
 * not mapped: one that shrinks is reported as it is.
 */
#pragma once

#include "common/err.h"
#include "sensor/span.h"

enum source_fill {
    SOURCE_FILLED, /* there are more bytes than before */
    SOURCE_WAIT,   /* nothing came within wait_ms */
    SOURCE_END,    /* the input is complete */
    SOURCE_CUT,    /* the compressed data end too early */
    SOURCE_BAD     /* damaged or unreadable: packed_problem says how */
};

struct packed;

/* What the caller knows of the descriptor. */
#define PACKED_IS_FILE 1U /* it is a regular file; nobody has to ask */
#define PACKED_FOLLOW  2U /* the end of the file is none: it grows */

/* Takes `fd` when it returns 0. Reads nothing yet. */
WIND_MUST_USE int packed_new(struct packed **ret_packed, int fd, unsigned flags, struct err *e);
struct packed *packed_free(struct packed *p);
WIND_DEFINE_FREE(packed)

/*
 * Find out which compression it is. SOURCE_FILLED: done. SOURCE_END: done, and there is nothing.
 * SOURCE_WAIT: not yet. SOURCE_BAD.
 */
enum source_fill packed_start(struct packed *p, int wait_ms);

/* "gzip", "zstd", "lz4" or "" */
const char *packed_compression(const struct packed *p);

/* All of a plain regular file that isn't followed. False: use packed_fill. */
bool packed_mapping(const struct packed *p, struct span *ret_all);

/*
 * Write up to `room` bytes. SOURCE_FILLED: *ret_n of them, more than 0. What ends the input is
 * said when everything before it was handed out, and again every time.
 */
enum source_fill packed_fill(struct packed *p, uint8_t *to, size_t room, int wait_ms,
                             size_t *ret_n);

/* No more will be written to the file: from now on its end is one. */
void packed_stop_following(struct packed *p);

/* Does it look like a compressed regular file? Its first bytes are compared, and nothing more. */
bool packed_looks_compressed(const struct packed *p);

const char *packed_problem(const struct packed *p);
