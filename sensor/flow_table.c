#include "sensor/flow_table.h"

#include <errno.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "common/huge.h"
#include "sensor/flow_key.h"
#include "sensor/flow_life.h"

#define NONE         UINT32_MAX
#define WHEEL_SLOTS  1024u
#define EVICT_SAMPLE 8u
#define AHEAD        8 /* entries, when all of them are visited */

/*
 * Entries are found by index: bucket[hash] -> chain -> chain. Free entries are chained the same
 * way; those never used lie above `used`, so memory is touched only as the table grows.
 */
struct flow_table {
    struct flow_table_conf conf;
    flow_sink *sink;
    void *arg;
    void *block;
    struct flow *flows; /* in the block */
    struct flow_tcp *tcp;
    uint32_t *bucket;
    uint32_t mask, used, free, hand;
    size_t live, limit; /* at most conf.max */
    uint64_t next_id;
    uint64_t clock_ns, tick; /* the wheel has been turned up to here ... */
    bool is_midway;          /* ... but for the rest of that slot */
    bool is_held;
    uint32_t wheel[WHEEL_SLOTS];
};

static uint32_t index_of(const struct flow_table *t, const struct flow *f)
{
    return (uint32_t)(f - t->flows);
}

/* ---------------------------------------------------------------- life */

static struct flow *on_a_line(void *block)
{
    const size_t off = (uintptr_t)block % WIND_CACHE_LINE;

    return (struct flow *)(void *)((char *)block + (off == 0 ? 0 : WIND_CACHE_LINE - off));
}

int flow_table_new(struct flow_table **ret_table, const struct flow_table_conf *conf,
                   flow_sink *sink, void *arg, struct err *e)
{
    uint32_t buckets = 1024;

    while (buckets < conf->max + conf->max / 2 && buckets < UINT32_C(1) << 30)
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
    t->limit = conf->max;
    for (uint32_t i = 0; i < WHEEL_SLOTS; i++)
        t->wheel[i] = NONE;

    t->bucket = malloc(buckets * sizeof(uint32_t));
    /* Pages come as they are used. One more than there are: entries start on a cache line. */
    t->block = calloc(conf->max + 1, sizeof(struct flow));
    t->tcp = calloc(conf->max, sizeof(struct flow_tcp));
    if (t->bucket == NULL || t->block == NULL || t->tcp == NULL)
        return err_set(e, -ENOMEM, "flow.max: no memory for %zu flows", conf->max);
    huge_advise(t->bucket, buckets * sizeof(uint32_t));
    huge_advise(t->block, (conf->max + 1) * sizeof(struct flow));
    huge_advise(t->tcp, conf->max * sizeof(struct flow_tcp));
    t->flows = on_a_line(t->block);
    memset(t->bucket, 0xff, buckets * sizeof(uint32_t)); /* NONE */
    *ret_table = WIND_STEAL(t);
    return 0;
}

struct flow_table *flow_table_free(struct flow_table *t)
{
    if (t != NULL) {
        free(t->bucket);
        free(t->block);
        free(t->tcp);
        free(t);
    }
    return NULL;
}

size_t flow_table_live(const struct flow_table *t)
{
    return t->live;
}

size_t flow_table_max(const struct flow_table *t)
{
    return t->limit;
}

size_t flow_table_index(const struct flow_table *t, const struct flow *f)
{
    return index_of(t, f);
}

const struct flow_tcp *flow_table_tcp(const struct flow_table *t, const struct flow *f)
{
    return &t->tcp[index_of(t, f)];
}

uint64_t flow_table_next_id(const struct flow_table *t)
{
    return t->next_id;
}

/* ---------------------------------------------------------------- look-up */

uint32_t flow_table_prefetch(const struct flow_table *t, const struct flow_key *key)
{
    const uint32_t hash = flow_key_hash(key, t->conf.seed);

    __builtin_prefetch(&t->bucket[hash & t->mask]);
    return hash;
}

void flow_table_prefetch_flow(const struct flow_table *t, uint32_t hash)
{
    const uint32_t i = t->bucket[hash & t->mask];

    if (i == NONE)
        return;
    for (size_t line = 0; line < sizeof(struct flow); line += WIND_CACHE_LINE)
        __builtin_prefetch((const char *)&t->flows[i] + line, 1);
    __builtin_prefetch(&t->tcp[i], 1);
}

static struct flow *find(struct flow_table *t, const struct flow_key *key, uint32_t hash,
                         unsigned *ret_dir)
{
    for (uint32_t i = t->bucket[hash & t->mask]; i != NONE; i = t->flows[i].chain) {
        struct flow *f = &t->flows[i];
        if (f->hash != hash)
            continue;
        if (memcmp(&f->key, key, sizeof(*key)) == 0) {
            *ret_dir = 0;
            return f;
        }
        if (flow_key_is_answer(&f->key, key)) {
            *ret_dir = 1;
            return f;
        }
    }
    return NULL;
}

