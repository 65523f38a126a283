#include "sensor/decode_layer.h"

/*
 * link -> VLAN tags, MPLS labels, LLC, PPPoE -> IPv4 | IPv6 | ARP | what we don't follow
 */
#define ETHERNET_HEADER 14
#define COOKED_HEADER   16
#define COOKED2_HEADER  20
#define LOOPBACK_HEADER 4
#define PPPOE_HEADER    6
#define LLC_HEADER      3
#define SNAP_HEADER     5
#define LENGTH_MAX      1500 /* of an 802.3 frame; larger ones are types */
#define COOKED_TYPE_MIN 1536 /* what is less numbers something else: */
#define COOKED_TYPE_LLC 4

static inline bool is_vlan(uint16_t type)
{
    return type == 0x8100 || type == 0x88a8 || type == 0x9100 || type == 0x9200;
}

enum decode_layer decode_ethertype(struct decoding *d, uint16_t type)
{
    switch (type) {
    case ETHERTYPE_IPV4:
        return DECODE_LAYER_ipv4;
    case ETHERTYPE_IPV6:
        return DECODE_LAYER_ipv6;
    case ETHERTYPE_ARP:
        return DECODE_LAYER_arp;
    case ETHERTYPE_MPLS:
    case ETHERTYPE_MPLS_MULTICAST:
        return DECODE_LAYER_mpls;
    case ETHERTYPE_PPPOE:
        return DECODE_LAYER_pppoe;
    default:
        break;
    }
    if (is_vlan(type))
        return DECODE_LAYER_vlan;
    if (type > LENGTH_MAX)
        return decode_end(d, DECODE_NOT_IP);
    limit(&d->c, type);
    return DECODE_LAYER_llc;
}

enum decode_layer decode_ethernet(struct decoding *d)
{
    const uint8_t *const h = take(&d->c, ETHERNET_HEADER);

    return h == NULL ? decode_short(d, ETHERNET_HEADER) : decode_ethertype(d, load_be16(h + 12));
}

static enum decode_layer cooked_type(struct decoding *d, uint16_t type)
{
    if (type >= COOKED_TYPE_MIN)
        return decode_ethertype(d, type);
    return type == COOKED_TYPE_LLC ? DECODE_LAYER_llc : decode_end(d, DECODE_NOT_IP);
}

enum decode_layer decode_cooked(struct decoding *d)
{
    const uint8_t *const h = take(&d->c, COOKED_HEADER);

    return h == NULL ? decode_short(d, COOKED_HEADER) : cooked_type(d, load_be16(h + 14));
}

enum decode_layer decode_cooked2(struct decoding *d)
{
    const uint8_t *const h = take(&d->c, COOKED2_HEADER);

    return h == NULL ? decode_short(d, COOKED2_HEADER) : cooked_type(d, load_be16(h));
}

/* An address family, in the byte order of the writer. The BSDs' AF_INET6 differ. */
enum decode_layer decode_loopback(struct decoding *d)
{
    const uint8_t *const h = take(&d->c, LOOPBACK_HEADER);

    if (h == NULL)
        return decode_short(d, LOOPBACK_HEADER);
    const uint32_t here = load_32(h, false);
    const uint32_t family = here > UINT16_MAX ? load_be32(h) : here;
    if (family == 2)
        return DECODE_LAYER_ipv4;
    if (family == 10 || family == 24 || family == 28 || family == 30)
        return DECODE_LAYER_ipv6;
    return decode_end(d, DECODE_NOT_IP);
}

/* The first four bits say which IP. */
enum decode_layer decode_raw(struct decoding *d)
{
    if (d->c.bytes.left == 0)
        return decode_short(d, 1);
    return d->c.bytes.at[0] >> 4 == 6 ? DECODE_LAYER_ipv6 : DECODE_LAYER_ipv4;
}

