#include <errno.h>

#include "support/detecting.h"
#include "support/oom.h"

Test(detect, numbers_read_like_people_write_them)
{
    static const struct {
        double value;
        const char *unit, *text;
    } cases[] = {{0, "count", "0"},
                 {1, "count", "1"},
                 {999, "count", "999"},
                 {1000, "count", "1,000"},
                 {65535, "count", "65,535"},
                 {1234567, "count", "1,234,567"},
                 {0.25, "ratio", "0.25"},
                 {5e-6, "ratio", "under 0.01"},
                 {2.5, "count", "2.5"},
                 {42.4, "count", "42.4"},
                 {0, "ms", "0 ms"},
                 {12.3, "ms", "12.3 ms"},
                 {1500, "ms", "1.5 s"},
                 {90000, "ms", "90 s"},
                 {150000, "ms", "2.5 min"},
                 {7200000, "ms", "2 h"},
                 {864000000, "ms", "10 days"},
                 {500, "bytes", "500 bytes"},
                 {12345, "bytes", "12.3 kB"},
                 {5.5e6, "bytes", "5.5 MB"},
                 {2e9, "bytes", "2 GB"},
                 {3.5, "per_s", "3.5 a second"},
                 {14400, "per_s", "14,400 a second"},
                 {0.25, "per_s", "15 a minute"},
                 {0.001, "per_s", "3.6 an hour"}};
    char text[DETECT_NUMBER];

    for (size_t i = 0; i < WIND_ARRAY_SIZE(cases); i++)
        cr_expect_str_eq(detect_number(cases[i].value, cases[i].unit, text), cases[i].text);
}

Test(detect, an_estimate_says_so)
{
    static const struct {
        uint32_t value;
        const char *text;
    } cases[] = {{0, "0"},
                 {99, "99"},
                 {101, "about 100"},
                 {877, "about 880"},
                 {996, "about 1,000"},
                 {1693, "about 1,700"},
                 {4999, "about 5,000"},
                 {7098, "more than 5,000"}};
    char text[DETECT_NUMBER];

    for (size_t i = 0; i < WIND_ARRAY_SIZE(cases); i++)
        cr_expect_str_eq(detect_distinct(cases[i].value, text), cases[i].text);
}

Test(detect, no_number_is_longer_than_its_room)
{
    char text[DETECT_NUMBER];

    (void)detect_number(1e300, "count", text);
    cr_assert_lt(strlen(text), sizeof(text));
    (void)detect_number(-1e300, "bytes", text);
    cr_assert_lt(strlen(text), sizeof(text));
}

Test(detect, panes_turn_once_twice_or_not)
{
    uint64_t pane = 1000;

    cr_assert(detect_turn(&pane, 1059, 60) == 0 && pane == 1000);
    cr_assert(detect_turn(&pane, 1060, 60) == 1 && pane == 1060);
    cr_assert(detect_turn(&pane, 1179, 60) == 1 && pane == 1120);
    cr_assert(detect_turn(&pane, 1240, 60) == 2 && pane == 1240);
    cr_assert(detect_turn(&pane, UINT64_C(1) << 60, 60) == 2 && pane == UINT64_C(1) << 60);
    cr_assert(detect_turn(&pane, 5, 60) == 0); /* time that runs backwards stands still */
}

Test(detect, a_normal_is_the_mean_and_fades)
{
    struct detect_normal n = {0};
    struct alert_reason r;

    for (int i = 1; i <= 9; i++)
        detect_normal_add(&n, i);
    detect_reason_normal(&r, &n);
    cr_assert(r.normal_n == 9 && r.normal > 4.99F && r.normal < 5.01F);
    cr_assert_float_eq(r.normal_sd, 2.582, 0.01); /* of 1..9, population */
    for (int i = 0; i < 200; i++)
        detect_normal_add(&n, 100);
    cr_assert(n.mean > 99.9F && n.var < 1);
}

Test(detect, groups_and_nothing_are_no_targets)
{
    static const struct {
        const char *address;
        bool is_unicast;
    } cases[] = {{"10.0.0.1", true},         {"224.0.0.1", false}, {"239.255.255.250", false},
                 {"255.255.255.255", false}, {"0.0.0.0", false},   {"223.255.255.255", true},
                 {"ff02::1", false},         {"::", false},        {"fe80::1", true}};
    uint8_t a[16];

    for (size_t i = 0; i < WIND_ARRAY_SIZE(cases); i++) {
        cr_assert_eq(ip_parse(cases[i].address, a), 0);
        cr_expect_eq(detect_is_unicast(a), cases[i].is_unicast, "%s", cases[i].address);
    }
}

Test(detect, every_row_of_the_table_is_whole)
{
    detecting_begin();
    const struct alert_kind *kinds = detectors_kinds(seen.detectors);

    for (uint32_t i = 0; i < DETECTORS; i++) {
        cr_assert(kinds[i].name != NULL && kinds[i].category != NULL && kinds[i].describe != NULL);
        cr_assert_eq(kinds[i].signature_id, 9000001 + i); /* never to be changed */
    }
    detecting_stop();
}

static int attempt(void)
{
    WIND_AUTO(detectors) struct detectors *d = NULL;
    const struct detect_conf conf = detecting_conf();
    struct err e = {0};
    const int r = detectors_new(&d, &conf, &e);

    cr_assert(r == 0 || (r == -ENOMEM && d == NULL && e.text[0] != '\0'));
    return r;
}

Test(detect, without_memory_they_are_not_made)
{
    cr_assert_eq(oom_each(attempt), 1 + 4 + 5 * 3); /* themselves, 4 states, 5 tables */
}
