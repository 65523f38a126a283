/*
 * analysis_thread.h - live: the analysis stage in a thread of its own, behind the worker.
 *
 * Why      Packets go on being taken while hosts, model and detectors work on the records.
 * Owns     The thread. Borrows analysis, ring and counters.
 * Threads  All calls: the worker's thread. The analysis is the other thread's from start to join.
 * Bounds   Sleeps at most ANALYSIS_THREAD_WAIT_MS, then looks at the clock (quiet alerts).
 *
 * Starting a thread is forbidden in the sandbox, so it is made before, and sleeps until it is told
 * to start; the sandbox's last step covers it (SECCOMP_FILTER_FLAG_TSYNC).
 *
 *     new -> (sandbox) -> start -> join -> free        new -> free: it never started
 */
#pragma once

#include "sensor/analysis.h"

#define ANALYSIS_THREAD_WAIT_MS 20

struct analysis_thread;

WIND_MUST_USE int analysis_thread_new(struct analysis_thread **ret_thread, struct ring *flows,
                                      const struct counters *counters, struct err *e);
/* Ends the thread if it was not joined; NULL is fine. */
struct analysis_thread *analysis_thread_free(struct analysis_thread *t);
WIND_DEFINE_FREE(analysis_thread)

void analysis_thread_start(struct analysis_thread *t, struct analysis *a);

/* The worker has committed its last record: wait until all are analysed. */
void analysis_thread_join(struct analysis_thread *t);
