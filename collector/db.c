#include "collector/db.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "collector/db_replica.h"

#define READERS_DEFAULT 8
#define BUSY_MS_DEFAULT 10000
#define READ_MS_DEFAULT 30000
#define LAG_MS_DEFAULT  5000
#define SIZED_EACH_MS   15000

/* What callers hold. Loses its entry when its transaction ends first. */
struct db_stmt {
    struct db_tx *tx;
    struct db_entry *entry;
    struct db_stmt *next;
};

struct db_tx {
    struct db *db;
    struct db_conn *conn;
    struct db_stmt *stmts;
    enum db_mode mode;
};

struct db {
    const struct db_ops *ops;
    struct db_conf conf;
    char *texts[4]; /* of conf */
    struct db_pool writer, beside, readers, replicas;
    struct db_replica replica;
    struct db_conn *group; /* the writer, while it is a group's; written under writer.lock */
    bool has_part;         /* of the group's thread alone */
    void (*on_commit)(void *arg);
    void *on_commit_arg;
    _Atomic uint64_t commits, rollbacks, size;
    _Atomic int64_t memory[DB_MEMORIES];
    _Atomic int64_t sized_ms; /* when `size` was asked for */
    int schema;
};

struct db *db_free(struct db *db)
{
    if (db == NULL)
        return NULL;
    db_replica_done(&db->replica);
    db_pool_done(&db->replicas);
    db_pool_done(&db->readers);
    db_pool_done(&db->beside);
    db_pool_done(&db->writer); /* last: SQLite's close folds the WAL into the file */
    for (size_t i = 0; i < WIND_ARRAY_SIZE(db->texts); i++)
        free(db->texts[i]);
    free(db);
    return NULL;
}

static int copy_conf(struct db *db, const struct db_conf *conf, struct err *e)
{
    const char *const texts[] = {conf->path, conf->url, conf->password_file, conf->replica_url};
    const char **const copies[] = {&db->conf.path, &db->conf.url, &db->conf.password_file,
                                   &db->conf.replica_url};

    db->conf = *conf;
    for (size_t i = 0; i < WIND_ARRAY_SIZE(texts); i++) {
        db->texts[i] = strdup(texts[i] == NULL ? "" : texts[i]);
        if (db->texts[i] == NULL)
            return err_set(e, -ENOMEM, "database: out of memory");
        *copies[i] = db->texts[i];
    }
    if (conf->readers == 0)
        db->conf.readers = READERS_DEFAULT;
    if (conf->busy_ms == 0)
        db->conf.busy_ms = BUSY_MS_DEFAULT;
    if (conf->read_ms == 0)
        db->conf.read_ms = READ_MS_DEFAULT;
    return 0;
}

/* A server that is just starting, too, gets busy_ms. */
static int wait_for_it(struct db *db, struct err *e)
{
    const int64_t until = db_now_ms() + db->conf.busy_ms;
    struct db_conn *c = NULL;
    int r;

    while ((r = db_pool_take(&db->writer, &c, e)) == -EAGAIN && db_now_ms() < until)
        (void)usleep(20000);
    if (r == 0)
        db_pool_give(c);
    return r;
}

