#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/time.h"
#include "sensor/alert.h"
#include "support/oom.h"
#include "support/views.h"

#define S         WIND_NS_PER_S
#define QUIET     (600 * S)
#define DETECTORS 2

/* A detector whose words are what the test says. */
static struct {
    bool is_gone;
    uint64_t count;
    enum severity severity;
    unsigned calls;
} words;

static bool describe(void *state, const struct alert_cause *cause, struct alert_record *a)
{
    cr_assert_eq(state, &words);
    cr_assert_eq(a->n_entities + a->n_reasons, 0); /* filled afresh each time */
    words.calls++;
    if (words.is_gone)
        return false;
    a->severity = (uint8_t)words.severity;
    a->score = 0.9F;
    if (words.count > 0)
        a->count = words.count;
    (void)snprintf(a->signature, sizeof(a->signature), "call %u", words.calls);
    alert_entity(a, "attacker", cause->src);
    (void)alert_reason(a, "tries", "count", 5, 0.5);
    return true;
}

static const struct alert_kind kinds[DETECTORS] = {
    {"first", 9000001, "Category", "T1046", "Discovery of things", "Discovery", describe, &words},
    {"second", 9000002, "Category", "", "", "", describe, &words}};

static struct {
    struct alerts *alerts;
    struct ring *ring;
    uint64_t after;
    struct counters *counters;
    struct alerts_conf conf;
} t;

static void tear_down(void)
{
    t.alerts = alerts_free(t.alerts);
    t.ring = ring_free(t.ring);
    t.counters = counters_free(t.counters);
}

static void start(bool live, size_t max_open)
{
    tear_down();
    memset(&words, 0, sizeof(words));
    words.severity = SEVERITY_HIGH;
    cr_assert_eq(ring_new(&t.ring, 1 << 20, 1, NULL), 0);
    cr_assert_eq(counters_new(&t.counters, NULL), 0);
    t.conf = (struct alerts_conf){.ring = t.ring,
                                  .after = &t.after,
                                  .counters = t.counters,
                                  .max_open = max_open,
                                  .quiet_ns = QUIET,
                                  .level = ANALYSIS_FULL,
                                  .live = live,
                                  .seed = {1, 2, 3}};
    cr_assert_eq(alerts_new(&t.alerts, &t.conf, kinds, DETECTORS, NULL), 0);
}

static void set_up(void)
{
    start(false, 16);
}
TestSuite(alert, .init = set_up, .fini = tear_down);

static struct alert_cause cause_of(unsigned host)
{
    struct alert_cause c = {.detector = 0};

    view_address(host, c.src);
    return c;
}

static struct flow_record record_at(uint64_t after_ns, uint64_t id)
{
    return (struct flow_record){.header = {.time_ns = VIEW_T0 + after_ns},
                                .key = view_key(IPPROTO_TCP, 1, (unsigned)id, 2, 22),
                                .flow_id = id,
                                .start_ns = VIEW_T0 + after_ns - 1000,
                                .end_ns = VIEW_T0 + after_ns,
                                .app = "ssh"};
}

static const struct alert_record *note(unsigned host, uint64_t after_ns, uint64_t flow_id)
{
    const struct alert_cause c = cause_of(host);
    const struct flow_record r = record_at(after_ns, flow_id);

    return alerts_note(t.alerts, &c, &r);
}

static void check_books(void)
{
    const struct counters *c = t.counters;

    cr_assert_eq(counters_get(c, COUNTER_alert_raised),
                 counters_get(c, COUNTER_alert_suppressed) +
                     counters_get(c, COUNTER_alert_published) +
                     counters_get(c, COUNTER_alert_lost_ring));
}

/* The next alert told, or NULL. */
static const struct alert_record *next(void)
{
    const struct alert_record *a = ring_peek(t.ring, 0, NULL);

    check_books();
    ring_release(t.ring, 0);
    return a;
}

static size_t drain(void)
{
    size_t n = 0;

    while (next() != NULL)
        n++;
    return n;
}

/* ---------------------------------------------------------------- what is told */

