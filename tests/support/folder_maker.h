/*
 * folder_maker.h - a folder with small captures in it, and a folder.h over it, for tests.
 */
#pragma once

#include <criterion/criterion.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sensor/folder.h"
#include "support/packing.h"

static struct {
    char path[64];
    struct counters *counters;
    struct folder *folder;
    struct capture *reader;
    size_t n;
    uint8_t first[4000]; /* of each packet */
    unsigned faults;
} in;

static inline void folder_begin(void)
{
    (void)snprintf(in.path, sizeof(in.path), "/tmp/wind-folder-XXXXXX");
    cr_assert_not_null(mkdtemp(in.path));
    cr_assert_eq(counters_new(&in.counters, NULL), 0);
}

static inline int folder_remove_one(const char *path, const struct stat *st, int type,
                                    struct FTW *where)
{
    (void)st, (void)type, (void)where;
    return remove(path);
}

static inline void folder_end(void)
{
    in.reader = capture_free(in.reader);
    in.folder = folder_free(in.folder);
    in.counters = counters_free(in.counters);
    (void)nftw(in.path, folder_remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static inline void folder_put(const char *name, const void *data, size_t len, int flags)
{
    char path[400];

    (void)snprintf(path, sizeof(path), "%s/%s", in.path, name);
    const int fd = open(path, O_WRONLY | O_CREAT | flags, 0644);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, data, len), (ssize_t)len);
    (void)close(fd);
}

/* A capture of `n` packets from `second` on, one a second; the first byte of each is `mark`. */
static inline void folder_capture(const char *name, uint32_t second, size_t n, char mark)
{
    struct bytes b = {0};

    file_pcap(&b, US, 1);
    for (size_t i = 0; i < n; i++)
        file_record(&b, second + (uint32_t)i, 0, &mark, 1);
    folder_put(name, b.data, b.len, O_TRUNC);
    bytes_done(&b);
}

static inline void folder_open(bool follow, size_t max)
{
    const struct folder_conf conf = {
        .path = in.path, .follow = follow, .files_max = max, .readers = 1, .counters = in.counters};

    cr_assert_eq(folder_new(&in.folder, &conf, NULL), 0);
}

/* A reader that goes on where the one before was. What it counted, counts. */
static inline void folder_reader(bool follow)
{
    int fd = -1;

    in.reader = capture_free(in.reader);
    cr_assert_eq(folder_connect(in.folder, 0, &fd, NULL), 0);
    cr_assert_eq(capture_folder_new(&in.reader, fd, "caps", atomic_load(&in.counters->position),
                                    follow, NULL),
                 0);
    cr_assert_eq(capture_start_thread(in.reader, NULL), 0);
}

/* One turn of both. Returns how many packets came, at most `max`. */
static inline size_t folder_turn(size_t max, int wait_ms)
{
    struct packet p[CAPTURE_BATCH];
    const struct err *e;
    const size_t n = capture_recv(in.reader, p, max, wait_ms);

    for (size_t i = 0; i < n && in.n < sizeof(in.first); i++)
        in.first[in.n++] = p[i].data[0];
    atomic_fetch_add(&in.counters->position, n);
    capture_release(in.reader);
    in.faults += capture_take_fault(in.reader, &e) != CAPTURE_OK;
    folder_serve(in.folder);
    return n;
}

static inline void folder_read_all(void)
{
    for (int turns = 0; turns < 100000 && !capture_ended(in.reader); turns++)
        (void)folder_turn(CAPTURE_BATCH, 1);
    cr_assert(capture_ended(in.reader));
}

static inline void folder_expect(const char *marks)
{
    cr_assert_eq(in.n, strlen(marks), "%.*s", (int)in.n, (const char *)in.first);
    cr_assert_arr_eq(in.first, marks, in.n, "%.*s", (int)in.n, (const char *)in.first);
}

static inline uint64_t folder_count(enum counter which)
{
    return counters_get(in.counters, which);
}
