/*
 * analysis.h - the one stage that sees every flow of every worker: hosts, model, detectors.
 *
 * Why      A scanner's evidence is whole however many workers there are.
 * Owns     Host table, names, detectors, open alerts. Takes the model. Borrows rings and counters.
 * Threads  One: the replay's only thread, or one of its own (analysis_thread.h).
 * Bounds   hosts.max hosts; see names.h, detect.h and alert.h for the rest.
 *
 * Steps 5 to 7 of the path of a packet, on the record in its slot:
 *     merge_peek -> host_stats -> feature_host -> model_score -> detectors_see -> alerts ->
 * merge_release
 */
#pragma once

#include "sensor/detect.h"
#include "sensor/names.h"

struct analysis;

struct analysis_conf {
    struct detect_conf detect;
    struct alerts_conf alerts; /* but for .after */
    const struct rings *flows;
    size_t hosts_max;
    struct names_conf names;
    enum analysis_level level;
    int features_fd; /* rows go there; -1: nowhere. Borrowed */
};

WIND_MUST_USE int analysis_new(struct analysis **ret_analysis, const struct analysis_conf *conf,
                               struct model *model, struct err *e);
struct analysis *analysis_free(struct analysis *a);
WIND_DEFINE_FREE(analysis)

/* Work on what the workers have committed. Returns how many records there were. */
size_t analysis_step(struct analysis *a);

/* Sleep until there may be more, at most wait_ms. No record to come is older than the clock. */
void analysis_wait(const struct analysis *a, int wait_ms);
void analysis_wake(const struct analysis *a);
uint64_t analysis_clock(const struct analysis *a);

/* The clock went on without records. */
void analysis_tick(struct analysis *a, uint64_t clock_ns);

/* The input is over and every record is through: tell what is untold, write what is held. */
void analysis_close(struct analysis *a);

/* Something odd in the input: an anomaly record. */
void analysis_anomaly(struct analysis *a, const char *type, const char *event, const char *text);
