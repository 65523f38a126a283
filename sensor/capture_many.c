#include <errno.h>
#include <poll.h>
#include <stdlib.h>

#include "sensor/capture_interface.h"

/*
 * Several interfaces as one input. Each lends a batch; they are merged in the order of time and
 * handed out. A batch is given back when all of it was handed out and released.
 *
 * What an interface has not shown yet can't be waited for: packets of two interfaces may be out of
 * order by as long as the kernel keeps a block to itself, some 10 ms.
 */
struct part {
    struct capture *capture;
    size_t n, next; /* packets lent to us; the first that was not handed out */
    struct packet packets[CAPTURE_BATCH];
};

struct capture_many {
    struct capture base;
    size_t n;
    struct part part[];
};

/* ---------------------------------------------------------------- one part */

/* The first one that is lost is told; the others go on. */
static void look_after(struct capture_many *m, const struct part *p)
{
    const struct err *why = NULL;

    if (m->base.state == CAPTURE_OK && capture_error(p->capture, &why) != CAPTURE_OK) {
        m->base.state = capture_error(p->capture, NULL);
        m->base.error = *why;
    }
}

static void refill(struct capture_many *m, size_t i)
{
    struct part *const p = &m->part[i];

    p->next = 0;
    p->n = capture_recv(p->capture, p->packets, CAPTURE_BATCH, 0);
    for (size_t k = 0; k < p->n; k++)
        p->packets[k].interface = (uint8_t)i;
    if (capture_ended(p->capture))
        look_after(m, p);
}

static bool refill_all(struct capture_many *m)
{
    bool has_any = false, has_ended = true;

    for (size_t i = 0; i < m->n; i++) {
        if (m->part[i].n == 0)
            refill(m, i);
        has_any = has_any || m->part[i].n > 0;
        has_ended = has_ended && capture_ended(m->part[i].capture);
    }
    m->base.ended = has_ended && !has_any;
    return has_any;
}

static void wait_for_any(const struct capture_many *m, int wait_ms)
{
    struct pollfd fds[CAPTURE_INTERFACES_MAX];

    for (size_t i = 0; i < m->n; i++) /* -1: poll passes it over */
        fds[i] =
            (struct pollfd){.fd = capture_ended(m->part[i].capture) ? -1 : m->part[i].capture->fd,
                            .events = POLLIN};
    (void)poll(fds, m->n, wait_ms);
}

/* ---------------------------------------------------------------- the backend */

static struct part *earliest(struct capture_many *m)
{
    struct part *best = NULL;

    for (size_t i = 0; i < m->n; i++) {
        struct part *const p = &m->part[i];

        if (p->next < p->n &&
            (best == NULL || p->packets[p->next].time_ns < best->packets[best->next].time_ns))
            best = p;
    }
    return best;
}

static size_t many_recv(struct capture *c, struct packet *ret_packets, size_t max, int wait_ms)
{
    struct capture_many *const m = (struct capture_many *)c;
    size_t n = 0;

    if (!refill_all(m)) {
        wait_for_any(m, wait_ms);
        if (!refill_all(m))
            return 0;
    }
    while (n < max) {
        struct part *const p = earliest(m);

        if (p == NULL)
            break;
        ret_packets[n++] = p->packets[p->next++];
        if (p->next == CAPTURE_BATCH) /* it may have more, which come before the others' */
            break;
    }
    return n;
}

static void many_release(struct capture *c)
{
    struct capture_many *const m = (struct capture_many *)c;

    for (size_t i = 0; i < m->n; i++) {
        struct part *const p = &m->part[i];

        if (p->n > 0 && p->next == p->n) {
            capture_release(p->capture);
            p->n = p->next = 0;
        }
    }
}

static void many_update_stats(struct capture *c)
{
    struct capture_many *const m = (struct capture_many *)c;
    struct capture_stats sum = {.received = c->stats.received}, one;

    for (size_t i = 0; i < m->n; i++) {
        capture_stats(m->part[i].capture, &one);
        sum.kernel_seen += one.kernel_seen;
        sum.kernel_dropped += one.kernel_dropped;
        sum.kernel_freezes += one.kernel_freezes;
    }
    c->stats = sum;
}

static void many_free(struct capture *c)
{
    struct capture_many *const m = (struct capture_many *)c;

    for (size_t i = 0; i < m->n; i++)
        m->part[i].capture = capture_free(m->part[i].capture);
    free(m);
}

static const struct capture_ops many_ops = {
    .is_live = true,
    .recv = many_recv,
    .release = many_release,
    .digest = capture_no_digest,
    .update_stats = many_update_stats,
    .free = many_free,
};

int capture_many_new(struct capture **ret_capture, struct capture *const *each, size_t n,
                     struct err *e)
{
    struct capture_many *const m = calloc(1, sizeof(*m) + n * sizeof(m->part[0]));

    if (m == NULL)
        return err_set(e, -ENOMEM, "capture: out of memory for %zu interfaces", n);
    m->base.ops = &many_ops;
    m->base.name = capture_backend_name(each[0]);
    m->n = n;
    for (size_t i = 0; i < n; i++)
        m->part[i].capture = each[i];
    *ret_capture = &m->base;
    return 0;
}
