/*
 * model_file.h - the container of every kind of model: a JSON header, arrays, a digest.
 *
 * Why      One place that knows the bytes; kinds only see named arrays of known length.
 * Owns     An opened file owns a copy of the bytes and the parsed header.
 * Threads  open/done: one. Reading: any.
 * Bounds   MODEL_BYTES_MAX a file, MODEL_HEADER_MAX its header. Little endian, on this machine too.
 *
 *      0   "WINDMDL1"
 *      8   u32  length of the header
 *      12  u32  0
 *      16  u64  length of the file
 *      24  header: JSON object; "arrays": [{"name": "nodes", "bytes": 1200}, ...]
 *          zeros up to a multiple of 64, then each array, each again padded with zeros to 64
 *      -32 SHA-256 of all before
 */
#pragma once

#include <jansson.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/err.h"

#define MODEL_HEADER_MAX (1u << 20)
#define MODEL_ALIGN      64

struct model_file {
    uint8_t *bytes;
    size_t len;
    json_t *header;
};

/* Copies `bytes`. -EINVAL with a sentence, -ENOMEM. On failure there is nothing to close. */
WIND_MUST_USE int model_file_open(struct model_file *ret_file, const void *bytes, size_t len,
                                  struct err *e);
void model_file_done(struct model_file *f);

/* The header's bytes, borrowed; not NUL-terminated. */
const char *model_file_header(const struct model_file *f, size_t *ret_len);

/* A borrowed array of 4-byte items, as long as the file is open. -EINVAL: not there, or not whole.
 */
WIND_MUST_USE int model_file_array(const struct model_file *f, const char *name,
                                   const void **ret_items, size_t *ret_n, struct err *e);

/* Typed members of a JSON object; -EINVAL says which one is missing or out of range. */
WIND_MUST_USE int model_file_text(const json_t *object, const char *name, char *ret_text,
                                  size_t size, struct err *e);
WIND_MUST_USE int model_file_int(const json_t *object, const char *name, int64_t max,
                                 int64_t *ret_value, struct err *e);
WIND_MUST_USE int model_file_ratio(const json_t *object, const char *name, float *ret_value,
                                   struct err *e); /* 0..1 */

struct model_array {
    const char *name;
    const void *bytes;
    size_t len;
};

/* Appends the whole file to `out`; adds "arrays" to `header`. -ENOMEM, -EFBIG. */
WIND_MUST_USE int model_file_write(struct buf *out, json_t *header,
                                   const struct model_array *arrays, size_t n, struct err *e);
