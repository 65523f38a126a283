#include <criterion/criterion.h>
#include <unistd.h>

#include "support/child.h"
#include "support/packing.h"

/* With a thread and without: the same. */
static void read_both(const struct bytes *z, uint64_t skip, struct outcome *o)
{
    static struct outcome other;

    read_fd(file_of(z), skip, o);
    read_threaded(z, skip, &other);
    cr_assert_eq(o->n, other.n);
    cr_assert_eq(o->state, other.state, "%s", other.text);
    cr_assert_str_eq(o->text, other.text);
    cr_assert_eq(o->stats.skipped, other.stats.skipped);
    cr_assert_arr_eq(o->first, other.first, sizeof(o->first));
    for (size_t i = 0; i < o->n; i++)
        cr_assert_eq(o->packet[i].len, other.packet[i].len);
}

Test(capture_packed, the_same_packets_come_out_of_every_compression)
{
    struct bytes b = {0};
    struct outcome o;

    long_file(&b);
    read_both(&b, 0, &o);
    expect_long_file(&o, 0);
    for (size_t i = 0; i < WIND_ARRAY_SIZE(packings); i++) {
        struct bytes z = {0};

        packings[i].pack(&b, &z);
        read_both(&z, 0, &o);
        cr_assert_eq(o.state, CAPTURE_OK, "%s: %s", packings[i].name, o.text);
        expect_long_file(&o, 0);
        read_both(&z, 299, &o);
        expect_long_file(&o, 299);
        bytes_done(&z);
    }
    bytes_done(&b);
}

Test(capture_packed, several_members_or_frames_are_one_file)
{
    struct bytes head = {0}, tail = {0};
    struct outcome o;

    file_pcap(&head, US, 1);
    file_record(&tail, 1, 1, "abc", 3);
    for (size_t i = 0; i < WIND_ARRAY_SIZE(packings); i++) {
        struct bytes z = {0};

        packings[i].pack(&head, &z), packings[i].pack(&tail, &z), packings[i].pack(&tail, &z);
        read_both(&z, 0, &o);
        cr_assert_eq(o.n, 2, "%s: %zu", packings[i].name, o.n);
        cr_assert_eq(o.state, CAPTURE_OK, "%s", o.text);
        bytes_done(&z);
    }
    bytes_done(&head), bytes_done(&tail);
}

Test(capture_packed, cut_or_damaged_compression_keeps_what_came_before)
{
    struct bytes b = {0};
    struct outcome o;
    char early[40];

    long_file(&b);
    for (size_t i = 0; i < WIND_ARRAY_SIZE(packings); i++) {
        struct bytes whole = {0};

        packings[i].pack(&b, &whole);
        struct bytes z = {.data = whole.data, .len = whole.len - 1};
        read_both(&z, 0, &o);
        cr_assert_eq(o.state, CAPTURE_TRUNCATED, "%s", o.text);
        (void)snprintf(early, sizeof(early), "its %s data end early", packings[i].name);
        cr_assert_not_null(strstr(o.text, early), "%s", o.text);
        z.len = whole.len / 2;
        read_both(&z, 0, &o);
        cr_assert_eq(o.state, CAPTURE_TRUNCATED, "%s", o.text);
        cr_assert(o.n > 0 && o.n < 300, "%zu packets", o.n);
        memset(whole.data + whole.len / 2, 0xff, 100);
        read_both(&whole, 0, &o);
        cr_assert_eq(o.state, CAPTURE_CORRUPT, "%s", o.text);
        cr_assert_leq(o.n, 300);
        cr_assert_not_null(strstr(o.text, "is damaged"), "%s", o.text);
        z.len = 6;
        read_both(&z, 0, &o);
        cr_assert_eq(o.state, CAPTURE_UNUSABLE, "%s", o.text);
        bytes_done(&whole);
    }
    bytes_done(&b);
}