int db_open(struct db **ret_db, const struct db_conf *conf, struct err *e)
{
    WIND_AUTO(db) struct db *db = calloc(1, sizeof(*db));

    if (db == NULL)
        return err_set(e, -ENOMEM, "database: out of memory");
    int r = copy_conf(db, conf, e);
    if (r != 0)
        return r;
    db->ops = db->conf.url[0] != '\0' ? &db_postgres_ops : &db_sqlite_ops;
    db_pool_init(&db->writer, db->ops, &db->conf, DB_WRITER, 1);
    db_pool_init(&db->beside, db->ops, &db->conf, DB_WRITER, 1);
    db_pool_init(&db->readers, db->ops, &db->conf, DB_READER, db->conf.readers);
    db_pool_init(&db->replicas, db->ops, &db->conf, DB_REPLICA, db->conf.readers);
    if (db->conf.replica_url[0] != '\0')
        db_replica_init(&db->replica, db,
                        conf->replica_lag_ms ? conf->replica_lag_ms : LAG_MS_DEFAULT);
    r = wait_for_it(db, e);
    if (r == 0)
        r = conf->is_look ? db_schema(db, &db->schema, e)
                          : db_migrate(db, db->ops->migrations, &db->schema, e);
    if (r == 0 && db->replica.db != NULL)
        r = db_replica_note_schema(&db->replica, e);
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

static void add_pool(struct db_pool *p, struct db_stats *st)
{
    (void)pthread_mutex_lock(&p->lock);
    st->waits_failed += p->waits_failed;
    st->connects_failed += p->connects_failed;
    st->lost += p->lost;
    st->connections += p->n;
    (void)pthread_mutex_unlock(&p->lock);
}

/* A server reads its folder for this: not more often than it is worth. */
static uint64_t server_bytes(struct db *db)
{
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;
    int64_t bytes = 0;
    const int64_t now = db_now_ms();
    int64_t last = atomic_load_explicit(&db->sized_ms, memory_order_relaxed);

    if ((last == 0 || now - last >= SIZED_EACH_MS) &&
        atomic_compare_exchange_strong(&db->sized_ms, &last, now) &&
        db_begin_single(db, &tx, NULL) == 0 &&
        db_query_i64(tx, "SELECT pg_database_size(current_database())", DB_NONE, &bytes, NULL) == 0)
        atomic_store_explicit(&db->size, (uint64_t)bytes, memory_order_relaxed);
    return atomic_load_explicit(&db->size, memory_order_relaxed);
}

void db_stats(struct db *db, struct db_stats *ret_stats)
{
    *ret_stats = (struct db_stats){
        .commits = atomic_load_explicit(&db->commits, memory_order_relaxed),
        .rollbacks = atomic_load_explicit(&db->rollbacks, memory_order_relaxed),
        .schema = db->schema,
    };
    add_pool(&db->writer, ret_stats);
    add_pool(&db->beside, ret_stats);
    add_pool(&db->readers, ret_stats);
    add_pool(&db->replicas, ret_stats);
    ret_stats->replica_lag_ms = -1;
    if (db->replica.db != NULL) {
        (void)pthread_mutex_lock(&db->replica.lock);
        ret_stats->replica_lag_ms = db->replica.lag_ms;
        ret_stats->replica_reads = db->replica.reads;
        ret_stats->replica_passed = db->replica.passed;
        (void)pthread_mutex_unlock(&db->replica.lock);
    }
    if (db->ops->sizes != NULL)
        db->ops->sizes(&db->conf, &ret_stats->file_bytes, &ret_stats->wal_bytes);
    else
        ret_stats->file_bytes = server_bytes(db);
}

/* ---------------------------------------------------------------- transactions */

/* Others here and other processes are waited for, busy_ms in all. */
static int take_and_begin(struct db *db, struct db_pool *pool, enum db_mode mode,
                          struct db_conn **ret_conn, struct err *e)
{
    const int64_t until_ms = db_now_ms() + db->conf.busy_ms;
    int r = db_pool_take(pool, ret_conn, e);

    if (r != 0)
        return r;
    WIND_CHECK(*ret_conn != NULL);
    const int64_t left_ms = until_ms - db_now_ms();
    r = db->ops->begin((*ret_conn)->native, mode, left_ms > 1 ? (int)left_ms : 1, e);
    if (r != 0)
        db_pool_give(*ret_conn);
    return r;
}

static int tx_new(struct db *db, struct db_pool *pool, enum db_mode mode, struct db_tx **ret_tx,
                  struct err *e)
{
    struct db_tx *tx = calloc(1, sizeof(*tx));

    if (tx == NULL)
        return err_set(e, -ENOMEM, "database: out of memory");
    *tx = (struct db_tx){.db = db, .mode = mode};
    const int r = take_and_begin(db, pool, mode, &tx->conn, e);
    if (r != 0) {
        free(tx);
        return r;
    }
    *ret_tx = tx;
    return 0;
}

static bool is_in_group(struct db *db)
{
    (void)pthread_mutex_lock(&db->writer.lock);
    const bool is_in = db->group != NULL && pthread_equal(db->writer.holder, pthread_self());
    (void)pthread_mutex_unlock(&db->writer.lock);
    return is_in;
}

static int part_new(struct db *db, struct db_tx **ret_tx, struct err *e)
{
    if (db->has_part)
        return err_set(e, -EDEADLK, "database: this thread writes already");
    struct db_tx *tx = calloc(1, sizeof(*tx));
    if (tx == NULL)
        return err_set(e, -ENOMEM, "database: out of memory");
    *tx = (struct db_tx){.db = db, .conn = db->group, .mode = DB_MODE_PART};
    const int r = db->ops->begin(tx->conn->native, DB_MODE_PART, db->conf.busy_ms, e);
    if (r != 0) {
        free(tx);
        return r;
    }
    db->has_part = true;
    *ret_tx = tx;
    return 0;
}

int db_begin_read(struct db *db, struct db_tx **ret_tx, struct err *e)
{
    return tx_new(db, &db->readers, DB_MODE_READ, ret_tx, e);
}

int db_begin_single(struct db *db, struct db_tx **ret_tx, struct err *e)
{
    return tx_new(db, &db->readers, DB_MODE_SINGLE, ret_tx, e);
}

int db_begin_replica(struct db *db, struct db_tx **ret_tx, struct err *e)
{
    return tx_new(db, &db->replicas, DB_MODE_SINGLE, ret_tx, e);
}

int db_begin_list(struct db *db, struct db_tx **ret_tx, struct err *e)
{
    if (db->replica.db != NULL && db_replica_begin(&db->replica, ret_tx) == 0)
        return 0;
    return db->ops->engine == DB_SQLITE ? db_begin_read(db, ret_tx, e)
                                        : db_begin_single(db, ret_tx, e);
}

int db_begin_write(struct db *db, struct db_tx **ret_tx, struct err *e)
{
    return is_in_group(db) ? part_new(db, ret_tx, e)
                           : tx_new(db, &db->writer, DB_MODE_WRITE, ret_tx, e);
}

/* SQLite has one writer. */
int db_begin_beside(struct db *db, struct db_tx **ret_tx, struct err *e)
{
    return db->ops->engine == DB_SQLITE ? db_begin_write(db, ret_tx, e)
                                        : tx_new(db, &db->beside, DB_MODE_BESIDE, ret_tx, e);
}

/* The entry goes back to the cache, or away. */
static void entry_release(const struct db_ops *ops, struct db_entry *en)
{
    if (!en->is_cached) {
        db_entry_free(ops, en);
        return;
    }
    ops->reset(en->native);
    en->in_use = false;
}

static void tx_end(struct db_tx *tx)
{
    const struct db_ops *ops = tx->db->ops;

    for (struct db_stmt *s = tx->stmts; s != NULL; s = s->next) {
        entry_release(ops, s->entry);
        s->entry = NULL;
        s->tx = NULL;
    }
    if (tx->mode == DB_MODE_PART)
        tx->db->has_part = false;
    else
        db_pool_give(tx->conn);
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
    if (tx->mode == DB_MODE_WRITE || tx->mode == DB_MODE_BESIDE)
        atomic_fetch_add_explicit(&tx->db->rollbacks, 1, memory_order_relaxed);
    tx_end(tx);
    return NULL;
}

static int committed(struct db *db)
{
    atomic_fetch_add_explicit(&db->commits, 1, memory_order_relaxed);
    if (db->on_commit != NULL)
        db->on_commit(db->on_commit_arg);
    return 0;
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
    return mode == DB_MODE_WRITE ? committed(db) : 0;
}

/* ---------------------------------------------------------------- groups */

static void group_set(struct db *db, struct db_conn *c)
{
    (void)pthread_mutex_lock(&db->writer.lock);
    db->group = c;
    (void)pthread_mutex_unlock(&db->writer.lock);
}

int db_group_begin(struct db *db, struct err *e)
{
    struct db_conn *c = NULL;

    const int r = take_and_begin(db, &db->writer, DB_MODE_WRITE, &c, e);
    if (r == 0)
        group_set(db, c);
    return r;
}

int db_group_end(struct db *db, struct err *e)
{
    struct db_conn *c = db->group;
    int r = db->ops->end(c->native, DB_MODE_WRITE, true, e);

    if (r != 0) {
        (void)db->ops->end(c->native, DB_MODE_WRITE, false, NULL);
        atomic_fetch_add_explicit(&db->rollbacks, 1, memory_order_relaxed);
        r = r < 0 ? r : err_set(e, -EINVAL, "database: commit: a key does not fit");
    }
    if (r == 0 && db->replica.db != NULL) /* before anybody is told */
        db_replica_note(&db->replica, db->ops->position(c->native));
    group_set(db, NULL);
    db_pool_give(c);
    return r == 0 ? committed(db) : r;
}

int db_script(struct db_tx *tx, const char *sql, struct err *e)
{
    return tx->db->ops->script(tx->conn->native, sql, e);
}

enum db_engine db_engine(const struct db_tx *tx)
{
    return tx->db->ops->engine;
}

_Atomic int64_t *db_memory(const struct db_tx *tx, enum db_memory what)
{
    return &tx->db->memory[what];
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

static struct db_entry *cache_find(struct db_conn *c, const char *sql, size_t len)
{
    for (size_t i = 0; i < c->n_cached; i++) {
        struct db_entry *en = c->cache[i];
        if (!en->in_use && en->len == len && memcmp(en->text, sql, len) == 0)
            return en;
    }
    return NULL;
}

/* A place in the cache; a full one gives up the first that nobody uses. */
static bool cache_put(const struct db_ops *ops, struct db_conn *c, struct db_entry *en)
{
    if (c->n_cached < DB_CACHED) {
        c->cache[c->n_cached++] = en;
        return true;
    }
    for (size_t i = 0; i < DB_CACHED; i++) {
        if (c->cache[i]->in_use)
            continue;
        db_entry_free(ops, c->cache[i]);
        for (; i + 1 < DB_CACHED; i++) /* the oldest stay in front */
            c->cache[i] = c->cache[i + 1];
        c->cache[DB_CACHED - 1] = en;
        return true;
    }
    return false;
}

static int entry_take(struct db_tx *tx, const char *sql, struct db_entry **ret_entry, struct err *e)
{
    const struct db_ops *ops = tx->db->ops;
    const size_t len = strlen(sql);
    struct db_entry *en = cache_find(tx->conn, sql, len);

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
    if (r == 0 && ops->ready != NULL)
        r = ops->ready(s->entry->native, e);
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

void db_rewind(struct db_stmt *s)
{
    WIND_CHECK(s->entry != NULL && s->tx->db->ops->rewind != NULL);
    s->tx->db->ops->rewind(s->entry->native);
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
