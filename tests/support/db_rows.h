/*
 * db_rows.h - rows of a database under test, of the table of entities.
 */
#pragma once

#include <criterion/criterion.h>

#include "support/temp_db.h"

static inline int count_rows(struct db *db, const char *sql)
{
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;

    cr_assert_eq(db_begin_read(db, &tx, NULL), 0);
    cr_assert_eq(db_query(tx, sql, DB_NONE, &s, NULL), 0);
    cr_assert_eq(db_step(s, NULL), DB_ROW);
    return (int)db_i64(s, 0);
}

static inline int add_entity(struct db_tx *tx, const char *value, struct err *e)
{
    return db_run(tx, "INSERT INTO entities (kind, value) VALUES ($1, $2)",
                  DB_ARGS(db_str("host"), db_str(value)), NULL, e);
}

/* What only one of the databases has. */
#define ONLY_SQLITE()                                                                              \
    if (temp_db_url[0] != '\0')                                                                    \
    cr_skip_test("SQLite alone")
#define ONLY_POSTGRES()                                                                            \
    if (temp_db_url[0] == '\0')                                                                    \
    cr_skip_test("PostgreSQL alone: WIND_TEST_POSTGRES is not set")
