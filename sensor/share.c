#include "sensor/share.h"

#include <endian.h>
#include <netinet/in.h>
#include <string.h>

#include "sensor/span.h"

#define LINKTYPE_ETHERNET 1
#define AT_TYPE           12
#define VLANS_MAX         2
#define IPV4_HEADER       20
#define IPV6_HEADER       40
#define TCP_HEADER        20
#define UDP_HEADER        8

static uint64_t load64(const uint8_t *p)
{
    uint64_t v;

    memcpy(&v, p, sizeof(v));
    return v;
}

/* The same both ways: of both ends only sums and exclusive-ors are used. */
static uint32_t choose(uint64_t a, uint64_t b, uint32_t ports, uint8_t proto, uint32_t n)
{
    uint64_t h = (a ^ b) + (a + b) * UINT64_C(0x9e3779b97f4a7c15);

    h ^= h >> 32;
    h = (h + ports + ((uint64_t)proto << 32)) * UINT64_C(0xd6e8feb86659fd93);
    h ^= h >> 32;
    h *= UINT64_C(0xd6e8feb86659fd93);
    return (uint32_t)((h >> 32) * n >> 32);
}

static uint64_t fold(const uint8_t address[16])
{
    return load64(address) * UINT64_C(0xa0761d6478bd642f) + load64(address + 8);
}

/* As fold, of the address mapped into IPv6: ::ffff:address. */
static uint64_t fold_v4(const uint8_t *address)
{
    uint32_t a;

    memcpy(&a, address, sizeof(a));
    return __BYTE_ORDER == __LITTLE_ENDIAN ? (uint64_t)a << 32 | 0xffff0000
                                           : UINT64_C(0xffff) << 32 | a;
}

static bool has_ports(uint8_t proto)
{
    return proto == IPPROTO_TCP || proto == IPPROTO_UDP || proto == IPPROTO_SCTP;
}

uint32_t share_of_key(const struct flow_key *key, uint32_t n)
{
    const uint32_t ports = has_ports(key->proto) ? (uint32_t)key->sport + key->dport : 0;

    return choose(fold(key->src), fold(key->dst), ports, key->proto, n);
}

/*
 * TCP, or UDP that can't be a tunnel (decode_transport.c), whose header is whole and sound: what is
 * odd about a packet is one worker's to tell. `wire`: bytes from there on, of which `len` are here.
 */
static bool is_plain(uint8_t proto, const uint8_t *h, size_t len, size_t wire)
{
    len = len < wire ? len : wire;
    if (proto == IPPROTO_TCP) {
        const size_t header = len < TCP_HEADER ? 0 : (size_t)(h[12] >> 4) * 4;
        return header >= TCP_HEADER && header <= wire;
    }
    if (proto != IPPROTO_UDP || len < UDP_HEADER)
        return false;
    const uint16_t dport = load_be16(h + 2), claimed = load_be16(h + 4);
    return dport != 4789 && dport != 8472 && dport != 6081 &&
           (claimed == 0 || claimed >= UDP_HEADER);
}

/* What IP claims of what was on the wire, without its header. */
static size_t within(size_t claimed, size_t wire)
{
    return claimed == 0 || claimed > wire ? wire : claimed;
}

static uint32_t of_ipv4(const uint8_t *ip, size_t len, size_t wire, uint32_t n)
{
    const uint8_t *const ports = ip + IPV4_HEADER;

    if (len < IPV4_HEADER || ip[0] != 0x45 || (load_be16(ip + 6) & 0x3fff) != 0)
        return SHARE_UNSURE;
    wire = within(load_be16(ip + 2), wire);
    if (wire < IPV4_HEADER || !is_plain(ip[9], ports, len - IPV4_HEADER, wire - IPV4_HEADER))
        return SHARE_UNSURE;
    return choose(fold_v4(ip + 12), fold_v4(ip + 16),
                  (uint32_t)load_be16(ports) + load_be16(ports + 2), ip[9], n);
}

static uint32_t of_ipv6(const uint8_t *ip, size_t len, size_t wire, uint32_t n)
{
    const uint8_t *const ports = ip + IPV6_HEADER;

    if (len < IPV6_HEADER || ip[0] >> 4 != 6)
        return SHARE_UNSURE;
    wire = within(load_be16(ip + 4), wire - IPV6_HEADER);
    if (!is_plain(ip[6], ports, len - IPV6_HEADER, wire))
        return SHARE_UNSURE;
    return choose(fold(ip + 8), fold(ip + 24), (uint32_t)load_be16(ports) + load_be16(ports + 2),
                  ip[6], n);
}

uint32_t share_of_packet(const struct packet *p, uint32_t n)
{
    size_t at = AT_TYPE;

    if (p->linktype != LINKTYPE_ETHERNET || p->len < AT_TYPE + 2 + VLANS_MAX * 4)
        return SHARE_UNSURE;
    uint16_t type = load_be16(p->data + at);
    for (int i = 0; type == 0x8100 && i < VLANS_MAX; i++)
        type = load_be16(p->data + (at += 4));
    at += 2;
    if (type == 0x0800)
        return of_ipv4(p->data + at, p->len - at, p->wire_len - at, n);
    return type == 0x86dd ? of_ipv6(p->data + at, p->len - at, p->wire_len - at, n) : SHARE_UNSURE;
}
