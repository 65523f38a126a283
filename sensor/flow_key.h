/*
 * flow_key.h - when are two keys the same conversation?
 *
 * Why      Packets of both directions, and an ICMP answer and its question, meet in one flow.
 * Owns     Nothing.
 * Threads  Any: there is no state.
 *
 * A key is compared byte by byte: it has no padding, and whoever makes one sets all of it.
 */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <string.h>

#include "common/hash.h"
#include "common/ip.h"
#include "common/record.h"

_Static_assert(sizeof(struct flow_key) == 40, "no padding");

static inline bool flow_key_is_icmp(const struct flow_key *k)
{
    return k->proto == IPPROTO_ICMP || k->proto == IPPROTO_ICMPV6;
}

/*
 * The key as its opener would write it: only an ICMP answer is turned round, and not one to a
 * group: routers and hosts announce themselves, and nobody has asked. Returns whether it was.
 */
bool flow_key_turn_icmp(struct flow_key *k);

static inline bool flow_key_as_opened(struct flow_key *k)
{
    return flow_key_is_icmp(k) && flow_key_turn_icmp(k);
}

/* Is `k` the way back of `of`? An ICMP question of the other side is another flow. */
static inline bool flow_key_is_answer(const struct flow_key *of, const struct flow_key *k)
{
    return of->sport == k->dport && of->dport == k->sport && of->proto == k->proto &&
           of->vlan == k->vlan && of->ip_version == k->ip_version &&
           memcmp(of->src, k->dst, 16) == 0 && memcmp(of->dst, k->src, 16) == 0 &&
           !flow_key_is_icmp(k);
}

/* One end as a number; of IPv4 it is the end itself, 48 bits. */
static inline uint64_t flow_key_end(const uint8_t address[16], uint16_t port, bool is_v4,
                                    uint64_t seed)
{
    uint32_t v4;

    if (!is_v4)
        return hash64_keyed(address, 16, seed + port);
    memcpy(&v4, address + 12, sizeof(v4));
    return (uint64_t)v4 << 16 | port;
}

/*
 * The same both ways: the smaller end comes first. Each factor of the two products depends on the
 * seed, which nobody outside knows, so that nobody can make keys that meet in a bucket.
 */
static inline uint32_t flow_key_hash(const struct flow_key *key, uint64_t seed)
{
    const bool is_icmp = flow_key_is_icmp(key);
    struct flow_key turned;

    if (is_icmp) {
        turned = *key;
        (void)flow_key_turn_icmp(&turned);
        key = &turned;
    }
    const bool is_v4 = key->ip_version == 4;
    const uint64_t a = flow_key_end(key->src, is_icmp ? 0 : key->sport, is_v4, seed);
    const uint64_t b = flow_key_end(key->dst, is_icmp ? 0 : key->dport, is_v4, seed);
    const uint64_t type = is_icmp ? (uint64_t)key->sport << 32 : 0;
    const uint64_t other = type | (uint64_t)key->vlan << 8 | key->proto;
    const uint64_t low = a < b ? a : b, high = a < b ? b : a;
    const uint64_t h = hash_fold(low ^ seed, high ^ (seed << 29 | seed >> 35) ^ HASH_K1);

    return (uint32_t)(hash_fold(h ^ other, seed ^ HASH_K2) >> 16);
}
