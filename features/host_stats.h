/*
 * host_stats.h - what one source host does, and what is normal for it.
 *
 * Why      A flow is judged with its sender's behaviour beside it: how many peers, ports and
 *          failures in the last minute, how that compares with this host's own past.
 * Owns     Nothing. Fixed size, embedded in the host table's entry.
 * Threads  The analysis stage, which sees all flows in packet-time order.
 * Bounds   The window is the current half minute and the one before (30 to 60 s). Distinct
 *          counts are sketches (sketch.h). Known services are forgotten after some hundred newer
 *          ones; HOST_CHANNELS services are followed in time. `h` may be NULL (no room in the
 *          host table): updates do nothing, features are missing.
 *
 *      opened(flow) -> feature(row) -> score -> ended(row): judged before it becomes normal
 */
#pragma once

#include <stdint.h>

#include "common/record.h"
#include "features/feature.h"
#include "features/sketch.h"

#define HOST_PANE_NS       UINT64_C(30000000000)
#define HOST_KNOWN_WORDS   32
#define HOST_CHANNELS      8
#define HOST_NORMAL_WINDOW 256u /* flows after which older ones fade */

struct host_pane {
    uint32_t flows, failed, fresh; /* opened; refused or silent; to a service never used before */
    uint32_t ended;
    double bytes_out, bytes_in; /* of flows that ended */
    struct sketch peers, ports, services;
};

struct host_channel {
    uint64_t hash, last_ns;  /* hash of peer, port, protocol; 0 = free */
    float gap_mean, gap_var; /* ms between openings */
    uint32_t opens;
};

/* Mean and variance of one feature over this host's ended flows, older ones fading. */
struct host_normal {
    float mean, var;
    uint32_t n;
};

struct host_stats {
    uint64_t first_ns, pane_ns; /* first seen; start of the current pane */
    struct host_pane pane[2];   /* current, previous */
    uint32_t past_panes;        /* panes that left the window */
    float past_mean, past_var;  /* flows opened a pane, in those */
    uint32_t known_n;           /* services put into known[0] */
    uint64_t known[2][HOST_KNOWN_WORDS];
    struct host_channel channel[HOST_CHANNELS];
    struct host_normal normal[FEATURE_COUNT];
};

/* What a detector or a sentence needs of the window. */
struct host_window {
    uint32_t flows, failed, fresh;   /* opened in the window */
    uint32_t peers, ports, services; /* distinct, estimated */
    float past_mean, past_sd;        /* flows a half minute in this host's past */
    uint32_t past_panes;             /* half minutes that past has */
    uint64_t length_ns;              /* 0..60 s */
};

void host_stats_init(struct host_stats *h, uint64_t now_ns);

/*
 * The host opened a flow (RECORD_FLOW_OPENED): once a flow. `now_ns` is the clock, `start_ns` the
 * flow's first packet, `opening` its outcome.
 */
void host_stats_opened(struct host_stats *h, uint64_t now_ns, uint64_t start_ns,
                       const struct flow_key *key, enum flow_opening opening);

/*
 * A flow that the host opened has ended: its row becomes part of this host's normal. Leave it out
 * when the flow is evidence of an alert, or an attack becomes the normal.
 */
void host_stats_ended(struct host_stats *h, uint64_t now_ns, const float *row, uint64_t missing);

/* Fill the HOST and CHANNEL features of a row that feature_flow() filled, in place. */
void feature_host(struct host_stats *h, uint64_t now_ns, const struct flow_key *key, float *row,
                  uint64_t *missing);

/* The window as it stands at `now_ns`. All zero for NULL. */
void host_stats_window(struct host_stats *h, uint64_t now_ns, struct host_window *ret_window);

/* This host's normal of one feature. Returns how many flows it has; 0 sets mean and sd to 0. */
uint32_t host_stats_normal(const struct host_stats *h, size_t feature, float *ret_mean,
                           float *ret_sd);
