#include <criterion/criterion.h>

#include "sensor/decode_layer.h"
#include "support/pcap_builder.h"

#define ETHERNET 1

static struct decode_conf conf;

static void set_up(void)
{
    conf = (struct decode_conf){.tunnels = true, .vlan_in_key = true, .tunnel_depth = 4};
}
TestSuite(decode, .init = set_up);

static enum decode_verdict decode_as(const struct bytes *b, unsigned linktype, size_t len,
                                     struct packet_view *v)
{
    /* a copy of just that size: reading beyond it is an error under ASan */
    uint8_t *const copy = malloc(len > 0 ? len : 1);
    memcpy(copy, b->data, len);
    const struct packet p = {.data = copy,
                             .len = (uint32_t)len,
                             .wire_len = (uint32_t)b->len,
                             .linktype = (uint16_t)linktype};
    const enum decode_verdict verdict = decode_packet(&conf, &p, v);
    struct packet_view by_layers;
    cr_assert_eq(decode_by_layers(&conf, &p, &by_layers), verdict);
    if (verdict == DECODE_OK) /* the short cut leads to the same place */
        cr_assert_arr_eq(&by_layers, v, sizeof(by_layers));
    free(copy);
    return verdict;
}

static enum decode_verdict decode(const struct bytes *b, struct packet_view *v)
{
    return decode_as(b, ETHERNET, b->len, v);
}

/* The packet really is only this long. */
static enum decode_verdict decode_first(const struct bytes *b, size_t len, struct packet_view *v)
{
    const struct bytes cut = {.data = b->data, .len = len};

    return decode(&cut, v);
}

static void tcp_frame(struct bytes *b)
{
    frame_eth(b, 0x0800);
    frame_ipv4(b, 6, 1, 2, 25);
    frame_tcp(b, 1234, 80, TCP_SYN | TCP_ECE);
    put(b, "hello", 5);
}

Test(decode, tcp_over_ipv4_gives_all_of_the_view)
{
    struct bytes b = {0};
    struct packet_view v;

    tcp_frame(&b);
    put(&b, "padding", 7); /* of the link: no part of the packet */
    cr_assert_eq(decode(&b, &v), DECODE_OK);
    static const uint8_t src[16] = {[10] = 0xff, [11] = 0xff, [12] = 10, [15] = 1};
    cr_assert_arr_eq(v.key.src, src, 16);
    cr_assert_eq(v.key.dst[15], 2);
    cr_assert_eq(v.key.sport, 1234);
    cr_assert_eq(v.key.dport, 80);
    cr_assert_eq(v.key.proto, 6);
    cr_assert_eq(v.key.ip_version, 4);
    cr_assert_eq(v.key.vlan, 0);
    cr_assert_eq(v.ip_len, 45);
    cr_assert_eq(v.ip_captured, 45);
    cr_assert_eq(v.payload_len, 5);
    cr_assert_eq(v.payload_wire_len, 5);
    cr_assert_eq(v.tcp_seq, 0x01020304);
    cr_assert_eq(v.tcp_ack, 0x05060708);
    cr_assert_eq(v.tcp_window, 0xfaf0);
    cr_assert_eq(v.tcp_flags, TCP_SYN | TCP_ECE);
    cr_assert_eq(v.ttl, 64);
    cr_assert_not(v.is_fragment);
    cr_assert_not(v.has_inner);
    bytes_done(&b);
}

Test(decode, a_packet_cut_at_any_byte_is_truncated_up_to_its_headers)
{
    struct bytes b = {0};
    struct packet_view v;

    tcp_frame(&b);
    for (size_t len = 0; len < 54; len++)
        cr_assert_eq(decode_as(&b, ETHERNET, len, &v), DECODE_TRUNCATED, "at %zu", len);
    for (size_t len = 54; len <= b.len; len++) {
        cr_assert_eq(decode_as(&b, ETHERNET, len, &v), DECODE_OK, "at %zu", len);
        cr_assert_eq(v.payload_len, len - 54);
        cr_assert_eq(v.payload_wire_len, 5);
        cr_assert_eq(v.ip_len, 45);
    }
    bytes_done(&b);
}

