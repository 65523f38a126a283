/*
 * Packets of a few hosts, ports and odd moments, through decoder, flow table, worker and analysis
 * with tables so small that everything is evicted, folded or refused now and then. Whatever comes
 * in, the books balance, each flow is told once, and what is told makes sense.
 *
 *      byte 0    1: live  2: no model  4: detectors only
 *      then      packets of 8 bytes (below); kind 7 is followed by a frame of its own bytes
 */
#include <fcntl.h>
#include <math.h>
#include <unistd.h>

#include "common/time.h"
#include "sensor/analysis.h"
#include "sensor/eve_facts.h"
#include "sensor/worker.h"
#include "support/fake_capture.h"
#include "support/fuzz.h"

#define S           WIND_NS_PER_S
#define FLOWS_MAX   32
#define PACKETS_MAX 2000

static struct {
    struct rings *rings;
    struct ring *flows, *alerts; /* flows: the one of the rings */
    struct counters *counters;
    struct worker *worker;
    struct analysis *analysis;
    uint64_t opened, ended, named, told, anomalies, clock_ns;
} t;

/* ---------------------------------------------------------------- bytes to packets */

struct step {
    uint8_t kind, flags, src, dst, port, len, unit, time;
};

static void put_icmp(const struct step *s)
{
    static const uint8_t types[] = {8, 0, 3, 11, 13, 14, 10, 9};
    const unsigned type = types[s->flags % sizeof(types)];
    const bool is_error = type == 3 || type == 11;
    struct bytes *b = &fake.frames;

    frame_eth(b, 0x0800);
    frame_ipv4(b, 1, s->src % 8, s->dst % 8, is_error ? 36 : 8);
    put8(b, type);
    put(b, "\0\0\0\0\0\0\0", 7);
    if (is_error) { /* about a datagram of the receiver */
        frame_ipv4(b, 17, s->dst % 8, s->src % 8, 8);
        frame_udp(b, 1000 + s->port % 4, 53, 0);
    }
}

static void put_packet(const struct step *s)
{
    static const uint16_t ports[] = {22, 80, 443, 53, 21, 3389};
    const unsigned client = 1000 + s->port % 16, server = ports[s->port / 16 % 6];
    const unsigned sport = s->flags & 0x80 ? server : client;
    const unsigned dport = s->flags & 0x80 ? client : server + (s->kind == 1 ? s->len % 64 : 0);
    struct bytes *b = &fake.frames;

    if (s->kind == 5) {
        put_icmp(s);
    } else if (s->kind == 6) {
        frame_eth(b, 0x86dd);
        frame_ipv6(b, 17, s->src % 8, s->dst, 8 + s->len);
        frame_udp(b, sport, dport, s->len);
    } else if (s->kind >= 3) {
        frame_eth(b, 0x0800);
        frame_ipv4(b, 17, s->src % 8, s->dst, 8 + s->len);
        frame_udp(b, sport, dport, s->len);
    } else {
        frame_eth(b, 0x0800);
        frame_ipv4(b, 6, s->src % 8, s->dst, 20 + s->len);
        frame_tcp(b, sport, dport, s->flags & 0x3f);
    }
    for (unsigned i = 0; i < s->len && s->kind != 5; i++)
        put8(b, i);
}

static void offer_packets(const uint8_t *data, size_t size)
{
    static const uint64_t units[] = {1000,   1000000,  100000000,      S,
                                     60 * S, 3600 * S, 86400 * S * 400};
    uint64_t at = 0;

    for (size_t i = 0; i + sizeof(struct step) <= size && fake.n < PACKETS_MAX;) {
        struct step s;
        memcpy(&s, data + i, sizeof(s));
        i += sizeof(s);
        s.kind %= 8;
        const uint64_t step = s.time % 64 * units[s.unit % 7];
        at = s.time & 0x80 ? at - (step < at ? step : at) : at + step; /* may run backwards */
        at %= UINT64_C(1) << 61;
        if (s.kind == 7) {
            const size_t n = s.len < size - i ? s.len : size - i;
            put(&fake.frames, data + i, n);
            i += n;
        } else {
            put_packet(&s);
        }
        if (fake.frames.len > (1 << 20))
            break;
        fake_offer(at);
    }
}

/* ---------------------------------------------------------------- who reads, as the uplink would
 */

