#include "sensor/flow_table.h"

#include <errno.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "common/hash.h"
#include "common/huge.h"
#include "common/ip.h"

#define NONE         UINT32_MAX
#define WHEEL_SLOTS  1024u
#define TICK_SHIFT   30 /* a tick is 2^30 ns, 1.07 s */
#define EVICT_SAMPLE 16

/*
 * Entries are found by index: bucket[hash] -> chain -> chain. Free entries are chained the same
 * way; those never used lie above `used`, so memory is touched only as the table grows.
 */
struct flow_table {
    struct flow_table_conf conf;
    flow_sink *sink;
    void *arg;
    struct flow *flows;
    uint32_t *bucket;
    uint32_t mask, used, free, hand;
    size_t live;
    uint64_t next_id;
    uint64_t clock_ns, tick; /* the wheel has been turned up to here */
    uint32_t wheel[WHEEL_SLOTS];
};

static uint32_t index_of(const struct flow_table *t, const struct flow *f)
{
    return (uint32_t)(f - t->flows);
}

/* ---------------------------------------------------------------- life */

int flow_table_new(struct flow_table **ret_table, const struct flow_table_conf *conf,
                   flow_sink *sink, void *arg, struct err *e)
{
    uint32_t buckets = 1024;

    while (buckets < conf->max && buckets < UINT32_C(1) << 30)
        buckets *= 2;
    WIND_AUTO(flow_table) struct flow_table *t = calloc(1, sizeof(*t));
    if (t == NULL)
        return err_set(e, -ENOMEM, "flow.max: out of memory");
    t->conf = *conf;
    t->sink = sink;
    t->arg = arg;
    t->mask = buckets - 1;
    t->free = NONE;
    t->next_id = conf->first_id;
    for (uint32_t i = 0; i < WHEEL_SLOTS; i++)
        t->wheel[i] = NONE;

    t->bucket = malloc(buckets * sizeof(uint32_t));
    t->flows = calloc(conf->max, sizeof(struct flow)); /* pages come as they are used */
    if (t->bucket == NULL || t->flows == NULL)
        return err_set(e, -ENOMEM, "flow.max: no memory for %zu flows", conf->max);
    huge_advise(t->bucket, buckets * sizeof(uint32_t));
    huge_advise(t->flows, conf->max * sizeof(struct flow));
    memset(t->bucket, 0xff, buckets * sizeof(uint32_t)); /* NONE */
    *ret_table = WIND_STEAL(t);
    return 0;
}

struct flow_table *flow_table_free(struct flow_table *t)
{
    if (t != NULL) {
        free(t->bucket);
        free(t->flows);
        free(t);
    }
    return NULL;
}

size_t flow_table_live(const struct flow_table *t)
{
    return t->live;
}

size_t flow_table_index(const struct flow_table *t, const struct flow *f)
{
    return index_of(t, f);
}

uint64_t flow_table_next_id(const struct flow_table *t)
{
    return t->next_id;
}

/* ---------------------------------------------------------------- keys */

/* ICMP: an answer's type and the question it belongs to, so that both are one flow. */
static bool icmp_question(uint8_t proto, uint16_t type, uint16_t *ret_question)
{
    static const struct {
        uint8_t proto, answer, question;
    } pairs[] = {{IPPROTO_ICMP, 0, 8},       {IPPROTO_ICMP, 14, 13},    {IPPROTO_ICMP, 16, 15},
                 {IPPROTO_ICMP, 9, 10},      {IPPROTO_ICMP, 18, 17},    {IPPROTO_ICMPV6, 129, 128},
                 {IPPROTO_ICMPV6, 134, 133}, {IPPROTO_ICMPV6, 136, 135}};

    for (size_t i = 0; i < WIND_ARRAY_SIZE(pairs); i++) {
        if (pairs[i].proto == proto && pairs[i].answer == type) {
            *ret_question = pairs[i].question;
            return true;
        }
    }
    return false;
}

static bool is_icmp(uint8_t proto)
{
    return proto == IPPROTO_ICMP || proto == IPPROTO_ICMPV6;
}

static bool is_group(const uint8_t a[16])
{
    return a[0] == 0xff || (ip_is_v4(a) && a[12] >= 224);
}

/*
 * The key as its opener would write it: only an ICMP answer is turned round. Not one to a group:
 * routers and hosts announce themselves, and nobody has asked.
 */
static bool as_opened(struct flow_key *k)
{
    uint16_t question = 0;

    if (!is_icmp(k->proto) || !icmp_question(k->proto, k->sport, &question) || is_group(k->dst))
        return false;
    uint8_t swap[16];
    memcpy(swap, k->src, 16);
    memcpy(k->src, k->dst, 16);
    memcpy(k->dst, swap, 16);
    k->sport = question;
    return true;
}

