#include "collector/db_postgres.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/buf.h"

#define ENCODED_MAX ((size_t)64 * 1024 * 1024)
#define PARAMS_MAX  999

/* ---------------------------------------------------------------- transactions */

static int begin(void *conn, enum db_mode mode, int wait_ms, struct err *e)
{
    struct pg_conn *c = conn;

    (void)wait_ms;
    if (mode == DB_MODE_PART) {
        c->is_part = true;
        c->is_saved = false;
        return c->is_broken ? err_set(e, -EAGAIN, "database: the connection was lost") : 0;
    }
    c->mode = mode;
    c->is_begun = false;
    c->failed = 0;
    c->is_plan_new = false;
    c->txs++;
    return 0; /* nothing is sent before there is something to say */
}

static int sync_now(struct pg_conn *c, struct err *e)
{
    return c->is_synced ? 0
                        : pg_note(c, PQpipelineSync(c->pq), (struct pg_sent){.what = SENT_SYNC}, e);
}

static const char position_sql[] = "SELECT CAST(pg_current_wal_insert_lsn() - '0/0' AS BIGINT)";

static int64_t position(void *conn)
{
    return ((struct pg_conn *)conn)->position;
}

static int commit(struct pg_conn *c, struct err *e)
{
    int r = pg_note(c, PQsendQueryParams(c->pq, "COMMIT", 0, NULL, NULL, NULL, NULL, 1),
                    (struct pg_sent){.what = SENT_COMMIT}, e);
    if (r == 0 && c->has_replica)
        r = pg_note(c, PQsendQueryParams(c->pq, position_sql, 0, NULL, NULL, NULL, NULL, 1),
                    (struct pg_sent){.what = SENT_POSITION}, e);
    if (r == 0)
        r = pg_wait(c, 0, e);
    if (r == 0 && c->failed != 0)
        r = pg_failure(c, e);
    return r;
}

/* What was sent for it has been answered when it is kept: a failure is of this part. */
static int part_end(struct pg_conn *c, bool is_commit, struct err *e)
{
    const bool is_saved = c->is_saved;
    int r = 0;

    if (c->is_broken)
        return is_commit ? err_set(e, -EAGAIN, "database: the connection was lost") : 0;
    if (is_commit && is_saved)
        r = pg_command(c, "RELEASE part", e);
    if (is_commit && r == 0)
        r = pg_wait(c, 0, e);
    if (is_commit && r == 0 && c->failed != 0)
        r = pg_failure(c, e);
    if (is_commit && r != 0)
        return r; /* db.c rolls back */
    if (!is_commit && is_saved) {
        r = sync_now(c, e);
        if (r == 0)
            r = pg_command(c, "ROLLBACK TO part", e);
        if (r == 0)
            r = pg_command(c, "RELEASE part", e);
        c->plan = PLAN_UNKNOWN;
        if (r == 0)
            r = pg_wait(c, 0, NULL);
        c->failed = 0;
    }
    c->is_part = c->is_saved = false;
    return r;
}

/*
 * A commit that fails leaves the transaction open: db.c rolls back. What was sent before a
 * failure is skipped by the server up to the next sync, so there is one in front of the end.
 */
static int end(void *conn, enum db_mode mode, bool is_commit, struct err *e)
{
    struct pg_conn *c = conn;
    int r = 0;

    if (mode == DB_MODE_PART)
        return part_end(c, is_commit, e);
    if (c->is_broken)
        return is_commit ? err_set(e, -EAGAIN, "database: the connection was lost") : 0;
    const bool is_write = mode == DB_MODE_WRITE || mode == DB_MODE_BESIDE;

    if (c->is_begun && is_write && is_commit)
        return commit(c, e);
    r = sync_now(c, e);
    if (r == 0 && c->is_begun) {
        r = pg_command(c, mode == DB_MODE_READ ? "COMMIT" : "ROLLBACK", e);
        if (is_write && c->is_plan_new)
            c->plan = PLAN_UNKNOWN;
    }
    pg_nudge(c);
    return r;
}

/*
 * Is a connection that lay idle still one? The server's goodbye would be there to read: its last
 * words first, then the end.
 */
static bool is_alive(void *conn)
{
    struct pg_conn *c = conn;
    struct pollfd p = {.fd = PQsocket(c->pq), .events = POLLIN};

    while (!c->is_broken && poll(&p, 1, 0) > 0)
        c->is_broken = PQconsumeInput(c->pq) != 1 || PQstatus(c->pq) != CONNECTION_OK;
    return !c->is_broken;
}

static int script(void *conn, const char *sql, struct err *e)
{
    struct pg_conn *c = conn;

    int r = pg_start(c, false, e);
    if (r == 0)
        r = pg_pause(c, e);
    if (r != 0)
        return r;
    PGresult *res = PQexec(c->pq, "SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0");
    r = pg_outcome(c, res, "run", e);
    PQclear(res);
    if (r == 0) {
        res = PQexec(c->pq, sql);
        r = pg_outcome(c, res, "run", e);
        PQclear(res);
    }
    const int back = pg_resume(c, e);
    return r != 0 ? r : back;
}

