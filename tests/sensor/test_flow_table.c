#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "support/flow_watch.h"
#include "support/oom.h"

TestSuite(flow_table, .init = set_up, .fini = tear_down);

/* ---------------------------------------------------------------- directions */

Test(flow_table, both_directions_are_one_flow)
{
    cr_assert_eq(direction(0, view_tcp(1, 5000, 2, 80, TCP_SYN)), 0);
    cr_assert_eq(direction(1, view_tcp(2, 80, 1, 5000, TCP_SYN | TCP_ACK)), 1);
    cr_assert_eq(direction(2, view_tcp(1, 5000, 2, 80, TCP_ACK)), 0);
    cr_assert_eq(flow_table_live(t.table), 1);
    const struct told *o = nth(RECORD_FLOW_OPENED, 0);
    cr_assert(o != NULL && o->opening == OPENING_ANSWERED);
    flow_table_flush(t.table);
    const struct told *e = nth(RECORD_FLOW_ENDED, 0);
    cr_assert(e->pkts[0] == 2 && e->pkts[1] == 1 && e->bytes[0] == 80 && e->bytes[1] == 40);
    cr_assert(same_key(e->key, view_key(IPPROTO_TCP, 1, 5000, 2, 80)));
    cr_assert_eq(e->end, FLOW_END_FLUSHED);
}

Test(flow_table, a_syn_ack_without_its_syn_comes_from_the_server)
{
    cr_assert_eq(direction(0, view_tcp(2, 80, 1, 5000, TCP_SYN | TCP_ACK)), 1);
    cr_assert_eq(direction(1, view_tcp(1, 5000, 2, 80, TCP_ACK)), 0);
    flow_table_flush(t.table);
    cr_assert(same_key(nth(RECORD_FLOW_ENDED, 0)->key, view_key(IPPROTO_TCP, 1, 5000, 2, 80)));
    cr_assert_eq(nth(RECORD_FLOW_OPENED, 0)->opening, OPENING_ANSWERED);
}

Test(flow_table, other_vlans_protocols_and_versions_are_other_flows)
{
    struct packet_view v = view_udp(1, 5000, 2, 80);

    (void)packet_at(0, v, NULL);
    v.key.vlan = 7;
    (void)packet_at(0, v, NULL);
    v.key.ip_version = 6;
    (void)packet_at(0, v, NULL);
    (void)packet_at(0, view_tcp(1, 5000, 2, 80, TCP_SYN), NULL);
    cr_assert_eq(flow_table_live(t.table), 4);
}

Test(flow_table, a_packet_from_a_host_to_itself_has_one_direction)
{
    cr_assert_eq(direction(0, view_tcp(1, 139, 1, 139, TCP_SYN)), 0);
    cr_assert_eq(direction(1, view_tcp(1, 139, 1, 139, TCP_SYN)), 0);
    cr_assert_eq(flow_table_live(t.table), 1);
}

static const struct pair {
    unsigned proto, question, answer;
} pairs[] = {{IPPROTO_ICMP, 8, 0},       {IPPROTO_ICMP, 13, 14},    {IPPROTO_ICMP, 15, 16},
             {IPPROTO_ICMP, 10, 9},      {IPPROTO_ICMP, 17, 18},    {IPPROTO_ICMPV6, 128, 129},
             {IPPROTO_ICMPV6, 133, 134}, {IPPROTO_ICMPV6, 135, 136}};

