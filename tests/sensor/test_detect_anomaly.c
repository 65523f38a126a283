#include "models/tiny_model.h"
#include "support/detecting.h"

static struct tiny tiny;
static struct model *model;
static struct host_stats host;

static void set_up(void)
{
    detecting_begin();
    tiny_init(&tiny);
    tiny_write(&tiny);
    cr_assert_eq(model_load_bytes(&model, tiny.bytes.data, tiny.bytes.len, NULL), 0);
    tiny_done(&tiny);
    host_stats_init(&host, VIEW_T0);
    seen.model = model;
}

static void tear_down(void)
{
    model = model_free(model);
    detecting_stop();
}
TestSuite(detect_anomaly, .init = set_up, .fini = tear_down);

static const struct alert_record *anomaly(void)
{
    return last_alert(DETECTOR_ANOMALY);
}

static _Alignas(8) char slot[sizeof(struct flow_record) + FEATURE_COUNT * sizeof(float)];

/* One scored flow; pkts_fwd 12 is what makes the tiny model wonder. */
static void flow_to(double at, unsigned src, unsigned dport, float p_value, float raw)
{
    struct flow_record *r = (void *)slot;
    const struct model_score score = {.raw = raw, .p_value = p_value, .score = 0.7F};
    struct detect_view v = {
        .r = r, .host = &host, .model = model, .alerts = seen.alerts, .score = &score};

    *r = ended_after(
        opened_at(at, view_key(IPPROTO_TCP, src, 40000, VIEW_OUTSIDE, dport), OPENING_ANSWERED), 1,
        9, 500, 500);
    r->n_features = FEATURE_COUNT;
    r->feature[FEATURE_pkts_fwd] = 12;
    r->missing = UINT64_C(1) << FEATURE_tcp_rst;
    alerts_tick(seen.alerts, r->header.time_ns);
    detectors_see(seen.detectors, &v);
    seen.is_evidence = v.is_evidence;
    detecting_take_alerts();
}

/* The same to one of four services by turns. */
static void flow(double at, unsigned src, float p_value, float raw)
{
    static unsigned turn;

    flow_to(at, src, 440 + turn++ % 4, p_value, raw);
}

Test(detect_anomaly, one_odd_service_used_again_and_again_is_one_oddity)
{
    for (unsigned i = 0; i < 50; i++)
        flow_to(i, 1, 443 + i % 2, 0.001F, 0.6F);
    cr_assert(anomaly() == NULL);
    flow_to(50, 1, 445, 0.001F, 0.6F);
    cr_assert(anomaly() != NULL);
}

Test(detect_anomaly, a_busy_host_has_some_by_chance)
{
    for (unsigned i = 0; i < 3000; i++) /* one in a hundred, of 3000 within ten minutes */
        flow(i * 0.2, 1, i % 100 == 0 ? 0.001F : 0.5F, 0.6F);
    cr_assert(anomaly() == NULL);
    for (unsigned i = 0; i < 40; i++)
        flow(600 + i, 1, 0.001F, 0.6F);
    cr_assert(anomaly() != NULL);
}

Test(detect_anomaly, what_all_hosts_here_do_is_normal_here)
{
    for (unsigned i = 0; i < 20000; i++) /* the model knows another network: a third is odd */
        flow(i * 0.1, 100 + i % 50, i % 3 == 0 ? 0.001F : 0.5F, 0.6F);
    memset(seen.last, 0, sizeof(seen.last)); /* at first it cannot know */
    for (unsigned i = 0; i < 12; i++)
        flow(3000 + i, 1, i % 2 ? 0.001F : 0.5F, 0.6F);
    cr_assert(anomaly() == NULL);
    for (unsigned i = 0; i < 40; i++)
        flow(3012 + i, 1, 0.001F, 0.6F);
    cr_assert(anomaly() != NULL);
}

Test(detect_anomaly, groups_errors_and_halves_are_not_judged)
{
    const struct model_score score = {.raw = 0.9F, .p_value = 0.0001F, .score = 0.9F};

    for (unsigned i = 0; i < 60; i++) {
        struct flow_record r = ended_after(
            opened_at(i, view_key(IPPROTO_UDP, 1, 40000, 2, 100 + i), OPENING_SILENT), 1, 9, 9, 9);
        ip_from_v4((const uint8_t[]){239, 255, 255, 250}, r.key.dst);
        see_scored(&r, &score);
        r = ended_after(opened_at(i, view_key(IPPROTO_ICMP, 1, 3, 100 + i, 3), OPENING_SILENT), 1,
                        1, 60, 0);
        see_scored(&r, &score);
        r = ended_after(opened_at(i, view_key(IPPROTO_TCP, 1, 40000, 2, 100 + i), OPENING_ANSWERED),
                        1, 9, 9, 9);
        r.tcp_flags[0] = r.tcp_flags[1] = TCP_ACK;
        see_scored(&r, &score);
    }
    cr_assert(anomaly() == NULL);
}

