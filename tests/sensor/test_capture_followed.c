#include <criterion/criterion.h>
#include <errno.h>
#include <unistd.h>

#include "support/packing.h"

/* A file that grows, and who follows it. */
static struct {
    struct capture *c;
    int fd; /* the writer's */
    size_t n;
    uint8_t first[400];
    struct packet last;
} t;

static void begin(void)
{
    t.fd = memfd_create("growing", 0);
    cr_assert_geq(t.fd, 0);
    cr_assert_eq(capture_followed_new(&t.c, dup(t.fd), "x.pcap", 0, NULL), 0);
}

static void end(void)
{
    t.c = capture_free(t.c);
    (void)close(t.fd);
}

TestSuite(capture_followed, .init = begin, .fini = end);

static void grow(const void *data, size_t len)
{
    cr_assert_eq(write(t.fd, data, len), (ssize_t)len);
}

/* All that is there now. */
static size_t read_on(void)
{
    const size_t before = t.n;

    for (int idle = 0; idle < 4 && !capture_ended(t.c);) {
        struct packet p[CAPTURE_BATCH];
        const size_t n = capture_recv(t.c, p, CAPTURE_BATCH, 0);

        for (size_t i = 0; i < n && t.n < 400; i++) {
            t.first[t.n++] = p[i].len > 0 ? p[i].data[0] : 0;
            t.last = p[i];
        }
        capture_release(t.c);
        idle = n > 0 ? 0 : idle + 1;
    }
    return t.n - before;
}

static const char *sentence(void)
{
    const struct err *e;

    (void)capture_error(t.c, &e);
    return e->text;
}

Test(capture_followed, each_packet_comes_when_its_last_byte_is_there)
{
    static const size_t ends[] = {24 + 19, 24 + 19 + 16, 24 + 19 + 16 + 19};
    struct bytes b = {0};

    three_packets(&b, US);
    for (size_t i = 0, whole = 0; i < b.len; i++) {
        grow(b.data + i, 1);
        const bool is_end = whole < 3 && i + 1 == ends[whole];
        cr_assert_eq(read_on(), is_end ? 1 : 0, "at byte %zu", i);
        whole += is_end;
        cr_assert_not(capture_ended(t.c));
    }
    cr_assert_eq(t.n, 3);
    cr_assert(t.first[0] == 'a' && t.first[2] == 'd');
    cr_assert_eq(capture_error(t.c, NULL), CAPTURE_OK, "%s", sentence());
    bytes_done(&b);
}

Test(capture_followed, what_grows_may_be_compressed)
{
    struct bytes b = {0};

    long_file(&b);
    for (size_t i = 0; i < WIND_ARRAY_SIZE(packings); i++) {
        struct bytes z = {0};

        packings[i].pack(&b, &z);
        for (size_t at = 0; at < z.len; at += 40000) {
            grow(z.data + at, z.len - at < 40000 ? z.len - at : 40000);
            (void)read_on();
        }
        cr_assert_eq(t.n, 300, "%s: %zu, %s", packings[i].name, t.n, sentence());
        cr_assert_eq(t.last.len, 8299);
        cr_assert_not(capture_ended(t.c));
        bytes_done(&z);
        end();
        t.n = 0;
        begin();
    }
    bytes_done(&b);
}

Test(capture_followed, a_file_that_is_cut_is_damaged)
{
    struct bytes b = {0};

    three_packets(&b, US);
    grow(b.data, b.len);
    cr_assert_eq(read_on(), 3);
    cr_assert_eq(ftruncate(t.fd, 30), 0);
    cr_assert_eq(read_on(), 0);
    cr_assert(capture_ended(t.c));
    cr_assert_eq(capture_error(t.c, NULL), CAPTURE_CORRUPT);
    cr_assert_str_eq(sentence(), "'x.pcap' is damaged at packet 4: it was cut while it was "
                                 "followed; the 3 packets before that were analysed");
    bytes_done(&b);
}

Test(capture_followed, what_is_no_capture_is_refused_as_soon_as_that_is_clear)
{
    grow("abc", 3);
    cr_assert_eq(read_on(), 0);
    cr_assert_not(capture_ended(t.c));
    grow("d", 1);
    cr_assert_eq(read_on(), 0);
    cr_assert(capture_ended(t.c));
    cr_assert_eq(capture_error(t.c, NULL), CAPTURE_UNUSABLE);
}

Test(capture_followed, a_successor_skips_what_was_read)
{
    struct bytes b = {0};

    three_packets(&b, US);
    grow(b.data, b.len);
    t.c = capture_free(t.c);
    cr_assert_eq(capture_followed_new(&t.c, dup(t.fd), "x.pcap", 2, NULL), 0);
    cr_assert_eq(read_on(), 1);
    cr_assert_eq(t.first[0], 'd');
    bytes_done(&b);
}

Test(capture_followed, a_pipe_is_refused)
{
    struct capture *c = NULL;
    struct err e = {0};
    int fd[2];

    cr_assert_eq(pipe(fd), 0);
    cr_assert_eq(capture_followed_new(&c, fd[0], "x", 0, &e), -EINVAL);
    cr_assert_not_null(strstr(e.text, "--follow is for what grows"), "%s", e.text);
    cr_assert_eq(close(fd[0]), 0, "the descriptor is still ours");
    (void)close(fd[1]);
}