Test(flow_table, icmp_questions_and_answers_are_one_flow_whoever_is_seen_first)
{
    for (size_t i = 0; i < WIND_ARRAY_SIZE(pairs); i++) {
        const struct flow_key ask = view_key(pairs[i].proto, 1, pairs[i].question, 2, 0);
        const struct flow_key say = view_key(pairs[i].proto, 2, pairs[i].answer, 1, 0);

        for (unsigned answer_first = 0; answer_first < 2; answer_first++) {
            set_up();
            cr_assert_eq(direction(0, view_of(answer_first ? say : ask, 0, 8)), answer_first);
            cr_assert_eq(direction(1, view_of(answer_first ? ask : say, 0, 8)), !answer_first);
            cr_assert_eq(flow_table_live(t.table), 1);
            cr_assert_eq(nth(RECORD_FLOW_OPENED, 0)->opening, OPENING_ANSWERED);
            flow_table_flush(t.table);
            cr_assert(same_key(nth(RECORD_FLOW_ENDED, 0)->key, ask));
        }
    }
}

Test(flow_table, icmp_questions_of_both_sides_are_two_flows)
{
    (void)packet_at(0, view_of(view_key(IPPROTO_ICMP, 1, 8, 2, 0), 0, 8), NULL);
    (void)packet_at(0, view_of(view_key(IPPROTO_ICMP, 2, 8, 1, 0), 0, 8), NULL);
    cr_assert_eq(flow_table_live(t.table), 2);
}

Test(flow_table, the_hash_is_the_same_both_ways)
{
    for (unsigned i = 0; i < 20000; i++) {
        const unsigned proto = i % 3 == 0 ? IPPROTO_TCP : i % 3 == 1 ? IPPROTO_UDP : IPPROTO_SCTP;
        struct flow_key k = view_key(proto, i % 300, i * 7, (i * 31) % 300, i * 13);
        k.vlan = (uint16_t)(i % 5);
        const struct flow_key r = view_reversed(k);

        cr_assert_eq(flow_table_prefetch(t.table, &k), flow_table_prefetch(t.table, &r));
    }
}

Test(flow_table, the_hash_spreads_what_differs_in_one_port_or_address)
{
    static uint8_t hit[1024];
    size_t empty = 0;

    for (unsigned i = 0; i < 4096; i++) {
        const struct flow_key k = view_key(IPPROTO_TCP, 1, 40000 + i % 64, 2 + i / 64, 80);
        const uint32_t bucket = flow_table_prefetch(t.table, &k) % 1024;
        hit[bucket] = (uint8_t)(hit[bucket] + (hit[bucket] < 255));
    }
    for (size_t i = 0; i < 1024; i++) {
        empty += hit[i] == 0;
        cr_assert_lt(hit[i], 20); /* 4 each on average: chance makes about 14 the worst */
    }
    cr_assert_lt(empty, 60); /* e^-4 of 1024 = 19 */
}

/* ---------------------------------------------------------------- openings */

Test(flow_table, a_reset_answers_with_a_refusal)
{
    (void)packet_at(0, view_tcp(1, 5000, 2, 81, TCP_SYN), NULL);
    (void)packet_at(1, view_tcp(2, 81, 1, 5000, TCP_RST | TCP_ACK), NULL);
    cr_assert_eq(nth(RECORD_FLOW_OPENED, 0)->opening, OPENING_REFUSED);
    advance_to(10 * S);
    cr_assert_eq(nth(RECORD_FLOW_ENDED, 0)->end, FLOW_END_CLOSED);
    cr_assert_eq(nth(RECORD_FLOW_ENDED, 0)->state, FLOW_RESET);
    cr_assert_eq(how_many(RECORD_FLOW_OPENED), 1);
}

Test(flow_table, a_reset_of_the_opener_is_no_refusal)
{
    (void)packet_at(0, view_tcp(1, 5000, 2, 81, TCP_SYN), NULL);
    (void)packet_at(1, view_tcp(1, 5000, 2, 81, TCP_RST), NULL);
    cr_assert_eq(how_many(RECORD_FLOW_OPENED), 0);
    advance_to(10 * S);
    cr_assert_eq(nth(RECORD_FLOW_OPENED, 0)->opening, OPENING_SILENT);
}

