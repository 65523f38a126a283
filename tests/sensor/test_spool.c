#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/time.h"
#include "sensor/spool.h"
#include "sensor/spool_held.h"
#include "sensor/spool_note.h"

static struct spool_conf conf = {.max_bytes = 1 << 20, .fsync_ns = 0};
static struct spool *s;

static void set_up(void)
{
    (void)snprintf(conf.dir, sizeof(conf.dir), "/tmp/wind-spool-XXXXXX");
    cr_assert(mkdtemp(conf.dir) != NULL);
    cr_assert_eq(spool_new(&s, &conf, NULL, NULL), 0);
}

static void tear_down(void)
{
    char command[1100];

    s = spool_free(s);
    (void)snprintf(command, sizeof(command), "rm -rf '%s'", conf.dir);
    cr_assert_eq(system(command), 0);
}
TestSuite(spool, .init = set_up, .fini = tear_down);

static void reopen(const struct spool_mark *resume)
{
    s = spool_free(s);
    cr_assert_eq(spool_new(&s, &conf, resume, NULL), 0);
}

/* Alert i: a text that names it, `size` bytes long. */
static int append(uint64_t i, size_t size)
{
    static char text[SPOOL_ENTRY_MAX + 1];
    uint8_t uid[16] = {0};

    memset(text, 'x', sizeof(text));
    (void)snprintf(text, sizeof(text), "alert %llu", (unsigned long long)i);
    memcpy(uid, &i, sizeof(i));
    return spool_append(s, uid, 1 + (uint32_t)i, text, size);
}

static void expect(uint64_t from, uint64_t index)
{
    struct spool_entry entry;
    char text[32];

    cr_assert_eq(spool_read(s, from, &entry), 0);
    cr_assert_eq(entry.index, index, "%llu, not %llu", (unsigned long long)entry.index,
                 (unsigned long long)index);
    (void)snprintf(text, sizeof(text), "alert %llu", (unsigned long long)index);
    cr_assert_eq(memcmp(entry.json, text, strlen(text)), 0);
    cr_assert_eq(memcmp(entry.uid, &index, sizeof(index)), 0);
    cr_assert_eq(entry.rev, 1 + index);
}

static void expect_end(uint64_t from)
{
    struct spool_entry entry;

    cr_assert_eq(spool_read(s, from, &entry), SPOOL_END);
}

static size_t segments(char ret_last[1100])
{
    char pattern[1100];
    glob_t found = {0};

    (void)snprintf(pattern, sizeof(pattern), "%s/spool-*.seg", conf.dir);
    (void)glob(pattern, 0, NULL, &found);
    const size_t n = found.gl_pathc;
    if (ret_last != NULL && n > 0)
        (void)snprintf(ret_last, 1100, "%s", found.gl_pathv[n - 1]);
    globfree(&found);
    return n;
}

Test(spool, gives_back_what_was_appended_in_order)
{
    for (uint64_t i = 0; i < 2000; i++)
        cr_assert_eq(append(i, 100), 0);
    for (uint64_t i = 0; i < 2000; i++)
        expect(i, i);
    expect_end(2000);
    expect(17, 17); /* and again from anywhere */
    cr_assert_gt(segments(NULL), 1);
}

Test(spool, an_alert_appended_after_the_end_was_seen_is_read)
{
    expect_end(0);
    cr_assert_eq(append(0, 50), 0);
    expect(0, 0);
    expect_end(1);
    cr_assert_eq(append(1, 50), 0);
    expect(1, 1);
}

Test(spool, the_next_run_goes_on_where_this_one_stopped)
{
    for (uint64_t i = 0; i < 10; i++)
        cr_assert_eq(append(i, 100), 0);
    cr_assert_eq(spool_confirm(s, 4), 0);
    reopen(NULL);
    cr_assert_eq(spool_where(s).next, 10);
    cr_assert_eq(spool_where(s).confirmed, 4);
    cr_assert_eq(append(10, 100), 0);
    for (uint64_t i = 4; i <= 10; i++)
        expect(i, i);
}

