#include "collector/db.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "collector/db_backend.h"

#define READERS_DEFAULT 8
#define BUSY_MS_DEFAULT 10000

/* A prepared statement of one connection; `text` finds it again. */
struct entry {
    char *text;
    size_t len;
    void *native;
    bool in_use, is_cached;
};

struct conn {
    void *native;
    struct entry *cache[DB_CACHED];
    size_t n_cached;
    struct conn *next; /* in the list of idle readers */
};

/* What callers hold. Loses its entry when its transaction ends first. */
struct db_stmt {
    struct db_tx *tx;
    struct entry *entry;
    struct db_stmt *next;
};

struct db_tx {
    struct db *db;
    struct conn *conn;
    struct db_stmt *stmts;
    enum db_mode mode;
};

struct db {
    const struct db_ops *ops;
    struct db_conf conf;
    char *path;
    struct conn *writer;
    pthread_mutex_t lock; /* guards what follows, up to `writing` */
    pthread_cond_t reader_idle, writer_idle;
    struct conn *idle;
    unsigned n_readers;
    bool is_writing;
    pthread_t writing; /* whose write it is */
    void (*on_commit)(void *arg);
    void *on_commit_arg;
    _Atomic uint64_t commits, rollbacks, waits_failed;
    int schema;
};

static struct timespec deadline(int ms)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_sec += ms / 1000;
    t.tv_nsec += (long)(ms % 1000) * 1000000;
    if (t.tv_nsec >= 1000000000) {
        t.tv_sec++;
        t.tv_nsec -= 1000000000;
    }
    return t;
}

/* ---------------------------------------------------------------- connections */

static void entry_free(const struct db_ops *ops, struct entry *en)
{
    if (en == NULL)
        return;
    ops->finalize(en->native);
    free(en->text);
    free(en);
}

static struct conn *conn_free(const struct db_ops *ops, struct conn *c)
{
    if (c == NULL)
        return NULL;
    for (size_t i = 0; i < c->n_cached; i++)
        entry_free(ops, c->cache[i]);
    ops->disconnect(c->native);
    free(c);
    return NULL;
}

static int conn_new(struct db *db, bool is_writer, struct conn **ret_conn, struct err *e)
{
    struct conn *c = calloc(1, sizeof(*c));

    if (c == NULL)
        return err_set(e, -ENOMEM, "database: out of memory");
    const int r = db->ops->connect(&db->conf, is_writer, &c->native, e);
    if (r != 0) {
        free(c);
        return r;
    }
    *ret_conn = c;
    return 0;
}

struct db *db_free(struct db *db)
{
    if (db == NULL)
        return NULL;
    while (db->idle != NULL) {
        struct conn *c = db->idle;
        db->idle = c->next;
        (void)conn_free(db->ops, c);
    }
    (void)conn_free(db->ops, db->writer); /* last: its close folds the WAL into the file */
    (void)pthread_mutex_destroy(&db->lock);
    (void)pthread_cond_destroy(&db->reader_idle);
    (void)pthread_cond_destroy(&db->writer_idle);
    free(db->path);
    free(db);
    return NULL;
}

static void locks_init(struct db *db)
{
    pthread_condattr_t mono;

    (void)pthread_mutex_init(&db->lock, NULL);
    (void)pthread_condattr_init(&mono);
    (void)pthread_condattr_setclock(&mono, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&db->reader_idle, &mono);
    (void)pthread_cond_init(&db->writer_idle, &mono);
    (void)pthread_condattr_destroy(&mono);
}

int db_open(struct db **ret_db, const struct db_conf *conf, struct err *e)
{
    WIND_AUTO(db) struct db *db = calloc(1, sizeof(*db));

    if (db == NULL)
        return err_set(e, -ENOMEM, "database: out of memory");
    db->ops = &db_sqlite_ops;
    db->conf = *conf;
    locks_init(db);
    db->path = strdup(conf->path);
    if (db->path == NULL)
        return err_set(e, -ENOMEM, "database: out of memory");
    db->conf.path = db->path;
    if (conf->readers == 0)
        db->conf.readers = READERS_DEFAULT;
    if (conf->busy_ms == 0)
        db->conf.busy_ms = BUSY_MS_DEFAULT;
    int r = conn_new(db, true, &db->writer, e);
    if (r == 0)
        r = db_migrate(db, db->ops->migrations, &db->schema, e);
    if (r != 0)
        return r;
    *ret_db = WIND_STEAL(db);
    return 0;
}

void db_on_commit(struct db *db, void (*fn)(void *arg), void *arg)
{
    db->on_commit = fn;
    db->on_commit_arg = arg;
}

