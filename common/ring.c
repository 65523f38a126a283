#include "common/ring.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/*
 * Cursors only grow; a record's place is position & mask. A record never wraps: when it does
 * not fit before the end, a pad record fills the rest.
 *
 * Ordering, in pairs (writer -> reader):
 *   W1 owner stores its cursor (release) -> R1 the next in line loads it (acquire): the bytes
 *      before the cursor are finished. The producer is next in line after the last stage.
 *   W2 owner fences after W1, then loads `asleep`; R2 sleeper stores `asleep`, fences, then
 *      loads the cursor again: one of the two sees the other, so no wake-up is lost.
 *   W3 sleeper stores `wake_at` before `asleep` (release) -> R3 owner loads them in turn (acquire).
 *
 * A sleeper is woken when there is enough for it, not at the first record: a switch of tasks costs
 * more than a record. What is less waits until the sleeper's own time is up.
 */
struct cursor {
    alignas(WIND_CACHE_LINE) _Atomic uint64_t position; /* written by its owner alone */
    _Atomic uint64_t wake_at;                           /* position that is worth a wake-up */
};

#define WAKE_BYTES ((size_t)256 * 1024) /* or a quarter of the ring: some hundred records */

/* Who is next in line behind a cursor waits here. Apart, because rings may share it. */
struct bell {
    alignas(WIND_CACHE_LINE) _Atomic uint32_t asleep;
};

enum { PRODUCER, STAGE_0, CURSORS = STAGE_0 + RING_STAGES_MAX }; /* who a cursor belongs to */

struct shared {
    struct cursor cursor[CURSORS];
    struct bell bell[CURSORS];
};

#define DATA_OFFSET 4096
_Static_assert(sizeof(struct shared) <= DATA_OFFSET, "cursors must fit in front of the data");

/* What one role remembers for itself; apart, so that roles in one process share no line. */
struct role {
    alignas(WIND_CACHE_LINE) uint64_t at; /* producer: reserved from; stage: peeked to */
    uint64_t seen;                        /* last position loaded of whom it follows */
    size_t reserved;                      /* producer: bytes, 0 = none */
    size_t len;                           /* stage: of the record peeked last, as checked */
};

struct ring {
    struct shared *shared;
    uint8_t *data;
    size_t size;
    unsigned stages;
    struct bell *bell[CURSORS]; /* ours, or another ring's */
    struct role producer, stage[RING_STAGES_MAX];
};

static int futex(_Atomic uint32_t *word, int op, uint32_t value, const struct timespec *timeout)
{
    return (int)syscall(SYS_futex, word, op, value, timeout, NULL, 0);
}

int ring_new(struct ring **ret_ring, size_t bytes, unsigned stages, struct err *e)
{
    if (bytes < 65536 || (bytes & (bytes - 1)) != 0)
        return err_set(e, -EINVAL, "ring: %zu bytes is not a power of two of at least 64 KiB",
                       bytes);
    if (stages < 1 || stages > RING_STAGES_MAX)
        return err_set(e, -EINVAL, "ring: %u stages is outside 1..%d", stages, RING_STAGES_MAX);

    WIND_AUTO(ring) struct ring *r = aligned_alloc(WIND_CACHE_LINE, sizeof(*r));
    if (r == NULL)
        return err_set(e, -ENOMEM, "ring: out of memory");
    *r = (struct ring){.size = bytes, .stages = stages};

    void *map =
        mmap(NULL, DATA_OFFSET + bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED)
        return err_set(e, -errno, "ring: no shared memory of %zu bytes: %s", bytes,
                       strerror(errno));
    r->shared = map;
    r->data = (uint8_t *)map + DATA_OFFSET;
    for (unsigned i = 0; i < CURSORS; i++)
        r->bell[i] = &r->shared->bell[i];
    *ret_ring = WIND_STEAL(r);
    return 0;
}

struct ring *ring_free(struct ring *r)
{
    if (r != NULL) {
        if (r->shared != NULL)
            (void)munmap(r->shared, DATA_OFFSET + r->size);
        free(r);
    }
    return NULL;
}

