#include "sensor/decode.h"

#include "common/base.h"
#include "sensor/span.h"

/*
 * link -> VLAN tags -> IPv4 | IPv6 and its extensions -> TCP | UDP | SCTP | ICMP (quotes a packet)
 *
 * Each step takes its header off a cursor and leaves the cursor at the next one. `left` of a
 * cursor is what the capture kept, `wire` what was on the wire: a header that does not fit in
 * `wire` is malformed, one that does not fit in `left` was cut by the capture.
 */
#define ETHERTYPE_IPV4 0x0800
#define ETHERTYPE_IPV6 0x86dd
#define ETHERTYPE_NONE 0

#define IPV4_HEADER     20
#define IPV6_HEADER     40
#define IPV6_EXTENSION  8
#define TCP_HEADER      20
#define UDP_HEADER      8
#define ICMP_HEADER     8
#define MORE_FRAGMENTS  0x2000
#define FRAGMENT_OFFSET 0x1fff
#define NO_SUCH_CODE    0xffff

enum {
    PROTO_HOP_OPTIONS = 0,
    PROTO_ICMP = 1,
    PROTO_TCP = 6,
    PROTO_UDP = 17,
    PROTO_ROUTING = 43,
    PROTO_FRAGMENT = 44,
    PROTO_AUTH = 51,
    PROTO_ICMPV6 = 58,
    PROTO_DEST_OPTIONS = 60,
    PROTO_SCTP = 132,
    PROTO_MOBILITY = 135,
    PROTO_HIP = 139,
    PROTO_SHIM6 = 140
};

struct cursor {
    struct span bytes; /* what the capture kept */
    size_t wire;       /* what was there, >= bytes.left */
};

/* What the IP header says, beside the key. */
struct ip_info {
    uint32_t len; /* of the packet, bounded by the wire */
    uint8_t ttl;
    bool is_fragment; /* any of several */
    bool is_later;    /* not the first: has no transport header */
};

/* The next n bytes, or NULL: short_of says why. */
static inline const uint8_t *take(struct cursor *c, size_t n)
{
    const uint8_t *const p = span_take(&c->bytes, n);

    if (p != NULL)
        c->wire -= n;
    return p;
}

static inline enum decode_verdict short_of(const struct cursor *c, size_t n)
{
    return c->wire < n ? DECODE_MALFORMED : DECODE_TRUNCATED;
}

/* Step over n bytes that need not have been kept. */
static inline bool skip(struct cursor *c, size_t n)
{
    if (n > c->wire)
        return false;
    (void)span_take(&c->bytes, n < c->bytes.left ? n : c->bytes.left);
    c->wire -= n;
    return true;
}

/* Nothing beyond `wire` bytes belongs to what follows. */
static inline void limit(struct cursor *c, size_t wire)
{
    if (wire < c->wire)
        c->wire = wire;
    if (c->wire < c->bytes.left)
        c->bytes.left = c->wire;
}

/* ---------------------------------------------------------------- links */

enum link_kind { LINK_TYPED, LINK_RAW, LINK_FAMILY };

static const struct link {
    uint16_t linktype;
    uint8_t header_len;
    uint8_t type_at; /* LINK_TYPED: where the EtherType is */
    uint8_t kind;
} links[] = {
    {1, 14, 12, LINK_TYPED},                          /* Ethernet */
    {113, 16, 14, LINK_TYPED},                        /* Linux cooked */
    {276, 20, 0, LINK_TYPED},                         /* Linux cooked 2 */
    {101, 0, 0, LINK_RAW},                            /* raw IP */
    {12, 0, 0, LINK_RAW},                             /* the same, as some systems number it */
    {14, 0, 0, LINK_RAW},      {228, 0, 0, LINK_RAW}, /* IPv4 */
    {229, 0, 0, LINK_RAW},                            /* IPv6 */
    {0, 4, 0, LINK_FAMILY},   /* BSD loopback, family in the byte order of the writer */
    {108, 4, 0, LINK_FAMILY}, /* OpenBSD loopback, family in network byte order */
};

