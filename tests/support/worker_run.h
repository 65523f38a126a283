/*
 * worker_run.h - a worker with a capture of the test's, and copies of the records that it made.
 */
#pragma once

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <time.h>

#include "common/time.h"
#include "features/feature.h"
#include "sensor/worker.h"
#include "support/fake_capture.h"

#define S WIND_NS_PER_S

/* Copies of the records that came through the ring, without their features. */
static struct {
    struct worker *worker;
    struct worker_conf conf;
    struct ring *ring;
    struct counters *counters;
    struct flow_record record[8192];
    float duration[8192];
    size_t n;
    size_t n_named, n_when_named;  /* records that came before it */
    struct anomaly_record anomaly; /* the last one */
    size_t anomalies;
    unsigned relieved;
    unsigned enough; /* relieved so often, the worker is told to stop; 0 = never */
} t;

/* The last record of names that came. */
static union {
    struct named_record r;
    char room[1024];
} last;

static inline void drain(void)
{
    const struct flow_record *r;

    while ((r = ring_peek(t.ring, 0, NULL)) != NULL) {
        cr_assert_lt(t.n, WIND_ARRAY_SIZE(t.record));
        if (r->header.kind == RECORD_ANOMALY) {
            memcpy(&t.anomaly, r, sizeof(t.anomaly));
            t.anomalies++;
            continue;
        }
        if (r->header.kind == RECORD_NAMED) {
            cr_assert_leq(r->header.len, sizeof(last));
            memcpy(&last, r, r->header.len);
            t.n_named++;
            t.n_when_named = t.n;
            continue;
        }
        cr_assert_eq(r->n_features, r->header.kind == RECORD_FLOW_OPENED ? 0 : FEATURE_COUNT);
        t.duration[t.n] = r->n_features > 0 ? r->feature[FEATURE_duration] : -1;
        t.record[t.n++] = *r;
    }
    ring_release(t.ring, 0);
}

static inline void relieve(void *arg)
{
    cr_assert_eq(arg, &t);
    t.relieved++;
    drain();
    if (t.relieved == t.enough)
        atomic_store(&t.counters->stop, 1);
}

static inline void tear_down(void)
{
    t.worker = worker_free(t.worker);
    t.ring = ring_free(t.ring);
    t.counters = counters_free(t.counters);
    fake_reset();
}

static inline void set_up(void)
{
    tear_down();
    memset(&t, 0, sizeof(t));
    cr_assert_eq(ring_new(&t.ring, 1 << 16, 1, NULL), 0);
    cr_assert_eq(counters_new(&t.counters, NULL), 0);
    t.conf = (struct worker_conf){.flows = {.max = 1024,
                                            .idle_ns = 120 * S,
                                            .idle_new_ns = 30 * S,
                                            .linger_ns = 2 * S,
                                            .active_ns = 60 * S,
                                            .first_id = 1},
                                  .talk = {.listener = {.memory = 1 << 16, .streams = 4}},
                                  .ring = t.ring,
                                  .counters = t.counters,
                                  .level = ANALYSIS_FULL,
                                  .relieve = relieve,
                                  .relieve_arg = &t};
}
static inline void begin(void)
{
    cr_assert_eq(worker_new(&t.worker, &t.conf, NULL), 0);
}

static inline uint64_t get(enum counter which)
{
    return counters_get(t.counters, which);
}

static inline void check_books(void)
{
    uint64_t decoded = 0, ended = 0;

    for (enum counter c = COUNTER_decoder_OK; c <= COUNTER_decoder_lost; c++)
        decoded += get(c);
    for (enum counter c = COUNTER_flow_ended_closed; c <= COUNTER_flow_ended_crashed; c++)
        ended += get(c);
    cr_assert_eq(get(COUNTER_capture_packets), decoded);
    cr_assert_eq(get(COUNTER_flow_made),
                 ended + get(COUNTER_flow_live) + get(COUNTER_flow_lost_ring));
}

static inline void run(void)
{
    while (worker_step(t.worker, 0) > 0)
        check_books();
}

static inline void run_to_the_end(void)
{
    begin();
    run();
    worker_flush(t.worker);
    drain();
    check_books();
}

static inline size_t how_many(enum record_kind kind)
{
    size_t n = 0;

    for (size_t i = 0; i < t.n; i++)
        n += t.record[i].header.kind == kind;
    return n;
}

/* A whole connection of 5 packets in 4 ms. */
static inline void connection(uint64_t at, unsigned sport)
{
    fake_tcp(at, 1, sport, 2, 80, TCP_SYN);
    fake_tcp(at + 1000000, 2, 80, 1, sport, TCP_SYN | TCP_ACK);
    fake_tcp(at + 2000000, 1, sport, 2, 80, TCP_ACK);
    fake_tcp(at + 3000000, 1, sport, 2, 80, TCP_FIN | TCP_ACK);
    fake_tcp(at + 4000000, 2, 80, 1, sport, TCP_FIN | TCP_ACK);
}
