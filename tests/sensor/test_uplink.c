/* What the uplink writes into eve.json, whatever is killed and when. */
#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/uio.h>

#include "support/uplink_run.h"

TestSuite(uplink, .init = set_up, .fini = tear_down, .timeout = 120);

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
        const int r = uplink_run(&t.conf, t.state, t.rings, t.alerts, t.counters, &e);
        _exit(r == -EFBIG && strstr(e.text, "eve.json': File too large") != NULL ? 3 : 4);
    }
    for (uint32_t i = 0; i < 100; i++)
        push_flow(i, RECORD_FLOW_ENDED);
    analyse();
    push_all_done();
    cr_assert_eq(end_uplink(), 3);
    cr_assert_eq(counted(COUNTER_uplink_write_errors), 1);
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

/* What the analyser numbered, in whatever ring, with gaps and twice: an analyser that died. */
static void push_numbered(unsigned ring, uint64_t after)
{
    struct ring *const r = t.rings->ring[ring];
    struct flow_record f;

    record_flow(&f, (uint32_t)after);
    f.header.after = after;
    memcpy(reserve(r, sizeof(f)), &f, sizeof(f));
    ring_commit(r);
}

static void release_all(void)
{
    for (unsigned i = 0; i < RINGS; i++) {
        while (ring_peek(t.rings->ring[i], 0, NULL) != NULL)
            ;
        ring_release(t.rings->ring[i], 0);
    }
}

Test(uplink, numbers_that_are_missing_or_come_twice_hold_up_nothing)
{
    static const uint32_t want[] = {1, 4, 4, 8, 31, 41, 1001};
    size_t len, n = 0;
    char *rest;

    t.conf.is_replay = false;
    push_numbered(2, 0);
    push_numbered(0, 3);
    push_numbered(1, 3);
    push_numbered(1, 30);
    push_numbered(0, 7);
    push_numbered(2, 40);
    release_all();
    atomic_store(&t.counters->record_sequence, 41);
    start_uplink();
    wait_until_lines(6);
    struct alert_record a;
    record_alert(&a, 1000);
    a.header.after = UINT64_MAX; /* can't come */
    memcpy(reserve(t.alerts, sizeof(a)), &a, sizeof(a));
    ring_commit(t.alerts);
    wait_until_lines(7);
    char *const text = read_eve(&len);
    for (char *at = strtok_r(text, "\n", &rest); at != NULL; at = strtok_r(NULL, "\n", &rest)) {
        json_t *line = json_loads(at, 0, NULL);
        cr_assert_eq(json_integer_value(json_object_get(line, "flow_id")), want[n++]);
        json_decref(line);
    }
    free(text);
    push_all_done();
    cr_assert_eq(end_uplink(), 0);
}

/* An alert waits for the flow that tipped it, which the analysis has still in hand. */
Test(uplink, an_alert_waits_for_the_record_in_hand)
{
    t.conf.is_replay = false;
    start_uplink();
    push_flow(0, RECORD_FLOW_ENDED);
    push_alert(0); /* after 1, and 0 are released */
    (void)usleep(300000);
    cr_assert_eq(count_lines(), 0);
    analyse();
    wait_until_lines(2);
    push_all_done();
    cr_assert_eq(end_uplink(), 0);
}
