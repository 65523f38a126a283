/*
 * Several workers on one capture, a file and a pipe, the analysis thread behind them, and a reader
 * of all rings as the uplink is one: the whole of a replay in one process. Made for the tsan
 * preset. Every packet is counted once, every flow is told once, in the order of its packets, and
 * records are numbered without a gap.
 */
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/time.h"
#include "sensor/analysis_thread.h"
#include "sensor/crew.h"
#include "support/fuzz.h"
#include "support/pcap_builder.h"

#define WORKERS 3
#define PACKETS 30000u

static struct {
    struct rings *flows;
    struct ring *alerts;
    struct counters *counters;
    struct capture *capture;
    struct crew *crew;
    struct analysis_thread *thread;
    struct analysis *analysis;
    _Atomic bool is_over;
    uint64_t next, order, time_ns, ended, told; /* the reader's */
} t;

/* ---------------------------------------------------------------- packets */

/* Conversations of a few hosts; now and then a fragment, or what is no packet of a flow. */
static void one_packet(struct bytes *b, unsigned i)
{
    const unsigned host = 1 + i % 50, port = 1000 + i / 300;

    if (i % 31 == 7) {
        frame_eth(b, 0x0806);
        put(b, "\0\1\x08\0\6\4\0\1", 8);
    } else if (i % 37 == 5) {
        frame_eth(b, 0x0800);
        frame_ipv4(b, 17, host, 200, 16);
        b->data[b->len - 14] = 0x20;
        put(b, "0123456789abcdef", 16);
    } else if (i % 4 < 2) {
        frame_eth(b, 0x0800);
        frame_ipv4(b, 6, i % 4 == 0 ? host : 200, i % 4 == 0 ? 200 : host - 1, 20);
        frame_tcp(b, i % 4 == 0 ? port : 80, i % 4 == 0 ? 80 : port, i % 4 == 0 ? 0x02 : 0x12);
    } else {
        frame_eth(b, 0x0800);
        frame_ipv4(b, 17, host, 201, 12);
        frame_udp(b, port, 53, 4);
        put(b, "what", 4);
    }
}

static void make_file(struct bytes *file)
{
    struct bytes frame = {0};

    file_pcap(file, 0xa1b2c3d4, 1);
    for (unsigned i = 0; i < PACKETS; i++) {
        frame.len = 0;
        one_packet(&frame, i);
        file_record(file, 1767322800 + i / 200, i % 200 * 5000, frame.data, (uint32_t)frame.len);
    }
    bytes_done(&frame);
}

/* ---------------------------------------------------------------- who reads */

static struct record_header *first_of(struct record_header *head[WORKERS], unsigned *ret_ring)
{
    struct record_header *first = NULL;

    for (unsigned pass = 0; pass < 2; pass++) { /* twice: see uplink.c */
        for (unsigned i = 0; i < WORKERS; i++) {
            if (head[i] == NULL)
                head[i] = ring_peek(t.flows->ring[i], 1, NULL);
            if (head[i] != NULL && (first == NULL || head[i]->after < first->after)) {
                first = head[i];
                *ret_ring = i;
            }
        }
    }
    return first;
}

static void check(const struct record_header *h)
{
    FUZZ_CHECK(h->after == t.next++);
    FUZZ_CHECK(h->order >= t.order && h->time_ns >= t.time_ns);
    t.order = h->order;
    t.time_ns = h->time_ns;
    if (h->kind == RECORD_FLOW_ENDED) {
        const struct flow_record *const r = (const void *)h;
        FUZZ_CHECK(r->flow_id >> FLOW_ID_SHIFT < WORKERS && r->n_features > 0);
        t.ended++;
    }
}

static bool read_some(void)
{
    static struct record_header *head[WORKERS];
    const struct record_header *h;
    unsigned ring = 0;
    bool any = false;

    while ((h = first_of(head, &ring)) != NULL) {
        check(h);
        head[ring] = NULL;
        ring_release(t.flows->ring[ring], 1);
        any = true;
    }
    while ((h = ring_peek(t.alerts, 0, NULL)) != NULL) {
        t.told += h->kind == RECORD_ALERT;
        ring_release(t.alerts, 0);
        any = true;
    }
    return any;
}

static void *uplink(void *arg)
{
    (void)arg;
    for (;;) {
        const bool is_over = t.is_over;

        if (!read_some() && is_over)
            return NULL;
        rings_wait_data(t.flows, 1, 1);
    }
}

/* ---------------------------------------------------------------- the pipeline */

static void nothing(void *arg)
{
    (void)arg;
}

