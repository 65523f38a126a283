#include "support/detecting.h"

TestSuite(detect_scan, .init = detecting_begin, .fini = detecting_stop);

static const struct alert_record *scan(void)
{
    return last_alert(DETECTOR_PORT_SCAN);
}

/* What was told last: it was told. */
static const struct alert_record *told(void)
{
    cr_assert_gt(seen.last[DETECTOR_PORT_SCAN].rev, 0);
    return &seen.last[DETECTOR_PORT_SCAN];
}

/* `n` ports of host 2, one each `step` seconds, all with the same outcome. */
static void knock(unsigned src, unsigned n, double at, double step, enum flow_opening how)
{
    for (unsigned i = 0; i < n; i++) {
        const struct flow_record r =
            opened_at(at + i * step, view_key(IPPROTO_TCP, src, 50000, 2, 100 + i), how);
        see(&r);
    }
}

Test(detect_scan, fifteen_targets_that_fail_are_one_and_fourteen_are_none)
{
    knock(1, 14, 0, 0.1, OPENING_REFUSED);
    cr_assert(scan() == NULL);
    const struct flow_record r =
        opened_at(1.5, view_key(IPPROTO_TCP, 1, 50000, 2, 99), OPENING_REFUSED);
    see(&r);
    cr_assert(scan() != NULL && told()->rev == 1 && told()->count == 15);
    cr_assert(seen.is_evidence && seen.evidence_score == told()->score);
}

Test(detect_scan, it_says_who_did_what_to_whom_and_why)
{
    knock(1, 100, 10, 0.05, OPENING_REFUSED);
    for (unsigned i = 0; i < 60; i++) {
        const struct flow_record r = opened_at(
            15 + i * 0.05, view_key(IPPROTO_TCP, 1, 50000, 2, 1000 + i % 30), OPENING_ANSWERED);
        see(&r);
    }
    knock(1, 60, 20, 0.05, OPENING_SILENT); /* the same targets once more */
    alerts_close(seen.alerts);
    detecting_take_alerts();

    const struct alert_record *a = told();
    /* Distinct counts are estimates, 3 % off at most: 101 for these hundred. */
    cr_assert_str_eq(a->signature, "10.0.0.1 tried about 100 ports of 10.0.0.2");
    cr_assert_str_eq(a->detector, "port_scan");
    cr_assert_str_eq(a->technique_id, "T1046");
    cr_assert(a->count == 160 && a->severity == SEVERITY_HIGH && a->p_value < 0);
    cr_assert_eq(a->first_ns, VIEW_T0 + 10 * DETECTING_S); /* from before the alert opened */
    cr_assert_eq(a->n_entities, 2);
    cr_assert_str_eq(a->entity[0].role, "attacker");
    cr_assert_str_eq(a->entity[0].value, "10.0.0.1");
    cr_assert_str_eq(a->entity[1].role, "victim");
    cr_assert_str_eq(a->entity[1].value, "10.0.0.2");
    cr_assert_float_eq(a->score, 1 - 15 / 200.0, 0.01);

    const struct alert_reason *r = reason_of(a, "failed_targets");
    cr_assert_float_eq(r->value, 100, 3);
    cr_assert_str_eq(r->text,
                     "about 100 different pairs of host and port refused it or did not answer, "
                     "within 12.9 s; this host had no history yet");
    r = reason_of(a, "failed_share");
    cr_assert_float_eq(r->value, 100 / 130.0, 0.02); /* 30 more were answered, twice */
    cr_assert(strstr(r->text, " % of all pairs that it tried meanwhile did not let it in") != NULL,
              "%s", r->text);
    r = reason_of(a, "pace");
    cr_assert_float_eq(r->value, 160 / 12.95, 0.1);
    cr_assert_str_eq(r->text, "on average 12.4 a second");
    float sum = 0;
    for (unsigned i = 0; i < a->n_reasons; i++)
        sum += a->reason[i].contribution;
    cr_assert_float_eq(sum, 1, 1e-6);
}

static void sweep(unsigned proto, unsigned sport, unsigned dport)
{
    for (unsigned i = 0; i < 50; i++) {
        const struct flow_record r =
            opened_at(i * 0.01, view_key(proto, 1, sport, 100 + i, dport), OPENING_SILENT);
        see(&r);
    }
}

