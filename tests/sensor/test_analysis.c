#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "common/time.h"
#include "models/tiny_model.h"
#include "sensor/analysis.h"
#include "support/oom.h"
#include "support/views.h"

#define S WIND_NS_PER_S

static struct {
    struct analysis *analysis;
    struct analysis_conf conf;
    struct rings *rings;
    struct ring *flows, *alerts; /* flows: the one of the rings */
    struct counters *counters;
    uint64_t next_id;
} t;

static struct model *load_tiny(void)
{
    static struct tiny tiny;
    struct model *m = NULL;

    tiny_init(&tiny);
    tiny_write(&tiny);
    cr_assert_eq(model_load_bytes(&m, tiny.bytes.data, tiny.bytes.len, NULL), 0);
    tiny_done(&tiny);
    return m;
}

static void tear_down(void)
{
    t.analysis = analysis_free(t.analysis);
    t.rings = rings_free(t.rings);
    t.alerts = ring_free(t.alerts);
    t.counters = counters_free(t.counters);
}

static void set_up(void)
{
    tear_down();
    memset(&t, 0, sizeof(t));
    cr_assert_eq(rings_new(&t.rings, 1, 1 << 20, 2, NULL), 0);
    t.flows = t.rings->ring[0];
    cr_assert_eq(ring_new(&t.alerts, 1 << 20, 1, NULL), 0);
    cr_assert_eq(counters_new(&t.counters, NULL), 0);
    t.conf =
        (struct analysis_conf){.detect = {.n_home = 1,
                                          .max = 1024,
                                          .scan_targets = 15,
                                          .brute_attempts = 8,
                                          .beacon_events = 10,
                                          .beacon_min_ns = 2 * S,
                                          .beacon_max_ns = 3600 * S,
                                          .anomaly_p = 0.25,
                                          .anomaly_flows = 3},
                               .alerts = {.ring = t.alerts,
                                          .counters = t.counters,
                                          .max_open = 64,
                                          .quiet_ns = 600 * S,
                                          .level = ANALYSIS_FULL},
                               .flows = t.rings,
                               .hosts_max = 64,
                               .names = {.max = 16, .ttl_min_ns = 60 * S, .ttl_max_ns = 3600 * S},
                               .level = ANALYSIS_FULL,
                               .features_fd = -1};
    cr_assert_eq(cidr_parse("10.0.0.0/16", &t.conf.detect.home[0], NULL), 0);
}
TestSuite(analysis, .init = set_up, .fini = tear_down);

static void begin(struct model *model)
{
    cr_assert_eq(analysis_new(&t.analysis, &t.conf, model, NULL), 0);
}

/* A record in the ring, as the worker would have made it; analysed only by analysis_step. */
static struct flow_record *commit(enum record_kind kind, uint64_t after_ns, struct flow_key key,
                                  enum flow_opening opening, uint64_t flow_id)
{
    const size_t n = kind == RECORD_FLOW_OPENED ? 0 : FEATURE_COUNT;
    struct flow_record *r = ring_reserve(t.flows, sizeof(*r) + n * sizeof(float));
    const struct record_header h = r->header;

    memset(r, 0, sizeof(*r));
    r->header = h;
    r->header.kind = (uint16_t)kind;
    r->header.time_ns = VIEW_T0 + after_ns;
    r->key = key;
    r->flow_id = flow_id;
    r->start_ns = r->end_ns = VIEW_T0 + after_ns;
    r->pkts[0] = 1;
    r->analysis_level = ANALYSIS_FULL;
    r->opening = (uint8_t)opening;
    r->p_value = 1;
    r->n_features = (uint16_t)n;
    if (n > 0)
        feature_flow(NULL, key.proto, r->feature, &r->missing);
    ring_commit(t.flows);
    return r;
}

static struct flow_key call(unsigned src, unsigned dport)
{
    return view_key(IPPROTO_TCP, src, 40000, 2, dport);
}

static void put(struct flow_record *r, enum feature f, float value)
{
    feature_put(r->feature, &r->missing, f, (double)value);
}

