/* Several writes in one commit. */
#include <errno.h>

#include "support/db_rows.h"

TestSuite(db_group, .init = temp_db_init, .fini = temp_db_fini);

static int told_of_commits;

static void count_told(void *arg)
{
    (void)arg;
    told_of_commits++;
}

Test(db_group, parts_of_a_group_are_kept_or_undone_alone_and_committed_together)
{
    struct err e = {0};

    db_on_commit(temp_db, count_told, NULL);
    cr_assert_eq(db_group_begin(temp_db, &e), 0);
    for (int i = 0; i < 5; i++) {
        WIND_AUTO(db_tx) struct db_tx *tx = NULL;
        char name[] = {(char)('a' + i), '\0'};
        cr_assert_eq(db_begin_write(temp_db, &tx, &e), 0, "%s", e.text);
        cr_assert_eq(add_entity(tx, name, &e), 0);
        if (i == 1) /* undone: without commit */
            continue;
        if (i == 2) { /* undone: it failed */
            cr_assert_eq(add_entity(tx, "a", &e), DB_CONFLICT);
            continue;
        }
        cr_assert_eq(db_commit(&tx, &e), 0, "%s", e.text);
    }
    cr_assert_eq(count_rows(temp_db, "SELECT count(*) FROM entities"), 0, "others see nothing");
    cr_assert_eq(told_of_commits, 0);
    cr_assert_eq(db_group_end(temp_db, &e), 0, "%s", e.text);
    cr_assert_eq(told_of_commits, 1);
    cr_assert_eq(
        count_rows(temp_db, "SELECT count(*) FROM entities WHERE value IN ('a', 'd', 'e')"), 3);
    cr_assert_eq(count_rows(temp_db, "SELECT count(*) FROM entities"), 3);
}

Test(db_group, a_group_has_one_part_at_a_time_and_ends_for_the_next_writer)
{
    struct err e = {0};
    struct db_tx *tx = NULL, *second = NULL;

    cr_assert_eq(db_group_begin(temp_db, &e), 0);
    cr_assert_eq(db_group_begin(temp_db, &e), -EDEADLK);
    cr_assert_eq(db_begin_write(temp_db, &tx, &e), 0);
    cr_assert_eq(db_begin_write(temp_db, &second, &e), -EDEADLK);
    tx = db_tx_free(tx);
    cr_assert_eq(db_group_end(temp_db, &e), 0);
    cr_assert_eq(db_begin_write(temp_db, &tx, &e), 0);
    cr_assert_eq(add_entity(tx, "a", &e), 0);
    cr_assert_eq(db_commit(&tx, &e), 0);
    cr_assert_eq(count_rows(temp_db, "SELECT count(*) FROM entities"), 1);
}

/* As a full disk can do: what came before is gone, so what comes after must not look like it. */
Test(db_group, a_group_that_the_database_has_ended_keeps_nothing)
{
    ONLY_SQLITE();
    struct err e = {0};
    struct db_tx *tx = NULL;

    cr_assert_eq(db_group_begin(temp_db, &e), 0);
    cr_assert_eq(db_begin_write(temp_db, &tx, &e), 0);
    cr_assert_eq(add_entity(tx, "a", &e), 0);
    cr_assert_eq(db_commit(&tx, &e), 0);
    cr_assert_eq(db_begin_write(temp_db, &tx, &e), 0);
    cr_assert_eq(db_run(tx, "ROLLBACK", DB_NONE, NULL, &e), 0);
    tx = db_tx_free(tx);
    cr_assert_eq(db_begin_write(temp_db, &tx, &e), -EIO);
    cr_assert_lt(db_group_end(temp_db, &e), 0);
    cr_assert_eq(count_rows(temp_db, "SELECT count(*) FROM entities"), 0);
    cr_assert_eq(db_begin_write(temp_db, &tx, &e), 0, "%s", e.text);
    tx = db_tx_free(tx);
}
