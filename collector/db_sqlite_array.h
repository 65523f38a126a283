/*
 * db_sqlite_array.h - array parameters for SQLite, which has none of its own.
 *
 * Why      = ANY($1) and unnest($1, ...) AS t(a, ...) of the shared SQL. Both become a table
 *          function over a bound pointer; JSON would cost more and has no bytes.
 * Owns     A copy of the array, until the parameter is bound anew.
 * Threads  As its connection. Only db_sqlite.c includes this.
 */
#pragma once

#include <sqlite3.h>

#include "collector/db.h"

/* Make unnest() known to a connection. */
int db_sqlite_array_init(sqlite3 *conn);

/* `sql` in SQLite's words (malloc), or NULL when it has no array or there is no memory. */
char *db_sqlite_array_sql(const char *sql);

int db_sqlite_array_bind(sqlite3_stmt *stmt, int at, const struct db_value *v);