void db_stats(struct db *db, struct db_stats *ret_stats)
{
    *ret_stats = (struct db_stats){
        .commits = atomic_load_explicit(&db->commits, memory_order_relaxed),
        .rollbacks = atomic_load_explicit(&db->rollbacks, memory_order_relaxed),
        .waits_failed = atomic_load_explicit(&db->waits_failed, memory_order_relaxed),
        .schema = db->schema,
    };
    db->ops->sizes(&db->conf, &ret_stats->file_bytes, &ret_stats->wal_bytes);
}

/* ---------------------------------------------------------------- transactions */

/* Take an idle reader, or make one while fewer than conf.readers exist, or wait for one. */
static int reader_take(struct db *db, struct conn **ret_conn, struct err *e)
{
    const struct timespec until = deadline(db->conf.busy_ms);
    struct conn *c = NULL;
    int r = 0;

    (void)pthread_mutex_lock(&db->lock);
    while (r == 0 && db->idle == NULL && db->n_readers >= db->conf.readers)
        r = pthread_cond_timedwait(&db->reader_idle, &db->lock, &until);
    if (db->idle != NULL) {
        c = db->idle;
        db->idle = c->next;
        r = 0;
    } else if (r == 0) {
        db->n_readers++;
    }
    (void)pthread_mutex_unlock(&db->lock);

    if (r != 0) {
        atomic_fetch_add_explicit(&db->waits_failed, 1, memory_order_relaxed);
        return err_set(e, -EBUSY, "database: all %u readers are busy", db->conf.readers);
    }
    if (c == NULL) {
        r = conn_new(db, false, &c, e);
        if (r != 0) {
            (void)pthread_mutex_lock(&db->lock);
            db->n_readers--;
            (void)pthread_cond_signal(&db->reader_idle);
            (void)pthread_mutex_unlock(&db->lock);
            return r;
        }
    }
    *ret_conn = c;
    return 0;
}

static void reader_give(struct db *db, struct conn *c)
{
    (void)pthread_mutex_lock(&db->lock);
    c->next = db->idle;
    db->idle = c;
    (void)pthread_cond_signal(&db->reader_idle);
    (void)pthread_mutex_unlock(&db->lock);
}

static int writer_take(struct db *db, struct conn **ret_conn, struct err *e)
{
    const struct timespec until = deadline(db->conf.busy_ms);
    int r = 0;

    (void)pthread_mutex_lock(&db->lock);
    if (db->is_writing && pthread_equal(db->writing, pthread_self()))
        r = EDEADLK;
    while (r == 0 && db->is_writing)
        r = pthread_cond_timedwait(&db->writer_idle, &db->lock, &until);
    if (!db->is_writing) {
        db->is_writing = true;
        db->writing = pthread_self();
        r = 0;
    }
    (void)pthread_mutex_unlock(&db->lock);

    if (r == EDEADLK)
        return err_set(e, -EDEADLK, "database: this thread writes already");
    if (r != 0) {
        atomic_fetch_add_explicit(&db->waits_failed, 1, memory_order_relaxed);
        return err_set(e, -EBUSY, "database: the writer is busy");
    }
    *ret_conn = db->writer;
    return 0;
}

static void writer_give(struct db *db)
{
    (void)pthread_mutex_lock(&db->lock);
    db->is_writing = false;
    (void)pthread_cond_signal(&db->writer_idle);
    (void)pthread_mutex_unlock(&db->lock);
}

static void conn_give(struct db *db, struct conn *c, bool is_write)
{
    if (is_write)
        writer_give(db);
    else
        reader_give(db, c);
}

static int tx_new(struct db *db, enum db_mode mode, struct db_tx **ret_tx, struct err *e)
{
    const bool is_write = mode == DB_MODE_WRITE;
    struct conn *c = NULL;
    struct db_tx *tx = calloc(1, sizeof(*tx));

    if (tx == NULL)
        return err_set(e, -ENOMEM, "database: out of memory");
    int r = is_write ? writer_take(db, &c, e) : reader_take(db, &c, e);
    if (r == 0) {
        WIND_CHECK(c != NULL);
        r = db->ops->begin(c->native, mode, e);
        if (r != 0)
            conn_give(db, c, is_write);
    }
    if (r != 0) {
        free(tx);
        return r;
    }
    *tx = (struct db_tx){.db = db, .conn = c, .mode = mode};
    *ret_tx = tx;
    return 0;
}

int db_begin_read(struct db *db, struct db_tx **ret_tx, struct err *e)
{
    return tx_new(db, DB_MODE_READ, ret_tx, e);
}

int db_begin_single(struct db *db, struct db_tx **ret_tx, struct err *e)
{
    return tx_new(db, DB_MODE_SINGLE, ret_tx, e);
}

