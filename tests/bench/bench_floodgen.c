/*
 * bench.floodgen KIND PACKETS: a flood, as a capture on standard output.
 *
 *     syn         SYNs to one server at 500,000 a second, each from an address of its own
 *     syn-slow    the same at 20,000 a second: fewer than a table of a million is full with
 *     collide-v4  each from 0.0.0.0 port 0 to another end: one end is 0, and so is its product with
 *                 anything in a multiplying hash without a key
 *     collide-v6  each from another host of one network, whose prefix is a constant of hash64:
 *                 that makes a product 0 whatever follows, and whatever its seed is
 *
 * bench.floodgen check: how many of 2^20 buckets do 100,000 of such keys fill, by flow_key_hash
 * with a key by chance; and by a hash that can be foreseen: flow_key_hash with the key 0, hash64 of
 * the address for the last kind? One JSON line a kind.
 *
 * The same bytes every time. Checksums of IPv4 are right, the others 0.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/crypto.h"
#include "sensor/flow_key.h"

#define FRAME_MAX  62
#define CHECK_KEYS 100000
#define BUCKETS    (1u << 20)
#define START_S    1767322800u

struct kind {
    const char *name;
    uint32_t gap_ns; /* between two packets */
    void (*key)(struct flow_key *k, uint64_t i);
    uint32_t (*foreseen)(const struct flow_key *k);
};

/* One to one, and nothing like a counter: odd factor, then shift. */
static uint64_t scramble(uint64_t i, unsigned bits)
{
    const uint64_t mask = (UINT64_C(1) << bits) - 1;

    i = i * UINT64_C(0x9E3779B97F4A7C15) & mask;
    return i ^ i >> (bits / 2);
}

static void v4(uint8_t address[16], uint32_t a)
{
    const uint8_t b[4] = {(uint8_t)(a >> 24), (uint8_t)(a >> 16), (uint8_t)(a >> 8), (uint8_t)a};

    ip_from_v4(b, address);
}

static void key_syn(struct flow_key *k, uint64_t i)
{
    const uint64_t from = scramble(i, 32);

    v4(k->src, (uint32_t)from);
    v4(k->dst, 0x0a000001);
    k->sport = (uint16_t)(1024 + from % 64000);
    k->dport = 443;
    k->proto = IPPROTO_TCP;
    k->ip_version = 4;
}

static void key_collide_v4(struct flow_key *k, uint64_t i)
{
    const uint64_t to = scramble(i, 48);

    v4(k->src, 0);
    v4(k->dst, (uint32_t)(to >> 16));
    k->dport = (uint16_t)to;
    k->proto = IPPROTO_UDP;
    k->ip_version = 4;
}

static void key_collide_v6(struct flow_key *k, uint64_t i)
{
    const uint64_t prefix = HASH_K1, host = scramble(i, 62);

    memcpy(k->src, &prefix, 8);
    memcpy(k->src + 8, &host, 8);
    memset(k->dst, 0xfd, 16);
    k->sport = 53;
    k->dport = 53;
    k->proto = IPPROTO_UDP;
    k->ip_version = 6;
}

static uint32_t without_key(const struct flow_key *k)
{
    return flow_key_hash(k, 0);
}

static uint32_t of_address(const struct flow_key *k)
{
    return (uint32_t)(hash64(k->src, 16, UINT64_C(0x123456789abcdef)) >> 16);
}

static const struct kind kinds[] = {
    {"syn", 2000, key_syn, without_key},
    {"syn-slow", 50000, key_syn, without_key},
    {"collide-v4", 2000, key_collide_v4, without_key},
    {"collide-v6", 2000, key_collide_v6, of_address},
};

/* ---------------------------------------------------------------- frames */

