/*
 * The live pipeline on packets from memory: the worker commits flow records, the analysis thread
 * works on them in place, a third thread reads them as the uplink would. Made for the tsan preset.
 * Nothing is read before it is finished, nothing is lost or read twice, and the books balance.
 */
#include <pthread.h>

#include "common/time.h"
#include "sensor/analysis_thread.h"
#include "sensor/worker.h"
#include "support/fake_capture.h"
#include "support/fuzz.h"

#define S       WIND_NS_PER_S
#define ROUNDS  12
#define PACKETS 4000u

static struct {
    struct rings *rings;
    struct ring *flows, *alerts; /* flows: the one of the rings */
    struct counters *counters;
    struct worker *worker;
    struct analysis_thread *thread;
    struct analysis *analysis;
    _Atomic bool is_over;
    uint64_t ended, told; /* the reader's */
} t;

/* An alert never comes before the flow that it waits for was released to us. */
static void read_alerts(bool is_over)
{
    const struct alert_record *a;

    while ((a = ring_peek(t.alerts, 0, NULL)) != NULL) {
        FUZZ_CHECK(a->header.kind == RECORD_ALERT && a->rev > 0 && a->count > 0);
        FUZZ_CHECK(a->n_entities > 0 && a->n_reasons > 0 && a->signature[0] != '\0');
        FUZZ_CHECK(!is_over || a->header.after <= atomic_load(&t.counters->record_sequence));
        t.told++;
        ring_release(t.alerts, 0);
    }
}

static bool read_flows(void)
{
    const struct flow_record *r;
    bool any = false;

    while ((r = ring_peek(t.flows, 1, NULL)) != NULL) {
        FUZZ_CHECK(r->header.kind >= RECORD_FLOW_OPENED && r->header.kind <= RECORD_FLOW_ENDED);
        if (r->header.kind == RECORD_FLOW_ENDED) {
            t.ended++;
            /* What the analysis put there, in place. */
            FUZZ_CHECK(!feature_is_missing(r->missing, FEATURE_src_flows));
            FUZZ_CHECK(r->alerted == 0 || r->score > 0);
        }
        ring_release(t.flows, 1);
        any = true;
    }
    return any;
}

static void *uplink(void *arg)
{
    (void)arg;
    for (;;) {
        const bool is_over = t.is_over;

        if (!read_flows() && is_over) {
            read_alerts(true);
            return NULL;
        }
        read_alerts(false);
        ring_wait_data(t.flows, 1, 1);
    }
}

static void make_pipeline(void)
{
    struct analysis_conf an = {.detect = {.max = 64,
                                          .scan_targets = 15,
                                          .brute_attempts = 8,
                                          .beacon_events = 10,
                                          .beacon_max_ns = S,
                                          .anomaly_flows = 8},
                               .alerts = {.max_open = 16, .quiet_ns = 2 * S, .live = true},
                               .hosts_max = 64,
                               .names = {.max = 16, .ttl_max_ns = 3600 * S},
                               .level = ANALYSIS_DETECTORS,
                               .features_fd = -1};
    struct worker_conf w = {.flows = {.max = 512,
                                      .idle_ns = 4 * S,
                                      .idle_new_ns = 2 * S,
                                      .linger_ns = S,
                                      .active_ns = 2 * S,
                                      .first_pkts = 4,
                                      .first_id = 1},
                            .talk = {.listener = {.memory = 1 << 16, .streams = 4}},
                            .level = ANALYSIS_DETECTORS};

    FUZZ_CHECK(rings_new(&t.rings, 1, 1 << 16, 2, NULL) == 0);
    t.flows = t.rings->ring[0];
    FUZZ_CHECK(ring_new(&t.alerts, 1 << 18, 1, NULL) == 0);
    FUZZ_CHECK(counters_new(&t.counters, NULL) == 0);
    an.alerts.ring = t.alerts;
    an.flows = t.rings;
    an.alerts.counters = t.counters;
    w.ring = t.flows;
    w.counters = t.counters;
    fake.is_live = true;
    fake.now_ns = FAKE_T0;
    FUZZ_CHECK(analysis_thread_new(&t.thread, NULL) == 0);
    FUZZ_CHECK(analysis_new(&t.analysis, &an, NULL, NULL) == 0);
    FUZZ_CHECK(worker_new(&t.worker, &w, NULL) == 0);
}

/* Conversations of a few hosts, and a scan of ports that refuse. */
static void one_round(unsigned round)
{
    const uint64_t start = fake.now_ns - FAKE_T0;

    fake.n = fake.next = 0;
    fake.frames.len = 0;
    for (unsigned i = 0; i < PACKETS; i++) {
        const uint64_t at = start + i * UINT64_C(1000000);
        const unsigned host = 1 + i % 20, port = 40000 + i / 40 + round * 100;
        if (i % 40 == 7)
            fake_tcp(at, 30 + round % 3, 50000, 100, i, TCP_SYN);
        else if (i % 40 == 8)
            fake_tcp(at, 100, i - 1, 30 + round % 3, 50000, TCP_RST | TCP_ACK);
        else if (i % 40 < 20)
            fake_udp(at, host, port, 200, 53, 30);
        else
            fake_udp(at, 200, 53, host, port, 90);
    }
    for (size_t n = 1; n > 0;) {
        n = worker_step(t.worker, 0);
        fake.now_ns += 60000000;
    }
}

static void finish(pthread_t reader)
{
    worker_flush(t.worker);
    analysis_thread_join(t.thread);
    analysis_tick(t.analysis, worker_clock(t.worker));
    analysis_close(t.analysis);
    t.is_over = true;
    FUZZ_CHECK(pthread_join(reader, NULL) == 0);
}

static uint64_t get(enum counter which)
{
    return counters_get(t.counters, which);
}

int main(void)
{
    pthread_t reader;
    uint64_t ended = 0;

    make_pipeline();
    FUZZ_CHECK(pthread_create(&reader, NULL, uplink, NULL) == 0);
    analysis_thread_start(t.thread, t.analysis, true);
    for (unsigned round = 0; round < ROUNDS; round++)
        one_round(round);
    finish(reader);

    for (enum counter c = COUNTER_flow_ended_closed; c <= COUNTER_flow_ended_crashed; c++)
        ended += get(c);
    FUZZ_CHECK(get(COUNTER_capture_packets) == (uint64_t)ROUNDS * PACKETS);
    FUZZ_CHECK(get(COUNTER_flow_made) == ended + get(COUNTER_flow_lost_ring));
    FUZZ_CHECK(t.ended == ended);
    FUZZ_CHECK(t.told == get(COUNTER_alert_published) && t.told > 0);
    FUZZ_CHECK(get(COUNTER_alert_raised) ==
               get(COUNTER_alert_suppressed) + t.told + get(COUNTER_alert_lost_ring));
    t.thread = analysis_thread_free(t.thread);
    t.worker = worker_free(t.worker);
    t.analysis = analysis_free(t.analysis);
    t.rings = rings_free(t.rings);
    t.alerts = ring_free(t.alerts);
    t.counters = counters_free(t.counters);
    fake_reset();
    return 0;
}
