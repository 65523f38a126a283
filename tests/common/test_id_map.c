#include <criterion/criterion.h>

#include "common/id_map.h"

Test(id_map, what_was_put_is_found_and_nothing_else)
{
    struct id_map m = {.slots = NULL};
    static int values[2000];

    cr_assert_null(id_map_get(&m, 7));
    for (uint64_t i = 1; i < 2000; i++)
        cr_assert_eq(id_map_put(&m, i * 3, &values[i]), 0);
    cr_assert_eq(m.n, 1999);
    for (uint64_t i = 1; i < 6000; i++)
        cr_assert_eq(id_map_get(&m, i), i % 3 == 0 ? &values[i / 3] : NULL);
    cr_assert_eq(id_map_put(&m, 3, &values[9]), 0);
    cr_assert_eq(id_map_get(&m, 3), &values[9]);
    cr_assert_eq(m.n, 1999);
    id_map_done(&m);
    cr_assert_null(id_map_get(&m, 3));
}

Test(id_map, a_set_says_what_is_new)
{
    struct id_map m = {.slots = NULL};

    for (int again = 0; again < 2; again++)
        for (uint64_t i = 1; i <= 100; i++)
            cr_assert_eq(id_map_add(&m, i << 40), again == 0);
    cr_assert_eq(m.n, 100);
    id_map_done(&m);
}
