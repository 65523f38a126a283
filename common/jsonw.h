/*
 * jsonw.h - writes JSON for the record stream, straight into a buf.
 *
 * Why      Hundreds of thousands of records a second; a tree of allocated nodes is too slow.
 *          Everything else (API, configuration, tests) uses jansson, whose names begin with json_.
 * Owns     Nothing: the buf is the caller's.
 * Threads  One at a time.
 * Bounds   JSONW_DEPTH_MAX levels, and the buf's max. Beyond either, or when a key is missing
 *          or where none belongs, buf->failed is set; check it once at the end.
 *
 * What comes out without `failed` is always valid JSON in valid UTF-8: broken sequences become
 * U+FFFD, numbers that are not finite become null.
 *
 * `key` is NULL inside an array and at the top, and only there. It is a word of ours: what would
 * need an escape has no place in it (a debug build checks).
 */
#pragma once

#include <stdint.h>
#include <string.h>

#include "common/buf.h"

#define JSONW_DEPTH_MAX 32

struct jsonw {
    struct buf *buf;
    uint32_t arrays; /* bit i: level i is an array */
    uint8_t depth;
    bool comma; /* something stands before, at this level */
};

/* Ready to write one value to the end of `buf`. Nothing is written yet. */
void jsonw_begin(struct jsonw *j, struct buf *buf);

/* The comma and key of n bytes that stand before a value, which has to follow: see below. */
void jsonw_key(struct jsonw *j, const char *key, size_t n);
void jsonw_open(struct jsonw *j, bool is_array);
void jsonw_put_str(struct jsonw *j, const char *s, size_t n);
void jsonw_put_u64(struct jsonw *j, uint64_t v);

/* Inline, so that the length of a literal is known when it is compiled. */
static inline void jsonw_before(struct jsonw *j, const char *key)
{
    jsonw_key(j, key, key != NULL ? strlen(key) : 0);
}

static inline void jsonw_object(struct jsonw *j, const char *key)
{
    jsonw_before(j, key);
    jsonw_open(j, false);
}

static inline void jsonw_array(struct jsonw *j, const char *key)
{
    jsonw_before(j, key);
    jsonw_open(j, true);
}

void jsonw_end(struct jsonw *j); /* closes the innermost of either */

/* `s` may hold NULs. */
static inline void jsonw_strn(struct jsonw *j, const char *key, const char *s, size_t n)
{
    jsonw_before(j, key);
    jsonw_put_str(j, s, n);
}

static inline void jsonw_str(struct jsonw *j, const char *key, const char *s)
{
    jsonw_strn(j, key, s, strlen(s));
}

static inline void jsonw_u64(struct jsonw *j, const char *key, uint64_t v)
{
    jsonw_before(j, key);
    jsonw_put_u64(j, v);
}

void jsonw_i64(struct jsonw *j, const char *key, int64_t v);
void jsonw_bool(struct jsonw *j, const char *key, bool v);
void jsonw_null(struct jsonw *j, const char *key);

/*
 * The fewest decimals that read back as the same number: as the same float for jsonw_f32 (read
 * as double and rounded). Whole numbers keep ".0", so that readers who guess types see reals.
 */
void jsonw_f32(struct jsonw *j, const char *key, float v);
void jsonw_f64(struct jsonw *j, const char *key, double v);

void jsonw_time(struct jsonw *j, const char *key, uint64_t ns);         /* time_eve */
void jsonw_time_rfc3339(struct jsonw *j, const char *key, uint64_t ns); /* time_rfc3339 */
void jsonw_ip(struct jsonw *j, const char *key, const uint8_t a[16]);

/* `text` is one complete JSON value; the caller vouches for it. */
void jsonw_raw(struct jsonw *j, const char *key, const char *text, size_t n);