static void put16(uint8_t *p, unsigned v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

static void put_ipv4_sum(uint8_t *ip)
{
    uint32_t sum = 0;

    for (unsigned i = 0; i < 20; i += 2)
        sum += (uint32_t)ip[i] << 8 | ip[i + 1];
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    put16(ip + 10, ~sum & 0xffff);
}

/* Returns its length. */
static uint32_t build(uint8_t f[FRAME_MAX], const struct flow_key *k)
{
    const bool is_v4 = k->ip_version == 4, is_tcp = k->proto == IPPROTO_TCP;
    const unsigned payload = is_tcp ? 20 : 8;
    uint8_t *const ip = f + 14;
    uint8_t *const transport = ip + (is_v4 ? 20 : 40);

    memset(f, 0, FRAME_MAX);
    memcpy(f, "\x02\0\0\0\0\1\x02\0\0\0\0\2", 12);
    put16(f + 12, is_v4 ? 0x0800 : 0x86dd);
    if (is_v4) {
        ip[0] = 0x45;
        put16(ip + 2, 20 + payload);
        ip[8] = 64;
        ip[9] = k->proto;
        memcpy(ip + 12, k->src + 12, 4);
        memcpy(ip + 16, k->dst + 12, 4);
        put_ipv4_sum(ip);
    } else {
        ip[0] = 0x60;
        put16(ip + 4, payload);
        ip[6] = k->proto;
        ip[7] = 64;
        memcpy(ip + 8, k->src, 16);
        memcpy(ip + 24, k->dst, 16);
    }
    put16(transport, k->sport);
    put16(transport + 2, k->dport);
    if (is_tcp) {
        transport[12] = 0x50;
        transport[13] = 2; /* SYN */
        put16(transport + 14, 64240);
    } else {
        put16(transport + 4, 8);
    }
    return (uint32_t)(transport - f) + payload;
}

static int flood(const struct kind *kind, uint64_t packets)
{
    static char buffer[1 << 20];
    const uint32_t head[6] = {0xa1b23c4d, 2 | 4 << 16, 0, 0, 65535, 1};
    uint64_t ns = 0;

    (void)setvbuf(stdout, buffer, _IOFBF, sizeof(buffer));
    (void)fwrite(head, sizeof(head), 1, stdout);
    for (uint64_t i = 0; i < packets; i++, ns += kind->gap_ns) {
        struct flow_key k = {0};
        uint8_t frame[FRAME_MAX];

        kind->key(&k, i);
        const uint32_t len = build(frame, &k);
        const uint32_t record[4] = {START_S + (uint32_t)(ns / 1000000000),
                                    (uint32_t)(ns % 1000000000), len, len};
        (void)fwrite(record, sizeof(record), 1, stdout);
        (void)fwrite(frame, len, 1, stdout);
    }
    return fflush(stdout) == 0 && !ferror(stdout) ? 0 : 1;
}

/* ---------------------------------------------------------------- do they collide? */

/* By the hash that can be foreseen, or by ours with `seed`. */
static unsigned buckets_of(const struct kind *kind, bool is_foreseen, uint64_t seed)
{
    uint8_t *const used = calloc(BUCKETS, 1);
    unsigned n = 0;

    if (used == NULL)
        abort();
    for (uint64_t i = 0; i < CHECK_KEYS; i++) {
        struct flow_key k = {0};

        kind->key(&k, i);
        const uint32_t hash = is_foreseen ? kind->foreseen(&k) : flow_key_hash(&k, seed);
        n += used[hash & (BUCKETS - 1)] == 0;
        used[hash & (BUCKETS - 1)] = 1;
    }
    free(used);
    return n;
}

static int check(void)
{
    bool is_fine = true;
    uint64_t seed = 0;

    crypto_random(&seed, sizeof(seed));
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        const unsigned buckets = buckets_of(&kinds[i], false, seed);

        printf("{\"bench\": \"flood\", \"case\": \"%s\", \"keys\": %d, \"buckets\": %u, "
               "\"buckets_if_foreseen\": %u}\n",
               kinds[i].name, CHECK_KEYS, buckets, buckets_of(&kinds[i], true, 0));
        is_fine = is_fine && buckets > CHECK_KEYS * 9 / 10;
    }
    return is_fine ? 0 : 1;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "check") == 0)
        return check();
    for (size_t i = 0; argc == 3 && i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (strcmp(argv[1], kinds[i].name) == 0)
            return flood(&kinds[i], strtoull(argv[2], NULL, 10));
    (void)fprintf(stderr, "usage: bench.floodgen syn|syn-slow|collide-v4|collide-v6 PACKETS\n"
                          "       bench.floodgen check\n");
    return 2;
}
