#include "collector/db_backend.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sqlite3.h>

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

static int script(void *conn, const char *sql, struct err *e)
{
    return outcome(conn, sqlite3_exec(conn, sql, NULL, NULL, NULL), "run", e);
}

static void disconnect(void *conn)
{
    (void)sqlite3_close(conn);
}

static int set_up(sqlite3 *conn, const struct db_conf *conf, bool is_writer, struct err *e)
{
    (void)sqlite3_extended_result_codes(conn, 1);
    (void)sqlite3_busy_timeout(conn, conf->busy_ms);
    (void)sqlite3_db_config(conn, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    int r = script(conn,
                   "PRAGMA foreign_keys=ON; PRAGMA trusted_schema=OFF;"
                   "PRAGMA temp_store=MEMORY; PRAGMA cache_size=-16000",
                   e);
    if (r == 0 && is_writer)
        r = script(conn, "PRAGMA journal_mode=WAL; PRAGMA journal_size_limit=67108864", e);
    if (r == 0 && is_writer)
        r = script(conn, conf->is_fast ? "PRAGMA synchronous=NORMAL" : "PRAGMA synchronous=FULL",
                   e);
    if (r == 0 && !is_writer)
        r = script(conn, "PRAGMA query_only=ON", e);
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

static int connect(const struct db_conf *conf, bool is_writer, void **ret_conn, struct err *e)
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
        r = set_up(conn, conf, is_writer, e);
    if (r != 0) {
        disconnect(conn);
        return err_wrap(e, r, "'%s'", conf->path);
    }
    *ret_conn = conn;
    return 0;
}

static int begin(void *conn, bool is_write, struct err *e)
{
    return script(conn, is_write ? "BEGIN IMMEDIATE" : "BEGIN", e);
}

static int64_t changed(void *conn)
{
    return sqlite3_changes64(conn);
}

static int prepare(void *conn, const char *sql, void **ret_stmt, struct err *e)
{
    sqlite3_stmt *stmt = NULL;
    const int rc = sqlite3_prepare_v3(conn, sql, -1, SQLITE_PREPARE_PERSISTENT, &stmt, NULL);

    if (rc != SQLITE_OK)
        return outcome(conn, rc, "prepare", e);
    *ret_stmt = stmt;
    return 0;
}

static void finalize(void *stmt)
{
    (void)sqlite3_finalize(stmt);
}

static void reset(void *stmt)
{
    (void)sqlite3_reset(stmt);
    (void)sqlite3_clear_bindings(stmt);
}

/* In SQLite "$12" is a name, numbered in order of appearance: look it up. */
static int bind(void *stmt, size_t n, const struct db_value *v, struct err *e)
{
    char name[24];
    int rc;

    (void)snprintf(name, sizeof(name), "$%zu", n);
    const int at = sqlite3_bind_parameter_index(stmt, name);
    if (at == 0)
        return err_set(e, -EINVAL, "database: no parameter %s in: %s", name, sqlite3_sql(stmt));
    switch (v->type) {
    case DB_TYPE_INT:
        rc = sqlite3_bind_int64(stmt, at, v->i);
        break;
    case DB_TYPE_F64:
        rc = sqlite3_bind_double(stmt, at, v->f);
        break;
    case DB_TYPE_TEXT:
        rc = sqlite3_bind_text64(stmt, at, v->p, v->len, SQLITE_TRANSIENT, SQLITE_UTF8);
        break;
    case DB_TYPE_BLOB:
        rc = sqlite3_bind_blob64(stmt, at, v->p, v->len, SQLITE_TRANSIENT);
        break;
    case DB_TYPE_NULL:
    default:
        rc = sqlite3_bind_null(stmt, at);
        break;
    }
    return outcome(sqlite3_db_handle(stmt), rc, "bind", e);
}

static int step(void *stmt, struct err *e)
{
    const int rc = sqlite3_step(stmt);

    if (rc == SQLITE_ROW)
        return DB_ROW;
    if (rc == SQLITE_DONE)
        return 0;
    return outcome(sqlite3_db_handle(stmt), rc, "step", e);
}

static bool col_null(void *stmt, int col)
{
    return sqlite3_column_type(stmt, col) == SQLITE_NULL;
}

static int64_t col_i64(void *stmt, int col)
{
    return sqlite3_column_int64(stmt, col);
}

static double col_f64(void *stmt, int col)
{
    return sqlite3_column_double(stmt, col);
}

static const char *col_text(void *stmt, int col)
{
    return (const char *)sqlite3_column_text(stmt, col);
}

static const void *col_blob(void *stmt, int col, size_t *ret_len)
{
    const void *p = sqlite3_column_blob(stmt, col);

    *ret_len = p == NULL ? 0 : (size_t)sqlite3_column_bytes(stmt, col);
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
    .migrations = db_sqlite_migrations,
    .connect = connect,
    .disconnect = disconnect,
    .script = script,
    .begin = begin,
    .changed = changed,
    .prepare = prepare,
    .finalize = finalize,
    .reset = reset,
    .bind = bind,
    .step = step,
    .col_null = col_null,
    .col_i64 = col_i64,
    .col_f64 = col_f64,
    .col_text = col_text,
    .col_blob = col_blob,
    .sizes = sizes,
};
