/*
 * filtering.h - what searches are tried on: five alerts of all kinds, and the text index.
 */
#pragma once

#include "support/batch.h"
#include "support/searching.h"

/* The text index takes what is there. */
static inline void filtering_index(void)
{
    WIND_AUTO(search) struct search *s = searching_new();
    struct err e = {0};
    int r;

    while ((r = search_step(s, &e)) == 1)
        ;
    cr_assert_eq(r, 0, "%s", e.text);
}

/* Five alerts: ids 1..5. */
static inline void filtering_five(void)
{
    static const struct batch_alert alerts[] = {
        {.n = 1, .at_s = 100, .severity = "low"},
        {.n = 2, .at_s = 200, .severity = "medium", .detector = "brute_force"},
        {.n = 3, .at_s = 300, .severity = "high", .attacker = "fd00::1", .victim = "fd00:1::2"},
        {.n = 4, .at_s = 400, .severity = "critical", .attacker = "192.0.2.9"},
        {.n = 5, .at_s = 500, .severity = "high", .victim = "10.255.255.255"},
    };
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;

    batch_init();
    batch_post(alerts, WIND_ARRAY_SIZE(alerts));
    cr_assert_eq(db_begin_write(temp_db, &tx, NULL), 0);
    cr_assert_eq(db_run(tx,
                        "UPDATE alerts SET status = 'closed', verdict = 'duplicate' "
                        "WHERE id = 1",
                        DB_NONE, NULL, NULL),
                 0);
    cr_assert_eq(db_run(tx, "UPDATE alerts SET score = NULL WHERE id = 2", DB_NONE, NULL, NULL), 0);
    cr_assert_eq(db_run(tx,
                        "UPDATE alerts SET score = 0.5, description = '100% A_b\\' "
                        "WHERE id = 3",
                        DB_NONE, NULL, NULL),
                 0);
    cr_assert_eq(db_run(tx, "INSERT INTO tags VALUES ('alerts', 4, 'vip')", DB_NONE, NULL, NULL),
                 0);
    cr_assert_eq(db_commit(&tx, NULL), 0);
    filtering_index();
}
