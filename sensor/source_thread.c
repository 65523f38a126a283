#include "sensor/source_thread.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/time.h"

#define BLOCKS  2
#define WAIT_MS 10 /* of the thread, for bytes: so that a stop is seen this soon */

struct block {
    uint8_t bytes[SOURCE_CARRY + SOURCE_BLOCK];
    size_t len;           /* bytes behind SOURCE_CARRY */
    enum source_fill end; /* SOURCE_FILLED: another block follows */
};

/*
 * Block i % BLOCKS is the thread's from `taken` + BLOCKS on, the reader's from `made` down. The
 * lock guards all but the blocks themselves.
 */
struct source_thread {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct packed *packed; /* NULL: nothing to do */
    bool is_stopping;      /* leave the packed input */
    bool is_over;          /* end the thread */
    uint64_t made, taken;
    bool has_block; /* the reader is still at block `taken` */
    struct block *block;
};

/* ---------------------------------------------------------------- the thread */

static bool may_go_on(struct source_thread *t)
{
    (void)pthread_mutex_lock(&t->lock);
    const bool yes = !t->is_stopping;
    (void)pthread_mutex_unlock(&t->lock);
    return yes;
}

/* Until the block is full; but what came is not kept back while nothing comes. */
static void fill(struct source_thread *t, struct block *b)
{
    b->len = 0;
    do {
        size_t n = 0;

        b->end = packed_fill(t->packed, b->bytes + SOURCE_CARRY + b->len, SOURCE_BLOCK - b->len,
                             WAIT_MS, &n);
        b->len += n;
    } while (b->len < SOURCE_BLOCK && may_go_on(t) &&
             (b->end == SOURCE_FILLED || (b->end == SOURCE_WAIT && b->len == 0)));
    if (b->end == SOURCE_WAIT)
        b->end = SOURCE_FILLED;
}

/* With the lock held. */
static void work(struct source_thread *t)
{
    enum source_fill end = SOURCE_FILLED;

    while (end == SOURCE_FILLED && !t->is_stopping) {
        if (t->made - t->taken == BLOCKS) {
            (void)pthread_cond_wait(&t->changed, &t->lock);
            continue;
        }
        struct block *const b = &t->block[t->made % BLOCKS];
        (void)pthread_mutex_unlock(&t->lock);
        fill(t, b);
        (void)pthread_mutex_lock(&t->lock);
        end = b->end;
        t->made++;
        (void)pthread_cond_broadcast(&t->changed);
    }
    t->packed = NULL;
    (void)pthread_cond_broadcast(&t->changed);
}

static void *run(void *arg)
{
    struct source_thread *const t = arg;

    (void)pthread_mutex_lock(&t->lock);
    while (!t->is_over) {
        if (t->packed != NULL)
            work(t);
        else
            (void)pthread_cond_wait(&t->changed, &t->lock);
    }
    (void)pthread_mutex_unlock(&t->lock);
    return NULL;
}

/* ---------------------------------------------------------------- life */

static void init_locks(struct source_thread *t)
{
    pthread_condattr_t monotonic;

    (void)pthread_mutex_init(&t->lock, NULL); /* none of these can fail here */
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&t->changed, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
}

static void discard(struct source_thread *t)
{
    (void)pthread_mutex_destroy(&t->lock);
    (void)pthread_cond_destroy(&t->changed);
    free(t->block);
    free(t);
}

int source_thread_new(struct source_thread **ret_thread, struct err *e)
{
    struct source_thread *const t = calloc(1, sizeof(*t));

    if (t == NULL)
        return err_set(e, -ENOMEM, "out of memory");
    init_locks(t);
    t->block = calloc(BLOCKS, sizeof(*t->block));
    const int code = t->block == NULL ? ENOMEM : pthread_create(&t->thread, NULL, run, t);
    if (code != 0) {
        discard(t);
        return err_set(e, -code, "can't start the thread that decompresses: %s", strerror(code));
    }
    *ret_thread = t;
    return 0;
}

struct source_thread *source_thread_free(struct source_thread *t)
{
    if (t == NULL)
        return NULL;
    (void)pthread_mutex_lock(&t->lock);
    t->is_stopping = t->is_over = true;
    (void)pthread_cond_broadcast(&t->changed);
    (void)pthread_mutex_unlock(&t->lock);
    (void)pthread_join(t->thread, NULL);
    discard(t);
    return NULL;
}

void source_thread_start(struct source_thread *t, struct packed *p)
{
    (void)pthread_mutex_lock(&t->lock);
    t->packed = p;
    t->is_stopping = t->has_block = false;
    t->made = t->taken = 0;
    (void)pthread_cond_broadcast(&t->changed);
    (void)pthread_mutex_unlock(&t->lock);
}

void source_thread_stop(struct source_thread *t)
{
    (void)pthread_mutex_lock(&t->lock);
    t->is_stopping = true;
    (void)pthread_cond_broadcast(&t->changed);
    while (t->packed != NULL)
        (void)pthread_cond_wait(&t->changed, &t->lock);
    (void)pthread_mutex_unlock(&t->lock);
}

/* ---------------------------------------------------------------- the reader */

/* Wait until block `next` was made. False: not within wait_ms. */
static bool wait_for(struct source_thread *t, uint64_t next, int wait_ms)
{
    const uint64_t ns =
        time_mono_ns() + (uint64_t)(wait_ms < 0 ? INT32_MAX : wait_ms) * WIND_NS_PER_MS;
    const struct timespec until = {.tv_sec = (time_t)(ns / WIND_NS_PER_S),
                                   .tv_nsec = (long)(ns % WIND_NS_PER_S)};
    int code = 0;

    (void)pthread_mutex_lock(&t->lock);
    while (t->made <= next && code != ETIMEDOUT)
        code = pthread_cond_timedwait(&t->changed, &t->lock, &until);
    const bool is_there = t->made > next;
    (void)pthread_mutex_unlock(&t->lock);
    return is_there;
}

static void give_back(struct source_thread *t)
{
    (void)pthread_mutex_lock(&t->lock);
    t->taken++;
    (void)pthread_cond_broadcast(&t->changed);
    (void)pthread_mutex_unlock(&t->lock);
}

enum source_fill source_thread_take(struct source_thread *t, struct span *window, int wait_ms)
{
    const uint64_t next = t->taken + t->has_block; /* `taken` is written by nobody but us */

    WIND_CHECK(window->left <= SOURCE_CARRY);
    if (t->has_block && t->block[t->taken % BLOCKS].end != SOURCE_FILLED)
        return t->block[t->taken % BLOCKS].end;
    if (!wait_for(t, next, wait_ms))
        return SOURCE_WAIT;
    struct block *const b = &t->block[next % BLOCKS];
    if (b->len == 0)
        return b->end; /* it stays the next one, and says so again */

    uint8_t *const start = b->bytes + SOURCE_CARRY - window->left;
    if (window->left > 0)
        memcpy(start, window->at, window->left);
    *window = (struct span){start, window->left + b->len};
    if (t->has_block)
        give_back(t);
    t->has_block = true;
    return SOURCE_FILLED;
}
