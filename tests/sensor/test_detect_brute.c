#include "support/detecting.h"

TestSuite(detect_brute, .init = detecting_begin, .fini = detecting_stop);

static const struct alert_record *brute(void)
{
    return last_alert(DETECTOR_BRUTE_FORCE);
}

/* A refused login: 2.5 s, 12 packets each way, 2 kB out, 3 kB in. */
static struct flow_record login(double at, unsigned src, unsigned dst, unsigned dport)
{
    return ended_after(
        opened_at(at, view_key(IPPROTO_TCP, src, 40000 + (unsigned)at % 20000, dst, dport),
                  OPENING_ANSWERED),
        2.5, 12, 2000, 3000);
}

static void try(unsigned n, double at, double step, unsigned dport)
{
    for (unsigned i = 0; i < n; i++) {
        const struct flow_record r = login(at + i * step, 1, 2, dport);
        see(&r);
    }
}

Test(detect_brute, eight_short_sessions_are_one_and_seven_are_none)
{
    try(7, 0, 3, 22);
    cr_assert(brute() == NULL && !seen.is_evidence);
    try(1, 21, 3, 22);
    cr_assert(brute() != NULL && brute()->count == 8 && seen.is_evidence);
}

Test(detect_brute, it_says_who_did_what_to_whom_and_why)
{
    try(33, 100, 3, 22);
    alerts_close(seen.alerts);
    detecting_take_alerts();

    const struct alert_record *a = brute();
    cr_assert_str_eq(a->signature,
                     "10.0.0.1 tried to log in to SSH on 10.0.0.2 33 times within 98.5 s");
    cr_assert_str_eq(a->technique_id, "T1110");
    cr_assert(a->count == 33 && a->severity == SEVERITY_HIGH && a->n_entities == 2);
    cr_assert_eq(a->first_ns, VIEW_T0 + 100 * DETECTING_S);
    cr_assert_eq(a->last_ns, VIEW_T0 + 198 * DETECTING_S + DETECTING_S / 2);
    cr_assert_str_eq(a->entity[0].value, "10.0.0.1");
    cr_assert_str_eq(a->entity[1].value, "10.0.0.2");
    cr_assert_float_eq(a->score, 1 - 8 / 66.0, 1e-4);
    const struct alert_reason *r = reason_of(a, "short_logins");
    cr_assert_str_eq(r->text, "33 short SSH sessions within 98.5 s; these two had no history yet");
    r = reason_of(a, "session_time");
    cr_assert_float_eq(r->value, 2500, 1);
    cr_assert_str_eq(r->text, "each lasted 2.5 s on average: a refused login, not work");
}

Test(detect_brute, every_login_service_is_known_by_its_port)
{
    static const unsigned people[] = {22, 21, 23, 3389, 5900};
    static const unsigned programs[] = {445, 143, 110, 3306, 5432, 1433, 389};

    for (size_t i = 0; i < WIND_ARRAY_SIZE(people); i++) {
        detecting_begin();
        try(8, 0, 1, people[i]);
        cr_assert(brute() != NULL && brute()->key.dport == people[i], "%u", people[i]);
    }
    for (size_t i = 0; i < WIND_ARRAY_SIZE(programs); i++) {
        detecting_begin();
        try(47, 0, 1, programs[i]);
        cr_assert(brute() == NULL, "%u: a program logs in for every mail or query", programs[i]);
        try(1, 47, 1, programs[i]);
        cr_assert(brute() != NULL && brute()->key.dport == programs[i], "%u", programs[i]);
        cr_assert_float_eq(brute()->score, 0.5, 1e-6);
    }
}

Test(detect_brute, who_only_looks_whether_the_port_is_open_guesses_nothing)
{
    for (unsigned i = 0; i < 60; i++) {
        struct flow_record r = login(i * 2, 1, 2, 22);
        r.missing = UINT64_C(1) << FEATURE_payload_mean_fwd;
        see(&r);
    }
    cr_assert(brute() == NULL);
}

Test(detect_brute, what_was_said_counts_on_any_port_and_a_guess_does_not)
{
    for (unsigned guessed = 0; guessed < 2; guessed++) {
        detecting_begin();
        for (unsigned i = 0; i < 10; i++) {
            struct flow_record r = login(i * 2, 1, 2, 2222);
            (void)snprintf(r.app, sizeof(r.app), "ssh");
            r.dpi_guessed = (uint8_t)guessed;
            see(&r);
        }
        cr_assert_eq(brute() == NULL, guessed == 1);
    }
    detecting_begin();
    try(50, 0, 1, 443);
    try(50, 0, 1, 8080);
    cr_assert(brute() == NULL); /* no login service */
}

/* `n` sessions of a shape that differs from a login's. */
static void sessions(unsigned n, double step, double seconds, uint64_t pkts, uint64_t out,
                     uint64_t in)
{
    detecting_begin();
    for (unsigned i = 0; i < n; i++) {
        const struct flow_record r = ended_after(
            opened_at(i * step, view_key(IPPROTO_TCP, 1, 40000 + i, 2, 22), OPENING_ANSWERED),
            seconds, pkts, out, in);
        see(&r);
    }
}

Test(detect_brute, sessions_of_work_are_none)
{
    sessions(50, 1, 61, 12, 2000, 3000); /* long */
    cr_assert(brute() == NULL);
    sessions(50, 1, 60, 12, 2000, 3000); /* the longest that counts */
    cr_assert(brute() != NULL);
    sessions(50, 1, 5, 500, 20001, 3000); /* rsync to it */
    cr_assert(brute() == NULL);
    sessions(50, 1, 5, 500, 2000, 20001); /* and from it */
    cr_assert(brute() == NULL);
    sessions(50, 1, 5, 500, 20000, 20000);
    cr_assert(brute() != NULL);
    sessions(50, 1, 5, 3, 300, 300); /* a check whether the port is open */
    cr_assert(brute() == NULL);
}

Test(detect_brute, a_session_each_half_minute_is_none)
{
    try(200, 0, 30, 22);
    cr_assert(brute() == NULL);
}

Test(detect_brute, refused_and_silent_openings_are_not_guesses)
{
    for (unsigned i = 0; i < 50; i++) {
        struct flow_record r =
            ended_after(opened_at(i, view_key(IPPROTO_TCP, 1, 40000 + i, 2, 22), OPENING_REFUSED),
                        1, 5, 300, 0);
        see(&r);
        cr_assert(last_alert(DETECTOR_BRUTE_FORCE) == NULL);
    }
}

Test(detect_brute, an_update_is_no_session)
{
    for (unsigned i = 0; i < 50; i++) {
        struct flow_record r = login(i, 1, 2, 22);
        r.header.kind = RECORD_FLOW_UPDATE;
        see(&r);
    }
    cr_assert(brute() == NULL);
}

Test(detect_brute, each_pair_is_its_own)
{
    for (unsigned i = 0; i < 70; i++) { /* 7 a pair */
        const struct flow_record r = login(i * 0.5, 1 + i % 10, 100, 22);
        see(&r);
    }
    cr_assert(brute() == NULL);
}

Test(detect_brute, the_normal_of_the_pair_is_told)
{
    for (unsigned minute = 0; minute < 4; minute++)
        try(2, minute * 60, 10, 22);
    try(20, 241, 1, 22);
    const struct alert_reason *r = reason_of(brute(), "short_logins");
    cr_assert(r->normal_n == 4 && r->normal > 1.9F && r->normal < 2.1F, "%u %f", r->normal_n,
              (double)r->normal);
    cr_assert(strstr(r->text, "normal for these two is 2 a minute") != NULL, "%s", r->text);
}
