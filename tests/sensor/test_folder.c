#include <criterion/criterion.h>
#include <errno.h>
#include <sys/socket.h>

#include "sensor/folder_talk.h"
#include "support/folder_maker.h"

/* What a reader may be told, and what a hostile one may say. */
static int fd = -1;

static void end(void)
{
    if (fd >= 0)
        (void)close(fd);
    folder_end();
}

TestSuite(folder, .init = folder_begin, .fini = end, .timeout = 30);

static void connect_reader(void)
{
    if (fd >= 0)
        (void)close(fd);
    cr_assert_eq(folder_connect(in.folder, 0, &fd, NULL), 0);
}

static void say(uint32_t kind, uint32_t id, uint64_t number, const char *text)
{
    struct folder_ask a = {.kind = kind, .id = id, .number = number};

    (void)snprintf(a.text, sizeof(a.text), "%s", text);
    cr_assert_eq(write(fd, &a, sizeof(a)), (ssize_t)sizeof(a));
    folder_serve(in.folder);
}

/* The answer to FOLDER_NEXT; the descriptor is counted and closed. */
static struct folder_answer next(bool *ret_has_fd)
{
    struct folder_answer a = {0};
    struct iovec iov = {&a, sizeof(a)};
    char control[CMSG_SPACE(sizeof(int))] = {0};
    struct msghdr m = {.msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = control,
                       .msg_controllen = sizeof(control)};

    say(FOLDER_NEXT, 0, 0, "");
    cr_assert_eq(recvmsg(fd, &m, MSG_DONTWAIT), (ssize_t)sizeof(a));
    const struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    *ret_has_fd = c != NULL;
    if (c != NULL) {
        int got;
        memcpy(&got, CMSG_DATA(c), sizeof(got));
        cr_assert_eq(close(got), 0);
    }
    return a;
}

static uint32_t expect(enum folder_answer_kind kind, const char *name, uint64_t number)
{
    bool has_fd = false;
    const struct folder_answer a = next(&has_fd);

    cr_assert_eq(a.kind, kind, "%u", a.kind);
    cr_assert_eq(has_fd, kind == FOLDER_LOOK || kind == FOLDER_READ);
    cr_assert_str_eq(a.name, name);
    cr_assert_eq(a.number, number, "%lu", (unsigned long)a.number);
    return a.id;
}

Test(folder, looks_first_then_reads_in_order)
{
    folder_capture("a", 1, 1, 'a');
    folder_capture("b", 1, 1, 'b');
    folder_open(false, 10);
    connect_reader();
    const uint32_t a = expect(FOLDER_LOOK, "a", 0);
    expect(FOLDER_NOTHING, "", 0); /* before it told what it saw */
    say(FOLDER_FOUND, a, 20, "");
    const uint32_t b = expect(FOLDER_LOOK, "b", 0);
    say(FOLDER_FOUND, b, 10, "");
    cr_assert_eq(expect(FOLDER_READ, "b", 0), b);
    say(FOLDER_BEGIN, b, 0, "");
    say(FOLDER_DONE, b, 0, "");
    cr_assert_eq(expect(FOLDER_READ, "a", 0), a);
    say(FOLDER_BEGIN, a, 0, "");
    say(FOLDER_DONE, a, 0, "");
    expect(FOLDER_END, "", 1);
}

Test(folder, a_new_reader_skips_what_was_counted)
{
    folder_capture("a", 1, 1, 'a');
    folder_open(false, 10);
    connect_reader();
    const uint32_t a = expect(FOLDER_LOOK, "a", 0);
    say(FOLDER_FOUND, a, 1, "");
    atomic_store(&in.counters->position, 100);
    expect(FOLDER_READ, "a", 0);
    say(FOLDER_BEGIN, a, 100, "");
    atomic_store(&in.counters->position, 107);
    connect_reader();
    expect(FOLDER_READ, "a", 7);
    connect_reader(); /* died before it began */
    expect(FOLDER_READ, "a", 7);
    say(FOLDER_BEGIN, a, 100, "");
    say(FOLDER_DONE, a, 0, "");
    connect_reader();
    expect(FOLDER_END, "", 1);
}

