/*
 * ingest.h - takes a sensor's batch: checks every alert, stores it once, joins it.
 *
 * Why      A sensor sends at least once; the store has each (uid, rev) once, whatever crashed
 *          on the way. One bad alert costs itself, never the batch around it.
 * Owns     Nothing beyond a call.
 * Threads  Any; batches are stored one after the other.
 * Bounds   INGEST_ALERTS alerts a batch; every text and list of an alert has a limit.
 *
 * One batch is one transaction: what the answer counts is in the database, on disk.
 */
#pragma once

#include "collector/correlate.h"

#define INGEST_ALERTS 1000
#define INGEST_BYTES  ((size_t)4 * 1024 * 1024)

struct ingest_batch {
    const char *sensor, *version; /* 1..SOURCE_MAX bytes */
    const json_t *alerts;         /* array of at most INGEST_ALERTS */
    const json_t *stats;          /* may be NULL */
};

/* What became of alerts of one detector and severity. */
struct ingest_kind {
    char type[TYPE_MAX + 1];
    int severity;
    uint64_t n[ALERT_OUTCOMES];
};
#define INGEST_KINDS 64

struct ingest_result {
    int64_t accepted, updated, unchanged;
    json_t *rejected; /* [{index, uid, detail}]; owned by the caller on success */
    size_t n_kinds;   /* beyond INGEST_KINDS: the last, called "other" */
    struct ingest_kind kinds[INGEST_KINDS];
};

WIND_MUST_USE int ingest_batch(struct db *db, const struct correlate_conf *conf,
                               const struct ingest_batch *batch, struct ingest_result *ret_result,
                               struct err *e);

/* The same inside the caller's transaction: from the bus come several sensors' alerts at once. */
WIND_MUST_USE int ingest_put(struct db_tx *tx, const struct correlate_conf *conf,
                             const struct ingest_batch *batch, struct ingest_result *ret_result,
                             struct err *e);
