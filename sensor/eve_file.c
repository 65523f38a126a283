#include "sensor/eve_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define TORN_MAX (1u << 20) /* how far back a torn last line may begin */

/* A power cut may have torn the last line: cut it off. Returns the size that is left. */
static uint64_t cut_torn_line(int fd, uint64_t size)
{
    char text[4096];
    uint64_t at = size;

    while (at > 0 && size - at < TORN_MAX) {
        const size_t n = at < sizeof(text) ? (size_t)at : sizeof(text);

        if (pread(fd, text, n, (off_t)(at - n)) != (ssize_t)n)
            return size;
        const char *newline = memrchr(text, '\n', n);
        if (newline != NULL) {
            at = at - n + (uint64_t)(newline - text) + 1;
            return ftruncate(fd, (off_t)at) == 0 ? at : size;
        }
        at -= n;
    }
    return at == 0 && ftruncate(fd, 0) == 0 ? 0 : size;
}

/* The regular file at the path, locked. The one before is closed only then: it may be the same. */
static int replace(int *fd, const char *path, struct stat *ret_st, struct err *e)
{
    const int new = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0640);

    if (new < 0)
        return err_set(e, -errno, "cannot write '%s': %s", path, strerror(errno));
    if (fstat(new, ret_st) != 0 || !S_ISREG(ret_st->st_mode)) {
        (void)close(new);
        return err_set(e, -EINVAL, "'%s' is not a regular file", path);
    }
    if (*fd >= 0)
        (void)close(*fd);
    *fd = new;
    if (flock(new, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
        return err_set(e, -EBUSY,
                       "'%s': another sensor writes there; give each its own folder (-l)", path);
    return 0;
}

int eve_file_open(int *fd, const char *path, bool is_replay, bool is_started,
                  struct eve_place *place, struct err *e)
{
    struct stat st = {0};
    const int r = replace(fd, path, &st, e);

    if (r < 0)
        return r;
    const bool is_ours = is_started && place->dev == st.st_dev && place->ino == st.st_ino;
    const uint64_t size = (uint64_t)st.st_size;
    if (is_ours)
        place->offset = size < place->offset ? size : place->offset;
    else
        place->offset = is_replay ? 0 : cut_torn_line(*fd, size);
    if (ftruncate(*fd, (off_t)place->offset) != 0)
        return err_set(e, -errno, "cannot write '%s': %s", path, strerror(errno));
    place->dev = st.st_dev;
    place->ino = st.st_ino;
    return 0;
}

/* Somebody else cut the file (logrotate's copytruncate): go on at its end, not behind a hole. */
static void follow_truncation(int fd, struct eve_place *place)
{
    struct stat st;

    if (fstat(fd, &st) == 0 && (uint64_t)st.st_size < place->offset)
        place->offset = (uint64_t)st.st_size;
}

int eve_file_write(int fd, struct buf *out, struct eve_place *place)
{
    size_t done = 0;

    follow_truncation(fd, place);
    while (done < out->len) {
        const ssize_t n =
            pwrite(fd, out->data + done, out->len - done, (off_t)(place->offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -ENOSPC;
        done += (size_t)n;
    }
    place->offset += done;
    buf_reset(out);
    return 0;
}
