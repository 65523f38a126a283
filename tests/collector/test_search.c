#include "collector/outbox.h"
#include "collector/search_state.h"
#include "support/batch.h"
#include "support/searching.h"

TestSuite(search, .init = batch_init, .fini = batch_fini);

/* Batches until there is nothing to do; how many. */
static int take_all(struct search *s)
{
    struct err e = {0};
    int r, n = 0;

    while ((r = search_step(s, &e)) == 1)
        n++;
    cr_assert_eq(r, 0, "%s", e.text);
    return n;
}

static void post(int from, int to)
{
    for (int n = from; n <= to; n++)
        batch_post(&(struct batch_alert){.n = n}, 1);
}

static void run(const char *sql)
{
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;
    struct err e = {0};

    cr_assert_eq(db_begin_write(temp_db, &tx, &e), 0);
    cr_assert_geq(db_run(tx, sql, DB_NONE, NULL, &e), 0, "%s", e.text);
    cr_assert_eq(db_commit(&tx, &e), 0);
}

Test(search, what_was_there_before_and_what_comes_later_is_taken)
{
    post(1, 3);
    WIND_AUTO(search) struct search *s = searching_new();
    cr_assert_gt(take_all(s), 0);
    cr_assert_eq(ask("SELECT count(*) FROM alert_text"), 3);
    cr_assert_eq(ask("SELECT count(*) FROM incident_text"), 1);
    cr_assert_eq(take_all(s), 0);
    post(4, 5);
    cr_assert_eq(searching_stats(s).behind,
                 ask("SELECT count(*) FROM outbox") - ask("SELECT seq FROM search_state"));
    cr_assert_gt(take_all(s), 0);
    cr_assert_eq(ask("SELECT count(*) FROM alert_text"), 5);
    cr_assert_eq(searching_stats(s).behind, 0);
}

Test(search, another_start_goes_on_where_the_last_one_was)
{
    WIND_AUTO(search) struct search *first = searching_new();
    (void)take_all(first);
    post(1, 2);
    (void)take_all(first);
    first = search_free(first);
    post(3, 3);
    WIND_AUTO(search) struct search *s = searching_new();
    cr_assert_gt(take_all(s), 0);
    cr_assert_eq(ask("SELECT count(*) FROM alert_text"), 3);
    cr_assert_leq(searching_stats(s).taken, 2, "the third alert and its incident");
}

Test(search, an_outbox_that_forgot_too_much_means_all_anew)
{
    WIND_AUTO(search) struct search *s = searching_new();
    post(1, 4);
    (void)take_all(s);
    post(5, 6);
    run("DELETE FROM outbox WHERE seq <= (SELECT seq + 1 FROM search_state)");
    run("DELETE FROM alert_text");
    cr_assert_gt(take_all(s), 0);
    cr_assert_eq(ask("SELECT count(*) FROM alert_text"), 6);
}

Test(search, the_row_it_has_come_to_is_enough_to_go_on)
{
    WIND_AUTO(search) struct search *s = searching_new();
    post(1, 4);
    (void)take_all(s);
    post(5, 6);
    run("DELETE FROM outbox WHERE seq < (SELECT seq FROM search_state)");
    const uint64_t before = searching_stats(s).taken;
    (void)take_all(s);
    cr_assert_eq(ask("SELECT count(*) FROM alert_text"), 6);
    cr_assert_leq(searching_stats(s).taken - before, 3, "two alerts and their incident, not all");
}

Test(search, the_outbox_keeps_what_was_not_taken)
{
    WIND_AUTO(search) struct search *s = searching_new();
    char sql[160];

    post(1, 2);
    (void)take_all(s);
    post(3, 3);
    const int64_t at = ask("SELECT seq FROM search_state");
    (void)snprintf(sql, sizeof(sql), "UPDATE outbox SET seq = seq + %d WHERE seq > %lld",
                   2 * OUTBOX_KEEP, (long long)at);
    run(sql);
    if (temp_db_url[0] == '\0')
        run("UPDATE sqlite_sequence SET seq = 300000 WHERE name = 'outbox'");
    else
        run("ALTER TABLE outbox ALTER COLUMN seq RESTART WITH 300000");
    post(4, 4);
    cr_assert_eq(ask("SELECT min(seq) FROM outbox"), at);
    (void)take_all(s);
    post(5, 5);
    cr_assert_gt(ask("SELECT min(seq) FROM outbox"), at);
    (void)take_all(s);
    cr_assert_eq(ask("SELECT count(*) FROM alert_text"), 5);
}

/* Each alert changes an incident: of all these changes the last one is taken. */
Test(search, who_is_behind_takes_a_row_that_changes_again_once)
{
    WIND_AUTO(search) struct search *s = searching_new();
    const int n = 4 * SEARCH_BATCH; /* two rows of the outbox each */

    (void)take_all(s);
    post(1, n);
    const bool is_sqlite = temp_db_url[0] == '\0'; /* whose batches are a fifth of PostgreSQL's */
    cr_assert_geq(take_all(s), is_sqlite ? 8 : 2);
    cr_assert_eq(ask("SELECT count(*) FROM alert_text"), n);
    const int64_t incidents = ask("SELECT count(*) FROM incidents");
    cr_assert_lt(incidents, n / 10);
    cr_assert_eq(ask("SELECT count(*) FROM incident_text"), incidents);
    /* Those of the first batches change again in the next one. */
    cr_assert_eq((int64_t)searching_stats(s).taken,
                 is_sqlite ? n + 2 * incidents - 2 : n + incidents);
}

