/*
 * unpack.h - undo gzip, zstd and LZ4, a piece at a time.
 *
 * Why      packed.h knows where bytes come from; this knows what was done to them.
 * Owns     The state of one decompressor.
 * Threads  One at a time.
 * Bounds   zstd keeps at most a window of 128 MiB (what asks for more is refused), LZ4 two blocks
 *          of at most 4 MiB, gzip 32 KiB.
 *
 * Several gzip members, zstd frames or LZ4 frames in a row are one input.
 */
#pragma once

#include "common/err.h"
#include "sensor/span.h"

#define UNPACK_MAGIC 4 /* bytes that tell which it is */

struct unpack;
struct unpack_kind;

/* What starts like this; NULL: nothing that we know. `len` may be below UNPACK_MAGIC at the end. */
const struct unpack_kind *unpack_detect(const uint8_t *magic, size_t len);

/* "gzip", "zstd", "lz4" */
const char *unpack_name(const struct unpack_kind *kind);

/* Returns 0 or -ENOMEM. */
WIND_MUST_USE int unpack_new(struct unpack **ret_unpack, const struct unpack_kind *kind);
struct unpack *unpack_free(struct unpack *u);
WIND_DEFINE_FREE(unpack)

/*
 * Take some of `in`, at least a byte of which must be there, and write at most `room` bytes.
 * Returns 0, or -EBADMSG: the data are damaged, as unpack_problem says.
 */
WIND_MUST_USE int unpack_some(struct unpack *u, struct span *in, uint8_t *to, size_t room,
                              size_t *ret_n);

/* Within a member or frame: the input must not end here. */
bool unpack_is_midway(const struct unpack *u);

/* "its gzip data are damaged (invalid block type)" */
const char *unpack_problem(const struct unpack *u);