Test(analysis, a_flow_of_lesser_depth_is_not_scored)
{
    begin(load_tiny());
    for (unsigned i = 0; i < 2; i++) {
        struct flow_record *r = commit(RECORD_FLOW_ENDED, S, call(1, 80), OPENING_ANSWERED, 1);
        r->analysis_level = i == 0 ? ANALYSIS_DETECTORS : ANALYSIS_FULL;
        (void)analysis_step(t.analysis);
        cr_assert_eq(counters_get(t.counters, COUNTER_analysis_scored), i);
    }
}

Test(analysis, host_features_are_filled_in_place_before_the_flow_becomes_normal)
{
    begin(NULL);
    for (unsigned i = 0; i < 5; i++)
        (void)commit(RECORD_FLOW_OPENED, S + i, call(1, 80 + i),
                     i < 2 ? OPENING_SILENT : OPENING_ANSWERED, i + 1);
    struct flow_record *r = commit(RECORD_FLOW_ENDED, 2 * S, call(1, 84), OPENING_ANSWERED, 5);
    put(r, FEATURE_bytes_fwd, 100);
    put(r, FEATURE_bytes_rev, 300);
    cr_assert_eq(analysis_step(t.analysis), 6);
    cr_assert_eq(r->feature[FEATURE_src_flows], 5);
    cr_assert_eq(r->feature[FEATURE_src_peers], 1);
    cr_assert_eq(r->feature[FEATURE_src_ports], 5);
    cr_assert_float_eq(r->feature[FEATURE_src_failed_share], 0.4, 1e-6);
    cr_assert_not(feature_is_missing(r->missing, FEATURE_src_flows));
    cr_assert(feature_is_missing(r->missing, FEATURE_src_out_share)); /* no flow ended before */
    cr_assert_eq(r->feature[FEATURE_bytes_fwd], 100);                 /* the worker's stay */
    cr_assert(ring_peek(t.flows, 1, NULL) != NULL);                   /* released to the uplink */
    r = commit(RECORD_FLOW_ENDED, 3 * S, call(1, 83), OPENING_ANSWERED, 4);
    (void)analysis_step(t.analysis);
    cr_assert_float_eq(r->feature[FEATURE_src_out_share], 0.25, 1e-6);
}

Test(analysis, hosts_are_counted_and_the_least_recent_is_forgotten)
{
    begin(NULL);
    for (unsigned i = 0; i < 100; i++)
        (void)commit(RECORD_FLOW_OPENED, S + i, call(100 + i, 80), OPENING_ANSWERED, i + 1);
    (void)analysis_step(t.analysis);
    cr_assert_eq(counters_get(t.counters, COUNTER_host_made), 100);
    cr_assert_eq(counters_get(t.counters, COUNTER_host_live), 64);
    cr_assert_eq(counters_get(t.counters, COUNTER_host_evicted), 36);
    cr_assert_eq(counters_get(t.counters, COUNTER_analysis_flows), 100);
}

Test(analysis, a_flow_has_the_highest_score_of_its_scorings)
{
    begin(load_tiny());
    struct flow_record *r = commit(RECORD_FLOW_UPDATE, S, call(1, 80), OPENING_ANSWERED, 7);
    put(r, FEATURE_pkts_fwd, 20);
    put(r, FEATURE_tcp_rst, 3); /* odd so far */
    (void)analysis_step(t.analysis);
    const float odd = r->score, rare = r->p_value;

    r = commit(RECORD_FLOW_ENDED, 2 * S, call(1, 80), OPENING_ANSWERED, 7);
    put(r, FEATURE_pkts_fwd, 2); /* in the end it is not */
    struct flow_record *other = commit(RECORD_FLOW_ENDED, 2 * S, call(1, 80), OPENING_ANSWERED, 8);
    put(other, FEATURE_pkts_fwd, 2);
    (void)analysis_step(t.analysis);
    cr_assert(r->score == odd && r->p_value == rare);
    cr_assert(other->score < odd && other->p_value > rare);
    cr_assert_eq(counters_get(t.counters, COUNTER_analysis_scored), 3);
    cr_assert_eq(counters_get(t.counters, COUNTER_analysis_unusual), 1);
}

