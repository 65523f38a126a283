#include <criterion/criterion.h>

#include "support/decoding.h"

TestSuite(decode_stack, .init = set_up);

#define INNER 28 /* bytes of the packet inside: IPv4, UDP from 10.0.0.3:1000 to 10.0.0.4:2000 */

static void put_inner(struct bytes *b)
{
    frame_ipv4(b, 17, 3, 4, 8);
    frame_udp(b, 1000, 2000, 0);
}

/* `n` bytes follow inside IPv4 between others than those of the packet inside. */
static void put_outer(struct bytes *b, unsigned proto, size_t n)
{
    frame_eth(b, 0x0800);
    frame_ipv4(b, proto, 100, 101, n);
}

static void put_outer_udp(struct bytes *b, unsigned dport, size_t n)
{
    put_outer(b, 17, 8 + n);
    frame_udp(b, 50000, dport, n);
}

#define TEXT(literal) (literal), sizeof(literal) - 1

/*
 * What comes before the packet inside: in IP of that protocol, or to that UDP port, if it is a
 * tunnel; with an Ethernet header between, or without.
 */
static const struct way {
    const char *name;
    unsigned linktype, proto, port;
    const char *header;
    size_t len;
    bool ethernet;
    enum decode_layer layer;
    unsigned tunnels;
} ways[] = {
    {"cooked", 113, 0, 0, TEXT("\0\0\0\x01\0\x06\0\0\0\0\0\0\0\0\x08\0"), false,
     DECODE_LAYER_cooked, 0},
    {"cooked 2", 276, 0, 0, TEXT("\x08\0\0\0\0\0\0\x01\0\x01\0\x06\0\0\0\0\0\0\0\0"), false,
     DECODE_LAYER_cooked2, 0},
    {"loopback", 0, 0, 0, TEXT("\x02\0\0\0"), false, DECODE_LAYER_loopback, 0},
    {"PPP", 9, 0, 0, TEXT("\xff\x03\0\x21"), false, DECODE_LAYER_ppp, 0},
    {"PPP, short", 9, 0, 0, TEXT("\x21"), false, DECODE_LAYER_ppp, 0},
    {"SNAP", 1, 0, 0, TEXT("\2\0\0\0\0\2\2\0\0\0\0\1\0\x24\xaa\xaa\x03\0\0\0\x08\0"), false,
     DECODE_LAYER_llc, 0},
    {"VLAN", 1, 0, 0, TEXT("\2\0\0\0\0\2\2\0\0\0\0\1\x81\0\0\x05\x08\0"), false, DECODE_LAYER_vlan,
     0},
    {"MPLS", 1, 0, 0, TEXT("\2\0\0\0\0\2\2\0\0\0\0\1\x88\x47\0\1\0\x40\0\1\1\x40"), false,
     DECODE_LAYER_mpls, 0},
    {"Ethernet over MPLS", 1, 0, 0, TEXT("\2\0\0\0\0\2\2\0\0\0\0\1\x88\x47\0\1\1\x40\0\0\0\0"),
     true, DECODE_LAYER_mpls, 0},
    {"PPPoE", 1, 0, 0, TEXT("\2\0\0\0\0\2\2\0\0\0\0\1\x88\x64\x11\0\0\1\0\x1e\0\x21"), false,
     DECODE_LAYER_pppoe, 0},
    {"IP in IP", 1, 4, 0, TEXT(""), false, DECODE_LAYER_ipv4, 1},
    {"GRE", 1, 47, 0, TEXT("\0\0\x08\0"), false, DECODE_LAYER_gre, 1},
    {"GRE with all options", 1, 47, 0, TEXT("\xb0\0\x08\0sum.key.seq."), false, DECODE_LAYER_gre,
     1},
    {"NVGRE", 1, 47, 0, TEXT("\x20\0\x65\x58key."), true, DECODE_LAYER_gre, 1},
    {"ERSPAN I", 1, 47, 0, TEXT("\0\0\x88\xbe"), true, DECODE_LAYER_gre, 1},
    {"ERSPAN II", 1, 47, 0, TEXT("\x10\0\x88\xbeseq.\x10\1\0\1\0\0\0\0"), true,
     DECODE_LAYER_erspan2, 1},
    {"ERSPAN III", 1, 47, 0, TEXT("\x10\0\x22\xebseq.\x20\1\0\1time\0\0\0\0"), true,
     DECODE_LAYER_erspan3, 1},
    {"ERSPAN III with an option, IP", 1, 47, 0,
     TEXT("\x10\0\x22\xebseq.\x20\1\0\1time\0\0\x08\1platform"), false, DECODE_LAYER_erspan3, 1},
    {"VXLAN", 1, 17, 4789, TEXT("\x08\0\0\0\0\0\x2a\0"), true, DECODE_LAYER_vxlan, 1},
    {"GENEVE", 1, 17, 6081, TEXT("\x01\0\x65\x58\0\0\x2a\0opt."), true, DECODE_LAYER_geneve, 1},
    {"GENEVE, IP", 1, 17, 6081, TEXT("\0\0\x08\0\0\0\x2a\0"), false, DECODE_LAYER_geneve, 1},
};