/* ---------------------------------------------------------------- wheel */

static void wheel_put(struct flow_table *t, struct flow *f)
{
    const uint32_t i = index_of(t, f);
    uint64_t tick = (flow_due(&t->conf, f) >> FLOW_TABLE_TICK_SHIFT) +
                    1; /* the first tick that lies behind it */

    if (tick <= t->tick)
        tick = t->tick + 1;
    if (tick > t->tick + WHEEL_SLOTS - 1) /* it is looked at then, and put further */
        tick = t->tick + WHEEL_SLOTS - 1;
    f->slot = (uint16_t)(tick % WHEEL_SLOTS);
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
    if (f->seen_ns + flow_patience(&t->conf, f) <= t->clock_ns) {
        end_flow(t, f, flow_is_over(f) ? FLOW_END_CLOSED : FLOW_END_IDLE);
        return;
    }
    if (f->made_ns + FLOW_OPENING_WAIT_NS <= t->clock_ns)
        opened(t, f, unseen(f));
    if (flow_update_due(&t->conf, f) <= t->clock_ns) {
        t->sink(t->arg, f, RECORD_FLOW_UPDATE, 0);
        f->update_ns = t->clock_ns;
    }
    wheel_put(t, f);
}

/* Look at the flows of a slot, as many as `budget` allows. Returns whether that was all. */
static bool turn(struct flow_table *t, uint64_t tick, size_t *budget)
{
    const uint32_t *const first = &t->wheel[tick % WHEEL_SLOTS];

    while (*first != NONE) {
        struct flow *f = &t->flows[*first];

        if ((*budget)-- == 0)
            return false;
        wheel_take(t, f);
        look_at(t, f);
    }
    return true;
}

/* A gap: one turn shows every flow, once: what is put back may come into the slot at hand. */
static void jump(struct flow_table *t, uint64_t now)
{
    const uint64_t from = t->tick;

    t->tick = now;
    for (uint64_t tick = from + 1; tick <= from + WHEEL_SLOTS; tick++) {
        uint32_t i = t->wheel[tick % WHEEL_SLOTS];

        t->wheel[tick % WHEEL_SLOTS] = NONE;
        while (i != NONE) {
            struct flow *f = &t->flows[i];
            i = f->wheel_next;
            look_at(t, f);
        }
    }
    t->is_midway = false;
}

void flow_table_advance(struct flow_table *t, uint64_t clock_ns)
{
    size_t budget = t->conf.burst > 0 ? t->conf.burst : SIZE_MAX;

    if (clock_ns <= t->clock_ns && !t->is_midway)
        return;
    t->clock_ns = clock_ns > t->clock_ns ? clock_ns : t->clock_ns;

    const uint64_t now = flow_table_tick(t->clock_ns);
    if (now - t->tick > WHEEL_SLOTS)
        jump(t, now);
    const uint64_t upto =
        t->is_held && now > FLOW_TABLE_HOLD_TICKS ? now - FLOW_TABLE_HOLD_TICKS : now;
    while (t->tick < upto || (t->is_midway && t->tick == upto)) {
        t->tick += !t->is_midway;
        t->is_midway = !turn(t, t->tick, &budget);
        if (t->is_midway)
            return;
    }
}

void flow_table_hold(struct flow_table *t, bool is_held)
{
    t->is_held = is_held;
}

bool flow_table_is_behind(const struct flow_table *t)
{
    return t->is_midway;
}

void flow_table_flush(struct flow_table *t)
{
    for (uint32_t i = 0; i < t->used; i++) {
        struct flow *f = &t->flows[i];
        if (i + AHEAD < t->used)
            __builtin_prefetch(&t->bucket[f[AHEAD].hash & t->mask], 1);
        if (f->flow_id == 0)
            continue;
        wheel_take(t, f);
        end_flow(t, f, flow_is_over(f) ? FLOW_END_CLOSED : FLOW_END_FLUSHED);
    }
}

/* The least valuable of the candidates under the hand, or NULL when none of those is in use. */
static struct flow *pick(const struct flow_table *t, uint32_t stride)
{
    struct flow *victim = NULL;
    uint64_t most = 0;

    for (uint32_t i = t->hand; i < t->used; i += stride) {
        struct flow *f = &t->flows[i];
        const uint64_t value = f->flow_id == 0 ? 0 : flow_dispensable(f, t->clock_ns);

        __builtin_prefetch(f + 1); /* for the next time */
        __builtin_prefetch((const char *)(f + 1) + WIND_CACHE_LINE);
        if (f->flow_id != 0 && (victim == NULL || value > most)) {
            most = value;
            victim = f;
        }
    }
    return victim;
}

/*
 * The least valuable of a few, which lie far from each other: a hand goes round, so that each flow
 * comes under it. A flood of openings pushes out its own, and conversations stay; an honest
 * opening has the time of a round to be answered in.
 */
