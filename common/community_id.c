#include "common/community_id.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <string.h>

#include "common/crypto.h"

#define NO_ANSWER 0xff

/* ICMP has no ports: a request's type and its answer's type stand in for them. */
static const uint8_t icmp_pairs[][2] = {{8, 0}, {13, 14}, {15, 16}, {10, 9}, {17, 18}};
static const uint8_t icmp6_pairs[][2] = {{128, 129}, {133, 134}, {135, 136},
                                         {130, 131}, {139, 140}, {144, 145}};

static uint8_t answer_to(uint8_t type, const uint8_t pairs[][2], size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (pairs[i][0] == type)
            return pairs[i][1];
        if (pairs[i][1] == type)
            return pairs[i][0];
    }
    return NO_ANSWER;
}

/* Both ports; returns whether the messages have no answer, so that nothing can be turned. */
static bool icmp_ports(const struct flow_key *k, uint16_t port[2])
{
    const uint8_t type = (uint8_t)k->sport;
    const uint8_t answer = k->proto == IPPROTO_ICMP
                               ? answer_to(type, icmp_pairs, WIND_ARRAY_SIZE(icmp_pairs))
                               : answer_to(type, icmp6_pairs, WIND_ARRAY_SIZE(icmp6_pairs));

    port[0] = type;
    port[1] = answer == NO_ANSWER ? k->dport : answer;
    return answer == NO_ANSWER;
}

static uint8_t *put_u16(uint8_t *to, uint16_t v)
{
    to[0] = (uint8_t)(v >> 8);
    to[1] = (uint8_t)v;
    return to + 2;
}

static uint8_t *put_bytes(uint8_t *to, const uint8_t *from, size_t n)
{
    memcpy(to, from, n);
    return to + n;
}

/* What is public needs no constant time, and this is done for every flow. */
static void put_base64(const uint8_t digest[SHA1_BYTES], char *to)
{
    static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint32_t v;

    for (size_t i = 0; i < SHA1_BYTES; i += 3) {
        v = (uint32_t)digest[i] << 16 | (uint32_t)digest[i + 1] << 8 |
            (i + 2 < SHA1_BYTES ? digest[i + 2] : 0);
        *to++ = digit[v >> 18];
        *to++ = digit[v >> 12 & 63];
        *to++ = digit[v >> 6 & 63];
        *to++ = (char)(i + 2 < SHA1_BYTES ? digit[v & 63] : '=');
    }
    *to = '\0';
}

void community_id(const struct flow_key *k, uint16_t seed, char ret_text[COMMUNITY_ID_TEXT])
{
    const bool is_icmp = k->proto == IPPROTO_ICMP || k->proto == IPPROTO_ICMPV6;
    const bool has_ports =
        is_icmp || k->proto == IPPROTO_TCP || k->proto == IPPROTO_UDP || k->proto == IPPROTO_SCTP;
    uint16_t port[2] = {k->sport, k->dport};
    const bool one_way = is_icmp && icmp_ports(k, port);
    const size_t n = k->ip_version == 6 ? 16 : 4;
    const uint8_t *addr[2] = {k->src + 16 - n, k->dst + 16 - n};

    int order = memcmp(addr[0], addr[1], n);
    if (order == 0 && has_ports)
        order = (port[0] > port[1]) - (port[0] < port[1]);
    const int first = order > 0 && !one_way;

    uint8_t input[2 + 16 + 16 + 2 + 4], digest[SHA1_BYTES];
    uint8_t *to = put_u16(input, seed);
    to = put_bytes(to, addr[first], n);
    to = put_bytes(to, addr[!first], n);
    *to++ = k->proto;
    *to++ = 0;
    if (has_ports) {
        to = put_u16(to, port[first]);
        to = put_u16(to, port[!first]);
    }
    crypto_sha1(input, (size_t)(to - input), digest);
    ret_text[0] = '1';
    ret_text[1] = ':';
    put_base64(digest, ret_text + 2);
}
