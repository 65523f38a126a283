#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/crypto.h"
#include "support/capture_drain.h"
#include "support/packing.h"

Test(capture, pcap_in_both_byte_orders_and_resolutions)
{
    for (unsigned i = 0; i < 4; i++) {
        struct bytes b = {.big_endian = (i & 1) != 0};
        const uint64_t unit = (i & 2) != 0 ? 1 : 1000;
        struct outcome o;

        three_packets(&b, (i & 2) != 0 ? NS : US);
        read_bytes(&b, &o);
        cr_assert_eq(o.state, CAPTURE_OK);
        cr_assert_eq(o.n, 3);
        cr_assert_eq(o.packet[0].time_ns, 100 * 1000000000ULL + 5 * unit);
        cr_assert_eq(o.packet[0].len, 3);
        cr_assert_eq(o.packet[0].wire_len, 13);
        cr_assert_eq(o.packet[0].linktype, 1);
        cr_assert_eq(o.packet[1].time_ns, 4294967295ULL * 1000000000 + 4294967295ULL * unit);
        cr_assert_eq(o.packet[1].len, 0);
        cr_assert_eq(o.first[2], 'd');
        cr_assert_eq(o.stats.received, 3);
        bytes_done(&b);
    }
}

Test(capture, the_frame_check_length_is_no_part_of_the_link_type)
{
    for (unsigned big = 0; big < 2; big++) {
        struct bytes b = {.big_endian = big != 0};
        struct outcome o;

        file_pcap(&b, US, 0x24000071);
        file_record(&b, 1, 0, "a", 1);
        read_bytes(&b, &o);
        cr_assert_eq(o.packet[0].linktype, 113);
        bytes_done(&b);
    }
}

Test(capture, a_file_without_packets_is_fine)
{
    struct bytes b = {0};
    struct outcome o;

    file_pcap(&b, US, 1);
    read_bytes(&b, &o);
    cr_assert_eq(o.state, CAPTURE_OK);
    cr_assert_eq(o.n, 0);
    bytes_done(&b);

    file_section(&b);
    read_bytes(&b, &o);
    cr_assert_eq(o.state, CAPTURE_OK);
    cr_assert_eq(o.n, 0);
    bytes_done(&b);
}

Test(capture, a_file_cut_at_any_byte_yields_its_whole_packets_and_a_sentence)
{
    static const size_t ends[] = {24, 24 + 19, 24 + 19 + 16, 24 + 19 + 16 + 19};
    struct bytes b = {0};
    struct outcome o;

    three_packets(&b, US);
    for (size_t len = 4; len < b.len; len++) {
        const struct bytes cut = {.data = b.data, .len = len};
        size_t whole = 0;

        while (whole < 3 && len >= ends[whole + 1])
            whole++;
        read_bytes(&cut, &o);
        cr_assert_eq(o.n, whole, "at %zu", len);
        const bool clean = len == ends[whole];
        cr_assert_eq(o.state,
                     len < 24 ? CAPTURE_UNUSABLE
                     : clean  ? CAPTURE_OK
                              : CAPTURE_TRUNCATED,
                     "at %zu: %s", len, o.text);
    }
    bytes_done(&b);
}

Test(capture, sentences_say_what_is_wrong_and_what_stands)
{
    struct bytes b = {0};
    struct outcome o;

    three_packets(&b, US);
    b.len -= 2;
    read_bytes(&b, &o);
    cr_assert_str_eq(o.text, "'x.pcap' is cut short in packet 3: its last 2 of 19 bytes are "
                             "missing; the 2 packets before that were analysed");
    b.len -= 10;
    read_bytes(&b, &o);
    cr_assert_str_eq(o.text, "'x.pcap' is cut short in the header of packet 3: its last 9 of 16 "
                             "bytes are missing; the 2 packets before that were analysed");
    b.len = 10;
    read_bytes(&b, &o);
    cr_assert_str_eq(o.text, "'x.pcap' is cut short in its header: its last 14 of 24 bytes are "
                             "missing; no whole packet comes before that");
    b.len = 3;
    read_bytes(&b, &o);
    cr_assert_eq(o.state, CAPTURE_UNUSABLE);
    cr_assert_str_eq(o.text, "'x.pcap' is not a capture file: it has only 3 bytes");
    b.len = 0;
    read_bytes(&b, &o);
    cr_assert_eq(o.state, CAPTURE_UNUSABLE);
    cr_assert_str_eq(o.text, "'x.pcap' is empty");
    put(&b, "hello world", 11);
    read_bytes(&b, &o);
    cr_assert_eq(o.state, CAPTURE_UNUSABLE);
    cr_assert_str_eq(o.text, "'x.pcap' is not a capture file: it starts with 0x68656c6c, expected "
                             "pcap or pcapng (maybe inside gzip, zstd or LZ4)");
    bytes_done(&b);
}

Test(capture, a_version_we_do_not_know_is_refused)
{
    struct bytes b = {0};
    struct outcome o;

    three_packets(&b, US);
    b.data[4] = 3;
    read_bytes(&b, &o);
    cr_assert_eq(o.state, CAPTURE_UNUSABLE);
    cr_assert_str_eq(o.text,
                     "'x.pcap' cannot be read: it is pcap version 3.4, and we read version 2");
    bytes_done(&b);
}

