/*
 * flow_watch.h - a flow table, packets for it, and everything it told, for tests.
 */
#pragma once

#include <criterion/criterion.h>

#include "common/time.h"
#include "sensor/flow_table.h"
#include "support/views.h"

#define S WIND_NS_PER_S

/* What the table told. */
struct told {
    enum record_kind kind;
    enum flow_end end;
    uint64_t id, clock_ns, pkts[2], bytes[2];
    uint8_t opening, state;
    struct flow_key key;
};

static struct {
    struct flow_table *table;
    uint64_t clock_ns;
    struct told told[16384];
    size_t n;
} t;

static inline void take(void *arg, struct flow *f, enum record_kind kind, enum flow_end end)
{
    (void)arg;
    cr_assert_lt(t.n, WIND_ARRAY_SIZE(t.told));
    t.told[t.n++] = (struct told){.kind = kind,
                                  .end = end,
                                  .id = f->flow_id,
                                  .clock_ns = t.clock_ns,
                                  .pkts = {f->stats.dir[0].pkts, f->stats.dir[1].pkts},
                                  .bytes = {f->stats.dir[0].bytes, f->stats.dir[1].bytes},
                                  .opening = f->opening,
                                  .state = f->state,
                                  .key = f->key};
}

static const struct flow_table_conf ordinary = {.max = 1024,
                                                .idle_ns = 120 * S,
                                                .idle_new_ns = 30 * S,
                                                .linger_ns = 2 * S,
                                                .active_ns = 60 * S,
                                                .first_id = 1,
                                                .seed = 42};

static inline void with(const struct flow_table_conf *conf)
{
    t.table = flow_table_free(t.table);
    t.n = 0;
    t.clock_ns = VIEW_T0;
    cr_assert_eq(flow_table_new(&t.table, conf, take, NULL, NULL), 0);
}

static inline void set_up(void)
{
    with(&ordinary);
}

static inline void tear_down(void)
{
    t.table = flow_table_free(t.table);
}

static inline void advance_to(uint64_t after_ns)
{
    t.clock_ns = VIEW_T0 + after_ns;
    flow_table_advance(t.table, t.clock_ns);
}

static inline struct flow *packet_at(uint64_t after_ns, struct packet_view v, unsigned *ret_dir)
{
    unsigned dir = 9;

    advance_to(after_ns);
    struct flow *f = flow_table_touch(t.table, &v, flow_table_prefetch(t.table, &v.key),
                                      VIEW_T0 + after_ns, &dir);
    cr_assert_lt(dir, 2);
    if (ret_dir != NULL)
        *ret_dir = dir;
    return f;
}

static inline unsigned direction(uint64_t after_ns, struct packet_view v)
{
    unsigned dir;

    (void)packet_at(after_ns, v, &dir);
    return dir;
}

/* The n-th thing of that kind that was told, or NULL. */
static inline const struct told *nth(enum record_kind kind, size_t n)
{
    for (size_t i = 0; i < t.n; i++)
        if (t.told[i].kind == kind && n-- == 0)
            return &t.told[i];
    return NULL;
}

static inline size_t how_many(enum record_kind kind)
{
    size_t n = 0;

    for (size_t i = 0; i < t.n; i++)
        n += t.told[i].kind == kind;
    return n;
}

static inline bool same_key(struct flow_key a, struct flow_key b)
{
    return memcmp(&a, &b, sizeof(a)) == 0;
}

/* SYN, SYN-ACK, ACK from `at` on, a millisecond apart. */
static inline void handshake(uint64_t at, unsigned sport)
{
    (void)packet_at(at, view_tcp(1, sport, 2, 80, TCP_SYN), NULL);
    (void)packet_at(at + 1000000, view_tcp(2, 80, 1, sport, TCP_SYN | TCP_ACK), NULL);
    (void)packet_at(at + 2000000, view_tcp(1, sport, 2, 80, TCP_ACK), NULL);
}
