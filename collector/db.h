/*
 * db.h - transactions, statements and migrations: the one door to the database.
 *
 * Why      Queries are written once, in the subset that SQLite and PostgreSQL share, with
 *          parameters $1, $2, ...; what differs is behind collector/db_backend.h.
 * Owns     The connections: one writer, one beside it, up to `readers` readers, each with its
 *          statements.
 * Threads  Any thread may begin a transaction; it belongs to that thread until it ends.
 *          Writers wait for each other, readers for nobody (WAL). A thread that holds a
 *          transaction must not begin a write: -EDEADLK is given for two writes.
 * Bounds   Waiting ends after busy_ms, a read after read_ms with -EBUSY (503). At most `readers`
 *          read transactions at once, DB_CACHED statements kept for each connection.
 *
 *     WIND_AUTO(db_tx) struct db_tx *tx = NULL;           // rolled back on every early return
 *     WIND_AUTO(db_stmt) struct db_stmt *s = NULL;
 *     int r = db_begin_read(db, &tx, e);
 *     if (r == 0)
 *         r = db_query_row(tx, "SELECT name FROM users WHERE id = $1", DB_ARGS(db_int(id)), &s, e);
 *     if (r == DB_ROW)                                    // 0: there is none; < 0: it failed
 *         use(db_text(s, 0));
 *
 * A statement that outlives its transaction is harmless: it has no rows any more.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "collector/db_value.h"
#include "common/base.h"
#include "common/err.h"

#define DB_CACHED 96

/*
 * In front of a statement whose plan depends on its values: a search. PostgreSQL keeps one plan
 * for all others.
 */
#define DB_PLANNED "/* planned */ "

/* Outcomes of db_step, db_query_row and db_run. */
#define DB_ROW      1
#define DB_CONFLICT 2 /* a unique or foreign key said no; in PostgreSQL the transaction is over */

struct db;
struct db_tx;
struct db_stmt;

/* Texts are copied; NULL is "". */
struct db_conf {
    const char *path;          /* SQLite file, or */
    const char *url;           /* postgresql://... */
    const char *password_file; /* for both URLs */
    const char *replica_url;
    unsigned readers;       /* 0 = 8; as many again on the replica */
    int busy_ms;            /* 0 = 10 s */
    int read_ms;            /* so long may a statement (SQLite: a read) take; 0 = 30 s */
    int64_t replica_lag_ms; /* at most so far behind; 0 = 5 s */
    bool is_fast; /* a commit needn't reach the disk: a power cut may cost the last ones */
    bool is_look; /* leave the schema as it is: db_stats says which one it has */
    bool is_tool; /* statements may take as long as they want */
};

/*
 * Open, make the file (mode 0600) when it isn't there, and bring the schema up to date.
 * -EINVAL: made by a newer Wind, or a migration that was changed after it ran.
 */
WIND_MUST_USE int db_open(struct db **ret_db, const struct db_conf *conf, struct err *e);
struct db *db_free(struct db *db);
WIND_DEFINE_FREE(db)

/* Called after each commit, on the committing thread, without locks. Set before threads start. */
void db_on_commit(struct db *db, void (*fn)(void *arg), void *arg);

/* For the few statements that the databases don't share. */
enum db_engine { DB_SQLITE, DB_POSTGRES };

struct db_stats {
    uint64_t commits, rollbacks, waits_failed, connects_failed, lost, file_bytes, wal_bytes;
    unsigned connections;
    uint64_t replica_reads, replica_passed; /* lists from there; from the primary instead */
    int64_t replica_lag_ms;                 /* -1: unknown, or there is none */
    int schema;                             /* number of the newest migration */
};
void db_stats(struct db *db, struct db_stats *ret_stats);
enum db_engine db_engine(const struct db_tx *tx);

/* A read sees one state from its first query to its end. */
WIND_MUST_USE int db_begin_read(struct db *db, struct db_tx **ret_tx, struct err *e);
WIND_MUST_USE int db_begin_write(struct db *db, struct db_tx **ret_tx, struct err *e);

/*
 * A write that keeps no other one waiting, where the database can: for tables that nobody joins
 * with the order of commits (the text index). It is not told to on_commit.
 */
