/* What decoding costs: one JSON line a kind of packet, nanoseconds a packet, the best of many. */
#include <stdio.h>

#include "common/time.h"
#include "sensor/decode.h"
#include "support/pcap_builder.h"

#define ROUNDS 20000
#define TRIES  15

static const struct decode_conf conf = {.tunnels = true, .vlan_in_key = true, .tunnel_depth = 4};

static void plain(struct bytes *b, unsigned i)
{
    frame_eth(b, 0x0800);
    frame_ipv4(b, 6, 1 + i, 2, 1020);
    frame_tcp(b, 1000 + i, 80, TCP_ACK);
}

/* With time stamps, as all but the first packets of most connections. */
static void stamped(struct bytes *b, unsigned i)
{
    frame_eth(b, 0x0800);
    frame_ipv4(b, 6, 1 + i, 2, 1032);
    frame_tcp(b, 1000 + i, 80, TCP_ACK);
    b->data[b->len - 8] = 8 << 4;
    put(b, "\x01\x01\x08\x0a\0\0\0\1\0\0\0\2", 12);
}

static void tagged(struct bytes *b, unsigned i)
{
    frame_eth(b, 0x8100);
    frame_vlan(b, 7, 0x86dd);
    frame_ipv6(b, 17, 1 + i, 2, 1008);
    frame_udp(b, 1000 + i, 53, 1000);
}

static void tunnelled(struct bytes *b, unsigned i)
{
    frame_eth(b, 0x0800);
    frame_ipv4(b, 17, 100, 101, 8 + 8 + 14 + 20 + 1020);
    frame_udp(b, 5000 + i, 4789, 8 + 14 + 20 + 1020);
    put(b, "\x08\0\0\0\0\0\x2a\0", 8);
    plain(b, i);
}

static double measure(void (*make)(struct bytes *, unsigned), enum decode_verdict *ret_verdict)
{
    static struct packet_view view[CAPTURE_BATCH];
    struct packet packet[CAPTURE_BATCH];
    struct bytes b = {0};
    double best = 1e9;

    for (unsigned i = 0; i < CAPTURE_BATCH; i++) {
        const size_t at = b.len;
        make(&b, i);
        for (unsigned n = 0; n < 1000; n++)
            put8(&b, 'x');
        packet[i] = (struct packet){.data = b.data + at,
                                    .len = (uint32_t)(b.len - at),
                                    .wire_len = (uint32_t)(b.len - at),
                                    .linktype = 1};
    }
    for (unsigned try = 0; try < TRIES; try++) {
        const uint64_t start = time_mono_ns();
        for (unsigned round = 0; round < ROUNDS / CAPTURE_BATCH; round++) {
            for (unsigned i = 0; i < CAPTURE_BATCH; i++)
                *ret_verdict = decode_packet(&conf, &packet[i], &view[i]);
            __asm__ volatile("" : : "r"(view) : "memory");
        }
        const double ns =
            (double)(time_mono_ns() - start) / (double)(ROUNDS / CAPTURE_BATCH * CAPTURE_BATCH);
        best = ns < best ? ns : best;
    }
    bytes_done(&b);
    return best;
}

int main(void)
{
    static const struct {
        const char *name;
        void (*make)(struct bytes *, unsigned);
    } cases[] = {{"ethernet ipv4 tcp", plain},
                 {"ethernet ipv4 tcp with time stamps", stamped},
                 {"ethernet vlan ipv6 udp", tagged},
                 {"vxlan, inside ethernet ipv4 tcp", tunnelled}};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        enum decode_verdict verdict = DECODE_VERDICTS;
        const double ns = measure(cases[i].make, &verdict);
        printf("{\"case\": \"%s\", \"verdict\": \"%s\", \"ns\": %.1f}\n", cases[i].name,
               decode_verdict_name(verdict), ns);
    }
    return 0;
}
