/* Workers that read the same packets do together what one does alone. */
#include <criterion/criterion.h>

#include "common/ip.h"
#include "common/time.h"
#include "sensor/worker.h"
#include "support/fake_capture.h"

#define S       WIND_NS_PER_S
#define RECORDS 8192

/* What the workers of a run said, in the order of merge.h; features left out. */
static struct seen {
    struct flow_record flow[RECORDS];
    size_t flows;
    struct anomaly_record anomaly[RECORDS];
    size_t anomalies;
    struct counters *counters;
} one, several;

static void drain(struct seen *s, struct ring *ring)
{
    const struct record_header *h;

    while ((h = ring_peek(ring, 0, NULL)) != NULL) {
        cr_assert(s->flows < RECORDS && s->anomalies < RECORDS);
        if (h->kind == RECORD_ANOMALY)
            memcpy(&s->anomaly[s->anomalies++], h, sizeof(s->anomaly[0]));
        else
            memcpy(&s->flow[s->flows++], h, sizeof(s->flow[0]));
    }
    ring_release(ring, 0);
}

static void run_worker(struct seen *s, unsigned number, unsigned sharing)
{
    WIND_AUTO(ring) struct ring *ring = NULL;
    WIND_AUTO(worker) struct worker *w = NULL;
    const struct worker_conf conf = {
        .flows = {.max = 4096,
                  .idle_ns = 120 * S,
                  .idle_new_ns = 30 * S,
                  .linger_ns = 2 * S,
                  .active_ns = 60 * S,
                  .first_pkts = 4,
                  .first_id = ((uint64_t)number << FLOW_ID_SHIFT) + 1,
                  .seed = number},
        .decode = {.tunnels = true, .vlan_in_key = true, .tunnel_depth = 4},
        .defrag = {.max = 64, .memory = 1 << 20, .timeout_ns = 30 * S},
        .ring = NULL,
        .counters = &s->counters[number],
        .number = number,
        .sharing = sharing,
        .anomalies = 1000,
        .level = ANALYSIS_FULL,
    };
    struct worker_conf c = conf;

    cr_assert_eq(ring_new(&ring, 1 << 24, 1, NULL), 0);
    c.ring = ring;
    fake.next = 0;
    cr_assert_eq(worker_new(&w, &c, NULL), 0);
    while (worker_step(w, 0) > 0)
        ;
    worker_flush(w);
    drain(s, ring);
    cr_assert_eq(atomic_load(&s->counters[number].position), fake.n);
    cr_assert_eq(atomic_load(&s->counters[number].order), COUNTERS_ORDER_END);
}

static int by_flow(const void *a, const void *b)
{
    const struct flow_record *x = a, *y = b;
    const int r = memcmp(&x->key, &y->key, sizeof(x->key));

    if (r != 0)
        return r;
    if (x->start_ns != y->start_ns)
        return x->start_ns < y->start_ns ? -1 : 1;
    if (x->header.order != y->header.order)
        return x->header.order < y->header.order ? -1 : 1;
    return x->header.kind - y->header.kind;
}

static int by_order(const void *a, const void *b)
{
    const struct anomaly_record *x = a, *y = b;

    return x->header.order < y->header.order ? -1 : x->header.order > y->header.order;
}

static void run(struct seen *s, unsigned workers)
{
    memset(s, 0, sizeof(*s));
    cr_assert_eq(counters_new(&s->counters, NULL), 0);
    for (unsigned i = 0; i < workers; i++)
        run_worker(s, i, workers > 1 ? workers : 0);
    for (size_t i = 0; i < s->flows; i++)
        s->flow[i].flow_id = 0;
    qsort(s->flow, s->flows, sizeof(s->flow[0]), by_flow);
    qsort(s->anomaly, s->anomalies, sizeof(s->anomaly[0]), by_order);
}

/* ---------------------------------------------------------------- packets */

static void connection(uint64_t at, unsigned client, unsigned port)
{
    fake_tcp(at, client, port, 2, 80, TCP_SYN);
    fake_tcp(at + 1000000, 2, 80, client, port, TCP_SYN | TCP_ACK);
    fake_tcp(at + 2000000, client, port, 2, 80, TCP_ACK);
    fake_tcp(at + 3000000, client, port, 2, 80, TCP_FIN | TCP_ACK);
    fake_tcp(at + 4000000, 2, 80, client, port, TCP_FIN | TCP_ACK);
}

/* host 2 has nobody on the port that the datagram of `client` went to. */
static void refused(uint64_t at, unsigned client, unsigned port)
{
    fake_udp(at, client, port, 2, 161, 10);
    frame_eth(&fake.frames, 0x0800);
    frame_ipv4(&fake.frames, 1, 2, client, 36);
    put(&fake.frames, "\x03\x03\0\0\0\0\0\0", 8);
    frame_ipv4(&fake.frames, 17, client, 2, 18);
    frame_udp(&fake.frames, port, 161, 10);
    fake_offer(at + 1000000);
}

