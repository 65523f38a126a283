/*
 * sensors.h - which sensors there are, and when each was last heard.
 *
 * Why      A silent sensor is the worst kind of quiet network.
 * Owns     Nothing: sensors live in the database, inside the caller's transaction.
 * Threads  Any, each with a transaction of its own.
 * Bounds   SENSORS_MAX sensors are shown; the stats of each SENSOR_STATS_MAX bytes.
 *
 * online: heard in the last SENSOR_LATE_S seconds; late: in SENSOR_OFFLINE_S; else offline.
 */
#pragma once

#include "collector/store.h"

#define SENSORS_MAX      1000
#define SENSOR_STATS_MAX 32768
#define SENSOR_LATE_S    90
#define SENSOR_OFFLINE_S 600

struct sensor_report {
    const char *name;
    const char *version;               /* NULL: what is known of it stays */
    int64_t alerts, updates, rejected; /* of this batch */
    const char *stats;                 /* JSON object; NULL: the sensor's earlier ones stay */
    int64_t sent_ns; /* when it said so: an older report than the last changes less; 0 = now */
};

/* It was heard. */
WIND_MUST_USE int sensor_seen(struct db_tx *tx, const struct sensor_report *report, struct err *e);

/* [{name, version, first_seen, last_seen, state, alerts, updates, rejected,
 *   gaps, missing, stats}] */
WIND_MUST_USE int sensor_list(struct db_tx *tx, int64_t now_ns, json_t **ret_list, struct err *e);

/* {"total", "online", "late", "offline"} */
WIND_MUST_USE int sensor_states(struct db_tx *tx, int64_t now_ns, json_t **ret_states,
                                struct err *e);
