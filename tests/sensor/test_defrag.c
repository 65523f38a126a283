#include <criterion/criterion.h>

#include "common/time.h"
#include "sensor/counter.h"
#include "sensor/decode.h"
#include "sensor/defrag.h"
#include "support/oom.h"
#include "support/pcap_builder.h"

#define S WIND_NS_PER_S

/* Fragments of one datagram of UDP, 10.0.0.1:1000 to 10.0.0.2:53, as decode_packet meets them. */
static struct {
    struct counters *counters;
    struct decode_conf conf;
    struct packet_view view;
    uint64_t now_ns;
} t;

static void tear_down(void)
{
    t.conf.defrag = defrag_free(t.conf.defrag);
    t.counters = counters_free(t.counters);
}

static void with_limits(size_t max, size_t memory)
{
    tear_down();
    memset(&t, 0, sizeof(t));
    cr_assert_eq(counters_new(&t.counters, NULL), 0);
    const struct defrag_conf limits = {
        .max = max, .memory = memory, .timeout_ns = 30 * S, .counters = t.counters};
    cr_assert_eq(defrag_new(&t.conf.defrag, &limits, NULL), 0);
    t.conf.tunnels = true;
    t.conf.tunnel_depth = 4;
}

static void set_up(void)
{
    with_limits(64, 1 << 20);
}
TestSuite(defrag, .init = set_up, .fini = tear_down);

static uint64_t get(enum counter which)
{
    return counters_get(t.counters, which);
}

static void check_books(void)
{
    cr_assert_eq(get(COUNTER_defrag_started),
                 get(COUNTER_defrag_completed) + get(COUNTER_defrag_timed_out) +
                     get(COUNTER_defrag_evicted) + get(COUNTER_defrag_live));
}

/* A copy of just that size: the view may borrow nothing from the last fragment. */
static enum decode_verdict decode(struct bytes *b)
{
    uint8_t *const copy = malloc(b->len);
    memcpy(copy, b->data, b->len);
    const struct packet p = {.data = copy,
                             .len = (uint32_t)b->len,
                             .wire_len = (uint32_t)b->len,
                             .time_ns = t.now_ns,
                             .linktype = 1};
    const enum decode_verdict verdict = decode_packet(&t.conf, &p, &t.view);
    free(copy);
    bytes_done(b);
    check_books();
    return verdict;
}

static enum decode_verdict v4(unsigned id, unsigned at, bool more, const void *data, size_t n)
{
    struct bytes b = {0};

    frame_eth(&b, 0x0800);
    frame_ipv4(&b, 17, 1, 2, n);
    b.data[14 + 5] = (uint8_t)id;
    b.data[14 + 6] = (uint8_t)((more ? 0x20 : 0) | at >> 11);
    b.data[14 + 7] = (uint8_t)(at >> 3);
    put(&b, data, n);
    return decode(&b);
}

/* With a header of options before and one behind the fragment header. */
static enum decode_verdict v6(unsigned id, unsigned at, bool more, const void *data, size_t n)
{
    struct bytes b = {0};

    frame_eth(&b, 0x86dd);
    frame_ipv6(&b, 60, 1, 2, 16 + n);
    put(&b, "\x2c\0\1\4\0\0\0\0", 8);
    put(&b, "\x3c\0", 2);
    put_number(&b, at | more, 2, true);
    put_number(&b, id, 4, true);
    put(&b, data, n);
    return decode(&b);
}

/* The datagram: UDP header and 24 bytes. */
static const uint8_t udp[33] = "\x03\xe8\0\x35\0\x20\0\0"
                               "abcdefghijklmnopqrstuvwx";

static void assert_whole(const char *payload)
{
    cr_assert(t.view.is_reassembled && !t.view.is_fragment);
    cr_assert(t.view.key.sport == 1000 && t.view.key.dport == 53 && t.view.key.proto == 17);
    cr_assert(t.view.payload_len == 24 && t.view.payload_wire_len == 24);
    cr_assert_arr_eq(t.view.payload, payload, 24);
    defrag_release(t.conf.defrag);
}

Test(defrag, fragments_in_any_order_make_the_packet)
{
    static const unsigned order[][4] = {{0, 1, 2, 3}, {3, 2, 1, 0}, {1, 3, 0, 2}, {2, 0, 3, 1}};

    for (unsigned i = 0; i < 4; i++) {
        for (unsigned n = 0; n < 4; n++) {
            const unsigned at = order[i][n] * 8;
            cr_assert_eq(v4(i, at, at < 24, udp + at, 8), n < 3 ? DECODE_FRAGMENT : DECODE_OK);
        }
        cr_assert_eq(t.view.ip_len, 20 + 32);
        cr_assert_eq(t.view.ip[6] | t.view.ip[7], 0);
        assert_whole("abcdefghijklmnopqrstuvwx");
    }
    cr_assert_eq(get(COUNTER_defrag_completed), 4);
    cr_assert_eq(get(COUNTER_defrag_live), 0);
}