Test(detect_scan, each_shape_has_its_sentence)
{
    sweep(IPPROTO_TCP, 50000, 22);
    cr_assert(strstr(told()->signature, "10.0.0.1 looked for TCP port 22 on ") != NULL, "%s",
              told()->signature);
    cr_assert_eq(told()->n_entities, 1); /* no single victim */
    detecting_begin();
    sweep(IPPROTO_UDP, 50000, 161);
    cr_assert(strstr(told()->signature, "looked for UDP port 161 on ") != NULL);
    detecting_begin();
    sweep(IPPROTO_ICMP, 8, 0);
    cr_assert(strstr(told()->signature, " addresses that did not answer") != NULL);
    detecting_begin();
    for (unsigned i = 0; i < 64; i++) {
        const struct flow_record r = opened_at(
            i * 0.01, view_key(IPPROTO_TCP, 1, 50000, 100 + i % 8, 10 + i / 8), OPENING_REFUSED);
        see(&r);
    }
    cr_assert_str_eq(told()->signature, "10.0.0.1 tried 8 ports on 8 hosts");
}

Test(detect_scan, from_outside_it_is_the_weather)
{
    for (unsigned i = 0; i < 30; i++) {
        const struct flow_record r = opened_at(
            i, view_key(IPPROTO_TCP, VIEW_OUTSIDE + 9, 50000, 2, 100 + i), OPENING_SILENT);
        see(&r);
    }
    cr_assert(scan() != NULL && told()->severity == SEVERITY_MEDIUM);
}

Test(detect_scan, a_busy_client_that_is_answered_is_none)
{
    for (unsigned i = 0; i < 300; i++) {
        const struct flow_record r =
            opened_at(i * 0.1, view_key(IPPROTO_TCP, 1, 40000 + i, 500 + i, 443),
                      i % 5 == 0 ? OPENING_SILENT : OPENING_ANSWERED);
        see(&r);
    }
    cr_assert(scan() == NULL); /* 60 failed, of 300 */
}

Test(detect_scan, seven_of_ten_failing_is_the_line)
{
    for (unsigned i = 0; i < 40; i++) { /* 10 answered, then 22 failed: 69 % */
        const struct flow_record r =
            opened_at(i * 0.1, view_key(IPPROTO_TCP, 1, 40000, 500 + i, 443),
                      i < 10 ? OPENING_ANSWERED : OPENING_REFUSED);
        if (i < 30)
            cr_assert(scan() == NULL);
        see(&r);
    }
    cr_assert(scan() != NULL);
}

Test(detect_scan, what_answers_again_and_again_hides_nothing)
{
    for (unsigned i = 0; i < 500; i++) {
        const struct flow_record r =
            opened_at(i * 0.01, view_key(IPPROTO_TCP, 1, 1024 + i, 2, 445), OPENING_ANSWERED);
        see(&r);
    }
    knock(1, 30, 6, 0.1, OPENING_REFUSED);
    cr_assert(scan() != NULL);
}

Test(detect_scan, peers_with_a_port_of_their_own_each_are_peer_to_peer)
{
    for (unsigned i = 0; i < 300; i++) {
        const struct flow_record r =
            opened_at(i * 0.2, view_key(IPPROTO_UDP, 1, 6346, VIEW_OUTSIDE + i, 10000 + 7 * i),
                      OPENING_SILENT);
        see(&r);
    }
    cr_assert(scan() == NULL);
}

/* A first packet of `flags` and so many bytes to `n` hosts of a port, all unanswered. */
static void halves(unsigned n, uint8_t flags, unsigned sport, unsigned dport, uint64_t bytes)
{
    for (unsigned i = 0; i < n; i++) {
        struct flow_record r =
            opened_at(i * 0.1, view_key(IPPROTO_TCP, 1, sport, 500 + i, dport), OPENING_SILENT);
        r.tcp_flags[0] = flags;
        r.bytes[0] = bytes;
        see(&r);
    }
}

Test(detect_scan, halves_of_conversations_are_none)
{
    halves(200, TCP_ACK | TCP_PSH, 50000, 443, 600); /* payload goes on */
    halves(200, TCP_ACK, 443, 50000, 52);            /* a server's side */
    halves(200, TCP_RST, 50000, 443, 40);
    halves(40, TCP_ACK, 50000, 443, 52); /* idle connections kept alive */
    cr_assert(scan() == NULL);
    halves(200, TCP_ACK, 50000, 443, 40); /* but nobody has so many: an ACK scan */
    cr_assert(scan() != NULL);
    detecting_begin();
    halves(30, TCP_FIN, 50000, 443, 40);
    cr_assert(scan() != NULL);
}

Test(detect_scan, streams_and_late_answers_by_udp_are_none)
{
    for (unsigned i = 0; i < 200; i++) {
        struct flow_record r = opened_at(
            i * 0.1, view_key(IPPROTO_UDP, 1, 50000, VIEW_OUTSIDE + i, 443), OPENING_SILENT);
        r.pkts[0] = 12; /* QUIC, one side of it */
        see(&r);
        r = opened_at(i * 0.1, view_key(IPPROTO_UDP, 1, 53, 2, 30000 + i), OPENING_SILENT);
        see(&r);
    }
    cr_assert(scan() == NULL);
}

