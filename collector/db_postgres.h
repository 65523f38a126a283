/*
 * db_postgres.h - one connection to PostgreSQL, always in pipeline mode. Only db_postgres*.c.
 *
 * Why      What is sent waits for nothing: BEGIN, the writers' lock, a first PREPARE and the
 *          statement itself are one round trip, and a COMMIT of a read is nobody's wait.
 * Owns     The libpq connection, and the queue of what was sent and isn't answered yet.
 * Threads  One at a time.
 * Bounds   The queue grows with what a transaction sends before it looks at an answer;
 *          an answer is in memory as a whole: queries have a LIMIT.
 *
 * The first failure ends the transaction: it is kept in `failed` and told by whoever asks next.
 */
#pragma once

#include <libpq-fe.h>

#include "collector/db_backend.h"

/* From catalog/pg_type.h, which clients don't have; they never change. */
enum {
    PG_BOOL = 16,
    PG_BYTEA = 17,
    PG_INT8 = 20,
    PG_INT2 = 21,
    PG_INT4 = 23,
    PG_TEXT = 25,
    PG_FLOAT4 = 700,
    PG_FLOAT8 = 701,
    PG_BYTEAS = 1001,
    PG_TSVECTOR = 3614,
    PG_TEXTS = 1009,
    PG_INT8S = 1016,
    PG_FLOAT8S = 1022,
    PG_NUMERIC = 1700,
};

struct pg_stmt;

struct pg_sent {
    enum { SENT_SYNC, SENT_COMMAND, SENT_COMMIT, SENT_POSITION, SENT_PREPARE, SENT_QUERY } what;
    struct pg_stmt *stmt; /* NULL: nobody wants the rows */
    uint64_t ticket;
    uint64_t tx; /* whose failure it would be */
};

enum pg_plan { PLAN_UNKNOWN, PLAN_GENERIC, PLAN_CUSTOM };

struct pg_conn {
    PGconn *pq;
    enum db_role role;
    int wait_ms;
    struct pg_sent *sent; /* a ring */
    size_t sent_first, sent_n, sent_cap;
    uint64_t tickets, txs; /* of the statements, transactions so far */
    enum db_mode mode;
    bool is_begun, is_synced, is_broken, is_plan_new;
    bool is_part, is_saved; /* within a part of a group of writes; its savepoint was sent */
    enum pg_plan plan;
    int failed; /* of this transaction; DB_CONFLICT or < 0 */
    struct err failure;
    int64_t changed, position;
    bool has_replica;
    unsigned names;
};

struct pg_stmt {
    struct pg_conn *c;
    char *sql;
    char name[16];
    bool is_planned;                /* for its values: DB_PLANNED */
    bool is_preparing, is_prepared; /* asked for; known to the server */
    size_t n_params, n_bound;
    struct db_value *args; /* borrowed values, until it is sent */
    Oid *types;            /* as prepared; 0: the server's choice */
    uint64_t ticket;       /* of the answer that is awaited or there; 0: none */
    PGresult *res;
    bool is_looked_at; /* it is no failure */
    int row;
    char scratch[40]; /* a number as text */
};

/* ---- db_postgres_conn.c */

WIND_MUST_USE int pg_connect(const struct db_conf *conf, enum db_role role, void **ret_conn,
                             struct err *e);
void pg_disconnect(void *conn);

/* BEGIN and the lock, if they aren't under way; the kind of plan. */
WIND_MUST_USE int pg_start(struct pg_conn *c, bool is_planned, struct err *e);

/* Note what was just handed to libpq; `sent` is libpq's verdict. */
WIND_MUST_USE int pg_note(struct pg_conn *c, int sent, struct pg_sent what, struct err *e);
WIND_MUST_USE int pg_command(struct pg_conn *c, const char *sql, struct err *e);

/* Send all, read until the answer to `ticket` was dealt with (0: until nothing is left). */
WIND_MUST_USE int pg_wait(struct pg_conn *c, uint64_t ticket, struct err *e);

/* The first failure speaks for the transaction. */
void pg_fail(struct pg_conn *c, int code, const struct err *e);
int pg_failure(const struct pg_conn *c, struct err *e); /* < 0 */

/* Everything that can be sent and read without waiting. */
void pg_nudge(struct pg_conn *c);

/* Leave pipeline mode, for COPY and scripts; enter it again. */
WIND_MUST_USE int pg_pause(struct pg_conn *c, struct err *e);
WIND_MUST_USE int pg_resume(struct pg_conn *c, struct err *e);
WIND_MUST_USE int pg_flush(struct pg_conn *c, struct err *e);

/* The server's verdict as an outcome of db.h; a lost connection is noted. */
WIND_MUST_USE int pg_outcome(struct pg_conn *c, const PGresult *res, const char *doing,
                             struct err *e);
WIND_MUST_USE int pg_lost(struct pg_conn *c, const char *doing, struct err *e);

/* ---- db_postgres_value.c */

struct buf;
Oid pg_type(const struct db_value *v);
/* COPY's and Bind's binary form, without the length in front. */
void pg_encode(struct buf *out, const struct db_value *v);
void pg_put32(struct buf *out, uint32_t v);
/* For parameters whose type the server chose: text that any type reads. */
void pg_encode_text(struct buf *out, const struct db_value *v);
int64_t pg_read_i64(const PGresult *res, int row, int col);
double pg_read_f64(const PGresult *res, int row, int col);

/* ---- db_postgres_bulk.c */

int pg_bulk_begin(void *conn, const char *table, const char *columns, void **ret_bulk,
                  struct err *e);
int pg_bulk_row(void *bulk, const struct db_value *values, size_t n, struct err *e);
int pg_bulk_end(void *bulk, struct err *e);
void pg_bulk_free(void *bulk);
