/*
 * worker.h - packets in, flow records out: the loop.
 *
 * Owns     Flow table and what is said on the flows. Borrows capture, ring and counters.
 * Threads  All of it belongs to the thread that calls worker_step.
 * Bounds   A batch is at most CAPTURE_BATCH packets. A full ring: live refuses the record and
 *          counts it, until worker_flush; replay calls `relieve` until there is room.
 *
 * Sharing workers each see every packet: the clock, time-outs and fragments are the same for all. A
 * packet is decoded fully, counted and accounted by one of them (share.h): what is no packet of a
 * flow by worker 0, which also counts what all of them do alike (defrag, time that runs backwards).
 *
 * Step 1 to 4 of the path of a packet:
 *     capture_recv -> decode_packet -> flow_table_touch -> talk_packet -> feature_flow -> ring
 */
#pragma once

#include "common/ring.h"
#include "sensor/board.h"
#include "sensor/capture.h"
#include "sensor/counter.h"
#include "sensor/defrag.h"
#include "sensor/flow_table.h"
#include "sensor/talk.h"

struct worker;

struct worker_conf {
    struct flow_table_conf flows;
    struct decode_conf decode; /* but for .defrag */
    struct defrag_conf defrag; /* max 0: without; but for .counters */
    struct capture *capture;
    struct talk_conf talk; /* .dpi, .listener.memory and .streams */
    struct ring *ring;
    struct counters *counters;
    _Atomic uint32_t *told; /* of all workers together; NULL: our own counters' */
    unsigned number;        /* which worker of the sensor: it is in the flow ids */
    struct board *board;    /* replay: where several get the same packets, a share each */
    unsigned place;         /* ours at the board */
    unsigned sharing;       /* replay: so many read the same packets, a share each; else 0 */
    bool span_check;        /* look at what a mirror port spoils (span_check.h); worker 0 judges */
    uint32_t frame_max;     /* of the link; 0 = that of Ethernet */
    bool is_defragmented;   /* the kernel has put fragments of IPv4 together */
    uint32_t anomalies;     /* of packets, told a second of packet time and verdict; 0 = none */
    bool has_ladder;        /* do less for ordinary flows as the ring fills (ladder.h) */
    enum analysis_level level; /* ANALYSIS_COUNTERS: no records at all */
    double speed;              /* replay: packets come as fast as then, times this; 0 = at once */
    /* Replay: the ring is full, or there is time; let the later stages run. NULL: they do. */
    void (*relieve)(void *arg);
    void *relieve_arg;
};

WIND_MUST_USE int worker_new(struct worker **ret_worker, const struct worker_conf *conf,
                             struct err *e);
struct worker *worker_free(struct worker *w);
WIND_DEFINE_FREE(worker)

/*
 * Take a batch of packets through; waits at most wait_ms for the first. Returns how many there
 * were. Live, time goes on without packets, and so do the time-outs.
 */
size_t worker_step(struct worker *w, int wait_ms);

/* The input is over, or enough: take what has already come, end every flow. No record comes after.
 */
void worker_flush(struct worker *w);

/* The clock: a running maximum of packet times; live, of the wall clock too. */
uint64_t worker_clock(const struct worker *w);
