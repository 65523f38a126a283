#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/hash.h"
#include "sensor/lru.h"
#include "support/oom.h"

#define MAX 16

/* A key of an odd length, so that padding between key and value is needed. */
struct key {
    char text[5];
};

static struct key key_of(unsigned i)
{
    return (struct key){
        {'k', (char)('a' + i / 100), (char)('0' + i / 10 % 10), (char)('0' + i % 10), 'x'}};
}

static struct {
    struct key key[4096];
    uint64_t value[4096];
    size_t n;
} forgotten;

static void note(void *arg, const void *key, void *value)
{
    cr_assert_eq(arg, &forgotten);
    memcpy(&forgotten.key[forgotten.n], key, sizeof(struct key));
    forgotten.value[forgotten.n++] = *(uint64_t *)value;
}

static struct lru *table_of(size_t max)
{
    struct lru *l = NULL;

    forgotten.n = 0;
    cr_assert_eq(lru_new(&l, max, sizeof(struct key), sizeof(uint64_t), NULL), 0);
    lru_on_forget(l, note, &forgotten);
    return l;
}

static uint64_t *touch(struct lru *l, unsigned i, bool *ret_new)
{
    const struct key k = key_of(i);

    return lru_touch(l, &k, ret_new);
}

Test(lru, a_new_key_has_a_zeroed_value_that_stays)
{
    WIND_AUTO(lru) struct lru *l = table_of(MAX);
    bool is_new = false;
    uint64_t *v = touch(l, 1, &is_new);

    cr_assert(is_new && *v == 0);
    cr_assert_eq((uintptr_t)v % 8, 0);
    *v = 7;
    cr_assert(touch(l, 1, &is_new) == v && !is_new && *v == 7);
    cr_assert_eq(lru_live(l), 1);
}

Test(lru, what_was_never_touched_is_not_there)
{
    WIND_AUTO(lru) struct lru *l = table_of(MAX);
    const struct key k = key_of(1), other = key_of(2);

    cr_assert(lru_oldest(l, NULL) == NULL);
    (void)lru_touch(l, &k, NULL);
    cr_assert(lru_find(l, &other) == NULL && lru_peek(l, &other) == NULL);
    cr_assert_eq(lru_live(l), 1);
}

Test(lru, a_full_table_forgets_the_least_recent_and_says_so)
{
    WIND_AUTO(lru) struct lru *l = table_of(MAX);
    const struct key first = key_of(0), second = key_of(1);

    for (unsigned i = 0; i < MAX; i++)
        *touch(l, i, NULL) = i;
    cr_assert(lru_find(l, &first) != NULL);  /* now the most recent */
    cr_assert(lru_peek(l, &second) != NULL); /* looking does not count */
    *touch(l, MAX, NULL) = MAX;
    cr_assert(lru_peek(l, &second) == NULL && lru_peek(l, &first) != NULL);
    cr_assert(lru_live(l) == MAX && lru_evicted(l) == 1);
    cr_assert(forgotten.n == 1 && forgotten.value[0] == 1);
    cr_assert_eq(memcmp(&forgotten.key[0], &second, sizeof(second)), 0);
}

Test(lru, a_value_whose_place_is_taken_again_is_zero)
{
    WIND_AUTO(lru) struct lru *l = table_of(1);

    *touch(l, 1, NULL) = UINT64_MAX;
    cr_assert_eq(*touch(l, 2, NULL), 0);
}

Test(lru, a_dropped_value_is_gone_and_not_counted_as_evicted)
{
    WIND_AUTO(lru) struct lru *l = table_of(MAX);
    const struct key k = key_of(3);

    for (unsigned i = 0; i < 6; i++)
        *touch(l, i, NULL) = i;
    lru_drop(l, lru_find(l, &k));
    cr_assert(lru_peek(l, &k) == NULL && lru_live(l) == 5 && lru_evicted(l) == 0);
    cr_assert(forgotten.n == 1 && forgotten.value[0] == 3);
}

Test(lru, the_oldest_come_first)
{
    WIND_AUTO(lru) struct lru *l = table_of(MAX);
    const void *key = NULL;

    for (unsigned i = 0; i < 5; i++)
        *touch(l, i, NULL) = i;
    (void)touch(l, 0, NULL);
    for (uint64_t i = 1; i < 6; i++) {
        uint64_t *v = lru_oldest(l, &key);
        const struct key expected = key_of((unsigned)i % 5);
        cr_assert(*v == i % 5 && memcmp(key, &expected, sizeof(expected)) == 0);
        lru_drop(l, v);
    }
    cr_assert(lru_oldest(l, &key) == NULL && lru_live(l) == 0);
}

