/*
 * analysis_thread.h - the analysis stage in a thread of its own, behind the workers.
 *
 * Why      Packets go on being taken while hosts, model and detectors work on the records.
 * Owns     The thread (standby.h). Borrows the analysis.
 * Threads  All calls: the one that made it. The analysis is the other's from start to join.
 * Bounds   Sleeps at most ANALYSIS_THREAD_WAIT_MS, then looks at the clock (quiet alerts, live).
 */
#pragma once

#include "sensor/analysis.h"

#define ANALYSIS_THREAD_WAIT_MS 20

struct analysis_thread;

WIND_MUST_USE int analysis_thread_new(struct analysis_thread **ret_thread, struct err *e);
/* Ends the thread if it was not joined; NULL is fine. */
struct analysis_thread *analysis_thread_free(struct analysis_thread *t);
WIND_DEFINE_FREE(analysis_thread)

/* Live: the clock goes on without records. */
void analysis_thread_start(struct analysis_thread *t, struct analysis *a, bool is_live);

/* The workers have committed their last records: wait until all are analysed. */
void analysis_thread_join(struct analysis_thread *t);
