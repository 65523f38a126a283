#include "collector/db_backend.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "collector/db_sqlite_array.h"
#include "common/log.h"
#include "common/time.h"

#define SCAN_TOLD  10000
#define STEPS_TOLD 1000000 /* of its machine, some 20 ms */

/* SQLite's verdict as an errno; unique and foreign keys are an outcome, not a failure. */
static int outcome(sqlite3 *conn, int rc, const char *doing, struct err *e)
{
    int code = -EIO;

    switch (rc & 0xff) {
    case SQLITE_OK:
        return 0;
    case SQLITE_CONSTRAINT:
        rc = sqlite3_extended_errcode(conn);
        if (rc == SQLITE_CONSTRAINT_UNIQUE || rc == SQLITE_CONSTRAINT_PRIMARYKEY ||
            rc == SQLITE_CONSTRAINT_FOREIGNKEY || rc == SQLITE_CONSTRAINT_ROWID)
            return DB_CONFLICT;
        code = -EINVAL;
        break;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_INTERRUPT: /* is_too_long */
        code = -EBUSY;
        break;
    case SQLITE_NOMEM:
        code = -ENOMEM;
        break;
    case SQLITE_FULL:
        code = -ENOSPC;
        break;
    case SQLITE_READONLY:
        code = -EROFS;
        break;
    case SQLITE_NOTADB:
    case SQLITE_CORRUPT:
        code = -EBADMSG;
        break;
    default:
        break;
    }
    return err_set(e, code, "database: %s: %s", doing, sqlite3_errmsg(conn));
}

/* A search that has to read everything is not to keep a reader for ever. */
static _Thread_local uint64_t read_began_ns;

#define STEPS_ASKED 20000 /* of SQLite's machine between two looks at the clock */

static int is_too_long(void *read_ms)
{
    return time_mono_ns() - read_began_ns > (uint64_t)(intptr_t)read_ms * WIND_NS_PER_MS;
}

static int script(void *conn, const char *sql, struct err *e)
{
    return outcome(conn, sqlite3_exec(conn, sql, NULL, NULL, NULL), "run", e);
}

static void disconnect(void *conn)
{
    (void)sqlite3_close(conn);
}

/*
 * Pages (of 4 KB) of the log before they go to their places: one that many commits write goes once.
 * 32 MB, or a 64th of a small disk, and not less than SQLite's own 4 MB.
 */
static int log_pages(const char *path)
{
    const uint64_t most = 8000, least = 1000;
    struct statvfs v;

    const uint64_t part =
        statvfs(path, &v) == 0 ? (uint64_t)v.f_blocks * v.f_frsize / 64 / 4096 : 0;
    return (int)(part < least ? least : part > most ? most : part);
}

static int set_up(sqlite3 *conn, const struct db_conf *conf, bool is_writer, struct err *e)
{
    (void)sqlite3_extended_result_codes(conn, 1);
    (void)sqlite3_busy_timeout(conn, conf->busy_ms);
    (void)sqlite3_db_config(conn, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    int r = script(conn,
                   "PRAGMA foreign_keys=ON; PRAGMA trusted_schema=OFF;"
                   "PRAGMA temp_store=MEMORY; PRAGMA cache_size=-4000",
                   e);
    if (r == 0)
        r = outcome(conn, db_sqlite_array_init(conn), "set up", e);
    if (r == 0 && is_writer) /* a reader's pages are thrown away at the next commit anyway */
        r = script(conn, "PRAGMA cache_size=-16000", e);
    if (r == 0 && is_writer && sqlite3_wal_autocheckpoint(conn, log_pages(conf->path)) != SQLITE_OK)
        r = err_set(e, -EINVAL, "database: %s", sqlite3_errmsg(conn));
    if (r == 0 && is_writer)
        r = script(conn,
                   "PRAGMA journal_mode=WAL; PRAGMA journal_size_limit=67108864;"
                   "PRAGMA secure_delete=FAST", /* Debian's default writes free pages, too */
                   e);
    if (r == 0 && is_writer)
        r = script(conn, conf->is_fast ? "PRAGMA synchronous=NORMAL" : "PRAGMA synchronous=FULL",
                   e);
    if (r == 0 && !is_writer)
        r = script(conn, "PRAGMA query_only=ON", e);
    if (r == 0 && !is_writer && !conf->is_tool)
        sqlite3_progress_handler(conn, STEPS_ASKED, is_too_long, (void *)(intptr_t)conf->read_ms);
    return r;
}

/*
 * Not SQLite's 0644: what a network did is nobody else's business.
 * A file that is there must not be opened here: closing it again would drop the locks (POSIX)
 * that this process's other connections hold, and the next program that opens and closes the
 * database would take its log away under our feet.
 */
static int make_file(const char *path, struct err *e)
{
    struct stat st;

    if (lstat(path, &st) == 0)
        return S_ISREG(st.st_mode) ? 0
                                   : err_set(e, -EINVAL, "database '%s': not a plain file", path);
    const int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 && errno != EEXIST) {
        const int code = -errno;
        return err_set(e, code, "database '%s': %m", path);
    }
    if (fd >= 0)
        (void)close(fd);
    return 0;
}

