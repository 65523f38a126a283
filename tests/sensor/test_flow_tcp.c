#include <criterion/criterion.h>
#include <string.h>

#include "sensor/flow_tcp.h"
#include "support/views.h"

/* A connection by hand: each line is a packet. Sequence numbers count from 1000 and 9000. */
#define START0 1000u
#define START1 9000u

static struct flow_tcp t;
static uint8_t flags_seen[2];
static bool has_answer;

static void set_up(void)
{
    t = (struct flow_tcp){0};
    flags_seen[0] = flags_seen[1] = 0;
    has_answer = false;
}

TestSuite(flow_tcp, .init = set_up);

static void packet(unsigned dir, unsigned flags, uint32_t seq, uint32_t ack, uint32_t len)
{
    struct packet_view v = view_of(view_key(IPPROTO_TCP, 1, 5000, 2, 80), flags, len);

    v.tcp_seq = seq + (dir ? START1 : START0);
    v.tcp_ack = ack + (dir ? START0 : START1);
    v.tcp_window = 500;
    flow_tcp_packet(&t, &v, dir);
    flags_seen[dir] |= (uint8_t)flags;
    has_answer |= dir == 1;
}

static void handshake(void)
{
    packet(0, TCP_SYN, 0, 0u - START1, 0);
    packet(1, TCP_SYN | TCP_ACK, 0, 1, 0);
    packet(0, TCP_ACK, 1, 1, 0);
}

static enum conn_state state(void)
{
    return flow_tcp_state(&t, flags_seen, has_answer);
}

static const char *history(void)
{
    static char text[RECORD_HISTORY_MAX + 1];

    memcpy(text, t.history, sizeof(t.history));
    text[t.n_history] = '\0';
    return text;
}

/* ---------------------------------------------------------------- numbers */

Test(flow_tcp, a_sound_connection_misses_nothing_and_repeats_nothing)
{
    handshake();
    packet(0, TCP_ACK | TCP_PSH, 1, 1, 100);
    packet(1, TCP_ACK | TCP_PSH, 1, 101, 1400);
    packet(1, TCP_ACK | TCP_PSH, 1401, 101, 1400);
    packet(0, TCP_ACK, 101, 2801, 0);
    packet(0, TCP_FIN | TCP_ACK, 101, 2801, 0);
    packet(1, TCP_FIN | TCP_ACK, 2801, 102, 0);
    packet(0, TCP_ACK, 102, 2802, 0);
    cr_assert(t.missed[0] + t.missed[1] + t.again[0] + t.again[1] == 0);
    cr_assert_str_eq(history(), "ShADdFf");
    cr_assert_eq(state(), CONN_SF);
}

Test(flow_tcp, bytes_that_come_twice_are_retransmissions)
{
    handshake();
    packet(0, TCP_ACK, 1, 1, 100);
    packet(0, TCP_ACK, 1, 1, 100);
    packet(0, TCP_ACK, 51, 1, 100); /* half of it is new */
    packet(1, TCP_ACK, 1, 151, 0);
    cr_assert(t.again[0] == 2 && t.again[1] == 0 && t.missed[0] == 0);
    cr_assert_not_null(strchr(history(), 'T'));
}

Test(flow_tcp, a_syn_that_is_sent_again_is_one_and_no_data_is)
{
    packet(0, TCP_SYN, 0, 0, 0);
    packet(0, TCP_SYN, 0, 0, 0);
    packet(0, TCP_SYN, 0, 0, 0);
    cr_assert_eq(t.again[0], 2);
    cr_assert_eq(state(), CONN_S0);
}

Test(flow_tcp, a_keep_alive_is_none)
{
    handshake();
    packet(0, TCP_ACK, 1, 1, 100);
    packet(1, TCP_ACK, 1, 101, 0);
    packet(0, TCP_ACK, 100, 1, 1); /* the last byte again, as a question */
    packet(0, TCP_ACK, 100, 1, 0);
    cr_assert_eq(t.again[0], 0);
}

Test(flow_tcp, a_hole_that_is_acknowledged_was_lost_to_us_alone)
{
    handshake();
    packet(1, TCP_ACK, 1, 1, 1000);
    packet(1, TCP_ACK, 2001, 1, 1000); /* 1001..2000 did not pass here */
    cr_assert_eq(t.missed[1], 0);
    packet(0, TCP_ACK, 1, 3001, 0);
    cr_assert_eq(t.missed[1], 1000);
    packet(0, TCP_ACK, 1, 3001, 0); /* once */
    cr_assert(t.missed[1] == 1000 && t.missed[0] == 0 && t.again[1] == 0);
    cr_assert_not_null(strchr(history(), 'g'));
}

Test(flow_tcp, what_comes_late_or_is_sent_again_fills_the_hole)
{
    handshake();
    packet(1, TCP_ACK, 1, 1, 1000);
    packet(1, TCP_ACK, 2001, 1, 1000);
    packet(1, TCP_ACK, 1001, 1, 1000);
    packet(0, TCP_ACK, 1, 3001, 0);
    cr_assert(t.missed[1] == 0 && t.again[1] == 0);
    packet(1, TCP_ACK, 5001, 1, 100); /* from both ends, and over them */
    packet(1, TCP_ACK, 2901, 1, 600);
    packet(1, TCP_ACK, 4001, 1, 1050);
    packet(0, TCP_ACK, 1, 5101, 0);
    cr_assert_eq(t.missed[1], 500);
}

