#include "sensor/decode_layer.h"

/*
 * TCP | UDP | SCTP | ICMP, which quotes a packet. UDP may carry a tunnel.
 */
#define TCP_HEADER       20
#define UDP_HEADER       8
#define ICMP_HEADER      8
#define SCTP_HEADER      12
#define PORT_VXLAN       4789
#define PORT_VXLAN_LINUX 8472 /* what Linux takes when nobody says which */
#define PORT_GENEVE      6081

/* No-operation twice, then time stamps: all that most packets of a connection have. */
#define ONLY_TIMES 0x0101080a

static void take_times(struct packet_view *v, const uint8_t *p)
{
    v->tcp_time = load_be32(p);
    v->tcp_time_echo = load_be32(p + 4);
    v->tcp_options |= TCP_OPTION_TIMES;
}

static void take_option(struct packet_view *v, const uint8_t *p)
{
    if (p[0] == 2 && p[1] == 4) {
        v->tcp_mss = load_be16(p + 2);
        v->tcp_options |= TCP_OPTION_MSS;
    } else if (p[0] == 3 && p[1] == 3) {
        v->tcp_window_scale = p[2] < 14 ? p[2] : 14; /* as RFC 7323 has it */
        v->tcp_options |= TCP_OPTION_WINDOW_SCALE;
    } else if (p[0] == 4 && p[1] == 2) {
        v->tcp_options |= TCP_OPTION_SACK;
    } else if (p[0] == 8 && p[1] == 10) {
        take_times(v, p + 2);
    }
}

/* Options that can't be walked end here: the rest of the packet is sound. */
void decode_tcp_options(struct packet_view *v, const uint8_t *p, size_t n, bool is_whole)
{
    if (n >= 12 && load_be32(p) == ONLY_TIMES) {
        take_times(v, p + 4);
        p += 12;
        n -= 12;
    }
    while (n > 0 && p[0] != 0) {
        const size_t len = p[0] == 1 ? 1 : n < 2 ? 0 : p[1];

        if (len == 0 || len > n || (len == 1 && p[0] != 1)) {
            if (is_whole || (n >= 2 && len < 2))
                v->tcp_options |= TCP_OPTION_BAD;
            return;
        }
        if (len > 1)
            take_option(v, p);
        p += len;
        n -= len;
    }
}

enum decode_layer decode_tcp(struct decoding *d)
{
    struct packet_view *const v = d->v;
    const uint8_t *const h = take(&d->c, TCP_HEADER);

    if (h == NULL)
        return decode_short(d, TCP_HEADER);
    const size_t header_len = (size_t)(h[12] >> 4) * 4, options = header_len - TCP_HEADER;
    if (header_len < TCP_HEADER || options > d->c.wire)
        return decode_end(d, DECODE_MALFORMED);
    v->key.sport = load_be16(h);
    v->key.dport = load_be16(h + 2);
    v->tcp_seq = load_be32(h + 4);
    v->tcp_ack = load_be32(h + 8);
    v->tcp_flags = h[13];
    v->tcp_window = load_be16(h + 14);
    if (options > 0) { /* they need not have been kept */
        const size_t kept = options < d->c.bytes.left ? options : d->c.bytes.left;

        decode_tcp_options(v, span_take(&d->c.bytes, kept), kept, kept == options);
        d->c.wire -= options;
    }
    decode_payload(d);
    return decode_end(d, DECODE_OK);
}

enum decode_layer decode_udp(struct decoding *d)
{
    const uint8_t *const h = take(&d->c, UDP_HEADER);

    if (h == NULL)
        return decode_short(d, UDP_HEADER);
    const size_t claimed = load_be16(h + 4); /* 0: a jumbogram */
    if (claimed != 0 && claimed < UDP_HEADER)
        return decode_end(d, DECODE_MALFORMED);
    if (claimed != 0)
        limit(&d->c, claimed - UDP_HEADER);
    const uint16_t dport = load_be16(h + 2);
    d->v->key.sport = load_be16(h);
    d->v->key.dport = dport;
    decode_payload(d);
    if (!d->conf->tunnels)
        return decode_end(d, DECODE_OK);
    if (dport == PORT_VXLAN || dport == PORT_VXLAN_LINUX)
        return DECODE_LAYER_vxlan;
    return dport == PORT_GENEVE ? DECODE_LAYER_geneve : decode_end(d, DECODE_OK);
}

enum decode_layer decode_sctp(struct decoding *d)
{
    const uint8_t *const h = take(&d->c, SCTP_HEADER);

    if (h == NULL)
        return decode_short(d, SCTP_HEADER);
    d->v->key.sport = load_be16(h);
    d->v->key.dport = load_be16(h + 2);
    decode_payload(d);
    return decode_end(d, DECODE_OK);
}

/* ---------------------------------------------------------------- ICMP */

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
        is_v6 ? decode_ipv6_header(&c, key, &info) : decode_ipv4_header(&c, key, &info);

    if (verdict != DECODE_OK || info.fragment_at != 0)
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

static bool is_ndp(const struct flow_key *key)
{
    return key->proto == PROTO_ICMPV6 && key->sport >= 133 && key->sport <= 137;
}

enum decode_layer decode_icmp(struct decoding *d)
{
    struct packet_view *const v = d->v;
    const uint8_t *const h = take(&d->c, ICMP_HEADER);

    if (h == NULL)
        return decode_short(d, ICMP_HEADER);
    v->key.sport = h[0];
    v->key.dport = h[1];
    decode_payload(d);
    if (is_icmp_error(v->key.proto, h[0])) {
        v->inner.vlan = v->key.vlan;
        v->has_inner = quoted_key(d->c, v->key.proto == PROTO_ICMPV6, &v->inner);
    }
    return is_ndp(&v->key) ? DECODE_LAYER_ndp : decode_end(d, DECODE_OK);
}

enum decode_layer decode_ndp(struct decoding *d)
{
    return decode_end(d, DECODE_OK);
}
