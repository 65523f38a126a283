/*
 * span_check.h - is what we see what was on the wire? Signs that a mirror port or the card spoils
 * it.
 *
 * Why      A mirror that shows every packet twice, or one direction only, and a card that puts
 *          packets together, make features wrong without any error. People should be told.
 * Owns     A table of the packets looked at last. Borrows the counters, group `span`.
 * Threads  The worker's.
 * Bounds   A few ns a packet. One packet in 32, chosen by what is in it, so that both copies of a
 *          packet are chosen, costs a look-up; one in 256 has its checksums added up, up to
 *          SPAN_CHECKSUM_MAX bytes. SPAN_TABLE entries: forgotten as they are overwritten.
 *
 * From a finding on, what it makes worthless counts as missing in the features of flows (live; in a
 * replay the share is told, and the features are those of the file).
 *
 * A finding is a share, of enough packets or flows to have a meaning (span_check.c): offloads,
 * duplicates, one direction only, wrong checksums. It depends on the packets alone: a replay says
 * the same each time.
 */
#pragma once

#include "sensor/counter.h"
#include "sensor/decode.h"
#include "sensor/span.h"

#define SPAN_TABLE        4096
#define SPAN_CHECKSUM_MAX 2048
#define SPAN_FRAME_MAX    1522 /* bytes of an Ethernet frame with two tags, without its checksum */
#define SPAN_TEXT_MAX     160
#define SPAN_FINDINGS     4

struct span_check {
    struct counters *counters;
    uint32_t frame_max; /* more is no frame of this link */
    uint32_t not_cards; /* layers: what is larger and has one may be fragments, put together */
    uint64_t packets;   /* of this check; like all the rest, the same however batches are cut */
    uint64_t due;       /* samples after which it is judged again */
    struct {
        uint64_t part, of; /* counters where its window began */
    } since[SPAN_FINDINGS];
    struct {
        uint64_t signature, time_ns;
    } seen[SPAN_TABLE];
};

/* frame_max 0: SPAN_FRAME_MAX. */
WIND_MUST_USE int span_check_new(struct span_check **ret_check, struct counters *counters,
                                 uint32_t frame_max, struct err *e);

/*
 * The kernel puts fragments together before we see them (capture.fanout_defrag): of what is larger
 * than a frame, only TCP that is in no datagram is the card's doing for sure enough.
 */
void span_check_defragmented(struct span_check *s);

struct span_check *span_check_free(struct span_check *s);
WIND_DEFINE_FREE(span_check)

/* One that was chosen; hash is why. True: it is time to judge. */
bool span_check_sample(struct span_check *s, const struct packet *p, const struct packet_view *v,
                       uint32_t hash);

/* A decoded packet (DECODE_OK). True: it is time to judge. NULL is fine: nothing is looked at. */
static inline bool span_check_packet(struct span_check *s, const struct packet *p,
                                     const struct packet_view *v)
{
    if (s == NULL)
        return false;
    s->packets++;
    if (WIND_UNLIKELY(p->wire_len > s->frame_max) && (v->layers & s->not_cards) == 0)
        counters_add(s->counters, COUNTER_span_oversized, 1);
    if (v->is_reassembled)
        return false;
    /* Of IPv4 the identification, of IPv6 the length; of UDP the checksum, of ICMP the number. */
    const uint32_t mix = v->tcp_seq ^ v->tcp_ack * 3 ^ load_be16(v->ip + 4) ^
                         (uint32_t)load_be16(v->payload - 2) << 8;
    const uint32_t hash = mix * 0x9e3779b1u;

    return WIND_UNLIKELY(hash >> 27 == 0) && span_check_sample(s, p, v, hash);
}

/* A flow of TCP ended: packets and packets with payload, of each direction. */
void span_check_flow(struct span_check *s, const uint32_t pkts[2], const uint32_t payload_pkts[2]);

/*
 * A finding about the packets of late, with its name and a sentence; `not` are bits of enum told
 * that are not wanted again. Returns which, or -1: nothing to find fault with.
 */
int span_check_judge(struct span_check *s, uint32_t not, const char **ret_event,
                     char ret_text[SPAN_TEXT_MAX]);

/* The features of a flow that findings (bits of enum told) make worthless: a mask of them. */
uint64_t span_check_hidden(uint32_t told);