Test(spool, only_whole_confirmed_segments_are_removed)
{
    for (uint64_t i = 0; i < 2000; i++)
        cr_assert_eq(append(i, 100), 0);
    const size_t before = segments(NULL);

    cr_assert_eq(spool_confirm(s, 1), 0);
    cr_assert_eq(segments(NULL), before);
    cr_assert_eq(spool_confirm(s, 1999), 0);
    cr_assert_eq(segments(NULL), 1);
    expect(1999, 1999);
    cr_assert_eq(spool_confirm(s, 2000), 0);
    cr_assert_eq(segments(NULL), 0);
    cr_assert_eq(spool_bytes(s), 0);
    cr_assert_eq(append(2000, 100), 0);
    reopen(NULL);
    expect(2000, 2000);
}

Test(spool, indices_go_on_even_when_the_folder_is_empty)
{
    cr_assert_eq(append(0, 100), 0);
    cr_assert_eq(spool_confirm(s, 1), 0);
    reopen(NULL);
    cr_assert_eq(spool_where(s).next, 1);
    cr_assert_eq(spool_where(s).confirmed, 1);
}

/* Whatever length is left of the last frame, the ones before stay and the torn one goes. */
Test(spool, a_torn_tail_is_cut_at_every_length)
{
    char path[1100];
    struct stat st;

    for (uint64_t i = 0; i < 3; i++)
        cr_assert_eq(append(i, 60), 0);
    cr_assert_eq(segments(path), 1);
    for (off_t cut = 1; cut <= 100; cut++) {
        cr_assert_eq(stat(path, &st), 0);
        s = spool_free(s);
        cr_assert_eq(truncate(path, st.st_size - cut), 0);
        cr_assert_eq(spool_new(&s, &conf, NULL, NULL), 0);
        cr_assert_eq(spool_where(s).next, 2);
        expect(0, 0);
        expect(1, 1);
        expect_end(2);
        cr_assert_eq(append(2, 60), 0);
        expect(2, 2);
    }
}

Test(spool, what_a_killed_process_did_not_commit_is_cut_off)
{
    for (uint64_t i = 0; i < 2000; i++)
        cr_assert_eq(append(i, 100), 0);
    reopen(&(struct spool_mark){.next = 700, .confirmed = 3});
    expect(699, 699);
    expect_end(700);
    cr_assert_eq(append(700, 100), 0);
    expect(700, 700);
    cr_assert_eq(spool_where(s).confirmed, 3);
}

Test(spool, at_the_limit_the_oldest_segment_goes_and_leaves_a_gap)
{
    struct spool_entry entry;

    for (uint64_t i = 0; i < 30000; i++)
        cr_assert_eq(append(i, 100), 0);
    cr_assert_leq(spool_bytes(s), conf.max_bytes);
    cr_assert_eq(spool_read(s, 0, &entry), 0);
    cr_assert_gt(entry.index, 0);
    cr_assert_eq(entry.index, spool_oldest(s));
    expect(29999, 29999);
    /* Nothing between is missing. */
    for (uint64_t i = entry.index; i < 30000; i++)
        expect(i, i);
}

Test(spool, damage_costs_the_rest_of_its_segment_only)
{
    char path[1100];
    struct spool_entry entry;
    uint64_t from = 0, read = 0;

    for (uint64_t i = 0; i < 1000; i++)
        cr_assert_eq(append(i, 100), 0);
    cr_assert_eq(segments(path), 3);
    (void)snprintf(path, sizeof(path), "%s/spool-%020d.seg", conf.dir, 0);
    const int fd = open(path, O_RDWR);
    cr_assert_eq(pwrite(fd, "?", 1, 140L * 5 + 90), 1);
    (void)close(fd);
    for (; spool_read(s, from, &entry) == 0; from = entry.index + 1)
        read++;
    cr_assert_eq(from, 1000);
    cr_assert_lt(read, 1000);
    cr_assert_gt(read, 500);
    expect(4, 4);
    cr_assert_eq(spool_read(s, 5, &entry), 0);
    cr_assert_gt(entry.index, 5);
}