static const struct link *find_link(uint16_t linktype)
{
    for (size_t i = 0; i < WIND_ARRAY_SIZE(links); i++) {
        if (links[i].linktype == linktype)
            return &links[i];
    }
    return NULL;
}

/* Address families of the BSDs: their AF_INET6 differ. */
static uint16_t type_of_family(const uint8_t *p)
{
    const uint32_t here = load_32(p, false);
    const uint32_t family = here > UINT16_MAX ? load_be32(p) : here;

    if (family == 2)
        return ETHERTYPE_IPV4;
    if (family == 10 || family == 24 || family == 28 || family == 30)
        return ETHERTYPE_IPV6;
    return ETHERTYPE_NONE;
}

static inline bool is_vlan(uint16_t type)
{
    return type == 0x8100 || type == 0x88a8 || type == 0x9100 || type == 0x9200;
}

/* From the EtherType `type` through its tags to the one that matters. */
static enum decode_verdict vlan_tags(struct cursor *c, struct flow_key *key, uint16_t *type)
{
    for (unsigned i = 0; is_vlan(*type); i++) {
        const uint8_t *const tag = take(c, 4);

        if (tag == NULL)
            return short_of(c, 4);
        if (i == DECODE_VLANS_MAX)
            return DECODE_TOO_DEEP;
        if (i == 0)
            key->vlan = load_be16(tag) & 0x0fff;
        *type = load_be16(tag + 2);
    }
    return DECODE_OK;
}

/* Leaves the cursor at the IP header; *ret_type says which. */
static enum decode_verdict link_header(struct cursor *c, uint16_t linktype, struct flow_key *key,
                                       uint16_t *ret_type)
{
    const struct link *const link = find_link(linktype);

    if (link == NULL)
        return DECODE_UNSUPPORTED_LINK;
    const uint8_t *const h = take(c, link->header_len);
    if (h == NULL)
        return short_of(c, link->header_len);

    switch (link->kind) {
    case LINK_TYPED:
        *ret_type = load_be16(h + link->type_at);
        return vlan_tags(c, key, ret_type);
    case LINK_FAMILY:
        *ret_type = type_of_family(h);
        return DECODE_OK;
    default:
        if (c->bytes.left == 0)
            return short_of(c, 1);
        *ret_type = c->bytes.at[0] >> 4 == 6 ? ETHERTYPE_IPV6 : ETHERTYPE_IPV4;
        return DECODE_OK;
    }
}

/* ---------------------------------------------------------------- IP */

static inline void map_ipv4(uint8_t out[16], const uint8_t *in)
{
    static const uint8_t prefix[12] = {[10] = 0xff, [11] = 0xff};

    memcpy(out, prefix, sizeof(prefix));
    memcpy(out + sizeof(prefix), in, 4);
}

static enum decode_verdict ipv4_header(struct cursor *c, struct flow_key *key,
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
        .ttl = h[8],
        .is_fragment = (fragment & (MORE_FRAGMENTS | FRAGMENT_OFFSET)) != 0,
        .is_later = (fragment & FRAGMENT_OFFSET) != 0,
    };
    key->ip_version = 4;
    key->proto = h[9];
    map_ipv4(key->src, h + 12);
    map_ipv4(key->dst, h + 16);
    return DECODE_OK;
}

static inline bool is_extension(uint8_t proto)
{
    return proto == PROTO_HOP_OPTIONS || proto == PROTO_ROUTING || proto == PROTO_FRAGMENT ||
           proto == PROTO_AUTH || proto == PROTO_DEST_OPTIONS || proto == PROTO_MOBILITY ||
           proto == PROTO_HIP || proto == PROTO_SHIM6;
}

