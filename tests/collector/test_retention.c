#include "collector/retention.h"

#include "collector/outbox.h"
#include "collector/search.h"
#include "common/time.h"
#include "support/batch.h"

#define DAY (INT64_C(86400) * (int64_t)WIND_NS_PER_S)

TestSuite(retention, .init = batch_init, .fini = batch_fini);

static void change(const char *sql)
{
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;
    struct err e = {0};

    cr_assert_eq(db_begin_write(temp_db, &tx, &e), 0);
    cr_assert_eq(db_run(tx, sql, DB_NONE, NULL, &e), 0, "%s: %s", sql, e.text);
    cr_assert_eq(db_commit(&tx, &e), 0);
}

/* One alert of an attacker of its own, so of an incident of its own, `days` ago. */
static void alert(int n, int days)
{
    char attacker[32], victim[32], sql[256];

    (void)snprintf(attacker, sizeof(attacker), "10.%d.%d.1", n / 250, n % 250);
    (void)snprintf(victim, sizeof(victim), "10.%d.%d.2", n / 250, n % 250);
    batch_post(&(struct batch_alert){.n = n, .attacker = attacker, .victim = victim}, 1);
    const long long then = (long long)((int64_t)time_wall_ns() - days * DAY);
    (void)snprintf(sql, sizeof(sql),
                   "UPDATE alerts SET created_at = %lld WHERE id = (SELECT max(id) FROM alerts)",
                   then);
    change(sql);
    (void)snprintf(
        sql, sizeof(sql),
        "UPDATE incidents SET updated_at = %lld WHERE id = (SELECT max(id) FROM incidents)", then);
    change(sql);
}

static struct retention_conf conf_of(int days)
{
    return (struct retention_conf){.db = temp_db,
                                   .alerts_ns = days * DAY,
                                   .incidents_ns = days * DAY,
                                   .sensors_ns = days * DAY,
                                   .interval_ns = DAY,
                                   .percent = {0, 85, 90, 95}};
}

static int64_t deleted[RETENTION_TABLES_N];

static void run(const struct retention_conf *conf)
{
    struct retention *r = NULL;
    struct err e = {0};

    cr_assert_eq(retention_new(&r, conf, &e), 0, "%s", e.text);
    cr_assert_eq(retention_run(r, deleted, &e), 0, "%s", e.text);
    retention_free(r);
}

static int64_t rows(const char *table)
{
    char sql[64];
    (void)snprintf(sql, sizeof(sql), "SELECT count(*) FROM %s", table);
    return ask(sql);
}

/* The texts of a column, the smallest first, with commas. */
static const char *all(const char *sql)
{
    static char text[256];
    struct buf b = BUF_FIXED(text);
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;
    struct err e = {0};

    cr_assert_eq(db_begin_read(temp_db, &tx, &e), 0);
    cr_assert_eq(db_query(tx, sql, DB_NONE, &s, &e), 0, "%s", e.text);
    while (db_step(s, &e) == DB_ROW)
        buf_printf(&b, "%s%s", b.len > 0 ? "," : "", db_text(s, 0));
    return buf_text(&b);
}
#define IDS(table) all("SELECT CAST(id AS TEXT) FROM " table " ORDER BY id")

static void resolve_all(void)
{
    change("UPDATE incidents SET status = 'resolved'");
}