static size_t room_at(const struct ring *r, uint64_t position)
{
    return r->size - (position & (r->size - 1));
}

/* W1, W2 */
static void move_to(struct ring *r, unsigned who, uint64_t position)
{
    struct bell *const b = r->bell[who];

    atomic_store_explicit(&r->shared->cursor[who].position, position, memory_order_release);
    atomic_thread_fence(memory_order_seq_cst);
    if (atomic_load_explicit(&b->asleep, memory_order_acquire) != 0 && /* R3 */
        (int64_t)(position - atomic_load_explicit(&r->shared->cursor[who].wake_at,
                                                  memory_order_relaxed)) >= 0) {
        atomic_store_explicit(&b->asleep, 0, memory_order_relaxed);
        (void)futex(&b->asleep, FUTEX_WAKE, INT_MAX, NULL);
    }
}

/* R1 */
static uint64_t position_of(const struct ring *r, unsigned who)
{
    return atomic_load_explicit(&r->shared->cursor[who].position, memory_order_acquire);
}

static uint64_t enough(const struct ring *r)
{
    return r->size / 4 < WAKE_BYTES ? r->size / 4 : WAKE_BYTES;
}

static void set_alarm(struct ring *r, unsigned who, uint64_t seen)
{
    atomic_store_explicit(&r->shared->cursor[who].wake_at, seen + enough(r), memory_order_relaxed);
}

/* R2, W3: after the alarms, before the cursors are looked at for the last time. */
static void lie_down(struct bell *b)
{
    atomic_store_explicit(&b->asleep, 1, memory_order_release);
    atomic_thread_fence(memory_order_seq_cst);
}

static void sleep_at(struct bell *b, int wait_ms)
{
    const struct timespec timeout = {wait_ms / 1000, wait_ms % 1000 * 1000000L};

    (void)futex(&b->asleep, FUTEX_WAIT, 1, &timeout);
}

static void get_up(struct bell *b)
{
    atomic_store_explicit(&b->asleep, 0, memory_order_relaxed); /* nobody needs to wake us now */
}

/* ---------------------------------------------------------------- producer */

/* Bytes free from `head`. A last stage that claims to be ahead of us gets no say: full. */
static size_t free_bytes(struct ring *r, uint64_t head, size_t want)
{
    struct role *p = &r->producer;

    if (head - p->seen > r->size || r->size - (head - p->seen) < want)
        p->seen = position_of(r, r->stages);
    return head - p->seen > r->size ? 0 : r->size - (head - p->seen);
}

void *ring_reserve(struct ring *r, size_t len)
{
    struct role *p = &r->producer;
    uint64_t head =
        atomic_load_explicit(&r->shared->cursor[PRODUCER].position, memory_order_relaxed);
    const size_t need = (len + RING_ALIGN - 1) & ~(size_t)(RING_ALIGN - 1);
    const size_t pad = room_at(r, head) < need ? room_at(r, head) : 0;

    p->reserved = 0;
    if (need < sizeof(struct record_header) || need > r->size / 2 ||
        free_bytes(r, head, pad + need) < pad + need)
        return NULL;
    if (pad > 0) {
        struct record_header *h = (void *)(r->data + (head & (r->size - 1)));
        *h = (struct record_header){
            .len = (uint32_t)pad, .kind = RECORD_PAD, .version = RECORD_VERSION};
        head += pad;
    }
    p->at = head;
    p->reserved = need;

    struct record_header *h = (void *)(r->data + (head & (r->size - 1)));
    h->len = (uint32_t)need;
    h->version = RECORD_VERSION;
    return h;
}

void ring_commit(struct ring *r)
{
    struct role *p = &r->producer;

    move_to(r, PRODUCER, p->at + p->reserved);
    p->reserved = 0;
}

