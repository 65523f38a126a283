#include "support/detecting.h"

#include <stdlib.h>

#define C2 (VIEW_OUTSIDE + 7)

TestSuite(detect_beacon, .init = detecting_begin, .fini = detecting_stop);

static const struct alert_record *beacon(void)
{
    return last_alert(DETECTOR_BEACON);
}

/* One call: opened, answered, 0.2 s long. */
static void call(double at, struct flow_key key, uint64_t out)
{
    const struct flow_record r = opened_at(at, key, OPENING_ANSWERED);
    struct flow_record end = ended_after(r, 0.2, 8, out, 3000);

    see(&r);
    (void)snprintf(end.server_name, sizeof(end.server_name), "c2.example");
    see(&end);
}

static struct flow_key channel(unsigned src, unsigned dst)
{
    return view_key(IPPROTO_TCP, src, 40000, dst, 443);
}

/* `n` calls `gap` seconds apart, each up to `jitter` (a share of gap) early or late. */
static void calls(unsigned n, double gap, double jitter, struct flow_key key)
{
    srand(7);
    for (unsigned i = 0; i < n; i++)
        call(1000 + i * gap + gap * jitter * (2.0 * rand() / RAND_MAX - 1), key,
             900 + (uint64_t)rand() % 30);
}

Test(detect_beacon, ten_even_gaps_are_one_and_nine_are_none)
{
    calls(10, 60, 0, channel(1, C2));
    cr_assert(beacon() == NULL);
    call(1600, channel(1, C2), 900);
    cr_assert(beacon() != NULL && seen.is_evidence);
    cr_assert_eq(beacon()->count, 11);
}

Test(detect_beacon, it_says_who_calls_whom_and_why)
{
    calls(20, 60, 0, channel(1, C2));
    alerts_close(seen.alerts);
    detecting_take_alerts();

    const struct alert_record *a = beacon();
    cr_assert_str_eq(a->signature, "10.0.0.1 calls c2.example port 443 like clockwork, every 60 s");
    cr_assert_str_eq(a->technique_id, "T1071");
    cr_assert(a->count == 20 && a->severity == SEVERITY_MEDIUM && a->n_entities == 2);
    cr_assert_eq(a->first_ns, VIEW_T0 + 1000 * DETECTING_S);
    cr_assert_str_eq(a->entity[0].value, "10.0.0.1");
    cr_assert_str_eq(a->entity[1].role, "related");
    cr_assert_str_eq(a->entity[1].value, "198.51.0.7");
    cr_assert(a->score > 0.9F && a->score <= 1);
    cr_assert(strstr(reason_of(a, "gap_spread")->text, "20 connections, one every 60 s") != NULL,
              "%s", reason_of(a, "gap_spread")->text);
    cr_assert(strstr(reason_of(a, "size_spread")->text, "each sends about 9") != NULL);
    cr_assert_str_eq(reason_of(a, "callers")->text,
                     "no other of our hosts keeps calling that service");
}

Test(detect_beacon, jitter_of_a_third_is_still_clockwork_and_chance_is_not)
{
    calls(40, 60, 0.33, channel(1, C2));
    cr_assert(beacon() != NULL);
    const float jittered = beacon()->score;
    detecting_begin();
    calls(40, 60, 0, channel(1, C2));
    cr_assert_gt(beacon()->score, jittered);

    detecting_begin();
    srand(3);
    double at = 1000;
    for (unsigned i = 0; i < 100; i++) { /* a person: gaps of 2 s to 2 min, by chance */
        at += 2 + 118.0 * rand() / RAND_MAX * rand() / RAND_MAX;
        call(at, channel(1, C2), 900);
    }
    cr_assert(beacon() == NULL);
}

Test(detect_beacon, a_missed_beat_hides_nothing)
{
    for (unsigned i = 0; i < 24; i++)
        if (i % 5 != 3)
            call(1000 + i * 60, channel(1, C2), 900);
    cr_assert(beacon() != NULL);
}

Test(detect_beacon, few_calls_must_be_more_even_than_many)
{
    static const double gaps[] = {48, 60, 72}; /* half of them within 20 % */
    double at = 1000;

    for (unsigned i = 0; i < 40; at += gaps[i++ % 3]) {
        call(at, channel(1, C2), 900);
        if (i == 12)
            cr_assert(beacon() == NULL);
    }
    cr_assert(beacon() != NULL);
}

Test(detect_beacon, a_retry_every_few_seconds_is_one_only_if_it_goes_on)
{
    calls(40, 2.5, 0, channel(1, C2));
    cr_assert(beacon() == NULL);
    calls(60, 2.5, 0, channel(2, C2 + 1));
    cr_assert(beacon() != NULL);
}

Test(detect_beacon, pieces_of_one_connection_are_no_calls)
{
    for (unsigned i = 0; i < 60; i++) { /* silent for longer than flow.idle, then a heartbeat */
        struct flow_record r = opened_at(1000 + i * 180, channel(1, C2), OPENING_ANSWERED);
        r.tcp_flags[0] = TCP_ACK | TCP_PSH;
        const struct flow_record end = ended_after(r, 0.2, 2, 120, 60);
        see(&r);
        see(&end);
    }
    cr_assert(beacon() == NULL);
}

Test(detect_beacon, without_a_name_it_is_worse)
{
    for (unsigned i = 0; i < 20; i++) {
        const struct flow_record r = opened_at(1000 + i * 60, channel(1, C2), OPENING_ANSWERED);
        const struct flow_record end = ended_after(r, 0.2, 8, 900, 3000);
        see(&r);
        see(&end);
    }
    cr_assert(beacon() != NULL && beacon()->severity == SEVERITY_HIGH);
}