Test(capture, an_impossible_length_ends_the_input_there)
{
    struct bytes b = {0};
    struct outcome o;

    three_packets(&b, US);
    put32(&b, 1), put32(&b, 1), put32(&b, CAPTURE_PACKET_MAX + 1), put32(&b, 1);
    read_bytes(&b, &o);
    cr_assert_eq(o.state, CAPTURE_CORRUPT);
    cr_assert_eq(o.n, 3);
    cr_assert_str_eq(o.text, "'x.pcap' is damaged: packet 4 claims 262145 bytes, more than the "
                             "262144 we accept; the 3 packets before that were analysed");
    bytes_done(&b);
}

Test(capture, the_wire_length_is_kept_within_its_bounds)
{
    struct bytes b = {0};
    struct outcome o;

    file_pcap(&b, US, 1);
    put32(&b, 1), put32(&b, 1), put32(&b, 4), put32(&b, 2), put(&b, "abcd", 4);
    put32(&b, 1), put32(&b, 1), put32(&b, 4), put32(&b, UINT32_MAX), put(&b, "abcd", 4);
    read_bytes(&b, &o);
    cr_assert_eq(o.n, 2);
    cr_assert_eq(o.packet[0].wire_len, 4);
    cr_assert_eq(o.packet[1].wire_len, CAPTURE_PACKET_MAX);
    bytes_done(&b);
}

/* ---------------------------------------------------------------- restart, digest, clock */

Test(capture, a_restart_skips_what_was_read)
{
    struct bytes b = {0}, gz = {0};
    struct outcome o;

    long_file(&b);
    gzip_of(&b, &gz);
    read_fd(file_of(&b), 70, &o);
    expect_long_file(&o, 70);
    cr_assert_eq(o.stats.skipped, 70);
    cr_assert_eq(o.stats.received, 230);
    read_fd(file_of(&gz), 299, &o);
    expect_long_file(&o, 299);
    read_fd(file_of(&b), 1000, &o);
    cr_assert_eq(o.n, 0);
    cr_assert_eq(o.state, CAPTURE_OK);
    bytes_done(&b), bytes_done(&gz);
}

Test(capture, a_pipe_cannot_be_restarted)
{
    struct capture *c = NULL;
    struct err e = {0};
    int fd[2];

    cr_assert_eq(pipe(fd), 0);
    cr_assert_eq(capture_file_new(&c, fd[0], "-", 5, &e), -ESPIPE);
    cr_assert_null(c);
    cr_assert_not_null(strstr(e.text, "is a pipe"));
    cr_assert_eq(close(fd[0]), 0, "the descriptor is still ours");
    cr_assert_eq(close(fd[1]), 0);
}

Test(capture, a_folder_is_refused_with_a_sentence)
{
    struct capture *c = NULL;
    struct err e = {0};
    const int fd = open("/", O_RDONLY | O_DIRECTORY);

    cr_assert_eq(capture_file_new(&c, fd, "caps", 0, &e), -EISDIR);
    cr_assert_str_eq(e.text, "'caps': it is a folder");
    cr_assert_eq(close(fd), 0);
}

Test(capture, the_digest_is_of_the_first_64_kib_uncompressed)
{
    struct bytes b = {0}, gz = {0};
    uint8_t expected[32], digest[32];

    long_file(&b);
    gzip_of(&b, &gz);
    crypto_sha256(b.data, 65536, expected);
    for (int i = 0; i < 2; i++) {
        struct capture *c = NULL;
        struct outcome o;

        cr_assert_eq(capture_file_new(&c, file_of(i == 0 ? &b : &gz), "x", 0, NULL), 0);
        while (!capture_digest(c, digest, -1))
            ;
        cr_assert_arr_eq(digest, expected, 32);
        drain(c, &o);
        expect_long_file(&o, 0);
        c = capture_free(c);
    }
    bytes_done(&b), bytes_done(&gz);
}

Test(capture, the_clock_of_a_file_never_runs_back)
{
    struct bytes b = {0};
    struct capture *c = NULL;
    struct packet p[2];

    file_pcap(&b, US, 1);
    file_record(&b, 100, 0, "a", 1);
    file_record(&b, 50, 0, "b", 1);
    file_record(&b, 70, 0, "c", 1);
    cr_assert_eq(capture_file_new(&c, file_of(&b), "x", 0, NULL), 0);
    cr_assert_eq(capture_now(c), 0);
    cr_assert_eq(capture_recv(c, p, 2, 0), 2);
    cr_assert_eq(p[1].time_ns, 50000000000, "handed on as it is");
    cr_assert_eq(capture_now(c), 100000000000);
    capture_release(c);
    cr_assert_eq(capture_recv(c, p, 2, 0), 1);
    cr_assert_eq(capture_now(c), 100000000000);
    cr_assert_not(capture_is_live(c));
    capture_release(c);
    c = capture_free(c);
    bytes_done(&b);
}
