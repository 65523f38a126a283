/*
 * flow_table.h - which flow a packet belongs to, and which flows are over.
 *
 * Why      Both directions of a conversation meet in one entry, found by a symmetric hash.
 * Owns     Every struct flow, from flow_table_touch until the sink was told that it ended.
 * Threads  One table a worker; nothing is shared.
 * Bounds   At most conf.max flows of FLOW_TABLE_BYTES, with the index.
 *          When full, the least valuable of a few candidates is ended (FLOW_END_EVICTED): one that
 *          is over, or was not answered, goes before one that was; an idle one before one in use,
 *          a short one before a long one. Memory is touched as it is needed.
 * Time     A clock given by the caller that never runs backwards. Due times live in a wheel of
 *          one-second slots; a jump of the clock costs one turn of the wheel, never more.
 *
 *     NEW -> ESTABLISHED -> CLOSED | RESET -> (ended)     opening: PENDING -> ANSWERED | REFUSED |
 * SILENT
 */
#pragma once

#include "common/base.h"
#include "features/flow_stats.h"
#include "sensor/decode.h"
#include "sensor/dpi.h"
#include "sensor/flow_tcp.h"

struct flow {
    /* first line: what is looked for, and the lists it is in */
    struct flow_key key; /* src opened it */
    uint32_t hash, chain, wheel_next, wheel_prev;
    uint16_t slot;        /* of the wheel */
    uint8_t state;        /* enum flow_state */
    uint8_t opening;      /* enum flow_opening */
    uint8_t tcp_flags[2]; /* all seen, a direction each */
    uint8_t heard;        /* HEARD_*: the worker's, see talk.h */
    uint8_t interface;    /* of the first packet; set by the worker */
    /* second line: times */
    uint64_t flow_id;            /* 0 = not in use */
    uint64_t seen_ns;            /* clock of the last packet: idle time counts from here */
    uint64_t made_ns, update_ns; /* clock of the first packet, of the last update */
    uint64_t start_ns, end_ns;   /* earliest and latest packet time */
    struct dpi_flow *dpi;        /* while nDPI still looks at it */
    /* a line a direction: what the packets add up to */
    struct flow_stats stats;
};
_Static_assert(sizeof(struct flow) == 4 * WIND_CACHE_LINE, "entries share no line");
_Static_assert(offsetof(struct flow, flow_id) == WIND_CACHE_LINE, "two lines without statistics");
_Static_assert(offsetof(struct flow, stats.dir) == 2 * WIND_CACHE_LINE, "one more with them");

/*
 * What happened to a flow, told in the order in which it happened. After RECORD_FLOW_ENDED the
 * entry is the table's again. The sink must not call the table.
 */
typedef void flow_sink(void *arg, struct flow *f, enum record_kind kind, enum flow_end end);

struct flow_table_conf {
    size_t max;
    uint64_t idle_ns;      /* of flows that were answered */
    uint64_t idle_new_ns;  /* of flows that were not */
    uint64_t idle_udp_ns;  /* of answered ones without connections: not TCP; 0 = idle_ns */
    uint64_t half_open_ns; /* of TCP whose opener never went on after the answer; 0 = as answered */
    uint64_t linger_ns;    /* after FIN or RST, so that stragglers don't make a flow of their own */
    uint64_t active_ns;    /* an update at least so often */
    uint32_t first_pkts;   /* and one after so many packets; 0 = none */
    uint32_t burst;    /* flows looked at before one packet, so that it waits no longer; 0 = all */
    uint64_t first_id; /* flow ids count from here */
    uint64_t seed;     /* of the hash */
};

/* What a flow takes: its entry, its connection, its share of the index. */
#define FLOW_TABLE_BYTES (sizeof(struct flow) + sizeof(struct flow_tcp) + 16)

#define FLOW_TABLE_TICK_SHIFT 30                   /* a tick is 2^30 ns, 1.07 s */
#define FLOW_OPENING_WAIT_NS  UINT64_C(1000000000) /* no answer for so long: silent */

struct flow_table;

WIND_MUST_USE int flow_table_new(struct flow_table **ret_table, const struct flow_table_conf *conf,
                                 flow_sink *sink, void *arg, struct err *e);
struct flow_table *flow_table_free(struct flow_table *t);
WIND_DEFINE_FREE(flow_table)

/*
 * Hash of a key, the same both ways; brings the bucket into the cache. Some packets later
 * flow_table_prefetch_flow brings the flow that is probably meant.
 */
uint32_t flow_table_prefetch(const struct flow_table *t, const struct flow_key *key);
void flow_table_prefetch_flow(const struct flow_table *t, uint32_t hash);

/*
 * Account one packet, at the clock of the last flow_table_advance. `hash` is
 * flow_table_prefetch's. Returns the flow, and in *ret_dir the packet's direction (0 to server).
 */
struct flow *flow_table_touch(struct flow_table *t, const struct packet_view *view, uint32_t hash,
                              uint64_t packet_ns, unsigned *ret_dir);

/* An ICMP error about a flow that may be here; flow_table_touch has heard those that it is given.
 */
void flow_table_hear(struct flow_table *t, const struct packet_view *view);

/* Nothing is overdue at a clock of the same tick as the one before. */
static inline uint64_t flow_table_tick(uint64_t clock_ns)
{
    return clock_ns >> FLOW_TABLE_TICK_SHIFT;
}

/*
 * The clock goes on: end what is overdue, but look at conf.burst flows at most; the rest comes at
 * the next calls. Before each packet; cheap when nothing is due.
 */
void flow_table_advance(struct flow_table *t, uint64_t clock_ns);
bool flow_table_is_behind(const struct flow_table *t); /* there is a rest */

/*
 * While held, what is overdue waits, but no longer than FLOW_TABLE_HOLD_TICKS: whoever is told of
 * it has enough to do. Thousands of flows end at one tick, and none need be lost for that.
 */
#define FLOW_TABLE_HOLD_TICKS 3
void flow_table_hold(struct flow_table *t, bool is_held);

/*
 * Hold at most so many from now on, 1 .. conf.max. Those over the limit go two at a time, with each
 * flow that is made, so that no packet waits long.
 */
void flow_table_set_max(struct flow_table *t, size_t max);
size_t flow_table_max(const struct flow_table *t);

/* End everything: FLOW_END_FLUSHED. */
void flow_table_flush(struct flow_table *t);

/* Sequence numbers and flags of a TCP flow. */
const struct flow_tcp *flow_table_tcp(const struct flow_table *t, const struct flow *f);

/* 0 .. conf.max - 1, for state that is kept apart from the hot entry. */
size_t flow_table_index(const struct flow_table *t, const struct flow *f);

size_t flow_table_live(const struct flow_table *t);
/* The id that the next flow gets. */
uint64_t flow_table_next_id(const struct flow_table *t);
