/*
 * decode.h - find the headers in a packet.
 *
 * Why      Everything later works on a packet_view, never on raw bytes.
 * Owns     Nothing. A view borrows from the packet and dies with it.
 * Threads  Pure functions: any.
 * Bounds   Reads only [data, data + len). At most DECODE_VLANS_MAX VLAN tags and
 *          DECODE_EXTENSIONS_MAX IPv6 extension headers are followed. No length in the view
 *          is larger than what was on the wire, whatever the headers claim.
 *
 * Links: Ethernet, Linux cooked 1 and 2, raw IP, BSD loopback. 802.1Q and QinQ on the first three.
 * TCP, UDP, SCTP and ICMP are looked into; any other protocol is a flow with ports 0.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/record.h"
#include "sensor/capture.h"

#define DECODE_VLANS_MAX      4
#define DECODE_EXTENSIONS_MAX 8

enum decode_verdict {
#define DECODE(NAME, text, meaning) DECODE_##NAME,
#include "sensor/decode.def"
#undef DECODE
    DECODE_VERDICTS
};

enum {
    TCP_FIN = 0x01,
    TCP_SYN = 0x02,
    TCP_RST = 0x04,
    TCP_PSH = 0x08,
    TCP_ACK = 0x10,
    TCP_URG = 0x20,
    TCP_ECE = 0x40,
    TCP_CWR = 0x80
};

struct packet_view {
    struct flow_key key;       /* src is the sender of this packet */
    const uint8_t *ip;         /* where the IP header starts, ip_captured bytes are there */
    const uint8_t *payload;    /* of TCP, UDP, ICMP (after its 8 bytes), or of IP */
    uint32_t ip_len;           /* of the IP packet on the wire, link padding left out */
    uint32_t ip_captured;      /* <= ip_len */
    uint32_t payload_len;      /* bytes present */
    uint32_t payload_wire_len; /* bytes on the wire, >= payload_len */
    uint32_t tcp_seq, tcp_ack;
    uint16_t tcp_window; /* not scaled */
    uint8_t tcp_flags;
    uint8_t ttl;           /* IPv6: hop limit */
    bool is_fragment;      /* the first fragment of several */
    bool has_inner;        /* an ICMP error that quotes the packet it is about: */
    struct flow_key inner; /* src sent that packet */
};

/*
 * On DECODE_OK the whole view is set; on DECODE_FRAGMENT all but ports and what TCP has
 * (payload is the fragment's). On any other verdict the view holds nothing of meaning.
 */
enum decode_verdict decode_packet(const struct packet *p, struct packet_view *ret_view);

/*
 * The key that an answer to `key` carries: ends swapped, ICMP echo request becomes echo reply.
 * For an ICMP type that nobody answers it is a key that no packet has.
 */
void decode_answer_key(const struct flow_key *key, struct flow_key *ret_answer);

/* "truncated": the verdict's name in counters and records. */
const char *decode_verdict_name(enum decode_verdict verdict);
