/*
 * db_pool.h - connections of one kind, and waiting for them. Only db*.c.
 *
 * Why      Who wants a connection waits its turn, and no longer than busy_ms; a database that is
 *          away is asked again with growing pauses, by one thread at a time.
 * Owns     The connections that nobody has.
 * Threads  Any.
 * Bounds   `max` connections. While the database is away: one attempt each 0.1 to 5 s, everybody
 *          else is told -EAGAIN at once.
 */
#pragma once

#include <pthread.h>

#include "collector/db_backend.h"

/* A prepared statement of one connection; `text` finds it again. */
struct db_entry {
    char *text;
    size_t len;
    void *native;
    bool in_use, is_cached;
};

struct db_conn {
    void *native;
    struct db_pool *pool;
    struct db_entry *cache[DB_CACHED];
    size_t n_cached;
    struct db_conn *next; /* of those that nobody has */
};

struct db_pool {
    const struct db_ops *ops;
    const struct db_conf *conf;
    enum db_role role;
    unsigned max;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t given;
    struct db_conn *idle;
    unsigned n;       /* connections, idle or not */
    pthread_t holder; /* of the writer */
    bool is_trying;
    int64_t retry_at_ms, pause_ms; /* 0: it was there when last asked */
    struct err why;                /* it was not */
    uint64_t waits_failed, connects_failed, lost;
};

void db_pool_init(struct db_pool *p, const struct db_ops *ops, const struct db_conf *conf,
                  enum db_role role, unsigned max);
void db_pool_done(struct db_pool *p);

/* -EBUSY: none came free in time. -EDEADLK: this thread has the writer. -EAGAIN: away. */
WIND_MUST_USE int db_pool_take(struct db_pool *p, struct db_conn **ret_conn, struct err *e);
void db_pool_give(struct db_conn *c);

void db_entry_free(const struct db_ops *ops, struct db_entry *en);

/* Milliseconds of a clock that only runs forward. */
int64_t db_now_ms(void);
