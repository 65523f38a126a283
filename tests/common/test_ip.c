#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "common/ip.h"

static void expect_text(const char *in, const char *out)
{
    uint8_t a[16];
    char text[IP_TEXT];

    cr_expect_eq(ip_parse(in, a), 0, "%s", in);
    cr_expect_eq(ip_format(a, text), strlen(out));
    cr_expect_str_eq(text, out);
}

Test(ip, addresses_are_written_as_rfc_5952_wants)
{
    expect_text("10.0.0.1", "10.0.0.1");
    expect_text("255.255.255.255", "255.255.255.255");
    expect_text("::ffff:1.2.3.4", "1.2.3.4");
    expect_text("::", "::");
    expect_text("::1", "::1");
    expect_text("1::", "1::");
    expect_text("2001:DB8:0:0:1:0:0:1", "2001:db8::1:0:0:1");
    expect_text("2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1");
    expect_text("1:0:0:2:0:0:0:3", "1:0:0:2::3");
    expect_text("fe80:0:0:0:0:0:0:0", "fe80::");
    expect_text("1:2:3:4:5:6:7:abcd", "1:2:3:4:5:6:7:abcd");
    expect_text("ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe",
                "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe");
}

Test(ip, what_is_not_an_address_is_refused)
{
    static const char *const bad[] = {"",    "1.2.3",   "1.2.3.256", "1.2.3.4.5",
                                      "::g", "1::2::3", "1.2.3.4/8", " 1.2.3.4"};
    uint8_t a[16];

    for (size_t i = 0; i < WIND_ARRAY_SIZE(bad); i++)
        cr_expect_eq(ip_parse(bad[i], a), -EINVAL, "%s", bad[i]);
}

static bool contains(const char *net, const char *address)
{
    struct cidr n;
    uint8_t a[16];

    cr_assert_eq(cidr_parse(net, &n, NULL), 0, "%s", net);
    cr_assert_eq(ip_parse(address, a), 0, "%s", address);
    return cidr_contains(&n, a);
}

Test(ip, networks_contain_their_own_addresses_only)
{
    cr_expect(contains("10.0.0.0/8", "10.255.0.1"));
    cr_expect_not(contains("10.0.0.0/8", "11.0.0.0"));
    cr_expect(contains("192.168.1.7/31", "192.168.1.6"));
    cr_expect_not(contains("192.168.1.7/31", "192.168.1.8"));
    cr_expect(contains("0.0.0.0/0", "8.8.8.8"));
    cr_expect_not(contains("0.0.0.0/0", "2001:db8::1"));
    cr_expect(contains("::/0", "8.8.8.8"));
    cr_expect(contains("fd00::/9", "fd7f::1"));
    cr_expect_not(contains("fd00::/9", "fd80::1"));
    cr_expect(contains("10.1.2.3", "10.1.2.3"));
    cr_expect_not(contains("10.1.2.3", "10.1.2.2"));
}

Test(ip, networks_are_printed_in_their_own_family)
{
    static const char *const pairs[][2] = {
        {"10.1.2.3/8", "10.0.0.0/8"},
        {"10.1.2.3", "10.1.2.3/32"},
        {"0.0.0.0/0", "0.0.0.0/0"},
        {"2001:db8::1/32", "2001:db8::/32"},
        {"::/0", "::/0"},
        {"::1", "::1/128"},
    };

    for (size_t i = 0; i < WIND_ARRAY_SIZE(pairs); i++) {
        struct cidr n;
        char text[CIDR_TEXT];

        cr_assert_eq(cidr_parse(pairs[i][0], &n, NULL), 0);
        cr_assert_eq(cidr_format(&n, text), strlen(pairs[i][1]));
        cr_assert_str_eq(text, pairs[i][1]);
    }
}

Test(ip, what_is_not_a_network_is_refused_with_a_sentence)
{
    static const char *const bad[] = {
        "",           "10.0.0.0/",   "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/8x",
        "fd00::/129", "fd00::/0008", "10.0.0/8",    "/8"};
    struct cidr n;

    for (size_t i = 0; i < WIND_ARRAY_SIZE(bad); i++) {
        struct err e = {0};

        cr_expect_eq(cidr_parse(bad[i], &n, &e), -EINVAL, "%s", bad[i]);
        cr_expect(e.text[0] != '\0');
    }
}