Test(retention, what_is_old_goes_with_all_that_hangs_on_it)
{
    alert(1, 400);
    alert(2, 10);
    resolve_all();
    change("INSERT INTO tags VALUES ('alerts', 1, 'a'), ('alerts', 2, 'b'), ('incidents', 1, 'c')");
    change("INSERT INTO history (topic, object_id, at, actor, field) VALUES "
           "('alerts', 1, 1, 'x', 'status'), ('incidents', 1, 1, 'x', 'status'), "
           "('incidents', 2, 1, 'x', 'status')");
    change("INSERT INTO comments (incident_id, author, text, created_at) VALUES (1, 'x', 'y', 1)");
    const int64_t seq = ask("SELECT max(seq) FROM outbox");
    const struct retention_conf conf = conf_of(365);
    run(&conf);

    cr_assert_eq(rows("alerts"), 1);
    cr_assert_eq(ask("SELECT id FROM alerts"), 2);
    cr_assert_eq(rows("incidents"), 1);
    cr_assert_eq(rows("alert_entities"), 2);
    cr_assert_eq(rows("entities"), 2, "whom nobody speaks of any more");
    cr_assert_eq(rows("incident_entities"), 2);
    cr_assert_eq(rows("tags"), 1);
    cr_assert_eq(rows("history"), 1);
    cr_assert_eq(rows("comments"), 0);
    cr_assert_eq(deleted[RETENTION_alerts], 1);
    cr_assert_eq(deleted[RETENTION_alert_entities], 2);
    cr_assert_eq(deleted[RETENTION_incidents], 1);
    cr_assert_eq(deleted[RETENTION_incident_entities], 2);
    cr_assert_eq(deleted[RETENTION_tags], 2);
    cr_assert_eq(deleted[RETENTION_history], 2);
    cr_assert_eq(deleted[RETENTION_comments], 1);
    cr_assert_eq(deleted[RETENTION_entities], 2);
    cr_assert_gt(ask("SELECT max(seq) FROM outbox"), seq, "kept answers see it");
    cr_assert_eq(ask("SELECT count(*) FROM outbox WHERE op = 'deleted' AND object_id = 1"), 2);
}

Test(retention, what_somebody_works_on_stays)
{
    for (int n = 1; n <= 6; n++)
        alert(n, 400);
    resolve_all();
    change("UPDATE alerts SET assigned_to = 'ann' WHERE id = 1");
    change("UPDATE alerts SET assigned_to = 'ann', status = 'closed' WHERE id = 2");
    change("UPDATE incidents SET status = 'investigating' WHERE id = 3");
    change("UPDATE incidents SET status = 'open' WHERE id = 4");
    change("UPDATE incidents SET status = 'open', assigned_to = 'ann' WHERE id = 5");
    change("UPDATE alerts SET incident_id = NULL WHERE id = 6");
    struct retention_conf conf = conf_of(365);
    run(&conf);
    cr_assert_str_eq(IDS("alerts"), "1,3,4,5");
    cr_assert_str_eq(IDS("incidents"), "1,3,4,5");

    conf.open_ns = 500 * DAY;
    run(&conf);
    cr_assert_eq(rows("alerts"), 4, "not that old");
    conf.open_ns = 390 * DAY;
    run(&conf);
    cr_assert_str_eq(IDS("alerts"), "1,5", "nobody's are gone");
    cr_assert_str_eq(IDS("incidents"), "1,5");
}

Test(retention, without_a_limit_nothing_goes)
{
    alert(1, 40000);
    resolve_all();
    const struct retention_conf conf = conf_of(0);
    run(&conf);
    cr_assert_eq(rows("alerts"), 1);
    cr_assert_eq(rows("incidents"), 1);
    cr_assert_eq(rows("sensors"), 1);
}

Test(retention, an_incident_that_loses_some_alerts_says_so)
{
    const struct batch_alert two[] = {{.n = 1}, {.n = 2, .at_s = 60}};
    batch_post(two, 2);
    resolve_all();
    change("UPDATE alerts SET created_at = 1 WHERE id = 1");
    cr_assert_eq(ask("SELECT alert_count FROM incidents"), 2);
    const int64_t version = ask("SELECT version FROM incidents");
    const struct retention_conf conf = conf_of(365);
    run(&conf);
    cr_assert_eq(ask("SELECT alert_count FROM incidents"), 1);
    cr_assert_gt(ask("SELECT version FROM incidents"), version, "its ETag");
    cr_assert_eq(ask("SELECT count(*) FROM outbox WHERE topic = 'incidents' AND seq > "
                     "(SELECT max(seq) FROM outbox WHERE op = 'deleted')"),
                 1);
}

