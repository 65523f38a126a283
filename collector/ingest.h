/*
 * ingest.h - takes alerts from sensors: checks every one, stores it once, joins it.
 *
 * Why      A sensor sends at least once; the store has each (uid, rev) once, whatever crashed
 *          on the way. One bad alert costs itself, never the batch around it. HTTP and Kafka
 *          share this one path: both hand over the alerts as the JSON text that came.
 *          From the bus come several sensors' alerts at once: each item can name its own.
 * Owns     What it remembers between batches, which the database knows too.
 * Threads  Any; batches are stored one after the other: the write transaction is their lock.
 * Bounds   INGEST_ITEMS alerts a batch of INGEST_ITEM_BYTES each; every text and list of an
 *          alert has a limit.
 *
 * One batch is one transaction: what the result counts is in the database, on disk.
 */
#pragma once

#include "collector/correlate.h"
#include "common/crypto.h"
#include "common/json_span.h"

#define INGEST_ALERTS     1000 /* of one HTTP request */
#define INGEST_BYTES      ((size_t)4 * 1024 * 1024)
#define INGEST_ITEMS      10000
#define INGEST_ITEM_BYTES INGEST_BYTES

/* One alert on the wire: an EVE object as text. Borrowed for the call. */
struct ingest_item {
    const char *json;
    size_t len;
    const char *sensor; /* 1..SOURCE_MAX bytes; NULL: the batch's */
    int64_t sent_ns;    /* when it was sent; 0: now */
};

struct ingest_batch {
    const char *sensor;  /* 1..SOURCE_MAX bytes; NULL when every item names its own */
    const char *version; /* of that sensor; NULL: what is known of it stays */
    const char *stats;   /* JSON object of that sensor; may be NULL */
    const struct ingest_item *items;
    size_t n_items;

    /* Called at the end of the same transaction, so that both last or none; may be NULL. */
    int (*also)(struct db_tx *tx, void *arg, struct err *e);
    void *also_arg;
};

enum ingest_state { INGEST_STORED, INGEST_UPDATED, INGEST_KNOWN, INGEST_REJECTED, INGEST_STATES };

/* What became of one item. */
struct ingest_outcome {
    enum ingest_state state;
    char uid[UUID_TEXT]; /* "" when none could be read */
    char *reason;        /* INGEST_REJECTED: a sentence; it will never be taken */
};

struct ingest_result {
    int64_t n[INGEST_STATES];
    struct ingest_outcome *outcomes; /* one an item, in their order */
    size_t n_outcomes;
};

struct metrics;
struct retention;

struct ingest_conf {
    struct db *db;
    struct metrics *metrics;           /* may be NULL */
    const struct retention *retention; /* -ENOSPC when it is full; may be NULL */
    struct correlate_conf correlate;
};

struct ingest;

WIND_MUST_USE int ingest_new(struct ingest **ret_ingest, const struct ingest_conf *conf,
                             struct err *e);
struct ingest *ingest_free(struct ingest *in);
WIND_DEFINE_FREE(ingest)

/* The parts of a request's body, absent or of any kind. -EINVAL: it is no JSON. */
enum ingest_part { INGEST_SENSOR, INGEST_VERSION, INGEST_LIST, INGEST_STATS, INGEST_PARTS };
WIND_MUST_USE int ingest_split(const struct ingest *in, const char *text, size_t len,
                               struct json_span ret_parts[INGEST_PARTS]);

/* 0: all items have their outcome, for good. < 0: nothing of it was stored; come again. */
WIND_MUST_USE int ingest_batch(struct ingest *in, const struct ingest_batch *batch,
                               struct ingest_result *ret_result, struct err *e);
/*
 * Alerts that people post, checked and with entities_json: the same store, within the caller's
 * write transaction, which may be undone.
 */
WIND_MUST_USE int ingest_alerts(struct ingest *in, struct db_tx *tx,
                                const struct alert *const *alerts, size_t n, struct err *e);

void ingest_result_done(struct ingest_result *res);
