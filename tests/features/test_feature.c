/* Every flow feature against a value computed by hand. */
#include <criterion/criterion.h>
#include <float.h>
#include <math.h>
#include <string.h>

#include "features/feature.h"

#define MS UINT64_C(1000000)
#define T0 (UINT64_C(1700000000000) * MS)

static void expect(const float *row, uint64_t missing, enum feature f, double value)
{
    cr_expect_not(feature_is_missing(missing, f), "%s is missing", feature_name(f));
    cr_expect_float_eq(row[f], value, fabs(value) * 1e-6, "%s is %g, by hand %g", feature_name(f),
                       (double)row[f], value);
}

static void expect_missing(const float *row, uint64_t missing, enum feature f)
{
    cr_expect(feature_is_missing(missing, f), "%s is not missing", feature_name(f));
    cr_expect_float_eq(row[f], 0, 0, "%s: a missing value is 0", feature_name(f));
}

/* SYN, SYN+ACK, ACK, request of 100, answers of 1000 and 400, request of 300, RST. */
static struct flow_stats web_flow(void)
{
    struct flow_stats s = {0};

    flow_stats_packet(&s, 0, T0, 60, 0, 0x02);
    flow_stats_packet(&s, 1, T0 + 10 * MS, 60, 0, 0x12);
    flow_stats_packet(&s, 0, T0 + 20 * MS, 52, 0, 0x10);
    flow_stats_packet(&s, 0, T0 + 30 * MS, 152, 100, 0x18);
    flow_stats_packet(&s, 1, T0 + 50 * MS, 1052, 1000, 0x18);
    flow_stats_packet(&s, 1, T0 + 90 * MS, 452, 400, 0x18);
    flow_stats_packet(&s, 0, T0 + 120 * MS, 352, 300, 0x18);
    flow_stats_packet(&s, 0, T0 + 200 * MS, 40, 0, 0x04);
    return s;
}

Test(feature, flow_features_are_what_the_hand_computes)
{
    const struct flow_stats s = web_flow();
    float row[FEATURE_COUNT];
    uint64_t missing;

    feature_flow(&s, 6, row, &missing);
    expect(row, missing, FEATURE_duration, 200);
    expect(row, missing, FEATURE_pkts_fwd, 5);
    expect(row, missing, FEATURE_pkts_rev, 3);
    expect(row, missing, FEATURE_bytes_fwd, 60 + 52 + 152 + 352 + 40);
    expect(row, missing, FEATURE_bytes_rev, 60 + 1052 + 452);
    expect(row, missing, FEATURE_payload_mean_fwd, 200);
    expect(row, missing, FEATURE_payload_sd_fwd, 100);
    expect(row, missing, FEATURE_payload_mean_rev, 700);
    expect(row, missing, FEATURE_payload_sd_rev, 300);
    expect(row, missing, FEATURE_first_payload_fwd, 100);
    expect(row, missing, FEATURE_first_payload_rev, 1000);
    expect(row, missing, FEATURE_payload_out_share, 400.0 / 1800.0);
    expect(row, missing, FEATURE_pkt_rate, 40);
    /* forward gaps 20 10 90 80: mean 50, variance (900 + 1600 + 1600 + 900) / 4 = 1250 */
    expect(row, missing, FEATURE_gap_mean_fwd, 50);
    expect(row, missing, FEATURE_gap_sd_fwd, sqrt(1250));
    expect(row, missing, FEATURE_gap_mean_rev, 40);
    expect(row, missing, FEATURE_gap_max, 90);
    expect(row, missing, FEATURE_answer_time, 10);
    expect(row, missing, FEATURE_tcp_syn, 2);
    expect(row, missing, FEATURE_tcp_rst, 1);
    for (unsigned f = FEATURE_src_flows; f < FEATURE_COUNT; f++)
        expect_missing(row, missing, f);
}

Test(feature, what_one_lonely_packet_cannot_tell_is_missing)
{
    struct flow_stats s = {0};
    float row[FEATURE_COUNT];
    uint64_t missing;

    flow_stats_packet(&s, 0, T0, 28, 0, 0);
    feature_flow(&s, 17, row, &missing);
    expect(row, missing, FEATURE_duration, 0);
    expect(row, missing, FEATURE_pkts_fwd, 1);
    expect(row, missing, FEATURE_pkts_rev, 0);
    expect(row, missing, FEATURE_bytes_fwd, 28);
    expect(row, missing, FEATURE_bytes_rev, 0);
    for (unsigned f = FEATURE_payload_mean_fwd; f < FEATURE_COUNT; f++)
        expect_missing(row, missing, f);
}

Test(feature, an_empty_flow_knows_nothing)
{
    const struct flow_stats s = {0};
    float row[FEATURE_COUNT];
    uint64_t missing[2];

    feature_flow(&s, 6, row, &missing[0]);
    feature_flow(NULL, 6, row, &missing[1]);
    for (unsigned f = 0; f < FEATURE_COUNT; f++) {
        expect_missing(row, missing[0], f);
        expect_missing(row, missing[1], f);
    }
    cr_assert_eq(missing[0] >> (FEATURE_COUNT - 1), 1, "no bits above the last feature");
}

