/*
 * records.h - well-made records for tests of whoever reads them; number i makes them differ.
 */
#pragma once

#include <stdio.h>
#include <string.h>

#include "common/ip.h"
#include "common/record.h"

#define RECORDS_START_NS UINT64_C(1767322800000000000) /* 2026-01-02T03:00:00Z */

static inline struct flow_key record_key(uint32_t i)
{
    struct flow_key k = {
        .sport = (uint16_t)(40000 + i % 20000), .dport = 22, .proto = 6, .ip_version = 4};

    ip_from_v4((const uint8_t[]){10, 9, 0, 66}, k.src);
    ip_from_v4((const uint8_t[]){10, 9, (uint8_t)(i >> 8), (uint8_t)i}, k.dst);
    return k;
}

static inline void record_flow(struct flow_record *f, uint32_t i)
{
    memset(f, 0, sizeof(*f));
    f->header = (struct record_header){.len = (sizeof(*f) + 63) & ~63u,
                                       .kind = RECORD_FLOW_ENDED,
                                       .version = RECORD_VERSION,
                                       .time_ns = RECORDS_START_NS + i * 1000000ull};
    f->key = record_key(i);
    f->flow_id = i + 1;
    f->start_ns = f->header.time_ns - 2500000000ull;
    f->end_ns = f->header.time_ns;
    f->pkts[0] = 5;
    f->pkts[1] = 4;
    f->bytes[0] = 400 + i;
    f->bytes[1] = 3000;
    f->tcp_flags[0] = 0x1b;
    f->tcp_flags[1] = 0x13;
    f->state = FLOW_CLOSED;
    f->end = FLOW_END_CLOSED;
    f->score = 0.25f;
    f->p_value = 0.75f;
    f->analysis_level = ANALYSIS_FULL;
    (void)snprintf(f->app, sizeof(f->app), "ssh");
    (void)snprintf(f->category, sizeof(f->category), "remoteaccess");
}

static inline void record_alert(struct alert_record *a, uint32_t i)
{
    memset(a, 0, sizeof(*a));
    a->header = (struct record_header){.len = (sizeof(*a) + 63) & ~63u,
                                       .kind = RECORD_ALERT,
                                       .version = RECORD_VERSION,
                                       .time_ns = RECORDS_START_NS + i * 1000000ull};
    memcpy(a->uid, "\x01\x98\xf2\xc4\x00\x00\x70\x00\x80", 9);
    memcpy(a->uid + 12, &i, sizeof(i));
    a->rev = 1;
    a->signature_id = 9000001;
    a->flow_id = i + 1;
    a->key = record_key(i);
    a->first_ns = a->header.time_ns - 1000000000ull;
    a->last_ns = a->header.time_ns;
    a->count = 1000;
    a->score = 0.98f;
    a->p_value = -1;
    a->severity = SEVERITY_HIGH;
    a->analysis_level = ANALYSIS_FULL;
    a->n_reasons = a->n_entities = a->n_evidence = 1;
    (void)snprintf(a->detector, sizeof(a->detector), "port_scan");
    (void)snprintf(a->signature, sizeof(a->signature), "10.9.0.66 tried 1000 ports (%u)", i);
    (void)snprintf(a->category, sizeof(a->category), "Network scan");
    (void)snprintf(a->technique_id, sizeof(a->technique_id), "T1046");
    (void)snprintf(a->technique, sizeof(a->technique), "Network Service Discovery");
    (void)snprintf(a->tactic, sizeof(a->tactic), "Discovery");
    (void)snprintf(a->app, sizeof(a->app), "ssh");
    a->entity[0] = (struct alert_entity){.kind = "host", .role = "attacker", .value = "10.9.0.66"};
    a->reason[0] = (struct alert_reason){.name = "distinct_ports",
                                         .unit = "count",
                                         .text = "1000 different ports in 12 s",
                                         .value = 1000,
                                         .contribution = 0.6f};
    a->evidence[0] = a->key;
}

static inline void record_anomaly(struct anomaly_record *a, uint32_t i)
{
    memset(a, 0, sizeof(*a));
    a->header = (struct record_header){.len = (sizeof(*a) + 63) & ~63u,
                                       .kind = RECORD_ANOMALY,
                                       .version = RECORD_VERSION,
                                       .time_ns = RECORDS_START_NS + i * 1000000ull};
    (void)snprintf(a->type, sizeof(a->type), "capture");
    (void)snprintf(a->event, sizeof(a->event), "file_truncated");
    (void)snprintf(a->text, sizeof(a->text), "the file ends in the middle of packet %u", i);
}
