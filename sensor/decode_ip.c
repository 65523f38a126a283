#include "sensor/decode_layer.h"
#include "sensor/defrag.h"

/*
 * IPv4 | IPv6 and its extensions -> transport, or another packet inside.
 */
#define IPV4_HEADER     20
#define IPV6_HEADER     40
#define IPV6_EXTENSION  8
#define MORE_FRAGMENTS  0x2000
#define FRAGMENT_OFFSET 0x1fff

static inline enum decode_verdict ipv4_header(struct cursor *c, struct flow_key *key,
                                              struct ip_info *ret_info)
{
    const size_t wire = c->wire;
    const uint8_t *const h = take(c, IPV4_HEADER);

    if (h == NULL)
        return short_of(c, IPV4_HEADER);
    const size_t header_len = (size_t)(h[0] & 0x0f) * 4, total = load_be16(h + 2);
    const size_t len = total == 0 || total > wire ? wire : total; /* 0: cut later, by the card */
    if (h[0] >> 4 != 4 || header_len < IPV4_HEADER || len < header_len)
        return DECODE_MALFORMED;

    limit(c, len - IPV4_HEADER);
    if (take(c, header_len - IPV4_HEADER) == NULL)
        return short_of(c, header_len - IPV4_HEADER);
    const unsigned fragment = load_be16(h + 6);
    *ret_info = (struct ip_info){
        .len = (uint32_t)len,
        .fragment_id = load_be16(h + 4),
        .fragment_at = (fragment & FRAGMENT_OFFSET) * 8,
        .has_more = (fragment & MORE_FRAGMENTS) != 0,
        .is_fragment = (fragment & (MORE_FRAGMENTS | FRAGMENT_OFFSET)) != 0,
        .ttl = h[8],
    };
    key->ip_version = 4;
    key->proto = h[9];
    decode_map_ipv4(key->src, h + 12);
    decode_map_ipv4(key->dst, h + 16);
    return DECODE_OK;
}

enum decode_verdict decode_ipv4_header(struct cursor *c, struct flow_key *key,
                                       struct ip_info *ret_info)
{
    return ipv4_header(c, key, ret_info);
}

/* ---------------------------------------------------------------- IPv6 */

static inline bool is_extension(uint8_t proto)
{
    return proto == PROTO_HOP_OPTIONS || proto == PROTO_ROUTING || proto == PROTO_FRAGMENT ||
           proto == PROTO_AUTH || proto == PROTO_DEST_OPTIONS || proto == PROTO_MOBILITY ||
           proto == PROTO_HIP || proto == PROTO_SHIM6;
}

/* A fragment header that says "all of it" is as good as none. */
static enum decode_verdict fragment_header(const uint8_t *h, struct ip_info *info)
{
    const unsigned fragment = load_be16(h + 2);

    if (info->is_fragment)
        return DECODE_MALFORMED; /* a fragment of a fragment */
    info->fragment_id = load_be32(h + 4);
    info->fragment_at = fragment & 0xfff8;
    info->has_more = (fragment & 1) != 0;
    info->is_fragment = (fragment & 0xfff9) != 0;
    return DECODE_OK;
}

/* Step over extension headers to the transport header, or to the data of a fragment. */
static enum decode_verdict ipv6_extensions(struct cursor *c, uint8_t *proto, struct ip_info *info)
{
    const uint8_t *named = info->fragment_named; /* the byte that *proto was read from */

    for (unsigned i = 0; is_extension(*proto); i++) {
        const uint8_t *const h = take(c, IPV6_EXTENSION);
        const bool is_fragment = *proto == PROTO_FRAGMENT;

        if (h == NULL)
            return short_of(c, IPV6_EXTENSION);
        if (i == DECODE_EXTENSIONS_MAX)
            return DECODE_TOO_DEEP;
        size_t more = (size_t)h[1] * 8;
        if (is_fragment)
            more = 0;
        else if (*proto == PROTO_AUTH)
            more = ((size_t)h[1] + 2) * 4 - IPV6_EXTENSION;
        if (take(c, more) == NULL)
            return short_of(c, more);
        if (is_fragment && fragment_header(h, info) != DECODE_OK)
            return DECODE_MALFORMED;
        *proto = h[0];
        if (is_fragment && info->is_fragment) {
            info->fragment_header = h;
            info->fragment_named = named;
            break;
        }
        named = h;
    }
    return DECODE_OK;
}

enum decode_verdict decode_ipv6_header(struct cursor *c, struct flow_key *key,
                                       struct ip_info *ret_info)
{
    const size_t wire = c->wire;
    const uint8_t *const h = take(c, IPV6_HEADER);

    if (h == NULL)
        return short_of(c, IPV6_HEADER);
    if (h[0] >> 4 != 6)
        return DECODE_MALFORMED;
    const size_t claimed = load_be16(h + 4); /* 0: a jumbogram, or cut later, by the card */
    if (claimed != 0)
        limit(c, claimed);
    *ret_info = (struct ip_info){
        .len =
            (uint32_t)(claimed == 0 || claimed + IPV6_HEADER > wire ? wire : claimed + IPV6_HEADER),
        .fragment_named = h + 6,
        .ttl = h[7],
    };
    key->ip_version = 6;
    memcpy(key->src, h + 8, 16);
    memcpy(key->dst, h + 24, 16);
    key->proto = h[6];
    return is_extension(key->proto) ? ipv6_extensions(c, &key->proto, ret_info) : DECODE_OK;
}