Test(analysis, without_a_model_or_below_full_nothing_is_scored)
{
    for (int with_model = 0; with_model < 2; with_model++) {
        set_up();
        t.conf.level = with_model ? ANALYSIS_DETECTORS : ANALYSIS_FULL;
        begin(with_model ? load_tiny() : NULL);
        struct flow_record *r = commit(RECORD_FLOW_ENDED, S, call(1, 80), OPENING_ANSWERED, 1);
        put(r, FEATURE_pkts_fwd, 20);
        (void)analysis_step(t.analysis);
        cr_assert(r->score == 0 && r->p_value == 1);
        cr_assert_eq(counters_get(t.counters, COUNTER_analysis_scored), 0);
    }
}

/* 20 refused openings of host 1. */
static void scan(void)
{
    for (unsigned i = 0; i < 20; i++)
        (void)commit(RECORD_FLOW_OPENED, S + i, call(1, 100 + i), OPENING_REFUSED, 100 + i);
    (void)analysis_step(t.analysis);
}

Test(analysis, evidence_of_an_open_alert_is_marked_and_scored_as_the_alert)
{
    begin(NULL);
    scan();
    const struct alert_record *a = ring_peek(t.alerts, 0, NULL);
    cr_assert(a != NULL && a->analysis_level == ANALYSIS_FULL);
    struct flow_record *r = commit(RECORD_FLOW_ENDED, 3 * S, call(1, 100), OPENING_REFUSED, 100);
    struct flow_record *other = commit(RECORD_FLOW_ENDED, 3 * S, call(3, 80), OPENING_ANSWERED, 9);
    (void)analysis_step(t.analysis);
    cr_assert(r->alerted == 1 && r->score >= a->score && r->score > 0.4F);
    cr_assert(other->alerted == 0 && other->score == 0);
}

Test(analysis, evidence_never_becomes_the_hosts_normal)
{
    begin(NULL);
    scan();
    for (unsigned i = 0; i < 20; i++) {
        struct flow_record *r =
            commit(RECORD_FLOW_ENDED, 3 * S + i, call(1, 100 + i), OPENING_REFUSED, 100 + i);
        put(r, FEATURE_bytes_fwd, 1000000);
        put(r, FEATURE_bytes_rev, 0);
    }
    struct flow_record *r = commit(RECORD_FLOW_ENDED, 4 * S, call(1, 443), OPENING_ANSWERED, 1);
    (void)analysis_step(t.analysis);
    cr_assert_eq(r->alerted, 0);
    cr_assert(feature_is_missing(r->missing, FEATURE_src_out_share));
}

Test(analysis, an_alert_waits_for_its_flow_and_is_not_before_it_in_the_ring)
{
    begin(NULL);
    scan();
    const struct alert_record *a = ring_peek(t.alerts, 0, NULL);
    uint64_t end = 0;

    for (const struct flow_record *r; (r = ring_peek(t.flows, 1, NULL)) != NULL;) {
        cr_assert_eq(r->header.after, end); /* numbered as they were taken */
        end++;
        if (r->flow_id == a->flow_id)
            break;
    }
    cr_assert_eq(a->header.after, end);
}

Test(analysis, quiet_alerts_are_closed_by_the_time_of_records_and_by_the_clock)
{
    begin(NULL);
    scan();
    cr_assert_eq(counters_get(t.counters, COUNTER_alert_open), 1);
    (void)commit(RECORD_FLOW_OPENED, 700 * S, call(3, 80), OPENING_ANSWERED, 1);
    (void)analysis_step(t.analysis);
    cr_assert_eq(counters_get(t.counters, COUNTER_alert_open), 0);
    set_up();
    begin(NULL);
    scan();
    analysis_tick(t.analysis, VIEW_T0 + 700 * S);
    cr_assert_eq(counters_get(t.counters, COUNTER_alert_open), 0);
}

Test(analysis, the_end_tells_what_is_untold)
{
    begin(NULL);
    scan(); /* told at 15 of 20 */
    analysis_close(t.analysis);
    const struct alert_record *a, *last = NULL;
    while ((a = ring_peek(t.alerts, 0, NULL)) != NULL)
        last = a;
    cr_assert(last != NULL && last->count == 20 && last->rev == 2);
    cr_assert_eq(counters_get(t.counters, COUNTER_alert_open), 0);
}