Test(search, what_was_deleted_is_not_found)
{
    WIND_AUTO(search) struct search *s = searching_new();

    post(1, 3);
    (void)take_all(s);
    run("DELETE FROM alert_entities WHERE alert_id = 2");
    run("DELETE FROM alerts WHERE id = 2");
    run("INSERT INTO outbox (topic, object_id, op, at) VALUES ('alerts', 2, 'deleted', 0)");
    (void)take_all(s);
    cr_assert_eq(ask("SELECT count(*) FROM alert_text"), 2);
    cr_assert_eq(ask("SELECT count(*) FROM alert_text WHERE rowid = 2"), 0);
}

/* Who has taken a span of what was before says so too late. */
Test(search, a_rebuild_that_is_asked_for_meanwhile_is_not_lost)
{
    WIND_AUTO(search) struct search *s = searching_new();
    struct search_state old, st;
    struct err e = {0};
    bool is_there, is_ours = true;

    (void)take_all(s);
    post(1, 3);
    struct db_tx *tx = NULL;
    cr_assert_eq(db_begin_read(temp_db, &tx, &e), 0);
    cr_assert_eq(search_state_load(tx, "text", &old, &is_there, &e), 0);
    tx = db_tx_free(tx);
    cr_assert_eq(search_rebuild(s, &e), 0, "%s", e.text);
    st = old;
    st.seq++;
    cr_assert_eq(db_begin_write(temp_db, &tx, &e), 0);
    cr_assert_eq(search_state_save(tx, "text", &old, &st, &is_ours, &e), 0, "%s", e.text);
    tx = db_tx_free(tx);
    cr_assert_not(is_ours);
    run("DELETE FROM alert_text");
    (void)take_all(s);
    cr_assert_eq(ask("SELECT count(*) FROM alert_text"), 3);
}

/* What others hold does not keep it waiting. */
Test(search, a_writer_at_work_does_not_stop_it)
{
    WIND_AUTO(search) struct search *s = searching_new();
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;
    struct err e = {0};

    if (temp_db_url[0] == '\0')
        cr_skip_test("PostgreSQL alone: SQLite has one writer");
    post(1, 3);
    (void)take_all(s);
    post(4, 5);
    cr_assert_eq(db_begin_write(temp_db, &tx, &e), 0);
    cr_assert_eq(db_run(tx, "UPDATE alerts SET score = 1", DB_NONE, NULL, &e), 0);
    cr_assert_eq(search_step(s, &e), 1, "%s", e.text);
    tx = db_tx_free(tx);
    cr_assert_eq(ask("SELECT count(*) FROM alert_text"), 5);
}

Test(search, a_rebuild_replaces_what_is_wrong)
{
    WIND_AUTO(search) struct search *s = searching_new();
    struct err e = {0};

    post(1, 3);
    (void)take_all(s);
    run("DELETE FROM alert_text");
    cr_assert_eq(take_all(s), 0);
    cr_assert_eq(search_rebuild(s, &e), 0);
    cr_assert_eq(searching_stats(s).rebuild_to - searching_stats(s).rebuild_at, 3 + 1);
    cr_assert_gt(take_all(s), 0);
    cr_assert_eq(ask("SELECT count(*) FROM alert_text"), 3);
    cr_assert_eq(searching_stats(s).rebuild_to, searching_stats(s).rebuild_at);
}

Test(search, what_retention_took_away_leaves_the_index)
{
    WIND_AUTO(search) struct search *s = searching_new();
    struct err e = {0};

    post(1, 5);
    (void)take_all(s);
    run("DELETE FROM alert_entities WHERE alert_id <= 3");
    run("DELETE FROM alerts WHERE id <= 3");
    cr_assert_eq(search_prune(s, &e), 0, "%s", e.text);
    cr_assert_eq(ask("SELECT count(*) FROM alert_text"), 2);
    cr_assert_eq(ask("SELECT min(rowid) FROM alert_text"), 4);
}

Test(search, an_alert_that_is_gone_is_taken_out)
{
    WIND_AUTO(search) struct search *s = searching_new();

    post(1, 3);
    (void)take_all(s);
    run("DELETE FROM alert_entities WHERE alert_id = 2");
    run("DELETE FROM alert_entities WHERE alert_id = 2");
    run("DELETE FROM alerts WHERE id = 2");
    run("INSERT INTO outbox (topic, object_id, op, at) VALUES ('alerts', 2, 'deleted', 1)");
    (void)take_all(s);
    cr_assert_eq(ask("SELECT count(*) FROM alert_text"), 2);
    cr_assert_eq(ask("SELECT count(*) FROM alert_text WHERE rowid = 2"), 0);
}

Test(search, another_kind_of_index_is_filled_anew_and_the_old_one_forgotten)
{
    WIND_AUTO(search) struct search *s = searching_new();

    post(1, 2);
    run("INSERT INTO search_state VALUES ('rest', '1.x', 0, 0, 0, 0, 0)");
    run("INSERT INTO search_state VALUES ('text', '0.old', 1, 0, 0, 0, 0)");
    (void)take_all(s);
    cr_assert_eq(ask("SELECT count(*) FROM search_state"), 1);
    cr_assert_eq(ask("SELECT count(*) FROM alert_text"), 2);
}
