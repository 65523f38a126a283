#include <criterion/criterion.h>

#include "support/decoding.h"

TestSuite(decode, .init = set_up);

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