Test(flow_table, no_answer_for_a_second_is_silence_and_told_soon)
{
    (void)packet_at(0, view_tcp(1, 5000, 2, 81, TCP_SYN), NULL);
    advance_to(S - 1);
    cr_assert_eq(t.n, 0);
    advance_to(S + 2 * (UINT64_C(1) << 30)); /* the wheel turns in steps of 1.07 s */
    cr_assert_eq(how_many(RECORD_FLOW_OPENED), 1);
    cr_assert_eq(t.told[0].opening, OPENING_SILENT);
    /* An answer after that changes the state, not the opening that was told. */
    (void)packet_at(5 * S, view_tcp(2, 81, 1, 5000, TCP_SYN | TCP_ACK), NULL);
    cr_assert_eq(how_many(RECORD_FLOW_OPENED), 1);
    flow_table_flush(t.table);
    cr_assert_eq(nth(RECORD_FLOW_ENDED, 0)->state, FLOW_ESTABLISHED);
    cr_assert_eq(nth(RECORD_FLOW_ENDED, 0)->opening, OPENING_SILENT);
}

static struct packet_view unreachable(unsigned from, struct flow_key about)
{
    unsigned to = 1;
    struct packet_view v = view_of(view_key(IPPROTO_ICMP, from, 3, to, 3), 0, 36);

    v.has_inner = true;
    v.inner = about;
    return v;
}

Test(flow_table, an_unreachable_refuses_the_flow_that_it_quotes)
{
    (void)packet_at(0, view_udp(1, 5000, 2, 161), NULL);
    (void)packet_at(1, unreachable(9, view_key(IPPROTO_UDP, 1, 5000, 2, 161)), NULL);
    cr_assert_eq(how_many(RECORD_FLOW_OPENED), 1);
    cr_assert_eq(t.told[0].opening, OPENING_REFUSED);
    cr_assert_eq(t.told[0].id, 1);
    cr_assert_eq(flow_table_live(t.table), 2); /* the report is a flow of its own */
}

static struct packet_view report(unsigned proto, unsigned type, unsigned code,
                                 struct flow_key about)
{
    struct packet_view v = view_of(view_key(proto, 9, type, 1, code), 0, 36);

    v.has_inner = true;
    v.inner = about;
    return v;
}

/* What routers say about packets on the way: not what the target says about who may call. */
Test(flow_table, only_an_unreachable_refuses)
{
    static const struct {
        unsigned proto, type, code;
        enum flow_opening opening;
    } reports[] = {
        {IPPROTO_ICMP, 3, 1, OPENING_REFUSED},    {IPPROTO_ICMP, 3, 4, OPENING_PENDING},
        {IPPROTO_ICMP, 4, 0, OPENING_PENDING},    {IPPROTO_ICMP, 5, 1, OPENING_PENDING},
        {IPPROTO_ICMP, 11, 0, OPENING_ANSWERED},  {IPPROTO_ICMP, 12, 0, OPENING_PENDING},
        {IPPROTO_ICMPV6, 1, 4, OPENING_REFUSED},  {IPPROTO_ICMPV6, 2, 0, OPENING_PENDING},
        {IPPROTO_ICMPV6, 3, 0, OPENING_ANSWERED}, {IPPROTO_ICMPV6, 4, 0, OPENING_PENDING},
    };

    for (size_t i = 0; i < WIND_ARRAY_SIZE(reports); i++) {
        set_up();
        const struct flow *f = packet_at(0, view_udp(1, 5000, 2, 33434), NULL);
        (void)packet_at(1,
                        report(reports[i].proto, reports[i].type, reports[i].code,
                               view_key(IPPROTO_UDP, 1, 5000, 2, 33434)),
                        NULL);
        cr_assert_eq(f->opening, reports[i].opening, "type %u", reports[i].type);
    }
}

