/* windctl db: the database behind a collector, by its settings. No collector is asked. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "collector/collector_conf.h"
#include "collector/db_admin.h"
#include "collector/retention.h"
#include "collector/windctl/command.h"

/* clang-format off */
static const struct column status_columns[] = {
    {"database",  "place",     CELL_TEXT,   IN_CSV | IN_SHOW, NULL},
    {"engine",    "engine",    CELL_TEXT,   IN_CSV | IN_SHOW, NULL},
    {"version",   "server",    CELL_TEXT,   IN_CSV | IN_SHOW, NULL},
    {"schema",    "schema",    CELL_NUMBER, IN_CSV | IN_SHOW, NULL},
    {"newest",    "newest",    CELL_NUMBER, IN_CSV | IN_SHOW, NULL},
    {"bytes",     "bytes",     CELL_NUMBER, IN_CSV | IN_SHOW, NULL},
    {"alerts",    "alerts",    CELL_NUMBER, IN_CSV | IN_SHOW, NULL},
    {"incidents", "incidents", CELL_NUMBER, IN_CSV | IN_SHOW, NULL},
    {NULL, NULL, CELL_TEXT, 0, NULL},
};

static const struct column migration_columns[] = {
    {"NUMBER",        "number",     CELL_NUMBER, IN_TABLE | IN_CSV, NULL},
    {"MIGRATION",     "name",       CELL_TEXT,   IN_TABLE | IN_CSV, NULL},
    {"APPLIED (UTC)", "applied_at", CELL_TIME,   IN_TABLE | IN_CSV, NULL},
    {NULL, NULL, CELL_TEXT, 0, NULL},
};

static const struct column pruned_columns[] = {
    {"TABLE",   "table",   CELL_TEXT,   IN_TABLE | IN_CSV, NULL},
    {"DELETED", "deleted", CELL_NUMBER, IN_TABLE | IN_CSV, NULL},
    {NULL, NULL, CELL_TEXT, 0, NULL},
};
/* clang-format on */

static int settings(const struct ctl *c, struct collector_conf *ret_conf, struct db_conf *ret_db,
                    struct err *e)
{
    const int r = collector_conf_load(&c->options.conf, ret_conf, e);

    if (r != 0)
        return err_wrap(e, OPTIONS_CONFIG, "settings");
    *ret_db = collector_db_conf(ret_conf);
    return 0;
}

int command_db_status(struct ctl *c, struct err *e)
{
    static struct collector_conf conf; /* static: large */
    struct db_conf db;
    json_t *status = NULL;

    int r = settings(c, &conf, &db, e);
    if (r == 0)
        r = db_admin_status(&db, &status, e);
    if (r != 0)
        return r;
    r = screen_object(&c->screen, status_columns, status, e);
    if (r == 0 && c->screen.format == SCREEN_TABLE) {
        (void)fputc('\n', c->screen.out);
        r = screen_rows(&c->screen, migration_columns, json_object_get(status, "migrations"), e);
    }
    json_decref(status);
    return r;
}

int command_db_migrate(struct ctl *c, struct err *e)
{
    static struct collector_conf conf;
    struct db_conf db;
    int from = 0, to = 0;

    int r = settings(c, &conf, &db, e);
    if (r == 0)
        r = db_admin_migrate(&db, &from, &to, e);
    if (r != 0)
        return r;
    if (from == to)
        (void)fprintf(c->screen.out, "schema %d, nothing to do\n", to);
    else
        (void)fprintf(c->screen.out, "schema %d -> %d\n", from, to);
    return screen_flush(&c->screen, e);
}

int command_db_backup(struct ctl *c, struct err *e)
{
    static struct collector_conf conf;
    struct db_conf db;

    const int r = settings(c, &conf, &db, e);
    return r == 0 ? db_admin_backup(&db, c->arg, e) : r;
}

int command_db_restore(struct ctl *c, struct err *e)
{
    static struct collector_conf conf;
    struct db_conf db;

    const int r = settings(c, &conf, &db, e);
    return r == 0 ? db_admin_restore(&db, c->arg, c->options.is_forced, e) : r;
}

static json_t *pruned_rows(const int64_t deleted[RETENTION_TABLES_N])
{
    json_t *rows = json_array();

    for (size_t i = 0; i < RETENTION_TABLES_N; i++) {
        json_t *row = json_object();
        (void)json_object_set_new(row, "table", json_string(retention_table_words[i]));
        (void)json_object_set_new(row, "deleted", json_integer(deleted[i]));
        (void)json_array_append_new(rows, row);
    }
    return rows;
}

int command_db_prune(struct ctl *c, struct err *e)
{
    static struct collector_conf conf;
    WIND_AUTO(db) struct db *db = NULL;
    WIND_AUTO(retention) struct retention *retention = NULL;
    struct db_conf db_conf;
    int64_t deleted[RETENTION_TABLES_N] = {0};
    char folder[256];

    int r = settings(c, &conf, &db_conf, e);
    db_conf.is_tool = true;
    if (r == 0)
        r = db_open(&db, &db_conf, e);
    if (r == 0) {
        const struct retention_conf rc = collector_retention_conf(&conf, db, folder);
        r = retention_new(&retention, &rc, e);
    }
    if (r == 0)
        r = retention_run(retention, deleted, e);
    if (r != 0)
        return r;
    json_t *rows = pruned_rows(deleted);
    r = screen_rows(&c->screen, pruned_columns, rows, e);
    json_decref(rows);
    return r;
}