int db_begin_list(struct db *db, struct db_tx **ret_tx, struct err *e)
{
    return tx_new(db, DB_MODE_SINGLE, ret_tx, e);
}

int db_begin_write(struct db *db, struct db_tx **ret_tx, struct err *e)
{
    return tx_new(db, DB_MODE_WRITE, ret_tx, e);
}

/* The entry goes back to the cache, or away. */
static void entry_release(const struct db_ops *ops, struct entry *en)
{
    if (!en->is_cached) {
        entry_free(ops, en);
        return;
    }
    ops->reset(en->native);
    en->in_use = false;
}

static void tx_end(struct db_tx *tx)
{
    struct db *db = tx->db;

    for (struct db_stmt *s = tx->stmts; s != NULL; s = s->next) {
        entry_release(db->ops, s->entry);
        s->entry = NULL;
        s->tx = NULL;
    }
    conn_give(db, tx->conn, tx->mode == DB_MODE_WRITE);
    free(tx);
}

/* Statements in the middle of their rows would keep a read transaction open. */
static void stmts_reset(struct db_tx *tx)
{
    for (struct db_stmt *s = tx->stmts; s != NULL; s = s->next)
        tx->db->ops->reset(s->entry->native);
}

struct db_tx *db_tx_free(struct db_tx *tx)
{
    if (tx == NULL)
        return NULL;
    stmts_reset(tx);
    (void)tx->db->ops->end(tx->conn->native, tx->mode, false, NULL);
    if (tx->mode == DB_MODE_WRITE)
        atomic_fetch_add_explicit(&tx->db->rollbacks, 1, memory_order_relaxed);
    tx_end(tx);
    return NULL;
}

int db_commit(struct db_tx **tx, struct err *e)
{
    struct db *db = (*tx)->db;
    const enum db_mode mode = (*tx)->mode;

    stmts_reset(*tx);
    const int r = db->ops->end((*tx)->conn->native, mode, true, e);
    if (r != 0) {
        *tx = db_tx_free(*tx);
        return r < 0 ? r : err_set(e, -EINVAL, "database: commit: a key does not fit");
    }
    tx_end(*tx);
    *tx = NULL;
    if (mode == DB_MODE_WRITE) {
        atomic_fetch_add_explicit(&db->commits, 1, memory_order_relaxed);
        if (db->on_commit != NULL)
            db->on_commit(db->on_commit_arg);
    }
    return 0;
}

int db_script(struct db_tx *tx, const char *sql, struct err *e)
{
    return tx->db->ops->script(tx->conn->native, sql, e);
}

enum db_engine db_engine(const struct db_tx *tx)
{
    return tx->db->ops->engine;
}

const struct db_ops *db_tx_ops(const struct db_tx *tx)
{
    return tx->db->ops;
}

void *db_tx_conn(const struct db_tx *tx)
{
    return tx->conn->native;
}

/* ---------------------------------------------------------------- statements */

static struct entry *cache_find(struct conn *c, const char *sql, size_t len)
{
    for (size_t i = 0; i < c->n_cached; i++) {
        struct entry *en = c->cache[i];
        if (!en->in_use && en->len == len && memcmp(en->text, sql, len) == 0)
            return en;
    }
    return NULL;
}

/* A place in the cache; a full one gives up the first that nobody uses. */
static bool cache_put(const struct db_ops *ops, struct conn *c, struct entry *en)
{
    if (c->n_cached < DB_CACHED) {
        c->cache[c->n_cached++] = en;
        return true;
    }
    for (size_t i = 0; i < DB_CACHED; i++) {
        if (c->cache[i]->in_use)
            continue;
        entry_free(ops, c->cache[i]);
        for (; i + 1 < DB_CACHED; i++) /* the oldest stay in front */
            c->cache[i] = c->cache[i + 1];
        c->cache[DB_CACHED - 1] = en;
        return true;
    }
    return false;
}

static int entry_take(struct db_tx *tx, const char *sql, struct entry **ret_entry, struct err *e)
{
    const struct db_ops *ops = tx->db->ops;
    const size_t len = strlen(sql);
    struct entry *en = cache_find(tx->conn, sql, len);

    if (en == NULL) {
        en = calloc(1, sizeof(*en));
        if (en == NULL)
            return err_set(e, -ENOMEM, "database: out of memory");
        en->len = len;
        en->text = strdup(sql);
        const int r = en->text == NULL ? err_set(e, -ENOMEM, "database: out of memory")
                                       : ops->prepare(tx->conn->native, sql, &en->native, e);
        if (r != 0) {
            free(en->text);
            free(en);
            return r;
        }
        en->is_cached = cache_put(ops, tx->conn, en);
    }
    en->in_use = true;
    *ret_entry = en;
    return 0;
}

