#include "collector/db_pool.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#define PAUSE_MIN_MS 100
#define PAUSE_MAX_MS 5000

int64_t db_now_ms(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

void db_pool_init(struct db_pool *p, const struct db_ops *ops, const struct db_conf *conf,
                  enum db_role role, unsigned max)
{
    pthread_condattr_t mono;

    *p = (struct db_pool){.ops = ops, .conf = conf, .role = role, .max = max};
    (void)pthread_mutex_init(&p->lock, NULL);
    (void)pthread_condattr_init(&mono);
    (void)pthread_condattr_setclock(&mono, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&p->given, &mono);
    (void)pthread_condattr_destroy(&mono);
}

/* ---------------------------------------------------------------- connections */

void db_entry_free(const struct db_ops *ops, struct db_entry *en)
{
    if (en == NULL)
        return;
    ops->finalize(en->native);
    free(en->text);
    free(en);
}

static void conn_free(struct db_conn *c)
{
    const struct db_ops *ops = c->pool->ops;

    for (size_t i = 0; i < c->n_cached; i++)
        db_entry_free(ops, c->cache[i]);
    ops->disconnect(c->native);
    free(c);
}

void db_pool_done(struct db_pool *p)
{
    if (p->ops == NULL)
        return;
    while (p->idle != NULL) {
        struct db_conn *c = p->idle;
        p->idle = c->next;
        conn_free(c);
    }
    (void)pthread_mutex_destroy(&p->lock);
    (void)pthread_cond_destroy(&p->given);
    p->ops = NULL;
}

/* May this thread try? The first that finds the database away does, for all. */
static bool may_try(struct db_pool *p)
{
    (void)pthread_mutex_lock(&p->lock);
    const bool may = p->pause_ms == 0 || (!p->is_trying && db_now_ms() >= p->retry_at_ms);
    p->is_trying = p->is_trying || (may && p->pause_ms > 0);
    (void)pthread_mutex_unlock(&p->lock);
    return may;
}

static void note_try(struct db_pool *p, bool is_there, const struct err *e)
{
    (void)pthread_mutex_lock(&p->lock);
    if (!is_there)
        p->why = *e;
    p->is_trying = false;
    p->connects_failed += !is_there;
    p->pause_ms = is_there ? 0 : p->pause_ms == 0 ? PAUSE_MIN_MS : 2 * p->pause_ms;
    if (p->pause_ms > PAUSE_MAX_MS)
        p->pause_ms = PAUSE_MAX_MS;
    p->retry_at_ms = db_now_ms() + p->pause_ms;
    (void)pthread_mutex_unlock(&p->lock);
}

static int say_away(struct db_pool *p, struct err *e)
{
    (void)pthread_mutex_lock(&p->lock);
    const struct err why = p->why;
    (void)pthread_mutex_unlock(&p->lock);
    return err_set(e, -EAGAIN, "%s; it is asked again soon", why.text);
}

static int conn_new(struct db_pool *p, struct db_conn **ret_conn, struct err *e)
{
    struct db_conn *c = calloc(1, sizeof(*c));

    if (c == NULL)
        return err_set(e, -ENOMEM, "database: out of memory");
    c->pool = p;
    struct err tried = {0};
    int r = may_try(p) ? 0 : say_away(p, e);
    if (r == 0) {
        r = p->ops->connect(p->conf, p->role, &c->native, &tried);
        note_try(p, r == 0, &tried);
        if (r != 0)
            (void)err_set(e, r, "%s", tried.text);
    }
    if (r != 0) {
        free(c);
        return r;
    }
    *ret_conn = c;
    return 0;
}

/* ---------------------------------------------------------------- taking turns */

static int busy(struct db_pool *p, struct err *e)
{
    return p->role == DB_WRITER ? err_set(e, -EBUSY, "database: the writer is busy")
                                : err_set(e, -EBUSY, "database: all %u readers are busy", p->max);
}

/* A place: an idle connection, or the right to make one (*ret_conn NULL). */
static int take_place(struct db_pool *p, struct db_conn **ret_conn, struct err *e)
{
    const int64_t until_ms = db_now_ms() + p->conf->busy_ms;
    const struct timespec until = {.tv_sec = until_ms / 1000, .tv_nsec = until_ms % 1000 * 1000000};
    int r = 0;

    (void)pthread_mutex_lock(&p->lock);
    const bool is_full = p->idle == NULL && p->n >= p->max;
    if (is_full && p->role == DB_WRITER && pthread_equal(p->holder, pthread_self()))
        r = EDEADLK;
    while (r == 0 && p->idle == NULL && p->n >= p->max)
        r = pthread_cond_timedwait(&p->given, &p->lock, &until);
    if (p->idle != NULL) {
        *ret_conn = p->idle;
        p->idle = p->idle->next;
        r = 0;
    } else if (p->n < p->max) {
        *ret_conn = NULL;
        p->n++;
        r = 0;
    }
    if (r == 0)
        p->holder = pthread_self();
    else if (r != EDEADLK)
        p->waits_failed++;
    (void)pthread_mutex_unlock(&p->lock);
    if (r == EDEADLK)
        return err_set(e, -EDEADLK, "database: this thread writes already");
    return r == 0 ? 0 : busy(p, e);
}

static void leave_place(struct db_pool *p, bool is_lost)
{
    (void)pthread_mutex_lock(&p->lock);
    p->n--;
    p->lost += is_lost;
    (void)pthread_cond_signal(&p->given);
    (void)pthread_mutex_unlock(&p->lock);
}

int db_pool_take(struct db_pool *p, struct db_conn **ret_conn, struct err *e)
{
    struct db_conn *c = NULL;

    int r = take_place(p, &c, e);
    if (r != 0)
        return r;
    if (c != NULL && p->ops->is_alive != NULL && !p->ops->is_alive(c->native)) {
        conn_free(c); /* its place is ours */
        c = NULL;
    }
    if (c == NULL) {
        r = conn_new(p, &c, e);
        if (r != 0)
            leave_place(p, false);
    }
    if (r == 0)
        *ret_conn = c;
    return r;
}

void db_pool_give(struct db_conn *c)
{
    struct db_pool *p = c->pool;

    if (p->ops->is_alive != NULL && !p->ops->is_alive(c->native)) {
        conn_free(c);
        leave_place(p, true);
        return;
    }
    (void)pthread_mutex_lock(&p->lock);
    c->next = p->idle;
    p->idle = c;
    (void)pthread_cond_signal(&p->given);
    (void)pthread_mutex_unlock(&p->lock);
}
