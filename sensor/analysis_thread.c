#include "sensor/analysis_thread.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "sensor/standby.h"

struct analysis_thread {
    struct standby *thread;
    struct analysis *analysis;
    bool is_live;
    _Atomic bool
        is_complete; /* nothing more will be committed: release, pairs with step's acquire */
};

/* Returns false when the last record is through. */
static bool step(struct analysis_thread *t)
{
    /* Both before the records: whatever was committed before them is seen by analysis_step. */
    const bool is_complete = atomic_load_explicit(&t->is_complete, memory_order_acquire);
    const uint64_t clock_ns = analysis_clock(t->analysis);

    if (analysis_step(t->analysis) == 0 && !is_complete)
        analysis_wait(t->analysis, ANALYSIS_THREAD_WAIT_MS);
    if (t->is_live) /* in replay the records alone say what time it is: the same in every run */
        analysis_tick(t->analysis, clock_ns);
    return !is_complete;
}

static void run(void *arg)
{
    struct analysis_thread *t = arg;

    while (step(t))
        ;
}

int analysis_thread_new(struct analysis_thread **ret_thread, struct err *e)
{
    struct analysis_thread *t = calloc(1, sizeof(*t));

    if (t == NULL)
        return err_set(e, -ENOMEM, "out of memory");
    const int r = standby_new(&t->thread, "analysis", e);
    if (r < 0) {
        free(t);
        return r;
    }
    *ret_thread = t;
    return 0;
}

void analysis_thread_start(struct analysis_thread *t, struct analysis *a, bool is_live)
{
    t->analysis = a;
    t->is_live = is_live;
    standby_start(t->thread, run, t);
}

void analysis_thread_join(struct analysis_thread *t)
{
    atomic_store_explicit(&t->is_complete, true, memory_order_release);
    analysis_wake(t->analysis);
    standby_join(t->thread);
}

struct analysis_thread *analysis_thread_free(struct analysis_thread *t)
{
    if (t != NULL) {
        atomic_store_explicit(&t->is_complete, true, memory_order_release);
        t->thread = standby_free(t->thread);
        free(t);
    }
    return NULL;
}
