/* The flow table against a slow, simple model of it, with random packets and times. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "support/flow_watch.h"

TestSuite(flow_table, .init = set_up, .fini = tear_down);

#define MODEL_FLOWS 4096

struct model_flow {
    struct flow_key key;
    uint64_t seen_ns, pkts[2], bytes[2];
    enum flow_state state;
    uint8_t flags[2];
    bool is_over;
};

static struct {
    struct model_flow flow[MODEL_FLOWS];
    size_t n;
} model;

static struct model_flow *model_find(struct flow_key key, unsigned *dir)
{
    const struct flow_key back = view_reversed(key);

    for (size_t i = model.n; i-- > 0;) {
        struct model_flow *f = &model.flow[i];
        if (f->is_over)
            continue;
        if (same_key(f->key, key) || same_key(f->key, back)) {
            *dir = !same_key(f->key, key);
            return f;
        }
    }
    return NULL;
}

/* Ends by FIN, RST and idleness; the table may be up to two ticks late with the latter. */
static void model_touch(struct packet_view v)
{
    unsigned dir = 0;
    struct model_flow *f = model_find(v.key, &dir);
    const unsigned opens = v.tcp_flags & (TCP_SYN | TCP_ACK);

    if (f != NULL && f->state >= FLOW_CLOSED && opens == TCP_SYN) {
        f->is_over = true;
        f = NULL;
    }
    if (f == NULL) {
        cr_assert_lt(model.n, MODEL_FLOWS);
        f = &model.flow[model.n++];
        dir = v.key.proto == IPPROTO_TCP && opens == (TCP_SYN | TCP_ACK);
        *f = (struct model_flow){.key = dir ? view_reversed(v.key) : v.key};
    }
    f->seen_ns = t.clock_ns;
    f->pkts[dir]++;
    f->bytes[dir] += v.ip_len;
    f->flags[dir] |= v.tcp_flags;
    if (f->state == FLOW_NEW && dir == 1 && !(v.tcp_flags & TCP_RST))
        f->state = FLOW_ESTABLISHED;
    if (v.tcp_flags & TCP_RST)
        f->state = FLOW_RESET;
    else if (f->state != FLOW_RESET && (f->flags[0] & f->flags[1] & TCP_FIN))
        f->state = FLOW_CLOSED;
}

static struct packet_view random_packet(void)
{
    static const uint8_t flags[] = {TCP_SYN, TCP_SYN | TCP_ACK, TCP_ACK,
                                    TCP_ACK, TCP_FIN | TCP_ACK, TCP_RST};
    const unsigned a = (unsigned)rand() % 4, b = (unsigned)rand() % 4;
    const unsigned pa = 2000 + (unsigned)rand() % 6, pb = 2000 + (unsigned)rand() % 6;

    if (rand() % 3 == 0)
        return view_udp(a, pa, b, pb);
    return view_tcp(a, pa, b, pb, flags[(size_t)rand() % WIND_ARRAY_SIZE(flags)]);
}

static size_t model_count(const struct told *e)
{
    size_t n = 0;

    for (size_t i = 0; i < model.n; i++) {
        const struct model_flow *f = &model.flow[i];
        n += same_key(f->key, e->key) && f->pkts[0] == e->pkts[0] && f->pkts[1] == e->pkts[1] &&
             f->bytes[0] == e->bytes[0] && f->bytes[1] == e->bytes[1] && f->state == e->state;
    }
    return n;
}

Test(flow_table, random_packets_make_the_same_flows_as_the_simple_model)
{
    for (unsigned seed = 1; seed <= 40; seed++) {
        srand(seed);
        set_up();
        model.n = 0;
        for (unsigned i = 0; i < 800; i++) { /* within 1.6 s: nothing idles out, or lingers out */
            const struct packet_view v = random_packet();
            (void)packet_at(i * UINT64_C(2000000), v, NULL);
            model_touch(v);
        }
        flow_table_flush(t.table);
        cr_assert_eq(how_many(RECORD_FLOW_ENDED), model.n, "seed %u: %zu, not %zu", seed,
                     how_many(RECORD_FLOW_ENDED), model.n);
        cr_assert_eq(how_many(RECORD_FLOW_OPENED), model.n, "seed %u", seed);
        for (size_t i = 0; i < t.n; i++)
            if (t.told[i].kind == RECORD_FLOW_ENDED)
                cr_assert_geq(model_count(&t.told[i]), 1, "seed %u: flow %lu", seed, t.told[i].id);
    }
}

/* Times of all sizes: nothing is told twice, lost, ended early, or ended later than two ticks. */
Test(flow_table, random_times_end_each_flow_once_and_in_time)
{
    for (unsigned seed = 1; seed <= 40; seed++) {
        uint64_t now = 0, packets = 0, told = 0;

        srand(seed);
        set_up();
        for (unsigned i = 0; i < 600; i++) {
            const unsigned step = (unsigned)rand() % 10;
            now += step < 6   ? (uint64_t)rand() % 100000000
                   : step < 9 ? (uint64_t)rand() % 20 * S
                              : (uint64_t)rand() % 3000 * S;
            const size_t before = t.n;
            advance_to(now);
            for (size_t j = before; j < t.n; j++)
                cr_assert(t.told[j].end != FLOW_END_EVICTED && t.told[j].end != FLOW_END_FLUSHED);
            (void)packet_at(now, view_udp((unsigned)rand() % 5, 1, 9, 53), NULL);
            packets++;
        }
        flow_table_flush(t.table);
        for (size_t i = 0; i < t.n; i++)
            told += t.told[i].kind == RECORD_FLOW_ENDED ? t.told[i].pkts[0] : 0;
        cr_assert_eq(told, packets, "seed %u", seed);
        cr_assert_eq(how_many(RECORD_FLOW_ENDED), flow_table_next_id(t.table) - 1);
        cr_assert_eq(how_many(RECORD_FLOW_OPENED), flow_table_next_id(t.table) - 1);
    }
}
