/*
 * bench.flow CAPTURE MODEL: what a flow costs once, part by part, in ns.
 *
 * The capture goes through a real worker (without nDPI); its records are kept, and each part then
 * works on all of them in their order: a part has the caches for itself, and sees the hosts,
 * services and rows that the capture has. A line a part, and their sum: an opening and an end a
 * flow, scored once. What packets cost is not in it.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/time.h"
#include "features/feature.h"
#include "models/model.h"
#include "sensor/detect.h"
#include "sensor/eve.h"
#include "sensor/lru.h"
#include "sensor/worker.h"

#define S          WIND_NS_PER_S
#define TRIES      5
#define FLOWS_MAX  100000u
#define ARENA      ((size_t)384 << 20)
#define RING       ((size_t)16 << 20)
#define HOSTS      65536u
#define WRITE_SIZE ((size_t)256 << 10)
#define STATS_PKTS 16u /* of each direction, to make a flow's statistics of */

static struct {
    uint8_t *arena;
    size_t used;
    struct flow_record **record; /* openings, updates and ends, in order */
    size_t n, ended;
    size_t line_bytes;        /* of all lines */
    struct flow_stats *stats; /* of record i */
    struct model *model;
    struct model_score *score;
    /* made anew for each try */
    struct lru *hosts;
    struct detectors *detectors;
    struct alerts *alerts;
    struct ring *ring, *alert_ring;
    struct counters *counters;
    struct buf lines;
    uint64_t position; /* alerts wait for no flow here */
    int fd;
} t;

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "flow: %s\n", what);
    exit(1);
}

/* ---------------------------------------------------------------- the records */

static void keep(void *arg)
{
    const struct flow_record *r;

    (void)arg;
    while ((r = ring_peek(t.ring, 0, NULL)) != NULL) {
        if (r->header.kind > RECORD_FLOW_ENDED)
            continue;
        if (t.used + r->header.len > ARENA)
            die("too many flows are open at once in this capture");
        t.record[t.n] = (void *)(t.arena + t.used);
        memcpy(t.record[t.n], r, r->header.len);
        t.used += r->header.len;
        t.ended += r->header.kind == RECORD_FLOW_ENDED;
        t.n++;
    }
    ring_release(t.ring, 0);
}

/* Statistics with as many packets as the flow has: what feature_flow reads. */
static void make_stats(const struct flow_record *r, struct flow_stats *s)
{
    for (unsigned d = 0; d < 2; d++) {
        const uint64_t n = r->pkts[d] < STATS_PKTS ? r->pkts[d] : STATS_PKTS;
        for (uint64_t i = 0; i < n; i++)
            flow_stats_packet(s, d, r->start_ns + i * WIND_NS_PER_MS,
                              (uint32_t)(r->bytes[d] / r->pkts[d]), i < 2 ? 0 : 100, 0x10);
    }
}

static void load(const char *path)
{
    struct worker_conf conf = {.flows = {.max = 1000000,
                                         .idle_ns = 120 * S,
                                         .idle_new_ns = 30 * S,
                                         .linger_ns = 2 * S,
                                         .active_ns = 60 * S,
                                         .first_pkts = 16,
                                         .first_id = 1},
                               .talk = {.listener = {.memory = (size_t)64 << 20, .streams = 1024}},
                               .ring = t.ring,
                               .counters = t.counters,
                               .level = ANALYSIS_FULL,
                               .relieve = keep};
    struct worker *w = NULL;
    const int fd = open(path, O_RDONLY | O_CLOEXEC);

    t.arena = malloc(ARENA);
    t.record = calloc(ARENA / sizeof(struct flow_record), sizeof(struct flow_record *));
    if (fd < 0 || t.arena == NULL || t.record == NULL ||
        capture_file_new(&conf.capture, fd, path, 0, NULL) < 0 || worker_new(&w, &conf, NULL) < 0)
        die("cannot read the capture");
    while (!capture_ended(conf.capture) && t.ended < FLOWS_MAX) {
        (void)worker_step(w, 10);
        keep(NULL);
    }
    worker_flush(w);
    keep(NULL);
    worker_free(w);
    capture_free(conf.capture);
    t.stats = calloc(t.n, sizeof(*t.stats));
    t.score = calloc(t.n, sizeof(*t.score));
    if (t.ended == 0 || t.stats == NULL || t.score == NULL)
        die("no flows in the capture");
    for (size_t i = 0; i < t.n; i++)
        make_stats(t.record[i], &t.stats[i]);
}