/* Nobody asked: a router that advertises itself, a host that announces its address. */
Test(flow_table, an_icmp_answer_to_a_group_keeps_its_sender)
{
    struct flow_key key = view_key(IPPROTO_ICMPV6, 1, 134, 2, 0);

    memset(key.dst, 0, sizeof(key.dst));
    key.dst[0] = 0xff; /* ff02::1 */
    key.dst[1] = 2;
    key.dst[15] = 1;
    cr_assert_eq(direction(0, view_of(key, 0, 8)), 0);
    cr_assert_eq(direction(1, view_of(key, 0, 8)), 0);
    key.sport = 136;
    cr_assert_eq(direction(2, view_of(key, 0, 8)), 0);
    key = view_key(IPPROTO_ICMP, 1, 9, 2, 0);
    key.dst[12] = 224;
    cr_assert_eq(direction(3, view_of(key, 0, 8)), 0);
    cr_assert_eq(flow_table_live(t.table), 3);
}

Test(flow_table, an_unreachable_about_an_answer_or_about_nothing_we_saw_refuses_nobody)
{
    (void)packet_at(0, view_udp(1, 5000, 2, 161), NULL);
    (void)packet_at(1, unreachable(9, view_key(IPPROTO_UDP, 2, 161, 1, 5000)), NULL);
    (void)packet_at(1, unreachable(9, view_key(IPPROTO_UDP, 1, 5001, 2, 161)), NULL);
    cr_assert_eq(how_many(RECORD_FLOW_OPENED), 0);
}

Test(flow_table, an_unreachable_comes_too_late_for_a_flow_that_was_answered)
{
    (void)packet_at(0, view_udp(1, 5000, 2, 161), NULL);
    (void)packet_at(1, view_udp(2, 161, 1, 5000), NULL);
    (void)packet_at(2, unreachable(9, view_key(IPPROTO_UDP, 1, 5000, 2, 161)), NULL);
    cr_assert_eq(how_many(RECORD_FLOW_OPENED), 1);
    cr_assert_eq(t.told[0].opening, OPENING_ANSWERED);
}

/* ---------------------------------------------------------------- ends */

Test(flow_table, a_fin_of_each_side_closes_and_lingers_for_stragglers)
{
    handshake(0, 5000);
    (void)packet_at(3, view_tcp(1, 5000, 2, 80, TCP_FIN | TCP_ACK), NULL);
    cr_assert_eq(packet_at(4, view_tcp(2, 80, 1, 5000, TCP_ACK), NULL)->state, FLOW_ESTABLISHED);
    cr_assert_eq(packet_at(5, view_tcp(2, 80, 1, 5000, TCP_FIN | TCP_ACK), NULL)->state,
                 FLOW_CLOSED);
    (void)packet_at(S, view_tcp(1, 5000, 2, 80, TCP_ACK), NULL); /* a straggler */
    cr_assert_eq(how_many(RECORD_FLOW_ENDED), 0);
    advance_to(3 * S + 2 * (UINT64_C(1) << 30));
    cr_assert_eq(how_many(RECORD_FLOW_ENDED), 1);
    const struct told *e = nth(RECORD_FLOW_ENDED, 0);
    cr_assert(e->end == FLOW_END_CLOSED && e->pkts[0] == 4 && e->pkts[1] == 3);
}

Test(flow_table, a_syn_on_closed_ports_is_another_flow_at_once)
{
    handshake(0, 5000);
    (void)packet_at(3, view_tcp(2, 80, 1, 5000, TCP_RST), NULL);
    cr_assert_eq(direction(S, view_tcp(1, 5000, 2, 80, TCP_SYN)), 0);
    const struct told *e = nth(RECORD_FLOW_ENDED, 0);
    cr_assert(e != NULL && e->end == FLOW_END_CLOSED && e->id == 1 && e->pkts[0] == 2);
    cr_assert_eq(flow_table_live(t.table), 1);
    cr_assert_eq(flow_table_next_id(t.table), 3);
}