static void put_way(struct bytes *b, const struct way *w)
{
    const size_t n = w->len + (w->ethernet ? 14 : 0) + INNER;

    if (w->port != 0)
        put_outer_udp(b, w->port, n);
    else if (w->proto != 0)
        put_outer(b, w->proto, n);
    put(b, w->header, w->len);
    if (w->ethernet)
        frame_eth(b, 0x0800);
    put_inner(b);
}

static void assert_inner(const struct packet_view *v, const char *name)
{
    cr_assert(v->key.src[15] == 3 && v->key.dst[15] == 4, "%s", name);
    cr_assert(v->key.sport == 1000 && v->key.dport == 2000 && v->key.proto == 17, "%s", name);
    cr_assert(v->ip_len == INNER && v->ip_captured == INNER && v->payload_len == 0, "%s", name);
}

Test(decode_stack, every_way_leads_to_the_same_packet)
{
    for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
        struct bytes b = {0};
        struct packet_view v;

        put_way(&b, &ways[i]);
        cr_assert_eq(decode_as(&b, ways[i].linktype, b.len, &v), DECODE_OK, "%s", ways[i].name);
        assert_inner(&v, ways[i].name);
        cr_assert_neq(v.layers & 1u << ways[i].layer, 0, "%s", ways[i].name);
        bytes_done(&b);
    }
}

/* Up to the last byte of the last header; what has a header less may be another thing. */
Test(decode_stack, every_way_cut_by_the_capture_is_truncated_at_any_byte)
{
    for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
        struct bytes b = {0};
        struct packet_view v;

        put_way(&b, &ways[i]);
        for (size_t len = 0; len < b.len; len++)
            cr_assert_eq(decode_as(&b, ways[i].linktype, len, &v), DECODE_TRUNCATED, "%s at %zu",
                         ways[i].name, len);
        bytes_done(&b);
    }
}

Test(decode_stack, every_way_too_short_is_malformed_or_a_packet_of_the_tunnel)
{
    for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
        struct bytes b = {0};
        struct packet_view v;

        put_way(&b, &ways[i]);
        for (size_t len = 0; len < b.len; len++) {
            const struct bytes cut = {.data = b.data, .len = len};
            const enum decode_verdict verdict = decode_as(&cut, ways[i].linktype, len, &v);
            const bool is_plain_udp = verdict == DECODE_OK && v.key.dport == ways[i].port;
            cr_assert(verdict == DECODE_MALFORMED || is_plain_udp, "%s at %zu", ways[i].name, len);
        }
        bytes_done(&b);
    }
}

Test(decode_stack, tunnels_are_left_alone_when_told)
{
    conf.tunnels = false;
    for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
        struct bytes b = {0};
        struct packet_view v;

        put_way(&b, &ways[i]);
        cr_assert_eq(decode_as(&b, ways[i].linktype, b.len, &v), DECODE_OK, "%s", ways[i].name);
        if (ways[i].tunnels == 0)
            assert_inner(&v, ways[i].name);
        else
            cr_assert(v.key.src[15] == 100 && v.key.proto == ways[i].proto &&
                          v.key.dport == ways[i].port,
                      "%s", ways[i].name);
        bytes_done(&b);
    }
}

Test(decode_stack, ipv6_in_ipv4_and_ipv4_in_ipv6)
{
    struct bytes b = {0};
    struct packet_view v;

    put_outer(&b, 41, 40 + 8 + 40 + 20);
    frame_ipv6(&b, 60, 1, 2, 8 + 40 + 20); /* an extension header, then IPv6 in IPv6 */
    put(&b, "\x29\0\0\0\0\0\0\0", 8);
    frame_ipv6(&b, 6, 3, 4, 20);
    frame_tcp(&b, 5, 6, TCP_SYN);
    cr_assert_eq(decode(&b, &v), DECODE_OK);
    cr_assert(v.key.ip_version == 6 && v.key.src[15] == 3 && v.key.dport == 6 && v.ip_len == 60);
    bytes_done(&b);
    frame_eth(&b, 0x86dd);
    frame_ipv6(&b, 4, 1, 2, INNER);
    put_inner(&b);
    cr_assert_eq(decode(&b, &v), DECODE_OK);
    assert_inner(&v, "IPv4 in IPv6");
    cr_assert_eq(v.key.ip_version, 4);
    bytes_done(&b);
}

