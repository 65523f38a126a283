#include "sensor/decode_layer.h"

/*
 * Packets in packets. Each tunnel names what it carries; what we can't read stays a packet of the
 * tunnel's own flow, whose key and payload the view holds when these are called.
 */
#define GRE_HEADER      4
#define GRE_CHECKSUM    0x8000
#define GRE_ROUTING     0x4000
#define GRE_KEY         0x2000
#define GRE_SEQUENCE    0x1000
#define GRE_VERSION     0x0007
#define GRE_ERSPAN      0x88be
#define GRE_ERSPAN3     0x22eb
#define ERSPAN2_HEADER  8
#define ERSPAN3_HEADER  12
#define ERSPAN3_OPTION  8
#define VXLAN_HEADER    8
#define VXLAN_HAS_ID    0x08
#define VXLAN_HAS_GROUP 0x80
#define GENEVE_HEADER   8

/* What both GRE and GENEVE carry. */
static enum decode_layer carried(struct decoding *d, uint16_t type)
{
    switch (type) {
    case ETHERTYPE_IPV4:
        return DECODE_LAYER_ipv4;
    case ETHERTYPE_IPV6:
        return DECODE_LAYER_ipv6;
    case ETHERTYPE_BRIDGE:
        return DECODE_LAYER_ethernet;
    case ETHERTYPE_MPLS:
    case ETHERTYPE_MPLS_MULTICAST:
        return DECODE_LAYER_mpls;
    case ETHERTYPE_PPP:
        return DECODE_LAYER_ppp;
    default:
        return decode_end(d, DECODE_NOT_IP);
    }
}

/* Version 1 (PPTP) and source routing are not followed. */
enum decode_layer decode_gre(struct decoding *d)
{
    const uint8_t *const h = take(&d->c, GRE_HEADER);

    if (h == NULL)
        return decode_short(d, GRE_HEADER);
    const unsigned flags = load_be16(h), type = load_be16(h + 2);
    if ((flags & (GRE_ROUTING | GRE_VERSION)) != 0)
        return decode_end(d, DECODE_NOT_IP);
    const size_t more = 4 * (((flags & GRE_CHECKSUM) != 0) + ((flags & GRE_KEY) != 0) +
                             (size_t)((flags & GRE_SEQUENCE) != 0));
    if (take(&d->c, more) == NULL)
        return decode_short(d, more);
    if (type == GRE_ERSPAN) /* type I has no sequence numbers, and no header either */
        return (flags & GRE_SEQUENCE) != 0 ? DECODE_LAYER_erspan2 : DECODE_LAYER_ethernet;
    return type == GRE_ERSPAN3 ? DECODE_LAYER_erspan3 : carried(d, (uint16_t)type);
}

enum decode_layer decode_erspan2(struct decoding *d)
{
    const uint8_t *const h = take(&d->c, ERSPAN2_HEADER);

    if (h == NULL)
        return decode_short(d, ERSPAN2_HEADER);
    return h[0] >> 4 == 1 ? DECODE_LAYER_ethernet : decode_end(d, DECODE_NOT_IP);
}

enum decode_layer decode_erspan3(struct decoding *d)
{
    const uint8_t *const h = take(&d->c, ERSPAN3_HEADER);

    if (h == NULL)
        return decode_short(d, ERSPAN3_HEADER);
    const unsigned last = load_be16(h + 10), frame = last >> 10 & 0x1f;
    const size_t more = (last & 1) != 0 ? ERSPAN3_OPTION : 0;
    if (h[0] >> 4 != 2)
        return decode_end(d, DECODE_NOT_IP);
    if (take(&d->c, more) == NULL)
        return decode_short(d, more);
    if (frame == 0)
        return DECODE_LAYER_ethernet;
    return frame == 2 ? DECODE_LAYER_raw : decode_end(d, DECODE_NOT_IP);
}

/* A port is no proof: what does not look like VXLAN or GENEVE is UDP like any other. */
enum decode_layer decode_vxlan(struct decoding *d)
{
    if (d->c.wire < VXLAN_HEADER)
        return decode_end(d, DECODE_NOT_IP);
    const uint8_t *const h = take(&d->c, VXLAN_HEADER);
    if (h == NULL)
        return decode_short(d, VXLAN_HEADER);
    if ((h[0] & ~VXLAN_HAS_GROUP) != VXLAN_HAS_ID || h[7] != 0)
        return decode_end(d, DECODE_NOT_IP);
    return DECODE_LAYER_ethernet;
}

enum decode_layer decode_geneve(struct decoding *d)
{
    if (d->c.wire < GENEVE_HEADER)
        return decode_end(d, DECODE_NOT_IP);
    const uint8_t *const h = take(&d->c, GENEVE_HEADER);
    if (h == NULL)
        return decode_short(d, GENEVE_HEADER);
    const size_t options = (size_t)(h[0] & 0x3f) * 4;
    if (h[0] >> 6 != 0 || h[7] != 0 || options > d->c.wire)
        return decode_end(d, DECODE_NOT_IP);
    if (take(&d->c, options) == NULL)
        return decode_short(d, options);
    return carried(d, load_be16(h + 2));
}
