#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "features/host_stats.h"

#define S  UINT64_C(1000000000)
#define T0 (UINT64_C(1700000000) * S)

static struct flow_key key_to(unsigned peer, uint16_t port)
{
    struct flow_key k = {.dport = port, .sport = 40000, .proto = 6, .ip_version = 4};

    k.src[10] = k.src[11] = k.dst[10] = k.dst[11] = 0xff;
    memcpy(k.src + 12, (uint8_t[]){10, 0, 0, 1}, 4);
    memcpy(k.dst + 12, (uint8_t[]){10, 1, (uint8_t)(peer >> 8), (uint8_t)peer}, 4);
    return k;
}

static void open_at(struct host_stats *h, uint64_t ns, unsigned peer, uint16_t port,
                    enum flow_opening opening)
{
    const struct flow_key k = key_to(peer, port);

    host_stats_opened(h, ns, ns, &k, opening);
}

static float feature_at(struct host_stats *h, uint64_t ns, const struct flow_key *k, enum feature f,
                        int *ret_missing)
{
    float row[FEATURE_COUNT];
    uint64_t missing;

    feature_flow(NULL, 6, row, &missing);
    feature_host(h, ns, k, row, &missing);
    *ret_missing = feature_is_missing(missing, f);
    return row[f];
}

static void expect(struct host_stats *h, uint64_t ns, const struct flow_key *k, enum feature f,
                   double value)
{
    int is_missing;
    const float got = feature_at(h, ns, k, f, &is_missing);

    cr_expect_not(is_missing, "%s is missing", feature_name(f));
    cr_expect_float_eq(got, value, fabs(value) * 1e-6, "%s is %g, by hand %g", feature_name(f),
                       (double)got, value);
}

Test(host_stats, a_minute_of_flows_is_what_the_hand_counts)
{
    const struct flow_key k = key_to(1, 80);
    struct host_stats h;

    host_stats_init(&h, T0);
    open_at(&h, T0 + 1 * S, 1, 80, OPENING_ANSWERED);
    open_at(&h, T0 + 2 * S, 1, 80, OPENING_ANSWERED);
    open_at(&h, T0 + 3 * S, 1, 443, OPENING_REFUSED);
    open_at(&h, T0 + 40 * S, 2, 80, OPENING_SILENT);
    expect(&h, T0 + 45 * S, &k, FEATURE_src_flows, 4);
    expect(&h, T0 + 45 * S, &k, FEATURE_src_peers, 2);
    expect(&h, T0 + 45 * S, &k, FEATURE_src_ports, 2);
    expect(&h, T0 + 45 * S, &k, FEATURE_src_services, 3);
    expect(&h, T0 + 45 * S, &k, FEATURE_src_failed_share, 0.5);
    expect(&h, T0 + 45 * S, &k, FEATURE_channel_opens, 2);

    /* at 60 s the first three leave the window; at 90 s nothing is left of it */
    expect(&h, T0 + 60 * S, &k, FEATURE_src_flows, 1);
    expect(&h, T0 + 60 * S, &k, FEATURE_src_failed_share, 1);
    expect(&h, T0 + 90 * S, &k, FEATURE_src_flows, 0);
    expect(&h, T0 + 90 * S, &k, FEATURE_src_peers, 0);
}

Test(host_stats, a_burst_stands_out_against_the_own_past)
{
    const struct flow_key k = key_to(1, 80);
    struct host_stats h;
    int is_missing;

    host_stats_init(&h, T0);
    for (uint64_t s = 0; s < 300; s += 10) /* 3 flows a half minute, 10 panes */
        open_at(&h, T0 + s * S, 1, 80, OPENING_ANSWERED);
    feature_at(&h, T0 + 10 * S, &k, FEATURE_src_rate_ratio, &is_missing);
    /* clock 315 s: window 270..315 has 3 flows in 1.5 panes, past mean 3: (3 + 1) / (4.5 + 1) */
    expect(&h, T0 + 315 * S, &k, FEATURE_src_rate_ratio, 4 / 5.5);
    for (unsigned i = 0; i < 500; i++)
        open_at(&h, T0 + 315 * S, i, (uint16_t)(1 + i), OPENING_REFUSED);
    expect(&h, T0 + 315 * S, &k, FEATURE_src_rate_ratio, 504 / 5.5);
}

