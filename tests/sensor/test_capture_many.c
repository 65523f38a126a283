/* Several inputs merged: parts made here, which say what they lend and what was given back. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "sensor/capture_interface.h"
#include "support/oom.h"

#define PARTS   3
#define PACKETS 400

struct part {
    struct capture base;
    uint64_t time_ns[PACKETS];
    size_t n, next, visible; /* recv lends up to `visible` */
    unsigned recvs, releases, lent;
    bool is_lost;
};

static struct part *part[PARTS];

static size_t part_recv(struct capture *c, struct packet *ret_packets, size_t max, int wait_ms)
{
    struct part *const p = (struct part *)c;
    size_t n = 0;

    cr_assert_eq(wait_ms, 0); /* one that waits would keep the others waiting */
    p->recvs++;
    for (; n < max && p->next < p->visible; n++)
        ret_packets[n] = (struct packet){.time_ns = p->time_ns[p->next++], .len = 60};
    p->lent += (unsigned)n;
    if (n == 0 && p->is_lost)
        capture_lose(c, "part", "the interface is gone");
    return n;
}

static void part_release(struct capture *c)
{
    struct part *const p = (struct part *)c;

    p->releases++;
    p->lent = 0;
}

static void part_stats(struct capture *c)
{
    const struct part *const p = (const struct part *)c;

    c->stats.kernel_seen = p->n;
    c->stats.kernel_dropped = 1;
    c->stats.kernel_freezes = 2;
}

static void part_free(struct capture *c)
{
    (void)close(c->fd);
    free(c);
}

static const struct capture_ops part_ops = {.is_live = true,
                                            .recv = part_recv,
                                            .release = part_release,
                                            .digest = capture_no_digest,
                                            .update_stats = part_stats,
                                            .free = part_free};

static struct capture *many(void)
{
    struct capture *each[PARTS], *c = NULL;
    struct err e = {0};

    for (size_t i = 0; i < PARTS; i++) {
        int pipe_fds[2];

        cr_assert_eq(pipe(pipe_fds), 0);
        (void)close(pipe_fds[1]); /* poll: always something to see */
        part[i] = calloc(1, sizeof(*part[i]));
        part[i]->base.ops = &part_ops;
        part[i]->base.name = "a part";
        part[i]->base.fd = pipe_fds[0];
        each[i] = &part[i]->base;
    }
    cr_assert_eq(capture_many_new(&c, each, PARTS, &e), 0);
    return c;
}

/* Part i gets the times i, i + PARTS, i + 2 PARTS, ... */
static void fill(size_t i, size_t n)
{
    for (size_t k = 0; k < n; k++)
        part[i]->time_ns[part[i]->n++] = i + PARTS * k;
    part[i]->visible = part[i]->n;
}

Test(capture_many, packets_come_in_the_order_of_time_and_name_their_interface)
{
    struct capture *c = many();
    struct packet packets[CAPTURE_BATCH];
    uint64_t expected = 0;

    for (size_t i = 0; i < PARTS; i++)
        fill(i, PACKETS);
    for (;;) {
        const size_t n = capture_recv(c, packets, CAPTURE_BATCH, 10);

        for (size_t i = 0; i < n; i++, expected++) {
            cr_assert_eq(packets[i].time_ns, expected);
            cr_assert_eq(packets[i].interface, expected % PARTS);
        }
        capture_release(c);
        if (n == 0)
            break;
    }
    cr_assert_eq(expected, PARTS * PACKETS);
    cr_assert(capture_is_live(c) && !capture_ended(c));
    c = capture_free(c);
}

Test(capture_many, one_with_more_to_give_is_waited_for)
{
    struct capture *c = many();
    struct packet packets[CAPTURE_BATCH];
    uint64_t last_ns = 0, all = 0;

    for (size_t k = 0; k < 200; k++)
        part[0]->time_ns[part[0]->n++] = 2 * k;
    part[1]->time_ns[0] = 9;
    part[1]->time_ns[1] = 351; /* behind what the first one has not lent yet */
    part[0]->visible = 200;
    part[1]->visible = 2;
    for (size_t n = 1; n > 0; all += n) {
        n = capture_recv(c, packets, CAPTURE_BATCH, 0);
        for (size_t i = 0; i < n; i++) {
            cr_assert_geq(packets[i].time_ns, last_ns);
            last_ns = packets[i].time_ns;
        }
        capture_release(c);
    }
    cr_assert_eq(all, 202);
    c = capture_free(c);
}

Test(capture_many, what_was_not_handed_out_stays_lent)
{
    struct capture *c = many();
    struct packet packets[CAPTURE_BATCH];

    fill(0, 10);
    fill(1, 10);
    cr_assert_eq(capture_recv(c, packets, 5, 0), 5);
    capture_release(c);
    cr_assert_eq(part[0]->lent, 10);
    cr_assert_eq(part[0]->releases, 0);
    cr_assert_eq(capture_recv(c, packets, CAPTURE_BATCH, 0), 15);
    cr_assert_eq(part[0]->lent, 10); /* until it is released */
    capture_release(c);
    cr_assert_eq(part[0]->lent + part[1]->lent, 0);
    cr_assert_eq(part[0]->releases, 1);
    c = capture_free(c);
}

Test(capture_many, one_that_is_lost_is_told_and_the_others_go_on)
{
    struct capture *c = many();
    struct packet packets[CAPTURE_BATCH];
    const struct err *why = NULL;

    part[1]->is_lost = true;
    cr_assert_eq(capture_recv(c, packets, CAPTURE_BATCH, 0), 0);
    cr_assert_eq(capture_error(c, &why), CAPTURE_CORRUPT);
    cr_assert_str_eq(why->text, "'part' cannot be listened to any more: the interface is gone");
    cr_assert_not(capture_ended(c));
    fill(2, 3);
    cr_assert_eq(capture_recv(c, packets, CAPTURE_BATCH, 0), 3);
    capture_release(c);
    const unsigned asked = part[1]->recvs;
    part[0]->is_lost = part[2]->is_lost = true;
    cr_assert_eq(capture_recv(c, packets, CAPTURE_BATCH, 0), 0);
    cr_assert(capture_ended(c));
    cr_assert_eq(part[1]->recvs, asked);
    c = capture_free(c);
}

Test(capture_many, the_kernels_counts_are_sums)
{
    struct capture *c = many();
    struct packet packets[CAPTURE_BATCH];
    struct capture_stats s;

    fill(0, 5);
    fill(2, 7);
    cr_assert_eq(capture_recv(c, packets, 4, 0), 4);
    for (int i = 0; i < 2; i++) { /* asked twice: still the same */
        capture_stats(c, &s);
        cr_assert_eq(s.received, 4);
        cr_assert_eq(s.kernel_seen, 12);
        cr_assert_eq(s.kernel_dropped, PARTS);
        cr_assert_eq(s.kernel_freezes, 2 * PARTS);
    }
    cr_assert_str_eq(capture_backend_name(c), "a part");
    c = capture_free(c);
}

static struct capture *lone;

static int attempt(void)
{
    struct capture *each[1] = {lone}, *c = NULL;
    struct err e = {0};
    const int r = capture_many_new(&c, each, 1, &e);

    cr_assert((r == 0) == (c != NULL));
    free(c); /* not its part */
    return r;
}

Test(capture_many, without_memory_it_takes_nothing)
{
    struct capture *c = many();

    lone = &part[0]->base;
    cr_assert_eq(oom_each(attempt), 1);
    c = capture_free(c);
}