/* Sums and products of both ends are the same both ways, and so is what they hash to. */
static uint32_t hash_key(const struct flow_key *key, uint64_t seed)
{
    struct flow_key k = *key;
    const uint64_t other = (uint64_t)k.proto << 16 | k.vlan;

    if (is_icmp(k.proto)) {
        (void)as_opened(&k);
        const uint64_t a = hash64_keyed(k.src, 16, seed), b = hash64_keyed(k.dst, 16, seed);
        return (
            uint32_t)((a + b + (other ^ (uint64_t)k.sport << 32) * UINT64_C(0x9e3779b97f4a7c15)) >>
                      29);
    }
    const uint64_t a = hash64_keyed(k.src, 16, seed + k.sport),
                   b = hash64_keyed(k.dst, 16, seed + k.dport);
    return (uint32_t)(((a ^ b) + (a + b) * UINT64_C(0x9e3779b97f4a7c15) + other) >> 29);
}

uint32_t flow_table_prefetch(const struct flow_table *t, const struct flow_key *key)
{
    const uint32_t hash = hash_key(key, t->conf.seed);

    __builtin_prefetch(&t->bucket[hash & t->mask]);
    return hash;
}

static bool same_meta(const struct flow_key *a, const struct flow_key *b)
{
    return a->proto == b->proto && a->vlan == b->vlan && a->ip_version == b->ip_version;
}

static bool same_way(const struct flow_key *a, const struct flow_key *b)
{
    return a->sport == b->sport && a->dport == b->dport && memcmp(a->src, b->src, 16) == 0 &&
           memcmp(a->dst, b->dst, 16) == 0;
}

static bool other_way(const struct flow_key *a, const struct flow_key *b)
{
    return a->sport == b->dport && a->dport == b->sport && memcmp(a->src, b->dst, 16) == 0 &&
           memcmp(a->dst, b->src, 16) == 0;
}

static struct flow *find(struct flow_table *t, const struct flow_key *key, uint32_t hash,
                         unsigned *ret_dir)
{
    for (uint32_t i = t->bucket[hash & t->mask]; i != NONE; i = t->flows[i].chain) {
        struct flow *f = &t->flows[i];
        if (f->hash != hash || !same_meta(&f->key, key))
            continue;
        if (same_way(&f->key, key)) {
            *ret_dir = 0;
            return f;
        }
        if (!is_icmp(key->proto) && other_way(&f->key, key)) {
            *ret_dir = 1;
            return f;
        }
    }
    return NULL;
}

/* ---------------------------------------------------------------- wheel */

/* When something is due for this flow, by the clock. */
static uint64_t due(const struct flow_table *t, const struct flow *f)
{
    uint64_t at = f->seen_ns + (f->state == FLOW_NEW ? t->conf.idle_new_ns : t->conf.idle_ns);

    if (f->state == FLOW_CLOSED || f->state == FLOW_RESET)
        at = f->seen_ns + t->conf.linger_ns;
    if (f->opening == OPENING_PENDING && f->made_ns + FLOW_OPENING_WAIT_NS < at)
        at = f->made_ns + FLOW_OPENING_WAIT_NS;
    if (f->seen_ns > f->update_ns && f->update_ns + t->conf.active_ns < at)
        at = f->update_ns + t->conf.active_ns;
    return at;
}

static void wheel_put(struct flow_table *t, struct flow *f)
{
    const uint32_t i = index_of(t, f);
    uint64_t tick = (due(t, f) >> TICK_SHIFT) + 1; /* the first tick that lies behind it */

    if (tick <= t->tick)
        tick = t->tick + 1;
    if (tick > t->tick + WHEEL_SLOTS - 1) /* it is looked at then, and put further */
        tick = t->tick + WHEEL_SLOTS - 1;
    f->slot = (uint32_t)(tick % WHEEL_SLOTS);
    f->wheel_prev = NONE;
    f->wheel_next = t->wheel[f->slot];
    if (f->wheel_next != NONE)
        t->flows[f->wheel_next].wheel_prev = i;
    t->wheel[f->slot] = i;
}

static void wheel_take(struct flow_table *t, struct flow *f)
{
    if (f->wheel_prev != NONE)
        t->flows[f->wheel_prev].wheel_next = f->wheel_next;
    else
        t->wheel[f->slot] = f->wheel_next;
    if (f->wheel_next != NONE)
        t->flows[f->wheel_next].wheel_prev = f->wheel_prev;
}

/* ---------------------------------------------------------------- ends */

static void opened(struct flow_table *t, struct flow *f, enum flow_opening how)
{
    if (f->opening == OPENING_PENDING) {
        f->opening = (uint8_t)how;
        t->sink(t->arg, f, RECORD_FLOW_OPENED, 0);
    }
}