void ring_wait_room(struct ring *r, int wait_ms)
{
    struct bell *const b = r->bell[r->stages];

    set_alarm(r, r->stages, r->producer.seen);
    lie_down(b);
    if (position_of(r, r->stages) - r->producer.seen < enough(r))
        sleep_at(b, wait_ms);
    get_up(b);
}

/* ---------------------------------------------------------------- stages */

/* The cursor before stage i is cursor[i], its own is cursor[i + 1]. */
void *ring_peek(struct ring *r, unsigned stage, bool *ret_bad)
{
    struct role *s = &r->stage[stage];

    if (ret_bad != NULL)
        *ret_bad = false;
    for (;;) {
        if (s->at == s->seen)
            s->seen = position_of(r, stage);
        if (s->at == s->seen)
            return NULL;

        /* Another process may write here at any time: read the header once, believe nothing. */
        struct record_header *h = (void *)(r->data + (s->at & (r->size - 1)));
        const uint32_t len = *(volatile uint32_t *)&h->len;
        const uint16_t kind = *(volatile uint16_t *)&h->kind;
        const uint64_t ready = s->seen - s->at;

        if (ready > r->size || len < RING_ALIGN || len % RING_ALIGN != 0 || len > ready ||
            len > room_at(r, s->at)) {
            s->at = s->seen = s->seen & ~(uint64_t)(RING_ALIGN - 1);
            if (ret_bad != NULL)
                *ret_bad = true;
            return NULL;
        }
        s->at += len;
        s->len = len;
        if (kind != RECORD_PAD)
            return h;
    }
}

void ring_release(struct ring *r, unsigned stage)
{
    if (r->stage[stage].at !=
        atomic_load_explicit(&r->shared->cursor[STAGE_0 + stage].position, memory_order_relaxed))
        move_to(r, STAGE_0 + stage, r->stage[stage].at);
}

void ring_rewind(struct ring *r, unsigned stage)
{
    r->stage[stage].at = r->stage[stage].seen =
        atomic_load_explicit(&r->shared->cursor[STAGE_0 + stage].position, memory_order_relaxed) &
        ~(uint64_t)(RING_ALIGN - 1); /* whoever else maps the ring may have written there */
}

void ring_wait_data(struct ring *r, unsigned stage, int wait_ms)
{
    ring_wait_any(&r, 1, stage, wait_ms);
}

/* The last stage's stay: each producer waits for room in its own ring. */
void ring_share_bells(struct ring *r, const struct ring *with)
{
    for (unsigned i = 0; i < r->stages; i++)
        r->bell[i] = with->bell[i];
}

void ring_wait_any(struct ring *const *rings, unsigned n, unsigned stage, int wait_ms)
{
    struct bell *const b = rings[0]->bell[stage];
    bool has_enough = false;

    for (unsigned i = 0; i < n; i++)
        set_alarm(rings[i], stage, rings[i]->stage[stage].at);
    lie_down(b);
    for (unsigned i = 0; i < n; i++)
        has_enough |= position_of(rings[i], stage) - rings[i]->stage[stage].at >= enough(rings[i]);
    if (!has_enough)
        sleep_at(b, wait_ms);
    get_up(b);
}

void ring_wake(struct ring *r, unsigned stage)
{
    atomic_store_explicit(&r->bell[stage]->asleep, 0, memory_order_seq_cst);
    (void)futex(&r->bell[stage]->asleep, FUTEX_WAKE, INT_MAX, NULL);
}

uint64_t ring_released(const struct ring *r, unsigned stage)
{
    return position_of(r, STAGE_0 + stage);
}

uint64_t ring_peeked(const struct ring *r, unsigned stage)
{
    return r->stage[stage].at;
}

size_t ring_peeked_len(const struct ring *r, unsigned stage)
{
    return r->stage[stage].len;
}

uint64_t ring_produced(const struct ring *r)
{
    return position_of(r, PRODUCER);
}

double ring_fill(const struct ring *r)
{
    const uint64_t held = ring_produced(r) - position_of(r, r->stages);

    return held > r->size ? 1 : (double)held / (double)r->size;
}