Test(retention, the_text_index_forgets_it_too)
{
    struct search *s = NULL;
    struct err e = {0};
    const struct search_conf search = {.db = temp_db};
    alert(1, 400);
    alert(2, 1);
    resolve_all();
    cr_assert_eq(search_new(&s, &search, &e), 0);
    while (search_step(s, &e) == 1)
        ;
    cr_assert_eq(rows("alert_text"), 2);
    const struct retention_conf conf = conf_of(365);
    run(&conf);
    while (search_step(s, &e) == 1)
        ;
    cr_assert_eq(rows("alert_text"), 1);
    cr_assert_eq(rows("incident_text"), 1);
    search_free(s);
}

Test(retention, listeners_are_not_told_of_what_is_gone_and_miss_nothing)
{
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;
    struct outbox_batch batch;
    struct err e = {0};

    alert(1, 400);
    resolve_all();
    const struct retention_conf conf = conf_of(365);
    run(&conf);
    alert(2, 1);
    cr_assert_eq(db_begin_read(temp_db, &tx, &e), 0);
    cr_assert_eq(outbox_read(tx, 0, &batch, &e), 0, "%s", e.text);
    cr_assert_eq(batch.n, 2, "the second alert and its incident");
    outbox_done(&batch);
}

Test(retention, what_only_has_a_time)
{
    alert(1, 1);
    change("UPDATE sensors SET last_seen = 1");
    change("INSERT INTO users (id, username, role, password_hash, created_ns, updated_ns) VALUES "
           "(1, 'a', 'admin', 'x', 1, 1)");
    change("INSERT INTO sessions VALUES ('old', 1, 'j', 1, 1, 1, 0), "
           "('new', 1, 'k', 1, 1, 9000000000000000000, 0)");
    change("INSERT INTO revoked_tokens VALUES ('old', 1), ('new', 9000000000000000000)");
    change("INSERT INTO replays (key_hash, body_hash, status, created_ns) SELECT uid, uid, 200, 1 "
           "FROM alerts");
    change("INSERT INTO replays (key_hash, body_hash, status, created_ns) SELECT uid, uid, 200, "
           "9000000000000000000 FROM incidents");
    change("INSERT INTO bus_sequences (sensor, topic, run, first, next, blocks, used_at) "
           "SELECT 's', 'alerts', 'old', 1, 1, uid, 1 FROM alerts");
    change("INSERT INTO bus_sequences (sensor, topic, run, first, next, blocks, used_at) "
           "SELECT 's', 'alerts', 'new', 1, 1, uid, 9000000000000000000 FROM alerts");
    const struct retention_conf conf = conf_of(90);
    run(&conf);
    cr_assert_eq(rows("sensors"), 0);
    cr_assert_str_eq(all("SELECT sid FROM sessions"), "new");
    cr_assert_str_eq(all("SELECT jti FROM revoked_tokens"), "new");
    cr_assert_eq(rows("replays"), 1);
    cr_assert_str_eq(all("SELECT run FROM bus_sequences"), "new");
    cr_assert_eq(rows("users"), 1);
    const int tables[] = {RETENTION_sensors, RETENTION_sessions, RETENTION_revoked_tokens,
                          RETENTION_replays, RETENTION_bus_sequences};
    for (size_t i = 0; i < WIND_ARRAY_SIZE(tables); i++)
        cr_assert_eq(deleted[tables[i]], 1, "%s", retention_table_words[tables[i]]);
}

/* ---------------------------------------------------------------- size */

static int64_t used(void)
{
    return ask("SELECT (p.page_count - f.freelist_count) * z.page_size FROM pragma_page_count() p, "
               "pragma_freelist_count() f, pragma_page_size() z");
}

#define MANY 3000