/*
 * How an opening without an answer that was seen fared. Who goes on to acknowledge and to talk
 * after the SYN was answered where we do not look: one side of the link is all we get.
 */
static enum flow_opening unseen(const struct flow *f)
{
    const uint8_t shaken = TCP_SYN | TCP_ACK;

    if (f->stats.dir[1].pkts > 0)
        return OPENING_ANSWERED;
    return f->key.proto == IPPROTO_TCP && (f->tcp_flags[0] & shaken) == shaken &&
                   f->stats.dir[0].payload > 0
               ? OPENING_ANSWERED
               : OPENING_SILENT;
}

/* The flow must not be in the wheel any more. */
static void end_flow(struct flow_table *t, struct flow *f, enum flow_end why)
{
    uint32_t *link = &t->bucket[f->hash & t->mask];
    const uint32_t i = index_of(t, f);

    opened(t, f, unseen(f));
    t->sink(t->arg, f, RECORD_FLOW_ENDED, why);
    while (*link != i)
        link = &t->flows[*link].chain;
    *link = f->chain;
    f->flow_id = 0;
    f->chain = t->free;
    t->free = i;
    t->live--;
}

static void look_at(struct flow_table *t, struct flow *f)
{
    const bool over = f->state == FLOW_CLOSED || f->state == FLOW_RESET;
    const uint64_t idle = over                   ? t->conf.linger_ns
                          : f->state == FLOW_NEW ? t->conf.idle_new_ns
                                                 : t->conf.idle_ns;

    if (f->seen_ns + idle <= t->clock_ns) {
        end_flow(t, f, over ? FLOW_END_CLOSED : FLOW_END_IDLE);
        return;
    }
    if (f->made_ns + FLOW_OPENING_WAIT_NS <= t->clock_ns)
        opened(t, f, unseen(f));
    if (f->seen_ns > f->update_ns && f->update_ns + t->conf.active_ns <= t->clock_ns) {
        t->sink(t->arg, f, RECORD_FLOW_UPDATE, 0);
        f->update_ns = t->clock_ns;
    }
    wheel_put(t, f);
}

static void turn(struct flow_table *t, uint64_t tick)
{
    uint32_t i = t->wheel[tick % WHEEL_SLOTS];

    t->wheel[tick % WHEEL_SLOTS] = NONE;
    while (i != NONE) {
        struct flow *f = &t->flows[i];
        i = f->wheel_next;
        look_at(t, f);
    }
}

void flow_table_advance(struct flow_table *t, uint64_t clock_ns)
{
    if (clock_ns <= t->clock_ns)
        return;
    t->clock_ns = clock_ns;

    const uint64_t now = clock_ns >> TICK_SHIFT;
    if (now - t->tick > WHEEL_SLOTS) { /* a gap: one turn shows every flow */
        const uint64_t from = t->tick;
        t->tick = now;
        for (uint64_t i = 1; i <= WHEEL_SLOTS; i++)
            turn(t, from + i);
    }
    while (t->tick < now)
        turn(t, ++t->tick);
}

void flow_table_flush(struct flow_table *t)
{
    for (uint32_t i = 0; i < t->used; i++) {
        struct flow *f = &t->flows[i];
        if (f->flow_id == 0)
            continue;
        wheel_take(t, f);
        end_flow(t, f,
                 f->state == FLOW_CLOSED || f->state == FLOW_RESET ? FLOW_END_CLOSED
                                                                   : FLOW_END_FLUSHED);
    }
}

/* The idlest of a few: a hand goes round the table, so that each flow comes under it. */
static void evict(struct flow_table *t)
{
    struct flow *victim = NULL;

    for (int n = 0; n < EVICT_SAMPLE || victim == NULL; n++) {
        struct flow *f = &t->flows[t->hand];
        t->hand = (t->hand + 1) % t->used;
        if (f->flow_id != 0 && (victim == NULL || f->seen_ns < victim->seen_ns))
            victim = f;
    }
    wheel_take(t, victim);
    end_flow(t, victim, FLOW_END_EVICTED);
}

/* ---------------------------------------------------------------- packets */

/*
 * The first packet since the flow was told: from now on an update is due, perhaps sooner than what
 * the flow waits for in the wheel. While its opening is pending it is looked at soon anyway.
 */
static void begin_active(struct flow_table *t, struct flow *f)
{
    const bool is_first = f->seen_ns <= f->update_ns && t->clock_ns > f->update_ns;

    f->seen_ns = t->clock_ns;
    if (is_first && f->opening != OPENING_PENDING) {
        wheel_take(t, f);
        wheel_put(t, f);
    }
}