/* The HDLC bytes before the protocol and the first byte of it may have been left out. */
enum decode_layer decode_ppp(struct decoding *d)
{
    if (d->c.bytes.left > 0 && d->c.bytes.at[0] == 0xff && take(&d->c, 2) == NULL)
        return decode_short(d, 2);
    const size_t n = d->c.bytes.left > 0 && (d->c.bytes.at[0] & 1) != 0 ? 1 : 2;
    const uint8_t *const h = take(&d->c, n);
    if (h == NULL)
        return decode_short(d, n);
    switch (n == 1 ? h[0] : load_be16(h)) {
    case 0x0021:
        return DECODE_LAYER_ipv4;
    case 0x0057:
        return DECODE_LAYER_ipv6;
    case 0x0281:
        return DECODE_LAYER_mpls;
    default:
        return decode_end(d, DECODE_NOT_IP); /* LCP, IPCP, ... */
    }
}

/* ---------------------------------------------------------------- between link and IP */

enum decode_layer decode_vlan(struct decoding *d)
{
    const uint8_t *const tag = take(&d->c, 4);

    if (tag == NULL)
        return decode_short(d, 4);
    if (d->vlans == DECODE_VLANS_MAX)
        return decode_end(d, DECODE_TOO_DEEP);
    if (d->vlans++ == 0 && d->conf->vlan_in_key)
        d->v->key.vlan = load_be16(tag) & 0x0fff;
    return decode_ethertype(d, load_be16(tag + 2));
}

/* SNAP with the OUI 0 carries an EtherType; all else (STP, IPX, CDP, ...) is no IP. */
enum decode_layer decode_llc(struct decoding *d)
{
    const uint8_t *const h = take(&d->c, LLC_HEADER);

    if (h == NULL)
        return decode_short(d, LLC_HEADER);
    if (h[0] != 0xaa || h[1] != 0xaa || h[2] != 0x03)
        return decode_end(d, DECODE_NOT_IP);
    const uint8_t *const snap = take(&d->c, SNAP_HEADER);
    if (snap == NULL)
        return decode_short(d, SNAP_HEADER);
    const uint16_t type = load_be16(snap + 3);
    if (snap[0] != 0 || snap[1] != 0 || snap[2] != 0 || type <= LENGTH_MAX)
        return decode_end(d, DECODE_NOT_IP);
    return decode_ethertype(d, type);
}

/*
 * Nothing says what is under the labels. IP does by its version; a pseudowire's control word
 * begins with 0. Ethernet without a control word can't be told, and is not followed.
 */
enum decode_layer decode_mpls(struct decoding *d)
{
    const uint8_t *h;
    unsigned labels = 0;

    do {
        h = take(&d->c, 4);
        if (h == NULL)
            return decode_short(d, 4);
        if (labels++ == DECODE_LABELS_MAX)
            return decode_end(d, DECODE_TOO_DEEP);
    } while ((h[2] & 1) == 0); /* the bottom of the stack */
    if (d->c.bytes.left == 0)
        return decode_short(d, 1);
    switch (d->c.bytes.at[0] >> 4) {
    case 4:
        return DECODE_LAYER_ipv4;
    case 6:
        return DECODE_LAYER_ipv6;
    case 0:
        return take(&d->c, 4) == NULL ? decode_short(d, 4) : DECODE_LAYER_ethernet;
    default:
        return decode_end(d, DECODE_NOT_IP);
    }
}

enum decode_layer decode_pppoe(struct decoding *d)
{
    const uint8_t *const h = take(&d->c, PPPOE_HEADER);

    if (h == NULL)
        return decode_short(d, PPPOE_HEADER);
    if (h[0] != 0x11 || h[1] != 0) /* version and type 1, code 0: session data */
        return decode_end(d, DECODE_MALFORMED);
    limit(&d->c, load_be16(h + 4));
    return DECODE_LAYER_ppp;
}

enum decode_layer decode_arp(struct decoding *d)
{
    return decode_end(d, DECODE_ARP);
}
