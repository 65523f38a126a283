/*
 * uplink_run.h - an uplink in a process of its own, fed by the test as if it were the analyser.
 */
#pragma once

#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "common/log.h"
#include "common/time.h"
#include "sensor/uplink.h"
#include "support/collector_stub.h"
#include "support/records.h"

/* Rings, counters and state as the supervisor makes them; the test is the analyser. */
static struct {
    char dir[64];
    struct uplink_conf conf;
    struct uplink_state *state;
    struct rings *rings;
    struct ring *flows, *alerts; /* flows: the first of the rings */
    struct counters *counters;
    struct collector_stub *collector;
    pid_t pid;
    uint64_t pushed; /* flow records */
} t;

#define RINGS 3

static inline void new_run(void)
{
    t.state = uplink_state_free(t.state);
    t.rings = rings_free(t.rings);
    t.alerts = ring_free(t.alerts);
    t.counters = counters_free(t.counters);
    t.pushed = 0;
    cr_assert_eq(uplink_state_new(&t.state, NULL), 0);
    cr_assert_eq(rings_new(&t.rings, RINGS, 1 << 18, 2, NULL), 0);
    t.flows = t.rings->ring[0];
    cr_assert_eq(ring_new(&t.alerts, 1 << 18, 1, NULL), 0);
    cr_assert_eq(counters_new(&t.counters, NULL), 0);
}

static inline void set_up(void)
{
    struct uplink_conf *c = &t.conf;

    (void)snprintf(t.dir, sizeof(t.dir), "/tmp/wind-uplink-XXXXXX");
    cr_assert(mkdtemp(t.dir) != NULL);
    *c = (struct uplink_conf){.source = {.sensor = "edge-1", .pcap = "x.pcap"},
                              .spool = {.max_bytes = 64 << 20, .fsync_ns = WIND_NS_PER_S},
                              .sink = {.sensor = "edge-1", .version = "0.1.0"},
                              .is_replay = true,
                              .stats_ns = 60 * WIND_NS_PER_S,
                              .heartbeat_ns = 10 * WIND_NS_PER_S,
                              .drain_ns = 60 * WIND_NS_PER_S};
    (void)snprintf(c->eve_path, sizeof(c->eve_path), "%s/eve.json", t.dir);
    (void)snprintf(c->spool.dir, sizeof(c->spool.dir), "%s/spool", t.dir);
    (void)snprintf(c->sink.key, sizeof(c->sink.key), "wind_1_secret");
    log_init(LOG_TEXT, LOG_LEVEL_ERROR);
    t.collector = collector_new();
    new_run();
}

static inline void tear_down(void)
{
    char command[128];

    t.collector = collector_free(t.collector);
    t.state = uplink_state_free(t.state);
    t.rings = rings_free(t.rings);
    t.alerts = ring_free(t.alerts);
    t.counters = counters_free(t.counters);
    (void)snprintf(command, sizeof(command), "rm -rf '%s'", t.dir);
    cr_assert_eq(system(command), 0);
}

static inline void start_uplink(void)
{
    t.pid = child_fork();
    if (t.pid == 0) {
        struct err e = {0};
        const int r = uplink_run(&t.conf, t.state, t.rings, t.alerts, t.counters, &e);

        if (r < 0)
            log_error("%s", e.text);
        _exit(r < 0 ? 2 : r);
    }
}

static inline int end_uplink(void)
{
    return child_end(t.pid);
}

static inline void kill_uplink(void)
{
    cr_assert_eq(kill(t.pid, SIGKILL), 0);
    const int status = end_uplink(); /* it may just have ended by itself */
    cr_assert(status == -SIGKILL || status == 0, "%d", status);
}

static inline void use_collector(void)
{
    collector_start(t.collector);
    (void)snprintf(t.conf.sink.url, sizeof(t.conf.sink.url), "%s", t.collector->url);
}

static inline void *reserve(struct ring *r, size_t len)
{
    void *slot;

    while ((slot = ring_reserve(r, len)) == NULL)
        ring_wait_room(r, 5);
    return slot;
}

