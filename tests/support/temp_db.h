/*
 * temp_db.h - a real database of its own for each test, new and empty:
 * TestSuite(name, .init = temp_db_init, .fini = temp_db_fini);
 *
 * SQLite in a temporary folder; with WIND_TEST_POSTGRES (postgresql://...) in the environment
 * a database on that server.
 */
#pragma once

#include <libpq-fe.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "collector/db.h"

#define TEMP_DB_READERS 4

static struct db *temp_db;
static char temp_db_path[PATH_MAX]; /* of SQLite; "" with a server */
static char temp_db_url[512];       /* of a server's; "" with SQLite */
static char temp_db_name[64];

static inline void temp_db_fail(const char *what)
{
    (void)fprintf(stderr, "temp_db: %s\n", what);
    abort();
}

static inline struct db_conf temp_db_conf(void)
{
    return (struct db_conf){.path = temp_db_path,
                            .url = temp_db_url,
                            .readers = TEMP_DB_READERS,
                            .busy_ms = 300,
                            .is_fast = true};
}

static inline void temp_db_open(void)
{
    struct err e = {0};
    struct db_conf conf = temp_db_conf();

    if (temp_db_url[0] != '\0')
        conf.busy_ms = 3000; /* many tests make databases at once */
    if (db_open(&temp_db, &conf, &e) != 0)
        temp_db_fail(e.text);
}

/* One statement on the server, outside of the database under test. */
static inline void temp_db_admin(const char *sql)
{
    PGconn *c = PQconnectdb(getenv("WIND_TEST_POSTGRES"));
    PQclear(PQexec(c, "SET client_min_messages = warning"));
    PGresult *res = PQexec(c, sql);

    if (PQresultStatus(res) != PGRES_COMMAND_OK && PQresultStatus(res) != PGRES_TUPLES_OK)
        temp_db_fail(PQerrorMessage(c));
    PQclear(res);
    PQfinish(c);
}

/* ".../wind?x=y" with the name of another database. */
static inline void temp_db_set_url(const char *server)
{
    const char *query = strchr(server, '?');
    const int n = query == NULL ? (int)strlen(server) : (int)(query - server);
    const char *slash = memrchr(server, '/', (size_t)n);

    if (slash == NULL)
        temp_db_fail("WIND_TEST_POSTGRES names no database");
    (void)snprintf(temp_db_url, sizeof(temp_db_url), "%.*s/%s%s", (int)(slash - server), server,
                   temp_db_name, query == NULL ? "" : query);
}

static inline void temp_db_make(void)
{
    const char *root = getenv("TMPDIR"), *server = getenv("WIND_TEST_POSTGRES");
    char dir[PATH_MAX - 16], sql[128];

    if (server != NULL) {
        (void)snprintf(temp_db_name, sizeof(temp_db_name), "unit_%d", (int)getpid());
        (void)snprintf(sql, sizeof(sql), "DROP DATABASE IF EXISTS %s", temp_db_name);
        temp_db_admin(sql);
        (void)snprintf(sql, sizeof(sql), "CREATE DATABASE %s", temp_db_name);
        temp_db_admin(sql);
        temp_db_set_url(server);
        return;
    }
    (void)snprintf(dir, sizeof(dir), "%s/wind-db-XXXXXX", root ? root : "/tmp");
    if (mkdtemp(dir) == NULL)
        abort();
    (void)snprintf(temp_db_path, sizeof(temp_db_path), "%s/wind.db", dir);
}

static inline void temp_db_init(void)
{
    temp_db_make();
    temp_db_open();
}

static inline void temp_db_reopen(void)
{
    temp_db = db_free(temp_db);
    temp_db_open();
}

static inline void temp_db_fini(void)
{
    char sql[128];

    temp_db = db_free(temp_db);
    if (temp_db_url[0] != '\0') {
        (void)snprintf(sql, sizeof(sql), "DROP DATABASE %s WITH (FORCE)", temp_db_name);
        temp_db_admin(sql);
        return;
    }
    (void)unlink(temp_db_path);
    *strrchr(temp_db_path, '/') = '\0';
    (void)rmdir(temp_db_path);
}
