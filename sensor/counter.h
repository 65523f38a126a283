/*
 * counter.h - what the sensor counts: one list, a section of shared memory for each worker.
 *
 * Why      The data path never fails, it counts. Supervisor, analyser and uplink share the
 *          sections, so the numbers outlive any of them; the `stats` record is printed from the
 *          same list.
 * Owns     WORKERS_MAX sections, an array: made before the first fork, freed by the supervisor.
 * Threads  Each counter of a section has one writer; anyone reads, relaxed. Worker i writes
 *          section i; all others write section 0. What a counter says is the sum of the sections.
 *
 * The books, checked after every run by tests/support/books.py:
 *     capture.packets = sum of decoder.* (shed and lost included)
 *     layer.* says what was in them: a packet counts once for each kind of header in it
 *     defrag.started = completed + timed_out + evicted + live, but for those a crash cost
 *     flow.made       = sum of flow.ended_* + flow.live + flow.lost_ring
 *     sum of flow.ended_* = flow.depth_full + flow.depth_detectors + flow.shed, but for crashes
 *     facts.bytes     = 0 where flow.live is 0
 *     alert.raised    = alert.suppressed + alert.lost_ring + alert.lost_crash + alert.published
 *     alert.published = alert.logged + alert.delivered + alert.rejected + alert.spooled (now)
 *                       + alert.lost_spool, once the rings are empty
 *     kafka.flows     = kafka.flows_delivered + kafka.flows_dropped + kafka.flows_waiting (now)
 *     capture.kernel_packets = capture.packets + capture.kernel_drops + capture.kernel_left
 *                              + capture.kernel_lost, at the end of a live run
 */
#pragma once

#include <stdalign.h>
#include <stdatomic.h>
#include <stdint.h>

#include "common/err.h"
#include "common/rings.h"

#define WORKERS_MAX RINGS_MAX

enum counter {
#define COUNTER(group, name, help)  COUNTER_##group##_##name,
#define DECODE(NAME, text, help)    COUNTER_decoder_##NAME,
#define LAYER(name, function, help) COUNTER_layer_##name,
#include "sensor/counter.def"
#undef LAYER
#undef DECODE
#undef COUNTER
    COUNTERS
};

/*
 * A record that is about to be committed, and counted right after. Should its writer be killed
 * between the two, the supervisor counts it: the record is in the ring, and will be read.
 */
struct tally {
    _Atomic uint64_t position, value; /* of the ring's producer and of the counter, before */
    _Atomic uint32_t which;           /* enum counter + 1; 0 = none yet */
};

/* What is told once a run, by whichever worker sees it first. */
enum told {
    TOLD_INTERFACE_LOST,
    TOLD_SPAN_OFFLOAD,
    TOLD_SPAN_DUPLICATES,
    TOLD_SPAN_ONE_WAY,
    TOLD_SPAN_CHECKSUMS
};

#define COUNTERS_ALERTS 1024

struct counters {
    alignas(2 * WIND_CACHE_LINE) _Atomic uint64_t value[COUNTERS];
    struct tally flow_tally, alert_tally; /* written by the worker; by the analysis */
    /* Not counters, but shared the same way: of the worker, */
    _Atomic uint64_t clock_ns; /* its packet-time clock */
    _Atomic uint64_t position; /* packets it took from its input: where a successor goes on */
    _Atomic uint64_t order;    /* no record that it still makes has a header.order below this */
    _Atomic uint64_t flow_sequence;
    _Atomic uint64_t flow_max; /* supervisor: flows it may hold from now on; 0 = as it was made */
    /* and in section 0 alone: */
    _Atomic uint64_t alert_sequence;            /* next alert's number: goes on after a crash */
    _Atomic uint64_t record_sequence;           /* flow records that the analysis has released */
    _Atomic uint32_t producer_done;             /* analyser: everything is in the rings */
    _Atomic uint32_t stop;                      /* supervisor: finish what is in hand and end */
    _Atomic uint32_t told;                      /* bit enum told: has been told */
    _Atomic uint64_t alert_lines;               /* uplink: of eve.json that are alerts, */
    _Atomic uint64_t alert_at[COUNTERS_ALERTS]; /* and where the first of them begin */
};

#define COUNTERS_ORDER_END UINT64_MAX /* .order: the worker makes no record any more */

struct counter_info {
    const char *group, *name, *help;
};
extern const struct counter_info counter_info[COUNTERS];

WIND_MUST_USE int counters_new(struct counters **ret_counters, struct err *e);
struct counters *counters_free(struct counters *c);
WIND_DEFINE_FREE(counters)

/* Single writer: a relaxed load and store is enough, and compiles to one add. */
static inline void counters_add(struct counters *c, enum counter which, uint64_t n)
{
    _Atomic uint64_t *v = &c->value[which];
    atomic_store_explicit(v, atomic_load_explicit(v, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

/* Just before ring_commit; then ring_commit, then counters_add(c, which, 1). */
static inline void tally_begin(const struct counters *c, struct tally *t, enum counter which,
                               uint64_t produced)
{
    atomic_store_explicit(&t->position, produced, memory_order_release);
    atomic_store_explicit(&t->which, (uint32_t)which + 1, memory_order_release);
    atomic_store_explicit(&t->value, atomic_load_explicit(&c->value[which], memory_order_relaxed),
                          memory_order_release);
}

/* Its writer is dead, and the ring's producer stands at `produced`. */
void tally_settle(struct counters *c, const struct tally *t, uint64_t produced);

static inline void counters_set(struct counters *c, enum counter which, uint64_t n)
{
    atomic_store_explicit(&c->value[which], n, memory_order_relaxed);
}

/* Of one section. */
static inline uint64_t counters_get(const struct counters *c, enum counter which)
{
    return atomic_load_explicit(&c->value[which], memory_order_relaxed);
}

/* How far the last of so many workers has come. */
uint64_t counters_position(const struct counters *sections, unsigned workers);

/* Of all sections; the latest clock of all workers; the packets that all of them took. */
uint64_t counters_sum(const struct counters *sections, enum counter which);
uint64_t counters_clock(const struct counters *sections);
uint64_t counters_taken(const struct counters *sections);