Test(detect_beacon, who_connects_and_says_nothing_only_looks)
{
    for (unsigned i = 0; i < 40; i++) {
        const struct flow_record r = opened_at(1000 + i * 60, channel(1, C2), OPENING_ANSWERED);
        struct flow_record end = ended_after(r, 0.2, 4, 216, 160);
        end.missing = UINT64_C(1) << FEATURE_payload_mean_fwd;
        see(&r);
        see(&end);
    }
    cr_assert(beacon() == NULL);
}

/* Nothing is said on the flow, but DNS had told the address. */
Test(detect_beacon, the_name_that_dns_told_is_in_the_words)
{
    for (unsigned i = 0; i < 20; i++) {
        const struct flow_record r = opened_at(1000 + i * 60, channel(1, C2), OPENING_ANSWERED);
        struct flow_record end = ended_after(r, 0.2, 8, 900, 3000);
        end.names = FLOW_NAME_DST;
        (void)snprintf(end.dst_name, sizeof(end.dst_name), "told.example");
        see(&r);
        see(&end);
    }
    cr_assert_str_eq(beacon()->signature,
                     "10.0.0.1 calls told.example port 443 like clockwork, every 60 s");
    cr_assert_eq(beacon()->severity, SEVERITY_HIGH);
    cr_assert_str_eq(beacon()->dst_name, "told.example");
}

Test(detect_beacon, asking_for_the_internet_is_none)
{
    for (unsigned i = 0; i < 40; i++) {
        const struct flow_record r =
            opened_at(1000 + i * 300, view_key(IPPROTO_TCP, 1, 40000, C2, 80), OPENING_ANSWERED);
        struct flow_record end = ended_after(r, 0.2, 8, 351, 300);
        (void)snprintf(end.server_name, sizeof(end.server_name), "connectivity.example.org");
        see(&r);
        see(&end);
    }
    cr_assert(beacon() == NULL);
    calls(40, 300, 0, view_key(IPPROTO_TCP, 1, 40000, C2 + 1, 80)); /* c2.example */
    cr_assert(beacon() != NULL);
}

Test(detect_beacon, calls_that_say_different_things_are_none)
{
    srand(5);
    for (unsigned i = 0; i < 60; i++)
        call(1000 + i * 60, channel(1, C2), 500 + (uint64_t)rand() % 5000);
    cr_assert(beacon() == NULL);
}

Test(detect_beacon, faster_and_slower_than_the_settings_are_none)
{
    calls(60, 1.5, 0, channel(1, C2));
    cr_assert(beacon() == NULL);
    calls(60, 2.5, 0, channel(2, C2 + 1));
    cr_assert(beacon() != NULL);
    detecting_begin();
    calls(40, 3700, 0, channel(1, C2));
    cr_assert(beacon() == NULL);
    calls(40, 3500, 0, channel(2, C2 + 1));
    cr_assert(beacon() != NULL);
}

Test(detect_beacon, clockwork_inside_or_from_outside_is_monitoring)
{
    calls(60, 30, 0, channel(1, 2));
    calls(60, 30, 0, channel(C2, 1));
    calls(60, 30, 0, channel(C2, C2 + 1));
    cr_assert(beacon() == NULL);
}

Test(detect_beacon, time_names_and_neighbours_are_regular_by_design)
{
    static const unsigned ports[] = {53, 123, 1900, 5353};

    for (size_t i = 0; i < WIND_ARRAY_SIZE(ports); i++)
        calls(60, 64, 0, view_key(IPPROTO_UDP, 1, 40000, C2, ports[i]));
    cr_assert(beacon() == NULL);
    calls(60, 64, 0, view_key(IPPROTO_UDP, 1, 40000, C2, 4444));
    cr_assert(beacon() != NULL);
    detecting_begin();
    calls(60, 64, 0, view_key(IPPROTO_TCP, 1, 40000, C2, 123)); /* not what UDP 123 is for */
    cr_assert(beacon() != NULL);
}

Test(detect_beacon, a_service_that_four_hosts_keep_calling_is_an_update_server)
{
    for (unsigned i = 0; i < 60; i++)
        for (unsigned host = 1; host <= 4; host++)
            call(1000 + i * 300 + host, channel(host, C2), 900);
    cr_assert(beacon() == NULL);
    detecting_begin();
    for (unsigned host = 10; host < 30; host++) /* who looks in once or twice hides nothing */
        calls(2, 10, 0, channel(host, C2));
    for (unsigned i = 0; i < 60; i++)
        for (unsigned host = 1; host <= 3; host++)
            call(1000 + i * 300 + host, channel(host, C2), 900);
    cr_assert(beacon() != NULL);
    cr_assert_str_eq(reason_of(beacon(), "callers")->text,
                     "only 3 of our hosts keep calling that service");
}

Test(detect_beacon, unanswered_calls_are_none)
{
    for (unsigned i = 0; i < 60; i++) {
        const struct flow_record r = opened_at(1000 + i * 60, channel(1, C2), OPENING_SILENT);
        const struct flow_record end = ended_after(r, 1, 3, 180, 0);
        see(&r);
        see(&end);
    }
    cr_assert(beacon() == NULL);
}

Test(detect_beacon, one_long_connection_is_none)
{
    const struct flow_record r = opened_at(1000, channel(1, C2), OPENING_ANSWERED);

    see(&r);
    for (uint64_t i = 0; i < 60; i++) { /* heartbeats inside it make updates, not calls */
        struct flow_record update = ended_after(r, (double)i * 60, 2 * i, 100 * i, 100 * i);
        update.header.kind = RECORD_FLOW_UPDATE;
        see(&update);
    }
    cr_assert(beacon() == NULL);
}
