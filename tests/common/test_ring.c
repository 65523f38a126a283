#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/ring.h"
#include "support/child.h"
#include "support/oom.h"

#define SIZE 65536

static struct ring *two_stages(void)
{
    struct ring *r = NULL;

    cr_assert_eq(ring_new(&r, SIZE, 2, NULL), 0);
    return r;
}

static void put(struct ring *r, size_t len, uint64_t mark)
{
    struct record_header *h = ring_reserve(r, len);

    cr_assert(h != NULL);
    h->kind = RECORD_FLOW_ENDED;
    h->time_ns = mark;
    ring_commit(r);
}

Test(ring, refuses_a_size_that_is_not_a_power_of_two)
{
    struct ring *r = NULL;
    struct err e = {0};

    cr_assert_eq(ring_new(&r, 100000, 1, &e), -EINVAL);
    cr_assert(r == NULL); /* failure leaves ret_ alone */
    cr_assert_str_eq(e.text, "ring: 100000 bytes is not a power of two of at least 64 KiB");
    cr_assert_eq(ring_new(&r, SIZE, RING_STAGES_MAX + 1, &e), -EINVAL);
}

Test(ring, a_stage_sees_only_what_the_stage_before_released)
{
    WIND_AUTO(ring) struct ring *r = two_stages();

    put(r, 100, 7);
    cr_assert(ring_peek(r, 1, NULL) == NULL);
    struct record_header *h = ring_peek(r, 0, NULL);
    cr_assert(h != NULL && h->time_ns == 7 && h->len == 128);
    cr_assert(ring_peek(r, 1, NULL) == NULL); /* peeked is not released */
    ring_release(r, 0);
    cr_assert(ring_peek(r, 1, NULL) == h); /* the same bytes, in place */
}

Test(ring, a_full_ring_refuses_until_the_last_stage_releases)
{
    WIND_AUTO(ring) struct ring *r = two_stages();

    for (int i = 0; i < SIZE / 1024; i++)
        put(r, 1024, 0);
    cr_assert(ring_reserve(r, 64) == NULL);
    while (ring_peek(r, 0, NULL) != NULL)
        ;
    ring_release(r, 0);
    cr_assert(ring_reserve(r, 64) == NULL); /* the last stage still holds them */
    cr_assert(ring_peek(r, 1, NULL) != NULL);
    ring_release(r, 1);
    cr_assert(ring_reserve(r, 64) != NULL);
}

Test(ring, records_never_wrap_and_pads_are_not_shown)
{
    WIND_AUTO(ring) struct ring *r = two_stages();

    for (uint64_t i = 0; i < 1000; i++) {
        put(r, 64 + (size_t)(i * 977 % 20000), i);
        struct record_header *h = ring_peek(r, 0, NULL);
        cr_assert(h != NULL && h->time_ns == i && h->kind == RECORD_FLOW_ENDED);
        ring_release(r, 0);
        memset(h + 1, 0xff, h->len - sizeof(*h)); /* ASan and the cursors would notice */
        cr_assert(ring_peek(r, 1, NULL) == h);
        ring_release(r, 1);
    }
}

Test(ring, too_long_a_record_is_refused)
{
    WIND_AUTO(ring) struct ring *r = two_stages();

    cr_assert(ring_reserve(r, SIZE / 2 + 1) == NULL);
    cr_assert(ring_reserve(r, 0) == NULL);
    cr_assert(ring_reserve(r, SIZE / 2) != NULL);
}

Test(ring, a_stage_whose_process_died_goes_on_where_it_had_released)
{
    WIND_AUTO(ring) struct ring *r = two_stages();

    for (uint64_t i = 1; i <= 3; i++)
        put(r, 64, i);
    const pid_t child = child_fork();
    if (child == 0) {
        (void)ring_peek(r, 0, NULL);
        ring_release(r, 0);
        (void)ring_peek(r, 0, NULL); /* peeked, not released: to be done again */
        _exit(0);
    }
    cr_assert(waitpid(child, NULL, 0) == child);
    ring_rewind(r, 0);
    const struct record_header *h = ring_peek(r, 0, NULL);
    cr_assert(h != NULL && h->time_ns == 2);
}

/* How many times a stage that sleeps until it has something was woken by `records` of 1 KiB. */
static unsigned wakes_by(unsigned records, int wait_ms)
{
    WIND_AUTO(ring) struct ring *r = two_stages();
    unsigned wakes = 0;
    const pid_t child = child_fork();

    if (child == 0) {
        for (unsigned i = 1; i <= records; i++) {
            put(r, 1024, i);
            (void)usleep(1000); /* so that whoever was woken is asleep again */
        }
        _exit(0);
    }
    for (uint64_t last = 0; last < records; wakes++) {
        const struct record_header *h;

        ring_wait_data(r, 0, wait_ms);
        while ((h = ring_peek(r, 0, NULL)) != NULL)
            last = h->time_ns;
        ring_release(r, 0);
    }
    cr_assert(waitpid(child, NULL, 0) == child);
    return wakes;
}

Test(ring, a_stage_is_woken_when_there_is_a_quarter_of_the_ring_and_not_for_each_record)
{
    cr_assert_leq(wakes_by(SIZE / 1024, 1000), 4 + 1); /* and once by its own time, for the rest */
}

Test(ring, a_stage_wakes_by_its_own_time_when_less_comes)
{
    cr_assert_geq(wakes_by(3, 20), 1);
}

Test(ring, a_hostile_length_is_reported_and_skipped)
{
    static const uint32_t lengths[] = {0, 32, 63, 65, 128 * 1024, 0xffffffc0, 192};

    for (size_t i = 0; i < WIND_ARRAY_SIZE(lengths); i++) {
        WIND_AUTO(ring) struct ring *r = two_stages();
        bool bad = false;

        put(r, 64, 1);
        put(r, 64, 2);
        ring_peek(r, 0, NULL);
        struct record_header *h = ring_peek(r, 0, NULL);
        ring_release(r, 0);
        cr_assert(ring_peek(r, 1, &bad) != NULL && !bad);
        h->len = lengths[i];
        cr_assert(ring_peek(r, 1, &bad) == NULL);
        cr_assert(bad, "length %u", lengths[i]);
        cr_assert(ring_peek(r, 1, &bad) == NULL && !bad); /* skipped: in step again */
    }
}

static int make_a_ring(void)
{
    WIND_AUTO(ring) struct ring *r = NULL;
    const int result = ring_new(&r, SIZE, 1, NULL);

    cr_assert(result == 0 ? r != NULL : result == -ENOMEM && r == NULL);
    return result;
}

Test(ring, new_cleans_up_after_a_failed_allocation)
{
    cr_assert_eq(oom_each(make_a_ring), 1);
}