Test(host_stats, a_young_host_has_no_past_to_compare_with)
{
    const struct flow_key k = key_to(1, 80);
    struct host_stats h;
    int is_missing;

    host_stats_init(&h, T0);
    open_at(&h, T0, 1, 80, OPENING_ANSWERED);
    (void)feature_at(&h, T0 + 80 * S, &k, FEATURE_src_rate_ratio, &is_missing);
    cr_assert(is_missing);
    (void)feature_at(&h, T0 + 20 * S, &k, FEATURE_src_new_share, &is_missing);
    cr_assert(is_missing);
    (void)feature_at(&h, T0 + 20 * S, &k, FEATURE_own_bytes_ratio, &is_missing);
    cr_assert(is_missing);
    (void)feature_at(&h, T0 + 20 * S, &k, FEATURE_channel_gap_cv, &is_missing);
    cr_assert(is_missing);
}

Test(host_stats, distinct_counts_are_close_and_never_above_their_limit)
{
    for (unsigned n = 1; n <= 4000; n = n * 3 / 2 + 1) {
        struct host_stats h;
        struct host_window w;

        host_stats_init(&h, T0);
        for (unsigned i = 0; i < n; i++)
            for (unsigned twice = 0; twice < 2; twice++)
                open_at(&h, T0, i, (uint16_t)(1000 + i), OPENING_REFUSED);
        host_stats_window(&h, T0, &w);
        const double slack = 1 + 0.06 * n;
        cr_expect_float_eq((double)w.ports, n, slack, "%u ports read as %u", n, w.ports);
        cr_expect_float_eq((double)w.peers, n, slack, "%u peers read as %u", n, w.peers);
        cr_expect_float_eq((double)w.services, n, slack, "%u services read as %u", n, w.services);
    }

    struct host_stats h;
    struct host_window w;
    host_stats_init(&h, T0);
    for (unsigned i = 0; i < 65536; i++)
        open_at(&h, T0, 1, (uint16_t)i, OPENING_REFUSED);
    host_stats_window(&h, T0, &w);
    cr_assert_eq(w.ports, SKETCH_MAX);
    cr_assert_eq(w.peers, 1);
    cr_assert_eq(w.flows, 65536);
}

Test(host_stats, new_services_are_told_from_known_ones)
{
    const struct flow_key k = key_to(1, 80);
    struct host_stats h;

    host_stats_init(&h, T0);
    for (uint64_t s = 0; s < 240; s += 10)
        open_at(&h, T0 + s * S, 1, 80, OPENING_ANSWERED);
    expect(&h, T0 + 240 * S, &k, FEATURE_src_new_share, 0);
    for (unsigned i = 0; i < 3; i++) /* the window has 3 known and 3 new ones */
        open_at(&h, T0 + 240 * S, 100 + i, 445, OPENING_ANSWERED);
    expect(&h, T0 + 240 * S, &k, FEATURE_src_new_share, 0.5);
}

Test(host_stats, a_known_service_is_forgotten_only_after_hundreds_of_newer_ones)
{
    struct host_stats h;
    struct host_window w;

    host_stats_init(&h, T0);
    open_at(&h, T0, 1, 80, OPENING_ANSWERED);
    for (unsigned i = 0; i < 200; i++)
        open_at(&h, T0, 10 + i, 80, OPENING_ANSWERED);
    open_at(&h, T0 + 100 * S, 1, 80, OPENING_ANSWERED);
    host_stats_window(&h, T0 + 100 * S, &w);
    cr_assert_eq(w.fresh, 0);

    for (unsigned i = 0; i < 2000; i++)
        open_at(&h, T0 + 200 * S, 10 + i, 81, OPENING_ANSWERED);
    open_at(&h, T0 + 300 * S, 1, 80, OPENING_ANSWERED);
    host_stats_window(&h, T0 + 300 * S, &w);
    cr_assert_eq(w.fresh, 1);
}

