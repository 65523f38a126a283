#include <criterion/criterion.h>
#include <errno.h>

#include "sensor/board.h"
#include "support/fake_capture.h"
#include "support/oom.h"

static struct board *board;

static void tear_down(void)
{
    board = board_free(board);
    fake_reset();
}
TestSuite(board, .fini = tear_down);

static void begin(unsigned shares, unsigned places, uint64_t first)
{
    const struct board_conf conf = {.shares = shares, .places = places, .first = first};

    cr_assert_eq(board_new(&board, &conf, NULL), 0);
}

static void datagrams(unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        fake_udp(i * UINT64_C(1000), 1 + i % 90, 1000 + i, 200, 53, i % 20);
}

/* Every packet is at one place in the batch, its owner's, and says where it stood. */
static void check_batch(const struct board_batch *b, unsigned shares, uint64_t first)
{
    bool seen[BOARD_PACKETS] = {false};

    cr_assert_eq(b->first, first);
    cr_assert_eq(b->from[0], 0);
    cr_assert_eq(b->from[shares + 1], b->n);
    for (unsigned w = 0; w <= shares; w++) {
        for (unsigned i = b->from[w]; i < b->from[w + 1]; i++) {
            const struct board_packet *const p = &b->packet[i];
            const uint32_t owner = share_of_packet(&p->packet, shares);
            cr_assert_eq(owner, w == shares ? SHARE_UNSURE : w);
            cr_assert(p->at < b->n && !seen[p->at]);
            seen[p->at] = true;
            cr_assert_eq(p->clock_ns, b->clock_ns[p->at]);
            cr_assert(i == b->from[w] || p->at > b->packet[i - 1].at, "in order");
            const size_t k = first + p->at; /* of the capture */
            cr_assert(p->packet.time_ns == fake.packet[k].time_ns &&
                      p->packet.len == fake.packet[k].len);
            cr_assert_arr_eq(p->packet.data, fake.frames.data + fake.packet[k].at, p->packet.len);
        }
    }
}

Test(board, every_place_gets_every_batch_in_order)
{
    uint64_t at[3] = {0};

    datagrams(5000);
    begin(3, 3, 0);
    for (unsigned turn = 0; at[0] + at[1] + at[2] < 15000; turn++) {
        const unsigned place = turn % 7 % 3; /* not evenly */
        const struct board_batch *b = board_take(board, place, 0);
        if (b == NULL)
            continue;
        check_batch(b, 3, at[place]);
        cr_assert_eq(board_take(board, place, 0), b, "until it is done");
        at[place] += b->n;
        board_done(board, place);
    }
    for (unsigned place = 0; place < 3; place++) {
        cr_assert_eq(at[place], 5000);
        cr_assert_null(board_take(board, place, 0));
        cr_assert(board_ended(board, place));
    }
}

Test(board, nobody_gets_further_ahead_than_there_is_room)
{
    uint64_t ahead = 0;
    const struct board_batch *b;

    datagrams(8000);
    fake.batch = 100;
    begin(2, 2, 0);
    while ((b = board_take(board, 0, 0)) != NULL) {
        ahead++;
        board_done(board, 0);
    }
    cr_assert_eq(ahead, BOARD_BATCHES);
    cr_assert(!board_ended(board, 0));
    b = board_take(board, 1, 0);
    check_batch(b, 2, 0); /* still there */
    board_done(board, 1);
    cr_assert_not_null(board_take(board, 0, 0));
}

Test(board, bytes_that_are_taken_back_are_copied)
{
    const struct board_batch *b[10];

    datagrams(100);
    fake.is_taking_back = true;
    fake.batch = 10;
    begin(2, 2, 0);
    for (unsigned i = 0; i < 10; i++) {
        b[i] = board_take(board, 0, 0);
        for (unsigned k = 0; k < b[i]->n; k++)
            cr_assert(b[i]->packet[k].packet.data < fake.frames.data ||
                      b[i]->packet[k].packet.data >= fake.frames.data + fake.frames.len);
        board_done(board, 0);
    }
    cr_assert_eq(fake.releases, 10);
    for (unsigned i = 0; i < 10; i++)
        check_batch(b[i], 2, i * 10); /* the other place has not seen them yet */
}

/* 100 packets of 10,000 bytes are more than a batch has room for: the rest comes in the next. */
Test(board, what_there_is_no_room_to_copy_comes_in_the_next_batch)
{
    uint64_t at = 0;
    const struct board_batch *b;
    unsigned batches = 0;

    for (unsigned i = 0; i < 100; i++)
        fake_udp(i, 1 + i, 1000, 200, 53, 10000);
    fake.is_taking_back = true;
    begin(2, 2, 0);
    while ((b = board_take(board, 0, 0)) != NULL) {
        check_batch(b, 2, at);
        at += b->n;
        batches++;
        board_done(board, 0);
    }
    cr_assert_eq(at, 100);
    cr_assert_eq(batches, 4); /* of 26 */
}

Test(board, a_place_of_its_own_copies_nothing)
{
    datagrams(100);
    fake.is_taking_back = true;
    begin(4, 1, 0);
    const struct board_batch *const b = board_take(board, 0, 0);
    check_batch(b, 4, 0);
    cr_assert_eq(b->packet[0].packet.data - fake.frames.data,
                 (ptrdiff_t)fake.packet[b->packet[0].at].at);
}

Test(board, the_clock_is_the_latest_time_and_what_is_far_behind_is_counted)
{
    static const uint64_t seconds[] = {10, 12, 11, 5, 13, 12};

    for (size_t i = 0; i < 6; i++)
        fake_udp(seconds[i] * WIND_NS_PER_S, 1, 1000, 2, 53, 1);
    fake.batch = 4;
    begin(2, 2, 0);
    const struct board_batch *b = board_take(board, 0, 0);
    static const uint64_t clock[] = {10, 12, 12, 12};
    for (size_t i = 0; i < 4; i++)
        cr_assert_eq(b->clock_ns[i], FAKE_T0 + clock[i] * WIND_NS_PER_S);
    cr_assert_eq(b->backwards, 1); /* by seven seconds; the one before by just one */
    board_done(board, 0);
    b = board_take(board, 0, 0);
    cr_assert(b->backwards == 0 && b->clock_ns[1] == FAKE_T0 + 13 * WIND_NS_PER_S);
}

Test(board, what_has_to_be_decoded_is_for_all)
{
    datagrams(3);
    frame_eth(&fake.frames, 0x0806);
    put(&fake.frames, "\0\1\x08\0\6\4\0\1", 8);
    fake_offer(3000);
    begin(2, 2, 40);
    fake.next = 0;
    const struct board_batch *const b = board_take(board, 1, 0);
    cr_assert(b->first == 40 && b->n == 4);
    cr_assert_eq(b->from[3] - b->from[2], 1);
    cr_assert_eq(b->packet[b->from[2]].at, 3);
}

static int attempt(void)
{
    WIND_AUTO(board) struct board *b = NULL;
    const struct board_conf conf = {.shares = 2, .places = 2};

    return board_new(&b, &conf, NULL);
}

Test(board, without_memory_it_is_not_made)
{
    cr_assert_eq(oom_each(attempt), 1 + BOARD_BATCHES);
}
