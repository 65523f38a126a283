/*
 * bus_store.h - puts messages of the bus into the database, each once, whatever is among them.
 *
 * Why      One transaction for thousands of messages of many sensors; one that the database will
 *          not have must not keep the others out, and a database that is away must not look like
 *          thousands of bad messages.
 * Owns     Scratch for one batch.
 * Threads  One.
 * Bounds   Batches of at most `max` messages.
 */
#pragma once

#include "collector/bus_message.h"
#include "collector/bus_sequence.h"
#include "collector/ingest.h"

struct bus_store;

struct bus_store_conf {
    struct db *db;
    struct ingest *ingest;
    size_t max; /* at most INGEST_ITEMS */
    int64_t gap_wait_ns;
};

/* Of what has been stored since the start; readers see each by itself. */
struct bus_tally {
    _Atomic uint64_t stored[BUS_TOPICS], updated[BUS_TOPICS], known[BUS_TOPICS];
    _Atomic uint64_t rejected, unnumbered, splits;
    _Atomic uint64_t gaps, missing, found, duplicates, reordered;
};

WIND_MUST_USE int bus_store_new(struct bus_store **ret_store, const struct bus_store_conf *conf,
                                struct err *e);
struct bus_store *bus_store_free(struct bus_store *s);
WIND_DEFINE_FREE(bus_store)

/*
 * Store those of `m` that are not yet. 0: all are stored, or have a reason. < 0: the database is
 * away; those that are stored say so.
 */
WIND_MUST_USE int bus_store_put(struct bus_store *s, struct bus_message *m, size_t n,
                                struct err *e);

/* Now and then: what is missing of sensors that are silent. */
WIND_MUST_USE int bus_store_sweep(struct bus_store *s, struct err *e);

const struct bus_tally *bus_store_tally(const struct bus_store *s);
