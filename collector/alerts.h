/*
 * alerts.h - the table of alerts: what sensors and people put in, and how people triage it.
 *
 * Why      The one place that reads and writes alerts, so that an update by a sensor can never
 *          touch what an analyst set.
 * Owns     Nothing: alerts live in the database, inside the caller's transaction.
 * Threads  Any, each with a transaction of its own; the writing functions need a write one.
 * Bounds   Texts as in store.h, metadata ALERT_METADATA_MAX bytes of JSON, ALERT_RELATED
 *          related alerts shown, ALERT_RELATED_LISTED in a list.
 */
#pragma once

#include "collector/filter.h"
#include "collector/store.h"

#define ALERT_METADATA_MAX   65536
#define ALERT_RELATED        100
#define ALERT_RELATED_LISTED 10

/* Borrowed texts; checked by whoever made it. */
struct alert {
    uint8_t uid[16];
    int64_t rev;
    int64_t detected_ns, first_ns, last_ns;
    int severity; /* 1..4 */
    const char *type, *source, *description;
    const char *status;   /* NULL: new */
    const char *assigned; /* NULL: nobody */
    const char *tactic, *proto;
    double score; /* < 0: none */
    bool has_flow;
    uint8_t src[16], dst[16];
    int64_t src_port, dst_port;
    const char *metadata; /* JSON object */
    const struct entity *entities;
    size_t n_entities;
    const char *entities_json; /* the same, as the API shows them; NULL: alert_put makes it */
};

enum alert_put_outcome { ALERT_ADDED, ALERT_UPDATED, ALERT_UNCHANGED, ALERT_OUTCOMES };

/*
 * Add it, or update the one with its uid if `rev` is higher. Status, verdict, assignee, tags, and
 * a severity that people set are never touched by an update. Returns an outcome, or < 0.
 */
WIND_MUST_USE int alert_put(struct db_tx *tx, const struct alert *a, int64_t *ret_id,
                            struct err *e);

/* Write it as the API shows it, or STORE_ABSENT. */
WIND_MUST_USE int alert_show(struct db_tx *tx, int64_t id, struct jsonw *j, struct err *e);

/* As that for several, by their uids; those that are not there keep id 0. */
struct alert_shown {
    uint8_t uid[16];
    int64_t id;
    struct buf json; /* the caller's */
};
WIND_MUST_USE int alert_show_all(struct db_tx *tx, struct alert_shown *shown, size_t n,
                                 struct err *e);

/* One page of `f`, into an open array. */
WIND_MUST_USE int alert_list(struct db_tx *tx, struct filter *f, struct jsonw *j,
                             char ret_cursor[FILTER_CURSOR], struct err *e);

/*
 * Triage: status, verdict, assigned_to, severity, tags, where `patch` has them (checked words).
 * *ret_incident: its incident, whose severity may follow, or 0. STORE_ABSENT.
 */
WIND_MUST_USE int alert_change(struct db_tx *tx, int64_t id, const json_t *patch, const char *actor,
                               int64_t *ret_incident, struct err *e);
