#include <criterion/criterion.h>
#include <errno.h>
#include <unistd.h>

#include "common/rings.h"
#include "common/time.h"
#include "support/child.h"
#include "support/oom.h"

#define SIZE ((size_t)64 * 1024)

static void put(struct ring *r, size_t len)
{
    struct record_header *h = ring_reserve(r, len);

    cr_assert_not_null(h);
    h->kind = RECORD_FLOW_ENDED;
    ring_commit(r);
}

Test(rings, are_several_of_one_size)
{
    WIND_AUTO(rings) struct rings *r = NULL;
    struct err e;

    cr_assert_eq(rings_new(&r, 0, SIZE, 2, &e), -EINVAL);
    cr_assert_eq(rings_new(&r, RINGS_MAX + 1, SIZE, 2, &e), -EINVAL);
    cr_assert_eq(rings_new(&r, 2, SIZE + 1, 2, &e), -EINVAL);
    cr_assert_eq(rings_new(&r, RINGS_MAX, SIZE, 2, &e), 0);
    cr_assert_eq(r->n, RINGS_MAX);
    put(r->ring[7], 64);
    for (unsigned i = 0; i < r->n; i++)
        cr_assert_eq(ring_peek(r->ring[i], 0, NULL) != NULL, i == 7);
}

/* Milliseconds that a sleep for any of three rings took, while a child put half a ring into one. */
static uint64_t slept(unsigned into, unsigned stage)
{
    WIND_AUTO(rings) struct rings *r = NULL;

    cr_assert_eq(rings_new(&r, 3, SIZE, 2, NULL), 0);
    const pid_t child = child_fork();
    if (child == 0) {
        (void)usleep(50000);
        put(r->ring[into], SIZE / 2);
        if (stage == 1 && ring_peek(r->ring[into], 0, NULL) != NULL)
            ring_release(r->ring[into], 0);
        _exit(0);
    }
    const uint64_t from = time_mono_ns();
    rings_wait_data(r, stage, 60000);
    const uint64_t ms = (time_mono_ns() - from) / WIND_NS_PER_MS;
    cr_assert_eq(child_end(child), 0);
    cr_assert_not_null(ring_peek(r->ring[into], stage, NULL));
    return ms;
}

Test(rings, who_sleeps_for_all_of_them_is_woken_by_any, .timeout = 120)
{
    for (unsigned stage = 0; stage < 2; stage++) {
        for (unsigned into = 0; into < 3; into++)
            cr_assert_lt(slept(into, stage), 30000, "ring %u, stage %u", into, stage);
    }
}

Test(rings, a_sleep_ends_by_its_own_time)
{
    WIND_AUTO(rings) struct rings *r = NULL;

    cr_assert_eq(rings_new(&r, 2, SIZE, 2, NULL), 0);
    const uint64_t from = time_mono_ns();
    rings_wait_data(r, 0, 20);
    cr_assert_geq(time_mono_ns() - from, 20 * WIND_NS_PER_MS);
}

static int attempt(void)
{
    WIND_AUTO(rings) struct rings *r = NULL;

    return rings_new(&r, 3, SIZE, 2, NULL);
}

Test(rings, without_memory_they_are_not_made)
{
    cr_assert_eq(oom_each(attempt), 4);
}