static int connect(const struct db_conf *conf, enum db_role role, void **ret_conn, struct err *e)
{
    sqlite3 *conn = NULL;

    int r = make_file(conf->path, e);
    if (r != 0)
        return r;
    const int rc =
        sqlite3_open_v2(conf->path, &conn, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    r = conn == NULL ? err_set(e, -ENOMEM, "database: out of memory")
                     : outcome(conn, rc, "open", e);
    if (r == 0)
        r = set_up(conn, conf, role == DB_WRITER, e);
    if (r != 0) {
        disconnect(conn);
        return err_wrap(e, r, "'%s'", conf->path);
    }
    *ret_conn = conn;
    return 0;
}

static int begin(void *conn, enum db_mode mode, int wait_ms, struct err *e)
{
    static const char *const sql[] = {[DB_MODE_READ] = "BEGIN",
                                      [DB_MODE_SINGLE] = NULL,
                                      [DB_MODE_WRITE] = "BEGIN IMMEDIATE",
                                      [DB_MODE_PART] = "SAVEPOINT part"};

    /* A full disk can end it; a savepoint would then silently begin another. */
    if (mode == DB_MODE_PART && sqlite3_get_autocommit(conn))
        return err_set(e, -EIO, "database: the transaction was ended by a failure");
    read_began_ns = time_mono_ns();
    if (mode == DB_MODE_WRITE)
        (void)sqlite3_busy_timeout(conn, wait_ms);
    return sql[mode] == NULL ? 0 : script(conn, sql[mode], e);
}

static int end(void *conn, enum db_mode mode, bool is_commit, struct err *e)
{
    if (mode == DB_MODE_PART)
        return script(conn, is_commit ? "RELEASE part" : "ROLLBACK TO part; RELEASE part", e);
    return mode == DB_MODE_SINGLE ? 0 : script(conn, is_commit ? "COMMIT" : "ROLLBACK", e);
}

static int64_t changed(void *conn)
{
    return sqlite3_changes64(conn);
}

/*
 * In SQLite "$12" is a name, numbered in order of appearance: `at` says which number each of
 * ours has, 0 when it does not appear.
 */
struct stmt {
    sqlite3_stmt *native;
    size_t n;
    uint16_t at[];
};

static sqlite3_stmt *native_of(void *stmt)
{
    return ((struct stmt *)stmt)->native;
}

/* $n of the parameter with SQLite's number `at`. */
static size_t number_of(sqlite3_stmt *native, int at)
{
    const char *name = sqlite3_bind_parameter_name(native, at);

    return name == NULL || name[0] != '$' ? 0 : (size_t)strtoul(name + 1, NULL, 10);
}

static struct stmt *stmt_of(sqlite3_stmt *native)
{
    const int params = sqlite3_bind_parameter_count(native);
    size_t n = 0;

    for (int at = 1; at <= params; at++)
        if (number_of(native, at) > n)
            n = number_of(native, at);
    struct stmt *s = calloc(1, sizeof(*s) + (n + 1) * sizeof(s->at[0]));
    if (s == NULL)
        return NULL;
    s->native = native;
    s->n = n;
    for (int at = 1; at <= params; at++)
        s->at[number_of(native, at)] = (uint16_t)at;
    return s;
}

static int prepare(void *conn, const char *sql, void **ret_stmt, struct err *e)
{
    sqlite3_stmt *native = NULL;
    char *text = db_sqlite_array_sql(sql);
    const int rc =
        sqlite3_prepare_v3(conn, text ? text : sql, -1, SQLITE_PREPARE_PERSISTENT, &native, NULL);

    free(text);
    if (rc != SQLITE_OK)
        return outcome(conn, rc, "prepare", e);
    *ret_stmt = stmt_of(native);
    if (*ret_stmt == NULL) {
        (void)sqlite3_finalize(native);
        return err_set(e, -ENOMEM, "database: out of memory");
    }
    return 0;
}

static void finalize(void *stmt)
{
    (void)sqlite3_finalize(native_of(stmt));
    free(stmt);
}

/* For who wonders why something is slow: it read a table, or a whole index, or long lists. */
static void tell_scan(sqlite3_stmt *native)
{
    const int rows = sqlite3_stmt_status(native, SQLITE_STMTSTATUS_FULLSCAN_STEP, 1);
    const int steps = sqlite3_stmt_status(native, SQLITE_STMTSTATUS_VM_STEP, 1);

    if (rows > SCAN_TOLD)
        log_debug("database: %d rows were read one by one: %s", rows, sqlite3_sql(native));
    if (steps > STEPS_TOLD)
        log_debug("database: %d steps were made: %s", steps, sqlite3_sql(native));
}

static void reset(void *stmt)
{
    tell_scan(native_of(stmt));
    (void)sqlite3_reset(native_of(stmt));
    (void)sqlite3_clear_bindings(native_of(stmt));
}

static int bind(void *stmt, size_t n, const struct db_value *v, struct err *e)
{
    const struct stmt *s = stmt;
    const int at = n <= s->n ? s->at[n] : 0;
    int rc;

    if (at == 0)
        return err_set(e, -EINVAL, "database: no parameter $%zu in: %s", n, sqlite3_sql(s->native));
    switch (v->type) {
    case DB_TYPE_INT:
        rc = sqlite3_bind_int64(s->native, at, v->i);
        break;
    case DB_TYPE_F64:
        rc = sqlite3_bind_double(s->native, at, v->f);
        break;
    case DB_TYPE_TEXT:
        rc = sqlite3_bind_text64(s->native, at, v->p, v->len, SQLITE_TRANSIENT, SQLITE_UTF8);
        break;
    case DB_TYPE_BLOB:
        rc = sqlite3_bind_blob64(s->native, at, v->p, v->len, SQLITE_TRANSIENT);
        break;
    case DB_TYPE_INTS:
    case DB_TYPE_ARRAY:
        rc = db_sqlite_array_bind(s->native, at, v);
        break;
    case DB_TYPE_NULL:
    default:
        rc = sqlite3_bind_null(s->native, at);
        break;
    }
    return outcome(sqlite3_db_handle(s->native), rc, "bind", e);
}

static int step(void *stmt, struct err *e)
{
    const int rc = sqlite3_step(native_of(stmt));

    if (rc == SQLITE_ROW)
        return DB_ROW;
    if (rc == SQLITE_DONE)
        return 0;
    return outcome(sqlite3_db_handle(native_of(stmt)), rc, "step", e);
}

/*
 * sqlite_sequence remembers the block, also of tables without AUTOINCREMENT; its rows are
 * ordinary ones. Should it lag behind the table, the table is right.
 */
static int reserve(struct db_tx *tx, const char *table, int64_t n, int64_t *ret_first,
                   struct err *e)
{
    char sql[256];
    int64_t last = 0, changed_rows = 0;

    (void)snprintf(sql, sizeof(sql),
                   "SELECT max(coalesce((SELECT max(rowid) FROM %s), 0), "
                   "coalesce((SELECT seq FROM sqlite_sequence WHERE name = $1), 0))",
                   table);
    int r = db_query_i64(tx, sql, DB_ARGS(db_str(table)), &last, e);
    if (r == 0)
        r = db_run(tx, "UPDATE sqlite_sequence SET seq = $2 WHERE name = $1",
                   DB_ARGS(db_str(table), db_int(last + n)), &changed_rows, e);
    if (r == 0 && changed_rows == 0)
        r = db_run(tx, "INSERT INTO sqlite_sequence (name, seq) VALUES ($1, $2)",
                   DB_ARGS(db_str(table), db_int(last + n)), NULL, e);
    *ret_first = last + 1;
    return r;
}

static bool col_null(void *stmt, int col)
{
    return sqlite3_column_type(native_of(stmt), col) == SQLITE_NULL;
}

static int64_t col_i64(void *stmt, int col)
{
    return sqlite3_column_int64(native_of(stmt), col);
}

static double col_f64(void *stmt, int col)
{
    return sqlite3_column_double(native_of(stmt), col);
}

static const char *col_text(void *stmt, int col)
{
    return (const char *)sqlite3_column_text(native_of(stmt), col);
}

static const void *col_blob(void *stmt, int col, size_t *ret_len)
{
    const void *p = sqlite3_column_blob(native_of(stmt), col);

    *ret_len = p == NULL ? 0 : (size_t)sqlite3_column_bytes(native_of(stmt), col);
    return p;
}

static uint64_t size_of(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 ? (uint64_t)st.st_size : 0;
}

static void sizes(const struct db_conf *conf, uint64_t *ret_file, uint64_t *ret_wal)
{
    char wal[4096];

    (void)snprintf(wal, sizeof(wal), "%s-wal", conf->path);
    *ret_file = size_of(conf->path);
    *ret_wal = size_of(wal);
}

const struct db_ops db_sqlite_ops = {
    .engine = DB_SQLITE,
    .migrations = db_sqlite_migrations,
    .connect = connect,
    .disconnect = disconnect,
    .script = script,
    .begin = begin,
    .end = end,
    .changed = changed,
    .prepare = prepare,
    .finalize = finalize,
    .reset = reset,
    .bind = bind,
    .step = step,
    .reserve = reserve,
    .col_null = col_null,
    .col_i64 = col_i64,
    .col_f64 = col_f64,
    .col_text = col_text,
    .col_blob = col_blob,
    .sizes = sizes,
};
