#include "sensor/spool_note.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>
#include <zlib.h>

#include "common/crypto.h"

#define CONFIRM_MAGIC 0x31435357u /* "WSC1" */

struct confirmed_file {
    uint32_t magic, crc;
    uint64_t index;
};

int note_read_confirmed(int dir, uint64_t max, uint64_t *ret_index)
{
    struct confirmed_file c = {0};
    const int fd = openat(dir, "confirmed", O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    const ssize_t got = fd < 0 ? -1 : pread(fd, &c, sizeof(c), 0);

    if (fd >= 0)
        (void)close(fd);
    if (got == (ssize_t)sizeof(c) && c.magic == CONFIRM_MAGIC && c.index <= max &&
        c.crc == (uint32_t)crc32_z(0, (const Bytef *)&c.index, sizeof(c.index))) {
        *ret_index = c.index;
        return 0;
    }
    return 1;
}

void note_run(int dir, bool is_anew, char ret_run[SPOOL_RUN_TEXT])
{
    uint8_t id[16];
    int fd = is_anew ? -1 : openat(dir, "run", O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    const ssize_t got = fd < 0 ? -1 : pread(fd, ret_run, SPOOL_RUN_TEXT - 1, 0);

    if (fd >= 0)
        (void)close(fd);
    ret_run[SPOOL_RUN_TEXT - 1] = '\0';
    if (got == SPOOL_RUN_TEXT - 1 && hex_decode(ret_run, id, sizeof(id)) == (ssize_t)sizeof(id))
        return;
    crypto_random(id, sizeof(id));
    (void)hex_encode(id, sizeof(id), ret_run);
    fd = openat(dir, "run", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return;
    (void)!write(fd, ret_run, SPOOL_RUN_TEXT - 1);
    (void)fsync(fd);
    (void)close(fd);
}

int note_write_confirmed(int dir, uint64_t index)
{
    struct confirmed_file c = {.magic = CONFIRM_MAGIC, .index = index};
    const int fd =
        openat(dir, "confirmed.new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    int r = 0;

    if (fd < 0)
        return -errno;
    c.crc = (uint32_t)crc32_z(0, (const Bytef *)&c.index, sizeof(c.index));
    const ssize_t done = write(fd, &c, sizeof(c));
    if (done != (ssize_t)sizeof(c))
        r = done < 0 ? -errno : -ENOSPC;
    (void)close(fd);
    if (r == 0 && renameat(dir, "confirmed.new", dir, "confirmed") != 0)
        r = -errno;
    return r;
}
