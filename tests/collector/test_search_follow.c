/* The thread that fills the text index, beside commits that do not end. */
#include <unistd.h>

#include "common/time.h"
#include "support/batch.h"
#include "support/searching.h"

#define PATIENCE_NS (30 * WIND_NS_PER_S)

TestSuite(search_follow, .init = batch_init, .fini = batch_fini);

static struct search *follow(void)
{
    struct search *s = searching_new();
    struct err e = {0};

    cr_assert_eq(search_start(s, &e), 0, "%s", e.text);
    return s;
}

static void wait_for_all(struct search *s)
{
    const uint64_t end = time_mono_ns() + PATIENCE_NS;

    for (;;) {
        const struct search_stats at = searching_stats(s);
        if (at.behind + at.rebuild_to - at.rebuild_at == 0)
            return;
        cr_assert_lt(time_mono_ns(), end, "%lld behind: %s", (long long)at.behind, at.trouble);
        (void)usleep(10000);
    }
}

Test(search_follow, an_incident_that_each_commit_changes_is_taken_now_and_then)
{
    WIND_AUTO(search) struct search *s = follow();
    const uint64_t start = time_mono_ns();
    const int n = 40;

    for (int i = 1; i <= n; i++) {
        batch_post(&(struct batch_alert){.n = i}, 1);
        search_wake(s);
        (void)usleep(20000);
    }
    wait_for_all(s);
    search_stop(s);
    const uint64_t paces = (time_mono_ns() - start) / WIND_NS_PER_MS / SEARCH_PACE_MS;
    cr_assert_eq(ask("SELECT count(*) FROM incidents"), 1);
    cr_assert_eq(ask("SELECT count(*) FROM alert_text"), n);
    cr_assert_leq(searching_stats(s).taken, n + paces + 3, "%d commits, and %d documents", n,
                  (int)searching_stats(s).taken);
}

Test(search_follow, what_retention_took_away_leaves_while_commits_go_on)
{
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;
    const uint64_t end = time_mono_ns() + PATIENCE_NS;
    int n = 0;

    for (; n < 5; n++)
        batch_post(&(struct batch_alert){.n = n}, 1);
    WIND_AUTO(search) struct search *first = follow();
    wait_for_all(first);
    cr_assert_eq(ask("SELECT count(*) FROM alert_text"), n);
    first = search_free(first);
    cr_assert_eq(db_begin_write(temp_db, &tx, NULL), 0);
    cr_assert_eq(db_run(tx, "DELETE FROM alert_entities WHERE alert_id <= 3", DB_NONE, NULL, NULL),
                 0);
    cr_assert_eq(db_run(tx, "DELETE FROM alerts WHERE id <= 3", DB_NONE, NULL, NULL), 0);
    cr_assert_eq(db_commit(&tx, NULL), 0);
    batch_post(&(struct batch_alert){.n = n++}, 1);
    WIND_AUTO(search) struct search *s = follow();
    while (ask("SELECT count(*) FROM alert_text WHERE rowid <= 3") > 0) {
        cr_assert_lt(time_mono_ns(), end, "it was not pruned beside %d commits", n);
        batch_post(&(struct batch_alert){.n = n++}, 1);
        search_wake(s);
        (void)usleep(5000);
    }
}

Test(search_follow, a_row_that_two_collectors_index_counts_once)
{
    WIND_AUTO(search) struct search *one = follow(), *other = follow();
    const int n = 60;

    for (int i = 1; i <= n; i++) {
        char host[2][16];
        (void)snprintf(host[0], sizeof(host[0]), "10.9.1.%d", i);
        (void)snprintf(host[1], sizeof(host[1]), "10.8.1.%d", i);
        batch_post(&(struct batch_alert){.n = i, .attacker = host[0], .victim = host[1]}, 1);
        search_wake(one);
        search_wake(other);
        if (i % 20 == 0)
            wait_for_all(one);
    }
    search_stop(one);
    search_stop(other);
    cr_assert_eq(ask("SELECT count(*) FROM incidents"), n, "each alert has its own");
    cr_assert_eq(ask("SELECT count(*) FROM incident_text"), n);
    cr_assert_eq(searching_stats(one).taken + searching_stats(other).taken, 2 * n);
}