Test(alert, the_first_evidence_opens_it_and_is_told_whole)
{
    const struct alert_record *open = note(1, S, 7), *a = next();

    cr_assert(a != NULL && next() == NULL);
    cr_assert(a->rev == 1 && a->count == 1 && a->flow_id == 7 && a->severity == SEVERITY_HIGH);
    cr_assert(a->header.kind == RECORD_ALERT && a->header.time_ns == VIEW_T0 + S);
    cr_assert(a->first_ns == VIEW_T0 + S - 1000 && a->last_ns == VIEW_T0 + S);
    cr_assert(a->n_entities == 1 && a->n_reasons == 1 && a->n_evidence == 1 && a->p_value < 0);
    cr_assert_str_eq(a->detector, "first");
    cr_assert_str_eq(a->technique_id, "T1046");
    cr_assert_str_eq(a->entity[0].value, "10.0.0.1");
    cr_assert_str_eq(a->entity[0].kind, "host");
    cr_assert_str_eq(a->app, "ssh");
    cr_assert_eq(a->signature_id, 9000001);
    cr_assert_eq(memcmp(a->uid, open->uid, 16), 0);
    cr_assert_eq(a->uid[6] >> 4, 7); /* UUIDv7 */
}

Test(alert, sixty_five_thousand_findings_are_seventeen_revisions)
{
    for (uint64_t i = 0; i < 65536; i++)
        (void)note(1, S + i * 1000, i + 1); /* within 66 ms */
    for (uint64_t rev = 1; rev <= 17; rev++) {
        const struct alert_record *a = next();
        cr_assert(a != NULL && a->rev == rev && a->count == UINT64_C(1) << (rev - 1));
    }
    cr_assert(next() == NULL);
    cr_assert_eq(counters_get(t.counters, COUNTER_alert_suppressed), 65536 - 17);
    cr_assert_eq(words.calls, 17);
    alerts_close(t.alerts);
    cr_assert_eq(drain(), 0); /* all was told by then */
}

Test(alert, what_lasts_is_told_once_a_minute)
{
    for (unsigned i = 0; i < 40; i++)
        (void)note(1, S + i, i + 1);
    const size_t before = drain();
    cr_assert_eq(before, 6); /* 1 2 4 8 16 32 */
    (void)note(1, 61 * S - 1, 50);
    cr_assert_eq(drain(), 0);
    (void)note(1, 61 * S + 31, 51);
    const struct alert_record *a = next();
    cr_assert(a != NULL && a->rev == 7 && a->count == 42);
    (void)note(1, 100 * S, 52);
    cr_assert_eq(drain(), 0);
}

Test(alert, what_is_quiet_is_closed_and_tells_what_was_not_told)
{
    for (unsigned i = 0; i < 5; i++)
        (void)note(1, S, i + 1);
    cr_assert_eq(drain(), 3); /* 1 2 4 */
    alerts_tick(t.alerts, VIEW_T0 + S + QUIET - 1);
    cr_assert_eq(drain(), 0);
    cr_assert_eq(counters_get(t.counters, COUNTER_alert_open), 1);
    alerts_tick(t.alerts, VIEW_T0 + S + QUIET + S);
    const struct alert_record *a = next();
    cr_assert(a != NULL && a->rev == 4 && a->count == 5);
    cr_assert_eq(counters_get(t.counters, COUNTER_alert_open), 0);
    const struct alert_cause c = cause_of(1);
    cr_assert(alerts_open(t.alerts, &c) == NULL);
}

Test(alert, after_it_closed_the_same_cause_is_another_alert)
{
    uint8_t first[16];

    memcpy(first, note(1, S, 1)->uid, 16);
    alerts_tick(t.alerts, VIEW_T0 + 2 * QUIET);
    const struct alert_record *again = note(1, 3 * QUIET, 2);
    cr_assert(again->rev == 1 && again->count == 1 && memcmp(first, again->uid, 16) != 0);
}

Test(alert, the_clock_is_looked_at_once_a_second)
{
    cr_assert(alerts_is_due(t.alerts, VIEW_T0));
    alerts_tick(t.alerts, VIEW_T0);
    cr_assert_not(alerts_is_due(t.alerts, VIEW_T0 + S - 1));
    cr_assert(alerts_is_due(t.alerts, VIEW_T0 + S));
}

