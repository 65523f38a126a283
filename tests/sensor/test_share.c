#include <criterion/criterion.h>

#include "common/ip.h"
#include "sensor/decode.h"
#include "sensor/share.h"
#include "support/pcap_builder.h"

static const struct decode_conf conf = {.tunnels = true, .vlan_in_key = true, .tunnel_depth = 4};
static struct bytes frame;

static void tear_down(void)
{
    bytes_done(&frame);
}
TestSuite(share, .fini = tear_down);

/* Of the frame, for `n` workers: without decoding, and by the key that decoding finds. */
static uint32_t of_frame(uint32_t n, uint32_t *ret_by_key)
{
    const struct packet p = {.data = frame.data,
                             .len = (uint32_t)frame.len,
                             .wire_len = (uint32_t)frame.len,
                             .linktype = 1};
    struct packet_view v;

    cr_assert_eq(decode_packet(&conf, &p, &v), DECODE_OK);
    *ret_by_key = share_of_key(&v.key, n);
    return share_of_packet(&p, n);
}

static void udp(unsigned src, unsigned sport, unsigned dst, unsigned dport)
{
    frame.len = 0;
    frame_eth(&frame, 0x0800);
    frame_ipv4(&frame, 17, src, dst, 8);
    frame_udp(&frame, sport, dport, 0);
}

static void expect_sure(bool is_sure)
{
    uint32_t by_key = 0;
    const uint32_t owner = of_frame(7, &by_key);

    cr_assert_eq(owner, is_sure ? by_key : SHARE_UNSURE);
}

Test(share, of_what_most_packets_are_is_told_without_decoding)
{
    udp(1, 5000, 2, 53);
    expect_sure(true);
    frame.len = 0;
    frame_eth(&frame, 0x8100);
    frame_vlan(&frame, 5, 0x8100);
    frame_vlan(&frame, 6, 0x0800);
    frame_ipv4(&frame, 6, 1, 2, 20);
    frame_tcp(&frame, 5000, 80, TCP_SYN);
    expect_sure(true);
    frame.len = 0;
    frame_eth(&frame, 0x86dd);
    frame_ipv6(&frame, 6, 1, 2, 20);
    frame_tcp(&frame, 5000, 80, TCP_SYN);
    expect_sure(true);
}

Test(share, what_may_be_more_than_it_looks_has_to_be_decoded)
{
    static const unsigned tunnels[] = {4789, 8472, 6081};

    for (size_t i = 0; i < 3; i++) {
        udp(1, 5000, 2, tunnels[i]);
        expect_sure(false);
    }
    udp(1, 5000, 2, 53);
    frame.data[14 + 6] = 0x20; /* the first fragment */
    expect_sure(false);
    frame.len = 0;
    frame_eth(&frame, 0x0800);
    frame_ipv4(&frame, 1, 1, 2, 8);
    put(&frame, "\x08\0\0\0\0\0\0\0", 8);
    expect_sure(false);
}

/* Whatever one byte says, and however little is here: who is sure is right, and it is not odd. */
static void expect_no_oddity(void)
{
    for (size_t at = 14; at < frame.len; at++) {
        const uint8_t before = frame.data[at];

        for (unsigned value = 0; value < 256; value++) {
            for (size_t len = frame.len; len > 14; len--) {
                const struct packet p = {.data = frame.data,
                                         .len = (uint32_t)len,
                                         .wire_len = (uint32_t)frame.len,
                                         .linktype = 1};
                struct packet_view v;

                frame.data[at] = (uint8_t)value;
                const uint32_t owner = share_of_packet(&p, 7);
                if (owner == SHARE_UNSURE)
                    continue;
                cr_assert_eq(decode_packet(&conf, &p, &v), DECODE_OK, "byte %zu is %u, %zu here",
                             at, value, len);
                cr_assert_eq(owner, share_of_key(&v.key, 7));
            }
        }
        frame.data[at] = before;
    }
}

Test(share, what_is_odd_has_to_be_decoded)
{
    for (unsigned is_v6 = 0; is_v6 < 2; is_v6++) {
        for (unsigned is_udp = 0; is_udp < 2; is_udp++) {
            const unsigned proto = is_udp ? 17 : 6, header = is_udp ? 8 : 20;

            frame.len = 0;
            frame_eth(&frame, is_v6 ? 0x86dd : 0x0800);
            if (is_v6)
                frame_ipv6(&frame, proto, 1, 2, header + 4);
            else
                frame_ipv4(&frame, proto, 1, 2, header + 4);
            if (is_udp)
                frame_udp(&frame, 5000, 53, 4);
            else
                frame_tcp(&frame, 5000, 80, TCP_SYN);
            put(&frame, "data", 4);
            expect_no_oddity();
        }
    }
}

Test(share, both_directions_belong_to_the_same_worker)
{
    for (uint32_t n = 1; n <= 32; n++) {
        for (unsigned i = 0; i < 50; i++) {
            uint32_t there = 0, back = 0;
            udp(i, 5000 + i, 2, 53);
            (void)of_frame(n, &there);
            udp(2, 53, i, 5000 + i);
            cr_assert_eq(of_frame(n, &back), there);
            cr_assert(back == there && there < n);
        }
    }
}

Test(share, echoes_belong_where_their_requests_do)
{
    struct flow_key request = {.sport = 8, .proto = 1, .ip_version = 4}, reply;

    for (uint8_t i = 0; i < 100; i++) {
        request.src[15] = i;
        request.dst[15] = 200;
        decode_answer_key(&request, &reply);
        cr_assert_eq(share_of_key(&request, 7), share_of_key(&reply, 7));
    }
}

/* Clients of one server, the ports of one client, a scan: none of it lands on one worker. */
Test(share, every_worker_gets_its_share)
{
    enum { FLOWS = 8000, WORKERS = 8 };

    for (int pattern = 0; pattern < 3; pattern++) {
        unsigned got[WORKERS] = {0};
        for (unsigned i = 0; i < FLOWS; i++) {
            const uint8_t many[] = {10, 1, (uint8_t)(i >> 8), (uint8_t)i}, one[] = {10, 9, 0, 1};
            struct flow_key k = {.sport = (uint16_t)(pattern == 1 ? 1024 + i : 40000),
                                 .dport = 53,
                                 .proto = 17,
                                 .ip_version = 4};
            ip_from_v4(pattern == 0 ? many : one, k.src);
            ip_from_v4(pattern == 2 ? many : one, k.dst);
            got[share_of_key(&k, WORKERS)]++;
        }
        for (unsigned w = 0; w < WORKERS; w++)
            cr_assert(got[w] > FLOWS / WORKERS * 8 / 10 && got[w] < FLOWS / WORKERS * 12 / 10,
                      "pattern %d: worker %u has %u of %d", pattern, w, got[w], FLOWS);
    }
}
