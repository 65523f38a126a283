#include "sensor/decode.h"

#include "common/base.h"
#include "sensor/decode_layer.h"

#define NO_SUCH_CODE 0xffff

static decode_layer_fn *const layers[DECODE_LAYERS] = {
#define LAYER(name, function, meaning) [DECODE_LAYER_##name] = (function),
#include "sensor/decode_layer.def"
#undef LAYER
};

/* The numbers of the capture formats. */
static enum decode_layer first_layer(struct decoding *d, uint16_t linktype)
{
    switch (linktype) {
    case 1:
        return DECODE_LAYER_ethernet;
    case 113:
        return DECODE_LAYER_cooked;
    case 276:
        return DECODE_LAYER_cooked2;
    case 12: /* the next, as some systems number it */
    case 14:
    case 101:
        return DECODE_LAYER_raw;
    case 228:
        return DECODE_LAYER_ipv4;
    case 229:
        return DECODE_LAYER_ipv6;
    case 0:   /* BSD loopback */
    case 108: /* OpenBSD loopback */
        return DECODE_LAYER_loopback;
    case 9:
    case 50: /* with HDLC framing */
        return DECODE_LAYER_ppp;
    default:
        return decode_end(d, DECODE_UNSUPPORTED_LINK);
    }
}

/* A tag that the kernel took off stands before everything that is left. */
static void outer_tag(const struct decode_conf *conf, const struct packet *p, struct packet_view *v)
{
    v->layers |= 1u << DECODE_LAYER_vlan;
    if (conf->vlan_in_key)
        v->key.vlan = p->vlan_tci & 0x0fff;
}

enum decode_verdict decode_by_layers(const struct decode_conf *conf, const struct packet *p,
                                     struct packet_view *ret_view)
{
    struct decoding d = {
        .c = {{p->data, p->len}, p->wire_len}, .v = ret_view, .conf = conf, .time_ns = p->time_ns};
    unsigned n = 0;

    *ret_view = (struct packet_view){0};
    if (p->vlan_tpid != 0) {
        outer_tag(conf, p, ret_view);
        d.vlans = 1;
    }
    enum decode_layer layer = first_layer(&d, p->linktype);
    while (layer != DECODE_LAYERS) {
        ret_view->layers |= 1u << layer;
        ret_view->last_layer = (uint8_t)layer;
        layer = n++ == DECODE_LAYERS_MAX ? decode_end(&d, DECODE_TOO_DEEP) : layers[layer](&d);
    }
    if ((d.verdict == DECODE_NOT_IP || d.verdict == DECODE_ARP) && ret_view->key.ip_version != 0)
        return DECODE_OK; /* what a tunnel carries is no IP: it is the tunnel's own packet */
    return d.verdict;
}

/* ---------------------------------------------------------------- the short cut */

enum { AT_TYPE = 12, AT_IP = 14, AT_TCP = AT_IP + 20, AT_END = AT_TCP + 20 };

/* Ethernet, IPv4 without options, TCP: whole, and nothing odd about it. */
static inline bool is_plain_tcp(const struct packet *p)
{
    const uint8_t *const ip = p->data + AT_IP;

    if (p->linktype != 1 || p->len < AT_END || load_be16(p->data + AT_TYPE) != ETHERTYPE_IPV4)
        return false;
    const size_t total = load_be16(ip + 2), tcp_len = (size_t)(p->data[AT_TCP + 12] >> 4) * 4;
    return ip[0] == 0x45 && (load_be16(ip + 6) & 0x3fff) == 0 && ip[9] == PROTO_TCP &&
           tcp_len >= 20 && total >= 20 + tcp_len && total <= p->len - AT_IP;
}

/* What the layers would say, in one go: this is most of all packets. */
static inline void plain_tcp(const struct packet *p, struct packet_view *v)
{
    const uint8_t *const ip = p->data + AT_IP, *const tcp = p->data + AT_TCP;
    const uint32_t total = load_be16(ip + 2), tcp_len = (uint32_t)(tcp[12] >> 4) * 4;

    *v = (struct packet_view){0};
    decode_map_ipv4(v->key.src, ip + 12);
    decode_map_ipv4(v->key.dst, ip + 16);
    v->key.sport = load_be16(tcp);
    v->key.dport = load_be16(tcp + 2);
    v->key.proto = PROTO_TCP;
    v->key.ip_version = 4;
    v->ip = ip;
    v->ip_len = v->ip_captured = total;
    v->payload = tcp + tcp_len;
    v->payload_len = v->payload_wire_len = total - 20 - tcp_len;
    v->tcp_seq = load_be32(tcp + 4);
    v->tcp_ack = load_be32(tcp + 8);
    v->tcp_window = load_be16(tcp + 14);
    v->tcp_flags = tcp[13];
    v->ttl = ip[8];
    v->layers = 1u << DECODE_LAYER_ethernet | 1u << DECODE_LAYER_ipv4 | 1u << DECODE_LAYER_tcp;
    v->last_layer = DECODE_LAYER_tcp;
    if (tcp_len > 20)
        decode_tcp_options(v, tcp + 20, tcp_len - 20, true);
}

enum decode_verdict decode_packet(const struct decode_conf *conf, const struct packet *p,
                                  struct packet_view *ret_view)
{
    if (!is_plain_tcp(p))
        return decode_by_layers(conf, p, ret_view);
    plain_tcp(p, ret_view);
    if (WIND_UNLIKELY(p->vlan_tpid != 0))
        outer_tag(conf, p, ret_view);
    return DECODE_OK;
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

const char *decode_verdict_meaning(enum decode_verdict verdict)
{
    static const char *const meanings[] = {
#define DECODE(NAME, text, meaning) [DECODE_##NAME] = (meaning),
#include "sensor/decode.def"
#undef DECODE
    };

    return meanings[verdict];
}

const char *decode_layer_name(enum decode_layer layer)
{
    static const char *const names[] = {
#define LAYER(name, function, meaning) [DECODE_LAYER_##name] = (#name),
#include "sensor/decode_layer.def"
#undef LAYER
    };

    return names[layer];
}
