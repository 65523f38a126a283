/*
 * spool_note.h - the two notes beside a spool's segments: how far it is confirmed, and its run.
 *
 * Why      Where sending begins, and whose numbers these are, must outlive the process.
 * Owns     The files `confirmed` and `run` of the folder.
 * Threads  One.
 * Bounds   Damage is as good as a note that isn't there.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base.h"

#define SPOOL_RUN_TEXT 33 /* 32 hex digits */

/* > 0: it isn't there, or damaged. */
WIND_MUST_USE int note_read_confirmed(int dir, uint64_t max, uint64_t *ret_index);

/* Replaced as a whole: after a crash there is the old one or the new one. */
WIND_MUST_USE int note_write_confirmed(int dir, uint64_t index);

/* A new run when the indices start anew: what was counted before has no more to do with it. */
void note_run(int dir, bool is_anew, char ret_run[SPOOL_RUN_TEXT]);
