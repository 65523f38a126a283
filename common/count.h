/*
 * count.h - a counter that one thread writes and any thread or process reads.
 *
 * Why      The data path never logs and never fails: it counts, at the price of an add.
 * Owns     Nothing; counters live in their module's struct, or in shared memory.
 * Threads  One writer a counter. A reader sees a recent value, never a torn one.
 */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

/* Not atomic_fetch_add: with one writer a plain load and store are enough, and need no lock. */
static inline void count(_Atomic uint64_t *c, uint64_t n)
{
    atomic_store_explicit(c, atomic_load_explicit(c, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

/* For gauges: sizes, levels, the latest of something. */
static inline void count_set(_Atomic uint64_t *c, uint64_t value)
{
    atomic_store_explicit(c, value, memory_order_relaxed);
}

static inline uint64_t count_get(const _Atomic uint64_t *c)
{
    return atomic_load_explicit(c, memory_order_relaxed);
}
