#include <criterion/criterion.h>

#include "common/ring.h"
#include "sensor/counter.h"
#include "sensor/losses.h"

/* Where the writer of a record is killed, and whether the record and its count were out by then. */
enum killed { BEFORE, BEGUN, COMMITTED, COUNTED, STEPS };

static void die_at(enum killed when, struct counters *c, struct ring *ring)
{
    cr_assert_not_null(ring_reserve(ring, 64));
    if (when >= BEGUN)
        tally_begin(c, &c->alert_tally, COUNTER_alert_published, ring_produced(ring));
    if (when >= COMMITTED)
        ring_commit(ring);
    if (when >= COUNTED)
        counters_add(c, COUNTER_alert_published, 1);
    tally_settle(c, &c->alert_tally, ring_produced(ring));
}

Test(counter, a_record_that_is_out_is_counted_once_wherever_its_writer_dies)
{
    for (enum killed first = BEFORE; first < STEPS; first++) {
        for (enum killed second = BEFORE; second < STEPS; second++) {
            WIND_AUTO(counters) struct counters *c = NULL;
            WIND_AUTO(ring) struct ring *ring = NULL;

            cr_assert_eq(counters_new(&c, NULL), 0);
            cr_assert_eq(ring_new(&ring, 65536, 1, NULL), 0);
            die_at(first, c, ring);
            die_at(second, c, ring);
            cr_assert_eq(counters_get(c, COUNTER_alert_published), ring_produced(ring) / 64,
                         "killed at %d, then at %d", (int)first, (int)second);
        }
    }
}

Test(counter, a_tally_that_makes_no_sense_counts_nothing)
{
    WIND_AUTO(counters) struct counters *c = NULL;

    cr_assert_eq(counters_new(&c, NULL), 0);
    c->alert_tally.which = COUNTERS + 1;
    tally_settle(c, &c->alert_tally, 64);
    c->alert_tally.which = UINT32_MAX;
    tally_settle(c, &c->alert_tally, 64);
    for (enum counter i = 0; i < COUNTERS; i++)
        cr_assert_eq(counters_get(c, i), 0);
}

Test(counter, what_a_counter_says_is_the_sum_of_all_sections)
{
    WIND_AUTO(counters) struct counters *c = NULL;

    cr_assert_eq(counters_new(&c, NULL), 0);
    for (unsigned i = 0; i < WORKERS_MAX; i++) {
        counters_add(&c[i], COUNTER_flow_made, i + 1);
        atomic_store(&c[i].position, 1000 - i);
        atomic_store(&c[i].clock_ns, 50 + i % 7);
    }
    cr_assert_eq(counters_sum(c, COUNTER_flow_made), WORKERS_MAX * (WORKERS_MAX + 1) / 2);
    cr_assert_eq(counters_sum(c, COUNTER_flow_live), 0);
    cr_assert_eq(counters_clock(c), 56);
    cr_assert_eq(counters_position(c, 1), 1000);
    cr_assert_eq(counters_position(c, 5), 996);
}

Test(counter, the_books_of_each_dead_worker_are_settled)
{
    WIND_AUTO(counters) struct counters *c = NULL;
    WIND_AUTO(rings) struct rings *flows = NULL;
    WIND_AUTO(ring) struct ring *alerts = NULL;

    cr_assert_eq(counters_new(&c, NULL), 0);
    cr_assert_eq(rings_new(&flows, 2, 65536, 2, NULL), 0);
    cr_assert_eq(ring_new(&alerts, 65536, 1, NULL), 0);
    for (unsigned i = 0; i < 2; i++) {
        counters_set(&c[i], COUNTER_capture_packets, 100 + i);
        counters_set(&c[i], COUNTER_decoder_OK, 90);
        counters_set(&c[i], COUNTER_flow_made, 20);
        counters_set(&c[i], COUNTER_flow_ended_idle, 5 + i);
        counters_set(&c[i], COUNTER_flow_lost_ring, 2);
        counters_set(&c[i], COUNTER_flow_live, 13 - i);
    }
    counters_set(c, COUNTER_alert_raised, 7);
    counters_set(c, COUNTER_alert_published, 4);
    /* Worker 1 was killed between a record and its count. */
    cr_assert_not_null(ring_reserve(flows->ring[1], 64));
    tally_begin(&c[1], &c[1].flow_tally, COUNTER_flow_ended_idle, 0);
    ring_commit(flows->ring[1]);
    losses_settle(c, flows, alerts, false);
    cr_assert_eq(counters_get(&c[0], COUNTER_decoder_lost), 10);
    cr_assert_eq(counters_get(&c[1], COUNTER_decoder_lost), 11);
    cr_assert_eq(counters_get(&c[0], COUNTER_flow_ended_crashed), 13);
    cr_assert_eq(counters_get(&c[1], COUNTER_flow_ended_idle), 7);
    cr_assert_eq(counters_get(&c[1], COUNTER_flow_ended_crashed), 11);
    cr_assert_eq(counters_sum(c, COUNTER_flow_live), 0);
    cr_assert_eq(counters_sum(c, COUNTER_alert_lost_crash), 3);
}
