/*
 * detect.h - exact, explainable rules over hosts and channels.
 *
 * Why      What a rule can say for sure should not be left to a model. The isolation forest's
 *          findings come through the same door (detect_anomaly.c), so all alerts are made alike.
 * Owns     Each detector its own bounded table of evidence.
 * Threads  The analysis stage, which sees all flows in packet-time order.
 * Bounds   detect.max entries a table; the least recent is forgotten and counted.
 *
 * To add one: write detect_<name>.c, add its id here and its row in detect.c.
 */
#pragma once

#include "common/ip.h"
#include "features/host_stats.h"
#include "models/model.h"
#include "sensor/alert.h"

enum detector_id {
    DETECTOR_PORT_SCAN,
    DETECTOR_BRUTE_FORCE,
    DETECTOR_BEACON,
    DETECTOR_ANOMALY,
    DETECTORS
};

struct detect_conf {
    struct cidr home[32]; /* the networks that are ours */
    size_t n_home;
    size_t max;              /* entries of each table of evidence */
    uint32_t scan_targets;   /* different targets that failed, in one to two minutes */
    uint32_t brute_attempts; /* short sessions on a login service, in one to two minutes */
    uint32_t beacon_events;  /* connections that come like clockwork */
    uint64_t beacon_min_ns, beacon_max_ns; /* the time between them */
    double anomaly_p;                      /* a flow below this p-value is unusual */
    uint32_t anomaly_flows;                /* so many of them make an alert */
};

/* What a detector may look at besides the record. */
struct detect_view {
    const struct detect_conf *conf;
    const struct flow_record *r;
    const struct host_stats *host;   /* of the source; NULL: unknown */
    const struct model *model;       /* NULL: none loaded */
    const struct model_score *score; /* of this record; NULL: not scored */
    struct alerts *alerts;
    bool is_home_src, is_home_dst;
    bool is_evidence;     /* set by detect_evidence: part of an alert that is open now */
    float evidence_score; /* the highest score of such alerts */
};

/* One kind of detector: the table in detect.c has a row each. */
struct detector_ops {
    struct alert_kind kind; /* state is set at run time */
    int (*make)(void **ret_state, const struct detect_conf *conf, struct err *e);
    void *(*free)(void *state);
    void (*opened)(void *state, struct detect_view *v); /* may be NULL */
    void (*ended)(void *state, struct detect_view *v);  /* updates too: see r->header.kind */
    uint64_t (*evicted)(const void *state);
};

struct detectors;

WIND_MUST_USE int detectors_new(struct detectors **ret_detectors, const struct detect_conf *conf,
                                struct err *e);
struct detectors *detectors_free(struct detectors *d);
WIND_DEFINE_FREE(detectors)

/* For alerts_new: a row a detector. */
const struct alert_kind *detectors_kinds(const struct detectors *d);

/* Show a record to all of them. `v->r`, host, model, score and alerts are set by the caller. */
void detectors_see(struct detectors *d, struct detect_view *v);

/* Forgotten pieces of evidence, over all tables. */
uint64_t detectors_evicted(const struct detectors *d);

/* ---------------------------------------------------------------- for detectors */

extern const struct detector_ops detect_port_scan, detect_brute_force, detect_beacon,
    detect_anomaly;

/* The record belongs to `alert` (NULL: to none). */
void detect_evidence(struct detect_view *v, const struct alert_record *alert);

/* Group address, broadcast, or nothing: never a target. */
bool detect_is_unicast(const uint8_t address[16]);

/* Who connects and sends no payload only looks whether somebody is there. */
bool detect_says_something(const struct flow_record *r);

#define DETECT_NUMBER 24
/* "12.3 kB", "3.2 s", "1,024", "4.5 a minute": a value for people, by its unit in features.def. */
const char *detect_number(double value, const char *unit, char ret_text[DETECT_NUMBER]);

/* "17", "about 1,000", "more than 5,000": what a sketch can honestly say. */
const char *detect_distinct(uint32_t value, char ret_text[DETECT_NUMBER]);

/* Two half windows of a minute each: how the detectors forget. Returns how many to clear: 0..2. */
int detect_turn(uint64_t *pane_ns, uint64_t now_ns, uint64_t length_ns);

/* A running mean of what a minute of this entity used to be, before it became evidence. */
struct detect_normal {
    float mean, var;
    uint32_t n;
};
void detect_normal_add(struct detect_normal *n, double value);
void detect_reason_normal(struct alert_reason *reason, const struct detect_normal *n);