Test(alert, causes_are_folded_apart)
{
    struct alert_cause c = cause_of(1);
    const struct flow_record r = record_at(S, 1);

    (void)alerts_note(t.alerts, &c, &r);
    c.dport = 22;
    (void)alerts_note(t.alerts, &c, &r);
    c.detector = 1;
    (void)alerts_note(t.alerts, &c, &r);
    (void)note(2, S, 1);
    cr_assert_eq(drain(), 4);
}

Test(alert, severity_never_sinks)
{
    (void)note(1, S, 1);
    words.severity = SEVERITY_LOW;
    cr_assert_eq(note(1, S, 2)->severity, SEVERITY_HIGH);
    words.severity = SEVERITY_CRITICAL;
    (void)note(1, S, 3);
    cr_assert_eq(note(1, S, 4)->severity, SEVERITY_CRITICAL);
}

Test(alert, a_detector_that_has_forgotten_leaves_the_last_words)
{
    (void)note(1, S, 1);
    words.is_gone = true;
    const struct alert_record *a = note(1, S, 2);
    cr_assert(a->rev == 2 && a->count == 2 && a->n_entities == 1 && a->n_reasons == 1);
    cr_assert_str_eq(a->signature, "call 1");
}

Test(alert, evidence_from_before_it_opened_counts)
{
    words.count = 15; /* the detector had seen 14 when this one tipped it */
    cr_assert_eq(note(1, S, 15)->count, 15);
    words.count = 0;
    for (unsigned i = 16; i < 30; i++)
        (void)note(1, S, i);
    cr_assert_eq(drain(), 1);
    (void)note(1, S, 30);
    cr_assert_eq(next()->count, 30);
}

Test(alert, the_newest_evidence_comes_first_and_a_flow_once)
{
    for (unsigned i = 1; i <= 20; i++) {
        (void)note(1, S + i, i);
        (void)note(1, S + i, i);
    }
    const struct alert_record *a = note(1, S + 30, 21);
    cr_assert(a->n_evidence == ALERT_EVIDENCE_MAX && a->evidence[0].sport == 21);
    for (unsigned i = 1; i < ALERT_EVIDENCE_MAX; i++)
        cr_assert_eq(a->evidence[i].sport, 21 - i);
    cr_assert(a->flow_id == 21 && a->key.sport == 21);
}

/* ---------------------------------------------------------------- limits */

Test(alert, a_full_table_closes_the_least_recent_early)
{
    for (unsigned i = 0; i < 16; i++)
        for (unsigned n = 0; n < 3; n++)
            (void)note(i, S, 1);
    cr_assert_eq(drain(), 32);
    (void)note(0, S, 1); /* the most recent now; 1 is the least */
    (void)note(99, S, 1);
    const struct alert_cause pushed_out = cause_of(1), kept = cause_of(0);
    cr_assert(alerts_open(t.alerts, &pushed_out) == NULL && alerts_open(t.alerts, &kept) != NULL);
    const struct alert_record *a = next();
    cr_assert(a != NULL && a->count == 4); /* of host 0 */
    a = next();
    cr_assert(a->rev == 3 && a->count == 3); /* its farewell: the third was untold */
    cr_assert_str_eq(a->entity[0].value, "10.0.0.1");
    cr_assert_eq(drain(), 1);
    cr_assert_eq(counters_get(t.counters, COUNTER_alert_evicted), 1);
    cr_assert_eq(counters_get(t.counters, COUNTER_alert_open), 16);
}

Test(alert, live_a_full_ring_loses_counts_and_tells_later)
{
    start(true, 4096);
    unsigned host = 0;

    while (counters_get(t.counters, COUNTER_alert_lost_ring) == 0)
        (void)note(host++, S, 1);
    const size_t told = drain();
    cr_assert_eq(told, host - 1);
    (void)note(host - 1, S + 1, 2); /* the one that was lost */
    const struct alert_record *a = next();
    cr_assert(a != NULL && a->count == 2);
    check_books();
}