Test(decode_stack, tunnels_in_tunnels_are_followed_to_a_limit)
{
    for (unsigned depth = 0; depth <= 8; depth++) {
        struct bytes b = {0};
        struct packet_view v;

        frame_eth(&b, 0x0800);
        for (unsigned i = 0; i < depth; i++)
            frame_ipv4(&b, 4, 10 + i, 2, 20 * (depth - i - 1) + INNER);
        put_inner(&b);
        cr_assert_eq(decode(&b, &v), depth <= 4 ? DECODE_OK : DECODE_TOO_DEEP, "%u", depth);
        cr_assert_eq(v.key.src[15], depth <= 4 ? 3 : 14, "%u", depth);
        bytes_done(&b);
    }
}

Test(decode_stack, layers_without_an_end_are_too_deep)
{
    static const struct {
        unsigned type;
        const char *repeat;
        size_t len;
    } endless[] = {
        {0x8100, TEXT("\0\x01\x81\0")},
        {0x8847, TEXT("\0\x01\0\x40")},
        {0x8847, TEXT("\0\1\1\x40\0\0\0\0\2\0\0\0\0\2\2\0\0\0\0\1\x88\x47")},
        {0x8864,
         TEXT("\x11\0\0\1\xff\xff\x02\x81\0\1\1\x40\0\0\0\0\2\0\0\0\0\2\2\0\0\0\0\1\x88\x64")},
    };

    for (size_t i = 0; i < sizeof(endless) / sizeof(endless[0]); i++) {
        struct bytes b = {0};
        struct packet_view v;

        frame_eth(&b, endless[i].type);
        for (unsigned n = 0; n < 200; n++)
            put(&b, endless[i].repeat, endless[i].len);
        cr_assert_eq(decode(&b, &v), DECODE_TOO_DEEP, "%zu", i);
        bytes_done(&b);
    }
}

Test(decode_stack, a_tunnel_without_ip_in_it_is_a_flow_itself)
{
    static const struct {
        unsigned proto, port;
        const char *what;
        size_t len;
    } inside[] = {
        {47, 0, TEXT("\0\0\x65\x58\2\0\0\0\0\2\2\0\0\0\0\1\x08\x06\0\1\x08\0\6\4\0\1")}, /* ARP */
        {47, 0, TEXT("\0\0\0\0keep-alive")},
        {47, 0, TEXT("\x20\x01\x88\x0b\0\4\0\1\xff\x03\xc0\x21")}, /* PPTP */
        {47, 0,
         TEXT("\x40\0\x08\0"
              "routed")},
        {47, 0, TEXT("\x10\0\x88\xbeseq.\x70\1\0\1\0\0\0\0")}, /* ERSPAN of another version */
        {47, 0, TEXT("\x10\0\x22\xebseq.\x70\1\0\1time\0\0\0\0")},
        {17, 4789, TEXT("\x08\0\0\0\0\0\x2a\x01no VXLAN")},
        {17, 4789, TEXT("\x0c\0\0\0\0\0\x2a\0no VXLAN")},
        {17, 8472, TEXT("short")},
        {17, 6081, TEXT("\x41\0\x65\x58\0\0\x2a\0version 1")},
        {17, 6081, TEXT("\x3f\0\x65\x58\0\0\x2a\0options beyond it")},
        {17, 6081, TEXT("\0\0\x12\x34\0\0\x2a\0who knows")},
        {17, 6081, TEXT("short")},
    };

    for (size_t i = 0; i < sizeof(inside) / sizeof(inside[0]); i++) {
        struct bytes b = {0};
        struct packet_view v;

        if (inside[i].port != 0)
            put_outer_udp(&b, inside[i].port, inside[i].len);
        else
            put_outer(&b, inside[i].proto, inside[i].len);
        put(&b, inside[i].what, inside[i].len);
        cr_assert_eq(decode(&b, &v), DECODE_OK, "%zu", i);
        cr_assert(v.key.src[15] == 100 && v.key.proto == inside[i].proto &&
                      v.key.dport == inside[i].port && v.payload_len == inside[i].len,
                  "%zu", i);
        bytes_done(&b);
    }
}

