/*
 * detecting.h - all detectors on hand-made flow records, and the alerts they raise.
 *
 * The clock is seconds after VIEW_T0. 10.0/16 is home (hosts below VIEW_OUTSIDE).
 */
#pragma once

#include <criterion/criterion.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "common/time.h"
#include "sensor/decode.h"
#include "sensor/detect.h"
#include "support/views.h"

#define DETECTING_S WIND_NS_PER_S

static struct {
    struct detectors *detectors;
    struct alerts *alerts;
    struct ring *ring;
    uint64_t after;
    struct counters *counters;
    struct alert_record last[DETECTORS]; /* as last told; rev 0: never */
    const struct model *model;
    bool is_evidence;
    float evidence_score;
    uint64_t next_id;
} seen;

static inline struct detect_conf detecting_conf(void)
{
    struct detect_conf c = {.n_home = 1,
                            .max = 1024,
                            .scan_targets = 15,
                            .brute_attempts = 8,
                            .beacon_events = 10,
                            .beacon_min_ns = 2 * DETECTING_S,
                            .beacon_max_ns = 3600 * DETECTING_S,
                            .anomaly_p = 0.002,
                            .anomaly_flows = 8};

    cr_assert_eq(cidr_parse("10.0.0.0/16", &c.home[0], NULL), 0);
    return c;
}

static inline void detecting_stop(void)
{
    seen.alerts = alerts_free(seen.alerts);
    seen.detectors = detectors_free(seen.detectors);
    seen.ring = ring_free(seen.ring);
    seen.counters = counters_free(seen.counters);
}

static inline void detecting_start(const struct detect_conf *conf)
{
    struct alerts_conf alerts = {
        .max_open = 64, .quiet_ns = 600 * DETECTING_S, .level = ANALYSIS_FULL};

    detecting_stop();
    memset(&seen, 0, sizeof(seen));
    cr_assert_eq(ring_new(&seen.ring, 1 << 18, 1, NULL), 0);
    cr_assert_eq(counters_new(&seen.counters, NULL), 0);
    cr_assert_eq(detectors_new(&seen.detectors, conf, NULL), 0);
    alerts.ring = seen.ring;
    alerts.after = &seen.after;
    alerts.counters = seen.counters;
    cr_assert_eq(
        alerts_new(&seen.alerts, &alerts, detectors_kinds(seen.detectors), DETECTORS, NULL), 0);
}

static inline void detecting_begin(void)
{
    const struct detect_conf conf = detecting_conf();

    detecting_start(&conf);
}

static inline enum detector_id detecting_id(const char *name)
{
    for (int i = 0; i < DETECTORS; i++)
        if (strcmp(detectors_kinds(seen.detectors)[i].name, name) == 0)
            return (enum detector_id)i;
    cr_assert_fail("'%s'", name);
    return DETECTORS;
}

static inline void detecting_take_alerts(void)
{
    const struct alert_record *a;

    while ((a = ring_peek(seen.ring, 0, NULL)) != NULL) {
        seen.last[detecting_id(a->detector)] = *a;
        ring_release(seen.ring, 0);
    }
}

/* Show one record, quiet alerts closed before it. */
static inline void see_scored(const struct flow_record *r, const struct model_score *score)
{
    struct detect_view v = {.r = r, .alerts = seen.alerts, .model = seen.model, .score = score};

    alerts_tick(seen.alerts, r->header.time_ns);
    detectors_see(seen.detectors, &v);
    seen.is_evidence = v.is_evidence;
    seen.evidence_score = v.evidence_score;
    detecting_take_alerts();
}

static inline void see(const struct flow_record *r)
{
    see_scored(r, NULL);
}

static inline const struct alert_record *last_alert(enum detector_id which)
{
    return seen.last[which].rev == 0 ? NULL : &seen.last[which];
}

static inline const struct alert_reason *reason_of(const struct alert_record *a, const char *name)
{
    for (unsigned i = 0; i < a->n_reasons; i++)
        if (strcmp(a->reason[i].name, name) == 0)
            return &a->reason[i];
    cr_assert_fail("%s: no reason '%s'", a->signature, name);
    return NULL;
}

/* A flow that was opened `at` seconds after VIEW_T0. */
static inline struct flow_record opened_at(double at, struct flow_key key, enum flow_opening how)
{
    const uint64_t ns = VIEW_T0 + (uint64_t)(at * 1e9);

    return (struct flow_record){.header = {.kind = RECORD_FLOW_OPENED, .time_ns = ns},
                                .key = key,
                                .flow_id = ++seen.next_id,
                                .start_ns = ns,
                                .end_ns = ns,
                                .pkts = {1, how == OPENING_ANSWERED},
                                .tcp_flags = {key.proto == IPPROTO_TCP ? TCP_SYN : 0},
                                .opening = (uint8_t)how,
                                .p_value = 1};
}

/* The end of `r`, `seconds` after it was opened, with so many packets and bytes each way. */
static inline struct flow_record ended_after(struct flow_record r, double seconds, uint64_t pkts,
                                             uint64_t out, uint64_t in)
{
    r.header.kind = RECORD_FLOW_ENDED;
    r.header.time_ns += (uint64_t)(seconds * 1e9);
    r.end_ns = r.header.time_ns;
    r.pkts[0] = pkts;
    r.pkts[1] = r.opening == OPENING_ANSWERED ? pkts : 0;
    r.bytes[0] = out;
    r.bytes[1] = in;
    r.state = FLOW_CLOSED;
    return r;
}
