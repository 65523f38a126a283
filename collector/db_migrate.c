#include <errno.h>
#include <time.h>

#include "collector/db_backend.h"

static const char table_sql[] = "CREATE TABLE IF NOT EXISTS schema_migrations ("
                                "number INTEGER PRIMARY KEY, name TEXT NOT NULL, "
                                "sha256 TEXT NOT NULL, applied_at BIGINT NOT NULL)";

/* > 0: it ran before, as it is now. */
static int has_run(struct db_tx *tx, const struct db_migration *m, struct err *e)
{
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;
    int r = db_query_row(tx, "SELECT sha256 FROM schema_migrations WHERE number = $1",
                         DB_ARGS(db_int(m->number)), &s, e);
    if (r == DB_ROW && strcmp(db_text(s, 0), m->sha256) != 0)
        return err_set(e, -EINVAL,
                       "database: migration %s was changed after it ran here; "
                       "make a new one instead",
                       m->name);
    return r;
}

static int apply(struct db *db, const struct db_migration *m, struct err *e)
{
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;
    int r = db_begin_write(db, &tx, e); /* another process may be migrating: look again inside */

    if (r == 0)
        r = has_run(tx, m, e);
    if (r != 0)
        return r == DB_ROW ? 0 : r;
    r = db_script(tx, m->sql, e);
    if (r == 0)
        r = db_run(tx,
                   "INSERT INTO schema_migrations (number, name, sha256, applied_at) "
                   "VALUES ($1, $2, $3, $4)",
                   DB_ARGS(db_int(m->number), db_str(m->name), db_str(m->sha256),
                           db_int((int64_t)time(NULL))),
                   NULL, e);
    if (r == 0)
        r = db_commit(&tx, e);
    return r == 0 ? 0 : err_wrap(e, r < 0 ? r : -EINVAL, "migration %s", m->name);
}

static int newest(struct db *db, int *ret_number, struct err *e)
{
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;
    int r = db_begin_write(db, &tx, e);

    if (r == 0)
        r = db_script(tx, table_sql, e);
    if (r == 0)
        r = db_query_row(tx, "SELECT coalesce(max(number), 0) FROM schema_migrations", DB_NONE, &s,
                         e);
    if (r < 0)
        return r;
    *ret_number = (int)db_i64(s, 0);
    return db_commit(&tx, e);
}

int db_schema(struct db *db, int *ret_number, struct err *e)
{
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;
    int64_t number = 0;
    int r = db_begin_single(db, &tx, e);

    *ret_number = 0;
    if (r != 0)
        return r;
    if (db_query_i64(tx, "SELECT coalesce(max(number), 0) FROM schema_migrations", DB_NONE, &number,
                     NULL) == 0)
        *ret_number = (int)number;
    return 0;
}

int db_migrate(struct db *db, const struct db_migration *m, int *ret_number, struct err *e)
{
    int there = 0, last = 0;
    int r = newest(db, &there, e);

    for (; r == 0 && m->number != 0; m++) {
        r = apply(db, m, e);
        last = m->number;
    }
    if (r == 0 && there > last)
        return err_set(e, -EINVAL,
                       "database: its schema %d is newer than this program's %d: "
                       "use the newer wind-collector",
                       there, last);
    if (r == 0)
        *ret_number = last;
    return r;
}
