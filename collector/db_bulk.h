/*
 * db_bulk.h - many rows at once: ids in blocks, rows into one table.
 *
 * Why      A batch of alerts is a few tables' worth of rows; a statement a row costs more than
 *          the rows. COPY BINARY in PostgreSQL, one prepared INSERT in SQLite.
 * Owns     The rows until db_bulk_end.
 * Threads  That of the write transaction. No other statement of it may run in between.
 * Bounds   PostgreSQL: DB_BULK_BUFFER bytes are held, the rest is on its way.
 *
 *     int64_t first;
 *     int r = db_reserve(tx, "alerts", n, &first, e);            // first, first + 1, ...
 *     WIND_AUTO(db_bulk) struct db_bulk *b = NULL;
 *     if (r == 0)
 *         r = db_bulk_begin(tx, "alerts", "id, uid, rev", &b, e);
 *     for (size_t i = 0; r == 0 && i < n; i++)
 *         r = db_bulk_row(b, DB_ARGS(db_int(first + i), db_bytes(uid[i], 16), db_int(1)), e);
 *     if (r == 0)
 *         r = db_bulk_end(&b, e);
 */
#pragma once

#include "collector/db.h"

#define DB_BULK_BUFFER ((size_t)256 * 1024)

struct db_bulk;

/*
 * `table` and `columns` (as in INSERT) are borrowed; columns left out get their default. Numbers go
 * into BIGINT columns, reals into DOUBLE PRECISION: nothing is converted.
 */
WIND_MUST_USE int db_bulk_begin(struct db_tx *tx, const char *table, const char *columns,
                                struct db_bulk **ret_bulk, struct err *e);

/* As many values as columns. DB_CONFLICT as of db_run: now, at the end, or -EINVAL of the commit.
 */
WIND_MUST_USE int db_bulk_row(struct db_bulk *b, const struct db_value *values, size_t n_values,
                              struct err *e);

/* 0: all rows are in. DB_CONFLICT. *b is NULL afterwards in any case. */
WIND_MUST_USE int db_bulk_end(struct db_bulk **b, struct err *e);

/* Without an end: rows may be in or not; the transaction has to be rolled back. */
struct db_bulk *db_bulk_free(struct db_bulk *b);
WIND_DEFINE_FREE(db_bulk)

/* The next `n` ids of a table that counts its own, for this transaction to use. */
WIND_MUST_USE int db_reserve(struct db_tx *tx, const char *table, size_t n, int64_t *ret_first,
                             struct err *e);
