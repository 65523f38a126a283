#include <criterion/criterion.h>

#include "common/community_id.h"
#include "common/ip.h"

struct reference {
    const char *src, *dst;
    uint16_t sport, dport;
    uint8_t proto;
    const char *id;
};

static struct flow_key key_of(const struct reference *c)
{
    struct flow_key k = {.sport = c->sport, .dport = c->dport, .proto = c->proto};

    cr_assert_eq(ip_parse(c->src, k.src), 0);
    cr_assert_eq(ip_parse(c->dst, k.dst), 0);
    k.ip_version = ip_is_v4(k.src) ? 4 : 6;
    return k;
}

/* From the specification and the tests of its reference implementation, seed 0. */
static const struct reference baseline[] = {
    {"128.232.110.120", "66.35.250.204", 34855, 80, 6, "1:LQU9qZlK+B5F3KDmev6m5PMibrg="},
    {"66.35.250.204", "128.232.110.120", 80, 34855, 6, "1:LQU9qZlK+B5F3KDmev6m5PMibrg="},
    {"192.168.1.52", "8.8.8.8", 54585, 53, 17, "1:d/FP5EW3wiY1vCndhwleRRKHowQ="},
    {"8.8.8.8", "192.168.1.52", 53, 54585, 17, "1:d/FP5EW3wiY1vCndhwleRRKHowQ="},
    {"192.168.0.89", "192.168.0.1", 8, 0, 1, "1:X0snYXpgwiv9TZtqg64sgzUn6Dk="},
    {"192.168.0.1", "192.168.0.89", 0, 0, 1, "1:X0snYXpgwiv9TZtqg64sgzUn6Dk="},
    {"10.0.0.1", "10.0.0.2", 10, 11569, 6, "1:SXBGMX1lBOwhhoDrZynfROxnhnM="},
    {"192.168.170.8", "192.168.170.56", 7, 7, 132, "1:MP2EtRCAUIZvTw6MxJHLV7N7JDs="},
    {"2001:db8::1", "2001:db8::2", 443, 51000, 6, "1:2TiKiiiSIuDma9IxOEOpx4wCXWM="},
    /* ICMP types without an answer keep their code and their direction */
    {"192.168.0.89", "192.168.0.1", 20, 0, 1, "1:3o2RFccXzUgjl7zDpqmY7yJi8rI="},
    {"192.168.0.89", "192.168.0.1", 20, 1, 1, "1:tz/fHIDUHs19NkixVVoOZywde+I="},
    {"fe80::200:86ff:fe05:80da", "fe80::260:97ff:fe07:69ea", 135, 0, 58,
     "1:dGHyGvjMfljg6Bppwm3bg0LO8TY="},
    {"fe80::260:97ff:fe07:69ea", "fe80::200:86ff:fe05:80da", 136, 0, 58,
     "1:dGHyGvjMfljg6Bppwm3bg0LO8TY="},
    {"fe80::260:97ff:fe07:69ea", "ff02::1", 134, 0, 58, "1:pkvHqCL88/tg1k4cPigmZXUtL00="},
    {"3ffe:507:0:1:200:86ff:fe05:80da", "3ffe:507:0:1:260:97ff:fe07:69ea", 3, 0, 58,
     "1:/OGBt9BN1ofenrmSPWYicpij2Vc="},
    /* neither ports nor types: RSVP */
    {"1.2.3.4", "5.6.7.8", 0, 0, 46, "1:ikv3kmf89luf73WPz1jOs49S768="},
};

Test(community_id, ids_are_those_of_the_specification)
{
    for (size_t i = 0; i < WIND_ARRAY_SIZE(baseline); i++) {
        const struct flow_key k = key_of(&baseline[i]);
        char id[COMMUNITY_ID_TEXT];

        community_id(&k, 0, id);
        cr_expect_str_eq(id, baseline[i].id, "%s -> %s: %s", baseline[i].src, baseline[i].dst, id);
    }
}

Test(community_id, both_directions_have_one_id_and_the_seed_changes_it)
{
    const struct reference there = {"10.0.0.1", "10.0.0.1", 5000, 80, 6, ""};
    const struct reference back = {"10.0.0.1", "10.0.0.1", 80, 5000, 6, ""};
    const struct flow_key a = key_of(&there), b = key_of(&back);
    char x[COMMUNITY_ID_TEXT], y[COMMUNITY_ID_TEXT];

    community_id(&a, 0, x);
    community_id(&b, 0, y);
    cr_assert_str_eq(x, y);
    community_id(&a, 1, y);
    cr_assert_str_neq(x, y);

    const struct flow_key tcp = key_of(&baseline[0]), udp = key_of(&baseline[2]);
    community_id(&tcp, 1, x);
    cr_assert_str_eq(x, "1:3V71V58M3Ksw/yuFALMcW0LAHvc=");
    community_id(&udp, 1, x);
    cr_assert_str_eq(x, "1:Q9We8WO3piVF8yEQBNJF4uiSVrI=");
}
