#include "common/file.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/crypto.h"
#include "common/utf8.h"

#define FILE_CHUNK 16384

static int failed(struct err *e, const char *path)
{
    const int code = errno;

    return err_set(e, -code, "%s: %s", path, strerror(code));
}

static int read_fd(int fd, const char *path, struct buf *into, struct err *e)
{
    char chunk[FILE_CHUNK];

    for (;;) {
        const ssize_t n = read(fd, chunk, sizeof(chunk));

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return failed(e, path);
        buf_put(into, chunk, (size_t)n);
        crypto_wipe(chunk, (size_t)n);
        if (into->failed)
            return err_set(e, -EFBIG, "%s: larger than %zu bytes", path, into->max);
        if (n == 0)
            return 0;
    }
}

int file_read(const char *path, struct buf *into, struct err *e)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return failed(e, path);
    const int r = read_fd(fd, path, into, e);
    (void)close(fd);
    return r;
}

static int check_secret(const char *path, const char *text, size_t len, struct err *e)
{
    if (len == 0)
        return err_set(e, -EINVAL, "%s: is empty", path);
    if (!utf8_is_line(text, len))
        return err_set(e, -EINVAL, "%s: is not one line of text", path);
    return 0;
}

int file_read_secret(const char *path, char *ret_secret, size_t size, struct err *e)
{
    char text[4096];
    struct buf b = BUF_FIXED(text);
    struct stat st;

    int r = file_read(path, &b, e);
    if (r == 0) {
        if (b.len > 0 && text[b.len - 1] == '\n')
            b.len--;
        if (b.len > 0 && text[b.len - 1] == '\r')
            b.len--;
        r = check_secret(path, text, b.len, e);
    }
    if (r == 0 && b.len >= size)
        r = err_set(e, -EFBIG, "%s: longer than %zu characters", path, size - 1);
    if (r == 0) {
        memcpy(ret_secret, text, b.len);
        ret_secret[b.len] = '\0';
        if (stat(path, &st) == 0 && (st.st_mode & S_IROTH) != 0)
            r = FILE_EXPOSED;
    }
    crypto_wipe(text, sizeof(text));
    return r;
}

static int write_all(int fd, const void *data, size_t n)
{
    const char *p = data;

    while (n > 0) {
        const ssize_t put = write(fd, p, n);

        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return -1;
        p += put;
        n -= (size_t)put;
    }
    return fsync(fd);
}

/* The rename itself lasts only once the directory is on disk. */
static void sync_directory(const char *path)
{
    char copy[PATH_MAX];

    (void)snprintf(copy, sizeof(copy), "%s", path);
    const int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        (void)fsync(fd);
        (void)close(fd);
    }
}

int file_replace(const char *path, const void *data, size_t n, mode_t mode, struct err *e)
{
    char fresh[PATH_MAX];

    const int len = snprintf(fresh, sizeof(fresh), "%s.XXXXXX", path);
    if (len < 0 || (size_t)len >= sizeof(fresh))
        return err_set(e, -ENAMETOOLONG, "%.80s...: the path is too long", path);
    const int fd = mkostemp(fresh, O_CLOEXEC);
    if (fd < 0)
        return failed(e, path);

    int r = 0;
    if (fchmod(fd, mode) < 0 || write_all(fd, data, n) < 0)
        r = failed(e, path);
    if (close(fd) < 0 && r == 0)
        r = failed(e, path);
    if (r == 0 && rename(fresh, path) < 0)
        r = failed(e, path);
    if (r < 0)
        (void)unlink(fresh);
    else
        sync_directory(path);
    return r;
}
