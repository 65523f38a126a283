#include <criterion/criterion.h>
#include <errno.h>
#include <inttypes.h>

#include "support/capture_drain.h"

Test(capture, pcapng_in_both_byte_orders_with_sections_and_interfaces)
{
    for (unsigned big = 0; big < 2; big++) {
        struct bytes b = {.big_endian = big != 0};
        struct outcome o;

        file_section(&b);
        file_interface(&b, 1, 0, 9, 0);
        file_other(&b, 0x0bad, 1000);
        file_interface(&b, 101, 4, 6, 10);
        file_enhanced(&b, 0, 1700000000123456789, "abcde", 5);
        file_enhanced(&b, 1, 1000001, "f", 1);
        file_simple(&b, 3, "ghi", 3);
        b.big_endian = !b.big_endian; /* another program's section follows */
        file_section(&b);
        file_interface(&b, 113, 2, 0x80 | 10, 0);
        file_enhanced(&b, 0, 2048 + 512, "j", 1);
        file_simple(&b, 9, "kl", 2);
        read_bytes(&b, &o);
        cr_assert_eq(o.state, CAPTURE_OK, "%s", o.text);
        cr_assert_eq(o.n, 5);
        cr_assert_eq(o.packet[0].time_ns, 1700000000123456789);
        cr_assert_eq(o.packet[0].len, 5);
        cr_assert_eq(o.packet[0].wire_len, 15);
        cr_assert_eq(o.packet[1].time_ns, 11000001000);
        cr_assert_eq(o.packet[1].linktype, 101);
        cr_assert_eq(o.packet[2].time_ns, 11000001000, "a simple packet has the time before it");
        cr_assert_eq(o.packet[2].linktype, 1);
        cr_assert_eq(o.packet[2].wire_len, 3);
        cr_assert_eq(o.packet[3].time_ns, 2500000000);
        cr_assert_eq(o.packet[3].linktype, 113);
        cr_assert_eq(o.packet[4].len, 2, "cut at the interface's snaplen");
        cr_assert_eq(o.packet[4].wire_len, 9);
        cr_assert_arr_eq(o.first, "afgjk", 5);
        bytes_done(&b);
    }
}

Test(capture, pcapng_times_of_any_resolution_do_not_overflow)
{
    static const struct {
        unsigned resolution;
        int64_t offset_s;
        uint64_t units, time_ns;
    } times[] = {
        {0, 0, 5, 5000000000},
        {3, 0, 1001, 1001000000},
        {12, 0, 1000000001999, 1000000001},
        {19, 0, 10000000000000000000ULL, 1000000000},
        {0x80 | 63, 0, (1ULL << 63) | (1ULL << 62), 1500000000},
        {0x80 | 40, 0, 3ULL << 39, 1500000000},
        {0, 0, UINT64_MAX, CAPTURE_TIME_MAX},
        {6, 0, UINT64_MAX, CAPTURE_TIME_MAX},
        {9, 0, UINT64_MAX, CAPTURE_TIME_MAX},
        {6, INT64_MAX, 5000000, CAPTURE_TIME_MAX},
        {6, INT64_MIN, 5000000, 0},
        {6, -3, 5000000, 2000000000},
        {0, -1, UINT64_MAX, 0},
    };

    for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
        struct bytes b = {0};
        struct outcome o;

        file_section(&b);
        file_interface(&b, 1, 0, times[i].resolution, times[i].offset_s);
        file_enhanced(&b, 0, times[i].units, "a", 1);
        read_bytes(&b, &o);
        cr_assert_eq(o.n, 1, "%zu: %s", i, o.text);
        cr_assert_eq(o.packet[0].time_ns, times[i].time_ns, "%zu: %" PRIu64, i,
                     o.packet[0].time_ns);
        bytes_done(&b);
    }
}

Test(capture, a_pcapng_file_cut_at_any_byte_yields_its_whole_packets)
{
    struct bytes b = {0};
    struct outcome o;
    size_t ends[8], n = 0;

    file_section(&b);
    ends[n++] = b.len;
    file_interface(&b, 1, 0, 6, 0);
    ends[n++] = b.len;
    file_enhanced(&b, 0, 1, "abc", 3);
    ends[n++] = b.len;
    file_other(&b, 77, 40);
    ends[n++] = b.len;
    file_simple(&b, 4, "defg", 4);
    ends[n++] = b.len;
    for (size_t len = 4; len <= b.len; len++) {
        const struct bytes cut = {.data = b.data, .len = len};
        bool clean = false;

        for (size_t i = 0; i < n; i++)
            clean = clean || len == ends[i];
        read_bytes(&cut, &o);
        cr_assert_eq(o.n, (size_t)(len >= ends[2]) + (len >= ends[4]), "at %zu", len);
        cr_assert_eq(o.state,
                     clean           ? CAPTURE_OK
                     : len < ends[0] ? CAPTURE_UNUSABLE
                                     : CAPTURE_TRUNCATED,
                     "at %zu: %s", len, o.text);
    }
    bytes_done(&b);
}

static void expect_damaged(struct bytes *b, const char *text)
{
    struct outcome o;

    read_bytes(b, &o);
    cr_assert_eq(o.state, CAPTURE_CORRUPT, "%s", o.text);
    cr_assert_not_null(strstr(o.text, text), "%s", o.text);
    bytes_done(b);
}

Test(capture, damaged_pcapng_blocks_are_told_apart)
{
    struct bytes b = {0};

    file_section(&b);
    file_enhanced(&b, 0, 1, "abc", 3);
    expect_damaged(&b, "packet 1 names interface 0, and there are 0");

    file_section(&b);
    file_simple(&b, 3, "abc", 3);
    expect_damaged(&b, "before any interface");

    file_section(&b);
    put32(&b, 77), put32(&b, 13), put32(&b, 0);
    expect_damaged(&b, "the block at packet 1 claims a length of 13");

    file_section(&b);
    file_interface(&b, 1, 0, 6, 0);
    file_enhanced(&b, 0, 1, "abc", 3);
    b.data[b.len - 4]++;
    expect_damaged(&b, "the two lengths of the block at packet 1 differ");

    file_section(&b);
    file_interface(&b, 1, 0, 6, 0);
    file_enhanced(&b, 0, 1, "abc", 3);
    b.data[b.len - 16] = 5; /* captured: one more than the block has */
    expect_damaged(&b, "packet 1 claims 5 bytes in a block of 36");

    file_section(&b);
    file_interface(&b, 1, 0, 20, 0);
    expect_damaged(&b, "the clock of interface 0 is finer");

    file_section(&b);
    for (int i = 0; i < 1025; i++)
        file_interface(&b, 1, 0, 6, 0);
    expect_damaged(&b, "more than 1024 interfaces");

    file_section(&b);
    put32(&b, 6), put32(&b, 1 << 20), put32(&b, 0);
    expect_damaged(&b, "has 1048576 bytes, more than 524288");
}