Test(analysis, rows_are_written_with_a_header_and_a_line_a_flow)
{
    char path[] = "/tmp/wind-rows-XXXXXX", text[8192] = "";

    t.conf.features_fd = mkstemp(path);
    begin(NULL);
    (void)commit(RECORD_FLOW_OPENED, S, call(1, 80), OPENING_ANSWERED, 1);
    (void)commit(RECORD_FLOW_UPDATE, 2 * S, call(1, 80), OPENING_ANSWERED, 1);
    (void)commit(RECORD_FLOW_ENDED, 3 * S, call(1, 80), OPENING_ANSWERED, 1);
    (void)commit(RECORD_FLOW_ENDED, 3 * S, call(1, 81), OPENING_ANSWERED, 2);
    (void)analysis_step(t.analysis);
    analysis_close(t.analysis);
    t.analysis = analysis_free(t.analysis);
    begin(NULL); /* another analyser goes on in the same file: no second header */
    (void)commit(RECORD_FLOW_ENDED, 3 * S, call(1, 82), OPENING_ANSWERED, 3);
    (void)analysis_step(t.analysis);
    analysis_close(t.analysis);

    FILE *f = fopen(path, "r");
    size_t lines = 0, headers = 0;
    while (fgets(text, sizeof(text), f) != NULL) {
        lines++;
        headers += text[0] == '#';
    }
    (void)fclose(f);
    (void)unlink(path);
    cr_assert(lines == 2 + 3 && headers == 1, "%zu lines, %zu headers", lines, headers);
    cr_assert_eq(counters_get(t.counters, COUNTER_analysis_rows_lost), 0);
}

Test(analysis, rows_that_cannot_be_written_are_counted)
{
    int fds[2];

    cr_assert_eq(pipe(fds), 0);
    t.conf.features_fd = fds[0]; /* the reading end */
    begin(NULL);
    (void)commit(RECORD_FLOW_ENDED, 3 * S, call(1, 80), OPENING_ANSWERED, 1);
    (void)analysis_step(t.analysis);
    analysis_close(t.analysis);
    cr_assert_eq(counters_get(t.counters, COUNTER_analysis_rows_lost), 1);
}

static int attempt(void)
{
    WIND_AUTO(analysis) struct analysis *a = NULL;
    struct err e = {0};
    const int r = analysis_new(&a, &t.conf, NULL, &e);

    cr_assert(r == 0 || (r == -ENOMEM && a == NULL && e.text[0] != '\0'));
    return r;
}

Test(analysis, without_memory_it_is_not_made)
{
    cr_assert_geq(oom_each(attempt), 20);
}

/* DNS has told the name before the connection came; the alert of a flow says it, too. */
Test(analysis, a_flow_has_the_name_that_dns_told)
{
    begin(NULL);
    struct named_record *n = ring_reserve(t.flows, sizeof(*n) + sizeof(n->address[0]));
    n->header.kind = RECORD_NAMED;
    n->header.time_ns = VIEW_T0;
    n->header.order = n->header.after = 0;
    view_address(1, n->client);
    (void)snprintf(n->name, sizeof(n->name), "mail.example");
    n->n_addresses = 1;
    view_address(2, n->address[0].address);
    n->address[0].ttl = 60;
    ring_commit(t.flows);
    const struct flow_record *r = commit(RECORD_FLOW_ENDED, S, call(1, 443), OPENING_ANSWERED, 1);
    const struct flow_record *late =
        commit(RECORD_FLOW_ENDED, 61 * S, call(1, 443), OPENING_ANSWERED, 2);
    cr_assert_eq(analysis_step(t.analysis), 3);
    cr_assert_eq(r->names, FLOW_NAME_DST);
    cr_assert_str_eq(r->dst_name, "mail.example");
    cr_assert_eq(late->names, 0);
    cr_assert_eq(counters_get(t.counters, COUNTER_analysis_flows), 2);
    cr_assert_eq(counters_get(t.counters, COUNTER_names_used), 1);
}
