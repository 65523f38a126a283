#include <criterion/criterion.h>
#include <errno.h>
#include <unistd.h>

#include "common/time.h"
#include "sensor/merge.h"
#include "support/oom.h"

static struct {
    struct rings *flows;
    struct counters *counters;
    struct merge *merge;
} t;

static void tear_down(void)
{
    t.merge = merge_free(t.merge);
    t.flows = rings_free(t.flows);
    t.counters = counters_free(t.counters);
}

static void begin(unsigned workers, bool is_live)
{
    tear_down();
    cr_assert_eq(rings_new(&t.flows, workers, 1 << 16, 2, NULL), 0);
    cr_assert_eq(counters_new(&t.counters, NULL), 0);
    cr_assert_eq(merge_new(&t.merge, t.flows, t.counters, is_live, NULL), 0);
}

static void set_up(void)
{
    begin(3, false);
}
TestSuite(merge, .init = set_up, .fini = tear_down);

/* A record of a worker; its time is its order, and its kind tells whose it is. */
static void put(unsigned worker, uint64_t order)
{
    struct record_header *h = ring_reserve(t.flows->ring[worker], 64);

    cr_assert_not_null(h);
    h->kind = (uint16_t)(RECORD_FLOW_OPENED + worker);
    h->order = h->time_ns = order;
    h->after = 0;
    ring_commit(t.flows->ring[worker]);
}

static void reach(unsigned worker, uint64_t order)
{
    atomic_store(&t.counters[worker].order, order);
    atomic_store(&t.counters[worker].clock_ns, order);
}

static void expect(unsigned worker, uint64_t order)
{
    const struct record_header *h = merge_peek(t.merge);

    cr_assert_not_null(h, "%u at %lu", worker, order);
    cr_assert(h->kind == RECORD_FLOW_OPENED + worker && h->order == order,
              "kind %u at %lu, not of %u at %lu", h->kind, h->order, worker, order);
    cr_assert_eq(merge_peek(t.merge), h, "it stays in hand");
    merge_release(t.merge);
}

static void expect_none(void)
{
    cr_assert_null(merge_peek(t.merge));
}

Test(merge, records_come_in_their_order_and_of_equals_the_lower_worker_first)
{
    put(2, 1);
    put(2, 5);
    put(0, 5);
    put(1, 5);
    put(1, 7);
    for (unsigned i = 0; i < 3; i++)
        reach(i, COUNTERS_ORDER_END);
    expect(2, 1);
    expect(0, 5);
    expect(1, 5);
    expect(2, 5);
    expect(1, 7);
    expect_none();
}

Test(merge, who_has_nothing_is_waited_for_until_it_is_past)
{
    put(1, 10);
    reach(0, 10); /* may still have one at 10, which would come first */
    reach(2, 10); /* likewise, but it would come behind */
    expect_none();
    reach(0, 11);
    expect(1, 10);
    put(1, 11);
    put(0, 11);
    expect_none(); /* worker 2 is at 10 */
    put(2, 10);
    expect(2, 10);
    expect_none();
    reach(2, COUNTERS_ORDER_END);
    expect(0, 11);
    expect_none(); /* worker 0 is at 11 */
    reach(0, 12);
    expect(1, 11);
}

Test(merge, a_single_worker_is_never_waited_for)
{
    begin(1, false);
    put(0, 10);
    expect(0, 10);
    expect_none();
}

Test(merge, records_are_numbered_as_they_are_taken_over_all_lives)
{
    put(1, 1);
    put(0, 2);
    put(0, 3);
    reach(0, 4);
    reach(1, 4);
    reach(2, 4);
    expect(1, 1);
    cr_assert_eq(merge_count(t.merge), 1);
    cr_assert_not_null(merge_peek(t.merge)); /* and dies with it in hand */
    t.merge = merge_free(t.merge);
    cr_assert_eq(merge_new(&t.merge, t.flows, t.counters, false, NULL), 0);
    cr_assert_eq(merge_count(t.merge), 1);
    expect(0, 2);
    expect(0, 3);
    cr_assert_eq(atomic_load(&t.counters->record_sequence), 3);
    const struct record_header *h = ring_peek(t.flows->ring[1], 1, NULL);
    cr_assert_eq(h->after, 0);
    for (uint64_t i = 1; i < 3; i++) {
        h = ring_peek(t.flows->ring[0], 1, NULL);
        cr_assert_eq(h->after, i);
    }
}

Test(merge, nothing_is_passed_on_before_it_is_released)
{
    put(0, 1);
    put(1, 2);
    for (unsigned i = 0; i < 3; i++)
        reach(i, 3);
    cr_assert_not_null(merge_peek(t.merge));
    for (unsigned i = 0; i < 3; i++)
        cr_assert_null(ring_peek(t.flows->ring[i], 1, NULL));
    merge_release(t.merge);
    cr_assert_not_null(ring_peek(t.flows->ring[0], 1, NULL));
    cr_assert_null(ring_peek(t.flows->ring[1], 1, NULL));
}

Test(merge, a_replay_waits_for_a_worker_however_long_it_takes)
{
    put(1, 10);
    expect_none();
    (void)usleep(MERGE_PATIENCE_NS / 1000 + 200000);
    expect_none();
}

Test(merge, live_a_worker_that_stalls_holds_up_nobody_for_long)
{
    begin(2, true);
    reach(0, 100);
    put(1, 150);
    reach(1, 200);
    const uint64_t from = time_mono_ns();
    while (merge_peek(t.merge) == NULL)
        merge_wait(t.merge, 10);
    const uint64_t took = time_mono_ns() - from;
    cr_assert(took >= MERGE_PATIENCE_NS && took < 10 * MERGE_PATIENCE_NS, "%lu", took);
    expect(1, 150);
    put(1, 160);
    expect(1, 160); /* at once: nobody waits for worker 0 twice */

    put(0, 120); /* it goes on: late, and so the time is that of the others */
    cr_assert_eq(merge_peek(t.merge)->time_ns, 160);
    expect(0, 120);
    reach(0, 155);
    put(1, 170);
    expect_none(); /* and it is waited for again */
    reach(0, 171);
    expect(1, 170);
}

Test(merge, no_record_to_come_is_older_than_the_clock)
{
    reach(0, 30);
    reach(1, 10);
    reach(2, 20);
    cr_assert_eq(merge_clock(t.merge), 10);
}

static int attempt(void)
{
    WIND_AUTO(merge) struct merge *m = NULL;

    return merge_new(&m, t.flows, t.counters, false, NULL);
}

Test(merge, without_memory_it_is_not_made)
{
    cr_assert_eq(oom_each(attempt), 1);
}
