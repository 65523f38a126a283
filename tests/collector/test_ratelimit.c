#include "collector/ratelimit.h"

#include <criterion/criterion.h>
#include <stdio.h>

#define S UINT64_C(1000000000)

static struct ratelimit *make(int64_t per_minute, int64_t burst, size_t slots)
{
    struct ratelimit *l = NULL;
    struct err e = {0};
    const struct ratelimit_conf conf = {per_minute, burst, slots};
    cr_assert_eq(ratelimit_new(&l, &conf, &e), 0);
    return l;
}

Test(ratelimit, a_burst_and_then_the_rate)
{
    struct ratelimit *l = make(60, 5, 64); /* one a second */
    const uint64_t t = 1000 * S;

    for (int i = 0; i < 5; i++) {
        const struct ratelimit_verdict v = ratelimit_take(l, "k", t);
        cr_assert_not(v.is_over);
        cr_assert_eq(v.remaining, 4 - i);
    }
    struct ratelimit_verdict v = ratelimit_take(l, "k", t);
    cr_assert(v.is_over);
    cr_assert_eq(v.wait_s, 1);
    cr_assert(ratelimit_take(l, "k", t + S - 1).is_over);
    cr_assert_not(ratelimit_take(l, "k", t + S).is_over);
    cr_assert(ratelimit_take(l, "k", t + S).is_over, "asking too often costs nothing more");
    cr_assert_not(ratelimit_take(l, "k", t + 2 * S).is_over);
    ratelimit_free(l);
}

Test(ratelimit, keys_do_not_share)
{
    struct ratelimit *l = make(60, 1, 64);

    cr_assert_not(ratelimit_take(l, "a", S).is_over);
    cr_assert(ratelimit_take(l, "a", S).is_over);
    cr_assert_not(ratelimit_take(l, "b", S).is_over);
    ratelimit_free(l);
}

Test(ratelimit, what_is_given_back_can_be_taken_again)
{
    struct ratelimit *l = make(60, 1, 64);

    for (int i = 0; i < 100; i++) {
        cr_assert_not(ratelimit_take(l, "a", S).is_over);
        ratelimit_give_back(l, "a");
    }
    ratelimit_free(l);
}

Test(ratelimit, a_flood_of_keys_stays_in_its_memory_and_cannot_forgive_the_worst)
{
    struct ratelimit *l = make(60, 100, 8);
    char key[16];

    for (int i = 0; i < 100; i++) /* the attacker is at its limit: the longest to wait */
        (void)ratelimit_take(l, "attacker", 1000 * S);
    for (int i = 0; i < 100000; i++) {
        (void)snprintf(key, sizeof(key), "k%d", i);
        cr_assert_not(ratelimit_take(l, key, 1000 * S).is_over);
    }
    cr_assert(ratelimit_take(l, "attacker", 1000 * S).is_over);
    ratelimit_free(l);
}