/* Step over extension headers to the transport header, or into a later fragment. */
static enum decode_verdict ipv6_extensions(struct cursor *c, uint8_t *proto, struct ip_info *info)
{
    for (unsigned i = 0; is_extension(*proto) && !info->is_later; i++) {
        const uint8_t *const h = take(c, IPV6_EXTENSION);

        if (h == NULL)
            return short_of(c, IPV6_EXTENSION);
        if (i == DECODE_EXTENSIONS_MAX)
            return DECODE_TOO_DEEP;
        size_t more = (size_t)h[1] * 8;
        if (*proto == PROTO_FRAGMENT) {
            const unsigned fragment = load_be16(h + 2);
            more = 0;
            info->is_fragment = (fragment & 0xfff9) != 0;
            info->is_later = (fragment & 0xfff8) != 0;
        } else if (*proto == PROTO_AUTH) {
            more = ((size_t)h[1] + 2) * 4 - IPV6_EXTENSION;
        }
        if (take(c, more) == NULL)
            return short_of(c, more);
        *proto = h[0];
    }
    return DECODE_OK;
}

static enum decode_verdict ipv6_header(struct cursor *c, struct flow_key *key,
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
        .ttl = h[7],
    };
    key->ip_version = 6;
    memcpy(key->src, h + 8, 16);
    memcpy(key->dst, h + 24, 16);
    key->proto = h[6];
    return ipv6_extensions(c, &key->proto, ret_info);
}

/* ---------------------------------------------------------------- transport */

static enum decode_verdict tcp_header(struct cursor *c, struct packet_view *v)
{
    const uint8_t *const h = take(c, TCP_HEADER);

    if (h == NULL)
        return short_of(c, TCP_HEADER);
    const size_t header_len = (size_t)(h[12] >> 4) * 4;
    if (header_len < TCP_HEADER || !skip(c, header_len - TCP_HEADER))
        return DECODE_MALFORMED;
    v->key.sport = load_be16(h);
    v->key.dport = load_be16(h + 2);
    v->tcp_seq = load_be32(h + 4);
    v->tcp_ack = load_be32(h + 8);
    v->tcp_flags = h[13];
    v->tcp_window = load_be16(h + 14);
    return DECODE_OK;
}

static enum decode_verdict udp_header(struct cursor *c, struct packet_view *v)
{
    const uint8_t *const h = take(c, UDP_HEADER);

    if (h == NULL)
        return short_of(c, UDP_HEADER);
    const size_t claimed = load_be16(h + 4); /* 0: a jumbogram */
    if (claimed != 0 && claimed < UDP_HEADER)
        return DECODE_MALFORMED;
    if (claimed != 0)
        limit(c, claimed - UDP_HEADER);
    v->key.sport = load_be16(h);
    v->key.dport = load_be16(h + 2);
    return DECODE_OK;
}

static bool is_icmp_error(uint8_t proto, uint8_t type)
{
    if (proto == PROTO_ICMPV6)
        return type >= 1 && type <= 4;
    return type == 3 || type == 4 || type == 5 || type == 11 || type == 12;
}

/* The packet that an ICMP error quotes: as much of it as makes a key, or none. */
static bool quoted_key(struct cursor c, bool is_v6, struct flow_key *key)
{
    struct ip_info info = {0};
    const enum decode_verdict verdict =
        is_v6 ? ipv6_header(&c, key, &info) : ipv4_header(&c, key, &info);

    if (verdict != DECODE_OK || info.is_later)
        return false;
    const uint8_t *const h = take(&c, 4);
    if (h == NULL)
        return false;
    if (key->proto == PROTO_TCP || key->proto == PROTO_UDP || key->proto == PROTO_SCTP) {
        key->sport = load_be16(h);
        key->dport = load_be16(h + 2);
    } else if (key->proto == PROTO_ICMP || key->proto == PROTO_ICMPV6) {
        key->sport = h[0];
        key->dport = h[1];
    }
    return true;
}

static enum decode_verdict icmp_header(struct cursor *c, struct packet_view *v)
{
    const uint8_t *const h = take(c, ICMP_HEADER);

    if (h == NULL)
        return short_of(c, ICMP_HEADER);
    v->key.sport = h[0];
    v->key.dport = h[1];
    if (is_icmp_error(v->key.proto, h[0])) {
        v->inner.vlan = v->key.vlan;
        v->has_inner = quoted_key(*c, v->key.proto == PROTO_ICMPV6, &v->inner);
    }
    return DECODE_OK;
}

