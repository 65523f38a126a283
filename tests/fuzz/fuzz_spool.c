/*
 * A damaged or hostile disk: the input is a segment, and the note of what was confirmed (first 16
 * bytes). Opening, reading, appending and confirming must work and lose nothing that is new.
 *
 * A checksum keeps a fuzzer out, so those of frames that could be right are put right first.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "sensor/spool.h"
#include "support/fuzz.h"

#define NOTE  16
#define FRAME 40

static char dir[] = "/tmp/wind-fuzz-spool-XXXXXX";

static void remove_dir(void)
{
    char command[64];

    (void)snprintf(command, sizeof(command), "rm -rf '%s'", dir);
    (void)!system(command);
}

static void write_file(const char *name, const void *p, size_t n)
{
    char path[128];

    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    FUZZ_CHECK(fd >= 0 && write(fd, p, n) == (ssize_t)n);
    (void)close(fd);
}

static void mend(uint8_t *p, size_t n)
{
    while (n >= FRAME) {
        uint32_t len, crc;

        memcpy(&len, p + FRAME - 4, sizeof(len));
        if (len > n - FRAME)
            return;
        crc = (uint32_t)crc32_z(0, p + 8, FRAME - 8 + len);
        memcpy(p + 4, &crc, sizeof(crc));
        p += FRAME + len;
        n -= FRAME + len;
    }
}

static volatile unsigned long touched;

static void use(const struct spool_mark *resume)
{
    struct spool_conf conf = {.max_bytes = 1 << 20};
    WIND_AUTO(spool) struct spool *s = NULL;
    struct spool_entry entry;

    memcpy(conf.dir, dir, sizeof(dir));
    FUZZ_CHECK(spool_new(&s, &conf, resume, NULL) == 0);
    struct spool_mark at = spool_where(s);
    FUZZ_CHECK(at.confirmed <= at.next);
    for (uint64_t from = at.confirmed; spool_read(s, from, &entry) == 0; from = entry.index + 1) {
        FUZZ_CHECK(entry.index >= from && entry.index < at.next && entry.len <= SPOOL_ENTRY_MAX);
        touched = touched + crc32_z(0, (const Bytef *)entry.json, entry.len);
    }
    FUZZ_CHECK(spool_append(s, (const uint8_t[16]){7}, 1, "{}", 2) == 0);
    FUZZ_CHECK(spool_read(s, at.next, &entry) == 0 && entry.index == at.next && entry.len == 2);
    (void)spool_confirm(s, at.next + 1);
    FUZZ_CHECK(spool_bytes(s) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool is_made;
    uint8_t copy[4096];

    if (size < NOTE || size > sizeof(copy))
        return 0;
    if (!is_made) {
        FUZZ_CHECK(mkdtemp(dir) != NULL && atexit(remove_dir) == 0);
        is_made = true;
    }
    memcpy(copy, data, size);
    for (int turn = 0; turn < 2; turn++) { /* as it is, then with checksums put right */
        if (turn == 1)
            mend(copy + NOTE, size - NOTE);
        write_file("confirmed", copy, NOTE);
        write_file("spool-00000000000000000003.seg", copy + NOTE, size - NOTE);
        use(NULL);
        write_file("spool-00000000000000000003.seg", copy + NOTE, size - NOTE);
        use(&(struct spool_mark){.next = 5, .confirmed = 2});
    }
    return 0;
}
