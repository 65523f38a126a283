/*
 * crew.h - the workers of an analyser: made, told to start, waited for.
 *
 * Why      The analyser has one loop to think of, however many workers there are.
 * Owns     Workers, their DPI, their threads, and where they share packets. Borrows captures, rings
 *          and counters.
 * Threads  All calls: the analyser's main thread, which is worker 0; each other has one of its own.
 * Bounds   Limits of the settings are of all workers together: each gets its part of them. Of
 *          defrag.* only live: workers that share packets all hold the same fragments.
 *
 * In replay they share packets (board.h), of one capture, or each reads all of them for itself
 * (folders). Live, each has the packets that the kernel gives to its capture, by flow: an error by
 * ICMP may come to another than the flow that it is about, which is then not told.
 *
 *     new -> (sandbox: files) -> start_threads -> (sandbox: calls) -> begin -> run -> free
 */
#pragma once

#include "common/rings.h"
#include "sensor/capture.h"
#include "sensor/counter.h"
#include "sensor/sensor_conf.h"

struct crew;

struct crew_conf {
    const struct sensor_conf *sensor;
    struct capture *const *captures; /* one a worker, or one */
    unsigned n_captures;
    const struct rings *flows; /* one a worker */
    struct counters *counters;
    enum analysis_level level;
    uint32_t frame_max; /* worker.h */
    double speed;
    void (*relieve)(void *arg); /* no analysis thread: let the later stages run. Else NULL */
    void (*turn)(void *arg);    /* after each step of worker 0 */
    void *arg;                  /* of both */
};

/* Load the protocols: opens files, takes long. */
WIND_MUST_USE int crew_new(struct crew **ret_crew, const struct crew_conf *conf, struct err *e);
struct crew *crew_free(struct crew *c);
WIND_DEFINE_FREE(crew)

WIND_MUST_USE int crew_start_threads(struct crew *c, struct err *e);

/* Make the workers. From now on counters.order says what may come of each. */
WIND_MUST_USE int crew_begin(struct crew *c, struct err *e);

/* Until the input is over, or counters.stop is set: then every flow is ended, and told. */
void crew_run(struct crew *c);
