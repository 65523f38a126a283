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
 * between two slots; the ring slots are released after that. The next uplink cuts eve.json and
 * spool back to the commit and makes the same bytes again.
 *
 * The state must not be mapped in the analyser (MADV_DONTFORK, or unmap it there).
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"
#include "common/rings.h"
#include "sensor/counter.h"
#include "sensor/eve.h"
#include "sensor/eve_file.h"
#include "sensor/sender.h"
#include "sensor/sink.h"
#include "sensor/spool.h"

/* Which flows go to Kafka, with their features. */
enum uplink_flows {
    UPLINK_FLOWS_NONE,
    UPLINK_FLOWS_ALERTED, /* evidence of an alert */
    UPLINK_FLOWS_SAMPLED, /* these, and a sample of the others: by flow id */
    UPLINK_FLOWS_ALL
};

struct uplink_conf {
    char eve_path[1024];
    struct eve_source source;
    struct sink_conf sink;   /* none set: eve.json only, and no spool */
    int flows;               /* enum uplink_flows, to Kafka */
    uint64_t flow_sample;    /* one in so many of the others */
    struct spool_conf spool; /* spool.dir, spool.max ("256mb"), spool.fsync ("1s") */
    bool is_replay;          /* eve.json starts empty, no wall time anywhere */
    uint64_t stats_ns;       /* live: between two stats lines (60 s) */
    uint64_t heartbeat_ns;   /* between two heartbeats to the collector (10 s) */
    uint64_t drain_ns;       /* at the end: how long the spool may take to empty */
};

struct uplink_commit {
    struct eve_place eve;
    uint64_t flow_pos[RINGS_MAX], alert_pos; /* ring positions that are written out */
    uint64_t spool_next;
    struct sender_books books;
    struct sink_books others; /* flows and signs of life */
    uint64_t records, bad_records, lines, alert_lines, logged, write_errors;
    uint32_t reopened;
    bool is_started, is_finished;
};

/* In shared memory, made before the first fork, zeroed. It outlives every uplink. */
struct uplink_state {
    _Atomic uint32_t current; /* the slot that counts */
    _Atomic uint32_t reopen;  /* supervisor: raise it after eve.json was moved away */
    struct uplink_commit slot[2];
};

WIND_MUST_USE int uplink_state_new(struct uplink_state **ret_state, struct err *e);
struct uplink_state *uplink_state_free(struct uplink_state *s);
WIND_DEFINE_FREE(uplink_state)

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