static enum decode_verdict transport(struct cursor *c, struct packet_view *v)
{
    const uint8_t *h;

    switch (v->key.proto) {
    case PROTO_TCP:
        return tcp_header(c, v);
    case PROTO_UDP:
        return udp_header(c, v);
    case PROTO_ICMP:
    case PROTO_ICMPV6:
        return icmp_header(c, v);
    case PROTO_SCTP:
        h = take(c, 12);
        if (h == NULL)
            return short_of(c, 12);
        v->key.sport = load_be16(h);
        v->key.dport = load_be16(h + 2);
        return DECODE_OK;
    default:
        return DECODE_OK;
    }
}

/* ---------------------------------------------------------------- the packet */

enum decode_verdict decode_packet(const struct packet *p, struct packet_view *ret_view)
{
    struct cursor c = {{p->data, p->len}, p->wire_len};
    struct packet_view *const v = ret_view;
    struct ip_info info = {0};
    uint16_t type = ETHERTYPE_NONE;

    *v = (struct packet_view){0};
    enum decode_verdict verdict = link_header(&c, p->linktype, &v->key, &type);
    if (verdict != DECODE_OK)
        return verdict;

    const struct cursor at_ip = c;
    if (type == ETHERTYPE_IPV4)
        verdict = ipv4_header(&c, &v->key, &info);
    else if (type == ETHERTYPE_IPV6)
        verdict = ipv6_header(&c, &v->key, &info);
    else
        return DECODE_NOT_IP;
    if (verdict != DECODE_OK)
        return verdict;

    v->ip = at_ip.bytes.at;
    v->ip_len = info.len;
    v->ip_captured = (uint32_t)(at_ip.bytes.left < info.len ? at_ip.bytes.left : info.len);
    v->ttl = info.ttl;
    v->is_fragment = info.is_fragment;
    verdict = info.is_later ? DECODE_FRAGMENT : transport(&c, v);
    v->payload = c.bytes.at;
    v->payload_len = (uint32_t)c.bytes.left;
    v->payload_wire_len = (uint32_t)c.wire;
    return verdict;
}

/* ---------------------------------------------------------------- answers and names */

static const struct icmp_pair {
    uint8_t proto, request, reply;
} icmp_pairs[] = {
    {PROTO_ICMP, 8, 0},       {PROTO_ICMP, 13, 14},     {PROTO_ICMP, 15, 16},
    {PROTO_ICMP, 17, 18},     {PROTO_ICMP, 10, 9},      {PROTO_ICMPV6, 128, 129},
    {PROTO_ICMPV6, 130, 131}, {PROTO_ICMPV6, 133, 134}, {PROTO_ICMPV6, 135, 136},
    {PROTO_ICMPV6, 139, 140}, {PROTO_ICMPV6, 144, 145},
};

static void icmp_answer(const struct flow_key *key, struct flow_key *answer)
{
    answer->sport = key->sport;
    answer->dport = NO_SUCH_CODE;
    for (size_t i = 0; i < WIND_ARRAY_SIZE(icmp_pairs); i++) {
        const struct icmp_pair *const pair = &icmp_pairs[i];

        if (pair->proto != key->proto || (key->sport != pair->request && key->sport != pair->reply))
            continue;
        answer->sport = key->sport == pair->request ? pair->reply : pair->request;
        answer->dport = key->dport;
    }
}

void decode_answer_key(const struct flow_key *key, struct flow_key *ret_answer)
{
    *ret_answer = *key;
    memcpy(ret_answer->src, key->dst, sizeof(key->dst));
    memcpy(ret_answer->dst, key->src, sizeof(key->src));
    ret_answer->sport = key->dport;
    ret_answer->dport = key->sport;
    if (key->proto == PROTO_ICMP || key->proto == PROTO_ICMPV6)
        icmp_answer(key, ret_answer);
}

const char *decode_verdict_name(enum decode_verdict verdict)
{
    static const char *const names[] = {
#define DECODE(NAME, text, meaning) [DECODE_##NAME] = (text),
#include "sensor/decode.def"
#undef DECODE
    };

    return names[verdict];
}
