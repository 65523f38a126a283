/*
 * worker_state.h - what a worker consists of. Only worker*.c include this.
 *
 * Why      worker.c is the loop; what it tells is in worker_record.c, how it shares packets with
 *          others in worker_share.c.
 * Owns     See worker.h.
 * Threads  The worker's own.
 */
#pragma once

#include "sensor/ladder.h"
#include "sensor/span_check.h"
#include "sensor/worker.h"

struct worker {
    struct worker_conf conf;
    struct flow_table *flows;
    struct span_check *span; /* NULL: nobody asked */
    struct talk *talk;       /* beside the table: touched once a flow, not once a packet */
    struct ladder ladder;
    uint32_t events; /* that the table told */
    uint64_t clock_ns;
    uint64_t order; /* replay: place in the input of the packet in hand */
    bool is_live;
    struct counters *alike, *aside; /* of what sharing workers do alike: worker 0's counts */
    struct {
        uint64_t second;
        uint32_t told;
    } odd[DECODE_VERDICTS]; /* DECODE_OK: overlaps */
    bool is_discarding;     /* worker_free: nobody is told of the flows that are left */
    bool may_wait; /* for room in the ring: replay always, live when no packet is waiting for us */
    uint64_t followed_ns, followed_mono_ns; /* live: our clock and the monotonic one */
    uint64_t pace_packet_ns, pace_mono_ns;  /* where the replay's pace started */
    uint64_t kernel_ns;                     /* when it was asked last, and its answer: */
    struct capture_stats kernel;
};

/* What decoding says of the packets of a batch. */
struct worker_batch {
    struct packet_view view[CAPTURE_BATCH];
    enum decode_verdict verdict[CAPTURE_BATCH]; /* or, of a packet that is another worker's: */
    uint32_t hash[CAPTURE_BATCH];
};

#define WORKER_REPORT ((enum decode_verdict)DECODE_VERDICTS) /* is about a flow of ours */
#define WORKER_OTHERS ((enum decode_verdict)(DECODE_VERDICTS + 1))

static inline void worker_relieve(const struct worker *w)
{
    if (w->conf.relieve != NULL)
        w->conf.relieve(w->conf.relieve_arg);
}

/* In whose place the merge puts a record of now. */
static inline uint64_t worker_order_now(const struct worker *w)
{
    return w->is_live ? w->clock_ns : w->order;
}

/* ---------------------------------------------------------------- worker_record.c */

/* The flow table's sink, and the listener's. */
void worker_on_flow(void *arg, struct flow *f, enum record_kind kind, enum flow_end end);
void worker_on_named(void *arg, const struct listener_named *named);

/* Is there more than the later stages get done? Then less for each, and the other way round. */
void worker_climb(struct worker *w);

/* What is odd about a packet; what a mirror port spoils; of the input, once a run; of one file. */
void worker_tell_oddity(struct worker *w, enum decode_verdict verdict, const struct packet *p,
                        const struct packet_view *v);
void worker_judge_span(struct worker *w);
void worker_tell_once(struct worker *w, enum told what, const char *event, const char *text);
void worker_tell_fault(struct worker *w, enum capture_state state, const struct err *what);

/* ---------------------------------------------------------------- worker.c */

/*
 * Decode and hash the whole batch first, then ask for the flows: so the memory of the buckets, and
 * then of the flows, is on its way when it is touched. `is_ours`: NULL: all of them. Returns how
 * many are.
 */
size_t worker_decode_batch(struct worker *w, const struct packet *packets, size_t n,
                           const bool *is_ours, struct worker_batch *b);

/* Packet i of the batch, at the clock as it is now. */
void worker_account(struct worker *w, const struct packet *p, const struct worker_batch *b,
                    size_t i);

/* Replay as fast as it was recorded, times speed; meanwhile the later stages go on. */
void worker_keep_pace(struct worker *w, uint64_t packet_ns);

/* ---------------------------------------------------------------- worker_share.c */

/* The next batch of the board. Returns 0 when there is none. */
size_t worker_take_shared(struct worker *w, int wait_ms);
