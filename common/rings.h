/*
 * rings.h - several rings with the same readers: one producer each, one thread a stage.
 *
 * Why      Each worker has a ring of its own; analysis and uplink read all of them.
 * Owns     The rings.
 * Threads  As ring.h; a stage's one thread waits for all of them at once.
 * Bounds   At most RINGS_MAX, all of the same size.
 */
#pragma once

#include "common/ring.h"

#define RINGS_MAX 32

struct rings {
    unsigned n;
    struct ring *ring[RINGS_MAX];
};

WIND_MUST_USE int rings_new(struct rings **ret_rings, unsigned n, size_t bytes, unsigned stages,
                            struct err *e);
struct rings *rings_free(struct rings *r);
WIND_DEFINE_FREE(rings)

/* Stage: sleep until one of them has something, at most wait_ms. */
void rings_wait_data(const struct rings *r, unsigned stage, int wait_ms);

/* Wake the stage if it sleeps: nothing more will come. */
void rings_wake(const struct rings *r, unsigned stage);