Test(decode, a_packet_too_short_for_its_headers_is_malformed)
{
    struct bytes b = {0};
    struct packet_view v;

    tcp_frame(&b);
    for (size_t len = 0; len < 54; len++)
        cr_assert_eq(decode_first(&b, len, &v), DECODE_MALFORMED, "at %zu", len);
    bytes_done(&b);
}

Test(decode, lengths_never_exceed_the_wire)
{
    struct bytes b = {0};
    struct packet_view v;

    tcp_frame(&b);
    b.data[16] = 0xff; /* IP total length 0xff2d */
    cr_assert_eq(decode(&b, &v), DECODE_OK);
    cr_assert_eq(v.ip_len, 45);
    cr_assert_eq(v.payload_wire_len, 5);
    b.data[16] = b.data[17] = 0; /* a card that cuts the packet later */
    cr_assert_eq(decode(&b, &v), DECODE_OK);
    cr_assert_eq(v.ip_len, 45);
    bytes_done(&b);
}

Test(decode, contradicting_headers_are_malformed)
{
    static const struct {
        const char *what;
        size_t at;
        uint8_t value;
    } bad[] = {
        {"IP version 5", 14, 0x55},
        {"IP header of 16 bytes", 14, 0x44},
        {"IP header beyond it", 14, 0x4f},
        {"IP total length 19", 17, 19},
        {"TCP header of 16 bytes", 46, 4 << 4},
        {"TCP header beyond it", 46, 15 << 4},
    };
    struct packet_view v;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct bytes b = {0};
        tcp_frame(&b);
        b.data[bad[i].at] = bad[i].value;
        cr_assert_eq(decode(&b, &v), DECODE_MALFORMED, "%s", bad[i].what);
        bytes_done(&b);
    }
}

Test(decode, the_outer_vlan_counts_and_four_tags_are_enough)
{
    struct packet_view v;

    for (unsigned tags = 1; tags <= DECODE_VLANS_MAX + 1; tags++) {
        struct bytes b = {0};
        frame_eth(&b, 0x88a8);
        for (unsigned i = 1; i < tags; i++)
            frame_vlan(&b, 0xe000 | (100 + i), 0x8100);
        frame_vlan(&b, 0xe000 | (100 + tags), 0x86dd);
        frame_ipv6(&b, 17, 1, 2, 12);
        frame_udp(&b, 53, 5353, 4);
        put(&b, "abcd", 4);
        const bool fits = tags <= DECODE_VLANS_MAX;
        cr_assert_eq(decode(&b, &v), fits ? DECODE_OK : DECODE_TOO_DEEP, "%u tags", tags);
        if (fits) {
            cr_assert_eq(v.key.vlan, 101);
            cr_assert_eq(v.key.ip_version, 6);
            cr_assert_eq(v.key.src[0], 0xfd);
            cr_assert_eq(v.key.dst[15], 2);
            cr_assert_eq(v.key.dport, 5353);
            cr_assert_eq(v.ip_len, 52);
            cr_assert_eq(v.ttl, 63);
            cr_assert_eq(v.payload_len, 4);
        }
        bytes_done(&b);
    }
}

Test(decode, every_link_type_finds_the_same_packet)
{
    static const struct {
        unsigned linktype;
        const char *header;
        size_t len;
    } links[] = {
        {113, "\0\0\0\x01\0\x06\0\0\0\0\0\0\0\0\x08\0", 16},
        {276, "\x08\0\0\0\0\0\0\x01\0\x01\0\x06\0\0\0\0\0\0\0\0", 20},
        {101, "", 0},
        {12, "", 0},
        {228, "", 0},
        {0, "\x02\0\0\0", 4},
        {0, "\0\0\0\x02", 4},
        {108, "\0\0\0\x02", 4},
    };

    for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++) {
        struct bytes b = {0};
        struct packet_view v;

        put(&b, links[i].header, links[i].len);
        frame_ipv4(&b, 17, 3, 4, 8);
        frame_udp(&b, 1000, 2000, 0);
        cr_assert_eq(decode_as(&b, links[i].linktype, b.len, &v), DECODE_OK, "link %u",
                     links[i].linktype);
        cr_assert_eq(v.key.sport, 1000);
        cr_assert_eq(v.key.src[15], 3);
        cr_assert_eq(v.payload_len, 0);
        bytes_done(&b);
    }
}

