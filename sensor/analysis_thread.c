#include "sensor/analysis_thread.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct analysis_thread {
    pthread_t thread;
    bool is_joined;
    sem_t go;                  /* `analysis` is set, or the end has come */
    struct analysis *analysis; /* NULL when told to go: end at once */
    struct ring *flows;
    const struct counters *counters;
    _Atomic bool
        is_complete; /* nothing more will be committed: release, pairs with step's acquire */
};

/* Returns false when the last record is through. */
static bool step(struct analysis_thread *t)
{
    /* Both before the records: whatever was committed before them is seen by analysis_step. */
    const bool is_complete = atomic_load_explicit(&t->is_complete, memory_order_acquire);
    const uint64_t clock_ns =
        atomic_load_explicit(&t->counters->clock_ns, memory_order_acquire); /* worker's publish */

    if (analysis_step(t->analysis) == 0 && !is_complete)
        ring_wait_data(t->flows, 0, ANALYSIS_THREAD_WAIT_MS);
    analysis_tick(t->analysis, clock_ns);
    return !is_complete;
}

static void *run(void *arg)
{
    struct analysis_thread *t = arg;

    while (sem_wait(&t->go) != 0)
        ; /* a signal */
    while (t->analysis != NULL && step(t))
        ;
    return NULL;
}

int analysis_thread_new(struct analysis_thread **ret_thread, struct ring *flows,
                        const struct counters *counters, struct err *e)
{
    struct analysis_thread *t = calloc(1, sizeof(*t));

    if (t == NULL)
        return err_set(e, -ENOMEM, "out of memory");
    t->flows = flows;
    t->counters = counters;
    (void)sem_init(&t->go, 0, 0); /* fails for values above SEM_VALUE_MAX only */
    const int code = pthread_create(&t->thread, NULL, run, t);
    if (code != 0) {
        (void)sem_destroy(&t->go);
        free(t);
        return err_set(e, -code, "can't start the analysis thread: %s", strerror(code));
    }
    *ret_thread = t;
    return 0;
}

void analysis_thread_start(struct analysis_thread *t, struct analysis *a)
{
    t->analysis = a;
    (void)sem_post(&t->go);
}

void analysis_thread_join(struct analysis_thread *t)
{
    atomic_store_explicit(&t->is_complete, true, memory_order_release);
    if (t->analysis == NULL)
        (void)sem_post(&t->go);
    (void)pthread_join(t->thread, NULL);
    t->is_joined = true;
}

struct analysis_thread *analysis_thread_free(struct analysis_thread *t)
{
    if (t != NULL) {
        if (!t->is_joined)
            analysis_thread_join(t);
        (void)sem_destroy(&t->go);
        free(t);
    }
    return NULL;
}
