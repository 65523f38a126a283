#include <criterion/criterion.h>
#include <errno.h>

#include "common/crypto.h"
#include "support/folder_maker.h"

TestSuite(capture_folder, .init = folder_begin, .fini = folder_end, .timeout = 30);

static void read_folder(void)
{
    folder_open(false, 1000);
    folder_reader(false);
    folder_read_all();
}

Test(capture_folder, files_come_in_the_order_of_their_first_packets)
{
    folder_capture("a", 300, 2, 'c');
    folder_capture("b", 100, 2, 'a');
    folder_capture("c", 200, 0, '-'); /* without packets: last */
    folder_capture("d", 200, 2, 'b');
    folder_capture("e", 300, 1, 'd'); /* as "a": its name decides */
    read_folder();
    folder_expect("aabbccd");
    cr_assert_eq(folder_count(COUNTER_capture_files), 5);
    cr_assert_eq(capture_error(in.reader, NULL), CAPTURE_OK);
    cr_assert_eq(in.faults, 0);
}

Test(capture_folder, every_kind_of_file_may_be_in_it)
{
    struct bytes b = {0};

    file_section(&b);
    file_interface(&b, 1, 0, 6, 0);
    folder_put("ng", b.data, b.len, 0);
    bytes_done(&b);
    for (size_t i = 0; i < WIND_ARRAY_SIZE(packings); i++) {
        struct bytes z = {0}, plain = {0};

        file_pcap(&plain, US, 1);
        file_record(&plain, 100 + (uint32_t)i, 0, &"xyz"[i], 1);
        packings[i].pack(&plain, &z);
        folder_put(packings[2 - i].name, z.data, z.len, 0);
        bytes_done(&z), bytes_done(&plain);
    }
    read_folder();
    folder_expect("xyz");
}

Test(capture_folder, without_a_capture_it_is_unusable)
{
    const struct err *e;

    folder_put("a", "hello there", 11, 0);
    folder_put(".hidden", "hello there", 11, 0);
    read_folder();
    cr_assert_eq(capture_error(in.reader, &e), CAPTURE_UNUSABLE);
    cr_assert_str_eq(e->text, "'caps' has no capture file in it");
    cr_assert_eq(folder_count(COUNTER_capture_skipped_files), 1);
}

Test(capture_folder, a_file_that_ends_badly_is_a_fault_and_the_next_goes_on)
{
    struct bytes b = {0};

    folder_capture("1", 100, 1, 'a');
    folder_capture("3", 300, 1, 'c');
    file_pcap(&b, US, 1);
    file_record(&b, 200, 0, "b", 1);
    file_record(&b, 200, 0, "b", 1);
    folder_put("2", b.data, b.len - 1, 0);
    bytes_done(&b);
    read_folder();
    folder_expect("abc");
    cr_assert_eq(in.faults, 1);
    cr_assert_eq(capture_error(in.reader, NULL), CAPTURE_OK);
    cr_assert_eq(folder_count(COUNTER_capture_files), 3);
}

Test(capture_folder, the_digest_is_that_of_the_first_file)
{
    struct bytes b = {0};
    uint8_t expected[32], digest[32];

    folder_capture("z", 100, 3, 'a');
    folder_capture("a", 200, 3, 'b');
    file_pcap(&b, US, 1);
    for (uint32_t i = 0; i < 3; i++)
        file_record(&b, 100 + i, 0, "a", 1);
    crypto_sha256(b.data, b.len, expected);
    folder_open(false, 1000);
    folder_reader(false);
    while (!capture_digest(in.reader, digest, 1))
        folder_serve(in.folder);
    cr_assert_arr_eq(digest, expected, 32);
    folder_read_all();
    folder_expect("aaabbb");
    bytes_done(&b);
}