Test(folder, a_file_that_kills_is_given_up)
{
    folder_capture("a", 1, 1, 'a');
    folder_capture("b", 2, 1, 'b');
    folder_capture("c", 3, 1, 'c');
    folder_open(false, 10);
    connect_reader();
    expect(FOLDER_LOOK, "a", 0);
    cr_assert(folder_give_up(in.folder));
    connect_reader();
    for (uint64_t i = 2; i <= 3; i++)
        say(FOLDER_FOUND, expect(FOLDER_LOOK, i == 2 ? "b" : "c", 0), i, "");
    cr_assert_not(folder_give_up(in.folder), "nothing is being read");
    const uint32_t b = expect(FOLDER_READ, "b", 0);
    say(FOLDER_BEGIN, b, 0, "");
    atomic_store(&in.counters->position, 5);
    connect_reader();
    expect(FOLDER_READ, "b", 5);
    cr_assert(folder_give_up(in.folder));
    connect_reader();
    expect(FOLDER_READ, "c", 0);
    cr_assert_eq(folder_count(COUNTER_capture_skipped_files), 1);
    cr_assert_eq(folder_count(COUNTER_capture_damaged_files), 1);
    cr_assert_eq(folder_count(COUNTER_capture_files), 1);
}

Test(folder, what_makes_no_sense_changes_nothing)
{
    struct folder_ask cut = {.kind = FOLDER_NEXT};

    folder_capture("a", 1, 1, 'a');
    folder_open(false, 10);
    connect_reader();
    say(FOLDER_DONE, 1, 0, "");
    say(FOLDER_BEGIN, 1, 0, "");
    say(FOLDER_FOUND, 1, 0, "");
    say(0, 0, 0, "");
    say(UINT32_MAX, UINT32_MAX, UINT64_MAX, "");
    cr_assert_eq(write(fd, &cut, 5), 5);
    folder_serve(in.folder);
    const uint32_t a = expect(FOLDER_LOOK, "a", 0);
    say(FOLDER_FOUND, a + 1, 5, "");
    say(FOLDER_FOUND, a, 5, "");
    say(FOLDER_FOUND, a, 6, ""); /* told already */
    expect(FOLDER_READ, "a", 0);
    say(FOLDER_BEGIN, a, UINT64_MAX, "");
    connect_reader();
    expect(FOLDER_READ, "a", 0); /* more than was counted: skip nothing */
    say(FOLDER_BEGIN, a, 0, "");
    say(FOLDER_DONE, a, 0, "");
    say(FOLDER_DONE, a, 0, "");
    say(FOLDER_BEGIN, a, 0, ""); /* was handed over once, and begun once */
    say(FOLDER_DONE, a, 0, "");
    expect(FOLDER_END, "", 1);
    cr_assert_eq(folder_count(COUNTER_capture_files), 1);
}

/* Who is hostile asks for the next one before it has told what it saw. */
Test(folder, a_file_that_vanishes_while_it_is_looked_at_is_kept_in_mind)
{
    char path[100];

    folder_capture("a", 1, 1, 'a');
    folder_open(true, 10);
    connect_reader();
    const uint32_t a = expect(FOLDER_LOOK, "a", 0);
    (void)snprintf(path, sizeof(path), "%s/a", in.path);
    cr_assert_eq(unlink(path), 0);
    (void)usleep(250000); /* the folder is listed again by then */
    folder_capture("b", 2, 1, 'b');
    expect(FOLDER_NOTHING, "", 0);
    say(FOLDER_FOUND, a, 5, "");
    (void)usleep(250000);
    say(FOLDER_FOUND, expect(FOLDER_LOOK, "b", 0), 6, "");
    expect(FOLDER_READ, "b", 0);
    cr_assert_eq(folder_count(COUNTER_capture_skipped_files), 1);
}

Test(folder, files_that_vanish_are_skipped)
{
    char path[100];

    folder_capture("a", 1, 1, 'a');
    folder_capture("b", 2, 1, 'b');
    folder_open(false, 10);
    (void)snprintf(path, sizeof(path), "%s/a", in.path);
    cr_assert_eq(unlink(path), 0);
    connect_reader();
    const uint32_t b = expect(FOLDER_LOOK, "b", 0);
    say(FOLDER_FOUND, b, 2, "");
    (void)snprintf(path, sizeof(path), "%s/b", in.path);
    cr_assert_eq(unlink(path), 0);
    expect(FOLDER_END, "", 0);
    cr_assert_eq(folder_count(COUNTER_capture_skipped_files), 2);
}

Test(folder, no_more_files_than_allowed_are_kept_in_mind)
{
    for (char c = 'a'; c < 'h'; c++)
        folder_capture((const char[]){c, '\0'}, 1, 1, c);
    folder_open(false, 4);
    folder_reader(false);
    folder_read_all();
    cr_assert_eq(in.n, 4);
    cr_assert_eq(folder_count(COUNTER_capture_skipped_files), 3);
}

Test(folder, a_folder_that_is_none)
{
    const struct folder_conf conf = {
        .path = "/nowhere/at/all", .files_max = 1, .readers = 1, .counters = in.counters};
    struct err e = {0};

    cr_assert_eq(folder_new(&in.folder, &conf, &e), -ENOENT);
    cr_assert_str_eq(e.text, "can't open '/nowhere/at/all': No such file or directory");
}