/* As the analysis stage: everything that was produced goes on, in the order of header.order. */
static inline void analyse(void)
{
    struct record_header *head[RINGS] = {NULL};

    for (;;) {
        unsigned best = RINGS;
        for (unsigned i = 0; i < RINGS; i++) {
            if (head[i] == NULL)
                head[i] = ring_peek(t.rings->ring[i], 0, NULL);
            if (head[i] != NULL && (best == RINGS || head[i]->order < head[best]->order))
                best = i;
        }
        if (best == RINGS)
            return;
        head[best]->after = atomic_load(&t.counters->record_sequence);
        head[best] = NULL;
        ring_release(t.rings->ring[best], 0);
        atomic_fetch_add(&t.counters->record_sequence, 1);
    }
}

static inline void push_flow(uint32_t i, enum record_kind kind)
{
    struct flow_record f;

    struct ring *const ring = t.rings->ring[i * i % 7 % RINGS];

    record_flow(&f, i);
    f.header.kind = (uint16_t)kind;
    f.header.order = i;
    memcpy(reserve(ring, sizeof(f)), &f, sizeof(f));
    ring_commit(ring);
    t.pushed++;
}

static inline void push_alert(uint32_t i)
{
    struct alert_record a;

    record_alert(&a, i);
    a.header.after = t.pushed;
    memcpy(reserve(t.alerts, sizeof(a)), &a, sizeof(a));
    ring_commit(t.alerts);
}

static inline void push_all_done(void)
{
    atomic_store(&t.counters->clock_ns, RECORDS_START_NS);
    atomic_store(&t.counters->producer_done, 1);
}

#define EVERY 7 /* flows to an alert */

static void (*between)(uint32_t i);

static inline void push_run(uint32_t flows)
{
    for (uint32_t i = 0; i < flows; i++) {
        if (i % EVERY == 0)
            analyse(); /* an alert is told when its last record is in hand */
        push_flow(i, i % 3 == 0 ? RECORD_FLOW_UPDATE : RECORD_FLOW_ENDED);
        if (i % EVERY == 0)
            push_alert(i);
        if (i % 5 == 0)
            analyse();
        if (between != NULL)
            between(i);
    }
    analyse();
    push_all_done();
}

static inline char *read_file(const char *path, size_t *ret_len)
{
    FILE *f = fopen(path, "re");
    struct stat st;

    cr_assert(f != NULL);
    cr_assert_eq(fstat(fileno(f), &st), 0);
    char *text = malloc((size_t)st.st_size + 1);
    cr_assert_eq(fread(text, 1, (size_t)st.st_size, f), (size_t)st.st_size);
    text[st.st_size] = '\0';
    (void)fclose(f);
    *ret_len = (size_t)st.st_size;
    return text;
}

static inline char *read_eve(size_t *ret_len)
{
    return read_file(t.conf.eve_path, ret_len);
}

static inline uint64_t counted(enum counter c)
{
    return counters_get(t.counters, c);
}

/* Every alert of a run is at the collector, and what the counters say adds up. */
static inline void expect_delivered(uint32_t flows)
{
    const uint64_t alerts = (flows + EVERY - 1) / EVERY;

    cr_assert_eq(t.collector->n_seen, alerts);
    cr_assert_eq(counted(COUNTER_alert_delivered), alerts);
    cr_assert_eq(counted(COUNTER_alert_spooled), 0);
    cr_assert_eq(counted(COUNTER_alert_lost_spool), 0);
    cr_assert_eq(counted(COUNTER_uplink_bad_records), 0);
}

/* Whole lines of eve.json. */
static inline size_t count_lines(void)
{
    size_t len, n = 0;
    char *text = read_eve(&len);

    for (const char *c = text; *c != '\0'; c++)
        n += *c == '\n';
    free(text);
    return n;
}

static inline void wait_until_lines(size_t n)
{
    while (access(t.conf.eve_path, F_OK) != 0 || count_lines() < n) /* or the test's time ends */
        (void)usleep(10000);
    cr_assert_eq(count_lines(), n);
}