/* ---------------------------------------------------------------- what is inside */

static inline enum decode_layer tunnel(struct decoding *d, enum decode_layer inside)
{
    return d->conf->tunnels ? inside : decode_end(d, DECODE_OK);
}

static inline enum decode_layer next_layer(struct decoding *d)
{
    switch (d->v->key.proto) {
    case PROTO_TCP:
        return DECODE_LAYER_tcp;
    case PROTO_UDP:
        return DECODE_LAYER_udp;
    case PROTO_ICMP:
        return DECODE_LAYER_icmp;
    case PROTO_ICMPV6:
        return DECODE_LAYER_icmpv6;
    case PROTO_SCTP:
        return DECODE_LAYER_sctp;
    case PROTO_GRE:
        return tunnel(d, DECODE_LAYER_gre);
    case PROTO_IPV4:
        return tunnel(d, DECODE_LAYER_ipv4);
    case PROTO_IPV6:
        return tunnel(d, DECODE_LAYER_ipv6);
    default:
        return decode_end(d, DECODE_OK);
    }
}

static enum decode_layer reassemble(struct decoding *d, const struct ip_info *info)
{
    const struct flow_key *const key = &d->v->key;
    const uint8_t *const ip = d->v->ip;
    struct defrag_fragment f = {
        .key = {.id = info->fragment_id, .vlan = key->vlan, .ip_version = key->ip_version},
        .header = {ip, (size_t)(d->c.bytes.at - ip)},
        .data = d->c.bytes,
        .at = info->fragment_at,
        .has_more = info->has_more,
    };
    struct span whole = {0};

    memcpy(f.key.src, key->src, sizeof(f.key.src));
    memcpy(f.key.dst, key->dst, sizeof(f.key.dst));
    if (key->ip_version == 6) {
        f.header.left = (size_t)(info->fragment_header - ip);
        f.next_at = (uint16_t)(info->fragment_named - ip);
        f.next = info->fragment_header[0];
    } else {
        f.key.proto = key->proto;
    }
    switch (defrag_add(d->conf->defrag, &f, d->time_ns, &whole, &d->v->is_overlap)) {
    case DEFRAG_HELD:
        return decode_end(d, DECODE_FRAGMENT);
    case DEFRAG_BAD:
        return decode_end(d, DECODE_MALFORMED);
    case DEFRAG_WHOLE:
        break;
    }
    const enum decode_layer again = key->ip_version == 6 ? DECODE_LAYER_ipv6 : DECODE_LAYER_ipv4;
    d->c = (struct cursor){whole, whole.left};
    d->wholes++;
    d->v->is_fragment = false;
    d->v->is_reassembled = true;
    d->v->key.ip_version = 0; /* the same packet again, not one inside it */
    return again;
}

/* The first fragment has a transport header, as far as it goes; later ones have none. */
static enum decode_layer fragment(struct decoding *d, struct ip_info *info)
{
    d->v->is_fragment = true;
    if (d->conf->defrag != NULL && d->c.bytes.left == d->c.wire && d->wholes < DEFRAG_NESTED_MAX)
        return reassemble(d, info);
    if (info->fragment_at != 0)
        return decode_end(d, DECODE_FRAGMENT);
    if (d->v->key.ip_version == 6 && is_extension(d->v->key.proto)) {
        const enum decode_verdict verdict = ipv6_extensions(&d->c, &d->v->key.proto, info);

        if (verdict != DECODE_OK)
            return decode_end(d, verdict);
        decode_payload(d);
    }
    return next_layer(d);
}

/* A packet in a packet begins anew: nothing of the outer one stays, but its VLAN. */
static bool enter_tunnel(struct decoding *d)
{
    if (d->tunnels == d->conf->tunnel_depth)
        return false;
    d->tunnels++;
    d->v->key.sport = d->v->key.dport = 0;
    d->v->is_fragment = false;
    return true;
}

static inline enum decode_layer after_header(struct decoding *d, const struct cursor *at_ip,
                                             struct ip_info *info)
{
    struct packet_view *const v = d->v;
    const size_t left = at_ip->bytes.left;

    v->ip = at_ip->bytes.at;
    v->ip_len = info->len;
    v->ip_captured = (uint32_t)(left < info->len ? left : info->len);
    v->ttl = info->ttl;
    decode_payload(d);
    return WIND_LIKELY(!info->is_fragment) ? next_layer(d) : fragment(d, info);
}

enum decode_layer decode_ipv4(struct decoding *d)
{
    const struct cursor at_ip = d->c;
    struct ip_info info;

    if (d->v->key.ip_version != 0 && !enter_tunnel(d))
        return decode_end(d, DECODE_TOO_DEEP);
    const enum decode_verdict verdict = ipv4_header(&d->c, &d->v->key, &info);
    return verdict == DECODE_OK ? after_header(d, &at_ip, &info) : decode_end(d, verdict);
}

enum decode_layer decode_ipv6(struct decoding *d)
{
    const struct cursor at_ip = d->c;
    struct ip_info info;

    if (d->v->key.ip_version != 0 && !enter_tunnel(d))
        return decode_end(d, DECODE_TOO_DEEP);
    const enum decode_verdict verdict = decode_ipv6_header(&d->c, &d->v->key, &info);
    return verdict == DECODE_OK ? after_header(d, &at_ip, &info) : decode_end(d, verdict);
}
