#include "sensor/board.h"

#include <errno.h>
#include <sched.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define READ_AHEAD 4 /* batches that are read in one go: then another worker may */
#define SPINS      256
#define NAPS       20 /* short ones, while others seem to get on */
#define NAP_NS     50000
#define REST_NS    1000000 /* nothing comes: a slow pipe */

/*
 * Batch k lies in slot k % BOARD_BATCHES. Ordering, in pairs (writer -> reader):
 *   B1 the reader stores `published` (release) -> workers load it (acquire): the batches below it
 *      are finished, and `ended` was set before if it is seen after.
 *   B2 a worker stores `done` (release) -> the reader loads it (acquire): it looks no more at
 *      batches below it.
 *   B3 who reads takes and gives back `reading` (acquire, release): so the capture has one owner.
 */
struct slot {
    struct board_batch batch;
    uint8_t *copy; /* CAPTURE_PACKET_MAX bytes, where they are needed */
};

struct place {
    alignas(2 *
            WIND_CACHE_LINE) _Atomic uint64_t done; /* batches that the worker is through with */
    bool is_idle;                                   /* the worker's: the last look was in vain */
};

struct board {
    struct capture *capture;
    unsigned shares, places;
    size_t at_once;
    int read_ahead;
    bool is_copying;
    alignas(2 * WIND_CACHE_LINE) _Atomic uint64_t published;
    _Atomic bool ended;
    alignas(2 * WIND_CACHE_LINE) _Atomic bool reading;
    /* Of who reads: */
    uint64_t next;                        /* place in the input */
    uint64_t clock_ns;                    /* latest time of all packets */
    size_t lent, lent_at;                 /* packets that were lent, and not put up yet */
    struct packet waiting[BOARD_PACKETS]; /* they */
    struct slot slot[BOARD_BATCHES];
    struct place place[];
};

/* ---------------------------------------------------------------- life */

static int make_copies(struct board *b, struct err *e)
{
    for (unsigned i = 0; i < BOARD_BATCHES; i++) { /* touched only where they are needed */
        b->slot[i].copy = malloc(CAPTURE_PACKET_MAX);
        if (b->slot[i].copy == NULL)
            return err_set(e, -ENOMEM, "out of memory");
    }
    return 0;
}

int board_new(struct board **ret_board, const struct board_conf *conf, struct err *e)
{
    const size_t align = alignof(struct board);
    const size_t size = sizeof(struct board) + conf->places * sizeof(struct place);
    WIND_AUTO(board) struct board *b = aligned_alloc(align, (size + align - 1) / align * align);

    if (b == NULL)
        return err_set(e, -ENOMEM, "out of memory");
    memset(b, 0, size);
    b->capture = conf->capture;
    b->shares = conf->shares;
    b->places = conf->places;
    b->next = conf->first;
    b->at_once =
        conf->at_once == 0 || conf->at_once > BOARD_PACKETS ? BOARD_PACKETS : conf->at_once;
    b->read_ahead = conf->places > 1 ? READ_AHEAD : 1;
    const int r = conf->places > 1 ? make_copies(b, e) : 0;
    if (r == 0)
        *ret_board = WIND_STEAL(b);
    return r;
}

struct board *board_free(struct board *b)
{
    if (b != NULL) {
        for (unsigned i = 0; i < BOARD_BATCHES; i++)
            free(b->slot[i].copy);
        free(b);
    }
    return NULL;
}

/* ---------------------------------------------------------------- reading */

static uint64_t slowest(const struct board *b)
{
    uint64_t done = UINT64_MAX;

    for (unsigned i = 0; i < b->places; i++) {
        const uint64_t d = atomic_load_explicit(&b->place[i].done, memory_order_acquire); /* B2 */
        done = d < done ? d : done;
    }
    return done;
}

/* Into the slot's own bytes, if there is room for it. */
static bool copy(struct slot *s, struct packet *p, size_t *used)
{
    if (p->len > CAPTURE_PACKET_MAX - *used)
        return false;
    memcpy(s->copy + *used, p->data, p->len);
    p->data = s->copy + *used;
    *used += p->len;
    return true;
}

/* Of the waiting packets as many as there is room for: whose they are, and what time it is then. */
static size_t look_at(struct board *b, struct slot *s, uint8_t owner[BOARD_PACKETS],
                      unsigned count[WORKERS_MAX + 1])
{
    struct packet *const p = b->waiting + b->lent_at;
    const size_t max = b->lent - b->lent_at;
    struct board_batch *const batch = &s->batch;
    size_t n = 0, used = 0;

    for (; n < max && (!b->is_copying || copy(s, &p[n], &used)); n++) {
        const uint32_t whose = share_of_packet(&p[n], b->shares);
        owner[n] = (uint8_t)(whose == SHARE_UNSURE ? b->shares : whose);
        count[owner[n]]++;
        batch->backwards += p[n].time_ns + BOARD_BACKWARDS_NS < b->clock_ns;
        b->clock_ns = p[n].time_ns > b->clock_ns ? p[n].time_ns : b->clock_ns;
        batch->clock_ns[n] = b->clock_ns;
    }
    return n;
}