/* ---------------------------------------------------------------- parts */

static bool is_scored(const struct flow_record *r)
{
    return r->header.kind == RECORD_FLOW_ENDED;
}

static void features(void)
{
    for (size_t i = 0; i < t.n; i++) {
        float row[FEATURE_COUNT];
        uint64_t missing = 0;
        if (is_scored(t.record[i]))
            feature_flow(&t.stats[i], t.record[i]->key.proto, row, &missing);
        __asm__ volatile("" : : "r"(row) : "memory");
    }
}

/* The worker's side and the analysis', in turn: a record made in its slot, seen and let go. */
static void ring(void)
{
    for (size_t i = 0; i < t.n; i++) {
        const struct flow_record *const r = t.record[i];
        if (r->header.kind == RECORD_FLOW_UPDATE)
            continue;
        struct flow_record *slot = ring_reserve(t.ring, r->header.len);
        const struct record_header header = slot->header;
        memcpy(slot, r, r->header.len);
        slot->header.len = header.len;
        ring_commit(t.ring);
        (void)ring_peek(t.ring, 0, NULL);
        ring_release(t.ring, 0);
    }
}

static struct host_stats *host_of(const struct flow_record *r)
{
    bool is_new = false;
    struct host_stats *h = lru_touch(t.hosts, r->key.src, &is_new);

    if (is_new)
        host_stats_init(h, r->header.time_ns);
    return h;
}

static void hosts(void)
{
    for (size_t i = 0; i < t.n; i++) {
        struct flow_record *const r = t.record[i];
        if (r->header.kind == RECORD_FLOW_UPDATE)
            continue;
        struct host_stats *const h = host_of(r);
        if (r->header.kind == RECORD_FLOW_OPENED) {
            host_stats_opened(h, r->header.time_ns, r->start_ns, &r->key, r->opening);
            continue;
        }
        feature_host(h, r->header.time_ns, &r->key, r->feature, &r->missing);
        host_stats_ended(h, r->header.time_ns, r->feature, r->missing);
    }
}

static void model(void)
{
    for (size_t i = 0; i < t.n; i++) {
        const struct model_row row = {.value = t.record[i]->feature,
                                      .missing = t.record[i]->missing};
        if (is_scored(t.record[i]))
            model_score(t.model, &row, 1, &t.score[i]);
    }
}

static void drain_alerts(void)
{
    while (ring_peek(t.alert_ring, 0, NULL) != NULL)
        ;
    ring_release(t.alert_ring, 0);
}

static void detectors(void)
{
    static struct host_stats host; /* only the words of an alert look into it */

    for (size_t i = 0; i < t.n; i++) {
        const struct flow_record *const r = t.record[i];
        struct detect_view v = {.r = r, .host = &host, .model = t.model, .alerts = t.alerts};
        if (r->header.kind == RECORD_FLOW_UPDATE)
            continue;
        if (is_scored(r))
            v.score = &t.score[i];
        if (alerts_is_due(t.alerts, r->header.time_ns))
            alerts_tick(t.alerts, r->header.time_ns);
        detectors_see(t.detectors, &v);
        if (i % 1024 == 0)
            drain_alerts();
    }
}

static void json(void)
{
    static const struct eve_source source = {.sensor = "bench", .pcap = "bench.pcap"};
    static struct eve_record record;

    t.line_bytes = 0;
    for (size_t i = 0; i < t.n; i++) {
        if (eve_take(t.record[i], t.record[i]->header.len, EVE_RING_FLOWS, &record) != 0)
            continue;
        if (t.lines.len > WRITE_SIZE)
            buf_reset(&t.lines);
        const size_t before = t.lines.len;
        eve_line(&t.lines, &source, &record);
        t.line_bytes += t.lines.len - before;
    }
}