static int64_t changed(void *conn)
{
    return ((struct pg_conn *)conn)->changed;
}

/* ---------------------------------------------------------------- statements */

/* The largest n of a $n; our texts have no dollar in quotes. */
static size_t count_params(const char *sql)
{
    size_t n = 0;

    for (const char *p = sql; (p = strchr(p, '$')) != NULL; p++) {
        const unsigned long at = strtoul(p + 1, NULL, 10);
        if (at > n && at <= PARAMS_MAX)
            n = at;
    }
    return n;
}

static void reset(void *stmt)
{
    struct pg_stmt *s = stmt;

    PQclear(s->res);
    s->res = NULL;
    s->ticket = 0;
    s->is_looked_at = false;
    s->n_bound = 0;
    s->row = -1;
}

static void finalize(void *stmt)
{
    struct pg_stmt *s = stmt;
    struct pg_conn *c = s->c;
    char sql[48];

    reset(s);
    for (size_t i = 0; i < c->sent_n; i++) {
        struct pg_sent *sent = &c->sent[(c->sent_first + i) % c->sent_cap];
        if (sent->stmt == s)
            sent->stmt = NULL;
    }
    /* in a transaction that failed it would not be heard: the name is never used again */
    if ((s->is_prepared || s->is_preparing) && !c->is_broken && c->failed == 0) {
        (void)snprintf(sql, sizeof(sql), "DEALLOCATE %s", s->name);
        if (pg_command(c, sql, NULL) != 0)
            c->is_broken = true;
    }
    free(s->sql);
    free(s->args);
    free(s->types);
    free(s);
}

static int prepare(void *conn, const char *sql, void **ret_stmt, struct err *e)
{
    struct pg_stmt *s = calloc(1, sizeof(*s));

    if (s == NULL)
        return err_set(e, -ENOMEM, "database: out of memory");
    s->c = conn;
    s->n_params = count_params(sql);
    s->is_planned = strncmp(sql, DB_PLANNED, strlen(DB_PLANNED)) == 0;
    s->sql = strdup(sql);
    s->args = calloc(s->n_params + 1, sizeof(*s->args));
    s->types = calloc(s->n_params + 1, sizeof(*s->types));
    (void)snprintf(s->name, sizeof(s->name), "s%u", s->c->names++);
    if (s->sql == NULL || s->args == NULL || s->types == NULL) {
        finalize(s);
        return err_set(e, -ENOMEM, "database: out of memory");
    }
    *ret_stmt = s;
    return 0;
}

static int bind(void *stmt, size_t n, const struct db_value *v, struct err *e)
{
    struct pg_stmt *s = stmt;

    if (n > s->n_params)
        return err_set(e, -EINVAL, "database: no parameter $%zu in: %s", n, s->sql);
    s->args[n - 1] = *v;
    if (n > s->n_bound)
        s->n_bound = n;
    return 0;
}

/* The types of the first use are those of all: NULLs leave the choice to the server. */
static int send_prepare(struct pg_stmt *s, struct err *e)
{
    for (size_t i = 0; i < s->n_params; i++)
        s->types[i] = pg_type(&s->args[i]);
    s->is_preparing = true;
    return pg_note(s->c, PQsendPrepare(s->c->pq, s->name, s->sql, (int)s->n_params, s->types),
                   (struct pg_sent){.what = SENT_PREPARE, .stmt = s}, e);
}

struct encoded {
    const char *values[PARAMS_MAX];
    int lengths[PARAMS_MAX], formats[PARAMS_MAX];
    size_t offsets[PARAMS_MAX];
};

/* Texts and bytes are sent from where they are; `bytes` holds the rest. */
static void encode(const struct pg_stmt *s, struct encoded *en, struct buf *bytes)
{
    for (size_t i = 0; i < s->n_params; i++) {
        const struct db_value *v = &s->args[i];
        const bool is_own = db_has_bytes(v);
        en->formats[i] = pg_type(v) == s->types[i] || v->type == DB_TYPE_NULL;
        en->values[i] = is_own && en->formats[i] ? v->p : NULL;
        en->lengths[i] = (int)v->len;
        en->offsets[i] = bytes->len;
        if (en->formats[i] && !is_own)
            pg_encode(bytes, v);
        else if (!en->formats[i])
            pg_encode_text(bytes, v);
        if (!is_own || !en->formats[i])
            en->lengths[i] = (int)(bytes->len - en->offsets[i]);
    }
    for (size_t i = 0; i < s->n_params; i++)
        if (en->values[i] == NULL && s->args[i].type != DB_TYPE_NULL && bytes->data != NULL)
            en->values[i] = bytes->data + en->offsets[i];
}

static int send_query(struct pg_stmt *s, struct err *e)
{
    struct encoded en;
    struct buf bytes;
    int r = 0;

    buf_init(&bytes, ENCODED_MAX);
    encode(s, &en, &bytes);
    if (bytes.failed) {
        r = err_set(e, -E2BIG, "database: the parameters are too large");
    } else {
        s->ticket = ++s->c->tickets;
        r = pg_note(s->c,
                    PQsendQueryPrepared(s->c->pq, s->name, (int)s->n_params, en.values, en.lengths,
                                        en.formats, 1),
                    (struct pg_sent){.what = SENT_QUERY, .stmt = s, .ticket = s->ticket}, e);
    }
    buf_done(&bytes);
    return r;
}

