/*
 * cache_local.h - a bounded table of values in the process.
 *
 * Why      One collector alone needs no server for what it keeps.
 * Owns     Copies of keys and values.
 * Threads  Any; one short lock.
 * Bounds   CACHE_SLOTS values and `memory` bytes of them; the one unused longest gives way.
 */
#pragma once

#include <stdint.h>

#include "common/buf.h"
#include "common/err.h"

struct cache_local;

WIND_MUST_USE int cache_local_new(struct cache_local **ret, size_t memory, struct err *e);
struct cache_local *cache_local_free(struct cache_local *l);
WIND_DEFINE_FREE(cache_local)

/* 0 or CACHE_ABSENT. Times are of the monotonic clock. */
int cache_local_get(struct cache_local *l, const char *key, struct buf *into, uint64_t now_ns);

struct cache_value {
    const void *data;
    size_t n;
    uint64_t ends_ns;
};
void cache_local_put(struct cache_local *l, const char *key, const struct cache_value *v);
size_t cache_local_bytes(struct cache_local *l);
