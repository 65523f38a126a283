/*
 * json.h - writes JSON for the record stream, straight into a buf.
 *
 * Why      Hundreds of thousands of records a second; a tree of allocated nodes is too slow.
 *          Everything else (API, configuration, tests) uses jansson.
 * Owns     Nothing: the buf is the caller's.
 * Threads  One at a time.
 * Bounds   JSON_DEPTH_MAX levels, and the buf's max. Beyond either, or when a key is missing
 *          or where none belongs, buf->failed is set; check it once at the end.
 *
 * What comes out without `failed` is always valid JSON in valid UTF-8: broken sequences become
 * U+FFFD, numbers that are not finite become null.
 *
 * `key` is NULL inside an array and at the top, and only there.
 */
#pragma once

#include <stdint.h>

#include "common/buf.h"

#define JSON_DEPTH_MAX 32

struct json {
    struct buf *buf;
    uint32_t arrays; /* bit i: level i is an array */
    uint8_t depth;
    bool comma; /* something stands before, at this level */
};

/* Ready to write one value to the end of `buf`. Nothing is written yet. */
void json_begin(struct json *j, struct buf *buf);

/*
 * jansson exports json_object, json_array and json_null too, and the linker would give its callers
 * ours: these three have another name in the object file. One source file uses one of the two.
 */
#define JSON_SYMBOL(name) __asm__("wind_" name)

void json_object(struct json *j, const char *key) JSON_SYMBOL("json_object");
void json_array(struct json *j, const char *key) JSON_SYMBOL("json_array");
void json_end(struct json *j); /* closes the innermost of either */

void json_str(struct json *j, const char *key, const char *s);
void json_strn(struct json *j, const char *key, const char *s, size_t n); /* may hold NULs */
void json_u64(struct json *j, const char *key, uint64_t v);
void json_i64(struct json *j, const char *key, int64_t v);
void json_bool(struct json *j, const char *key, bool v);
void json_null(struct json *j, const char *key) JSON_SYMBOL("json_null");

/*
 * The fewest decimals that read back as the same number: as the same float for json_f32 (read
 * as double and rounded). Whole numbers keep ".0", so that readers who guess types see reals.
 */
void json_f32(struct json *j, const char *key, float v);
void json_f64(struct json *j, const char *key, double v);

void json_time(struct json *j, const char *key, uint64_t ns);         /* time_eve */
void json_time_rfc3339(struct json *j, const char *key, uint64_t ns); /* time_rfc3339 */
void json_ip(struct json *j, const char *key, const uint8_t a[16]);

/* `text` is one complete JSON value; the caller vouches for it. */
void json_raw(struct json *j, const char *key, const char *text, size_t n);