int db_again(struct db_stmt *s, const struct db_value *args, size_t n_args, struct err *e)
{
    int r = 0;

    if (s->entry == NULL)
        return err_set(e, -EINVAL, "database: this statement's transaction is over");
    const struct db_ops *ops = s->tx->db->ops;
    ops->reset(s->entry->native);
    for (size_t i = 0; r == 0 && i < n_args; i++)
        r = ops->bind(s->entry->native, i + 1, &args[i], e);
    return r;
}

/* A handle of `tx` on the statement of this text. */
static int stmt_new(struct db_tx *tx, const char *sql, struct db_stmt **ret_stmt, struct err *e)
{
    struct db_stmt *s = calloc(1, sizeof(*s));

    if (s == NULL)
        return err_set(e, -ENOMEM, "database: out of memory");
    const int r = entry_take(tx, sql, &s->entry, e);
    if (r != 0) {
        free(s);
        return r;
    }
    WIND_CHECK(s->entry != NULL);
    s->tx = tx;
    s->next = tx->stmts;
    tx->stmts = s;
    *ret_stmt = s;
    return 0;
}

int db_query(struct db_tx *tx, const char *sql, const struct db_value *args, size_t n_args,
             struct db_stmt **ret_stmt, struct err *e)
{
    struct db_stmt *s = NULL;

    int r = stmt_new(tx, sql, &s, e);
    if (r != 0)
        return r;
    WIND_CHECK(s != NULL);
    r = db_again(s, args, n_args, e);
    if (r != 0) {
        (void)db_stmt_free(s);
        return r;
    }
    *ret_stmt = s;
    return 0;
}

struct db_stmt *db_stmt_free(struct db_stmt *s)
{
    if (s == NULL)
        return NULL;
    if (s->tx != NULL) {
        struct db_stmt **at = &s->tx->stmts;
        while (*at != s)
            at = &(*at)->next;
        *at = s->next;
        entry_release(s->tx->db->ops, s->entry);
    }
    free(s);
    return NULL;
}

int db_step(struct db_stmt *s, struct err *e)
{
    if (s->entry == NULL)
        return err_set(e, -EINVAL, "database: this statement's transaction is over");
    return s->tx->db->ops->step(s->entry->native, e);
}

int db_query_row(struct db_tx *tx, const char *sql, const struct db_value *args, size_t n_args,
                 struct db_stmt **ret_stmt, struct err *e)
{
    const int r = db_query(tx, sql, args, n_args, ret_stmt, e);

    return r == 0 ? db_step(*ret_stmt, e) : r;
}

int db_query_i64(struct db_tx *tx, const char *sql, const struct db_value *args, size_t n_args,
                 int64_t *ret_value, struct err *e)
{
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;
    const int r = db_query_row(tx, sql, args, n_args, &s, e);

    if (r == DB_ROW && s != NULL)
        *ret_value = db_i64(s, 0);
    return r == DB_ROW ? 0 : r;
}

int db_run(struct db_tx *tx, const char *sql, const struct db_value *args, size_t n_args,
           int64_t *ret_changed, struct err *e)
{
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;
    int r = db_query(tx, sql, args, n_args, &s, e);

    if (r == 0)
        do
            r = db_step(s, e);
        while (r == DB_ROW);
    if (r == 0 && ret_changed != NULL)
        *ret_changed = tx->db->ops->changed(tx->conn->native);
    return r;
}

int db_defer(struct db_tx *tx, const char *sql, const struct db_value *args, size_t n_args,
             struct err *e)
{
    const int r = db_run(tx, sql, args, n_args, NULL, e);

    return r == DB_CONFLICT ? err_set(e, -EINVAL, "database: a key does not fit") : r;
}

int64_t db_i64(struct db_stmt *s, int col)
{
    return s->entry == NULL ? 0 : s->tx->db->ops->col_i64(s->entry->native, col);
}

double db_real(struct db_stmt *s, int col)
{
    return s->entry == NULL ? 0 : s->tx->db->ops->col_f64(s->entry->native, col);
}

const char *db_text(struct db_stmt *s, int col)
{
    return s->entry == NULL ? NULL : s->tx->db->ops->col_text(s->entry->native, col);
}

const void *db_blob(struct db_stmt *s, int col, size_t *ret_len)
{
    *ret_len = 0;
    return s->entry == NULL ? NULL : s->tx->db->ops->col_blob(s->entry->native, col, ret_len);
}

bool db_is_null(struct db_stmt *s, int col)
{
    return s->entry == NULL || s->tx->db->ops->col_null(s->entry->native, col);
}
