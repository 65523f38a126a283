/*
 * views.h - packets as the decoder would show them, without the bytes: for tests of what follows.
 *
 * A host is a small number: 10.0.x.y; from VIEW_OUTSIDE on it is 198.51.x.y.
 */
#pragma once

#include <netinet/in.h>
#include <string.h>

#include "common/ip.h"
#include "sensor/decode.h"

#define VIEW_OUTSIDE 0x10000u
#define VIEW_T0      UINT64_C(1767322800000000000) /* 2026-01-02T03:00:00Z */

static inline void view_address(unsigned host, uint8_t out[16])
{
    if (host >= VIEW_OUTSIDE)
        ip_from_v4((const uint8_t[]){198, 51, (uint8_t)(host >> 8), (uint8_t)host}, out);
    else
        ip_from_v4((const uint8_t[]){10, 0, (uint8_t)(host >> 8), (uint8_t)host}, out);
}

static inline struct flow_key view_key(unsigned proto, unsigned src, unsigned sport, unsigned dst,
                                       unsigned dport)
{
    struct flow_key k = {.sport = (uint16_t)sport,
                         .dport = (uint16_t)dport,
                         .proto = (uint8_t)proto,
                         .ip_version = 4};

    view_address(src, k.src);
    view_address(dst, k.dst);
    return k;
}

static inline struct packet_view view_of(struct flow_key key, unsigned tcp_flags,
                                         uint32_t payload_len)
{
    return (struct packet_view){.key = key,
                                .ip_len = 40 + payload_len,
                                .payload_len = payload_len,
                                .payload_wire_len = payload_len,
                                .tcp_flags = (uint8_t)tcp_flags};
}

static inline struct packet_view view_tcp(unsigned src, unsigned sport, unsigned dst,
                                          unsigned dport, unsigned flags)
{
    return view_of(view_key(IPPROTO_TCP, src, sport, dst, dport), flags, 0);
}

static inline struct packet_view view_udp(unsigned src, unsigned sport, unsigned dst,
                                          unsigned dport)
{
    return view_of(view_key(IPPROTO_UDP, src, sport, dst, dport), 0, 20);
}

/* The key as the flow's other end would send it. */
static inline struct flow_key view_reversed(struct flow_key k)
{
    struct flow_key r = k;

    memcpy(r.src, k.dst, 16);
    memcpy(r.dst, k.src, 16);
    r.sport = k.dport;
    r.dport = k.sport;
    return r;
}
