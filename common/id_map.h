/*
 * id_map.h - a table from numbers to pointers, or a set of numbers.
 *
 * Why      Entities and incidents are found by their id, texts by their hash.
 * Owns     The table; never what the pointers point at.
 * Threads  One at a time.
 * Bounds   Grows by doubling; who fills it bounds it. Nothing is taken out but all of it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base.h"

struct id_map {
    struct id_slot {
        uint64_t key; /* 0: free */
        void *value;
    } * slots;
    size_t n, size;
};

/* NULL when it is not there. `key` is not 0. */
void *id_map_get(const struct id_map *m, uint64_t key);

/* Put it in place of what was there. 0, or -ENOMEM: the map is as before. */
WIND_MUST_USE int id_map_put(struct id_map *m, uint64_t key, void *value);

/* As a set: 1: it is new. 0: it was there. -ENOMEM. */
WIND_MUST_USE int id_map_add(struct id_map *m, uint64_t key);

/* Empty, and without memory; a map that is all zeros is empty, too. */
void id_map_done(struct id_map *m);

static inline size_t id_map_bytes(const struct id_map *m)
{
    return m->size * sizeof(*m->slots);
}
