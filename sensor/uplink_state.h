/*
 * uplink_state.h - what an uplink has reached: it outlives the uplink.
 *
 * Why      A killed uplink's successor goes on where the last commit stood, and counts on.
 * Owns     Shared memory of two slots, one of which counts.
 * Threads  The uplink writes, whoever made it frees.
 * Bounds   Fixed size. It must not be mapped in the analyser (unmap it there).
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"
#include "common/rings.h"
#include "sensor/counter.h"
#include "sensor/eve_file.h"
#include "sensor/sender.h"
#include "sensor/sink.h"
#include "sensor/spool.h"

struct uplink_commit {
    struct eve_place eve;
    uint64_t flow_pos[RINGS_MAX], alert_pos; /* ring positions that are written out */
    uint64_t spool_next;
    struct sender_books books;
    struct sink_books others; /* flows and signs of life */
    uint64_t records, bad_records, lines, alert_lines, lines_lost, logged, write_errors;
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

/* What a commit says, as counters. `spool` NULL: there is none. */
void uplink_state_publish(const struct uplink_commit *c, const struct spool *spool,
                          struct counters *counters);
