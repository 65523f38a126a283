/* A full flow table: who goes, and who stays. */
#include <criterion/criterion.h>

#include "support/flow_watch.h"

TestSuite(flow_evict, .init = set_up, .fini = tear_down);

static void fill_with_unanswered(uint64_t at, unsigned from, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        (void)packet_at(
            at + i, view_tcp(100 + (from + i) % 50, 1000 + (from + i) / 50, 2, 80, TCP_SYN), NULL);
}

static size_t evicted_with_answer(void)
{
    size_t n = 0;

    for (size_t i = 0; i < t.n; i++)
        n += t.told[i].kind == RECORD_FLOW_ENDED && t.told[i].end == FLOW_END_EVICTED &&
             t.told[i].pkts[1] > 0;
    return n;
}

/* 24 conversations that pause for seven times as long as the oldest opening of the flood waits. */
Test(flow_evict, a_flood_of_openings_pushes_out_its_own)
{
    for (unsigned i = 0; i < 24; i++)
        handshake(i * 10, 5000 + i);
    fill_with_unanswered(S, 0, 8000);
    cr_assert_eq(flow_table_live(t.table), 1024);
    cr_assert_eq(evicted_with_answer(), 0);
    for (unsigned i = 0; i < 24; i++) /* they go on as if nothing had happened */
        cr_assert_eq(direction(S + 10000 + i, view_tcp(2, 80, 1, 5000 + i, TCP_ACK)), 1);
}

/* Two that lasted for a minute are silent for longer than any of the others, which come and go. */
Test(flow_evict, a_long_conversation_outlives_short_ones)
{
    for (unsigned i = 0; i < 60; i++) {
        for (unsigned k = 0; k < 2; k++) {
            (void)packet_at(i * S, view_udp(1, 6000 + k, 2, 53), NULL);
            (void)packet_at(i * S, view_udp(2, 53, 1, 6000 + k), NULL);
        }
    }
    for (unsigned i = 0; i < 4000; i++) {
        const uint64_t at = 60 * S + i * (S / 1000);
        (void)packet_at(at, view_udp(3 + i % 200, 7000 + i, 4, 53), NULL);
        (void)packet_at(at, view_udp(4, 53, 3 + i % 200, 7000 + i), NULL);
    }
    cr_assert_gt(how_many(RECORD_FLOW_ENDED), 2900);
    for (size_t i = 0; i < t.n; i++)
        cr_assert(t.told[i].end != FLOW_END_EVICTED || t.told[i].pkts[0] == 1);
}

Test(flow_evict, a_flow_that_is_over_goes_first)
{
    handshake(0, 5000);
    (void)packet_at(10000000, view_tcp(1, 5000, 2, 80, TCP_RST), NULL);
    fill_with_unanswered(11000000, 0, 1023);
    for (unsigned i = 0; i < 200; i++) /* the hand has come round */
        (void)packet_at(13000000 + i, view_udp(9, 1000 + i, 2, 53), NULL);
    size_t over = 0;
    for (size_t i = 0; i < t.n; i++)
        over += t.told[i].kind == RECORD_FLOW_ENDED && t.told[i].state == FLOW_RESET;
    cr_assert_eq(over, 1);
}

Test(flow_evict, flows_of_one_instant_can_be_told_apart_by_nobody_and_one_goes)
{
    for (unsigned i = 0; i < 1500; i++) {
        (void)packet_at(0, view_udp(1, 5000 + i, 2, 53), NULL);
        for (unsigned k = 0; k < 3; k++)
            (void)packet_at(0, view_udp(2, 53, 1, 5000 + i), NULL);
    }
    cr_assert_eq(flow_table_live(t.table), 1024);
    cr_assert_eq(how_many(RECORD_FLOW_ENDED), 1500 - 1024);
}

/* ---------------------------------------------------------------- at run time */

Test(flow_evict, a_lower_limit_is_reached_step_by_step_and_a_higher_one_holds_at_once)
{
    for (unsigned i = 0; i < 1000; i++)
        (void)packet_at(i, view_udp(1 + i % 200, 1000 + i, 2, 53), NULL);
    flow_table_set_max(t.table, 100);
    cr_assert_eq(flow_table_live(t.table), 1000); /* nothing happens without a flow to be made */
    for (unsigned i = 0; i < 100; i++) {
        (void)packet_at(2000 + i, view_udp(1 + i % 200, 20000 + i, 2, 53), NULL);
        cr_assert_eq(flow_table_live(t.table), 1000 - (i + 1));
    }
    for (unsigned i = 0; i < 2000; i++)
        (void)packet_at(3000 + i, view_udp(1 + i % 200, 30000 + i, 2, 53), NULL);
    cr_assert_eq(flow_table_live(t.table), 100);
    cr_assert_eq(how_many(RECORD_FLOW_ENDED), 3000);
    flow_table_set_max(t.table, 1u << 30); /* as much as there is memory for */
    for (unsigned i = 0; i < 2000; i++)
        (void)packet_at(9000 + i, view_udp(1 + i % 200, 40000 + i, 2, 53), NULL);
    cr_assert_eq(flow_table_live(t.table), 1024);
}

