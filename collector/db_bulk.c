#include "collector/db_bulk.h"

#include <errno.h>
#include <stdlib.h>

#include "collector/db_backend.h"
#include "common/buf.h"

#define SQL_MAX 8192

/*
 * PostgreSQL: the first rows go as statements that wait for nothing, as a single alert shouldn't
 * pay for COPY's two round trips; then it is COPY.
 */
#define FEW 4

struct db_bulk {
    struct db_tx *tx;
    const struct db_ops *ops;
    const char *table, *columns;
    void *native;         /* the backend's, or */
    struct db_stmt *stmt; /* one INSERT, run for each row */
    size_t n_columns, n_rows;
};

struct db_bulk *db_bulk_free(struct db_bulk *b)
{
    if (b == NULL)
        return NULL;
    if (b->native != NULL)
        b->ops->bulk_free(b->native);
    (void)db_stmt_free(b->stmt);
    free(b);
    return NULL;
}

static int prepare_insert(struct db_bulk *b, struct err *e)
{
    char text[SQL_MAX];
    struct buf sql = BUF_FIXED(text);

    buf_printf(&sql, "INSERT INTO %s (%s) VALUES (", b->table, b->columns);
    for (size_t i = 1; i <= b->n_columns; i++)
        buf_printf(&sql, "%s$%zu", i == 1 ? "" : ", ", i);
    buf_putc(&sql, ')');
    const char *whole = buf_text(&sql);
    return sql.failed ? err_set(e, -E2BIG, "database: too many columns")
                      : db_query(b->tx, whole, DB_NONE, &b->stmt, e);
}

int db_bulk_begin(struct db_tx *tx, const char *table, const char *columns,
                  struct db_bulk **ret_bulk, struct err *e)
{
    WIND_AUTO(db_bulk) struct db_bulk *b = calloc(1, sizeof(*b));

    if (b == NULL)
        return err_set(e, -ENOMEM, "database: out of memory");
    *b = (struct db_bulk){
        .tx = tx, .ops = db_tx_ops(tx), .table = table, .columns = columns, .n_columns = 1};
    for (const char *p = columns; (p = strchr(p, ',')) != NULL; p++)
        b->n_columns++;
    const int r = prepare_insert(b, e);
    if (r == 0)
        *ret_bulk = WIND_STEAL(b);
    return r;
}

int db_bulk_row(struct db_bulk *b, const struct db_value *values, size_t n_values, struct err *e)
{
    const bool has_copy = b->ops->bulk_begin != NULL;
    int r = 0;

    if (n_values != b->n_columns)
        return err_set(e, -EINVAL, "database: %zu values for %zu columns", n_values, b->n_columns);
    if (!has_copy || b->n_rows < FEW) {
        b->n_rows++;
        r = db_again(b->stmt, values, n_values, e);
        return r == 0 && !has_copy ? db_step(b->stmt, e) : r;
    }
    if (b->native == NULL)
        r = b->ops->bulk_begin(db_tx_conn(b->tx), b->table, b->columns, &b->native, e);
    return r == 0 ? b->ops->bulk_row(b->native, values, n_values, e) : r;
}

int db_bulk_end(struct db_bulk **b, struct err *e)
{
    int r = 0;

    if ((*b)->native != NULL) {
        r = (*b)->ops->bulk_end((*b)->native, e);
        (*b)->native = NULL;
    }
    *b = db_bulk_free(*b);
    return r;
}

int db_reserve(struct db_tx *tx, const char *table, size_t n, int64_t *ret_first, struct err *e)
{
    return db_tx_ops(tx)->reserve(tx, table, (int64_t)n, ret_first, e);
}
