/*
 * searching.h - the text index of a database under test.
 */
#pragma once

#include <criterion/criterion.h>

#include "collector/search.h"
#include "support/temp_db.h"

static inline struct search *searching_new(void)
{
    struct search *s = NULL;
    const struct search_conf conf = {.db = temp_db};
    struct err e = {0};

    cr_assert_eq(search_new(&s, &conf, &e), 0, "%s", e.text);
    return s;
}

static inline struct search_stats searching_stats(struct search *s)
{
    struct search_stats stats;
    struct err e = {0};

    cr_assert_eq(search_stats(s, &stats, &e), 0, "%s", e.text);
    return stats;
}