Test(decode, what_is_no_ip_or_no_known_link_has_verdicts_of_its_own)
{
    struct bytes b = {0};
    struct packet_view v;

    frame_eth(&b, 0x0806);
    put(&b, "\0\x01\x08\0\x06\x04\0\x01", 8);
    cr_assert_eq(decode(&b, &v), DECODE_ARP);
    b.data[12] = 0x88, b.data[13] = 0xcc; /* LLDP */
    cr_assert_eq(decode(&b, &v), DECODE_NOT_IP);
    cr_assert_eq(decode_as(&b, 105, b.len, &v), DECODE_UNSUPPORTED_LINK);
    bytes_done(&b);
}

Test(decode, ipv4_options_are_stepped_over)
{
    struct bytes b = {0};
    struct packet_view v;

    frame_eth(&b, 0x0800);
    frame_ipv4(&b, 17, 1, 2, 12);
    b.data[14] = 0x46; /* one word of options */
    put(&b, "\x94\x04\0\0", 4);
    frame_udp(&b, 7, 9, 0);
    cr_assert_eq(decode(&b, &v), DECODE_OK);
    cr_assert_eq(v.key.dport, 9);
    cr_assert_eq(decode_as(&b, ETHERNET, 14 + 22, &v), DECODE_TRUNCATED);
    bytes_done(&b);
}

Test(decode, the_first_fragment_has_ports_and_later_ones_do_not)
{
    struct bytes b = {0};
    struct packet_view v;

    frame_eth(&b, 0x0800);
    frame_ipv4(&b, 17, 1, 2, 16);
    frame_udp(&b, 7, 9, 100);
    put(&b, "12345678", 8);
    b.data[20] = 0x20; /* more fragments */
    cr_assert_eq(decode(&b, &v), DECODE_OK);
    cr_assert(v.is_fragment);
    cr_assert_eq(v.key.sport, 7);
    cr_assert_eq(v.payload_wire_len, 8);
    b.data[21] = 2; /* offset 16 */
    cr_assert_eq(decode(&b, &v), DECODE_FRAGMENT);
    cr_assert_eq(v.key.sport, 0);
    cr_assert_eq(v.key.proto, 17);
    cr_assert_eq(v.key.dst[15], 2);
    cr_assert_eq(v.payload_len, 16);
    b.data[20] = 0x40, b.data[21] = 0; /* may not be fragmented: is none */
    cr_assert_eq(decode(&b, &v), DECODE_OK);
    cr_assert_not(v.is_fragment);
    bytes_done(&b);
}