Test(host_stats, a_beat_has_a_small_gap_deviation_and_survives_a_scan)
{
    const struct flow_key k = key_to(9, 443);
    struct host_stats h;

    host_stats_init(&h, T0);
    for (unsigned i = 0; i < 5; i++) { /* gaps 60 62 60 62: mean 61, deviation 1 */
        open_at(&h, T0 + (61 * i - (i & 1)) * S, 9, 443, OPENING_ANSWERED);
        for (unsigned j = 0; i > 1 && j < 100; j++)
            open_at(&h, T0 + (61 * i + 10) * S, 100 + j, 80, OPENING_SILENT);
    }
    expect(&h, T0 + 300 * S, &k, FEATURE_channel_opens, 5);
    expect(&h, T0 + 300 * S, &k, FEATURE_channel_gap_cv, 1.0 / 61.0);
}

Test(host_stats, ended_flows_become_the_normal_and_the_balance_of_bytes)
{
    const struct flow_key k = key_to(1, 80);
    struct host_stats h;
    float row[FEATURE_COUNT], mean, sd;
    uint64_t missing;

    host_stats_init(&h, T0);
    for (unsigned i = 0; i < 8; i++) { /* 100 and 300 in turn: mean 200, deviation 100 */
        struct flow_stats s = {0};
        flow_stats_packet(&s, 0, T0, i % 2 == 0 ? 100 : 300, 0, 2);
        flow_stats_packet(&s, 1, T0, 600, 0, 2);
        feature_flow(&s, 6, row, &missing);
        host_stats_ended(&h, T0 + i * S, row, missing);
    }
    cr_assert_eq(host_stats_normal(&h, FEATURE_bytes_fwd, &mean, &sd), 8);
    cr_assert_float_eq(mean, 200, 1e-3);
    cr_assert_float_eq(sd, 100, 1e-3);
    cr_assert_eq(host_stats_normal(&h, FEATURE_payload_mean_fwd, &mean, &sd), 0, "never known");
    expect(&h, T0 + 10 * S, &k, FEATURE_src_out_share, 0.25);

    feature_host(&h, T0 + 10 * S, &k, row, &missing); /* the last row has 300 bytes */
    cr_assert_float_eq(row[FEATURE_own_bytes_ratio], 301.0 / 201.0, 1e-5);
}

Test(host_stats, gaps_of_years_and_time_backwards_cost_nothing_and_stay_finite)
{
    static const uint64_t times[] = {T0, T0 + UINT64_C(94608000) * S, T0 - S, 0, UINT64_MAX, 1, T0};
    struct host_stats h;
    float row[FEATURE_COUNT];
    uint64_t missing;

    host_stats_init(&h, T0);
    for (unsigned i = 0; i < 7000; i++) {
        const struct flow_key k = key_to(i % 5, (uint16_t)(i % 7));
        struct flow_stats s = {0};
        flow_stats_packet(&s, 0, times[i % 7], UINT32_MAX, UINT32_MAX, 2);
        host_stats_opened(&h, times[i % 7], times[i % 7], &k, OPENING_REFUSED);
        feature_flow(&s, 6, row, &missing);
        feature_host(&h, times[i % 7], &k, row, &missing);
        host_stats_ended(&h, times[i % 7], row, missing);
        for (size_t f = 0; f < FEATURE_COUNT; f++)
            cr_assert(isfinite(row[f]) && row[f] >= 0, "%s is %g", feature_name(f), (double)row[f]);
    }
}

Test(host_stats, a_host_that_found_no_room_has_no_features)
{
    const struct flow_key k = key_to(1, 80);
    struct host_window w;
    float row[FEATURE_COUNT], mean, sd;
    uint64_t missing, before;

    feature_flow(NULL, 6, row, &before);
    missing = before;
    host_stats_init(NULL, T0);
    host_stats_opened(NULL, T0, T0, &k, OPENING_REFUSED);
    host_stats_ended(NULL, T0, row, missing);
    host_stats_window(NULL, T0, &w);
    feature_host(NULL, T0, &k, row, &missing);
    cr_assert_eq(missing, before);
    cr_assert_eq(w.flows, 0);
    cr_assert_eq(host_stats_normal(NULL, 0, &mean, &sd), 0);
}