/* The thread may be anywhere: waiting for us with both blocks full, at work, or done. */
Test(capture_packed, a_capture_may_be_left_at_any_packet)
{
    struct bytes b = {0}, z = {0};

    long_file(&b);
    lz4_of(&b, &z);
    for (size_t wanted = 0; wanted <= 300; wanted += 20) {
        struct capture *c = NULL;
        struct packet p[CAPTURE_BATCH];

        cr_assert_eq(capture_file_new(&c, file_of(&z), "x", 0, NULL), 0);
        cr_assert_eq(capture_start_thread(c, NULL), 0);
        for (size_t n = 0; n < wanted;) {
            n += capture_recv(c, p, 20, 1000);
            capture_release(c);
        }
        c = capture_free(c);
    }
    bytes_done(&b), bytes_done(&z);
}

/* As tape and block storage pad them, and as gzip(1) takes them. */
Test(capture_packed, zeros_behind_a_gzip_member_are_padding)
{
    struct bytes b = {0}, gz = {0};
    static const char zeros[512];
    struct outcome o;

    file_pcap(&b, US, 1);
    file_record(&b, 1, 1, "abc", 3);
    gzip_of(&b, &gz);
    put(&gz, zeros, sizeof(zeros));
    read_bytes(&gz, &o);
    cr_assert_eq(o.n, 1);
    cr_assert_eq(o.state, CAPTURE_OK, "%s", o.text);
    bytes_done(&b), bytes_done(&gz);
}

Test(capture_packed, a_compressed_nothing_is_empty)
{
    struct bytes none = {0}, gz = {0};
    struct outcome o;

    put(&none, "", 0);
    gzip_of(&none, &gz);
    read_bytes(&gz, &o);
    cr_assert_eq(o.state, CAPTURE_UNUSABLE);
    cr_assert_str_eq(o.text, "'x.pcap' is empty inside its gzip");
    bytes_done(&none), bytes_done(&gz);
}

static void read_pipe_fed_with(const struct bytes *b, struct outcome *o)
{
    int fd[2];

    cr_assert_eq(pipe(fd), 0);
    const pid_t writer = child_fork();
    if (writer == 0) {
        (void)close(fd[0]);
        for (size_t at = 0; at < b->len;) {
            const size_t n = b->len - at < 5000 ? b->len - at : 5000;
            if (write(fd[1], b->data + at, n) != (ssize_t)n)
                _exit(1);
            at += n;
        }
        _exit(0);
    }
    (void)close(fd[1]);
    read_fd(fd[0], 0, o);
    (void)close(fd[0]);
    (void)child_end(writer); /* by SIGPIPE, where reading ended first */
}

Test(capture_packed, a_pipe_reads_like_a_file)
{
    struct bytes b = {0};
    struct outcome o;

    long_file(&b);
    for (size_t i = 0; i < WIND_ARRAY_SIZE(packings); i++) {
        struct bytes z = {0};

        packings[i].pack(&b, &z);
        read_pipe_fed_with(&z, &o);
        cr_assert_eq(o.state, CAPTURE_OK, "%s", o.text);
        expect_long_file(&o, 0);
        bytes_done(&z);
    }
    read_pipe_fed_with(&b, &o);
    cr_assert_eq(o.state, CAPTURE_OK, "%s", o.text);
    expect_long_file(&o, 0);
    b.len -= 1;
    read_pipe_fed_with(&b, &o);
    cr_assert_eq(o.state, CAPTURE_TRUNCATED);
    cr_assert_eq(o.n, 299);
    b.len = 0;
    read_pipe_fed_with(&b, &o);
    cr_assert_str_eq(o.text, "'x.pcap' is empty");
    bytes_done(&b);
}

Test(capture_packed, a_silent_pipe_does_not_block)
{
    struct capture *c = NULL;
    struct packet p[CAPTURE_BATCH];
    int fd[2];

    cr_assert_eq(pipe(fd), 0);
    cr_assert_eq(capture_file_new(&c, fd[0], "-", 0, NULL), 0);
    cr_assert_eq(capture_recv(c, p, CAPTURE_BATCH, 1), 0);
    cr_assert_not(capture_ended(c));
    (void)close(fd[1]);
    c = capture_free(c);
}
