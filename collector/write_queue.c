#include "collector/write_queue.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "collector/db.h"
#include "collector/metrics.h"

struct write_queue {
    struct db *db;           /* borrowed */
    struct metrics *metrics; /* borrowed */
    struct write_ops ops;
    pthread_t thread;
    bool is_running;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t filled;
    struct write_job *first, **last;
    bool is_closed;
};

int write_queue_new(struct write_queue **ret, struct db *db, struct metrics *m,
                    const struct write_ops *ops, struct err *e)
{
    struct write_queue *q = calloc(1, sizeof(*q));

    if (q == NULL)
        return err_set(e, -ENOMEM, "writes: out of memory");
    q->db = db;
    q->metrics = m;
    q->ops = *ops;
    q->last = &q->first;
    q->is_closed = true;
    (void)pthread_mutex_init(&q->lock, NULL);
    (void)pthread_cond_init(&q->filled, NULL);
    *ret = q;
    return 0;
}

bool write_queue_put(struct write_queue *q, struct write_job *j, void (*ready)(void *arg),
                     void *arg)
{
    (void)pthread_mutex_lock(&q->lock);
    const bool is_open = !q->is_closed;
    if (is_open) {
        ready(arg);
        j->next = NULL;
        *q->last = j;
        q->last = &j->next;
        (void)pthread_cond_signal(&q->filled);
    }
    (void)pthread_mutex_unlock(&q->lock);
    return is_open;
}

/* Up to WRITE_GROUP jobs, or NULL at the end. */
static struct write_job *take(struct write_queue *q)
{
    struct write_job *group = NULL;

    (void)pthread_mutex_lock(&q->lock);
    while (q->first == NULL && !q->is_closed)
        (void)pthread_cond_wait(&q->filled, &q->lock);
    group = q->first;
    struct write_job *end = group;
    for (size_t n = 1; end != NULL && end->next != NULL && n < WRITE_GROUP; n++)
        end = end->next;
    if (end != NULL) {
        q->first = end->next;
        end->next = NULL;
        if (q->first == NULL)
            q->last = &q->first;
    }
    (void)pthread_mutex_unlock(&q->lock);
    return group;
}

static void run_group(struct write_queue *q, struct write_job *group)
{
    struct err e = {0};
    uint64_t n = 0;

    for (const struct write_job *j = group; j != NULL; j = j->next)
        n++;
    int r = db_group_begin(q->db, &e);
    if (r == 0) {
        q->ops.run(q->ops.arg, group);
        r = db_group_end(q->db, &e);
        metrics_add(q->metrics, METRICS_WRITE_GROUPS, 1);
        metrics_add(q->metrics, METRICS_WRITE_GROUPED, n);
    }
    q->ops.after(q->ops.arg, group, r, &e); /* the jobs are not ours any more */
}

static void *work(void *arg)
{
    struct write_queue *q = arg;
    struct write_job *group;

    while ((group = take(q)) != NULL)
        run_group(q, group);
    return NULL;
}

int write_queue_start(struct write_queue *q, struct err *e)
{
    q->is_closed = false; /* before the thread looks at it */
    const int r = pthread_create(&q->thread, NULL, work, q);

    if (r != 0)
        return err_set(e, -r, "writes: no thread: %s", strerror(r));
    q->is_running = true;
    return 0;
}

void write_queue_stop(struct write_queue *q)
{
    if (q == NULL || !q->is_running)
        return;
    (void)pthread_mutex_lock(&q->lock);
    q->is_closed = true;
    (void)pthread_cond_signal(&q->filled);
    (void)pthread_mutex_unlock(&q->lock);
    (void)pthread_join(q->thread, NULL);
    q->is_running = false;
}

struct write_queue *write_queue_free(struct write_queue *q)
{
    if (q == NULL)
        return NULL;
    write_queue_stop(q);
    (void)pthread_mutex_destroy(&q->lock);
    (void)pthread_cond_destroy(&q->filled);
    free(q);
    return NULL;
}