WIND_MUST_USE int db_begin_beside(struct db *db, struct db_tx **ret_tx, struct err *e);

/* A read of which each statement sees the newest state: one round trip for one statement. */
WIND_MUST_USE int db_begin_single(struct db *db, struct db_tx **ret_tx, struct err *e);

/* The same, for lists and search: on the replica, when there is one that is fresh enough. It has
 * all that was written in groups (below); of the rest, not the last replica_lag_ms. */
WIND_MUST_USE int db_begin_list(struct db *db, struct db_tx **ret_tx, struct err *e);

/* Make it last, end it and set *tx to NULL; on failure it is rolled back and ended too. */
WIND_MUST_USE int db_commit(struct db_tx **tx, struct err *e);

/*
 * Several writes as one: until db_group_end, what this thread begins as a write is a part that is
 * kept (db_commit) or undone alone. What was kept lasts when db_group_end returns 0, or all of it
 * is undone. Others wait for the writer meanwhile; on_commit is called once.
 */
WIND_MUST_USE int db_group_begin(struct db *db, struct err *e);
WIND_MUST_USE int db_group_end(struct db *db, struct err *e);

/* End it; a write that was not committed is undone. */
struct db_tx *db_tx_free(struct db_tx *tx);
WIND_DEFINE_FREE(db_tx)

/* ---- statements */

/*
 * Prepare (or take from the cache) and bind; nothing runs before db_step. Several queries made
 * before the first step go to PostgreSQL together: do that with those you need anyway.
 */
WIND_MUST_USE int db_query(struct db_tx *tx, const char *sql, const struct db_value *args,
                           size_t n_args, struct db_stmt **ret_stmt, struct err *e);
struct db_stmt *db_stmt_free(struct db_stmt *s);
WIND_DEFINE_FREE(db_stmt)

/* Run it again with other parameters. */
WIND_MUST_USE int db_again(struct db_stmt *s, const struct db_value *args, size_t n_args,
                           struct err *e);

/* DB_ROW: a row is there. 0: no more. DB_CONFLICT. */
WIND_MUST_USE int db_step(struct db_stmt *s, struct err *e);

/* Before the first row again; PostgreSQL alone, which has them all in hand. */
void db_rewind(struct db_stmt *s);

/* Query and the first step. DB_ROW: a row is there. 0: there is none. DB_CONFLICT. */
WIND_MUST_USE int db_query_row(struct db_tx *tx, const char *sql, const struct db_value *args,
                               size_t n_args, struct db_stmt **ret_stmt, struct err *e);

/* Its first column as a number; without a row *ret_value stays. */
WIND_MUST_USE int db_query_i64(struct db_tx *tx, const char *sql, const struct db_value *args,
                               size_t n_args, int64_t *ret_value, struct err *e);

/* Query, run to its end, free. 0 or DB_CONFLICT. *ret_changed (may be NULL): rows touched. */
WIND_MUST_USE int db_run(struct db_tx *tx, const char *sql, const struct db_value *args,
                         size_t n_args, int64_t *ret_changed, struct err *e);

/* As db_run, but waits for no answer: a later call says that it failed, db_commit at the latest. */
WIND_MUST_USE int db_defer(struct db_tx *tx, const char *sql, const struct db_value *args,
                           size_t n_args, struct err *e);

/*
 * Numbers that whoever asks this database may remember, as long as it is open; 0 at first. In
 * PostgreSQL rows that were deleted stay in the way of a search for the lowest.
 */
enum db_memory { DB_OUTBOX_FIRST, DB_MEMORIES };
_Atomic int64_t *db_memory(const struct db_tx *tx, enum db_memory what);

/* Columns of the row, from 0. Texts and blobs live until the next step, again or free. */
int64_t db_i64(struct db_stmt *s, int col); /* 0 for NULL */
double db_real(struct db_stmt *s, int col);
const char *db_text(struct db_stmt *s, int col); /* NULL for NULL */
const void *db_blob(struct db_stmt *s, int col, size_t *ret_len);
bool db_is_null(struct db_stmt *s, int col);
