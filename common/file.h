/*
 * file.h - whole small files: read with a limit, replaced in one step.
 *
 * Why      Keys, models and settings are read at start-up and written so that a crash leaves
 *          either the old or the new content.
 * Threads  Any: there is no state.
 * Bounds   The reader's buf says how much it takes.
 */
#pragma once

#include <sys/types.h>

#include "common/buf.h"
#include "common/err.h"

/*
 * Append the whole file to `into`. -EFBIG: more than its max. The content of `into` is
 * undefined after a failure.
 */
WIND_MUST_USE int file_read(const char *path, struct buf *into, struct err *e);

/*
 * A secret of one line, without its newline; `size` includes the NUL. -EINVAL: empty, several
 * lines, or not text. Outcome FILE_EXPOSED: taken, but others than owner and group may read
 * the file; the caller warns.
 */
#define FILE_EXPOSED 1
WIND_MUST_USE int file_read_secret(const char *path, char *ret_secret, size_t size, struct err *e);

/* Write a new file beside `path`, flush it to disk, and rename it over `path`. */
WIND_MUST_USE int file_replace(const char *path, const void *data, size_t n, mode_t mode,
                               struct err *e);
