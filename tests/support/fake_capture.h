/*
 * fake_capture.h - packets from memory instead of a file or an interface, at link time: the
 * test that includes this has its own capture_recv and what else the worker calls.
 *
 * Frames are written with pcap_builder.h into fake.frames, and offered by fake_offer.
 */
#pragma once

#include "sensor/capture.h"
#include "support/pcap_builder.h"

#define FAKE_PACKETS 8192
#define FAKE_T0      UINT64_C(1767322800000000000)

static struct {
    struct bytes frames;
    struct {
        size_t at, len;
        uint64_t time_ns;
        uint32_t cut; /* bytes that the capture kept less */
    } packet[FAKE_PACKETS];
    size_t n, next, batch; /* batch 0: as many as asked for */
    bool is_live, is_taking_back;
    uint64_t now_ns; /* live */
    struct capture_stats stats;
    unsigned stats_calls, releases;
    enum capture_state fault; /* CAPTURE_OK: none */
    struct err fault_error;
} fake;

static inline void fake_reset(void)
{
    bytes_done(&fake.frames);
    memset(&fake, 0, sizeof(fake));
}

/* The bytes since the last call are one packet. */
static inline void fake_offer(uint64_t after_ns)
{
    const size_t at = fake.n == 0 ? 0 : fake.packet[fake.n - 1].at + fake.packet[fake.n - 1].len;

    if (fake.n == FAKE_PACKETS)
        abort();
    fake.packet[fake.n].at = at;
    fake.packet[fake.n].len = fake.frames.len - at;
    fake.packet[fake.n].cut = 0;
    fake.packet[fake.n++].time_ns = FAKE_T0 + after_ns;
}

static inline void fake_tcp(uint64_t after_ns, unsigned src, unsigned sport, unsigned dst,
                            unsigned dport, unsigned flags)
{
    frame_eth(&fake.frames, 0x0800);
    frame_ipv4(&fake.frames, 6, src, dst, 20);
    frame_tcp(&fake.frames, sport, dport, flags);
    fake_offer(after_ns);
}

static inline void fake_udp(uint64_t after_ns, unsigned src, unsigned sport, unsigned dst,
                            unsigned dport, size_t n)
{
    frame_eth(&fake.frames, 0x0800);
    frame_ipv4(&fake.frames, 17, src, dst, 8 + n);
    frame_udp(&fake.frames, sport, dport, n);
    for (size_t i = 0; i < n; i++)
        put8(&fake.frames, 'x');
    fake_offer(after_ns);
}

size_t capture_recv(struct capture *c, struct packet *ret_packets, size_t max, int wait_ms)
{
    size_t n = 0;

    (void)c;
    (void)wait_ms;
    max = fake.batch > 0 && fake.batch < max ? fake.batch : max;
    for (; n < max && fake.next < fake.n; n++, fake.next++)
        ret_packets[n] = (struct packet){.data = fake.frames.data + fake.packet[fake.next].at,
                                         .len = (uint32_t)fake.packet[fake.next].len -
                                                fake.packet[fake.next].cut,
                                         .wire_len = (uint32_t)fake.packet[fake.next].len,
                                         .time_ns = fake.packet[fake.next].time_ns,
                                         .linktype = 1};
    fake.stats.received += n;
    return n;
}

void capture_release(struct capture *c)
{
    (void)c;
    fake.releases++;
}

enum capture_state capture_take_fault(struct capture *c, const struct err **ret_error)
{
    const enum capture_state fault = fake.fault;

    (void)c;
    *ret_error = &fake.fault_error;
    fake.fault = CAPTURE_OK;
    return fault;
}

bool capture_is_live(const struct capture *c)
{
    (void)c;
    return fake.is_live;
}

uint64_t capture_now(const struct capture *c)
{
    (void)c;
    return fake.now_ns;
}

enum capture_state capture_error(const struct capture *c, const struct err **ret_error)
{
    static const struct err none;

    (void)c;
    if (ret_error != NULL)
        *ret_error = &none;
    return CAPTURE_OK;
}

void capture_stats(struct capture *c, struct capture_stats *ret_stats)
{
    (void)c;
    fake.stats_calls++;
    *ret_stats = fake.stats;
}

/* The bytes stay where they are, unless the test says that they are taken back. */
bool capture_keeps(const struct capture *c)
{
    (void)c;
    return !fake.is_taking_back;
}

bool capture_ended(const struct capture *c)
{
    (void)c;
    return fake.next == fake.n;
}
