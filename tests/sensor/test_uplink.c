#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/uio.h>

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
    struct ring *flows, *alerts;
    struct counters *counters;
    struct collector_stub *collector;
    pid_t pid;
} t;

static void new_run(void)
{
    t.state = uplink_state_free(t.state);
    t.flows = ring_free(t.flows);
    t.alerts = ring_free(t.alerts);
    t.counters = counters_free(t.counters);
    cr_assert_eq(uplink_state_new(&t.state, NULL), 0);
    cr_assert_eq(ring_new(&t.flows, 1 << 18, 2, NULL), 0);
    cr_assert_eq(ring_new(&t.alerts, 1 << 18, 1, NULL), 0);
    cr_assert_eq(counters_new(&t.counters, NULL), 0);
}

static void set_up(void)
{
    struct uplink_conf *c = &t.conf;

    (void)snprintf(t.dir, sizeof(t.dir), "/tmp/wind-uplink-XXXXXX");
    cr_assert(mkdtemp(t.dir) != NULL);
    *c = (struct uplink_conf){.source = {.sensor = "edge-1", .pcap = "x.pcap"},
                              .spool = {.max_bytes = 64 << 20, .fsync_ns = WIND_NS_PER_S},
                              .version = "0.1.0",
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

static void tear_down(void)
{
    char command[128];

    t.collector = collector_free(t.collector);
    t.state = uplink_state_free(t.state);
    t.flows = ring_free(t.flows);
    t.alerts = ring_free(t.alerts);
    t.counters = counters_free(t.counters);
    (void)snprintf(command, sizeof(command), "rm -rf '%s'", t.dir);
    cr_assert_eq(system(command), 0);
}
TestSuite(uplink, .init = set_up, .fini = tear_down, .timeout = 120);

static void start_uplink(void)
{
    t.pid = child_fork();
    if (t.pid == 0) {
        struct err e = {0};
        const int r = uplink_run(&t.conf, t.state, t.flows, t.alerts, t.counters, &e);

        if (r < 0)
            log_error("%s", e.text);
        _exit(r < 0 ? 2 : r);
    }
}

static int end_uplink(void)
{
    return child_end(t.pid);
}

static void kill_uplink(void)
{
    cr_assert_eq(kill(t.pid, SIGKILL), 0);
    const int status = end_uplink(); /* it may just have ended by itself */
    cr_assert(status == -SIGKILL || status == 0, "%d", status);
}

static void use_collector(void)
{
    collector_start(t.collector);
    (void)snprintf(t.conf.sink.url, sizeof(t.conf.sink.url), "%s", t.collector->url);
}

static void *reserve(struct ring *r, size_t len)
{
    void *slot;

    while ((slot = ring_reserve(r, len)) == NULL)
        ring_wait_room(r, 5);
    return slot;
}

/* As the analysis stage: everything that was produced goes on. */
static void analyse(void)
{
    while (ring_peek(t.flows, 0, NULL) != NULL)
        ;
    ring_release(t.flows, 0);
}

static void push_flow(uint32_t i, enum record_kind kind)
{
    struct flow_record f;

    record_flow(&f, i);
    f.header.kind = (uint16_t)kind;
    memcpy(reserve(t.flows, sizeof(f)), &f, sizeof(f));
    ring_commit(t.flows);
}

static void push_alert(uint32_t i)
{
    struct alert_record a;

    record_alert(&a, i);
    a.header.after = ring_produced(t.flows);
    memcpy(reserve(t.alerts, sizeof(a)), &a, sizeof(a));
    ring_commit(t.alerts);
}

static void push_all_done(void)
{
    atomic_store(&t.counters->clock_ns, RECORDS_START_NS);
    atomic_store(&t.counters->producer_done, 1);
}

#define EVERY 7 /* flows to an alert */

static void (*between)(uint32_t i);

static void push_run(uint32_t flows)
{
    for (uint32_t i = 0; i < flows; i++) {
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

static char *read_file(const char *path, size_t *ret_len)
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

static char *read_eve(size_t *ret_len)
{
    return read_file(t.conf.eve_path, ret_len);
}

static uint64_t counted(enum counter c)
{
    return counters_get(t.counters, c);
}

/* Every alert of a run is at the collector, and what the counters say adds up. */
static void expect_delivered(uint32_t flows)
{
    const uint64_t alerts = (flows + EVERY - 1) / EVERY;

    cr_assert_eq(t.collector->n_seen, alerts);
    cr_assert_eq(counted(COUNTER_alert_delivered), alerts);
    cr_assert_eq(counted(COUNTER_alert_spooled), 0);
    cr_assert_eq(counted(COUNTER_alert_lost_spool), 0);
    cr_assert_eq(counted(COUNTER_uplink_bad_records), 0);
}

/* ---------------------------------------------------------------- eve.json */

Test(uplink, lines_come_in_the_order_of_the_flow_ring_and_stats_last)
{
    size_t len;
    uint32_t flow = 0, alert = 0;
    char *at, *rest;

    start_uplink();
    push_run(1000);
    cr_assert_eq(end_uplink(), 0);

    char *text = read_eve(&len);
    for (at = strtok_r(text, "\n", &rest); at != NULL; at = strtok_r(NULL, "\n", &rest)) {
        json_t *line = json_loads(at, 0, NULL);
        const char *type = json_string_value(json_object_get(line, "event_type"));
        const uint32_t id = (uint32_t)json_integer_value(json_object_get(line, "flow_id"));

        if (strcmp(type, "flow") == 0) {
            flow += flow % 3 == 0;
            cr_assert_eq(id, ++flow);
        } else if (strcmp(type, "alert") == 0) { /* behind its flow, before the next one */
            cr_assert_eq(id, alert + 1);
            cr_assert(flow == alert + 1 || flow == alert);
            alert += EVERY;
        } else {
            cr_assert_str_eq(type, "stats");
            cr_assert_eq(strlen(rest), 0);
        }
        json_decref(line);
    }
    free(text);
    cr_assert_geq(flow, 999);
    cr_assert_eq(alert, 1001);
    cr_assert_eq(counted(COUNTER_alert_logged), 143);
    cr_assert_eq(counted(COUNTER_uplink_lines), 1000 - 334 + 143 + 1);
}

static unsigned kills;

static void sometimes_kill(uint32_t i)
{
    if (i % 97 != 0)
        return;
    (void)usleep((useconds_t)(rand() % 3000));
    kill_uplink();
    kills++;
    start_uplink();
}

/* The heart of it: the same bytes, whatever is killed when; and each alert once in the store. */
Test(uplink, kills_at_any_moment_change_no_byte_and_lose_no_alert)
{
    enum { FLOWS = 6000 };
    size_t want_len, got_len;

    use_collector();
    start_uplink();
    push_run(FLOWS);
    cr_assert_eq(end_uplink(), 0);
    expect_delivered(FLOWS);
    char *want = read_eve(&want_len);
    t.collector->n_seen = 0;

    new_run();
    srand(1);
    between = sometimes_kill;
    start_uplink();
    push_run(FLOWS);
    for (int i = 0; i < 20; i++) { /* and while it drains and finishes */
        (void)usleep((useconds_t)(rand() % 4000));
        kill_uplink();
        start_uplink();
    }
    cr_assert_eq(end_uplink(), 0);
    between = NULL;

    char *got = read_eve(&got_len);
    cr_assert_gt(kills, 50);
    cr_assert_eq(got_len, want_len);
    cr_assert_eq(memcmp(got, want, want_len), 0);
    expect_delivered(FLOWS);
    free(want);
    free(got);
}

/*
 * Every call by which the uplink changes something that outlives it (wrapped by the linker) is a
 * moment to die at: before call n when n is odd, after it when n is even.
 */
static unsigned die_at, calls;

static void maybe_die(bool is_after)
{
    if (die_at > 0 && die_at - 1 == 2 * calls + is_after)
        (void)raise(SIGKILL);
    calls += is_after;
}

#define WRAP(type, name, params, args)                                                             \
    type __real_##name params;                                                                     \
    type __wrap_##name params;                                                                     \
    type __wrap_##name params                                                                      \
    {                                                                                              \
        maybe_die(false);                                                                          \
        const type r_ = __real_##name args;                                                        \
        maybe_die(true);                                                                           \
        return r_;                                                                                 \
    }
WRAP(ssize_t, pwrite, (int fd, const void *p, size_t n, off_t at), (fd, p, n, at))
WRAP(ssize_t, pwritev, (int fd, const struct iovec *v, int n, off_t at), (fd, v, n, at))
WRAP(int, renameat, (int a, const char *from, int b, const char *to), (a, from, b, to))
WRAP(int, unlinkat, (int dir, const char *name, int flags), (dir, name, flags))
WRAP(int, ftruncate, (int fd, off_t size), (fd, size))

void __real_ring_release(struct ring *r, unsigned stage);
void __wrap_ring_release(struct ring *r, unsigned stage);
void __wrap_ring_release(struct ring *r, unsigned stage)
{
    maybe_die(false);
    __real_ring_release(r, stage);
    maybe_die(true);
}

Test(uplink, a_kill_before_or_after_any_write_changes_no_byte_and_loses_no_alert)
{
    size_t want_len = 0, got_len;
    char *want = NULL;
    int status = -SIGKILL;
    unsigned n;

    use_collector();
    for (n = 0; status != 0 || n < 2; n++) {
        new_run();
        die_at = 0;
        push_run(50);
        die_at = n; /* the first run is the undisturbed one */
        calls = 0;
        start_uplink();
        status = end_uplink();
        cr_assert(status == 0 || status == -SIGKILL, "%d", status);
        die_at = 0;
        if (status != 0) {
            start_uplink();
            cr_assert_eq(end_uplink(), 0);
        }
        char *got = read_eve(&got_len);
        if (n == 0) {
            want = got;
            want_len = got_len;
            t.collector->n_seen = 0;
            continue;
        }
        cr_assert(got_len == want_len && memcmp(got, want, want_len) == 0, "kill %u", n);
        expect_delivered(50);
        t.collector->n_seen = 0;
        free(got);
    }
    free(want);
    cr_assert_gt(n, 30, "%u", n); /* there were that many moments */
}

Test(uplink, a_full_disk_ends_a_replay_with_a_sentence)
{
    const struct rlimit limit = {20000, 20000};
    struct rlimit before;

    (void)signal(SIGXFSZ, SIG_IGN);
    cr_assert_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
    t.pid = child_fork();
    if (t.pid == 0) {
        struct err e = {0};

        if (setrlimit(RLIMIT_FSIZE, &limit) != 0)
            _exit(9);
        const int r = uplink_run(&t.conf, t.state, t.flows, t.alerts, t.counters, &e);
        _exit(r == -EFBIG && strstr(e.text, "eve.json': File too large") != NULL ? 3 : 4);
    }
    for (uint32_t i = 0; i < 100; i++)
        push_flow(i, RECORD_FLOW_ENDED);
    analyse();
    push_all_done();
    cr_assert_eq(end_uplink(), 3);
    cr_assert_eq(counted(COUNTER_uplink_write_errors), 1);
}

/* Whole lines. */
static size_t count_lines(void)
{
    size_t len, n = 0;
    char *text = read_eve(&len);

    for (const char *c = text; *c != '\0'; c++)
        n += *c == '\n';
    free(text);
    return n;
}

Test(uplink, live_appends_behind_the_last_whole_line)
{
    FILE *f = fopen(t.conf.eve_path, "we");

    cr_assert_eq(fputs("{\"event_type\":\"flow\"}\n{\"torn", f) >= 0, 1);
    (void)fclose(f);
    t.conf.is_replay = false;
    start_uplink();
    push_flow(0, RECORD_FLOW_ENDED);
    analyse();
    push_all_done();
    cr_assert_eq(end_uplink(), 0);
    cr_assert_eq(count_lines(), 3);
}

Test(uplink, a_replay_replaces_what_an_earlier_one_left)
{
    FILE *f = fopen(t.conf.eve_path, "we");

    for (int i = 0; i < 1000; i++)
        cr_assert_geq(fputs("{\"event_type\":\"flow\"}\n", f), 0);
    (void)fclose(f);
    start_uplink();
    push_run(3);
    cr_assert_eq(end_uplink(), 0);
    cr_assert_eq(count_lines(), 2 + 1 + 1);
}

static void wait_until_lines(size_t n)
{
    while (access(t.conf.eve_path, F_OK) != 0 || count_lines() < n) /* or the test's time ends */
        (void)usleep(10000);
    cr_assert_eq(count_lines(), n);
}

Test(uplink, a_moved_log_is_opened_anew_when_asked)
{
    char moved[128];

    (void)snprintf(moved, sizeof(moved), "%s/eve.json.1", t.dir);
    t.conf.is_replay = false;
    start_uplink();
    push_flow(0, RECORD_FLOW_ENDED);
    analyse();
    wait_until_lines(1);
    cr_assert_eq(rename(t.conf.eve_path, moved), 0);
    atomic_fetch_add(&t.state->reopen, 1);
    wait_until_lines(0);
    push_flow(1, RECORD_FLOW_ENDED);
    analyse();
    wait_until_lines(1);
    push_all_done();
    cr_assert_eq(end_uplink(), 0);
    cr_assert_eq(count_lines(), 2); /* the flow, and the last stats */
}

Test(uplink, every_kind_of_line_fits_the_published_schema)
{
    char command[2048];
    struct anomaly_record a;

    record_anomaly(&a, 0);
    memcpy(reserve(t.alerts, sizeof(a)), &a, sizeof(a));
    ring_commit(t.alerts);
    start_uplink();
    push_run(100);
    cr_assert_eq(end_uplink(), 0);
    cr_assert_eq(count_lines(), 1 + 66 + 15 + 1);
    (void)snprintf(command, sizeof(command), "python3 '%s/tests/golden/check_eve.py' '%s'",
                   WIND_SOURCE_DIR, t.conf.eve_path);
    cr_assert_eq(system(command), 0);
}

/* ---------------------------------------------------------------- the collector */

Test(uplink, an_answer_that_got_lost_stores_no_alert_twice_and_counts_it_once)
{
    use_collector();
    t.collector->mood = COLLECTOR_LOSES_ANSWER;
    start_uplink();
    push_run(100);
    cr_assert_eq(end_uplink(), 0);
    expect_delivered(100);
    cr_assert_gt(counted(COUNTER_uplink_failures), 0);
}

Test(uplink, a_busy_collector_is_asked_again_when_it_said)
{
    use_collector();
    t.collector->status = 503; /* Retry-After: 1 */
    t.collector->left_bad = 2;
    const uint64_t from = time_mono_ns();
    start_uplink();
    push_run(100);
    cr_assert_eq(end_uplink(), 0);
    expect_delivered(100);
    cr_assert_gt(time_mono_ns() - from, 2 * WIND_NS_PER_S - WIND_NS_PER_MS);
    cr_assert_eq(counted(COUNTER_uplink_failures), 2);
}

Test(uplink, batches_that_are_too_large_are_halved)
{
    use_collector();
    t.collector->max_alerts = 10;
    start_uplink();
    push_run(3000);
    cr_assert_eq(end_uplink(), 0);
    expect_delivered(3000);
    cr_assert_leq(t.collector->largest, SENDER_BATCH_ALERTS);
}

Test(uplink, what_is_rejected_for_good_is_counted_and_dropped)
{
    use_collector();
    (void)snprintf(t.collector->reject, sizeof(t.collector->reject), "(14)");
    start_uplink();
    push_run(100);
    cr_assert_eq(end_uplink(), 0);
    cr_assert_eq(t.collector->n_seen, 14);
    cr_assert_eq(counted(COUNTER_alert_rejected), 1);
    cr_assert_eq(counted(COUNTER_alert_delivered), 14);
    cr_assert_eq(counted(COUNTER_alert_spooled), 0);
}

Test(uplink, a_wrong_key_keeps_the_alerts_and_the_next_run_sends_them_first)
{
    use_collector();
    (void)snprintf(t.conf.sink.key, sizeof(t.conf.sink.key), "wind_1_wrong");
    const uint64_t from = time_mono_ns();
    start_uplink();
    push_run(100);
    cr_assert_eq(end_uplink(), UPLINK_UNDELIVERED);
    cr_assert_lt(time_mono_ns() - from, t.conf.drain_ns); /* no use in waiting */
    cr_assert_eq(counted(COUNTER_alert_spooled), 15);
    cr_assert_eq(counted(COUNTER_alert_delivered), 0);
    cr_assert_eq(t.collector->n_seen, 0);

    (void)snprintf(t.conf.sink.key, sizeof(t.conf.sink.key), "wind_1_secret");
    new_run();
    start_uplink();
    push_all_done();
    cr_assert_eq(end_uplink(), 0);
    cr_assert_eq(t.collector->n_seen, 15);
    cr_assert_eq(counted(COUNTER_alert_delivered), 0); /* none of this run's */
    cr_assert_eq(t.collector->heartbeats > 0, 1);
}

Test(uplink, an_answer_that_is_no_collectors_confirms_nothing)
{
    use_collector();
    t.collector->mood = COLLECTOR_ODD;
    start_uplink();
    push_run(100);
    cr_assert_eq(end_uplink(), UPLINK_UNDELIVERED);
    cr_assert_eq(counted(COUNTER_alert_spooled), 15);
}

Test(uplink, a_certificate_is_believed_only_from_the_authority_that_is_set)
{
    char command[512], path[1024];
    size_t len;

    (void)snprintf(command, sizeof(command),
                   "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 "
                   "-subj /CN=test -addext subjectAltName=IP:127.0.0.1 -keyout '%s/key.pem' "
                   "-out '%s/cert.pem' 2>/dev/null",
                   t.dir, t.dir);
    cr_assert_eq(system(command), 0);
    (void)snprintf(path, sizeof(path), "%s/key.pem", t.dir);
    char *key = read_file(path, &len);
    (void)snprintf(path, sizeof(path), "%s/cert.pem", t.dir);
    char *cert = read_file(path, &len);
    t.collector->tls_key = key;
    t.collector->tls_cert = cert;
    use_collector();

    t.conf.drain_ns = WIND_NS_PER_S;
    start_uplink();
    push_run(100);
    cr_assert_eq(end_uplink(), UPLINK_UNDELIVERED);
    cr_assert_eq(t.collector->posts, 0); /* nobody saw the key */

    (void)snprintf(t.conf.sink.ca_file, sizeof(t.conf.sink.ca_file), "%s", path);
    t.conf.drain_ns = 60 * WIND_NS_PER_S;
    new_run();
    start_uplink();
    push_all_done();
    cr_assert_eq(end_uplink(), 0);
    cr_assert_eq(t.collector->n_seen, 15);
    collector_stop(t.collector);
    free(key);
    free(cert);
}

/* Far more than the rings hold: if the writer waited for the answer, nothing would come through. */
Test(uplink, a_collector_that_does_not_answer_holds_up_no_line)
{
    use_collector();
    t.collector->mood = COLLECTOR_SILENT;
    start_uplink();
    for (uint32_t i = 0; i < 5000; i++) {
        push_flow(i, RECORD_FLOW_ENDED);
        if (i % EVERY == 0)
            push_alert(i);
        analyse();
    }
    wait_until_lines(5000 + (5000 + EVERY - 1) / EVERY);
    while (t.collector->posts == 0) /* or the test's time ends */
        (void)usleep(10000);
    cr_assert_eq(t.collector->n_seen, 0);
    t.collector->mood = COLLECTOR_FINE;
    push_all_done();
    cr_assert_eq(end_uplink(), 0);
    expect_delivered(5000);
}

Test(uplink, a_collector_that_comes_back_gets_everything)
{
    use_collector();
    collector_stop(t.collector);
    start_uplink();
    push_run(1000);
    (void)usleep(500000);
    collector_start(t.collector);
    cr_assert_eq(end_uplink(), 0);
    expect_delivered(1000);
}

Test(uplink, what_the_spools_limit_drops_is_counted_as_lost)
{
    use_collector();
    collector_stop(t.collector);
    t.conf.spool.max_bytes = 200000;
    t.conf.drain_ns = WIND_NS_PER_S / 2;
    start_uplink();
    push_run(7000);
    cr_assert_eq(end_uplink(), UPLINK_UNDELIVERED);
    cr_assert_gt(counted(COUNTER_alert_lost_spool), 0);
    cr_assert_eq(counted(COUNTER_alert_lost_spool) + counted(COUNTER_alert_spooled), 1000);
    cr_assert_leq(counted(COUNTER_spool_bytes), 200000);
}

/* ---------------------------------------------------------------- settings */

static const char *why_not(const char *url, const char *key, bool insecure)
{
    static struct err e;
    struct sink_conf conf = {.insecure = insecure};

    e = (struct err){0};
    (void)snprintf(conf.url, sizeof(conf.url), "%s", url);
    (void)snprintf(conf.key, sizeof(conf.key), "%s", key);
    cr_assert_eq(sink_conf_check(&conf, &e), e.code);
    return e.text;
}

Test(uplink, a_key_never_goes_out_in_the_clear_by_accident)
{
    cr_assert_str_eq(why_not("http://127.0.0.1:8080", "wind_1_x", false), "");
    cr_assert_str_eq(why_not("http://[::1]:8080", "wind_1_x", false), "");
    cr_assert_str_eq(why_not("http://localhost", "wind_1_x", false), "");
    cr_assert_str_eq(why_not("https://siem.example:8443/", "wind_1_x", false), "");
    cr_assert_str_eq(why_not("http://siem.example:8080", "wind_1_x", true), "");
    cr_assert(strstr(why_not("http://siem.example:8080", "wind_1_x", false), "uplink.insecure"));
    cr_assert(strstr(why_not("http://127.0.0.1.evil.example", "wind_1_x", false), "plain http"));
    cr_assert(strstr(why_not("ftp://127.0.0.1", "wind_1_x", false), "neither https nor http"));
    cr_assert(strstr(why_not("https://me:pw@siem.example", "wind_1_x", false), "no user"));
    cr_assert(strstr(why_not("https://siem.example/x", "wind_1_x", false), "only scheme"));
    cr_assert(strstr(why_not("https://", "wind_1_x", false), "not a URL"));
    cr_assert(strstr(why_not("https://siem.example", "", false), "uplink.key_file"));
    cr_assert(strstr(why_not("https://siem.example", "wind_1_x\r\nA: b", false), "letters"));
}
