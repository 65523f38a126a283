/*
 * db_backend.h - what a database has to offer to db.c. Only db*.c includes this.
 *
 * Why      SQLite or PostgreSQL: db.c keeps pools, statements and migrations, a backend speaks to
 *          one connection.
 * Owns     `conn` and `stmt` are the backend's own; db.c gives each back exactly once.
 * Threads  One thread at a time uses a connection and its statements.
 */
#pragma once

#include "collector/db.h"

struct db_migration {
    int number;         /* 1, 2, ...; 0 ends the table */
    const char *name;   /* "0001_core" */
    const char *sha256; /* of the file, hex */
    const char *sql;
};

enum db_role { DB_READER, DB_WRITER, DB_REPLICA };
/*
 * PART: within a write. It must not begin when the database has ended that write by itself.
 * BESIDE: a write that other writes needn't wait for.
 */
enum db_mode { DB_MODE_READ, DB_MODE_SINGLE, DB_MODE_WRITE, DB_MODE_PART, DB_MODE_BESIDE };

struct db_ops {
    enum db_engine engine;
    const struct db_migration *migrations;

    int (*connect)(const struct db_conf *conf, enum db_role role, void **ret_conn, struct err *e);
    void (*disconnect)(void *conn);
    bool (*is_alive)(void *conn);                              /* NULL: always */
    int (*script)(void *conn, const char *sql, struct err *e); /* several statements, no rows */
    /* wait_ms: for other processes that write, at most (SQLite). */
    int (*begin)(void *conn, enum db_mode mode, int wait_ms, struct err *e);
    int (*end)(void *conn, enum db_mode mode, bool is_commit, struct err *e);
    int64_t (*position)(void *conn); /* of the last commit in the log; NULL: there is no replica */
    int64_t (*changed)(void *conn);  /* rows the last statement touched */

    int (*prepare)(void *conn, const char *sql, void **ret_stmt, struct err *e);
    void (*finalize)(void *stmt);
    void (*reset)(void *stmt); /* and forget the parameters */
    int (*bind)(void *stmt, size_t n, const struct db_value *v, struct err *e);
    int (*ready)(void *stmt, struct err *e); /* all is bound: send it. NULL: there is no way */
    int (*step)(void *stmt, struct err *e);
    void (*rewind)(
        void *stmt); /* to before the first row; NULL: rows are gone once they were read */

    bool (*col_null)(void *stmt, int col);
    int64_t (*col_i64)(void *stmt, int col);
    double (*col_f64)(void *stmt, int col);
    const char *(*col_text)(void *stmt, int col);
    const void *(*col_blob)(void *stmt, int col, size_t *ret_len);

    /* Rows into a table; NULL: an INSERT for each does. `end` frees it whatever it returns. */
    int (*bulk_begin)(void *conn, const char *table, const char *columns, void **ret_bulk,
                      struct err *e);
    int (*bulk_row)(void *bulk, const struct db_value *values, size_t n, struct err *e);
    int (*bulk_end)(void *bulk, struct err *e);
    void (*bulk_free)(void *bulk);
    int (*reserve)(struct db_tx *tx, const char *table, int64_t n, int64_t *ret_first,
                   struct err *e);

    void (*sizes)(const struct db_conf *conf, uint64_t *ret_file, uint64_t *ret_wal);
};

extern const struct db_ops db_sqlite_ops;
extern const struct db_ops db_postgres_ops;
extern const struct db_migration db_sqlite_migrations[], db_postgres_migrations[];

/* db_migrate.c: bring `db` to the newest schema; *ret_number is that. */
WIND_MUST_USE int db_migrate(struct db *db, const struct db_migration *m, int *ret_number,
                             struct err *e);

/* The newest that ran; 0 when there is no schema yet. */
WIND_MUST_USE int db_schema(struct db *db, int *ret_number, struct err *e);

/* db.c, for db_replica.c: a read there, wherever it stands. */
WIND_MUST_USE int db_begin_replica(struct db *db, struct db_tx **ret_tx, struct err *e);

/* db.c, for db_*.c only. Several statements at once; the backend of a transaction. */
WIND_MUST_USE int db_script(struct db_tx *tx, const char *sql, struct err *e);
const struct db_ops *db_tx_ops(const struct db_tx *tx);
void *db_tx_conn(const struct db_tx *tx);