Test(feature, time_that_runs_backwards_is_no_gap)
{
    struct flow_stats s = {0};
    float row[FEATURE_COUNT];
    uint64_t missing;

    flow_stats_packet(&s, 0, T0 + 100 * MS, 100, 10, 0);
    flow_stats_packet(&s, 0, T0, 100, 10, 0);
    flow_stats_packet(&s, 0, T0 + 130 * MS, 100, 10, 0);
    flow_stats_packet(&s, 1, T0 + 20 * MS, 100, 10, 0);
    feature_flow(&s, 17, row, &missing);
    expect(row, missing, FEATURE_duration, 110); /* from the earliest side's first packet */
    expect(row, missing, FEATURE_gap_mean_fwd, 15);
    expect(row, missing, FEATURE_gap_sd_fwd, 15);
    expect(row, missing, FEATURE_gap_max, 30);
    expect(row, missing, FEATURE_answer_time, 0);
}

Test(feature, a_steady_beat_has_a_small_deviation_even_over_hours)
{
    struct flow_stats s = {0};
    float row[FEATURE_COUNT];
    uint64_t missing;

    for (uint64_t i = 0; i <= 1000; i++) /* every minute, 1 ms early or late in turn */
        flow_stats_packet(&s, 0, T0 + (60000 * i + (i & 1)) * MS, 100, 10, 0);
    feature_flow(&s, 17, row, &missing);
    expect(row, missing, FEATURE_gap_mean_fwd, 60000);
    cr_expect_float_eq(row[FEATURE_gap_sd_fwd], 1, 1e-3);
}

Test(feature, every_value_is_finite_whatever_the_packets)
{
    static const uint64_t times[] = {0, 1, T0, UINT64_MAX, UINT64_MAX - 1, 5};
    static const uint32_t lengths[] = {0, 1, 1500, UINT32_MAX};
    struct flow_stats s = {0};
    float row[FEATURE_COUNT];
    uint64_t missing;

    for (unsigned i = 0; i < 4096; i++) {
        flow_stats_packet(&s, i >> 3 & 1, times[i % 6], lengths[i % 4], lengths[i / 4 % 4],
                          (uint8_t)i);
        feature_flow(&s, 6, row, &missing);
        for (size_t f = 0; f < FEATURE_COUNT; f++)
            cr_assert(isfinite(row[f]) && row[f] >= 0, "%s is %g", feature_name(f), (double)row[f]);
    }
}

Test(feature, counters_stop_at_their_maximum)
{
    struct flow_stats s = {0};

    s.dir[0].pkts = s.dir[0].payload_pkts = UINT32_MAX;
    s.dir[0].syn = s.dir[0].rst = UINT16_MAX;
    flow_stats_packet(&s, 0, T0, 100, 10, 0x06);
    cr_assert_eq(s.dir[0].pkts, UINT32_MAX);
    cr_assert_eq(s.dir[0].payload_pkts, UINT32_MAX);
    cr_assert_eq(s.dir[0].syn, UINT16_MAX);
    cr_assert_eq(s.dir[0].rst, UINT16_MAX);
}

Test(feature, finite_takes_away_what_is_no_number)
{
    cr_assert_float_eq(feature_finite(NAN), 0, 0);
    cr_assert_float_eq(feature_finite(-1), 0, 0);
    cr_assert_float_eq(feature_finite(-INFINITY), 0, 0);
    cr_assert_float_eq(feature_finite(INFINITY), FLT_MAX, 0);
    cr_assert_float_eq(feature_finite(1e300), FLT_MAX, 0);
    cr_assert_float_eq(feature_finite(0.5), 0.5, 0);
}

/*
 * Red when a feature is renamed, moved or given another unit: every model trained before would
 * misread its rows. Appending one changes only the second pair; then, and only then, change it
 * here.
 */
Test(feature, the_schema_is_pinned)
{
    char text[FEATURE_SCHEMA_TEXT];

    feature_schema_text(31, text);
    cr_assert_str_eq(text, "31:277d97bfcb09352b");
    cr_assert_eq(FEATURE_COUNT, 31);
    feature_schema_text(1000, text);
    cr_assert_str_eq(text, "31:277d97bfcb09352b", "more than all is all");
    cr_assert_neq(feature_schema_hash(30), feature_schema_hash(31));
}

Test(feature, names_are_there_for_people_and_found_again)
{
    for (size_t f = 0; f < FEATURE_COUNT; f++) {
        cr_assert_eq((size_t)feature_find(feature_name(f)), f);
        cr_assert_gt(strlen(feature_unit(f)), 0);
        cr_assert_gt(strlen(feature_meaning(f)), 10);
        cr_assert_neq(feature_info(f)->sources, 0);
    }
    cr_assert_eq(feature_find("no_such_feature"), -1);
    cr_assert_str_eq(feature_name(FEATURE_COUNT), "?");
    cr_assert_null(feature_info(FEATURE_COUNT));
}