Test(flow_table, a_syn_ack_or_a_syn_on_open_ports_is_not)
{
    handshake(0, 5000);
    (void)packet_at(S, view_tcp(1, 5000, 2, 80, TCP_SYN), NULL); /* a late duplicate */
    cr_assert_eq(flow_table_next_id(t.table), 2);
    (void)packet_at(S, view_tcp(2, 80, 1, 5000, TCP_RST), NULL);
    (void)packet_at(S + 1, view_tcp(2, 80, 1, 5000, TCP_SYN | TCP_ACK), NULL);
    cr_assert_eq(flow_table_next_id(t.table), 2);
}

Test(flow_table, answered_and_unanswered_flows_idle_out_at_their_own_times)
{
    (void)packet_at(0, view_udp(1, 5000, 2, 53), NULL);
    (void)packet_at(0, view_udp(1, 5001, 2, 53), NULL);
    (void)packet_at(0, view_udp(2, 53, 1, 5001), NULL);
    advance_to(30 * S - 1);
    cr_assert_eq(how_many(RECORD_FLOW_ENDED), 0);
    advance_to(33 * S);
    cr_assert_eq(how_many(RECORD_FLOW_ENDED), 1);
    cr_assert(nth(RECORD_FLOW_ENDED, 0)->id == 1 &&
              nth(RECORD_FLOW_ENDED, 0)->end == FLOW_END_IDLE);
    advance_to(120 * S - 1);
    cr_assert_eq(how_many(RECORD_FLOW_ENDED), 1);
    advance_to(123 * S);
    cr_assert_eq(how_many(RECORD_FLOW_ENDED), 2);
    cr_assert_eq(flow_table_live(t.table), 0);
}

Test(flow_table, without_a_connection_an_answered_flow_may_end_sooner_and_is_told_once)
{
    struct flow_table_conf conf = ordinary;

    conf.idle_udp_ns = 60 * S;
    with(&conf);
    handshake(0, 5000);
    (void)packet_at(0, view_udp(1, 5001, 2, 53), NULL);
    (void)packet_at(S / 10, view_udp(2, 53, 1, 5001), NULL);
    advance_to(60 * S);
    cr_assert_eq(how_many(RECORD_FLOW_ENDED), 0);
    advance_to(63 * S);
    cr_assert_eq(how_many(RECORD_FLOW_ENDED), 1);
    cr_assert_eq(nth(RECORD_FLOW_ENDED, 0)->key.proto, IPPROTO_UDP);
    advance_to(123 * S);
    cr_assert_eq(how_many(RECORD_FLOW_ENDED), 2);
    cr_assert_eq(how_many(RECORD_FLOW_UPDATE), 1, "only of what had longer to go");
}

Test(flow_table, packets_put_the_idle_end_off)
{
    handshake(0, 5000);
    for (unsigned s = 100; s <= 1000; s += 100)
        (void)packet_at(s * S, view_tcp(1, 5000, 2, 80, TCP_ACK), NULL);
    cr_assert_eq(how_many(RECORD_FLOW_ENDED), 0);
    advance_to(1119 * S);
    cr_assert_eq(how_many(RECORD_FLOW_ENDED), 0);
    advance_to(1123 * S);
    cr_assert_eq(how_many(RECORD_FLOW_ENDED), 1);
}

Test(flow_table, a_flow_that_lasts_is_updated_each_active_time_and_no_oftener)
{
    uint64_t last = VIEW_T0;
    size_t n = 0;

    handshake(0, 5000);
    for (unsigned s = 10; s <= 1000; s += 10)
        (void)packet_at(s * S, view_tcp(1, 5000, 2, 80, TCP_ACK), NULL);
    for (const struct told *u; (u = nth(RECORD_FLOW_UPDATE, n)) != NULL; n++) {
        const uint64_t gap = u->clock_ns - last;
        cr_assert(gap >= 60 * S && gap <= 73 * S, "update %zu after %lu s", n, gap / S);
        last = u->clock_ns;
    }
    cr_assert(n >= 14 && n <= 16, "%zu", n);
}

