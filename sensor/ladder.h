/*
 * ladder.h - under overload, do less for each flow before losing any.
 *
 * Why      A full ring loses whatever comes next. Doing without the models, and then without a
 *          record, for flows that are like many others keeps the rest at full depth.
 * Owns     Nothing: embedded in the worker.
 * Threads  The worker's.
 * Bounds   Fixed size. It goes down at once and up a step a second, so that it doesn't flutter.
 *
 *     ring:    below 1/2 full   from 1/2 on       from 3/4 on               full
 *     flow:    FULL          -> DETECTORS      -> COUNTERS               -> lost, and counted
 *              (models too)     (no models)       (no record: flow.shed)
 *     up again a step a second while the ring is less than 1/4 full
 *
 * Long flows, and rare ones, are spared both steps. Long: LADDER_LONG_PKTS or LADDER_LONG_NS. Rare:
 * answered, and neither its service nor its source have had more than one flow in LADDER_COMMON
 * of late. So neither a flood of one service nor a scan by one source spares itself.
 */
#pragma once

#include "sensor/flow_table.h"

#define LADDER_LONG_PKTS 64
#define LADDER_LONG_NS   UINT64_C(30000000000)
#define LADDER_COMMON    1024
#define LADDER_SLOTS     4096

struct ladder {
    enum analysis_level top, level; /* at most; for ordinary flows now */
    uint64_t changed_ns;
    uint32_t flows; /* counted below; all is halved at 2^16, so that the past fades */
    uint16_t service[LADDER_SLOTS], source[LADDER_SLOTS];
};

void ladder_init(struct ladder *l, enum analysis_level top);

/* How full the ring is, 0..1, by the clock. Once a batch. Returns whether it went down. */
bool ladder_update(struct ladder *l, double fill, uint64_t clock_ns);

/* A flow was made. */
void ladder_see(struct ladder *l, const struct flow *f);

/* What is done for this flow now. */
enum analysis_level ladder_level(const struct ladder *l, const struct flow *f);
