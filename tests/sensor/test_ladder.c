#include <criterion/criterion.h>

#include "common/time.h"
#include "sensor/ladder.h"
#include "support/views.h"

#define S WIND_NS_PER_S

static struct ladder l;

static void set_up(void)
{
    ladder_init(&l, ANALYSIS_FULL);
}

TestSuite(ladder, .init = set_up);

/* A flow of `pkts` packets each way that took `ns`. */
static struct flow flow_of(unsigned src, unsigned dport, uint32_t pkts, uint64_t ns)
{
    struct flow f = {.key = view_key(IPPROTO_TCP, src, 40000, 2, dport), .seen_ns = ns};

    f.stats.dir[0].pkts = f.stats.dir[1].pkts = pkts;
    return f;
}

Test(ladder, each_step_has_its_fill)
{
    cr_assert(!ladder_update(&l, 0.49, S) && l.level == ANALYSIS_FULL);
    cr_assert(ladder_update(&l, 0.5, S) && l.level == ANALYSIS_DETECTORS);
    cr_assert(!ladder_update(&l, 0.74, S) && l.level == ANALYSIS_DETECTORS);
    cr_assert(ladder_update(&l, 0.75, S) && l.level == ANALYSIS_COUNTERS);
    set_up();
    cr_assert(ladder_update(&l, 1, S) && l.level == ANALYSIS_COUNTERS); /* both at once */
}

Test(ladder, it_goes_up_a_step_for_each_calm_second)
{
    (void)ladder_update(&l, 1, 10 * S);
    (void)ladder_update(&l, 0.1, 10 * S + S / 2);
    cr_assert_eq(l.level, ANALYSIS_COUNTERS);
    (void)ladder_update(&l, 0.3, 10 * S + S / 2); /* not calm */
    (void)ladder_update(&l, 0.1, 11 * S);
    cr_assert_eq(l.level, ANALYSIS_COUNTERS);
    (void)ladder_update(&l, 0.1, 11 * S + S / 2);
    cr_assert_eq(l.level, ANALYSIS_DETECTORS);
    (void)ladder_update(&l, 0.1, 12 * S);
    cr_assert_eq(l.level, ANALYSIS_DETECTORS);
    (void)ladder_update(&l, 0.1, 13 * S);
    cr_assert_eq(l.level, ANALYSIS_FULL);
}

Test(ladder, a_lower_top_stays)
{
    ladder_init(&l, ANALYSIS_DETECTORS);
    (void)ladder_update(&l, 0.6, S);
    cr_assert_eq(l.level, ANALYSIS_DETECTORS);
    for (unsigned i = 2; i < 10; i++)
        (void)ladder_update(&l, 0, i * S);
    cr_assert_eq(l.level, ANALYSIS_DETECTORS);
}

Test(ladder, long_and_rare_flows_keep_their_depth)
{
    for (unsigned i = 0; i < 20000; i++) { /* many clients of one service, one of them a scanner */
        const struct flow web = flow_of(10 + i % 5000, 443, 1, 0);
        const struct flow scan = flow_of(9, 1000 + i % 50000, 1, 0);
        ladder_see(&l, &web);
        ladder_see(&l, &scan);
    }
    (void)ladder_update(&l, 1, S);
    const struct flow web = flow_of(11, 443, 5, S), scan = flow_of(9, 5000, 5, S);
    const struct flow rare = flow_of(77, 61234, 5, S);
    const struct flow many = flow_of(11, 443, 40, S), old = flow_of(11, 443, 5, 31 * S);
    struct flow silent = rare;

    silent.stats.dir[1].pkts = 0;
    cr_assert_eq(ladder_level(&l, &web), ANALYSIS_COUNTERS);
    cr_assert_eq(ladder_level(&l, &scan), ANALYSIS_COUNTERS);
    cr_assert_eq(ladder_level(&l, &silent), ANALYSIS_COUNTERS);
    cr_assert_eq(ladder_level(&l, &rare), ANALYSIS_FULL);
    cr_assert_eq(ladder_level(&l, &many), ANALYSIS_FULL);
    cr_assert_eq(ladder_level(&l, &old), ANALYSIS_FULL);
}