Test(detect_scan, retries_to_a_dead_server_are_none)
{
    for (unsigned i = 0; i < 5000; i++) {
        const struct flow_record r = opened_at(
            i * 0.02, view_key(IPPROTO_TCP, 1, 1024 + i, 2, 8080 + i % 2), OPENING_SILENT);
        see(&r);
    }
    cr_assert(scan() == NULL);
}

Test(detect_scan, a_few_failures_a_minute_for_hours_are_none)
{
    knock(1, 500, 0, 10, OPENING_REFUSED); /* at most 12 in two minutes */
    cr_assert(scan() == NULL);
}

Test(detect_scan, two_minutes_count_together)
{
    knock(1, 25, 0, 6, OPENING_REFUSED); /* 10 a minute */
    cr_assert(scan() != NULL);
}

Test(detect_scan, groups_broadcasts_and_reports_are_no_attempts)
{
    for (unsigned i = 0; i < 60; i++) {
        struct flow_record r =
            opened_at(i * 0.1, view_key(IPPROTO_UDP, 1, 5000, 2, 1000 + i), OPENING_SILENT);
        ip_from_v4((const uint8_t[]){(uint8_t)(i % 2 ? 239 : 255), 255, 255, 250}, r.key.dst);
        see(&r);
        r = opened_at(i * 0.1, view_key(IPPROTO_ICMP, 1, 3, 100 + i, 3), OPENING_SILENT);
        see(&r); /* "port unreachable" to many */
    }
    cr_assert(scan() == NULL);
}

Test(detect_scan, an_answered_scan_of_open_ports_is_beyond_it)
{
    knock(1, 200, 0, 0.01, OPENING_ANSWERED); /* stated: failure is the evidence */
    cr_assert(scan() == NULL);
}

Test(detect_scan, the_normal_is_what_the_minutes_before_held)
{
    for (unsigned minute = 0; minute < 5; minute++)
        knock(1, 3, minute * 60, 1, OPENING_REFUSED);
    knock(1, 40, 301, 0.1, OPENING_REFUSED);
    const struct alert_reason *r = reason_of(told(), "failed_targets");
    cr_assert(r->normal_n == 5 && r->normal > 2.9F && r->normal < 3.1F && r->normal_sd < 0.1F);
    cr_assert(strstr(r->text, "this host's normal is 3 a minute") != NULL, "%s", r->text);
}

Test(detect_scan, its_flows_are_evidence_when_they_end_and_answered_ones_are_not)
{
    knock(1, 20, 0, 0.1, OPENING_REFUSED);
    struct flow_record r = ended_after(
        opened_at(1, view_key(IPPROTO_TCP, 1, 50000, 2, 100), OPENING_REFUSED), 2, 1, 60, 0);
    see(&r);
    cr_assert(seen.is_evidence && seen.evidence_score == told()->score);
    r = ended_after(opened_at(2, view_key(IPPROTO_TCP, 1, 50000, 3, 443), OPENING_ANSWERED), 2, 10,
                    2000, 2000);
    see(&r);
    cr_assert(!seen.is_evidence);
    r = ended_after(opened_at(2, view_key(IPPROTO_TCP, 4, 50000, 3, 443), OPENING_REFUSED), 2, 1,
                    60, 0);
    see(&r); /* another host's */
    cr_assert(!seen.is_evidence);
}

Test(detect_scan, after_a_quiet_time_another_scan_starts_from_nothing)
{
    uint8_t uid[16];

    knock(1, 40, 0, 0.1, OPENING_REFUSED);
    memcpy(uid, told()->uid, 16);
    knock(1, 14, 2000, 0.1, OPENING_REFUSED);
    cr_assert_eq(memcmp(uid, told()->uid, 16), 0); /* 14 are none: still the first one's words */
    cr_assert_eq(told()->count, 40);               /* its farewell */
    knock(1, 20, 2002, 0.1, OPENING_REFUSED);
    cr_assert_neq(memcmp(uid, told()->uid, 16), 0);
    cr_assert_eq(told()->first_ns, VIEW_T0 + 2000 * DETECTING_S);
}

Test(detect_scan, sources_beyond_the_limit_are_forgotten_and_counted)
{
    struct detect_conf conf = detecting_conf();

    conf.max = 16;
    detecting_start(&conf);
    for (unsigned i = 0; i < 100; i++)
        knock(1000 + i, 1, i * 0.01, 0, OPENING_REFUSED);
    cr_assert_eq(detectors_evicted(seen.detectors), 84);
    knock(1, 20, 5, 0.01, OPENING_REFUSED);
    cr_assert(scan() != NULL);
}