Test(spool, after_damage_in_the_newest_segment_the_next_alerts_are_readable)
{
    char path[1100];

    cr_assert_eq(append(0, 100), 0);
    cr_assert_eq(append(1, 100), 0);
    cr_assert_eq(segments(path), 1);
    const int fd = open(path, O_RDWR);
    cr_assert_eq(pwrite(fd, "?", 1, 60), 1);
    (void)close(fd);
    expect_end(0);
    cr_assert_eq(append(2, 100), 0);
    expect(0, 2);
}

Test(spool, an_alert_that_is_too_long_spends_its_index)
{
    cr_assert_eq(append(0, 100), 0);
    cr_assert_eq(append(1, SPOOL_ENTRY_MAX + 1), -EMSGSIZE);
    cr_assert_eq(append(2, SPOOL_ENTRY_MAX), 0);
    expect(0, 0);
    expect(1, 2);
}

Test(spool, a_damaged_note_of_what_was_confirmed_sends_again_and_loses_nothing)
{
    char path[1100];

    for (uint64_t i = 0; i < 1000; i++)
        cr_assert_eq(append(i, 100), 0);
    cr_assert_eq(spool_confirm(s, 900), 0);
    const uint64_t oldest = spool_oldest(s);
    (void)snprintf(path, sizeof(path), "%s/confirmed", conf.dir);
    cr_assert_eq(truncate(path, 7), 0);
    reopen(NULL);
    cr_assert_eq(spool_where(s).confirmed, oldest);
    cr_assert_eq(spool_where(s).next, 1000);
}

Test(spool, two_processes_do_not_share_one)
{
    struct spool *other = NULL;
    struct err e = {0};

    cr_assert_eq(spool_new(&other, &conf, NULL, &e), -EBUSY);
    cr_assert(other == NULL);
    cr_assert(strstr(e.text, "another sensor") != NULL);
}

Test(spool, what_is_no_segment_is_left_alone)
{
    char path[1100], target[1100];

    cr_assert_eq(append(0, 100), 0);
    (void)snprintf(path, sizeof(path), "%s/spool-%020d.seg", conf.dir, 5);
    (void)snprintf(target, sizeof(target), "%s/target", conf.dir);
    cr_assert_eq(symlink(target, path), 0);
    (void)snprintf(path, sizeof(path), "%s/spool-99999999999999999999.seg", conf.dir);
    cr_assert_eq(mkdir(path, 0700), 0);
    reopen(NULL);
    expect(0, 0);
    expect_end(1);
    cr_assert_eq(spool_where(s).next, 1);
    cr_assert_neq(access(target, F_OK), 0);
}

/* ---------------------------------------------------------------- a disk that refuses */