Test(defrag, ipv6_loses_its_fragment_header)
{
    struct bytes b = {0};

    put(&b, "\x11\0\1\4\0\0\0\0", 8); /* options -> UDP */
    put(&b, udp, 32);
    cr_assert_eq(v6(7, 16, false, b.data + 16, 24), DECODE_FRAGMENT);
    cr_assert_eq(v6(7, 0, true, b.data, 16), DECODE_OK);
    cr_assert_eq(t.view.ip_len, 40 + 8 + 8 + 32);
    cr_assert_eq(t.view.ip[40], 60, "the header before it names what it named");
    assert_whole("abcdefghijklmnopqrstuvwx");
    bytes_done(&b);
}

Test(defrag, what_came_first_stays)
{
    cr_assert_eq(v4(1, 8, true, "ABCDEFGHIJKLMNOP", 16), DECODE_FRAGMENT);
    cr_assert_eq(v4(1, 0, true, udp, 16), DECODE_FRAGMENT);
    cr_assert(t.view.is_overlap);
    cr_assert_eq(v4(1, 16, false, udp + 16, 16), DECODE_OK);
    cr_assert(t.view.is_overlap);
    assert_whole("ABCDEFGHIJKLMNOPqrstuvwx");
    cr_assert_eq(get(COUNTER_defrag_overlaps), 2);
    cr_assert_eq(get(COUNTER_defrag_duplicates), 0);
}

Test(defrag, one_fragment_fills_the_gaps_between_others)
{
    cr_assert_eq(v4(1, 8, true, "ABCDEFGH", 8), DECODE_FRAGMENT);
    cr_assert_eq(v4(1, 24, false, "IJKLMNOP", 8), DECODE_FRAGMENT);
    cr_assert_eq(v4(1, 0, true, udp, 32), DECODE_OK);
    assert_whole("ABCDEFGHijklmnopIJKLMNOP");
}

Test(defrag, the_same_bytes_again_are_a_duplicate)
{
    cr_assert_eq(v4(1, 0, true, udp, 16), DECODE_FRAGMENT);
    cr_assert_eq(v4(1, 0, true, udp, 16), DECODE_FRAGMENT);
    cr_assert_not(t.view.is_overlap);
    cr_assert_eq(v4(1, 16, false, udp + 16, 16), DECODE_OK);
    assert_whole("abcdefghijklmnopqrstuvwx");
    cr_assert_eq(get(COUNTER_defrag_duplicates), 1);
    cr_assert_eq(get(COUNTER_defrag_overlaps), 0);
}

Test(defrag, a_fragment_that_contradicts_the_end_is_ignored)
{
    cr_assert_eq(v4(1, 16, false, udp + 16, 16), DECODE_FRAGMENT);
    cr_assert_eq(v4(1, 16, false, udp + 16, 8), DECODE_FRAGMENT);
    cr_assert_eq(v4(1, 32, true, udp, 8), DECODE_FRAGMENT);
    cr_assert_eq(get(COUNTER_defrag_overlaps), 2);
    cr_assert_eq(v4(1, 0, true, udp, 16), DECODE_OK);
    assert_whole("abcdefghijklmnopqrstuvwx");
    cr_assert_eq(v4(2, 16, true, udp, 16), DECODE_FRAGMENT);
    cr_assert_eq(v4(2, 8, false, udp, 8), DECODE_FRAGMENT);
    cr_assert(t.view.is_overlap, "an end before what is there already");
}

Test(defrag, packets_are_told_apart_by_all_of_their_key)
{
    cr_assert_eq(v4(1, 0, true, udp, 16), DECODE_FRAGMENT);
    cr_assert_eq(v4(2, 16, false, udp + 16, 16), DECODE_FRAGMENT);
    cr_assert_eq(v6(1, 16, false, udp + 16, 16), DECODE_FRAGMENT);
    t.conf.vlan_in_key = true;
    cr_assert_eq(get(COUNTER_defrag_live), 3);
    cr_assert_eq(v4(1, 16, false, udp + 16, 16), DECODE_OK);
    cr_assert_eq(get(COUNTER_defrag_live), 2);
}

Test(defrag, one_that_waits_too_long_is_given_up)
{
    cr_assert_eq(v4(1, 0, true, udp, 16), DECODE_FRAGMENT);
    t.now_ns = 30 * S;
    cr_assert_eq(v4(1, 16, false, udp + 16, 16), DECODE_FRAGMENT);
    cr_assert_eq(get(COUNTER_defrag_timed_out), 1);
    t.now_ns = 5 * S; /* time never runs backwards */
    cr_assert_eq(v4(1, 0, true, udp, 16), DECODE_OK);
}

Test(defrag, a_full_table_gives_up_the_one_that_waits_longest)
{
    with_limits(16, 1 << 20);
    for (unsigned id = 0; id < 17; id++)
        cr_assert_eq(v4(id, 0, true, udp, 16), DECODE_FRAGMENT);
    cr_assert_eq(get(COUNTER_defrag_evicted), 1);
    cr_assert_eq(v4(1, 16, false, udp + 16, 16), DECODE_OK);
    cr_assert_eq(v4(0, 16, false, udp + 16, 16), DECODE_FRAGMENT);
}