Test(decode, ipv6_extension_headers_are_followed_to_a_limit)
{
    struct packet_view v;

    for (unsigned n = 1; n <= DECODE_EXTENSIONS_MAX + 1; n++) {
        struct bytes b = {0};
        frame_eth(&b, 0x86dd);
        frame_ipv6(&b, 0, 1, 2, 16UL * n + 20);
        for (unsigned i = 1; i <= n; i++) {
            put8(&b, i == n ? 6 : 60);
            put(&b, "\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 15);
        }
        frame_tcp(&b, 5, 6, TCP_ACK);
        const bool fits = n <= DECODE_EXTENSIONS_MAX;
        cr_assert_eq(decode(&b, &v), fits ? DECODE_OK : DECODE_TOO_DEEP, "%u headers", n);
        if (fits) {
            cr_assert_eq(v.key.proto, 6);
            cr_assert_eq(v.key.dport, 6);
        }
        bytes_done(&b);
    }
}

Test(decode, an_authentication_header_counts_its_length_in_words)
{
    struct bytes b = {0};
    struct packet_view v;

    frame_eth(&b, 0x86dd);
    frame_ipv6(&b, 51, 1, 2, 24 + 20);
    put(&b, "\x06\x04\0\0\0\0\0\x01\0\0\0\x01icvicvicvicv", 24); /* (4 + 2) words */
    frame_tcp(&b, 5, 6, TCP_ACK);
    cr_assert_eq(decode(&b, &v), DECODE_OK);
    cr_assert_eq(v.key.proto, 6);
    cr_assert_eq(v.key.dport, 6);
    bytes_done(&b);
}

Test(decode, ipv6_fragments_are_told_by_their_header)
{
    struct bytes b = {0};
    struct packet_view v;

    frame_eth(&b, 0x86dd);
    frame_ipv6(&b, 44, 1, 2, 16);
    put(&b, "\x11\0\0\x01\0\0\0\x01", 8); /* UDP, offset 0, more follow */
    frame_udp(&b, 7, 9, 50);
    cr_assert_eq(decode(&b, &v), DECODE_OK);
    cr_assert(v.is_fragment);
    cr_assert_eq(v.key.dport, 9);
    b.data[14 + 40 + 3] = 0x08; /* offset 8, the last */
    cr_assert_eq(decode(&b, &v), DECODE_FRAGMENT);
    cr_assert_eq(v.key.proto, 17);
    cr_assert_eq(v.key.dport, 0);
    cr_assert_eq(v.payload_len, 8);
    bytes_done(&b);
}

Test(decode, udp_length_bounds_the_payload_both_ways)
{
    struct bytes b = {0};
    struct packet_view v;

    frame_eth(&b, 0x0800);
    frame_ipv4(&b, 17, 1, 2, 14);
    frame_udp(&b, 7, 9, 4);
    put(&b, "abcdef", 6);
    cr_assert_eq(decode(&b, &v), DECODE_OK);
    cr_assert_eq(v.payload_len, 4);
    b.data[14 + 20 + 5] = 200;
    cr_assert_eq(decode(&b, &v), DECODE_OK);
    cr_assert_eq(v.payload_wire_len, 6);
    b.data[14 + 20 + 5] = 7;
    cr_assert_eq(decode(&b, &v), DECODE_MALFORMED);
    bytes_done(&b);
}

Test(decode, an_icmp_error_quotes_the_packet_it_is_about)
{
    struct bytes b = {0};
    struct packet_view v;

    frame_eth(&b, 0x8100);
    frame_vlan(&b, 42, 0x0800);
    frame_ipv4(&b, 1, 9, 1, 8 + 28);
    put(&b, "\x03\x03\0\0\0\0\0\0", 8); /* port unreachable */
    frame_ipv4(&b, 17, 1, 5, 508);
    frame_udp(&b, 4000, 161, 500);
    cr_assert_eq(decode(&b, &v), DECODE_OK);
    cr_assert_eq(v.key.sport, 3);
    cr_assert_eq(v.key.dport, 3);
    cr_assert(v.has_inner);
    cr_assert_eq(v.inner.src[15], 1);
    cr_assert_eq(v.inner.dst[15], 5);
    cr_assert_eq(v.inner.sport, 4000);
    cr_assert_eq(v.inner.dport, 161);
    cr_assert_eq(v.inner.vlan, 42);
    cr_assert_eq(v.inner.ip_version, 4);
    cr_assert_eq(decode_as(&b, ETHERNET, b.len - 5, &v), DECODE_OK);
    cr_assert_not(v.has_inner, "its ports were cut off");
    b.data[18 + 20] = 8; /* an echo request quotes nothing */
    cr_assert_eq(decode(&b, &v), DECODE_OK);
    cr_assert_not(v.has_inner);
    bytes_done(&b);
}

Test(decode, an_icmpv6_error_quotes_too)
{
    struct bytes b = {0};
    struct packet_view v;

    frame_eth(&b, 0x86dd);
    frame_ipv6(&b, 58, 9, 1, 8 + 60);
    put(&b, "\x01\x04\0\0\0\0\0\0", 8);
    frame_ipv6(&b, 6, 1, 5, 20);
    frame_tcp(&b, 4000, 22, TCP_SYN);
    cr_assert_eq(decode(&b, &v), DECODE_OK);
    cr_assert(v.has_inner);
    cr_assert_eq(v.inner.dport, 22);
    cr_assert_eq(v.inner.dst[15], 5);
    bytes_done(&b);
}

Test(decode, other_protocols_are_flows_without_ports)
{
    struct bytes b = {0};
    struct packet_view v;

    frame_eth(&b, 0x0800);
    frame_ipv4(&b, 50, 1, 2, 4);
    put(&b, "\0\0\x08\0", 4);
    cr_assert_eq(decode(&b, &v), DECODE_OK);
    cr_assert_eq(v.key.proto, 50);
    cr_assert_eq(v.key.sport, 0);
    cr_assert_eq(v.payload_len, 4);
    bytes_done(&b);
}

Test(decode, an_answer_key_is_what_the_answer_decodes_to)
{
    struct flow_key ping = {.proto = 1, .sport = 8, .src = {[15] = 1}, .dst = {[15] = 2}};
    struct flow_key answer, back;

    decode_answer_key(&ping, &answer);
    cr_assert_eq(answer.sport, 0);
    cr_assert_eq(answer.dport, 0);
    cr_assert_eq(answer.src[15], 2);
    cr_assert_eq(answer.dst[15], 1);
    decode_answer_key(&answer, &back);
    cr_assert_arr_eq(&back, &ping, sizeof(ping));

    ping = (struct flow_key){.proto = 6, .sport = 8, .dport = 80};
    decode_answer_key(&ping, &answer);
    cr_assert_eq(answer.sport, 80);
    cr_assert_eq(answer.dport, 8);

    ping = (struct flow_key){.proto = 1, .sport = 3, .dport = 1};
    decode_answer_key(&ping, &answer);
    cr_assert_gt(answer.dport, 255, "nobody answers 'unreachable'");
}

Test(decode, every_verdict_has_a_name)
{
    for (int i = 0; i < DECODE_VERDICTS; i++) {
        cr_assert_not_null(decode_verdict_name((enum decode_verdict)i));
        cr_assert_not_null(decode_verdict_meaning((enum decode_verdict)i));
    }
    for (int i = 0; i < DECODE_LAYERS; i++)
        cr_assert_not_null(decode_layer_name((enum decode_layer)i));
    cr_assert_str_eq(decode_verdict_name(DECODE_NOT_IP), "not_ip");
}

/* ---------------------------------------------------------------- every way to the same packet */

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

Test(decode, every_way_leads_to_the_same_packet)
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
Test(decode, every_way_cut_by_the_capture_is_truncated_at_any_byte)
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

Test(decode, every_way_too_short_is_malformed_or_a_packet_of_the_tunnel)
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

Test(decode, tunnels_are_left_alone_when_told)
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

Test(decode, ipv6_in_ipv4_and_ipv4_in_ipv6)
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

Test(decode, tunnels_in_tunnels_are_followed_to_a_limit)
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

Test(decode, layers_without_an_end_are_too_deep)
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

Test(decode, a_tunnel_without_ip_in_it_is_a_flow_itself)
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

Test(decode, what_is_broken_inside_a_tunnel_is_malformed)
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

Test(decode, pppoe_lengths_and_codes_count)
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

Test(decode, llc_without_snap_is_no_ip)
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

Test(decode, vlans_stay_out_of_the_key_when_told)
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

Test(decode, neighbour_discovery_is_told_from_other_icmpv6)
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

Test(decode, tcp_options_are_read)
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

Test(decode, tcp_options_that_can_not_be_are_marked_and_those_cut_are_not)
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
