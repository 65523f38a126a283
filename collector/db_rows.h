/*
 * db_rows.h - rows into one table, few or many.
 *
 * Why      Many rows go in bulk (db_bulk.h); for a few, PostgreSQL's COPY asks and answers more
 *          often than statements that wait for no answer.
 * Owns     The bulk until db_rows_end.
 * Threads  That of the write transaction. No other statement of it may run in between.
 * Bounds   DB_ROWS_FEW rows are few.
 */
#pragma once

#include "collector/db_bulk.h"

#define DB_ROWS_FEW 8

struct db_rows;

/* As db_bulk_begin, for n rows. */
WIND_MUST_USE int db_rows_begin(struct db_tx *tx, const char *table, const char *columns, size_t n,
                                struct db_rows **ret_rows, struct err *e);
WIND_MUST_USE int db_rows_add(struct db_rows *rows, const struct db_value *values, size_t n_values,
                              struct err *e);

/* 0, DB_CONFLICT. What few rows hit is said by a later call. */
WIND_MUST_USE int db_rows_end(struct db_rows **rows, struct err *e);

struct db_rows *db_rows_free(struct db_rows *rows);
WIND_DEFINE_FREE(db_rows)
