/*
 * pool.h - objects of one size, as many as were agreed on at the start.
 *
 * Why      Run-time state (flows, nDPI state) has a limit, and taking or giving back an object
 *          costs a few instructions, no allocator.
 * Owns     The memory of all objects. A taken object belongs to the taker until pool_put.
 * Threads  One at a time.
 * Bounds   `capacity` objects; then pool_take returns NULL. Memory that was never taken is
 *          never touched. With WIND_SANITIZED every object is a malloc of its own: then what
 *          was not put back before pool_free is reported as a leak.
 */
#pragma once

#include "common/base.h"
#include "common/err.h"

struct pool;

/* -EINVAL: object_bytes or capacity is 0, or their product too large. -ENOMEM. */
WIND_MUST_USE int pool_new(struct pool **ret_pool, size_t object_bytes, size_t capacity,
                           struct err *e);
struct pool *pool_free(struct pool *p);
WIND_DEFINE_FREE(pool)

/* An object aligned for anything (to the cache line from 64 bytes on), not cleared; or NULL. */
void *pool_take(struct pool *p);

/* Give it back; NULL is fine. The most recently returned is the next taken: it is in the cache. */
void pool_put(struct pool *p, void *object);

size_t pool_taken(const struct pool *p);
