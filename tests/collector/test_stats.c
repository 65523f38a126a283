#include "collector/stats.h"

#include "support/batch.h"

TestSuite(stats, .init = batch_init, .fini = batch_fini);

static const struct stats_range everything = {-1, -1};

static json_t *stats(const struct stats_range *range)
{
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;
    json_t *o = NULL;
    struct err e = {0};

    cr_assert_eq(db_begin_read(temp_db, &tx, &e), 0);
    cr_assert_eq(stats_get(tx, range, &o, &e), 0, "%s", e.text);
    return o;
}

static json_int_t number(const json_t *o, const char *a, const char *b, const char *c)
{
    o = json_object_get(o, a);
    o = b == NULL ? o : json_object_get(o, b);
    return json_integer_value(c == NULL ? o : json_object_get(o, c));
}

Test(stats, of_nothing_are_zeros_not_a_century_of_buckets)
{
    json_t *o = stats(&everything);

    cr_assert_eq(number(o, "alerts", "total", NULL), 0);
    cr_assert(json_is_null(json_object_get(json_object_get(o, "extent"), "first")));
    cr_assert_eq(json_array_size(json_object_get(json_object_get(o, "timeline"), "buckets")), 0);
    json_decref(o);
}

Test(stats, buckets_cover_the_extent_and_add_up_to_the_alerts)
{
    batch_post((const struct batch_alert[]){{.n = 1, .at_s = 7},
                                            {.n = 2, .at_s = 3600, .severity = "low"},
                                            {.n = 3, .at_s = 3601, .detector = "beacon"},
                                            {.n = 4, .at_s = 80000, .severity = "low"}},
               4);
    json_t *o = stats(&everything), *bucket;
    json_int_t low = 0, high = 0;
    size_t i;
    const json_t *buckets = json_object_get(json_object_get(o, "timeline"), "buckets");

    json_array_foreach(buckets, i, bucket)
    {
        low += json_integer_value(json_object_get(bucket, "low"));
        high += json_integer_value(json_object_get(bucket, "high"));
    }
    cr_assert_eq(number(o, "timeline", "bucket_s", NULL), 900);
    cr_assert_eq(json_array_size(buckets), 89);
    cr_assert_str_eq(json_string_value(json_object_get(json_array_get(buckets, 0), "t")),
                     "2026-01-02T00:00:00.000000Z");
    cr_assert_eq(low, 2);
    cr_assert_eq(high, 2);
    cr_assert_eq(number(o, "alerts", "total", NULL), 4);
    cr_assert_eq(number(o, "alerts", "by_severity", "low"), 2);
    cr_assert_eq(number(o, "alerts", "by_type", "port_scan"), 3);
    cr_assert_eq(number(o, "alerts", "by_status", "new"), 4);
    const json_t *top = json_array_get(json_object_get(o, "top_entities"), 0);
    cr_assert_str_eq(json_string_value(json_object_get(top, "role")), "attacker");
    cr_assert_eq(json_integer_value(json_object_get(top, "alerts")), 4);
    json_decref(o);
}

Test(stats, a_range_counts_both_of_its_ends)
{
    const int64_t day = INT64_C(1767312000) * 1000000000; /* 2026-01-02T00:00:00Z */

    batch_post((const struct batch_alert[]){{.n = 1, .at_s = 10},
                                            {.n = 2, .at_s = 20},
                                            {.n = 3, .at_s = 30}},
               3);
    const struct stats_range range = {day + INT64_C(10000000000), day + INT64_C(20000000000)};
    json_t *o = stats(&range);
    cr_assert_eq(number(o, "alerts", "total", NULL), 2);
    cr_assert_eq(json_array_size(json_object_get(json_object_get(o, "timeline"), "buckets")), 11);
    json_decref(o);
}

Test(stats, any_span_of_time_fits_in_the_buckets_and_is_not_too_coarse)
{
    for (int64_t span = 0; span < INT64_C(18400000000); span = span * 5 / 4 + 1) {
        for (int64_t from = 0; from < 400; from += 133) {
            const int64_t step = stats_bucket_s(from, from + span);
            const int64_t n = (from + span) / step - from / step + 1;
            cr_assert_leq(n, STATS_BUCKETS, "%lld s", (long long)span);
            cr_assert(step == 1 || n >= STATS_BUCKETS / 10, "%lld s: %lld", (long long)span,
                      (long long)n);
        }
    }
}
