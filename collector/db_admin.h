/*
 * db_admin.h - what an operator does with the database as a whole: state, backup, restore.
 *
 * Why      windctl db. SQLite copies itself (its online backup), for PostgreSQL its own programs do
 *          the work: a file from db_admin_backup is one that pg_restore knows.
 * Owns     Nothing; files are made with mode 0600, under another name until they are whole.
 * Threads  One. Collectors may work meanwhile, but not on what is restored: -EBUSY.
 * Bounds   None in time: what is large takes long.
 *
 * A password reaches pg_dump by a file of its own (PGPASSFILE) that is gone afterwards: it is on
 * no command line and in no environment.
 */
#pragma once

#include <jansson.h>

#include "collector/db.h"

/*
 * {engine, server, place, schema, newest, bytes, alerts, incidents, migrations: [{number, name,
 * applied_at}]}; applied_at null: it will run at the next start. Nothing is changed. -ENOENT: there
 * is no database yet.
 */
WIND_MUST_USE int db_admin_status(const struct db_conf *conf, json_t **ret_status, struct err *e);

/* Bring it to the newest schema, as every start does. *ret_from: what it had. */
WIND_MUST_USE int db_admin_migrate(const struct db_conf *conf, int *ret_from, int *ret_to,
                                   struct err *e);

/* -EEXIST: the file is there. */
WIND_MUST_USE int db_admin_backup(const struct db_conf *conf, const char *file, struct err *e);

/*
 * -EEXIST: there is a database already, and `is_forced` was not said; then it is replaced (SQLite:
 * and kept beside as NAME.replaced). -EBUSY: a collector uses it. -EINVAL: the file is no backup of
 * Wind, or of a newer one.
 */
WIND_MUST_USE int db_admin_restore(const struct db_conf *conf, const char *file, bool is_forced,
                                   struct err *e);

/* ---- db_admin_sqlite.c, db_admin_postgres.c */

struct db_admin_ops {
    int (*backup)(const struct db_conf *conf, const char *part, struct err *e);
    int (*restore)(const struct db_conf *conf, const char *file, bool is_forced, struct err *e);
};
extern const struct db_admin_ops db_admin_sqlite, db_admin_postgres;

/* Is the newest of these migrations one that this program knows? -EINVAL with a sentence. */
WIND_MUST_USE int db_admin_known(int64_t newest, const char *file, struct err *e);
