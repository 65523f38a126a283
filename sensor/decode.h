/*
 * decode.h - find the headers in a packet, through tunnels to the innermost.
 *
 * Why      Everything later works on a packet_view, never on raw bytes.
 * Owns     Nothing. A view borrows from the packet and dies with it.
 * Threads  Pure functions, but for conf.defrag: one.
 * Bounds   Reads only [data, data + len). At most DECODE_LAYERS_MAX layers, and of them
 *          conf.tunnel_depth packets inside another. No length in the view is larger than what
 *          was on the wire, whatever the headers claim.
 *
 * A table of layers (decode_layer.def), each in a function that names the next:
 *     decode_link.c      Ethernet, Linux cooked 1 and 2, PPP, loopback, raw; LLC and SNAP, 802.1Q
 *                        and QinQ, MPLS, PPPoE
 *     decode_ip.c        IPv4, IPv6 and its extension headers; IP in IP, 6in4
 *     decode_tunnel.c    GRE, ERSPAN I to III, VXLAN, GENEVE
 *     decode_transport.c TCP and its options, UDP, SCTP, ICMP; any other is a flow with ports 0
 *
 * A whole fragment is held in conf.defrag: DECODE_FRAGMENT. The one that makes the packet whole has
 * the verdict of that packet, and the view is of it. Without defrag, or for a fragment that the
 * capture cut, the first is a packet with ports and later ones are DECODE_FRAGMENT.
 * A tag that the kernel took off a frame (packet.vlan_tpid) counts as the outermost one: the view
 * is that of the frame as it was on the wire. With conf.tunnels the view is that of the innermost
 * packet; what is no IP in there (ARP, STP) is a packet of the tunnel's own flow.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/record.h"
#include "sensor/capture.h"

#define DECODE_VLANS_MAX      4
#define DECODE_EXTENSIONS_MAX 8
#define DECODE_LABELS_MAX     8
#define DECODE_LAYERS_MAX     48
#define DECODE_TUNNELS_MAX    8 /* conf.tunnel_depth */

enum decode_verdict {
#define DECODE(NAME, text, meaning) DECODE_##NAME,
#include "sensor/decode.def"
#undef DECODE
    DECODE_VERDICTS
};

enum decode_layer {
#define LAYER(name, function, meaning) DECODE_LAYER_##name,
#include "sensor/decode_layer.def"
#undef LAYER
    DECODE_LAYERS
};

struct defrag;

struct decode_conf {
    bool tunnels;          /* look into them */
    bool vlan_in_key;      /* else key.vlan is 0 */
    uint8_t tunnel_depth;  /* packets in packets; more are DECODE_TOO_DEEP */
    struct defrag *defrag; /* borrowed; NULL: fragments are not put together */
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

/* packet_view.tcp_options: which of them are there. */
enum {
    TCP_OPTION_MSS = 0x01,
    TCP_OPTION_WINDOW_SCALE = 0x02,
    TCP_OPTION_SACK = 0x04,
    TCP_OPTION_TIMES = 0x08,
    TCP_OPTION_BAD = 0x80 /* a length that can't be */
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
    uint8_t tcp_options, tcp_window_scale;
    uint16_t tcp_mss;
    uint32_t tcp_time, tcp_time_echo;
    uint32_t layers;       /* bit 1 << enum decode_layer: seen in it */
    uint8_t last_layer;    /* where decoding ended, or failed */
    uint8_t ttl;           /* IPv6: hop limit */
    bool is_fragment;      /* the first fragment of several */
    bool is_reassembled;   /* of fragments: lies in conf.defrag until defrag_release */
    bool is_overlap;       /* a fragment that contradicts others */
    bool has_inner;        /* an ICMP error that quotes the packet it is about: */
    struct flow_key inner; /* src sent that packet */
};

/*
 * On DECODE_OK the whole view is set; on DECODE_FRAGMENT all but ports and what TCP has
 * (payload is the fragment's). On any other verdict only `layers` and `last_layer` have a meaning,
 * and, when its ip_version is not 0, the addresses of the key.
 */
enum decode_verdict decode_packet(const struct decode_conf *conf, const struct packet *p,
                                  struct packet_view *ret_view);

/*
 * The key that an answer to `key` carries: ends swapped, ICMP echo request becomes echo reply.
 * For an ICMP type that nobody answers it is a key that no packet has.
 */
void decode_answer_key(const struct flow_key *key, struct flow_key *ret_answer);

/* "truncated": the verdict's name in counters and records. */
const char *decode_verdict_name(enum decode_verdict verdict);
const char *decode_verdict_meaning(enum decode_verdict verdict);
const char *decode_layer_name(enum decode_layer layer);
