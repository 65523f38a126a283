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
 * bench.floodgen latency KIND PACKETS: the flow table alone, no packets around it. CPU time of each
 * batch of 64 packets (hash, time-outs, look-up, eviction), so that what else runs on the machine
 * does not count: the median, what one of a thousand takes, and the longest; of the second and of
 * the last million.
 *
 * The same bytes every time. Checksums of IPv4 are right, the others 0.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/crypto.h"
#include "sensor/flow_key.h"
#include "sensor/flow_table.h"

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

/* ---------------------------------------------------------------- how long does a batch take? */

#define MILLION UINT64_C(1000000)
#define BATCH   64
#define BATCHES (MILLION / BATCH)

static uint64_t ended;

static void count_ended(void *arg, struct flow *f, enum record_kind kind, enum flow_end end)
{
    (void)arg, (void)f, (void)end;
    ended += kind == RECORD_FLOW_ENDED;
}

static uint64_t cpu_ns(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void touch_batch(struct flow_table *t, const struct kind *kind, uint64_t first)
{
    struct packet_view view[BATCH];
    uint32_t hash[BATCH];
    unsigned dir = 0;

    memset(view, 0, sizeof(view));
    for (unsigned i = 0; i < BATCH; i++) {
        kind->key(&view[i].key, first + i);
        view[i].ip_len = 40;
        view[i].tcp_flags = view[i].key.proto == IPPROTO_TCP ? TCP_SYN : 0;
        hash[i] = flow_table_prefetch(t, &view[i].key);
    }
    for (unsigned i = 0; i < BATCH; i++)
        flow_table_prefetch_flow(t, hash[i]);
    for (unsigned i = 0; i < BATCH; i++) {
        const uint64_t ns = START_S * UINT64_C(1000000000) + (first + i) * kind->gap_ns;

        flow_table_advance(t, ns);
        (void)flow_table_touch(t, &view[i], hash[i], ns, &dir);
    }
}

static int by_size(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

static int latency(const struct kind *kind, uint64_t packets)
{
    static uint64_t taken[BATCHES];
    struct flow_table_conf conf = {.max = MILLION,
                                   .idle_ns = 120 * UINT64_C(1000000000),
                                   .idle_new_ns = 30 * UINT64_C(1000000000),
                                   .linger_ns = 2 * UINT64_C(1000000000),
                                   .active_ns = 60 * UINT64_C(1000000000),
                                   .first_pkts = 16,
                                   .first_id = 1};
    WIND_AUTO(flow_table) struct flow_table *t = NULL;
    const uint64_t millions = packets / MILLION;

    crypto_random(&conf.seed, sizeof(conf.seed));
    if (flow_table_new(&t, &conf, count_ended, NULL, NULL) < 0)
        return 1;
    printf("{\"bench\": \"flood\", \"case\": \"%s\", \"level\": \"table\"", kind->name);
    for (uint64_t m = 0; m < millions; m++) {
        for (uint64_t b = 0; b < BATCHES; b++) {
            const uint64_t start = cpu_ns();
            touch_batch(t, kind, (m * BATCHES + b) * BATCH);
            taken[b] = cpu_ns() - start;
        }
        if (m != 1 && m + 1 != millions)
            continue;
        qsort(taken, BATCHES, sizeof(taken[0]), by_size);
        printf(", \"%s\": {\"batch_us\": %.1f, \"of_1000\": %.1f, \"longest\": %.1f}",
               m == 1 ? "second" : "last", (double)taken[BATCHES / 2] / 1e3,
               (double)taken[BATCHES - BATCHES / 1000] / 1e3, (double)taken[BATCHES - 1] / 1e3);
    }
    printf(", \"ended\": %llu}\n", (unsigned long long)ended);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "check") == 0)
        return check();
    const bool is_latency = argc == 4 && strcmp(argv[1], "latency") == 0;
    for (size_t i = 0; (argc == 3 || is_latency) && i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        const uint64_t packets = strtoull(argv[argc - 1], NULL, 10);

        if (strcmp(argv[argc - 2], kinds[i].name) == 0)
            return is_latency ? latency(&kinds[i], packets) : flood(&kinds[i], packets);
    }
    (void)fprintf(stderr, "usage: bench.floodgen [latency] syn|syn-slow|collide-v4|collide-v6 N\n"
                          "       bench.floodgen check\n");
    return 2;
}
