#include "collector/db_postgres.h"

#include <errno.h>
#include <stdlib.h>

#include "collector/db_bulk.h"
#include "common/buf.h"

#define SQL_MAX 8192
#define ROW_MAX ((size_t)64 << 20)

struct pg_bulk {
    struct pg_conn *c;
    bool is_copying;
    struct buf out;
};

/* Stop a COPY that nobody ends; the transaction is rolled back anyway. */
static void stop_copy(struct pg_bulk *b, const char *why)
{
    struct pg_conn *c = b->c;
    PGresult *res;

    b->is_copying = false;
    if (c->is_broken)
        return;
    if (PQputCopyEnd(c->pq, why) < 0 || pg_flush(c, NULL) != 0) {
        c->is_broken = true;
        return;
    }
    while ((res = PQgetResult(c->pq)) != NULL)
        PQclear(res);
    pg_fail(c, -ECANCELED, &(struct err){.text = "database: rows were given up"});
    if (pg_resume(c, NULL) != 0)
        c->is_broken = true;
}

void pg_bulk_free(void *bulk)
{
    struct pg_bulk *b = bulk;

    if (b->is_copying)
        stop_copy(b, "given up");
    buf_done(&b->out);
    free(b);
}

/* ---------------------------------------------------------------- COPY */

static int begin_copy(struct pg_bulk *b, const char *sql, struct err *e)
{
    static const char head[] = "PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0"; /* flags, extension: none */
    struct pg_conn *c = b->c;

    int r = pg_start(c, false, e);
    if (r == 0)
        r = pg_pause(c, e);
    if (r != 0)
        return r;
    PGresult *res = PQexec(c->pq, sql);
    r = pg_outcome(c, res, "copy", e);
    PQclear(res);
    if (r != 0) {
        pg_fail(c, r, e);
        const int back = pg_resume(c, NULL);
        return back != 0 ? back : r;
    }
    b->is_copying = true;
    buf_put(&b->out, head, 19);
    return 0;
}

int pg_bulk_begin(void *conn, const char *table, const char *columns, void **ret_bulk,
                  struct err *e)
{
    char text[SQL_MAX];
    struct buf sql = BUF_FIXED(text);
    struct pg_bulk *b = calloc(1, sizeof(*b));

    if (b == NULL)
        return err_set(e, -ENOMEM, "database: out of memory");
    b->c = conn;
    buf_init(&b->out, DB_BULK_BUFFER + ROW_MAX);
    buf_printf(&sql, "COPY %s (%s) FROM STDIN (FORMAT binary)", table, columns);
    const char *whole = buf_text(&sql);
    const int r =
        sql.failed ? err_set(e, -E2BIG, "database: too many columns") : begin_copy(b, whole, e);
    if (r != 0) {
        pg_bulk_free(b);
        return r;
    }
    *ret_bulk = b;
    return 0;
}

static int put_data(struct pg_bulk *b, struct err *e)
{
    struct pg_conn *c = b->c;
    int r = 0, put;

    while (r == 0 && (put = PQputCopyData(c->pq, b->out.data, (int)b->out.len)) != 1)
        r = put < 0 ? pg_lost(c, "copy", e) : pg_flush(c, e);
    if (r == 0)
        r = pg_flush(c, e);
    buf_reset(&b->out);
    return r;
}

int pg_bulk_row(void *bulk, const struct db_value *values, size_t n, struct err *e)
{
    struct pg_bulk *b = bulk;
    const unsigned char count[2] = {(unsigned char)(n >> 8), (unsigned char)n};

    buf_put(&b->out, count, 2);
    for (size_t i = 0; i < n; i++) {
        const bool has_bytes = db_has_bytes(&values[i]);
        pg_put32(&b->out, values[i].type == DB_TYPE_NULL ? UINT32_MAX
                          : has_bytes                    ? (uint32_t)values[i].len
                                                         : 8);
        pg_encode(&b->out, &values[i]);
    }
    if (b->out.failed)
        return err_set(e, -E2BIG, "database: a row is too large");
    return b->out.len >= DB_BULK_BUFFER ? put_data(b, e) : 0;
}

static int end_copy(struct pg_bulk *b, struct err *e)
{
    static const char tail[] = "\377\377";
    struct pg_conn *c = b->c;
    PGresult *res;
    int r;

    buf_put(&b->out, tail, 2);
    r = put_data(b, e);
    if (r != 0)
        return r;
    b->is_copying = false;
    if (PQputCopyEnd(c->pq, NULL) < 0)
        return pg_lost(c, "copy", e);
    r = pg_flush(c, e);
    while (r == 0 && (res = PQgetResult(c->pq)) != NULL) {
        r = pg_outcome(c, res, "copy", e);
        PQclear(res);
    }
    while ((res = PQgetResult(c->pq)) != NULL)
        PQclear(res);
    if (r != 0)
        pg_fail(c, r, e);
    const int back = pg_resume(c, r == 0 ? e : NULL);
    return r != 0 ? r : back;
}

int pg_bulk_end(void *bulk, struct err *e)
{
    struct pg_bulk *b = bulk;
    const int r = b->is_copying ? end_copy(b, e) : 0;

    pg_bulk_free(b);
    return r;
}
