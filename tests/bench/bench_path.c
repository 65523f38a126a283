/*
 * bench.path CAPTURE LEVEL [MODEL]: the whole path of a packet in one process, without the cage.
 *
 * For tools that count instructions and cache lines (valgrind --tool=cachegrind): they can neither
 * follow the sensor's processes nor live in its sandbox. The same parts in the same order as in
 * replay: worker, analysis, and the lines of eve.json, which go nowhere. LEVEL: counters,
 * detectors, full (with MODEL), dpi (full, and nDPI). What it prints is no measurement, only what
 * there was.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/rings.h"
#include "common/time.h"
#include "sensor/analysis.h"
#include "sensor/eve.h"
#include "sensor/worker.h"

#define S     WIND_NS_PER_S
#define MB    ((size_t)1 << 20)
#define HOSTS 65536u
#define LINES ((size_t)256 << 10)

static struct {
    struct rings *rings;
    struct ring *alerts;
    struct counters *counters;
    struct analysis *analysis;
    struct buf lines;
    uint64_t bytes;
} t;

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "path: %s\n", what);
    exit(1);
}

static void write_out(struct ring *r, unsigned stage, enum eve_ring which)
{
    static const struct eve_source source = {.sensor = "bench", .pcap = "bench.pcap"};
    static struct eve_record record;
    const void *slot = NULL;

    while ((slot = ring_peek(r, stage, NULL)) != NULL) {
        if (eve_take(slot, ring_peeked_len(r, stage), which, &record) != 0)
            continue;
        const size_t before = t.lines.len;
        eve_line(&t.lines, &source, &record);
        t.bytes += t.lines.len - before;
        if (t.lines.len > LINES)
            buf_reset(&t.lines);
    }
    ring_release(r, stage);
}

static void later_stages(void *arg)
{
    (void)arg;
    (void)analysis_step(t.analysis);
    write_out(t.rings->ring[0], 1, EVE_RING_FLOWS);
    write_out(t.alerts, 0, EVE_RING_ALERTS);
}

static void make_analysis(enum analysis_level level, struct model *model)
{
    struct analysis_conf conf = {.detect = {.n_home = 1,
                                            .max = HOSTS,
                                            .scan_targets = 20,
                                            .brute_attempts = 8,
                                            .beacon_events = 10,
                                            .beacon_min_ns = 2 * S,
                                            .beacon_max_ns = 3600 * S,
                                            .anomaly_p = 0.01,
                                            .anomaly_flows = 6},
                                 .alerts = {.ring = t.alerts,
                                            .counters = t.counters,
                                            .max_open = 4096,
                                            .quiet_ns = 600 * S,
                                            .level = level},
                                 .flows = t.rings,
                                 .hosts_max = HOSTS,
                                 .names = {.max = 65536, .ttl_max_ns = 3600 * S},
                                 .level = level,
                                 .features_fd = -1};

    if (cidr_parse("10.0.0.0/8", &conf.detect.home[0], NULL) < 0 ||
        analysis_new(&t.analysis, &conf, model, NULL) < 0)
        die("out of memory");
}

static struct worker *make_worker(struct capture *capture, enum analysis_level level, bool has_dpi)
{
    const struct dpi_conf dpi = {.flows_max = 100000, .packets_max = 10};
    struct worker_conf conf = {.flows = {.max = 1000000,
                                         .idle_ns = 120 * S,
                                         .idle_new_ns = 30 * S,
                                         .linger_ns = 2 * S,
                                         .active_ns = 60 * S,
                                         .first_pkts = 16,
                                         .first_id = 1},
                               .decode = {.tunnels = true, .vlan_in_key = true, .tunnel_depth = 4},
                               .defrag = {.max = 4096, .memory = 8 * MB, .timeout_ns = 30 * S},
                               .talk = {.listener = {.memory = 64 * MB, .streams = 4096}},
                               .capture = capture,
                               .ring = t.rings->ring[0],
                               .counters = t.counters,
                               .level = level,
                               .relieve = later_stages};
    struct worker *w = NULL;

    if (level == ANALYSIS_COUNTERS)
        conf.talk.listener.memory = 0;
    if ((has_dpi && dpi_new(&conf.talk.dpi, &dpi, NULL) < 0) || worker_new(&w, &conf, NULL) < 0)
        die("out of memory");
    return w;
}

static struct model *load_model(const char *path)
{
    struct model *model = NULL;
    const int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0 || model_load_fd(&model, fd, NULL) < 0)
        die("cannot read the model");
    (void)close(fd);
    return model;
}

int main(int argc, char **argv)
{
    const char *const how = argc > 2 ? argv[2] : "";
    const bool has_dpi = strcmp(how, "dpi") == 0;
    const enum analysis_level level = strcmp(how, "counters") == 0    ? ANALYSIS_COUNTERS
                                      : strcmp(how, "detectors") == 0 ? ANALYSIS_DETECTORS
                                                                      : ANALYSIS_FULL;
    struct capture *capture = NULL;

    if (argc < 3 || (level == ANALYSIS_FULL && argc != 4)) {
        fprintf(stderr, "usage: bench.path CAPTURE counters|detectors|full|dpi [MODEL]\n");
        return 2;
    }
    const int fd = open(argv[1], O_RDONLY | O_CLOEXEC);
    if (fd < 0 || capture_file_new(&capture, fd, argv[1], 0, NULL) < 0)
        die("cannot read the capture");
    buf_init(&t.lines, MB);
    if (counters_new(&t.counters, NULL) < 0 || rings_new(&t.rings, 1, 16 * MB, 2, NULL) < 0 ||
        ring_new(&t.alerts, 4 * MB, 1, NULL) < 0)
        die("out of memory");
    make_analysis(level, level == ANALYSIS_FULL ? load_model(argv[3]) : NULL);
    struct worker *w = make_worker(capture, level, has_dpi);
    while (!capture_ended(capture)) {
        (void)worker_step(w, 10);
        later_stages(NULL);
    }
    worker_flush(w);
    later_stages(NULL);
    analysis_close(t.analysis);
    later_stages(NULL);
    printf("{\"packets\": %llu, \"flows\": %llu, \"bytes\": %llu}\n",
           (unsigned long long)counters_get(t.counters, COUNTER_capture_packets),
           (unsigned long long)counters_get(t.counters, COUNTER_flow_made),
           (unsigned long long)t.bytes);
    worker_free(w);
    analysis_free(t.analysis);
    capture_free(capture);
    return 0;
}