Test(flow_evict, a_limit_of_nothing_is_one)
{
    flow_table_set_max(t.table, 0);
    for (unsigned i = 0; i < 10; i++)
        (void)packet_at(i, view_udp(1, 1000 + i, 2, 53), NULL);
    cr_assert_eq(flow_table_live(t.table), 1);
}

/* ---------------------------------------------------------------- many at once */

Test(flow_evict, what_is_overdue_at_once_ends_a_few_at_a_time)
{
    struct flow_table_conf conf = ordinary;

    conf.burst = 8;
    with(&conf);
    for (unsigned i = 0; i < 1000; i++)
        (void)packet_at(0, view_udp(1 + i % 200, 1000 + i, 2, 53), NULL);
    advance_to(10 * S); /* all were silent: told, eight at a time */
    cr_assert_eq(t.n, 8);
    while (flow_table_is_behind(t.table))
        advance_to(10 * S);
    cr_assert_eq(how_many(RECORD_FLOW_OPENED), 1000);
    advance_to(40 * S);
    cr_assert_eq(how_many(RECORD_FLOW_ENDED), 8);
    for (unsigned i = 0; i < 100; i++) { /* packets of those that wait, and of others, meanwhile */
        const size_t before = how_many(RECORD_FLOW_ENDED);
        (void)packet_at(40 * S + i, view_udp(1 + i % 200, (i % 2 ? 1000 : 5000) + i, 2, 53), NULL);
        cr_assert_leq(how_many(RECORD_FLOW_ENDED), before + 8);
    }
    for (unsigned i = 0; i < 200 && flow_table_is_behind(t.table); i++)
        advance_to(41 * S);
    cr_assert_not(flow_table_is_behind(t.table));
    flow_table_flush(t.table);
    cr_assert_eq(how_many(RECORD_FLOW_ENDED), flow_table_next_id(t.table) - 1);
    cr_assert_eq(how_many(RECORD_FLOW_OPENED), flow_table_next_id(t.table) - 1);
}

/* When all 100 flows that are silent from second 0 on have ended, by seconds. */
static unsigned ended_at(bool is_held)
{
    struct flow_table_conf conf = ordinary;
    unsigned s = 0;

    conf.burst = 1000;
    with(&conf);
    flow_table_hold(t.table, is_held);
    for (unsigned i = 0; i < 100; i++)
        (void)packet_at(0, view_udp(1, 1000 + i, 2, 53), NULL);
    while (how_many(RECORD_FLOW_ENDED) < 100 && s < 60)
        advance_to(++s * S);
    return s;
}

Test(flow_evict, while_held_what_is_overdue_waits_but_not_for_long)
{
    const unsigned soon = ended_at(false), late = ended_at(true);

    cr_assert(soon >= 30 && soon <= 32, "%u", soon);
    cr_assert(late >= soon + 2 && late <= soon + FLOW_TABLE_HOLD_TICKS + 1, "%u, %u", soon, late);
}

Test(flow_evict, a_jump_in_the_middle_of_a_turn_ends_everything)
{
    struct flow_table_conf conf = ordinary;

    conf.burst = 3;
    with(&conf);
    for (unsigned i = 0; i < 500; i++)
        (void)packet_at(0, view_udp(1 + i % 200, 1000 + i, 2, 53), NULL);
    advance_to(40 * S);
    cr_assert(flow_table_is_behind(t.table));
    advance_to(40000 * S);
    cr_assert_eq(flow_table_live(t.table), 0);
    cr_assert_eq(how_many(RECORD_FLOW_ENDED), 500);
}

Test(flow_evict, a_jump_shows_flows_that_wait_longer_than_the_wheel_once)
{
    struct flow_table_conf conf = ordinary;

    conf.idle_ns = conf.idle_new_ns = conf.active_ns = 86400 * S;
    with(&conf);
    for (unsigned i = 0; i < 500; i++) /* in many slots: one of them is the last before now */
        (void)packet_at(i * 3 * S, view_udp(1, 1000 + i, 2, 53), NULL);
    for (unsigned i = 1; i < 20; i++)
        advance_to((2000 + i * 1777) * S);
    cr_assert_eq(flow_table_live(t.table), 500);
    advance_to(200000 * S);
    cr_assert_eq(flow_table_live(t.table), 0);
}