static int ready(void *stmt, struct err *e)
{
    struct pg_stmt *s = stmt;

    if (s->n_bound < s->n_params)
        return 0; /* to be bound before it runs: step says so if it isn't */
    int r = pg_start(s->c, s->is_planned, e);
    if (r == 0 && !s->is_prepared && !s->is_preparing)
        r = send_prepare(s, e);
    return r == 0 ? send_query(s, e) : r;
}

/* The answer is there: rows to count, or the reason why not. */
static int first_step(struct pg_stmt *s, struct err *e)
{
    const char *touched = PQcmdTuples(s->res);

    if (PQresultStatus(s->res) == PGRES_PIPELINE_ABORTED)
        return s->c->failed != 0 ? pg_failure(s->c, e)
                                 : err_set(e, -EIO, "database: the statement was skipped");
    s->c->changed = touched[0] == '\0' ? 0 : strtoll(touched, NULL, 10);
    return pg_outcome(s->c, s->res, "run", e);
}

static int step(void *stmt, struct err *e)
{
    struct pg_stmt *s = stmt;

    if (s->ticket == 0)
        return err_set(e, -EINVAL, "database: parameters are missing in: %s", s->sql);
    if (!s->is_looked_at) { /* the answer may have come with that to a later one */
        int r = s->res == NULL ? pg_wait(s->c, s->ticket, e) : 0;
        if (r == 0 && s->res == NULL)
            r = err_set(e, -EIO, "database: no answer to: %s", s->sql);
        if (r == 0)
            r = first_step(s, e);
        if (r != 0)
            return r;
        s->is_looked_at = true;
    }
    if (s->row + 1 >= PQntuples(s->res))
        return 0;
    s->row++;
    return DB_ROW;
}

static void rewind_rows(void *stmt)
{
    ((struct pg_stmt *)stmt)->row = -1;
}

/* ---------------------------------------------------------------- columns */

static bool has_value(const struct pg_stmt *s, int col)
{
    return s->res != NULL && s->row >= 0 && s->row < PQntuples(s->res) && col < PQnfields(s->res) &&
           !PQgetisnull(s->res, s->row, col);
}

static bool col_null(void *stmt, int col)
{
    return !has_value(stmt, col);
}

static int64_t col_i64(void *stmt, int col)
{
    const struct pg_stmt *s = stmt;

    return has_value(s, col) ? pg_read_i64(s->res, s->row, col) : 0;
}

static double col_f64(void *stmt, int col)
{
    const struct pg_stmt *s = stmt;

    return has_value(s, col) ? pg_read_f64(s->res, s->row, col) : 0;
}

static bool is_number(Oid type)
{
    return type == PG_INT8 || type == PG_INT4 || type == PG_INT2 || type == PG_BOOL;
}

static const char *col_text(void *stmt, int col)
{
    struct pg_stmt *s = stmt;

    if (!has_value(s, col))
        return NULL;
    if (!is_number(PQftype(s->res, col)))
        return PQgetvalue(s->res, s->row, col);
    (void)snprintf(s->scratch, sizeof(s->scratch), "%lld", (long long)col_i64(s, col));
    return s->scratch;
}

static const void *col_blob(void *stmt, int col, size_t *ret_len)
{
    const struct pg_stmt *s = stmt;

    *ret_len = has_value(s, col) ? (size_t)PQgetlength(s->res, s->row, col) : 0;
    return *ret_len == 0 ? NULL : PQgetvalue(s->res, s->row, col);
}

/* ---------------------------------------------------------------- what db.h asks beside */

static int reserve(struct db_tx *tx, const char *table, int64_t n, int64_t *ret_first,
                   struct err *e)
{
    char sequence[80];

    (void)snprintf(sequence, sizeof(sequence), "%s_%s_seq", table,
                   strcmp(table, "outbox") == 0 ? "seq" : "id");
    return db_query_i64(tx, "SELECT wind_reserve($1, $2)", DB_ARGS(db_str(sequence), db_int(n)),
                        ret_first, e);
}

const struct db_ops db_postgres_ops = {
    .engine = DB_POSTGRES,
    .migrations = db_postgres_migrations,
    .connect = pg_connect,
    .disconnect = pg_disconnect,
    .is_alive = is_alive,
    .script = script,
    .begin = begin,
    .end = end,
    .position = position,
    .changed = changed,
    .prepare = prepare,
    .finalize = finalize,
    .reset = reset,
    .bind = bind,
    .ready = ready,
    .step = step,
    .rewind = rewind_rows,
    .col_null = col_null,
    .col_i64 = col_i64,
    .col_f64 = col_f64,
    .col_text = col_text,
    .col_blob = col_blob,
    .bulk_begin = pg_bulk_begin,
    .bulk_row = pg_bulk_row,
    .bulk_end = pg_bulk_end,
    .bulk_free = pg_bulk_free,
    .reserve = reserve,
};
