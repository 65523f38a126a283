/*
 * flow_stats.h - what one flow's packets add up to.
 *
 * Why      Embedded in each flow of the worker's table; feature_flow() turns it into features.
 * Owns     Nothing. All zero is the empty flow.
 * Threads  Whoever owns the flow.
 * Bounds   A packet touches one cache line, the first payload of a direction a second one: `dir`
 *          is meant to start on a line, with first_payload at the end of the one before.
 *          Counts stop at their type's maximum. Sums are doubles of milliseconds and bytes:
 *          exact to 1e-16, so a deviation 1e7 times smaller than its mean is still seen.
 */
#pragma once

#include <stdint.h>

struct flow_dir_stats {
    uint64_t first_ns, last_ns; /* running maximum: time that runs backwards is no gap */
    uint64_t bytes, payload;    /* IP bytes and payload bytes, as on the wire */
    double gap2, payload2;      /* sums of squares: milliseconds between packets, payload bytes */
    uint32_t pkts, payload_pkts;
    float gap_max; /* ms */
    uint16_t syn, rst;
};
_Static_assert(sizeof(struct flow_dir_stats) == 64, "one cache line a direction");

struct flow_stats {
    uint32_t first_payload[2];    /* bytes; 0 = none yet */
    struct flow_dir_stats dir[2]; /* [0] from the source, [1] to it */
};

#define FLOW_STATS_SYN 0x02 /* bits of the TCP header's flags */
#define FLOW_STATS_RST 0x04

static inline void flow_stats_packet(struct flow_stats *s, unsigned dir, uint64_t time_ns,
                                     uint32_t ip_len, uint32_t payload_len, uint8_t tcp_flags)
{
    struct flow_dir_stats *d = &s->dir[dir & 1];

    if (d->pkts == 0) {
        d->first_ns = d->last_ns = time_ns;
    } else if (time_ns > d->last_ns) {
        const double gap = (double)(time_ns - d->last_ns) * 1e-6;
        d->gap2 += gap * gap;
        d->gap_max = (float)gap > d->gap_max ? (float)gap : d->gap_max;
        d->last_ns = time_ns;
    }
    d->bytes += ip_len;
    d->pkts += d->pkts != UINT32_MAX;
    if (payload_len != 0) {
        if (d->payload_pkts == 0)
            s->first_payload[dir & 1] = payload_len;
        d->payload += payload_len;
        d->payload2 += (double)payload_len * (double)payload_len;
        d->payload_pkts += d->payload_pkts != UINT32_MAX;
    }
    if (tcp_flags & (FLOW_STATS_SYN | FLOW_STATS_RST)) { /* 0 for all but TCP */
        d->syn = (uint16_t)(d->syn + ((tcp_flags & FLOW_STATS_SYN) != 0 && d->syn != UINT16_MAX));
        d->rst = (uint16_t)(d->rst + ((tcp_flags & FLOW_STATS_RST) != 0 && d->rst != UINT16_MAX));
    }
}