/* Wherever it dies, and however often: each packet comes once, in the same order. */
Test(capture_folder, a_successor_goes_on_behind_what_was_taken)
{
    for (char c = 'a'; c <= 'f'; c++)
        folder_capture((const char[]){(char)('z' - c + 'a'), '\0'}, (uint32_t)c * 10, 5, c);
    for (size_t every = 1; every <= 23; every++) {
        size_t taken = 0;

        in.n = 0;
        folder_open(false, 1000);
        atomic_store(&in.counters->position, 0);
        counters_set(in.counters, COUNTER_capture_files, 0);
        folder_reader(false);
        for (int turns = 0; turns < 10000 && !capture_ended(in.reader); turns++) {
            taken += folder_turn(1 + every % 3, 0);
            if (taken >= every) {
                folder_reader(false);
                taken = 0;
            }
        }
        cr_assert(capture_ended(in.reader));
        folder_expect("aaaaabbbbbcccccdddddeeeeefffff");
        cr_assert_eq(folder_count(COUNTER_capture_files), 6);
        in.folder = folder_free(in.folder);
    }
}

Test(capture_folder, whoever_dies_while_it_looks_has_looked_at_nothing)
{
    for (char c = 'a'; c <= 'e'; c++)
        folder_capture((const char[]){c, '\0'}, (uint32_t)c, 1, c);
    folder_open(false, 1000);
    for (int die = 1; die < 30; die++) {
        folder_reader(false);
        for (int turns = 0; turns < die && !capture_ended(in.reader); turns++)
            (void)folder_turn(1, 0);
    }
    folder_read_all();
    folder_expect("abcde");
}

Test(capture_folder, without_a_supervisor_it_ends_with_a_sentence)
{
    const struct err *e;

    folder_capture("a", 100, 1, 'a');
    folder_open(false, 1000);
    folder_reader(false);
    in.folder = folder_free(in.folder);
    for (int turns = 0; turns < 100 && !capture_ended(in.reader); turns++) {
        struct packet p[1];
        cr_assert_eq(capture_recv(in.reader, p, 1, 1), 0);
    }
    cr_assert_eq(capture_error(in.reader, &e), CAPTURE_CORRUPT);
    cr_assert_not_null(strstr(e->text, "hands over no files"), "%s", e->text);
}

/* ---------------------------------------------------------------- followed */

static void turns(int n)
{
    for (int i = 0; i < n; i++)
        (void)folder_turn(CAPTURE_BATCH, 1);
}

static void until_seen(size_t n)
{
    for (int i = 0; i < 20000 && in.n < n; i++)
        turns(1);
    cr_assert_geq(in.n, n);
}

Test(capture_folder, followed_files_grow_and_new_ones_appear)
{
    struct bytes b = {0};

    folder_open(true, 1000);
    folder_reader(true);
    turns(30);
    cr_assert_not(capture_ended(in.reader));
    file_pcap(&b, US, 1);
    folder_put("b", b.data, b.len, 0); /* no packet yet: nobody knows its place */
    folder_capture("a", 100, 2, 'a');
    until_seen(2);
    bytes_done(&b);
    file_record(&b, 200, 0, "b", 1);
    folder_put("b", b.data, b.len, O_APPEND);
    until_seen(3);
    folder_put("b", b.data, b.len, O_APPEND);
    until_seen(4);
    turns(30);
    folder_expect("aabb");
    cr_assert_eq(folder_count(COUNTER_capture_files), 1);
    cr_assert_not(capture_ended(in.reader));
    bytes_done(&b);
}

Test(capture_folder, a_followed_folder_survives_its_reader)
{
    folder_open(true, 1000);
    folder_capture("a", 100, 2, 'a');
    for (char c = 'b'; c <= 'e'; c++) {
        folder_reader(true);
        until_seen((size_t)(c - 'a') * 2);
        folder_capture((const char[]){c, '\0'}, (uint32_t)c * 10, 2, c);
    }
    until_seen(10);
    folder_expect("aabbccddee");
}

Test(capture_folder, what_is_gone_and_done_makes_room)
{
    char name[8];

    folder_open(true, 3);
    folder_reader(true);
    for (uint32_t i = 0; i < 8; i++) {
        (void)snprintf(name, sizeof(name), "f%u", i);
        folder_capture(name, 100 + i, 1, (char)('a' + i));
        until_seen(i + 1);
        if (i >= 1) { /* the one before is through, but for telling so */
            char path[100];
            (void)snprintf(path, sizeof(path), "%s/f%u", in.path, i - 1);
            cr_assert_eq(unlink(path), 0);
        }
    }
    folder_expect("abcdefgh");
    cr_assert_eq(folder_count(COUNTER_capture_skipped_files), 0);
}
