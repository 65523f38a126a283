/*
 * analyser.h - the process that looks at packets, and can do nothing else.
 *
 * Why      A hostile packet meets no file, no socket and no other process (sandbox.h).
 * Owns     Captures, workers, analysis, model. Borrows rings and counters, which outlive it.
 * Threads  Replay with one worker: one, which calls worker and analysis in turn. Else one each.
 * Bounds   Those of worker.h and analysis.h.
 *
 * When it dies, another takes over: behind the packets that were already counted as offered, with
 * empty flow and host tables. The supervisor counts what the dead one held.
 */
#pragma once

#include "common/rings.h"
#include "sensor/capture.h"
#include "sensor/counter.h"
#include "sensor/sensor_conf.h"

struct analyser_conf {
    const struct sensor_conf *sensor;
    const struct sensor_args *args;
    struct capture *const *captures; /* one a worker, or one that they share; taken */
    unsigned n_captures;
    uint32_t frame_max;        /* of the interfaces: worker.h */
    int model_fd, features_fd; /* -1: none; closed */
    const struct rings *flows; /* one a worker */
    struct ring *alerts;
    struct counters *counters;
};

/*
 * The body of the process. Returns 0 when the input is over (or counters->stop is set) and all of
 * it is in the rings; then counters->producer_done is set. Negative: a sentence for the operator,
 * and starting again would not help.
 */
WIND_MUST_USE int analyser_run(const struct analyser_conf *conf, struct err *e);
