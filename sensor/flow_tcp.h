/*
 * flow_tcp.h - what a TCP connection's sequence numbers and flags tell, packet by packet.
 *
 * Why      Retransmissions, and bytes that were acknowledged but never seen here: an estimate of
 *          what the capture lost that does not trust the card's own count. And the letters that
 *          people who read Zeek's `history` know.
 * Owns     Nothing: plain data, beside the flow's entry. All zero is a connection without packets.
 * Threads  Whoever owns the flow.
 * Bounds   One cache line. Counts stop at UINT32_MAX, the history at its array. One hole a side is
 *          followed; what is open when the next one tears counts as missed.
 *
 * Numbers are compared modulo 2^32 (RFC 9293, 3.4), jumps of more than 2^30 are not believed.
 */
#pragma once

#include "common/base.h"
#include "sensor/decode.h"

struct flow_tcp {
    uint32_t next[2];     /* what the side sends next; of a side that was seen */
    uint32_t hole[2];     /* where bytes of it are missing, that may still come late */
    uint32_t hole_len[2]; /* 0: nowhere */
    uint32_t missed[2];   /* bytes that the other side has, and that did not pass here */
    uint32_t again[2];    /* packets with bytes that had passed before */
    uint16_t letters[2];  /* of the history, that were said of this side */
    uint8_t seen;         /* bit d: next[d] is known */
    uint8_t reset_by;     /* 1 + side of the first RST; 0 = none */
    uint8_t n_history;
    char history[RECORD_HISTORY_MAX];
};
_Static_assert(sizeof(struct flow_tcp) <= WIND_CACHE_LINE, "one line a packet");

/* Account a packet of side `dir` (0: who opened). */
void flow_tcp_packet(struct flow_tcp *t, const struct packet_view *v, unsigned dir);

/* The connection was turned round: its opener was guessed. To be said before anything else. */
void flow_tcp_turned(struct flow_tcp *t);

/* Zeek's conn_state, of what has passed so far. `has_answer`: a packet of side 1 has. */
enum conn_state flow_tcp_state(const struct flow_tcp *t, const uint8_t flags[2], bool has_answer);
