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

static struct {
    struct board *board;
    unsigned n;
    struct ring *ring[8];
    struct worker *worker[8];
} crew;

static void make_worker(struct seen *s, unsigned number)
{
    const struct worker_conf conf = {
        .flows = {.max = 4096,
                  .idle_ns = 120 * S,
                  .idle_new_ns = 30 * S,
                  .half_open_ns = 30 * S,
                  .linger_ns = 2 * S,
                  .active_ns = 60 * S,
                  .first_pkts = 4,
                  .first_id = ((uint64_t)number << FLOW_ID_SHIFT) + 1,
                  .seed = number},
        .decode = {.tunnels = true, .vlan_in_key = true, .tunnel_depth = 4},
        .defrag = {.max = 64, .memory = 1 << 20, .timeout_ns = 30 * S},
        .ring = crew.ring[number],
        .counters = &s->counters[number],
        .number = number,
        .board = crew.board,
        .place = number,
        .sharing = crew.n > 1 ? crew.n : 0,
        .anomalies = 1000,
        .level = ANALYSIS_FULL,
    };

    cr_assert_eq(worker_new(&crew.worker[number], &conf, NULL), 0);
}

static void begin(struct seen *s, unsigned workers)
{
    memset(s, 0, sizeof(*s));
    cr_assert_eq(counters_new(&s->counters, NULL), 0);
    fake.next = 0;
    crew.n = workers;
    if (workers > 1)
        cr_assert_eq(board_new(&crew.board,
                               &(struct board_conf){.shares = workers, .places = workers}, NULL),
                     0);
    for (unsigned i = 0; i < workers; i++) {
        cr_assert_eq(ring_new(&crew.ring[i], 1 << 24, 1, NULL), 0);
        make_worker(s, i);
    }
}

static bool is_over(unsigned i)
{
    return crew.board != NULL ? board_ended(crew.board, i) : fake.next == fake.n;
}

/* One step each in turn, the last worker more seldom, so that the others get far ahead. */
static void run_all(void)
{
    bool goes_on = true;

    for (unsigned turn = 0; goes_on; turn++) {
        goes_on = false;
        for (unsigned i = 0; i < crew.n; i++) {
            if (i < crew.n - 1 || turn % 3 == 0)
                (void)worker_step(crew.worker[i], 0);
            goes_on |= !is_over(i);
        }
    }
}

static void end(struct seen *s)
{
    for (unsigned i = 0; i < crew.n; i++) {
        worker_flush(crew.worker[i]);
        drain(s, crew.ring[i]);
        crew.worker[i] = worker_free(crew.worker[i]);
        crew.ring[i] = ring_free(crew.ring[i]);
        cr_assert_eq(atomic_load(&s->counters[i].position), fake.n);
        cr_assert_eq(atomic_load(&s->counters[i].order), COUNTERS_ORDER_END);
    }
    crew.board = board_free(crew.board);
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
    begin(s, workers);
    run_all();
    end(s);
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

Test(worker_sharing, wherever_batches_are_cut_and_whether_bytes_stay)
{
    traffic();
    run(&one, 1);
    for (fake.batch = 1; fake.batch < 300; fake.batch += 47) {
        fake.is_taking_back = !fake.is_taking_back;
        expect_the_same(3);
    }
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
    size_t of[4] = {0};

    traffic();
    begin(&several, 4);
    run_all();
    for (unsigned i = 0; i < 4; i++)
        cr_assert_gt(counters_get(&several.counters[i], COUNTER_flow_made), 20);
    end(&several);
    for (size_t k = 0; k < several.flows; k++)
        of[several.flow[k].flow_id >> FLOW_ID_SHIFT]++;
    for (unsigned i = 0; i < 4; i++)
        cr_assert_gt(of[i], 40);
}

/* Killed when they are at different places: each goes on where it was, and nothing is seen twice.
 */
Test(worker_sharing, successors_go_on_where_each_of_them_was)
{
    uint64_t position[3];

    traffic();
    fake.batch = 10;
    begin(&several, 3);
    for (unsigned i = 0; i < 90; i++)
        for (unsigned w = 0; w < 3; w++)
            if (i % (w + 1) == 0)
                (void)worker_step(crew.worker[w], 0);
    for (unsigned w = 0; w < 3; w++) {
        position[w] = atomic_load(&several.counters[w].position);
        crew.worker[w] = worker_free(crew.worker[w]);
    }
    cr_assert(position[0] > position[1] && position[1] > position[2] && position[2] > 100);
    const uint64_t first = counters_position(several.counters, 3);
    cr_assert_eq(first, position[2]);
    crew.board = board_free(crew.board);
    fake.next = first; /* as a capture that skips so many */
    cr_assert_eq(board_new(&crew.board,
                           &(struct board_conf){.shares = 3, .places = 3, .first = first}, NULL),
                 0);
    for (unsigned w = 0; w < 3; w++)
        make_worker(&several, w);
    run_all();
    end(&several);
    cr_assert_eq(counters_sum(several.counters, COUNTER_capture_packets), fake.n);
    uint64_t decoded = 0;
    for (enum counter c = COUNTER_decoder_OK; c <= COUNTER_decoder_lost; c++)
        decoded += counters_sum(several.counters, c);
    cr_assert_eq(decoded, fake.n);
}
