#include "collector/db_admin.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "collector/db_backend.h"
#include "collector/store.h"
#include "common/time.h"

static bool is_server(const struct db_conf *conf)
{
    return conf->url != NULL && conf->url[0] != '\0';
}

static const struct db_migration *migrations_of(const struct db_conf *conf)
{
    return is_server(conf) ? db_postgres_migrations : db_sqlite_migrations;
}

static int newest_of(const struct db_migration *m)
{
    int newest = 0;

    for (; m->number != 0; m++)
        newest = m->number;
    return newest;
}

int db_admin_known(int64_t newest, const char *file, struct err *e)
{
    const int ours = newest_of(db_sqlite_migrations);

    return newest <= ours ? 0
                          : err_set(e, -EINVAL,
                                    "'%s' has schema %lld, and this program knows %d: use the "
                                    "newer one",
                                    file, (long long)newest, ours);
}

/* ---------------------------------------------------------------- state */

static int look(struct db **ret_db, const struct db_conf *conf, struct err *e)
{
    struct db_conf c = *conf;

    if (!is_server(conf) && access(conf->path, F_OK) != 0)
        return err_set(e, -ENOENT,
                       "database '%s' is not there: wind-collector makes it, or windctl db migrate",
                       conf->path);
    c.is_tool = c.is_look = true;
    c.readers = 1;
    return db_open(ret_db, &c, e);
}

static int64_t count(struct db_tx *tx, const char *sql)
{
    int64_t n = 0;

    return db_query_i64(tx, sql, DB_NONE, &n, NULL) == 0 ? n : 0;
}

static int put_migrations(struct db_tx *tx, const struct db_migration *m, json_t *o, struct err *e)
{
    json_t *list = json_array();

    (void)json_object_set_new(o, "migrations", list);
    for (; m->number != 0; m++) {
        WIND_AUTO(db_stmt) struct db_stmt *s = NULL;
        const int r = db_query_row(tx, "SELECT applied_at FROM schema_migrations WHERE number = $1",
                                   DB_ARGS(db_int(m->number)), &s, e);
        if (r < 0)
            return r;
        json_t *row = json_object();
        (void)json_object_set_new(row, "number", json_integer(m->number));
        (void)json_object_set_new(row, "name", json_string(m->name));
        (void)json_object_set_new(
            row, "applied_at",
            r == DB_ROW ? store_json_time(db_i64(s, 0) * (int64_t)WIND_NS_PER_S) : json_null());
        (void)json_array_append_new(list, row);
    }
    return 0;
}

static int put_server(struct db_tx *tx, json_t *o, struct err *e)
{
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;
    const bool is_postgres = db_engine(tx) == DB_POSTGRES;
    const int r = db_query_row(
        tx, is_postgres ? "SELECT current_setting('server_version')" : "SELECT sqlite_version()",
        DB_NONE, &s, e);

    if (r < 0)
        return r;
    (void)json_object_set_new(o, "engine", json_string(is_postgres ? "PostgreSQL" : "SQLite"));
    (void)json_object_set_new(o, "server", store_json_text(db_text(s, 0)));
    return 0;
}

static int put_state(struct db_tx *tx, const struct db_conf *conf, json_t *o, struct err *e)
{
    int64_t schema = 0;

    int r = put_server(tx, o, e);
    if (r == 0)
        r = db_query_i64(tx, "SELECT coalesce(max(number), 0) FROM schema_migrations", DB_NONE,
                         &schema, e);
    if (r != 0)
        return r < 0 ? r : -EINVAL;
    (void)json_object_set_new(o, "place", json_string(is_server(conf) ? conf->url : conf->path));
    (void)json_object_set_new(o, "schema", json_integer(schema));
    (void)json_object_set_new(o, "newest", json_integer(newest_of(migrations_of(conf))));
    (void)json_object_set_new(o, "alerts", json_integer(count(tx, "SELECT count(*) FROM alerts")));
    (void)json_object_set_new(o, "incidents",
                              json_integer(count(tx, "SELECT count(*) FROM incidents")));
    return put_migrations(tx, migrations_of(conf), o, e);
}

int db_admin_status(const struct db_conf *conf, json_t **ret_status, struct err *e)
{
    WIND_AUTO(db) struct db *db = NULL;
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;
    struct db_stats stats;

    int r = look(&db, conf, e);
    if (r != 0)
        return r;
    db_stats(db, &stats);
    if (stats.schema == 0)
        return err_set(e, -ENOENT, "'%s' has no tables of Wind: windctl db migrate makes them",
                       is_server(conf) ? conf->url : conf->path);
    r = db_begin_read(db, &tx, e);
    if (r != 0)
        return r;
    json_t *o = json_object();
    r = put_state(tx, conf, o, e);
    tx = db_tx_free(tx);
    if (r != 0) {
        json_decref(o);
        return r;
    }
    (void)json_object_set_new(
        o, "bytes", json_integer((json_int_t)stats.file_bytes + (json_int_t)stats.wal_bytes));
    *ret_status = o;
    return 0;
}

/* ---------------------------------------------------------------- change */

int db_admin_migrate(const struct db_conf *conf, int *ret_from, int *ret_to, struct err *e)
{
    WIND_AUTO(db) struct db *db = NULL;
    struct db_conf c = *conf;
    struct db_stats stats = {0};
    int r;

    *ret_from = 0;
    if (is_server(conf) || access(conf->path, F_OK) == 0) {
        r = look(&db, conf, e);
        if (r != 0)
            return r;
        db_stats(db, &stats);
        *ret_from = stats.schema;
        db = db_free(db);
    }
    c.is_tool = true;
    c.readers = 1;
    r = db_open(&db, &c, e);
    if (r != 0)
        return r;
    db_stats(db, &stats);
    *ret_to = stats.schema;
    return 0;
}

int db_admin_backup(const struct db_conf *conf, const char *file, struct err *e)
{
    const struct db_admin_ops *ops = is_server(conf) ? &db_admin_postgres : &db_admin_sqlite;
    char part[4096];

    if (access(file, F_OK) == 0)
        return err_set(e, -EEXIST, "'%s' is there already", file);
    if (snprintf(part, sizeof(part), "%s.part", file) >= (int)sizeof(part))
        return err_set(e, -ENAMETOOLONG, "the name is too long");
    const mode_t mask = umask(077);
    int r = ops->backup(conf, part, e);
    (void)umask(mask);
    if (r == 0 && link(part, file) != 0) { /* not rename: it never replaces one */
        const int code = -errno;
        r = err_set(e, code, "'%s': %m", file);
    }
    (void)unlink(part);
    return r;
}

int db_admin_restore(const struct db_conf *conf, const char *file, bool is_forced, struct err *e)
{
    const struct db_admin_ops *ops = is_server(conf) ? &db_admin_postgres : &db_admin_sqlite;

    if (access(file, R_OK) != 0) {
        const int code = -errno;
        return err_set(e, code, "'%s': %m", file);
    }
    return ops->restore(conf, file, is_forced, e);
}
