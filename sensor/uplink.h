/*
 * uplink.h - the process that holds disk and network: rings in, eve.json and alerts out.
 *
 * Why      The analyser may neither write nor send. What it made is written, spooled and sent
 *          here, and nothing that it could put into a ring harms this process.
 * Owns     eve.json, the spool, the connection to collector or Kafka. Rings and counters are
 * shared. Threads  The only thread of its process. Bounds   About 1 MiB of lines at a time. A full
 * disk: live tries again (the rings fill, and their producers count) until it is told to stop;
 * replay fails with a sentence. eve.json is locked: two sensors in one folder would write over each
 * other.
 *
 * Order: flow records come in the order of their header.after, whatever ring they lie in, and after
 * every alert whose header.after is as high at most; so eve.json doesn't depend on who was faster.
 * A number that is missing is not waited for.
 *
 * Exactly once, across SIGKILL at any instant: after each write what was reached (offset of
 * eve.json, positions in the rings, index in the spool) is committed to shared memory by flipping
 * between two slots (uplink_state.h); the ring slots are released after that. The next uplink cuts
 * eve.json and spool back to the commit and makes the same bytes again.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"
#include "common/rings.h"
#include "sensor/counter.h"
#include "sensor/eve.h"
#include "sensor/flow_feed.h"
#include "sensor/sender.h"
#include "sensor/sink.h"
#include "sensor/spool.h"
#include "sensor/uplink_state.h"

struct uplink_conf {
    char eve_path[1024];
    struct eve_source source;
    struct sink_conf sink;   /* none set: eve.json only, and no spool */
    int flows;               /* enum flow_feed_which */
    uint64_t flow_sample;    /* FLOW_FEED_SAMPLED: one in so many */
    struct spool_conf spool; /* spool.dir, spool.max ("256mb"), spool.fsync ("1s") */
    bool is_replay;          /* eve.json starts empty, no wall time anywhere */
    uint64_t stats_ns;       /* live: between two stats lines (60 s) */
    uint64_t heartbeat_ns;   /* between two heartbeats to the collector (10 s) */
    uint64_t drain_ns;       /* at the end: how long the spool may take to empty */
};

#define UPLINK_UNDELIVERED 1 /* all is written, but alerts are left in the spool */

/*
 * The body of the uplink process. Flow rings: stage 1; alert ring: stage 0. Returns when
 * counters->producer_done is set, all rings are empty, the last `stats` line is written, and the
 * spool is empty or drain_ns is over (2 s if counters->stop is set; at once if only an operator
 * can help). Returns 0, UPLINK_UNDELIVERED, or < 0 with a sentence.
 */
WIND_MUST_USE int uplink_run(const struct uplink_conf *conf, struct uplink_state *state,
                             const struct rings *flows, struct ring *alerts,
                             struct counters *counters, struct err *e);