Test(ladder, the_past_fades)
{
    for (unsigned i = 0; i < 60000; i++) {
        const struct flow f = flow_of(i % 9999, 443, 1, 0);
        ladder_see(&l, &f);
    }
    for (unsigned i = 0; i < 1000000; i++) {
        const struct flow f = flow_of(i % 9999, 80, 1, 0);
        ladder_see(&l, &f);
    }
    (void)ladder_update(&l, 1, S);
    const struct flow then = flow_of(20000, 443, 5, S), now = flow_of(20000, 80, 5, S);
    cr_assert_eq(ladder_level(&l, &then), ANALYSIS_FULL);
    cr_assert_eq(ladder_level(&l, &now), ANALYSIS_COUNTERS);
}

/* ---------------------------------------------------------------- under load */

/*
 * A ring with room for 1,000 records, a stage that takes 4 units of work for a flow with models and
 * 1 for one without, and has 4,000 units a second: its capacity is 1,000 flows a second.
 */
struct run {
    double held, work;
    unsigned lost, by_level[3], long_lost, long_full, longs;
};

static struct run run_at(unsigned flows_a_second, unsigned seconds)
{
    struct run r = {0};
    const unsigned ticks = 1000;

    set_up();
    for (unsigned t = 0; t < seconds * ticks; t++) {
        for (unsigned i = 0; i < flows_a_second / ticks; i++) {
            const bool is_long = (t * 7 + i) % 100 == 0;
            const struct flow f = flow_of(10 + i, 443, is_long ? 50 : 2, S);
            const enum analysis_level level = ladder_level(&l, &f);

            ladder_see(&l, &f);
            r.longs += is_long;
            if (level != ANALYSIS_COUNTERS && r.held >= 1000) {
                r.lost++;
                r.long_lost += is_long;
                continue;
            }
            r.by_level[level]++;
            r.long_full += is_long && level == ANALYSIS_FULL;
            r.held += level != ANALYSIS_COUNTERS;
            r.work += level == ANALYSIS_FULL ? 4 : level == ANALYSIS_DETECTORS;
        }
        const double done = r.work < 4 ? r.work : 4;
        if (r.work > 0)
            r.held -= r.held * done / r.work;
        r.work -= done;
        (void)ladder_update(&l, r.held / 1000, (uint64_t)t * S / ticks);
    }
    return r;
}

Test(ladder, within_capacity_every_flow_has_full_depth)
{
    const struct run r = run_at(1000, 30);

    cr_assert(r.lost == 0 && r.by_level[ANALYSIS_FULL] == 30000);
}

Test(ladder, at_twice_the_capacity_models_are_left_out_and_nothing_is_lost)
{
    const struct run r = run_at(2000, 60);

    cr_assert_eq(r.lost, 0);
    cr_assert_eq(r.by_level[ANALYSIS_COUNTERS], 0);
    cr_assert_gt(r.by_level[ANALYSIS_DETECTORS], 30000);
    cr_assert_gt(r.by_level[ANALYSIS_FULL], 20000);
    cr_assert(r.long_full == r.longs);
}

Test(ladder, at_four_times_and_more_records_are_left_out_and_long_flows_stay_whole)
{
    const struct run four = run_at(4000, 60), eight = run_at(8000, 60);

    cr_assert(four.lost == 0 && eight.lost == 0);
    cr_assert_eq(four.by_level[0] + four.by_level[1] + four.by_level[2], 240000);
    cr_assert_gt(eight.by_level[ANALYSIS_COUNTERS], 100000);
    cr_assert(four.long_full == four.longs && eight.long_full == eight.longs);
}
