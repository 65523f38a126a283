/*
 * write_queue.h - small writes of many requests become one commit.
 *
 * Why      A commit that lasts waits for the disk, and costs more than what is written. One
 *          thread takes all that wait, runs them in one transaction, each as a part that is kept
 *          or undone alone, and tells all of them together how the commit went.
 * Owns     The thread. Jobs belong to who put them in, from `after` on again.
 * Threads  new, start, stop, free: main. put: any. The operations: the queue's thread.
 * Bounds   A connection has at most one job, so api.connections bounds the queue;
 *          WRITE_GROUP jobs share a commit.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"

#define WRITE_GROUP 64

struct db;
struct metrics;

struct write_job {
    void *of;
    struct write_job *next; /* the next of its group */
};

/* What is done with a group, a list of jobs. */
struct write_ops {
    void *arg;
    void (*run)(void *arg, struct write_job *group); /* what begins as a write is a part */
    /* 0: what was kept lasts. < 0: nothing does, and it may not even have been run. */
    void (*after)(void *arg, struct write_job *group, int result, const struct err *why);
};

struct write_queue;

WIND_MUST_USE int write_queue_new(struct write_queue **ret, struct db *db, struct metrics *m,
                                  const struct write_ops *ops, struct err *e);
WIND_MUST_USE int write_queue_start(struct write_queue *q, struct err *e);
void write_queue_stop(struct write_queue *q); /* runs what is there; from here on put is false */
struct write_queue *write_queue_free(struct write_queue *q);
WIND_DEFINE_FREE(write_queue)

/*
 * False: it has stopped, do it yourself. `ready` (with `arg`) is called before the job can run:
 * the connection has to be out of the way by then.
 */
bool write_queue_put(struct write_queue *q, struct write_job *j, void (*ready)(void *arg),
                     void *arg);