static void evict(struct flow_table *t)
{
    const uint32_t stride = (t->used + EVICT_SAMPLE - 1) / EVICT_SAMPLE;
    struct flow *victim = NULL;

    while (victim == NULL) { /* one round at most: there is a flow */
        t->hand = t->hand < stride ? t->hand : 0;
        victim = pick(t, stride);
        t->hand++;
    }
    wheel_take(t, victim);
    end_flow(t, victim, FLOW_END_EVICTED);
}

void flow_table_set_max(struct flow_table *t, size_t max)
{
    t->limit = max < t->conf.max ? max : t->conf.max;
    t->limit = t->limit > 0 ? t->limit : 1;
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
    for (unsigned n = 0; t->live >= t->limit && (n < 2 || t->live == t->conf.max); n++)
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
    return flow_is_over(f) && f->key.proto == IPPROTO_TCP &&
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

void flow_table_hear(struct flow_table *t, const struct packet_view *view)
{
    unsigned dir = 0;
    const enum flow_opening how = reported(&view->key);
    struct flow *f = how == OPENING_PENDING
                         ? NULL
                         : find(t, &view->inner, flow_key_hash(&view->inner, t->conf.seed), &dir);

    if (f != NULL && dir == 0 && f->state == FLOW_NEW)
        opened(t, f, how);
}

/* Ports on which servers listen, that no client takes by itself. */
static bool is_service(uint16_t port)
{
    static const uint16_t above[] = {1433, 1521, 1883, 3128, 3268,  3306,  3389, 5060, 5222,
                                     5432, 5671, 5672, 5900, 6379,  8000,  8080, 8443, 8883,
                                     9042, 9092, 9200, 9418, 11211, 25565, 27017};

    if (port < 1024)
        return port != 0;
    for (size_t i = 0; i < WIND_ARRAY_SIZE(above); i++)
        if (above[i] == port)
            return true;
    return false;
}

/*
 * Who opened the flow that this packet is the first of, as far as we see? With TCP the SYN says
 * so. Else what comes from a service to a port that is none is an answer, whose question was
 * missed, or never asked. (So a UDP scan from port 53 looks like answers, as it wants to: whom
 * it is sent to says ICMP.)
 */
static unsigned first_direction(const struct packet_view *view)
{
    const struct flow_key *k = &view->key;

    if (k->proto == IPPROTO_TCP && (view->tcp_flags & TCP_SYN))
        return (view->tcp_flags & TCP_ACK) != 0;
    if (k->proto != IPPROTO_TCP && k->proto != IPPROTO_UDP && k->proto != IPPROTO_SCTP)
        return 0;
    return is_service(k->sport) && !is_service(k->dport);
}

static void begin_tcp(struct flow_tcp *tcp, unsigned dir)
{
    *tcp = (struct flow_tcp){0};
    if (dir == 1)
        flow_tcp_turned(tcp);
}

struct flow *flow_table_touch(struct flow_table *t, const struct packet_view *view, uint32_t hash,
                              uint64_t packet_ns, unsigned *ret_dir)
{
    struct flow_key key = view->key;
    const unsigned turned = flow_key_as_opened(&key);
    unsigned dir = 0;

    struct flow *f = find(t, &key, hash, &dir);
    if (f != NULL && starts_anew(f, view)) {
        wheel_take(t, f);
        end_flow(t, f, FLOW_END_CLOSED);
        f = NULL;
    }
    if (f == NULL) {
        dir = turned ? 0 : first_direction(view);
        if (dir == 1)
            decode_answer_key(&view->key, &key);
        f = make(t, &key, hash, packet_ns);
        if (key.proto == IPPROTO_TCP)
            begin_tcp(&t->tcp[index_of(t, f)], dir);
    }
    dir |= turned;
    *ret_dir = dir;

    begin_active(t, f);
    f->start_ns = packet_ns < f->start_ns ? packet_ns : f->start_ns;
    f->end_ns = packet_ns > f->end_ns ? packet_ns : f->end_ns;
    flow_stats_packet(&f->stats, dir, packet_ns, view->ip_len, view->payload_wire_len,
                      view->tcp_flags);
    if (key.proto == IPPROTO_TCP) {
        flow_tcp_packet(&t->tcp[index_of(t, f)], view, dir);
        tcp_state(t, f, view->tcp_flags, dir);
    } else if (dir == 1 && f->state == FLOW_NEW) {
        f->state = FLOW_ESTABLISHED;
        opened(t, f, OPENING_ANSWERED);
    }
    if (view->has_inner)
        flow_table_hear(t, view);
    if (f->stats.dir[0].pkts + f->stats.dir[1].pkts == t->conf.first_pkts) {
        t->sink(t->arg, f, RECORD_FLOW_UPDATE, 0);
        f->update_ns = t->clock_ns;
    }
    return f;
}
