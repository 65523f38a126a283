/*
 * correlate.h - joins alerts into incidents: one story of who did what, not a thousand lines.
 *
 * Why      An analyst works on an attack, not on its packets.
 * Owns     The list of incidents that the current batch touched. All else is in the database.
 * Threads  One at a time, inside one write transaction.
 * Bounds   An incident takes alerts_max alerts; the next opens another one. A batch touches at
 *          most CORRELATE_TOUCHED incidents between two calls of correlate_finish; beyond, it
 *          is finished in between.
 *
 * An alert joins the incident that is not resolved, is at most window_ns of event time away,
 * and shares with it, in this order (the latest incident first):
 *   1. an attacker, or whom an anomaly is about;
 *   2. a turned host: who was a victim attacks now, or the other way round;
 *   3. a victim, or the far end of a beacon, if the kind of alert is the same, for kinds where
 *      that means one attack.
 * For 2, a host that is victim in HUB_INCIDENTS incidents or more is a hub (a DNS server, a
 * gateway): everybody's victim says nothing. An alert that joins none opens an incident.
 *
 * Severity is the highest of its alerts, one more when it has several stages of the kill chain.
 */
#pragma once

#include "collector/alerts.h"

#define CORRELATE_TOUCHED 256
#define HUB_INCIDENTS     4

#define CORRELATE_MEMORY (INT64_C(64) * 1024 * 1024)

struct correlate_conf {
    int64_t window_ns;
    int64_t alerts_max;
    int64_t memory; /* bytes of what is remembered between batches (view.h); 0: CORRELATE_MEMORY */
};

struct correlate {
    struct correlate_conf conf;
    size_t n_touched;
    struct touched {
        int64_t id;
        bool is_new;
    } touched[CORRELATE_TOUCHED];
};

void correlate_init(struct correlate *c, const struct correlate_conf *conf);

/* A new alert: put it into an incident. */
WIND_MUST_USE int correlate_alert(struct correlate *c, struct db_tx *tx, int64_t alert_id,
                                  const struct alert *a, struct err *e);

/* An alert changed: its incident follows. 0 = it has none. */
WIND_MUST_USE int correlate_changed(struct correlate *c, struct db_tx *tx, int64_t alert_id,
                                    struct err *e);
WIND_MUST_USE int correlate_incident(struct correlate *c, struct db_tx *tx, int64_t incident_id,
                                     bool is_new, struct err *e);

/* Give every touched incident its times, severity, type and title, and tell listeners. */
WIND_MUST_USE int correlate_finish(struct correlate *c, struct db_tx *tx, struct err *e);