/* As many bytes as the lines have: into the page cache, and no further. */
static void file(void)
{
    for (size_t left = t.line_bytes; left > 0;) {
        const size_t n = left < t.lines.len ? left : t.lines.len;
        if (write(t.fd, t.lines.data, n) != (ssize_t)n)
            die("cannot write");
        left -= n;
    }
}

/* ---------------------------------------------------------------- measuring */

static void forget(void)
{
    t.hosts = lru_free(t.hosts);
    t.alerts = alerts_free(t.alerts);
    t.detectors = detectors_free(t.detectors);
    if (t.fd > 0 && (ftruncate(t.fd, 0) != 0 || lseek(t.fd, 0, SEEK_SET) != 0))
        die("cannot write");
}

static void begin(void)
{
    struct detect_conf detect = {.n_home = 1,
                                 .max = HOSTS,
                                 .scan_targets = 20,
                                 .brute_attempts = 8,
                                 .beacon_events = 10,
                                 .beacon_min_ns = 2 * S,
                                 .beacon_max_ns = 3600 * S,
                                 .anomaly_p = 0.01,
                                 .anomaly_flows = 6};
    struct alerts_conf alerts = {.ring = t.alert_ring,
                                 .after = &t.position,
                                 .counters = t.counters,
                                 .max_open = 4096,
                                 .quiet_ns = 600 * S,
                                 .level = ANALYSIS_FULL};

    forget();
    if (cidr_parse("10.0.0.0/8", &detect.home[0], NULL) < 0 ||
        lru_new(&t.hosts, HOSTS, 16, sizeof(struct host_stats), NULL) < 0 ||
        detectors_new(&t.detectors, &detect, NULL) < 0 ||
        alerts_new(&t.alerts, &alerts, detectors_kinds(t.detectors), DETECTORS, NULL) < 0)
        die("out of memory");
}

static const struct part {
    const char *name;
    void (*run)(void);
} parts[] = {{"features", features}, {"record and ring", ring}, {"hosts", hosts},
             {"model", model},       {"detectors", detectors},  {"json", json},
             {"file", file}};

/* Ours, with the kernel's for us; what others do on this core is not in it. */
static uint64_t cpu_ns(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * S + (uint64_t)now.tv_nsec;
}

static double measure(const struct part *part)
{
    double best = 1e18;

    for (int try = 0; try < TRIES; try++) {
        begin();
        const uint64_t start = cpu_ns();
        part->run();
        const double ns = (double)(cpu_ns() - start) / (double)t.ended;
        best = ns < best ? ns : best;
    }
    return best;
}

int main(int argc, char **argv)
{
    char scratch[] = "/tmp/wind-bench-XXXXXX";
    double sum = 0;

    if (argc != 3) {
        fprintf(stderr, "usage: bench.flow CAPTURE MODEL\n");
        return 2;
    }
    const int fd = open(argv[2], O_RDONLY | O_CLOEXEC);
    if (fd < 0 || model_load_fd(&t.model, fd, NULL) < 0)
        die("cannot read the model");
    t.fd = mkstemp(scratch);
    (void)unlink(scratch);
    buf_init(&t.lines, 1 << 20);
    if (t.fd < 0 || counters_new(&t.counters, NULL) < 0 || ring_new(&t.ring, RING, 1, NULL) < 0 ||
        ring_new(&t.alert_ring, RING, 1, NULL) < 0)
        die("out of memory");
    load(argv[1]);
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        const double ns = measure(&parts[i]);
        sum += ns;
        printf("{\"bench\": \"flow\", \"case\": \"%s\", \"ns\": %.0f}\n", parts[i].name, ns);
    }
    printf("{\"bench\": \"flow\", \"case\": \"sum\", \"us\": %.2f, \"flows\": %zu}\n", sum / 1000,
           t.ended);
    return 0;
}
