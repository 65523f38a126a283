/* arena.h and pool.h: the same promises in plain and in sanitized builds. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "common/arena.h"
#include "common/pool.h"

Test(arena, pieces_do_not_overlap_and_the_limit_holds)
{
    WIND_AUTO(arena) struct arena *a = NULL;
    char *piece[8];

    cr_assert_eq(arena_new(&a, (size_t)256, NULL), 0);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 8; i++) {
            piece[i] = arena_alloc(a, 30);
            cr_assert(piece[i] != NULL, "piece %d", i);
            cr_assert_eq((uintptr_t)piece[i] % 16, 0);
            memset(piece[i], 'a' + i, 30);
        }
        cr_assert(arena_alloc(a, 1) == NULL, "full");
        for (int i = 0; i < 8; i++)
            cr_assert(piece[i][0] == 'a' + i && piece[i][29] == 'a' + i);
        cr_assert_eq(arena_used(a), (size_t)256);
        arena_reset(a);
        cr_assert_eq(arena_used(a), 0);
    }
}

Test(arena, sizes_that_overflow_do_not_fit)
{
    WIND_AUTO(arena) struct arena *a = NULL;

    cr_assert_eq(arena_new(&a, 0, NULL), -EINVAL);
    cr_assert_eq(arena_new(&a, 64, NULL), 0);
    cr_assert(arena_alloc(a, SIZE_MAX) == NULL);
    cr_assert(arena_alloc(a, SIZE_MAX - 8) == NULL);
    cr_assert(arena_text(a, "", SIZE_MAX) == NULL);
    cr_assert_str_eq(arena_text(a, "wind and more", 4), "wind");
}

Test(pool, objects_are_distinct_and_as_many_as_agreed)
{
    WIND_AUTO(pool) struct pool *p = NULL;
    unsigned char *object[16];

    cr_assert_eq(pool_new(&p, 100, 16, NULL), 0);
    for (int i = 0; i < 16; i++) {
        object[i] = pool_take(p);
        cr_assert(object[i] != NULL);
        cr_assert_eq((uintptr_t)object[i] % WIND_CACHE_LINE, 0);
        memset(object[i], i, 100);
    }
    cr_assert(pool_take(p) == NULL, "full");
    for (int i = 0; i < 16; i++)
        cr_assert(object[i][0] == i && object[i][99] == i);
    pool_put(p, object[3]);
    pool_put(p, NULL);
    cr_assert_eq(pool_taken(p), 15);
    object[3] = pool_take(p);
    cr_assert(object[3] != NULL);
    for (int i = 0; i < 16; i++)
        pool_put(p, object[i]);
    cr_assert_eq(pool_taken(p), 0);
}

Test(pool, small_objects_have_room_for_what_the_pool_needs)
{
    WIND_AUTO(pool) struct pool *p = NULL;
    char *object[100];

    cr_assert_eq(pool_new(&p, 1, 100, NULL), 0);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 100; i++) {
            object[i] = pool_take(p);
            cr_assert(object[i] != NULL);
            *object[i] = (char)i;
        }
        for (int i = 0; i < 100; i++)
            cr_assert_eq(*object[i], (char)i);
        for (int i = 0; i < 100; i++)
            pool_put(p, object[i]);
    }
}

Test(pool, impossible_sizes_are_refused)
{
    struct pool *p = NULL;

    cr_assert_eq(pool_new(&p, 0, 1, NULL), -EINVAL);
    cr_assert_eq(pool_new(&p, 1, 0, NULL), -EINVAL);
    cr_assert_eq(pool_new(&p, 64, SIZE_MAX / 32, NULL), -EINVAL);
    cr_assert_eq(pool_new(&p, SIZE_MAX, 1, NULL), -EINVAL);
}
