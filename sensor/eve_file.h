/*
 * eve_file.h - eve.json: written at a place that the writer knows, not where the file ends.
 *
 * Why      After a kill the next uplink cuts it back to what was committed, and goes on there.
 * Owns     The descriptor. The file is locked: two sensors in one folder would write over each
 *          other.
 * Threads  One.
 * Bounds   None of its own: what is written is the caller's.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/err.h"

/* How far it is written. */
struct eve_place {
    uint64_t offset, dev, ino;
};

/*
 * Open and lock the file at `path`, and close *fd (if >= 0) only then: it may be the same. It is
 * cut back to *place, if that is its place (`is_started`); else a replay begins it anew, and live
 * goes on behind its last whole line. -EBUSY: somebody else has it, and the old one is closed.
 */
WIND_MUST_USE int eve_file_open(int *fd, const char *path, bool is_replay, bool is_started,
                                struct eve_place *place, struct err *e);

/* Write all of `out` and empty it. Returns 0, or -errno: then nothing counts as written. */
WIND_MUST_USE int eve_file_write(int fd, struct buf *out, struct eve_place *place);