/* No file may be longer than that: writes fail as on a full disk. */
static void limit_files(rlim_t bytes)
{
    const struct rlimit limit = {.rlim_cur = bytes, .rlim_max = RLIM_INFINITY};

    (void)signal(SIGXFSZ, SIG_IGN);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

Test(spool, what_the_disk_refuses_is_read_from_memory_and_written_when_it_can_be)
{
    for (uint64_t i = 0; i < 3; i++)
        cr_assert_eq(append(i, 100), 0);
    limit_files(3 * 140 + 70); /* the next one fits half */
    for (uint64_t i = 3; i < 20; i++)
        cr_assert_lt(append(i, 100), 0);
    cr_assert_eq(spool_held(s), 17);
    for (uint64_t i = 0; i < 20; i++)
        expect(i, i);
    expect_end(20);
    expect(7, 7);
    cr_assert_eq(spool_confirm(s, 5), 0);
    cr_assert_eq(spool_held(s), 15);
    cr_assert_eq(spool_oldest(s), 0);

    limit_files(RLIM_INFINITY);
    cr_assert_eq(append(20, 100), 0);
    cr_assert_eq(spool_held(s), 0);
    reopen(NULL);
    for (uint64_t i = 5; i < 21; i++)
        expect(i, i);
    expect_end(21);
}

Test(spool, it_is_offered_again_once_a_second)
{
    const uint64_t now = time_mono_ns();

    limit_files(0);
    cr_assert_lt(append(0, 100), 0);
    expect(0, 0);
    limit_files(RLIM_INFINITY);
    spool_sync(s, now + WIND_NS_PER_S / 2, false);
    cr_assert_eq(spool_held(s), 1);
    spool_sync(s, now + 2 * WIND_NS_PER_S, false);
    cr_assert_eq(spool_held(s), 0);
    reopen(NULL);
    expect(0, 0);
}

Test(spool, in_memory_too_the_oldest_goes_first_and_leaves_a_gap)
{
    const uint64_t n = 2 * HELD_MAX / 40000;

    limit_files(0);
    for (uint64_t i = 0; i < n; i++)
        cr_assert_lt(append(i, 40000), 0);
    cr_assert_lt(spool_held(s), n);
    cr_assert_gt(spool_held(s), n / 3);
    expect(0, n - spool_held(s));
    for (uint64_t i = n - spool_held(s); i < n; i++)
        expect(i, i);
    cr_assert_eq(spool_confirm(s, n), -EFBIG); /* the note can't be written either */
    cr_assert_eq(spool_held(s), 0);
    expect_end(n);
}

/* ---------------------------------------------------------------- age and run */

Test(spool, what_is_too_old_goes_the_oldest_segment_first)
{
    const uint64_t now = time_mono_ns();

    conf.max_age_ns = 60 * WIND_NS_PER_S;
    reopen(NULL);
    for (uint64_t i = 0; i < 700; i++)
        cr_assert_eq(append(i, 100), 0);
    cr_assert_eq(segments(NULL), 2);
    spool_sync(s, now + 50 * WIND_NS_PER_S, false);
    cr_assert_eq(append(700, 100), 0); /* keeps the newest */
    spool_sync(s, now + 70 * WIND_NS_PER_S, false);
    cr_assert_eq(segments(NULL), 1);
    const uint64_t first = spool_oldest(s);
    cr_assert(first > 400 && first < 700);
    expect(0, first);
    spool_sync(s, now + 120 * WIND_NS_PER_S, false);
    cr_assert_eq(segments(NULL), 0);
    expect_end(0);
    cr_assert_eq(append(701, 100), 0);
    expect(0, 701);
}

Test(spool, age_goes_on_while_nobody_runs_and_the_future_is_now)
{
    char path[1100];

    conf.max_age_ns = 60 * WIND_NS_PER_S;
    cr_assert_eq(append(0, 100), 0);
    cr_assert_eq(segments(path), 1);
    const time_t wall = time(NULL);
    const struct timespec later[2] = {{wall + 86400, 0}, {wall + 86400, 0}};
    const struct timespec before[2] = {{wall - 61, 0}, {wall - 61, 0}};

    cr_assert_eq(utimensat(AT_FDCWD, path, later, 0), 0);
    reopen(NULL);
    spool_sync(s, time_mono_ns(), false);
    expect(0, 0);
    spool_sync(s, time_mono_ns() + 61 * WIND_NS_PER_S, false);
    cr_assert_eq(segments(NULL), 0);

    cr_assert_eq(append(1, 100), 0);
    cr_assert_eq(segments(path), 1);
    cr_assert_eq(utimensat(AT_FDCWD, path, before, 0), 0);
    reopen(NULL);
    spool_sync(s, time_mono_ns(), false);
    cr_assert_eq(segments(NULL), 0);
}

Test(spool, the_run_is_another_one_when_the_indices_start_anew)
{
    char run[SPOOL_RUN_TEXT], path[1100];

    memcpy(run, spool_run(s), sizeof(run));
    cr_assert_eq(strlen(run), SPOOL_RUN_TEXT - 1);
    cr_assert_eq(append(0, 100), 0);
    reopen(NULL);
    cr_assert_str_eq(spool_run(s), run);
    cr_assert_eq(spool_confirm(s, 1), 0);
    reopen(NULL); /* nothing but the note is left, and the indices go on */
    cr_assert_str_eq(spool_run(s), run);
    (void)snprintf(path, sizeof(path), "%s/confirmed", conf.dir);
    cr_assert_eq(unlink(path), 0);
    reopen(NULL);
    cr_assert_eq(spool_where(s).next, 0);
    cr_assert_str_neq(spool_run(s), run);
}