Test(defrag, memory_is_bounded)
{
    static const uint8_t data[8000];

    with_limits(1000, 100000);
    for (unsigned id = 0; id < 100; id++)
        cr_assert_eq(v4(id, 8, true, data, sizeof(data)), DECODE_FRAGMENT);
    cr_assert_leq(get(COUNTER_defrag_live), 12);
    cr_assert_geq(get(COUNTER_defrag_live), 11);
    cr_assert_eq(get(COUNTER_defrag_refused), 0);
}

Test(defrag, the_number_of_fragments_is_bounded)
{
    for (unsigned i = 0; i < DEFRAG_PIECES_MAX + 3; i++)
        cr_assert_eq(v4(1, 16 * i, true, udp, 8), DECODE_FRAGMENT);
    cr_assert_eq(get(COUNTER_defrag_refused), 3);
}

Test(defrag, what_no_packet_can_have_is_malformed)
{
    cr_assert_eq(v4(1, 65528, false, udp, 16), DECODE_MALFORMED, "longer than IP can be");
    cr_assert_eq(v4(1, 0, true, udp, 12), DECODE_MALFORMED, "not in units of 8");
    cr_assert_eq(v4(1, 8, false, udp, 0), DECODE_MALFORMED, "nothing");
    cr_assert_eq(get(COUNTER_defrag_started), 0);
}

Test(defrag, the_longest_packet_is_put_together)
{
    static uint8_t data[65515];

    memcpy(data, udp, 8);
    memset(data + 4, 0, 2); /* UDP length 0: to the end */
    cr_assert_eq(v4(1, 32768, false, data + 32768, sizeof(data) - 32768), DECODE_FRAGMENT);
    cr_assert_eq(v4(1, 0, true, data, 32768), DECODE_OK);
    cr_assert_eq(t.view.ip_len, 65535);
    cr_assert_eq(t.view.payload_len, 65507);
}

Test(defrag, a_fragmented_tunnel_with_fragments_in_it)
{
    struct bytes inner = {0};
    uint8_t part[2][48];

    for (unsigned i = 0; i < 2; i++) {
        frame_ipv4(&inner, 17, 1, 2, 16);
        inner.data[inner.len - 20 + 5] = 99;
        inner.data[inner.len - 20 + 6] = i == 0 ? 0x20 : 0;
        inner.data[inner.len - 20 + 7] = (uint8_t)(i * 2);
        put(&inner, udp + 16UL * i, 16);
        memcpy(part[i], inner.data, inner.len);
        cr_assert_eq(inner.len, 36);
        bytes_done(&inner);
    }
    for (unsigned i = 0; i < 2; i++) { /* each in IP in IP, in two fragments */
        for (unsigned half = 0; half < 2; half++) {
            struct bytes b = {0};
            const size_t n = half == 0 ? 24 : 12;

            frame_eth(&b, 0x0800);
            frame_ipv4(&b, 4, 100, 101, n);
            b.data[14 + 5] = (uint8_t)(10 + i);
            b.data[14 + 6] = half == 0 ? 0x20 : 0;
            b.data[14 + 7] = half == 0 ? 0 : 3;
            put(&b, part[i] + 24UL * half, n);
            const bool is_last = i == 1 && half == 1;
            cr_assert_eq(decode(&b), is_last ? DECODE_OK : DECODE_FRAGMENT, "%u %u", i, half);
        }
    }
    assert_whole("abcdefghijklmnopqrstuvwx");
    cr_assert_eq(get(COUNTER_defrag_completed), 3);
}

Test(defrag, a_fragment_that_the_capture_cut_is_as_without)
{
    struct bytes b = {0};

    frame_eth(&b, 0x0800);
    frame_ipv4(&b, 17, 1, 2, 32);
    b.data[14 + 6] = 0x20;
    put(&b, udp, 32);
    const struct packet p = {
        .data = b.data, .len = (uint32_t)b.len - 1, .wire_len = (uint32_t)b.len, .linktype = 1};
    cr_assert_eq(decode_packet(&t.conf, &p, &t.view), DECODE_OK);
    cr_assert(t.view.is_fragment && t.view.key.dport == 53);
    cr_assert_eq(get(COUNTER_defrag_started), 0);
    bytes_done(&b);
}

static int attempt(void)
{
    const struct defrag_conf limits = {.max = 16, .memory = 65536};
    struct defrag *d = NULL;
    const int r = defrag_new(&d, &limits, NULL);

    cr_assert_eq(r == 0, d != NULL);
    d = defrag_free(d);
    return r;
}

Test(defrag, without_memory_it_is_not_made)
{
    cr_assert_eq(oom_each(attempt), 5);
}

Test(defrag, a_fragment_without_memory_is_refused)
{
    oom_countdown = 3; /* two of them are the test's own */
    cr_assert_eq(v4(1, 0, true, udp, 16), DECODE_FRAGMENT);
    oom_countdown = 0;
    cr_assert_eq(get(COUNTER_defrag_refused), 1);
    cr_assert_eq(v4(1, 16, false, udp + 16, 16), DECODE_FRAGMENT);
    cr_assert_eq(v4(1, 0, true, udp, 16), DECODE_OK, "it may come again");
}