Test(decode_stack, what_is_broken_inside_a_tunnel_is_malformed)
{
    struct bytes b = {0};
    struct packet_view v;

    put_outer(&b, 4, INNER);
    put_inner(&b);
    b.data[14 + 20] = 0x55;
    cr_assert_eq(decode(&b, &v), DECODE_MALFORMED);
    cr_assert_eq(v.last_layer, DECODE_LAYER_ipv4);
    cr_assert_eq(v.key.src[15], 100, "the outer packet's addresses are known");
    bytes_done(&b);
}

Test(decode_stack, pppoe_lengths_and_codes_count)
{
    struct bytes b = {0};
    struct packet_view v;

    frame_eth(&b, 0x8864);
    put(&b, "\x11\0\0\1\0\x02\xc0\x21rest", 12); /* LCP */
    cr_assert_eq(decode(&b, &v), DECODE_NOT_IP);
    b.data[14 + 5] = 1; /* half of a protocol number */
    cr_assert_eq(decode(&b, &v), DECODE_MALFORMED);
    b.data[14 + 5] = 2;
    b.data[14] = 0x21;
    cr_assert_eq(decode(&b, &v), DECODE_MALFORMED);
    bytes_done(&b);
}

Test(decode_stack, llc_without_snap_is_no_ip)
{
    struct bytes b = {0};
    struct packet_view v;

    frame_eth(&b, 38);
    put(&b, "\x42\x42\x03\0\0\0\0\0", 8); /* spanning tree */
    cr_assert_eq(decode(&b, &v), DECODE_NOT_IP);
    b.data[13] = 2; /* a length too short for LLC */
    cr_assert_eq(decode(&b, &v), DECODE_MALFORMED);
    bytes_done(&b);
}

Test(decode_stack, vlans_stay_out_of_the_key_when_told)
{
    struct bytes b = {0};
    struct packet_view v;

    frame_eth(&b, 0x8100);
    frame_vlan(&b, 42, 0x0800);
    put_inner(&b);
    cr_assert_eq(decode(&b, &v), DECODE_OK);
    cr_assert_eq(v.key.vlan, 42);
    conf.vlan_in_key = false;
    cr_assert_eq(decode(&b, &v), DECODE_OK);
    cr_assert_eq(v.key.vlan, 0);
    bytes_done(&b);
}

Test(decode_stack, neighbour_discovery_is_told_from_other_icmpv6)
{
    for (unsigned type = 0; type < 256; type++) {
        struct bytes b = {0};
        struct packet_view v;

        frame_eth(&b, 0x86dd);
        frame_ipv6(&b, 58, 1, 2, 8);
        put8(&b, type);
        put(&b, "\0\0\0\0\0\0\0", 7);
        cr_assert_eq(decode(&b, &v), DECODE_OK);
        cr_assert_eq((v.layers & 1u << DECODE_LAYER_ndp) != 0, type >= 133 && type <= 137);
        bytes_done(&b);
    }
}

static void with_options(const char *options, size_t n, size_t captured, struct packet_view *v)
{
    struct bytes b = {0};

    frame_eth(&b, 0x0800);
    frame_ipv4(&b, 6, 1, 2, 20 + n);
    frame_tcp(&b, 1234, 80, TCP_SYN);
    b.data[b.len - 8] = (uint8_t)((20 + n) / 4 << 4);
    put(&b, options, n);
    cr_assert_eq(decode_as(&b, ETHERNET, 14 + 40 + captured, v), DECODE_OK);
    bytes_done(&b);
}

Test(decode_stack, tcp_options_are_read)
{
    struct packet_view v;

    with_options(TEXT("\2\4\5\xb4\4\2\x08\x0a\0\0\0\7\0\0\0\x09\1\3\3\7"), 20, &v);
    cr_assert_eq(v.tcp_options,
                 TCP_OPTION_MSS | TCP_OPTION_SACK | TCP_OPTION_TIMES | TCP_OPTION_WINDOW_SCALE);
    cr_assert(v.tcp_mss == 1460 && v.tcp_window_scale == 7 && v.tcp_time == 7 &&
              v.tcp_time_echo == 9);
    with_options(TEXT("\1\1\x08\x0a\0\0\1\0\0\0\2\0"), 12, &v);
    cr_assert(v.tcp_options == TCP_OPTION_TIMES && v.tcp_time == 256 && v.tcp_time_echo == 512);
    with_options(TEXT("\3\3\xff\0\2\4\5\xb4"), 8, &v);
    cr_assert(v.tcp_options == TCP_OPTION_WINDOW_SCALE && v.tcp_window_scale == 14,
              "no more than RFC 7323 allows, and nothing behind the end of the list");
}