static struct flow *make(struct flow_table *t, const struct flow_key *key, uint32_t hash,
                         uint64_t packet_ns)
{
    if (t->live == t->conf.max)
        evict(t);

    uint32_t i = t->free;
    if (i != NONE)
        t->free = t->flows[i].chain;
    else
        i = t->used++;

    struct flow *f = &t->flows[i];
    *f = (struct flow){.key = *key,
                       .hash = hash,
                       .chain = t->bucket[hash & t->mask],
                       .flow_id = t->next_id++,
                       .seen_ns = t->clock_ns,
                       .made_ns = t->clock_ns,
                       .update_ns = t->clock_ns,
                       .start_ns = packet_ns,
                       .end_ns = packet_ns};
    t->bucket[hash & t->mask] = i;
    t->live++;
    wheel_put(t, f);
    return f;
}

/* Does this packet begin another conversation on the ports of one that is over? */
static bool starts_anew(const struct flow *f, const struct packet_view *view)
{
    return (f->state == FLOW_CLOSED || f->state == FLOW_RESET) && f->key.proto == IPPROTO_TCP &&
           (view->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
}

static void tcp_state(struct flow_table *t, struct flow *f, uint8_t flags, unsigned dir)
{
    f->tcp_flags[dir] |= flags;
    if (f->state == FLOW_NEW && dir == 1 && !(flags & TCP_RST)) {
        f->state = FLOW_ESTABLISHED;
        opened(t, f, OPENING_ANSWERED);
    }
    if (flags & TCP_RST) {
        if (dir == 1)
            opened(t, f, OPENING_REFUSED);
        f->state = FLOW_RESET;
    } else if (f->state != FLOW_RESET && (f->tcp_flags[0] & f->tcp_flags[1] & TCP_FIN)) {
        f->state = FLOW_CLOSED;
    } else {
        return;
    }
    wheel_take(t, f); /* due sooner than before */
    wheel_put(t, f);
}

/*
 * What an ICMP error says of the packet that it quotes. Unreachable: refused. Too many hops: the
 * way was explored, not the target, and the way has answered. Anything else (too big, another
 * router, slow down) is about how to send, and says nothing.
 */
static enum flow_opening reported(const struct flow_key *key)
{
    const bool is_v6 = key->proto == IPPROTO_ICMPV6;

    if (is_v6 ? key->sport == ICMP6_DST_UNREACH
              : key->sport == ICMP_DEST_UNREACH && key->dport != ICMP_FRAG_NEEDED)
        return OPENING_REFUSED;
    return key->sport == (is_v6 ? ICMP6_TIME_EXCEEDED : ICMP_TIME_EXCEEDED) ? OPENING_ANSWERED
                                                                            : OPENING_PENDING;
}

static void hear_report(struct flow_table *t, const struct packet_view *view)
{
    unsigned dir = 0;
    const enum flow_opening how = reported(&view->key);
    struct flow *f = how == OPENING_PENDING
                         ? NULL
                         : find(t, &view->inner, hash_key(&view->inner, t->conf.seed), &dir);

    if (f != NULL && dir == 0 && f->state == FLOW_NEW)
        opened(t, f, how);
}

struct flow *flow_table_touch(struct flow_table *t, const struct packet_view *view, uint32_t hash,
                              uint64_t packet_ns, unsigned *ret_dir)
{
    struct flow_key key = view->key;
    const unsigned turned = as_opened(&key);
    unsigned dir = 0;

    struct flow *f = find(t, &key, hash, &dir);
    if (f != NULL && starts_anew(f, view)) {
        wheel_take(t, f);
        end_flow(t, f, FLOW_END_CLOSED);
        f = NULL;
    }
    if (f == NULL) {
        dir = 0;
        if (key.proto == IPPROTO_TCP &&
            (view->tcp_flags & (TCP_SYN | TCP_ACK)) == (TCP_SYN | TCP_ACK)) {
            decode_answer_key(&view->key, &key); /* the SYN itself was missed */
            dir = 1;
        }
        f = make(t, &key, hash, packet_ns);
    }
    dir |= turned;
    *ret_dir = dir;

    begin_active(t, f);
    f->start_ns = packet_ns < f->start_ns ? packet_ns : f->start_ns;
    f->end_ns = packet_ns > f->end_ns ? packet_ns : f->end_ns;
    flow_stats_packet(&f->stats, dir, packet_ns, view->ip_len, view->payload_wire_len,
                      view->tcp_flags);
    if (key.proto == IPPROTO_TCP) {
        tcp_state(t, f, view->tcp_flags, dir);
    } else if (dir == 1 && f->state == FLOW_NEW) {
        f->state = FLOW_ESTABLISHED;
        opened(t, f, OPENING_ANSWERED);
    }
    if (view->has_inner)
        hear_report(t, view);
    if (f->stats.dir[0].pkts + f->stats.dir[1].pkts == t->conf.first_pkts) {
        t->sink(t->arg, f, RECORD_FLOW_UPDATE, 0);
        f->update_ns = t->clock_ns;
    }
    return f;
}