static void make_pipeline(struct sensor_conf *conf, int fd)
{
    struct analysis_conf an = {.detect = {.max = 64,
                                          .scan_targets = 15,
                                          .brute_attempts = 8,
                                          .beacon_events = 10,
                                          .beacon_max_ns = WIND_NS_PER_S,
                                          .anomaly_flows = 8},
                               .alerts = {.max_open = 16, .quiet_ns = 20 * WIND_NS_PER_S},
                               .hosts_max = 64,
                               .names = {.max = 16, .ttl_max_ns = 3600 * WIND_NS_PER_S},
                               .level = ANALYSIS_DETECTORS,
                               .features_fd = -1};
    struct crew_conf crew = {.sensor = conf,
                             .captures = &t.capture,
                             .n_captures = 1,
                             .level = ANALYSIS_DETECTORS,
                             .turn = nothing};

    FUZZ_CHECK(rings_new(&t.flows, WORKERS, 1 << 17, 2, NULL) == 0);
    FUZZ_CHECK(ring_new(&t.alerts, 1 << 18, 1, NULL) == 0);
    FUZZ_CHECK(counters_new(&t.counters, NULL) == 0);
    FUZZ_CHECK(capture_file_new(&t.capture, fd, "made", 0, NULL) == 0);
    an.flows = crew.flows = t.flows;
    an.alerts.ring = t.alerts;
    an.alerts.counters = crew.counters = t.counters;
    FUZZ_CHECK(crew_new(&t.crew, &crew, NULL) == 0);
    FUZZ_CHECK(analysis_thread_new(&t.thread, NULL) == 0);
    FUZZ_CHECK(crew_start_threads(t.crew, NULL) == 0);
    FUZZ_CHECK(analysis_new(&t.analysis, &an, NULL, NULL) == 0);
    FUZZ_CHECK(crew_begin(t.crew, NULL) == 0);
}

static uint64_t sum(enum counter first, enum counter last)
{
    uint64_t n = 0;

    for (enum counter c = first; c <= last; c++)
        n += counters_sum(t.counters, c);
    return n;
}

static void check_books(void)
{
    const uint64_t ended = sum(COUNTER_flow_ended_closed, COUNTER_flow_ended_crashed);

    FUZZ_CHECK(counters_sum(t.counters, COUNTER_capture_packets) == PACKETS);
    FUZZ_CHECK(sum(COUNTER_decoder_OK, COUNTER_decoder_lost) == PACKETS);
    FUZZ_CHECK(counters_sum(t.counters, COUNTER_flow_made) == ended && ended > 1000);
    FUZZ_CHECK(t.ended == ended && t.next == atomic_load(&t.counters->record_sequence));
    FUZZ_CHECK(t.told == counters_get(t.counters, COUNTER_alert_published));
    for (unsigned i = 0; i < WORKERS; i++)
        FUZZ_CHECK(counters_get(&t.counters[i], COUNTER_flow_made) > 100);
}

/* Returns the alerts and records that there were. */
static uint64_t replay(struct sensor_conf *conf, int fd)
{
    pthread_t reader;

    make_pipeline(conf, fd);
    FUZZ_CHECK(pthread_create(&reader, NULL, uplink, NULL) == 0);
    analysis_thread_start(t.thread, t.analysis, false);
    crew_run(t.crew);
    analysis_thread_join(t.thread);
    analysis_close(t.analysis);
    t.is_over = true;
    FUZZ_CHECK(pthread_join(reader, NULL) == 0);
    check_books();
    const uint64_t records = t.next + (t.told << 32);
    t.thread = analysis_thread_free(t.thread);
    t.crew = crew_free(t.crew);
    t.analysis = analysis_free(t.analysis);
    t.capture = capture_free(t.capture);
    t.flows = rings_free(t.flows);
    t.alerts = ring_free(t.alerts);
    t.counters = counters_free(t.counters);
    memset(&t, 0, sizeof(t));
    return records;
}

static struct bytes file;
static int pipe_in;

static void *write_pipe(void *arg)
{
    size_t done = 0;

    (void)arg;
    while (done < file.len) {
        const ssize_t n = write(pipe_in, file.data + done, file.len - done);
        FUZZ_CHECK(n > 0);
        done += (size_t)n;
    }
    (void)close(pipe_in);
    return NULL;
}

int main(void)
{
    static struct sensor_conf conf;
    const int fd = memfd_create("packets", MFD_CLOEXEC);
    int ends[2];
    pthread_t writer;

    FUZZ_CHECK(conf_defaults(sensor_keys, &conf, NULL) == 0);
    FUZZ_CHECK(conf_set(sensor_keys, &conf, "dpi.enabled", "no", NULL) == 0);
    FUZZ_CHECK(conf_set(sensor_keys, &conf, "flow.max", "2048", NULL) == 0);
    make_file(&file);
    FUZZ_CHECK(write(fd, file.data, file.len) == (ssize_t)file.len);
    const uint64_t of_file = replay(&conf, dup(fd));
    FUZZ_CHECK(replay(&conf, fd) == of_file);
    FUZZ_CHECK(pipe(ends) == 0);
    pipe_in = ends[1];
    FUZZ_CHECK(pthread_create(&writer, NULL, write_pipe, NULL) == 0);
    FUZZ_CHECK(replay(&conf, ends[0]) == of_file);
    FUZZ_CHECK(pthread_join(writer, NULL) == 0);
    bytes_done(&file);
    return 0;
}