static void check_flow(const struct flow_record *r)
{
    FUZZ_CHECK(r->header.time_ns >= t.clock_ns && r->flow_id > 0 && r->start_ns <= r->end_ns);
    t.clock_ns = r->header.time_ns;
    FUZZ_CHECK(r->score >= 0 && r->score <= 1 && r->p_value >= 0 && r->p_value <= 1);
    FUZZ_CHECK(r->pkts[0] + r->pkts[1] > 0 && r->opening <= OPENING_SILENT);
    for (size_t i = 0; i < r->n_features; i++)
        FUZZ_CHECK(isfinite(r->feature[i]) && r->feature[i] >= 0);
    FUZZ_CHECK(eve_facts_check((const uint8_t *)&r->feature[r->n_features], r->facts_len));
    t.opened += r->header.kind == RECORD_FLOW_OPENED;
    t.ended += r->header.kind == RECORD_FLOW_ENDED;
    FUZZ_CHECK(r->header.kind != RECORD_FLOW_ENDED || r->opening != OPENING_PENDING);
}

static void check_named(const struct named_record *r)
{
    FUZZ_CHECK(r->n_addresses > 0 && r->n_addresses <= NAMED_ADDRESSES_MAX);
    FUZZ_CHECK(r->header.len >= sizeof(*r) + r->n_addresses * sizeof(r->address[0]));
    FUZZ_CHECK(memchr(r->name, 0, sizeof(r->name)) != NULL);
    t.named++;
}

static void check_alert(const struct alert_record *a)
{
    float sum = 0;

    FUZZ_CHECK(a->rev > 0 && a->count > 0 && a->first_ns <= a->last_ns);
    FUZZ_CHECK(a->severity >= SEVERITY_LOW && a->severity <= SEVERITY_CRITICAL);
    FUZZ_CHECK(a->score >= 0 && a->score <= 1 && a->n_entities > 0 && a->n_evidence > 0);
    FUZZ_CHECK(a->signature[0] != '\0' && memchr(a->signature, 0, sizeof(a->signature)) != NULL);
    for (size_t i = 0; i < a->n_reasons; i++) {
        sum += a->reason[i].contribution;
        FUZZ_CHECK(isfinite(a->reason[i].value) && isfinite(a->reason[i].normal_sd));
        FUZZ_CHECK(a->reason[i].text[0] != '\0');
    }
    FUZZ_CHECK(sum <= 1.001F);
}

static void drain(void)
{
    const struct flow_record *r;
    const struct record_header *h;

    while ((r = ring_peek(t.flows, 1, NULL)) != NULL) {
        if (r->header.kind == RECORD_NAMED)
            check_named((const struct named_record *)(const void *)r);
        else
            check_flow(r);
    }
    ring_release(t.flows, 1);
    while ((h = ring_peek(t.alerts, 0, NULL)) != NULL) {
        FUZZ_CHECK(h->after <= atomic_load(&t.counters->record_sequence));
        t.anomalies += h->kind == RECORD_ANOMALY;
        t.told += h->kind == RECORD_ALERT;
        if (h->kind == RECORD_ALERT)
            check_alert((const struct alert_record *)(const void *)h);
    }
    ring_release(t.alerts, 0);
}

static void relieve(void *arg)
{
    (void)arg;
    (void)analysis_step(t.analysis);
    drain();
}

/* ---------------------------------------------------------------- the pipeline */

static struct model *load_model(void)
{
    static uint8_t bytes[1 << 20];
    static ssize_t len = -1;
    struct model *m = NULL;

    if (len < 0) {
        const int fd = open(WIND_SOURCE_DIR "/tests/models/data/tiny.model", O_RDONLY);
        len = read(fd, bytes, sizeof(bytes));
        (void)close(fd);
    }
    FUZZ_CHECK(len > 0 && model_load_bytes(&m, bytes, (size_t)len, NULL) == 0);
    return m;
}