Test(alert, anomalies_have_a_cap)
{
    for (unsigned i = 0; i < ALERTS_ANOMALIES_MAX + 5; i++) {
        alerts_anomaly(t.alerts, "capture", "file_truncated", "the file ends early");
        const struct anomaly_record *a = ring_peek(t.ring, 0, NULL);
        if (i < ALERTS_ANOMALIES_MAX) {
            cr_assert(a != NULL && a->header.kind == RECORD_ANOMALY && a->key.ip_version == 0);
            cr_assert_str_eq(a->event, "file_truncated");
            cr_assert_str_eq(a->text, "the file ends early");
        } else {
            cr_assert(a == NULL);
        }
        ring_release(t.ring, 0);
    }
    cr_assert_eq(counters_get(t.counters, COUNTER_anomaly_raised), ALERTS_ANOMALIES_MAX + 5);
    cr_assert_eq(counters_get(t.counters, COUNTER_anomaly_lost), 5);
}

Test(alert, too_many_entities_reasons_and_letters_are_cut)
{
    static struct alert_record a;
    static char longest[400];
    const uint8_t address[16] = {0xfd};

    memset(longest, 'x', sizeof(longest) - 1);
    for (int i = 0; i < 20; i++) {
        alert_entity(&a, longest, address);
        (void)alert_reason(&a, longest, longest, i, 0.5);
    }
    cr_assert(a.n_entities == ALERT_ENTITIES_MAX && a.n_reasons == ALERT_REASONS_MAX);
    cr_assert_eq(strlen(a.entity[0].role), sizeof(a.entity[0].role) - 1);
    cr_assert_eq(strlen(a.reason[7].name), sizeof(a.reason[7].name) - 1);
    cr_assert(a.reason[7].value == 19); /* the last one takes the last place */
}

/* ---------------------------------------------------------------- order and ids */

Test(alert, it_waits_for_the_flow_that_tipped_it)
{
    for (uint64_t i = 1; i <= 3; i++) {
        t.after = i;
        (void)note((unsigned)i, i, i);
        cr_assert_eq(next()->header.after, i); /* behind this flow, before the next */
    }
}

static void uids(uint8_t out[4][16], uint8_t seed)
{
    start(false, 16);
    t.alerts = alerts_free(t.alerts);
    t.conf.seed[0] = seed;
    cr_assert_eq(alerts_new(&t.alerts, &t.conf, kinds, DETECTORS, NULL), 0);
    for (unsigned i = 0; i < 4; i++)
        memcpy(out[i], note(i, S + i * S, 1)->uid, 16);
}

Test(alert, a_replay_makes_the_same_ids_and_another_input_others)
{
    uint8_t a[4][16], b[4][16], c[4][16];

    uids(a, 1);
    uids(b, 1);
    uids(c, 2);
    cr_assert_eq(memcmp(a, b, sizeof(a)), 0);
    for (int i = 0; i < 4; i++) {
        cr_assert_neq(memcmp(a[i], c[i], 16), 0);
        cr_assert(i == 0 || memcmp(a[i - 1], a[i], 16) < 0); /* in order of time */
    }
}

Test(alert, another_analyser_goes_on_with_the_sequence)
{
    uint8_t first[16];

    memcpy(first, note(1, S, 1)->uid, 16);
    t.alerts = alerts_free(t.alerts); /* it died; counters live in shared memory */
    cr_assert_eq(alerts_new(&t.alerts, &t.conf, kinds, DETECTORS, NULL), 0);
    cr_assert_neq(memcmp(first, note(1, S, 1)->uid, 16), 0);
}

static int attempt(void)
{
    WIND_AUTO(alerts) struct alerts *a = NULL;
    struct err e = {0};
    const int r = alerts_new(&a, &t.conf, kinds, DETECTORS, &e);

    cr_assert(r == 0 || (r == -ENOMEM && a == NULL && e.text[0] != '\0'));
    return r;
}

Test(alert, without_memory_it_is_not_made)
{
    cr_assert_eq(oom_each(attempt), 4);
}
