#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <time.h>

#include "common/time.h"

Test(time, every_day_until_2554_has_the_date_the_c_library_gives)
{
    for (time_t day = 0; day < 213503; day++) {
        char text[TIME_TEXT], expected[TIME_TEXT];
        const time_t s = day * 86400 + day % 86400;
        struct tm tm;
        uint64_t again;

        cr_assert(gmtime_r(&s, &tm) != NULL);
        cr_assert_gt(strftime(expected, sizeof(expected), "%Y-%m-%dT%H:%M:%S.000001Z", &tm), 0);
        const uint64_t ns = (uint64_t)s * WIND_NS_PER_S + WIND_NS_PER_US;
        cr_assert_eq(time_rfc3339(ns, text), strlen(text));
        cr_assert_str_eq(text, expected);
        if (tm.tm_year + 1900 < 2554) {
            cr_assert_eq(time_parse_rfc3339(text, &again), 0, "%s", text);
            cr_assert_eq(again, ns);
        }
    }
}

Test(time, eve_form_has_microseconds_and_a_numeric_zone)
{
    char text[TIME_TEXT];

    cr_assert_eq(time_eve(UINT64_C(1767323045678901999), text), 31);
    cr_assert_str_eq(text, "2026-01-02T03:04:05.678901+0000");
}

static void expect_time(const char *text, uint64_t ns)
{
    uint64_t got = 0;

    cr_expect_eq(time_parse_rfc3339(text, &got), 0, "%s", text);
    cr_expect_eq(got, ns, "%s: %lu", text, (unsigned long)got);
}

Test(time, offsets_fractions_and_leap_seconds_are_read)
{
    expect_time("1970-01-01T00:00:00Z", 0);
    expect_time("1970-01-01t00:00:01z", WIND_NS_PER_S);
    expect_time("1970-01-01 01:00:00.5+01:00", WIND_NS_PER_S / 2);
    expect_time("1969-12-31T23:00:00-0100", 0);
    expect_time("2026-01-02T03:04:05.678901+0000", UINT64_C(1767323045678901000));
    expect_time("2026-01-02T03:04:05.1234567891Z", UINT64_C(1767323045123456789));
    expect_time("2016-12-31T23:59:60Z", UINT64_C(1483228800) * WIND_NS_PER_S);
    expect_time("2024-02-29T00:00:00Z", UINT64_C(1709164800) * WIND_NS_PER_S);
}

Test(time, what_is_not_a_time_is_refused)
{
    static const char *const bad[] = {
        "",
        "2026-01-02",
        "2026-01-02T03:04:05",
        "2026-01-02T03:04:05.Z",
        "2026-01-02T03:04:05Zx",
        "2026-01-02T03:04:05+1",
        "2026-01-02T03:04:05+24:00",
        "2026-13-02T03:04:05Z",
        "2026-00-02T03:04:05Z",
        "2026-02-29T03:04:05Z",
        "2100-02-29T03:04:05Z",
        "2026-01-32T03:04:05Z",
        "2026-01-02T24:04:05Z",
        "2026-01-02T03:60:05Z",
        "2026-01-02T03:04:61Z",
        "1969-12-31T23:59:59Z",
        "1970-01-01T00:00:00+00:01",
        "9999-01-01T00:00:00Z",
        "+026-01-02T03:04:05Z",
    };
    uint64_t ns = 7;

    for (size_t i = 0; i < WIND_ARRAY_SIZE(bad); i++)
        cr_expect_eq(time_parse_rfc3339(bad[i], &ns), -EINVAL, "%s", bad[i]);
    cr_assert_eq(ns, 7);
}

Test(time, clocks_go_forward)
{
    const uint64_t mono = time_mono_ns(), wall = time_wall_ns();

    cr_assert_geq(time_mono_ns(), mono);
    cr_assert_gt(wall, UINT64_C(1700000000) * WIND_NS_PER_S);
}