static void make_pipeline(unsigned flags)
{
    const enum analysis_level level = flags & 4 ? ANALYSIS_DETECTORS : ANALYSIS_FULL;
    struct analysis_conf an = {.detect = {.n_home = 1,
                                          .max = 16,
                                          .scan_targets = 3,
                                          .brute_attempts = 2,
                                          .beacon_events = 4,
                                          .beacon_max_ns = 86400 * S,
                                          .anomaly_p = 0.9,
                                          .anomaly_flows = 2},
                               .alerts = {.max_open = 4, .quiet_ns = 300 * S, .level = level},
                               .hosts_max = 4,
                               .names = {.max = 16, .ttl_max_ns = 3600 * S},
                               .level = level,
                               .features_fd = -1};
    struct worker_conf w = {.flows = {.max = FLOWS_MAX,
                                      .idle_ns = 120 * S,
                                      .idle_new_ns = 30 * S,
                                      .linger_ns = 2 * S,
                                      .active_ns = 60 * S,
                                      .first_pkts = 4,
                                      .first_id = 1},
                            .talk = {.listener = {.memory = 1 << 16, .streams = 4}},
                            .level = level,
                            .span_check = true};

    FUZZ_CHECK(cidr_parse("10.0.0.0/29", &an.detect.home[0], NULL) == 0);
    FUZZ_CHECK(rings_new(&t.rings, 1, 1 << 16, 2, NULL) == 0);
    t.flows = t.rings->ring[0];
    FUZZ_CHECK(ring_new(&t.alerts, flags & 1 ? 1 << 16 : 1 << 22, 1, NULL) == 0);
    FUZZ_CHECK(counters_new(&t.counters, NULL) == 0);
    an.alerts.ring = t.alerts;
    an.flows = t.rings;
    w.ring = t.flows;
    an.alerts.counters = w.counters = t.counters;
    an.alerts.live = fake.is_live = flags & 1;
    w.relieve = relieve;
    FUZZ_CHECK(analysis_new(&t.analysis, &an, flags & 2 ? NULL : load_model(), NULL) == 0);
    FUZZ_CHECK(worker_new(&t.worker, &w, NULL) == 0);
}

static void run(void)
{
    for (size_t steps = 0; fake.next < fake.n; steps++) {
        fake.now_ns = fake.packet[fake.next].time_ns;
        (void)worker_step(t.worker, 0);
        (void)analysis_step(t.analysis);
        if (!fake.is_live || steps % 16 == 15) /* live: now and then the rings are full */
            drain();
    }
    worker_flush(t.worker);
    relieve(NULL);
    analysis_tick(t.analysis, worker_clock(t.worker));
    analysis_anomaly(t.analysis, "capture", "fuzzed", "the input was made up");
    drain();
    analysis_close(t.analysis);
    drain();
}

static uint64_t sum(enum counter first, enum counter last)
{
    uint64_t n = 0;

    for (enum counter c = first; c <= last; c++)
        n += counters_get(t.counters, c);
    return n;
}

static void check_books(void)
{
    const struct counters *c = t.counters;
    const uint64_t made = counters_get(c, COUNTER_flow_made);
    const uint64_t ended = sum(COUNTER_flow_ended_closed, COUNTER_flow_ended_crashed);

    FUZZ_CHECK(counters_get(c, COUNTER_capture_packets) == fake.n);
    FUZZ_CHECK(sum(COUNTER_decoder_OK, COUNTER_decoder_lost) == fake.n);
    FUZZ_CHECK(counters_get(c, COUNTER_flow_live) == 0);
    FUZZ_CHECK(made == ended + counters_get(c, COUNTER_flow_lost_ring) && t.ended == ended);
    FUZZ_CHECK(t.opened <= made && t.opened + counters_get(c, COUNTER_flow_events_lost) >= made);
    FUZZ_CHECK(counters_get(c, COUNTER_alert_raised) ==
               counters_get(c, COUNTER_alert_suppressed) +
                   counters_get(c, COUNTER_alert_published) +
                   counters_get(c, COUNTER_alert_lost_ring));
    FUZZ_CHECK(t.told == counters_get(c, COUNTER_alert_published));
    FUZZ_CHECK(t.anomalies + counters_get(c, COUNTER_anomaly_lost) == 1);
    FUZZ_CHECK(counters_get(c, COUNTER_host_live) <= 4);
    FUZZ_CHECK(t.named == counters_get(c, COUNTER_names_told));
    FUZZ_CHECK(counters_get(c, COUNTER_names_live) <= 16);
    FUZZ_CHECK(counters_get(c, COUNTER_facts_bytes) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    fake.frames.len = 0; /* keeps its memory */
    fake.n = fake.next = 0;
    fake.stats = (struct capture_stats){0};
    offer_packets(data + 1, size - 1);
    make_pipeline(data[0]);
    run();
    check_books();
    t.worker = worker_free(t.worker);
    t.analysis = analysis_free(t.analysis);
    t.rings = rings_free(t.rings);
    t.alerts = ring_free(t.alerts);
    t.counters = counters_free(t.counters);
    memset(&t, 0, sizeof(t));
    return 0;
}