Test(flow_table, a_flow_that_was_silent_since_its_update_gets_none)
{
    handshake(0, 5000);
    (void)packet_at(50 * S, view_tcp(1, 5000, 2, 80, TCP_ACK), NULL);
    advance_to(65 * S);
    cr_assert_eq(how_many(RECORD_FLOW_UPDATE), 1);
    for (unsigned s = 66; s < 169; s++)
        advance_to(s * S);
    cr_assert_eq(how_many(RECORD_FLOW_UPDATE), 1);
    cr_assert_eq(how_many(RECORD_FLOW_ENDED), 0);
}

Test(flow_table, the_first_packets_make_an_update)
{
    struct flow_table_conf conf = ordinary;

    conf.first_pkts = 3;
    with(&conf);
    for (unsigned i = 0; i < 10; i++)
        (void)packet_at(i, view_udp(1, 5000, 2, 53), NULL);
    cr_assert_eq(how_many(RECORD_FLOW_UPDATE), 1);
    cr_assert_eq(nth(RECORD_FLOW_UPDATE, 0)->pkts[0], 3);
}

Test(flow_table, a_jump_of_fifty_years_ends_everything_at_once)
{
    for (unsigned i = 0; i < 1000; i++)
        (void)packet_at(i * UINT64_C(1000000), view_udp(1, 1000 + i, 2, 53), NULL);
    advance_to(UINT64_C(50) * 365 * 86400 * S);
    cr_assert_eq(flow_table_live(t.table), 0);
    cr_assert_eq(how_many(RECORD_FLOW_ENDED), 1000);
    (void)packet_at(UINT64_C(50) * 365 * 86400 * S, view_udp(1, 1000, 2, 53), NULL);
    advance_to(UINT64_C(50) * 365 * 86400 * S + 33 * S);
    cr_assert_eq(flow_table_live(t.table), 0);
}

Test(flow_table, a_jump_of_one_turn_of_the_wheel_and_a_bit_misses_nobody)
{
    for (uint64_t ticks = 1020; ticks < 1030; ticks++) {
        set_up();
        for (unsigned i = 0; i < 50; i++)
            (void)packet_at(i * S, view_udp(1, 1000 + i, 2, 53), NULL);
        advance_to(50 * S + (ticks << 30));
        cr_assert_eq(flow_table_live(t.table), 0, "%lu", ticks);
    }
}

Test(flow_table, time_outs_longer_than_the_wheel_hold)
{
    struct flow_table_conf conf = ordinary;

    conf.idle_ns = conf.idle_new_ns = conf.active_ns = 86400 * S;
    with(&conf);
    (void)packet_at(0, view_udp(1, 5000, 2, 53), NULL);
    for (unsigned s = 0; s < 86400; s += 500)
        advance_to(s * S);
    cr_assert_eq(flow_table_live(t.table), 1);
    advance_to(86403 * S);
    cr_assert_eq(flow_table_live(t.table), 0);
}

Test(flow_table, a_clock_that_runs_backwards_stands_still)
{
    unsigned dir;
    struct packet_view v = view_udp(1, 5000, 2, 53);

    (void)packet_at(100 * S, v, NULL);
    flow_table_advance(t.table, VIEW_T0); /* ignored */
    struct flow *f =
        flow_table_touch(t.table, &v, flow_table_prefetch(t.table, &v.key), VIEW_T0 + 40 * S, &dir);
    cr_assert_eq(f->start_ns, VIEW_T0 + 40 * S); /* its own times are those of its packets */
    cr_assert_eq(f->end_ns, VIEW_T0 + 100 * S);
    cr_assert_eq(f->seen_ns, VIEW_T0 + 100 * S); /* idle time counts by the clock */
}

/* ---------------------------------------------------------------- limits */

