#include "collector/db_rows.h"

#include <errno.h>
#include <stdlib.h>

#include "common/buf.h"

#define SQL_MAX 1024

struct db_rows {
    struct db_tx *tx;
    struct db_bulk *bulk; /* NULL: few rows */
    char sql[SQL_MAX];
};

static int make_sql(struct db_rows *rows, const char *table, const char *columns, struct err *e)
{
    struct buf b = BUF_FIXED(rows->sql);
    size_t n = 1;

    for (const char *p = columns; (p = strchr(p, ',')) != NULL; p++)
        n++;
    buf_printf(&b, "INSERT INTO %s (%s) VALUES (", table, columns);
    for (size_t i = 1; i <= n; i++)
        buf_printf(&b, "%s$%zu", i == 1 ? "" : ", ", i);
    buf_putc(&b, ')');
    (void)buf_text(&b);
    return b.failed ? err_set(e, -E2BIG, "database: too many columns") : 0;
}

int db_rows_begin(struct db_tx *tx, const char *table, const char *columns, size_t n,
                  struct db_rows **ret_rows, struct err *e)
{
    WIND_AUTO(db_rows) struct db_rows *rows = calloc(1, sizeof(*rows));

    if (rows == NULL)
        return err_set(e, -ENOMEM, "database: out of memory");
    rows->tx = tx;
    const int r = db_engine(tx) == DB_POSTGRES && n <= DB_ROWS_FEW
                      ? make_sql(rows, table, columns, e)
                      : db_bulk_begin(tx, table, columns, &rows->bulk, e);
    if (r == 0)
        *ret_rows = WIND_STEAL(rows);
    return r;
}

int db_rows_add(struct db_rows *rows, const struct db_value *values, size_t n_values, struct err *e)
{
    return rows->bulk != NULL ? db_bulk_row(rows->bulk, values, n_values, e)
                              : db_defer(rows->tx, rows->sql, values, n_values, e);
}

int db_rows_end(struct db_rows **rows, struct err *e)
{
    const int r = (*rows)->bulk != NULL ? db_bulk_end(&(*rows)->bulk, e) : 0;

    *rows = db_rows_free(*rows);
    return r;
}

struct db_rows *db_rows_free(struct db_rows *rows)
{
    if (rows != NULL)
        db_bulk_free(rows->bulk);
    free(rows);
    return NULL;
}