/* Two fragments of a datagram to port 1000 + id; the second contradicts an earlier one. */
static void fragments(uint64_t at, unsigned id)
{
    for (unsigned i = 0; i < 3; i++) {
        frame_eth(&fake.frames, 0x0800);
        frame_ipv4(&fake.frames, 17, 50, 2, 16);
        fake.frames.data[fake.frames.len - 16 + 1] = (uint8_t)id;
        fake.frames.data[fake.frames.len - 14] = i == 2 ? 0 : 0x20;
        fake.frames.data[fake.frames.len - 13] = i == 0 ? 0 : 2;
        if (i == 0) {
            put16(&fake.frames, 0xe803);
            put_number(&fake.frames, 1000 + id, 2, true);
            put(&fake.frames, "\0\x28\0\0the one ", 12);
        } else {
            put(&fake.frames, i == 1 ? "one half of it.." : "the rest of it..", 16);
        }
        fake_offer(at + i * 1000);
    }
}

static void odd(uint64_t at, unsigned host)
{
    frame_eth(&fake.frames, 0x0800); /* a TCP header that does not fit */
    frame_ipv4(&fake.frames, 6, host, 2, 4);
    put(&fake.frames, "abcd", 4);
    fake_offer(at);
    frame_eth(&fake.frames, 0x0806);
    put(&fake.frames, "\0\1\x08\0\6\4\0\1", 8);
    fake_offer(at + 1);
    fake_tcp(at + 2, host, 5000, 2, 80, TCP_SYN);
    fake.packet[fake.n - 1].cut = 30; /* truncated, in the IP header */
}

static void traffic(void)
{
    for (unsigned i = 0; i < 200; i++) {
        const uint64_t at = i * S / 3;
        connection(at, 1 + i % 40, 5000 + i);
        fake_udp(at + 5000000, 1 + i % 40, 6000 + i % 9, 2, 53, i % 50);
        if (i % 5 == 0)
            refused(at + 6000000, 1 + i % 40, 7000 + i);
        if (i % 7 == 0)
            fragments(at + 7000000, i);
        if (i % 9 == 0)
            odd(at + 8000000, 1 + i % 40);
        if (i % 50 == 49)
            fake_udp(at - 2 * S, 90, 9000 + i, 2, 53, 3); /* time runs backwards */
    }
}

/* ---------------------------------------------------------------- what they say */

static void tear_down(void)
{
    one.counters = counters_free(one.counters);
    several.counters = counters_free(several.counters);
    fake_reset();
}
TestSuite(worker_sharing, .fini = tear_down);

static void expect_the_same(unsigned workers)
{
    run(&several, workers);
    for (enum counter c = 0; c <= COUNTER_flow_no_dpi; c++)
        cr_assert(c == COUNTER_flow_max || /* a part each, in the sensor (crew.c) */
                      counters_sum(several.counters, c) == counters_sum(one.counters, c),
                  "%u workers: %s.%s", workers, counter_info[c].group, counter_info[c].name);
    cr_assert_eq(several.flows, one.flows);
    cr_assert_eq(several.anomalies, one.anomalies);
    for (size_t i = 0; i < one.flows; i++)
        cr_assert_eq(memcmp(&one.flow[i], &several.flow[i], sizeof(one.flow[0])), 0, "flow %zu", i);
    for (size_t i = 0; i < one.anomalies; i++)
        cr_assert_eq(memcmp(&one.anomaly[i], &several.anomaly[i], sizeof(one.anomaly[0])), 0);
    several.counters = counters_free(several.counters);
}

Test(worker_sharing, several_say_and_count_what_one_does)
{
    traffic();
    run(&one, 1);
    cr_assert_eq(counters_get(one.counters, COUNTER_capture_packets), fake.n);
    cr_assert_gt(counters_get(one.counters, COUNTER_defrag_completed), 20);
    cr_assert_gt(counters_get(one.counters, COUNTER_defrag_overlaps), 20);
    cr_assert_gt(counters_get(one.counters, COUNTER_capture_time_backwards), 2);
    cr_assert_gt(one.anomalies, 60);
    for (unsigned workers = 2; workers <= 5; workers++)
        expect_the_same(workers);
}

Test(worker_sharing, wherever_batches_are_cut)
{
    traffic();
    run(&one, 1);
    for (fake.batch = 1; fake.batch < 70; fake.batch += 17)
        expect_the_same(3);
}

Test(worker_sharing, an_error_is_heard_by_the_flow_that_it_is_about)
{
    size_t told = 0;

    for (unsigned i = 0; i < 60; i++)
        refused(i * S, 1 + i, 7000 + i);
    run(&several, 4);
    for (size_t i = 0; i < several.flows; i++)
        told += several.flow[i].header.kind == RECORD_FLOW_OPENED &&
                several.flow[i].opening == OPENING_REFUSED;
    cr_assert_eq(told, 60);
}

Test(worker_sharing, each_has_a_part_of_the_flows_and_numbers_of_its_own)
{
    traffic();
    memset(&several, 0, sizeof(several));
    cr_assert_eq(counters_new(&several.counters, NULL), 0);
    for (unsigned i = 0; i < 4; i++) {
        const size_t from = several.flows;
        run_worker(&several, i, 4);
        for (size_t k = from; k < several.flows; k++)
            cr_assert_eq(several.flow[k].flow_id >> FLOW_ID_SHIFT, i);
        cr_assert_gt(counters_get(&several.counters[i], COUNTER_flow_made), 20);
    }
}