Test(decode_stack, tcp_options_that_can_not_be_are_marked_and_those_cut_are_not)
{
    struct packet_view v;

    with_options(TEXT("\2\4\5\xb4\x08\0\0\0"), 8, &v);
    cr_assert_eq(v.tcp_options, TCP_OPTION_MSS | TCP_OPTION_BAD);
    with_options(TEXT("\1\1\1\2"), 4, &v);
    cr_assert_eq(v.tcp_options, TCP_OPTION_BAD);
    with_options(TEXT("\2\4\5\xb4\x08\x0a\0\0\0\0\0\0\0\0\0\0"), 7, &v);
    cr_assert_eq(v.tcp_options, TCP_OPTION_MSS);
    with_options(TEXT("\2\4\5\xb4\x08\x0a\0\0\0\0\0\0\0\0\0\0"), 5, &v);
    cr_assert_eq(v.tcp_options, TCP_OPTION_MSS);
}

/* ---------------------------------------------------------------- tags that the kernel takes off
 */

/* The view of the frame with its tag, and of the frame whose first tag lies beside it. */
static void same_with_and_without_tag(const struct bytes *b)
{
    struct packet_view tagged, stripped;
    uint8_t *const rest = malloc(b->len - 4);
    const struct packet whole = {.data = b->data,
                                 .len = (uint32_t)b->len,
                                 .wire_len = (uint32_t)b->len,
                                 .linktype = ETHERNET};
    const struct packet cut = {.data = rest,
                               .len = whole.len - 4,
                               .wire_len = whole.len - 4,
                               .linktype = ETHERNET,
                               .vlan_tpid = load_be16(b->data + 12),
                               .vlan_tci = load_be16(b->data + 14)};

    memcpy(rest, b->data, 12);
    memcpy(rest + 12, b->data + 16, b->len - 16);
    const enum decode_verdict verdict = decode_packet(&conf, &whole, &tagged);
    cr_assert_eq(decode_packet(&conf, &cut, &stripped), verdict);
    cr_assert_eq(stripped.layers, tagged.layers);
    cr_assert_eq(stripped.last_layer, tagged.last_layer);
    cr_assert_arr_eq(&stripped.key, &tagged.key, sizeof(tagged.key));
    cr_assert_eq(stripped.payload_len, tagged.payload_len);
    cr_assert_eq(stripped.payload_wire_len, tagged.payload_wire_len);
    cr_assert_eq(stripped.ip_len, tagged.ip_len);
    cr_assert_eq(decode_by_layers(&conf, &cut, &tagged), verdict); /* and by the long way */
    cr_assert_arr_eq(&stripped, &tagged, sizeof(tagged));
    free(rest);
}

Test(decode_stack, a_tag_beside_the_frame_is_the_outermost_one)
{
    struct packet_view v;

    for (unsigned in_key = 0; in_key < 2; in_key++) {
        conf.vlan_in_key = in_key != 0;
        for (unsigned tags = 1; tags <= DECODE_VLANS_MAX + 1; tags++) {
            struct bytes tcp = {0}, arp = {0};

            frame_eth(&tcp, 0x88a8);
            for (unsigned i = 1; i < tags; i++)
                frame_vlan(&tcp, 0x6000 | (100 + i), 0x8100);
            frame_vlan(&tcp, 0x6000 | (100 + tags), 0x0800);
            frame_ipv4(&tcp, 6, 1, 2, 25);
            frame_tcp(&tcp, 1234, 80, TCP_ACK);
            put(&tcp, "hello", 5);
            same_with_and_without_tag(&tcp);
            cr_assert_eq(decode(&tcp, &v), tags > DECODE_VLANS_MAX ? DECODE_TOO_DEEP : DECODE_OK);
            cr_assert(tags > DECODE_VLANS_MAX || v.key.vlan == (in_key != 0 ? 101 : 0));

            frame_eth(&arp, 0x8100);
            frame_vlan(&arp, 7, 0x0806);
            put(&arp, "who has, tell", 13);
            same_with_and_without_tag(&arp);
            bytes_done(&tcp);
            bytes_done(&arp);
        }
    }
}