Test(flow_tcp, an_acknowledgement_of_what_never_passed_is_a_loss_too)
{
    handshake();
    packet(0, TCP_ACK, 1, 5001, 0);
    cr_assert_eq(t.missed[1], 5000);
    packet(1, TCP_ACK, 5001, 1, 100);
    packet(0, TCP_ACK, 1, 5101, 0);
    cr_assert(t.missed[1] == 5000 && t.again[1] == 0);
}

Test(flow_tcp, numbers_wrap_round)
{
    handshake();
    const uint32_t late = 0u - START1 - 500; /* 500 before the largest number */
    t.next[1] = 0u - 500;
    packet(1, TCP_ACK, late, 1, 1000);
    packet(1, TCP_ACK, late + 1000, 1, 1000);
    packet(0, TCP_ACK, 1, late + 2000, 0);
    cr_assert(t.missed[1] == 0 && t.again[1] == 0);
}

Test(flow_tcp, absurd_jumps_are_not_believed)
{
    handshake();
    packet(0, TCP_ACK, 1, 0x60000000, 0);
    packet(1, TCP_ACK, 0x60000000, 1, 100);
    cr_assert(t.missed[0] == 0 && t.missed[1] == 0);
}

Test(flow_tcp, half_the_numbers_away_is_absurd_too)
{
    handshake();
    packet(0, TCP_ACK, 1 + (1u << 31), 1, 100);
    cr_assert_eq(t.again[0], 0);
    cr_assert_eq(t.next[0], START0 + 1);
}

Test(flow_tcp, a_hole_two_gigabytes_ago_is_left_alone)
{
    const uint32_t piece = 1000u << 10, end = 1u << 31;

    packet(0, TCP_ACK, 0, 1, 100);
    packet(0, TCP_ACK, 200, 1, 100); /* nobody is seen to acknowledge what is missing */
    for (uint32_t at = 300; at < end; at += piece)
        packet(0, TCP_ACK, at, 1, piece);
    packet(0, TCP_ACK, 100 + end - 10, 1, 1000); /* ends where numbers have changed their sign */
    cr_assert_eq(t.again[0], 1);
    cr_assert_eq(t.hole_len[0], 100);
    cr_assert_eq(t.missed[0], 0);
}

Test(flow_tcp, one_side_alone_is_followed_without_the_other)
{
    packet(0, TCP_ACK, 100, 1, 50);
    packet(0, TCP_ACK, 150, 1, 50);
    packet(0, TCP_ACK, 100, 1, 50);
    cr_assert(t.again[0] == 1 && t.missed[0] == 0 && t.missed[1] == 0);
    cr_assert_eq(state(), CONN_OTH);
}

Test(flow_tcp, random_numbers_stop_at_their_limits)
{
    uint32_t x = 1;

    for (unsigned i = 0; i < 200000; i++) {
        x = x * 1664525 + 1013904223;
        packet(x >> 31, x >> 8 & 0xff, x * 2654435761u, x ^ 0x5bd1e995, x >> 20);
    }
    cr_assert_leq(t.n_history, RECORD_HISTORY_MAX);
}

/* ---------------------------------------------------------------- states */

Test(flow_tcp, each_state_has_its_name)
{
    static const struct {
        const char *packets; /* S h A d = as in the history; lower case: the other side */
        enum conn_state state;
    } rows[] = {{"S", CONN_S0},      {"ShA", CONN_S1},    {"ShAFf", CONN_SF},  {"ShAfF", CONN_SF},
                {"Sr", CONN_REJ},    {"ShAF", CONN_S2},   {"ShAf", CONN_S3},   {"ShAR", CONN_RSTO},
                {"ShAr", CONN_RSTR}, {"SR", CONN_RSTOS0}, {"hr", CONN_RSTRH},  {"SF", CONN_SH},
                {"hf", CONN_SHR},    {"Aa", CONN_OTH},    {"ShAFfR", CONN_SF}, {"ShARr", CONN_RSTO},
                {"Sa", CONN_OTH}};

    for (size_t i = 0; i < WIND_ARRAY_SIZE(rows); i++) {
        set_up();
        for (const char *p = rows[i].packets; *p != '\0'; p++) {
            const char c = (char)(*p | 0x20);
            const unsigned flags = c == 's'   ? TCP_SYN
                                   : c == 'h' ? TCP_SYN | TCP_ACK
                                   : c == 'f' ? TCP_FIN | TCP_ACK
                                   : c == 'r' ? TCP_RST
                                              : TCP_ACK;
            packet(*p == c, flags, (flags & TCP_SYN) == 0, 1, 0);
        }
        cr_assert_eq(state(), rows[i].state, "%s: %d, not %d", rows[i].packets, state(),
                     rows[i].state);
        cr_assert_str_eq(history(), rows[i].packets);
    }
}

Test(flow_tcp, flags_that_exclude_each_other_and_a_shut_window_are_said)
{
    struct packet_view v = view_of(view_key(IPPROTO_TCP, 1, 5000, 2, 80), TCP_FIN | TCP_RST, 0);

    v.tcp_window = 1;
    flow_tcp_packet(&t, &v, 0);
    v.tcp_flags = TCP_SYN | TCP_FIN;
    flow_tcp_packet(&t, &v, 0);
    v.tcp_flags = TCP_ACK;
    v.tcp_window = 0;
    flow_tcp_packet(&t, &v, 1);
    cr_assert_str_eq(history(), "IQaw");
}