Test(flow_table, a_full_table_ends_an_idle_flow_for_a_new_one)
{
    for (unsigned i = 0; i < 1024; i++)
        (void)packet_at(i * UINT64_C(1000), view_udp(1, 1000 + i, 2, 53), NULL);
    cr_assert_eq(t.n, 0);
    (void)packet_at(2000000, view_udp(1, 9999, 2, 53), NULL);
    cr_assert_eq(flow_table_live(t.table), 1024);
    const struct told *e = nth(RECORD_FLOW_ENDED, 0);
    cr_assert(e != NULL && e->end == FLOW_END_EVICTED && e->id == 1); /* idlest of its sample */
    cr_assert_eq(how_many(RECORD_FLOW_OPENED), 1);                    /* its opening, too */
    for (unsigned i = 0; i < 5000; i++)
        (void)packet_at(3000000 + i, view_udp(2, i, 3, 53), NULL);
    cr_assert_eq(flow_table_live(t.table), 1024);
    cr_assert_eq(how_many(RECORD_FLOW_ENDED), 5001);
}

Test(flow_table, an_active_flow_outlives_a_flood)
{
    struct flow_table_conf conf = ordinary;

    conf.max = 64;
    with(&conf);
    handshake(0, 5000);
    for (unsigned i = 0; i < 1000; i++) {
        (void)packet_at((10 + i) * UINT64_C(1000000), view_tcp(7, i, 2, 80, TCP_SYN), NULL);
        (void)packet_at((10 + i) * UINT64_C(1000000), view_tcp(1, 5000, 2, 80, TCP_ACK), NULL);
    }
    for (size_t i = 0; i < t.n; i++)
        cr_assert_neq(t.told[i].id * (t.told[i].kind == RECORD_FLOW_ENDED), 1);
}

Test(flow_table, ids_count_from_the_first_one_and_are_never_used_twice)
{
    struct flow_table_conf conf = ordinary;

    conf.first_id = 1000;
    with(&conf);
    for (unsigned i = 0; i < 100; i++)
        cr_assert_eq(packet_at(0, view_udp(1, i, 2, 53), NULL)->flow_id, 1000 + i);
    advance_to(100 * S);
    cr_assert_eq(flow_table_live(t.table), 0);
    cr_assert_eq(packet_at(100 * S, view_udp(1, 0, 2, 53), NULL)->flow_id, 1100);
    cr_assert_eq(flow_table_next_id(t.table), 1101);
}

Test(flow_table, an_index_belongs_to_one_live_flow)
{
    static bool used[1024];

    for (unsigned i = 0; i < 1024; i++) {
        const size_t index = flow_table_index(t.table, packet_at(0, view_udp(1, i, 2, 53), NULL));
        cr_assert(index < 1024 && !used[index]);
        used[index] = true;
    }
}

Test(flow_table, a_flush_tells_each_flow_once)
{
    for (unsigned i = 0; i < 500; i++)
        (void)packet_at(i, view_udp(1, i, 2, 53), NULL);
    handshake(1000, 5000);
    (void)packet_at(3000000, view_tcp(1, 5000, 2, 80, TCP_RST), NULL);
    flow_table_flush(t.table);
    cr_assert_eq(how_many(RECORD_FLOW_ENDED), 501);
    cr_assert_eq(how_many(RECORD_FLOW_OPENED), 501);
    cr_assert_eq(nth(RECORD_FLOW_ENDED, 500)->end, FLOW_END_CLOSED); /* it had */
    flow_table_flush(t.table);
    cr_assert_eq(how_many(RECORD_FLOW_ENDED), 501);
    cr_assert_eq(flow_table_live(t.table), 0);
}

static int attempt(void)
{
    WIND_AUTO(flow_table) struct flow_table *table = NULL;
    struct err e = {0};
    const int r = flow_table_new(&table, &ordinary, take, NULL, &e);

    cr_assert(r == 0 || (r == -ENOMEM && table == NULL && e.text[0] != '\0'));
    return r;
}

Test(flow_table, without_memory_it_is_not_made)
{
    cr_assert_eq(oom_each(attempt), 4);
}