static bool is_server(void)
{
    return temp_db_url[0] != '\0';
}

/* MANY alerts of today, of one resolved incident, without a batch for each. */
static void fill(void)
{
    char sql[1024];

    alert(1, 0);
    resolve_all();
    if (is_server()) {
        (void)snprintf(
            sql, sizeof(sql),
            "INSERT INTO alerts (id, uid, rev, detected_at, severity, type, source, description, "
            "first_seen, last_seen, incident_id, created_at, updated_at) SELECT "
            "wind_reserve('alerts_id_seq', 1), decode(md5(CAST(i AS TEXT)), 'hex'), 1, i, 1, 't', "
            "'s', 'd', i, i, 1, %lld, 1 FROM generate_series(2, %d) AS n(i)",
            (long long)time_wall_ns() - 1000000000, MANY);
        change(sql);
        return;
    }
    (void)snprintf(
        sql, sizeof(sql),
        "INSERT INTO alerts (uid, rev, detected_at, severity, type, source, description, "
        "first_seen, "
        "last_seen, metadata, incident_id, created_at, updated_at) "
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d) "
        "SELECT randomblob(16), 1, i, 1, 't', 's', 'd', i, i, hex(randomblob(300)), 1, %lld, 1 "
        "FROM n",
        MANY - 1, (long long)time_wall_ns() - 1000000000);
    change(sql);
}

Test(retention, beyond_the_size_the_oldest_go_until_it_fits)
{
    if (is_server())
        cr_skip_test("a server gives room back a table at a time");
    fill();
    const int64_t before = used();
    struct retention_conf conf = conf_of(0);
    conf.size = before + 1;
    run(&conf);
    cr_assert_eq(rows("alerts"), MANY, "it fits");
    conf.size = before * 2 / 3;
    run(&conf);
    cr_assert_leq(used(), conf.size);
    cr_assert_geq(used(), conf.size * 3 / 4, "not more than needed");
    cr_assert_geq(rows("alerts"), MANY / 4);
    cr_assert_eq(ask("SELECT max(id) - min(id) + 1 = count(*) AND max(id) >= 3000 FROM alerts"), 1,
                 "the newest stay");
    cr_assert_eq(deleted[RETENTION_alerts], MANY - rows("alerts"));
}

Test(retention, by_size_open_ones_go_after_the_others_and_assigned_ones_last)
{
    if (is_server())
        cr_skip_test("a server gives room back a table at a time");
    fill();
    change("INSERT INTO incidents SELECT 2, x'00000000000000000000000000000002', title, '', type, "
           "'open', 1, 1, 1, 'wind', NULL, 1, 1, 0, 1, 0 FROM incidents WHERE id = 1");
    change("UPDATE alerts SET incident_id = 2 WHERE id <= 1000");
    change("UPDATE alerts SET assigned_to = 'ann' WHERE id > 1000 AND id <= 1500");
    struct retention_conf conf = conf_of(0);
    conf.size = used() * 3 / 4;
    run(&conf);
    cr_assert_eq(ask("SELECT count(*) FROM alerts WHERE id <= 1500"), 1500);
    cr_assert_lt(rows("alerts"), MANY);

    conf.size = used() * 4 / 5;
    run(&conf);
    cr_assert_eq(ask("SELECT count(*) FROM alerts WHERE id > 1500"), 0);
    cr_assert_eq(ask("SELECT count(*) FROM alerts WHERE assigned_to = 'ann'"), 500);
    cr_assert_lt(ask("SELECT count(*) FROM alerts WHERE incident_id = 2"), 1000);

    conf.size = 1;
    run(&conf);
    cr_assert_eq(rows("alerts"), 0);
    cr_assert_eq(rows("incidents"), 0, "those that Wind made");
}

/* ---------------------------------------------------------------- partitions */

static bool has_table(const char *name)
{
    char sql[128];
    (void)snprintf(sql, sizeof(sql), "SELECT count(*) FROM pg_class WHERE relname = '%s'", name);
    return ask(sql) == 1;
}

