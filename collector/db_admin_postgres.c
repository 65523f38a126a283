#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "collector/db_admin.h"
#include "collector/db_backend.h"
#include "common/buf.h"
#include "common/crypto.h"
#include "common/file.h"

#define SECRET_MAX   1024
#define PASSFILE_MAX 4096

/* ---------------------------------------------------------------- pg_dump and its kin */

/* PGPASSFILE: "*:*:*:*:password", colons and backslashes escaped. "" when there is no password. */
static int write_passfile(const struct db_conf *conf, char ret_path[PASSFILE_MAX], struct err *e)
{
    const char *tmp = getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp";
    char secret[SECRET_MAX], line[2 * SECRET_MAX + 16];
    struct buf b = BUF_FIXED(line);

    ret_path[0] = '\0';
    if (conf->password_file == NULL || conf->password_file[0] == '\0')
        return 0;
    int r = file_read_secret(conf->password_file, secret, sizeof(secret), e);
    if (r < 0)
        return r;
    buf_puts(&b, "*:*:*:*:");
    for (const char *p = secret; *p != '\0'; p++)
        buf_printf(&b, "%s%c", *p == ':' || *p == '\\' ? "\\" : "", *p);
    buf_putc(&b, '\n');
    (void)snprintf(ret_path, PASSFILE_MAX, "%s/windctl-XXXXXX", tmp);
    const int fd = mkstemp(ret_path); /* mode 0600 */
    r = fd >= 0 && write(fd, b.data, b.len) == (ssize_t)b.len
            ? 0
            : err_set(e, -EIO, "'%s': %m", ret_path);
    if (fd >= 0)
        (void)close(fd);
    crypto_wipe(secret, sizeof(secret));
    crypto_wipe(line, sizeof(line));
    return r;
}

static void run_child(char *const words[], const char *passfile)
{
    if (passfile[0] != '\0')
        (void)setenv("PGPASSFILE", passfile, 1);
    (void)unsetenv("PGPASSWORD");
    (void)execvp(words[0], words);
    (void)fprintf(stderr, "%s: %m\n", words[0]);
    _exit(127);
}

static int ended(const char *name, int status, struct err *e)
{
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
        return err_set(e, -ENOENT, "%s is missing: it comes with PostgreSQL's client programs",
                       name);
    return err_set(e, -EIO, "%s failed", name);
}

/* What it says goes to our standard error. */
static int run(const struct db_conf *conf, char *const words[], struct err *e)
{
    char passfile[PASSFILE_MAX];
    int status = 0;

    int r = write_passfile(conf, passfile, e);
    if (r == 0) {
        const pid_t child = fork();
        if (child == 0)
            run_child(words, passfile);
        while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR)
            ;
        r = child < 0 ? err_set(e, -EAGAIN, "%s: %m", words[0]) : ended(words[0], status, e);
    }
    if (passfile[0] != '\0')
        (void)unlink(passfile);
    return r;
}

static int backup(const struct db_conf *conf, const char *part, struct err *e)
{
    char url[600], file[4200];

    (void)snprintf(url, sizeof(url), "--dbname=%s", conf->url);
    (void)snprintf(file, sizeof(file), "--file=%s", part);
    char *const words[] = {(char[]){"pg_dump"},
                           (char[]){"--format=custom"},
                           (char[]){"--no-owner"},
                           (char[]){"--no-privileges"},
                           (char[]){"--no-password"},
                           url,
                           file,
                           NULL};
    return run(conf, words, e);
}

/* ---------------------------------------------------------------- restoring */

static int check_free(struct db_tx *tx, bool is_forced, struct err *e)
{
    int64_t users = 0, tables = 0;

    int r = db_query_i64(tx,
                         "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
                         "AND application_name = 'wind-collector'",
                         DB_NONE, &users, e);
    if (r == 0)
        r = db_query_i64(tx,
                         "SELECT count(*) FROM pg_class c JOIN pg_namespace n "
                         "ON n.oid = c.relnamespace WHERE n.nspname = 'public'",
                         DB_NONE, &tables, e);
    if (r != 0)
        return r < 0 ? r : -EIO;
    if (users > 0)
        return err_set(e, -EBUSY, "the database is in use: stop wind-collector first");
    if (tables > 0 && !is_forced)
        return err_set(e, -EEXIST, "the database is not empty; --force replaces what is there");
    return 0;
}

static int change(struct db *db, const char *sql, struct err *e)
{
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;

    int r = db_begin_write(db, &tx, e);
    if (r == 0)
        r = db_script(tx, sql, e);
    if (r == 0)
        r = db_commit(&tx, e);
    return r <= 0 ? r : -EIO;
}

static int check_schema(struct db *db, const char *file, struct err *e)
{
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;
    int64_t newest = 0;

    int r = db_begin_single(db, &tx, e);
    if (r == 0)
        r = db_query_i64(tx, "SELECT coalesce(max(number), 0) FROM schema_migrations", DB_NONE,
                         &newest, e);
    if (r != 0)
        return err_set(e, -EINVAL, "'%s' is no backup of Wind", file);
    return db_admin_known(newest, file, e);
}

static int run_restore(const struct db_conf *conf, const char *file, struct err *e)
{
    char url[600], name[4200];

    (void)snprintf(url, sizeof(url), "--dbname=%s", conf->url);
    (void)snprintf(name, sizeof(name), "%s", file);
    char *const words[] = {(char[]){"pg_restore"},
                           (char[]){"--exit-on-error"},
                           (char[]){"--single-transaction"},
                           (char[]){"--no-owner"},
                           (char[]){"--no-privileges"},
                           (char[]){"--no-password"},
                           url,
                           name,
                           NULL};
    return run(conf, words, e);
}

/* What was there waits under another name until its successor is whole. */
static int restore(const struct db_conf *conf, const char *file, bool is_forced, struct err *e)
{
    static const char aside[] =
        "DROP SCHEMA IF EXISTS wind_replaced CASCADE; ALTER SCHEMA public RENAME TO wind_replaced; "
        "CREATE SCHEMA public";
    static const char back[] =
        "DROP SCHEMA public CASCADE; ALTER SCHEMA wind_replaced RENAME TO public";
    WIND_AUTO(db) struct db *db = NULL;
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;
    struct db_conf c = *conf;

    c.is_tool = c.is_look = true;
    c.readers = 1;
    int r = db_open(&db, &c, e);
    if (r == 0)
        r = db_begin_single(db, &tx, e);
    if (r == 0)
        r = check_free(tx, is_forced, e);
    tx = db_tx_free(tx);
    if (r == 0)
        r = change(db, aside, e);
    if (r != 0)
        return r;
    r = run_restore(conf, file, e);
    if (r == 0)
        r = check_schema(db, file, e);
    const int end =
        change(db, r == 0 ? "DROP SCHEMA wind_replaced CASCADE" : back, r == 0 ? e : NULL);
    return r != 0 ? r : end;
}

const struct db_admin_ops db_admin_postgres = {.backup = backup, .restore = restore};