static void put_up(struct board *b, struct slot *s)
{
    struct board_batch *const batch = &s->batch;
    uint8_t owner[BOARD_PACKETS];
    unsigned count[WORKERS_MAX + 1] = {0};
    uint16_t to[WORKERS_MAX + 1];

    batch->backwards = 0;
    batch->first = b->next;
    batch->n = look_at(b, s, owner, count);
    batch->from[0] = 0;
    for (unsigned w = 0; w <= b->shares; w++) {
        to[w] = batch->from[w];
        batch->from[w + 1] = (uint16_t)(batch->from[w] + count[w]);
    }
    for (size_t i = 0; i < batch->n; i++)
        batch->packet[to[owner[i]]++] = (struct board_packet){.packet = b->waiting[b->lent_at + i],
                                                              .clock_ns = batch->clock_ns[i],
                                                              .at = (uint16_t)i};
    b->lent_at += batch->n;
    b->next += batch->n;
}

static bool take_fault(struct board *b, struct board_batch *batch)
{
    const struct err *what = NULL;

    batch->fault = capture_take_fault(b->capture, &what);
    if (batch->fault == CAPTURE_OK)
        return false;
    batch->what = *what;
    return true;
}

/* One batch. False: there is none. */
static bool read_batch(struct board *b, struct slot *s, int wait_ms)
{
    if (b->lent_at == b->lent) {
        if (b->lent > 0)
            capture_release(b->capture);
        b->lent_at = 0;
        b->lent = capture_recv(b->capture, b->waiting, b->at_once, wait_ms);
        b->is_copying = b->places > 1 && !capture_keeps(b->capture);
    }
    s->batch.fault = CAPTURE_OK;
    if (b->lent == 0 && !take_fault(b, &s->batch)) {
        if (capture_ended(b->capture))
            atomic_store_explicit(&b->ended, true, memory_order_release);
        return false;
    }
    put_up(b, s);
    return true;
}

/* The caller has `reading`. False: there is room, and nothing to put there. */
static bool read_on(struct board *b, int wait_ms)
{
    uint64_t k = atomic_load_explicit(&b->published, memory_order_relaxed);

    for (int i = 0; i < b->read_ahead && k < slowest(b) + BOARD_BATCHES; i++) {
        if (!read_batch(b, &b->slot[k % BOARD_BATCHES], i == 0 ? wait_ms : 0))
            return i > 0;
        atomic_store_explicit(&b->published, ++k, memory_order_release); /* B1 */
    }
    return true;
}

/* ---------------------------------------------------------------- workers */

static bool is_new(const struct board *b, unsigned place)
{
    return atomic_load_explicit(&b->published, memory_order_acquire) > /* B1 */
           atomic_load_explicit(&b->place[place].done, memory_order_relaxed);
}

bool board_ended(const struct board *b, unsigned place)
{
    return atomic_load_explicit(&b->ended, memory_order_acquire) && !is_new(b, place);
}

/* Another reads, or is so far behind that nothing can be read. */
static void wait_a_moment(unsigned turn)
{
    const struct timespec nap = {.tv_nsec = turn < SPINS + NAPS ? NAP_NS : REST_NS};

    if (turn < SPINS)
        (void)sched_yield();
    else
        (void)clock_nanosleep(CLOCK_MONOTONIC, 0, &nap, NULL);
}

/* If nobody else does. False: nothing came. */
static bool read_if_free(struct board *b, unsigned place, int wait_ms)
{
    bool is_taken = false, came = true;

    if (!atomic_compare_exchange_strong_explicit(&b->reading, &is_taken, true, memory_order_acquire,
                                                 memory_order_relaxed)) /* B3 */
        return true;
    if (!is_new(b, place))
        came = read_on(b, wait_ms);
    atomic_store_explicit(&b->reading, false, memory_order_release);
    return came;
}

/* Waits until there is a new batch. False: there was none within wait_ms or so. */
static bool wait_for_news(struct board *b, unsigned place, int wait_ms)
{
    const unsigned from = b->place[place].is_idle ? SPINS + NAPS : 0;
    const unsigned to = wait_ms == 0 ? 0 : SPINS + NAPS + (unsigned)wait_ms;

    for (unsigned turn = from; !is_new(b, place); turn++) {
        if (board_ended(b, place) || !read_if_free(b, place, wait_ms))
            return false;
        if (is_new(b, place))
            return true;
        if (turn >= to)
            return false;
        wait_a_moment(turn);
    }
    return true;
}

const struct board_batch *board_take(struct board *b, unsigned place, int wait_ms)
{
    b->place[place].is_idle = !wait_for_news(b, place, wait_ms);
    if (b->place[place].is_idle)
        return NULL;
    const uint64_t k = atomic_load_explicit(&b->place[place].done, memory_order_relaxed);
    return &b->slot[k % BOARD_BATCHES].batch;
}

void board_done(struct board *b, unsigned place)
{
    atomic_store_explicit(&b->place[place].done,
                          atomic_load_explicit(&b->place[place].done, memory_order_relaxed) + 1,
                          memory_order_release); /* B2 */
}
