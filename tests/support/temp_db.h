/*
 * temp_db.h - a real database in a new temporary folder, for each test of its own:
 * TestSuite(name, .init = temp_db_init, .fini = temp_db_fini);
 */
#pragma once

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "collector/db.h"

#define TEMP_DB_READERS 4

static struct db *temp_db;
static char temp_db_path[PATH_MAX];

static inline void temp_db_open(void)
{
    struct err e = {0};
    const struct db_conf conf = {
        .path = temp_db_path, .readers = TEMP_DB_READERS, .busy_ms = 300, .is_fast = true};

    if (db_open(&temp_db, &conf, &e) != 0) {
        (void)fprintf(stderr, "temp_db: %s\n", e.text);
        abort();
    }
}

static inline void temp_db_init(void)
{
    const char *root = getenv("TMPDIR");
    char dir[PATH_MAX - 16];

    (void)snprintf(dir, sizeof(dir), "%s/wind-db-XXXXXX", root ? root : "/tmp");
    if (mkdtemp(dir) == NULL)
        abort();
    (void)snprintf(temp_db_path, sizeof(temp_db_path), "%s/wind.db", dir);
    temp_db_open();
}

static inline void temp_db_reopen(void)
{
    temp_db = db_free(temp_db);
    temp_db_open();
}

static inline void temp_db_fini(void)
{
    temp_db = db_free(temp_db);
    (void)unlink(temp_db_path);
    *strrchr(temp_db_path, '/') = '\0';
    (void)rmdir(temp_db_path);
}