Test(lru, a_table_without_room_is_refused)
{
    struct lru *l = NULL;
    struct err e = {0};

    cr_assert_eq(lru_new(&l, 0, 4, 4, &e), -ENOMEM);
    cr_assert(l == NULL && e.text[0] != '\0');
}

/* ---------------------------------------------------------------- against a list */

static struct {
    unsigned key;
    uint64_t value;
} list[MAX]; /* the most recent first */
static size_t listed;

static size_t list_find(unsigned key)
{
    size_t i = 0;

    while (i < listed && list[i].key != key)
        i++;
    return i;
}

static void list_remove(size_t i)
{
    memmove(&list[i], &list[i + 1], (listed - i - 1) * sizeof(list[0]));
    listed--;
}

static void list_push(unsigned key, uint64_t value)
{
    memmove(&list[1], &list[0], listed * sizeof(list[0]));
    list[0].key = key;
    list[0].value = value;
    listed++;
}

static void one_random_step(struct lru *l, uint64_t stamp)
{
    const unsigned key = (unsigned)rand() % 40;
    const struct key k = key_of(key);
    const size_t i = list_find(key);
    const uint64_t before = i < listed ? list[i].value : 0;
    bool is_new;
    uint64_t *v;

    switch (rand() % 4) {
    case 0:
        v = lru_peek(l, &k);
        cr_assert(i < listed ? v != NULL && *v == before : v == NULL);
        break;
    case 1:
        v = lru_find(l, &k);
        cr_assert(i < listed ? v != NULL && *v == before : v == NULL);
        if (v != NULL) {
            list_remove(i);
            list_push(key, before);
        }
        break;
    case 2:
        if (i < listed) {
            lru_drop(l, lru_peek(l, &k));
            list_remove(i);
        }
        break;
    default:
        v = lru_touch(l, &k, &is_new);
        cr_assert(is_new == (i == listed) && *v == before);
        if (!is_new)
            list_remove(i);
        else if (listed == MAX)
            list_remove(MAX - 1);
        list_push(key, *v = stamp);
    }
    v = lru_oldest(l, NULL);
    cr_assert(lru_live(l) == listed);
    cr_assert(listed == 0 ? v == NULL : *v == list[listed - 1].value);
}

Test(lru, random_calls_do_what_a_list_does)
{
    for (unsigned seed = 1; seed <= 20; seed++) {
        WIND_AUTO(lru) struct lru *l = table_of(MAX);

        srand(seed);
        listed = 0;
        for (uint64_t i = 1; i <= 3000; i++)
            one_random_step(l, i);
        forgotten.n = 0;
    }
}

static int attempt(void)
{
    WIND_AUTO(lru) struct lru *l = NULL;
    struct err e = {0};
    const int r = lru_new(&l, 100, 4, 4, &e);

    cr_assert(r == 0 || (r == -ENOMEM && l == NULL && e.text[0] != '\0'));
    return r;
}

Test(lru, without_memory_it_is_not_made)
{
    cr_assert_eq(oom_each(attempt), 3);
}

/* CPU seconds to fill a table with addresses that begin with `prefix`. */
static double seconds_to_fill(uint64_t prefix)
{
    enum { N = 20000 };
    struct lru *l = NULL;
    const clock_t from = clock();

    cr_assert_eq(lru_new(&l, N, 16, sizeof(uint64_t), NULL), 0);
    for (uint64_t i = 0; i < N; i++) {
        const uint64_t key[2] = {prefix, hash_u64(i, 1)};
        (void)lru_touch(l, key, NULL);
    }
    l = lru_free(l);
    return (double)(clock() - from) / CLOCKS_PER_SEC;
}

/* One IPv6 network of hosts, chosen by somebody who has read hash.h: still no long chains. */
Test(lru, a_hostile_choice_of_keys_costs_no_more_than_others)
{
    const double usual = seconds_to_fill(UINT64_C(0x0123456789abcdef));

    cr_assert_lt(seconds_to_fill(HASH_K0), 20 * usual + 0.05);
    cr_assert_lt(seconds_to_fill(HASH_K1), 20 * usual + 0.05);
    cr_assert_lt(seconds_to_fill(HASH_K2), 20 * usual + 0.05);
}