Test(detect_anomaly, eight_unusual_flows_in_ten_minutes_are_one_and_seven_are_none)
{
    for (unsigned i = 0; i < 7; i++)
        flow(i * 60, 1, 0.001F, 0.6F);
    cr_assert(anomaly() == NULL && !seen.is_evidence);
    flow(7 * 60, 1, 0.001F, 0.6F);
    cr_assert(anomaly() != NULL && anomaly()->count == 8 && seen.is_evidence);
}

Test(detect_anomaly, a_p_value_above_the_setting_is_ordinary)
{
    for (unsigned i = 0; i < 100; i++)
        flow(i, 1, 0.0021F, 0.9F);
    cr_assert(anomaly() == NULL);
    for (unsigned i = 0; i < 8; i++)
        flow(100 + i, 1, 0.002F, 0.6F);
    cr_assert(anomaly() != NULL);
}

Test(detect_anomaly, one_now_and_then_is_chance)
{
    for (unsigned i = 0; i < 200; i++)
        flow(i * 100, 1, 0.001F, 0.6F); /* 6 in ten minutes */
    cr_assert(anomaly() == NULL);
}

Test(detect_anomaly, it_says_how_many_and_what_is_odd_about_the_worst)
{
    for (unsigned i = 0; i < 20; i++)
        flow_to(i, 1, 440 + i / 2 % 4, i % 2 ? 0.5F : 0.001F, 0.6F);
    alerts_close(seen.alerts);
    detecting_take_alerts();

    const struct alert_record *a = anomaly();
    cr_assert(a != NULL && a->count == 10 && a->severity == SEVERITY_LOW);
    cr_assert(strstr(a->signature, "10 of 20 connections of 10.0.0.1 are unusual, "
                                   "most of all the one to 198.51.0.0 port 44") != NULL,
              "%s", a->signature);
    cr_assert_str_eq(a->model, "tiny 3");
    cr_assert_str_eq(a->technique_id, "");
    cr_assert(a->p_value == 0.001F && a->score == 0.7F && a->n_entities == 1);
    cr_assert_str_eq(a->entity[0].role, "related");
    const struct alert_reason *r = reason_of(a, "pkts_fwd");
    cr_assert(r->value == 12 && r->normal_n == 0);
    cr_assert_str_eq(r->text, "packets from the source: 12; ordinary flows have 0.2 to 3.8");
}

Test(detect_anomaly, the_hosts_own_normal_is_told_when_it_has_one)
{
    float row[FEATURE_COUNT] = {0};

    row[FEATURE_pkts_fwd] = 3;
    for (unsigned i = 0; i < 10; i++)
        host_stats_ended(&host, VIEW_T0, row, 0);
    for (unsigned i = 0; i < 8; i++)
        flow(i, 1, 0.001F, 0.6F);
    const struct alert_reason *r = reason_of(anomaly(), "pkts_fwd");
    cr_assert(r->normal == 3 && r->normal_sd == 0 && r->normal_n == 10);
    cr_assert_str_eq(r->text,
                     "packets from the source: 12; this host's normal is 3, give or take 0");
}

Test(detect_anomaly, much_rarer_is_worse)
{
    for (unsigned i = 0; i < 8; i++)
        flow(i, 1, 0.00015F, 0.9F);
    cr_assert_eq(anomaly()->severity, SEVERITY_MEDIUM);
}

Test(detect_anomaly, what_another_detector_explained_is_no_news)
{
    for (unsigned i = 0; i < 20; i++) { /* a scan, whose flows the model finds odd as well */
        const struct flow_record r =
            opened_at(i * 0.1, view_key(IPPROTO_TCP, 1, 50000, 2, 100 + i), OPENING_REFUSED);
        see(&r);
    }
    const struct model_score score = {.raw = 0.9F, .p_value = 0.0001F, .score = 0.9F};
    for (unsigned i = 0; i < 20; i++) {
        const struct flow_record r =
            ended_after(opened_at(2, view_key(IPPROTO_TCP, 1, 50000, 2, 100 + i), OPENING_REFUSED),
                        1, 1, 60, 0);
        see_scored(&r, &score);
        cr_assert(seen.is_evidence);
    }
    cr_assert(last_alert(DETECTOR_PORT_SCAN) != NULL && anomaly() == NULL);
}

Test(detect_anomaly, updates_and_flows_without_a_score_do_not_count)
{
    for (unsigned i = 0; i < 50; i++) {
        const struct model_score score = {.raw = 0.9F, .p_value = 0.0001F, .score = 0.9F};
        struct flow_record r = ended_after(
            opened_at(i, view_key(IPPROTO_TCP, 1, 40000, VIEW_OUTSIDE, 443), OPENING_ANSWERED), 1,
            9, 500, 500);
        see(&r);
        r.header.kind = RECORD_FLOW_UPDATE;
        see_scored(&r, &score);
    }
    cr_assert(anomaly() == NULL);
}