/* Alerts 1 and 2 a million ids from the next, and that as far from the last. */
static void three_parts(void)
{
    alert(1, 400);
    alert(2, 400);
    change("SELECT wind_reserve('alerts_id_seq', 1000000)");
    alert(3, 300);
    change("SELECT wind_reserve('alerts_id_seq', 3000000)");
    alert(4, 1);
}

Test(retention, a_table_that_is_empty_goes_and_the_one_that_is_filled_stays)
{
    if (!is_server())
        cr_skip_test("SQLite has one table");
    three_parts();
    const struct retention_conf conf = conf_of(365);
    run(&conf);
    cr_assert(has_table("alerts_0"), "its alerts are of open incidents");
    cr_assert_not(has_table("alerts_2"), "nothing was ever in it");
    resolve_all();
    run(&conf);
    cr_assert_not(has_table("alerts_0"));
    cr_assert_not(has_table("alert_entities_0"));
    cr_assert(has_table("alerts_1"));
    cr_assert(has_table("alerts_4"));
    cr_assert_eq(rows("alerts"), 2);
    cr_assert_eq(rows("alert_uids"), 2);
    alert(5, 1);
    cr_assert_eq(rows("alerts"), 3);
}

Test(retention, by_size_a_server_loses_the_oldest_tables)
{
    if (!is_server())
        cr_skip_test("SQLite has one table");
    three_parts();
    struct retention_conf conf = conf_of(0);
    conf.size = ask("SELECT pg_database_size(current_database())") + 1000000;
    run(&conf);
    cr_assert_eq(rows("alerts"), 4);
    conf.size = 1;
    run(&conf);
    cr_assert_eq(rows("alerts"), 1, "the one that is being filled");
    cr_assert_not(has_table("alerts_0") || has_table("alerts_1"));
    cr_assert_eq(rows("incidents"), 1);
}

Test(retention, a_long_reader_delays_it_and_is_not_disturbed)
{
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;
    struct retention *r = NULL;
    struct err e = {0};
    const struct retention_conf conf = conf_of(365);

    if (!is_server())
        cr_skip_test("SQLite has one table");
    three_parts();
    resolve_all();
    cr_assert_eq(db_begin_read(temp_db, &tx, &e), 0);
    cr_assert_eq(db_query_row(tx, "SELECT count(*) FROM alerts", DB_NONE, &s, &e), DB_ROW);
    cr_assert_eq(retention_new(&r, &conf, &e), 0);
    cr_assert_eq(retention_run(r, deleted, &e), 0, "%s", e.text);
    cr_assert_eq(deleted[RETENTION_alerts], 2);
    cr_assert(has_table("alerts_0"));
    s = db_stmt_free(s);
    tx = db_tx_free(tx);
    cr_assert_eq(retention_run(r, deleted, &e), 0, "%s", e.text);
    cr_assert_not(has_table("alerts_0"));
    retention_free(r);
}

/* ---------------------------------------------------------------- while others write */

Test(retention, a_pass_can_be_stopped_and_others_write_meanwhile)
{
    struct retention *r = NULL;
    struct err e = {0};
    struct retention_conf conf = conf_of(365);

    fill();
    change("UPDATE alerts SET created_at = 1");
    conf.interval_ns = 1;
    cr_assert_eq(retention_new(&r, &conf, &e), 0);
    cr_assert_eq(retention_start(r, &e), 0);
    for (int n = 2; ask("SELECT count(*) FROM alerts WHERE created_at = 1") > 0 && n < 2000; n++) {
        batch_post(&(struct batch_alert){.n = n, .rev = n, .attacker = "10.9.9.9"}, 1);
        (void)usleep(5000);
    }
    retention_stop(r);
    cr_assert_eq(ask("SELECT count(*) FROM alerts WHERE created_at = 1"), 0);
    retention_free(r);
}
