/*
 * source_thread.h - decompress in a thread of its own, two blocks ahead of who reads.
 *
 * Why      Decompression costs as much as all that is done with the packets: it overlaps.
 * Owns     The thread and two blocks. Borrows one packed input at a time, from start to stop.
 * Threads  The one that has the capture calls everything here; the thread itself meets nothing
 *          but the packed input and the blocks.
 * Bounds   Two blocks of SOURCE_BLOCK bytes, each with room in front for SOURCE_CARRY bytes that
 *          the reader has not used up. Which bytes come out, and in which order, does not depend
 *          on who is faster.
 *
 * Made before the sandbox forbids to make threads; it sleeps until the first start.
 *
 *     source_thread_start -> source_thread_take ... -> source_thread_stop -> start ...
 */
#pragma once

#include "sensor/packed.h"

#define SOURCE_CARRY (1 << 19)
#define SOURCE_BLOCK (1 << 19)

struct source_thread;

WIND_MUST_USE int source_thread_new(struct source_thread **ret_thread, struct err *e);
struct source_thread *source_thread_free(struct source_thread *t);
WIND_DEFINE_FREE(source_thread)

/* Begin with `p`, which nobody else may touch until source_thread_stop. */
void source_thread_start(struct source_thread *t, struct packed *p);
void source_thread_stop(struct source_thread *t);

/*
 * Give back the block in hand, and take the next one: what was left of the old one (at most
 * SOURCE_CARRY bytes) stands in front of it. Outcomes as packed_fill: on anything but
 * SOURCE_FILLED the window stays as it is.
 */
enum source_fill source_thread_take(struct source_thread *t, struct span *window, int wait_ms);
