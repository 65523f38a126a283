#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sqlite3.h>

#include "collector/db_admin.h"

#define PATH_BYTES 4096

/* Every connection of SQLite in WAL mode keeps a lock on these bytes of the file (its docs). */
#define LOCKED_FROM  0x40000002
#define LOCKED_BYTES 510

static int sqlite_error(sqlite3 *conn, const char *path, struct err *e)
{
    return err_set(e, -EIO, "'%s': %s", path,
                   conn == NULL ? "out of memory" : sqlite3_errmsg(conn));
}

/* Copy all in one go: in pieces, each write of a collector would start it anew. */
static int copy(sqlite3 *from, sqlite3 *to, const char *path, struct err *e)
{
    sqlite3_backup *b = sqlite3_backup_init(to, "main", from, "main");

    if (b == NULL)
        return sqlite_error(to, path, e);
    (void)sqlite3_backup_step(b, -1);
    return sqlite3_backup_finish(b) == SQLITE_OK ? 0 : sqlite_error(to, path, e);
}

/* One value of a database, as text; "" when it has none. */
static int ask(sqlite3 *conn, const char *sql, char ret_text[64])
{
    sqlite3_stmt *s = NULL;
    int rc = sqlite3_prepare_v2(conn, sql, -1, &s, NULL);

    ret_text[0] = '\0';
    if (rc == SQLITE_OK && (rc = sqlite3_step(s)) == SQLITE_ROW)
        (void)snprintf(ret_text, 64, "%s", (const char *)sqlite3_column_text(s, 0));
    (void)sqlite3_finalize(s);
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? 0 : -EIO;
}

/* Is it whole, Wind's, and of a schema that is known? */
static int check(sqlite3 *conn, const char *path, struct err *e)
{
    char text[64];

    if (ask(conn, "SELECT coalesce(max(number), 0) FROM schema_migrations", text) != 0)
        return err_set(e, -EINVAL, "'%s' is no database of Wind: %s", path, sqlite3_errmsg(conn));
    const int r = db_admin_known(strtoll(text, NULL, 10), path, e);
    if (r != 0)
        return r;
    if (ask(conn, "PRAGMA quick_check(1)", text) != 0 || strcmp(text, "ok") != 0)
        return err_set(e, -EBADMSG, "'%s' is damaged: %s", path, text);
    return 0;
}

static int open_pair(const char *source, const char *target, sqlite3 **ret_from, sqlite3 **ret_to,
                     struct err *e)
{
    if (sqlite3_open_v2(source, ret_from, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) !=
        SQLITE_OK)
        return sqlite_error(*ret_from, source, e);
    (void)sqlite3_busy_timeout(*ret_from, 10000);
    if (sqlite3_open_v2(target, ret_to,
                        SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
                        NULL) != SQLITE_OK)
        return sqlite_error(*ret_to, target, e);
    return 0;
}

static int sync_file(const char *path, struct err *e)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    const bool is_safe = fd >= 0 && fsync(fd) == 0;
    const int code = -errno;

    if (fd >= 0)
        (void)close(fd);
    return is_safe ? 0 : err_set(e, code, "'%s': %m", path);
}

/* A whole, checked copy of a database at `part`. */
static int make_copy(const char *source, const char *part, struct err *e)
{
    sqlite3 *from = NULL, *to = NULL;

    (void)unlink(part);
    int r = open_pair(source, part, &from, &to, e);
    if (r == 0)
        r = copy(from, to, part, e);
    if (r == 0 && sqlite3_exec(to, "PRAGMA journal_mode=DELETE", NULL, NULL, NULL) != SQLITE_OK)
        r = sqlite_error(to, part, e); /* one file, without a log beside it */
    if (r == 0)
        r = check(to, part, e);
    (void)sqlite3_close(to);
    (void)sqlite3_close(from);
    return r == 0 ? sync_file(part, e) : r;
}

static int backup(const struct db_conf *conf, const char *part, struct err *e)
{
    if (access(conf->path, F_OK) != 0)
        return err_set(e, -ENOENT, "database '%s' is not there", conf->path);
    return make_copy(conf->path, part, e);
}

/* ---------------------------------------------------------------- restoring */

static bool is_in_use(const char *path)
{
    struct flock lock = {
        .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = LOCKED_FROM, .l_len = LOCKED_BYTES};
    const int fd = open(path, O_RDWR | O_CLOEXEC);

    if (fd < 0)
        return false;
    const bool is = fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
    (void)close(fd);
    return is;
}

/* Its log goes into the file, so that the file alone is all there is. */
static int fold(const char *path, struct err *e)
{
    sqlite3 *conn = NULL;
    char wal[PATH_BYTES];
    int rc = sqlite3_open_v2(path, &conn, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);

    if (rc == SQLITE_OK)
        rc = sqlite3_exec(conn, "PRAGMA journal_mode=DELETE", NULL, NULL, NULL);
    const int r = rc == SQLITE_OK ? 0 : sqlite_error(conn, path, e);
    (void)sqlite3_close(conn);
    (void)snprintf(wal, sizeof(wal), "%s-wal", path);
    if (r == 0 && access(wal, F_OK) == 0)
        return err_set(e, -EBUSY, "'%s' is in use", path);
    return r;
}

static int put_aside(const char *path, bool is_forced, struct err *e)
{
    char aside[PATH_BYTES];

    if (access(path, F_OK) != 0)
        return 0;
    if (is_in_use(path))
        return err_set(e, -EBUSY, "'%s' is in use: stop wind-collector first", path);
    if (!is_forced)
        return err_set(e, -EEXIST, "'%s' is there already; --force replaces it", path);
    (void)snprintf(aside, sizeof(aside), "%s.replaced", path);
    const int r = fold(path, e);
    if (r != 0)
        return r;
    const int code = rename(path, aside) == 0 ? 0 : -errno;
    return code == 0 ? 0 : err_set(e, code, "'%s': %m", aside);
}

static int restore(const struct db_conf *conf, const char *file, bool is_forced, struct err *e)
{
    char part[PATH_BYTES];

    if (snprintf(part, sizeof(part), "%s.part", conf->path) >= (int)sizeof(part))
        return err_set(e, -ENAMETOOLONG, "the name is too long");
    if (access(conf->path, F_OK) == 0 && is_in_use(conf->path))
        return put_aside(conf->path, is_forced, e); /* before the work */
    const mode_t mask = umask(077);
    int r = make_copy(file, part, e);
    (void)umask(mask);
    if (r == 0)
        r = put_aside(conf->path, is_forced, e);
    if (r == 0 && rename(part, conf->path) != 0) {
        const int code = -errno;
        r = err_set(e, code, "'%s': %m", conf->path);
    }
    if (r != 0)
        (void)unlink(part);
    return r;
}

const struct db_admin_ops db_admin_sqlite = {.backup = backup, .restore = restore};
