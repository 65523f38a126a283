/*
 * alert.h - say it once: one alert per entity and cause, with a count and revisions.
 *
 * Why      A scan of 65,000 ports is one thing to tell people, not 65,000.
 * Owns     The alerts that are open. Publishes into the alert ring.
 * Threads  The analysis stage.
 * Bounds   At most alert.max_open; when full the least recent is closed early and counted. An
 *          alert is told when it opens, when its count has doubled, once a minute while it lasts,
 *          and when it closes with something untold. All else is suppressed, and counted.
 *          Ring full: live counts it as lost and tells it with the next evidence, replay waits.
 *
 *     (nothing) -> open, rev 1 -> rev 2 ... -> quiet for alert.quiet -> closed
 */
#pragma once

#include "common/ring.h"
#include "sensor/counter.h"

struct alerts;
struct detector;

/* Whom and what it is about: all zero bytes where something does not matter. No padding. */
struct alert_cause {
    uint8_t src[16], dst[16];
    uint16_t dport;
    uint8_t proto, detector; /* enum detector_id */
    uint32_t zero;
};

/*
 * A detector's words for an alert: fill severity, score, p_value, signature, entities, reasons,
 * and count, all from the state as it is now. Called only when the alert is told. Returns false
 * when that state is gone: the words of the last time stay.
 */
typedef bool alert_describe(void *state, const struct alert_cause *cause, struct alert_record *a);

/* One row a detector: see detect.c. */
struct alert_kind {
    const char *name;
    uint32_t signature_id;
    const char *category;
    const char *technique_id, *technique, *tactic;
    alert_describe *describe;
    void *state;
};

struct alerts_conf {
    struct ring *ring;
    const uint64_t *after; /* analysis: how many flow records must be written before an alert */
    struct counters *counters;
    size_t max_open;
    uint64_t quiet_ns;
    enum analysis_level level;
    bool live;
    uint8_t seed[32]; /* replay: ids derive from it */
};

WIND_MUST_USE int alerts_new(struct alerts **ret_alerts, const struct alerts_conf *conf,
                             const struct alert_kind *kinds, size_t n_kinds, struct err *e);
struct alerts *alerts_free(struct alerts *a);
WIND_DEFINE_FREE(alerts)

/* The flow `r` is evidence for `cause`. Returns the alert as it was last told; borrowed. */
const struct alert_record *alerts_note(struct alerts *a, const struct alert_cause *cause,
                                       const struct flow_record *r);

/* The alert as it was last told, if it is open now, else NULL; borrowed. */
const struct alert_record *alerts_open(const struct alerts *a, const struct alert_cause *cause);

/* Once a second of the clock: close what is quiet. */
bool alerts_is_due(const struct alerts *a, uint64_t clock_ns);
void alerts_tick(struct alerts *a, uint64_t clock_ns);

/* The input is over: tell what is untold. */
void alerts_close(struct alerts *a);

/* Something odd in the input: an anomaly record, at most ALERTS_ANOMALIES_MAX a run. */
#define ALERTS_ANOMALIES_MAX 1000
void alerts_anomaly(struct alerts *a, const char *type, const char *event, const char *text);

/* The same of a packet; the worker that made it has capped their rate. */
void alerts_packet_anomaly(struct alerts *a, const struct anomaly_record *r);

/* Helpers for detectors, all of them cutting what is too long. */
void alert_entity(struct alert_record *a, const char *role, const uint8_t address[16]);
struct alert_reason *alert_reason(struct alert_record *a, const char *name, const char *unit,
                                  double value, double contribution);
