/*
 * decode_layer.h - what the layers of decode.c share: the cursor, and the packet being decoded.
 *
 * Why      Each layer is a small function; none knows the one before it.
 * Owns     Nothing: it lives as long as one call of decode_packet.
 * Threads  Any: there is no state.
 * Bounds   `left` of a cursor is what the capture kept, `wire` what was on the wire: a header
 *          that does not fit in `wire` is malformed, one that does not fit in `left` was cut.
 *
 * A layer returns the next layer, or LAYERS by way of decode_end when there is none.
 */
#pragma once

#include "common/base.h"
#include "sensor/decode.h"
#include "sensor/span.h"

enum {
    PROTO_HOP_OPTIONS = 0,
    PROTO_ICMP = 1,
    PROTO_IPV4 = 4,
    PROTO_TCP = 6,
    PROTO_UDP = 17,
    PROTO_IPV6 = 41,
    PROTO_ROUTING = 43,
    PROTO_FRAGMENT = 44,
    PROTO_GRE = 47,
    PROTO_AUTH = 51,
    PROTO_ICMPV6 = 58,
    PROTO_DEST_OPTIONS = 60,
    PROTO_SCTP = 132,
    PROTO_MOBILITY = 135,
    PROTO_HIP = 139,
    PROTO_SHIM6 = 140
};

enum {
    ETHERTYPE_IPV4 = 0x0800,
    ETHERTYPE_ARP = 0x0806,
    ETHERTYPE_BRIDGE = 0x6558, /* an Ethernet frame, in GRE and GENEVE */
    ETHERTYPE_IPV6 = 0x86dd,
    ETHERTYPE_PPP = 0x880b, /* in GRE */
    ETHERTYPE_MPLS = 0x8847,
    ETHERTYPE_MPLS_MULTICAST = 0x8848,
    ETHERTYPE_PPPOE = 0x8864
};

struct cursor {
    struct span bytes; /* what the capture kept */
    size_t wire;       /* what was there, >= bytes.left */
};

struct decoding {
    struct cursor c;
    struct packet_view *v;
    const struct decode_conf *conf;
    enum decode_verdict verdict; /* once a layer has returned LAYERS */
    uint64_t time_ns;
    uint8_t vlans, tunnels, wholes; /* so far; wholes: packets put together */
};

/* What an IP header says, beside the key. */
struct ip_info {
    uint32_t len;                   /* of the packet, bounded by the wire */
    uint32_t fragment_id;           /* these three: is_fragment */
    uint32_t fragment_at;           /* of its data, in the datagram's */
    const uint8_t *fragment_header; /* IPv6: where it is, and what names it */
    const uint8_t *fragment_named;
    bool has_more;    /* fragments behind it */
    bool is_fragment; /* any of several */
    uint8_t ttl;
};

typedef enum decode_layer decode_layer_fn(struct decoding *d);
#define LAYER(name, function, meaning) decode_layer_fn function;
#include "sensor/decode_layer.def"
#undef LAYER

/* The next n bytes, or NULL: decode_short says why. */
static inline const uint8_t *take(struct cursor *c, size_t n)
{
    const uint8_t *const p = span_take(&c->bytes, n);

    if (p != NULL)
        c->wire -= n;
    return p;
}

/* Nothing beyond `wire` bytes belongs to what follows. */
static inline void limit(struct cursor *c, size_t wire)
{
    if (wire < c->wire)
        c->wire = wire;
    if (c->wire < c->bytes.left)
        c->bytes.left = c->wire;
}

static inline enum decode_verdict short_of(const struct cursor *c, size_t n)
{
    return c->wire < n ? DECODE_MALFORMED : DECODE_TRUNCATED;
}

static inline enum decode_layer decode_end(struct decoding *d, enum decode_verdict verdict)
{
    d->verdict = verdict;
    return DECODE_LAYERS;
}

/* The header of n bytes that take did not find. */
static inline enum decode_layer decode_short(struct decoding *d, size_t n)
{
    return decode_end(d, short_of(&d->c, n));
}

static inline void decode_payload(struct decoding *d)
{
    d->v->payload = d->c.bytes.at;
    d->v->payload_len = (uint32_t)d->c.bytes.left;
    d->v->payload_wire_len = (uint32_t)d->c.wire;
}

/* The layer behind an EtherType, or behind the length that an 802.3 frame has in its place. */
enum decode_layer decode_ethertype(struct decoding *d, uint16_t type);

/* Headers of IP by themselves, as ICMP errors quote them: up to the transport, or a fragment. */
enum decode_verdict decode_ipv4_header(struct cursor *c, struct flow_key *key,
                                       struct ip_info *ret_info);
enum decode_verdict decode_ipv6_header(struct cursor *c, struct flow_key *key,
                                       struct ip_info *ret_info);

static inline void decode_map_ipv4(uint8_t out[16], const uint8_t *in)
{
    static const uint8_t prefix[12] = {[10] = 0xff, [11] = 0xff};

    memcpy(out, prefix, sizeof(prefix));
    memcpy(out + sizeof(prefix), in, 4);
}

/* The options of a TCP header, as many of them as are here. */
void decode_tcp_options(struct packet_view *v, const uint8_t *p, size_t n, bool is_whole);

/* decode_packet without its short cut: the same view, for every packet. */
enum decode_verdict decode_by_layers(const struct decode_conf *conf, const struct packet *p,
                                     struct packet_view *ret_view);
