#include <criterion/criterion.h>

#include "common/ring.h"
#include "sensor/counter.h"

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
