/* Statements as they are mostly wanted: a row, a number, none. */
#include <errno.h>

#include "collector/db_backend.h"

int db_query_row(struct db_tx *tx, const char *sql, const struct db_value *args, size_t n_args,
                 struct db_stmt **ret_stmt, struct err *e)
{
    const int r = db_query(tx, sql, args, n_args, ret_stmt, e);

    return r == 0 ? db_step(*ret_stmt, e) : r;
}

int db_query_i64(struct db_tx *tx, const char *sql, const struct db_value *args, size_t n_args,
                 int64_t *ret_value, struct err *e)
{
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;
    const int r = db_query_row(tx, sql, args, n_args, &s, e);

    if (r == DB_ROW && s != NULL)
        *ret_value = db_i64(s, 0);
    return r == DB_ROW ? 0 : r;
}

int db_run(struct db_tx *tx, const char *sql, const struct db_value *args, size_t n_args,
           int64_t *ret_changed, struct err *e)
{
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;
    int r = db_query(tx, sql, args, n_args, &s, e);

    if (r == 0)
        do
            r = db_step(s, e);
        while (r == DB_ROW);
    if (r == 0 && ret_changed != NULL)
        *ret_changed = db_tx_ops(tx)->changed(db_tx_conn(tx));
    return r;
}

int db_defer(struct db_tx *tx, const char *sql, const struct db_value *args, size_t n_args,
             struct err *e)
{
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;

    if (db_tx_ops(tx)->ready != NULL)
        return db_query(tx, sql, args, n_args, &s, e); /* it is under way */
    const int r = db_run(tx, sql, args, n_args, NULL, e);
    return r == DB_CONFLICT ? err_set(e, -EINVAL, "database: a key does not fit") : r;
}
