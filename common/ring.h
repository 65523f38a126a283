/*
 * ring.h - a staged ring in shared memory: records are made once and worked on in place.
 *
 * Why      Worker, analysis and uplink (another process) each have a cursor over the same
 *          bytes. No copies, no locks: one writer a cursor, as in the LMAX Disruptor.
 * Owns     The mapping. A record belongs to the stage whose cursor stands before it.
 * Threads  One producer; one thread a stage. Stage 0 sees what the producer committed, stage
 *          i what stage i-1 released; the producer reuses what the last stage released.
 * Bounds   A fixed size. When full, ring_reserve says so: live refuses and counts, replay waits.
 * Trust    The last stage may run in another process that doesn't trust the others: ring_peek
 *          checks every cursor and length before it hands out a record (-EBADMSG otherwise).
 *
 * Positions are byte offsets that only grow. They live in the shared memory, so a stage whose
 * process died goes on where it stood.
 */
#pragma once

#include <stdbool.h>

#include "common/base.h"
#include "common/err.h"
#include "common/record.h"

#define RING_ALIGN      64
#define RING_STAGES_MAX 3

struct ring;

/* `bytes`: a power of two, at least 64 KiB. The memory is shared with children across fork. */
WIND_MUST_USE int ring_new(struct ring **ret_ring, size_t bytes, unsigned stages, struct err *e);
struct ring *ring_free(struct ring *r);
WIND_DEFINE_FREE(ring)

/*
 * Producer: room for one record of `len` bytes, or NULL when the ring is full. The header's
 * len is set. Nothing is visible before ring_commit; reserving again replaces the reservation.
 */
void *ring_reserve(struct ring *r, size_t len);

/* Publish the reserved record. Wakes stage 0 if it sleeps and has enough to do. */
void ring_commit(struct ring *r);

/*
 * Producer: sleep until the last stage has released a good deal (a quarter of the ring, or 256
 * KiB), at most wait_ms.
 */
void ring_wait_room(struct ring *r, int wait_ms);

/*
 * Stage: the next record, or NULL when there is none. Several may be peeked before a release.
 * *ret_bad (may be NULL) is set when cursor or length make no sense: then everything up to the
 * stage before is skipped, and the caller counts it.
 */
void *ring_peek(struct ring *r, unsigned stage, bool *ret_bad);

/* Stage: everything peeked so far goes on to the next stage, or back to the producer. */
void ring_release(struct ring *r, unsigned stage);

/* Stage: forget what was peeked since the last release, and peek it again. */
void ring_rewind(struct ring *r, unsigned stage);

/* Stage: sleep until the stage before has as much, at most wait_ms: look again then anyway. */
void ring_wait_data(struct ring *r, unsigned stage, int wait_ms);

/*
 * Several rings whose stages have one reader each: before the first use and the first fork, let
 * `r` ring the bells of `with`. Then ring_wait_any sleeps until one of them has something.
 */
void ring_share_bells(struct ring *r, const struct ring *with);
void ring_wait_any(struct ring *const *rings, unsigned n, unsigned stage, int wait_ms);

/* Wake the stage if it sleeps, however little there is: nothing more will come. */
void ring_wake(struct ring *r, unsigned stage);

/* Where a stage stands (released), where it has peeked to, and where the producer stands. */
uint64_t ring_released(const struct ring *r, unsigned stage);
uint64_t ring_peeked(const struct ring *r, unsigned stage);
uint64_t ring_produced(const struct ring *r);

/* How much of the ring holds what the last stage has not released yet, 0..1. */
double ring_fill(const struct ring *r);

/* Length of the record ring_peek returned last, as it was checked: header.len may change since. */
size_t ring_peeked_len(const struct ring *r, unsigned stage);
