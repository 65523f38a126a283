#include <errno.h>
#include <pthread.h>

#include "collector/outbox.h"
#include "support/batch.h"
#include "support/shown.h"

TestSuite(ingest, .init = batch_init, .fini = batch_fini);

static struct ingest_result post_one(const struct batch_alert *a)
{
    json_t *items = json_array();

    (void)json_array_append_new(items, batch_item(a));
    struct ingest_result res = batch_post_json(items);
    const struct ingest_result copy = res;
    ingest_result_done(&res);
    return copy; /* its numbers */
}

Test(ingest, an_alert_is_stored_once_however_often_it_comes)
{
    const struct batch_alert a = {.n = 1};

    cr_assert_eq(post_one(&a).n[INGEST_STORED], 1);
    cr_assert_eq(post_one(&a).n[INGEST_KNOWN], 1);
    batch_reopen(1000);
    cr_assert_eq(post_one(&a).n[INGEST_KNOWN], 1);
    cr_assert_eq(ask("SELECT count(*) FROM alerts"), 1);
    cr_assert_eq(ask("SELECT alert_count FROM incidents"), 1);
}

Test(ingest, twice_in_one_batch_is_once)
{
    const struct batch_alert a = {.n = 1};
    json_t *items = json_array();

    (void)json_array_append_new(items, batch_item(&a));
    (void)json_array_append_new(items, batch_item(&a));
    struct ingest_result res = batch_post_json(items);
    cr_assert_eq(res.n[INGEST_STORED], 1);
    cr_assert_eq(res.n[INGEST_KNOWN], 1);
    ingest_result_done(&res);
}

Test(ingest, only_a_higher_rev_updates)
{
    cr_assert_eq(
        post_one(&(struct batch_alert){.n = 1, .rev = 3, .severity = "medium"}).n[INGEST_STORED],
        1);
    cr_assert_eq(
        post_one(&(struct batch_alert){.n = 1, .rev = 2, .severity = "low"}).n[INGEST_KNOWN], 1);
    cr_assert_eq(ask("SELECT severity FROM alerts"), 2);
    cr_assert_eq(
        post_one(&(struct batch_alert){.n = 1, .rev = 4, .severity = "critical"}).n[INGEST_UPDATED],
        1);
    cr_assert_eq(ask("SELECT severity FROM alerts"), 4);
    cr_assert_eq(ask("SELECT severity FROM incidents"), 4);
    cr_assert_eq(ask("SELECT rev FROM alerts"), 4);
}

Test(ingest, an_update_never_touches_what_people_set)
{
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;
    struct err e = {0};
    int64_t incident = 0;
    json_t *patch =
        json_pack("{s:s, s:s, s:s, s:s, s:[s]}", "status", "closed", "verdict", "false_positive",
                  "assigned_to", "ann", "severity", "low", "tags", "noise");

    (void)post_one(&(struct batch_alert){.n = 1});
    cr_assert_eq(db_begin_write(temp_db, &tx, &e), 0);
    cr_assert_eq(alert_change(tx, 1, patch, "ann", &incident, &e), 0, "%s", e.text);
    cr_assert_eq(db_commit(&tx, &e), 0);
    json_decref(patch);
    cr_assert_eq(incident, 1);
    cr_assert_eq(
        post_one(&(struct batch_alert){.n = 1, .rev = 2, .severity = "critical"}).n[INGEST_UPDATED],
        1);
    cr_assert_str_eq(ask_text("SELECT status || ' ' || verdict || ' ' || assigned_to || ' ' || "
                              "severity || ' ' || (SELECT tag FROM tags) FROM alerts"),
                     "closed false_positive ann 1 noise");
    cr_assert_eq(ask("SELECT count(*) FROM history WHERE actor = 'ann'"), 4);
}

/* Each row: where a right alert is broken (object, then key), with what, and what is said. */
static const struct {
    const char *object, *key, *value, *said;
} bad[] = {
    {"wind", "uid", "\"7\"", "wind.uid"},
    {"wind", "uid", "7", "wind.uid"},
    {"wind", "rev", "0", "wind.rev"},
    {"wind", "rev", "\"1\"", "wind.rev"},
    {"wind", "rev", "4294967296", "wind.rev"},
    {"wind", "score", "1.5", "wind.score"},
    {"wind", "score", "\"high\"", "wind.score"},
    {"wind", "severity", "\"terrible\"", "wind.severity"},
    {"wind", "detector", "\"\"", "detector"},
    {"wind", "detector", "[]", "detector"},
    {"wind", "first_seen", "\"yesterday\"", "first_seen"},
    {"wind", "first_seen", "\"2027-01-01T00:00:00Z\"", "first_seen is after"},
    {"wind", "last_seen", "5", "last_seen"},
    {"wind", "entities", "{}", "entities"},
    {"wind", "entities", "[{\"kind\": \"planet\"}]", "kind"},
    {"wind", "entities", "[{\"kind\":\"host\",\"value\":\"x\",\"role\":\"king\"}]", "role"},
    {"wind", "entities", "[{\"kind\":\"host\",\"value\":\"\",\"role\":\"victim\"}]", "value"},
    {"wind", "entities", "[7]", "kind"},
    {"alert", "signature", "null", "signature"},
    {NULL, "alert", "[]", "signature"},
    {NULL, "wind", "1", "wind"},
    {NULL, "timestamp", "\"2026-13-01T00:00:00Z\"", "timestamp"},
    {NULL, "timestamp", "null", "timestamp"},
    {NULL, "src_ip", "\"10.0.0.256\"", "src_ip"},
    {NULL, "dest_ip", "null", "dest_ip"},
    {NULL, "dest_port", "70000", "dest_port"},
    {NULL, "src_port", "-1", "src_port"},
};

Test(ingest, each_bad_alert_is_rejected_alone_with_a_reason)
{
    json_t *items = json_array();

    for (size_t i = 0; i < WIND_ARRAY_SIZE(bad); i++) {
        json_t *item = batch_item(&(struct batch_alert){.n = (int)i});
        json_t *o = bad[i].object ? json_object_get(item, bad[i].object) : item;
        (void)json_object_set_new(o, bad[i].key, json_loads(bad[i].value, JSON_DECODE_ANY, NULL));
        (void)json_array_append_new(items, item);
    }
    (void)json_array_append_new(items, json_integer(7));
    (void)json_array_append_new(items, batch_item(&(struct batch_alert){.n = 999}));

    struct ingest_result res = batch_post_json(items);
    cr_assert_eq(res.n[INGEST_STORED], 1);
    cr_assert_eq(res.n[INGEST_REJECTED], WIND_ARRAY_SIZE(bad) + 1);
    for (size_t i = 0; i < WIND_ARRAY_SIZE(bad); i++) {
        cr_assert_eq(res.outcomes[i].state, INGEST_REJECTED);
        const char *reason = res.outcomes[i].reason;
        cr_assert_not_null(strstr(reason, bad[i].said), "%zu: %s", i, reason);
    }
    ingest_result_done(&res);
    cr_assert_eq(ask("SELECT count(*) FROM alerts"), 1);
    cr_assert_eq(ask("SELECT rejected FROM sensors"), (int64_t)WIND_ARRAY_SIZE(bad) + 1);
}

Test(ingest, too_long_texts_and_lists_are_rejected)
{
    static char text[DESCRIPTION_MAX + 2];
    json_t *items = json_array();
    json_t *item = batch_item(&(struct batch_alert){.n = 1});

    memset(text, 'x', DESCRIPTION_MAX + 1);
    (void)json_object_set_new(json_object_get(item, "alert"), "signature", json_string(text));
    (void)json_array_append_new(items, item);

    item = batch_item(&(struct batch_alert){.n = 2});
    json_t *explain = json_object_get(json_object_get(item, "wind"), "explain");
    for (int i = 0; i < ALERT_METADATA_MAX / 2; i++)
        (void)json_array_append_new(explain, json_integer(1));
    (void)json_array_append_new(items, item);

    item = batch_item(&(struct batch_alert){.n = 3});
    json_t *entities = json_object_get(json_object_get(item, "wind"), "entities");
    for (int i = 0; i < ENTITIES_MAX; i++)
        (void)json_array_append(entities, json_array_get(entities, 0));
    (void)json_array_append_new(items, item);

    struct ingest_result res = batch_post_json(items);
    cr_assert_eq(res.n[INGEST_REJECTED], 3);
    ingest_result_done(&res);
}

Test(ingest, the_api_shows_every_field_that_the_sensor_sent)
{
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;
    struct err e = {0};

    (void)post_one(&(struct batch_alert){.n = 1, .at_s = 3661});
    cr_assert_eq(db_begin_read(temp_db, &tx, &e), 0);
    json_t *a = shown_alert(tx, 1);
    const char *uid, *detected, *severity, *type, *source, *status, *ip, *role;
    int port, count;
    json_int_t incident;
    json_error_t why;
    cr_assert_eq(json_unpack_ex(a, &why, 0,
                                "{s:s, s:s, s:s, s:s, s:s, s:s, s:n, s:n, s:I, s:[], "
                                "s:{s:i, s:{s:s, s:i}}, s:[{s:s}, {}]}",
                                "uid", &uid, "detected_at", &detected, "severity", &severity,
                                "type", &type, "source", &source, "status", &status, "verdict",
                                "assigned_to", "incident_id", &incident, "related_alerts",
                                "metadata", "count", &count, "flow", "src_ip", &ip, "dest_port",
                                &port, "related_entities", "role", &role),
                 0, "%s", why.text);
    cr_assert_str_eq(uid, "0198f2c4-7a31-7c5e-9d2b-000000000001");
    cr_assert_str_eq(detected, "2026-01-02T01:01:01.000000Z");
    cr_assert_str_eq(severity, "high");
    cr_assert_str_eq(type, "port_scan");
    cr_assert_str_eq(source, "lab");
    cr_assert_str_eq(status, "new");
    cr_assert_str_eq(ip, "10.9.0.66");
    cr_assert_str_eq(role, "attacker");
    cr_assert_eq(port, 22);
    cr_assert_eq(count, 1000);
    cr_assert_eq(incident, 1);
    json_decref(a);
    cr_assert_eq(alert_show(tx, 2, NULL, &e), STORE_ABSENT);
}

static void *post_the_same(void *arg)
{
    (void)arg;
    for (int i = 0; i < 40; i++) {
        const struct ingest_result res = post_one(&(struct batch_alert){.n = i});
        cr_assert_eq(res.n[INGEST_STORED] + res.n[INGEST_KNOWN], 1);
    }
    return NULL;
}

Test(ingest, the_same_batches_from_several_threads_are_stored_once)
{
    pthread_t threads[4];

    for (size_t i = 0; i < 4; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, post_the_same, NULL), 0);
    for (size_t i = 0; i < 4; i++)
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
    cr_assert_eq(ask("SELECT count(*) FROM alerts"), 40);
    cr_assert_eq(ask("SELECT count(*) FROM outbox WHERE topic = 'alerts'"), 40);
    cr_assert_eq(ask("SELECT alerts FROM sensors"), 40);
    cr_assert_eq(ask("SELECT sum(alert_count) FROM incidents"), 40);
}

Test(ingest, an_empty_batch_is_a_heartbeat)
{
    struct ingest_result res = batch_post_json(json_array());

    ingest_result_done(&res);
    cr_assert_eq(ask("SELECT last_seen > 0 FROM sensors WHERE name = 'lab'"), 1);
}

/* ---------------------------------------------------------------- outbox */

Test(ingest, listeners_read_every_change_in_order_and_each_object_once)
{
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;
    struct outbox_batch b;
    struct err e = {0};
    int64_t last = -1;

    for (int i = 0; i < 3; i++)
        (void)post_one(&(struct batch_alert){.n = i});
    (void)post_one(&(struct batch_alert){.n = 0, .rev = 2});

    cr_assert_eq(db_begin_read(temp_db, &tx, &e), 0);
    cr_assert_eq(outbox_last(tx, &last, &e), 0);
    cr_assert_eq(outbox_read(tx, 0, &b, &e), 0, "%s", e.text);
    cr_assert_eq(b.seq, last);
    cr_assert_eq(b.n, 4); /* three alerts, one incident */
    for (size_t i = 0; i < b.n; i++) {
        cr_assert(b.items[i].is_new);
        cr_assert(i == 0 || b.items[i].seq > b.items[i - 1].seq);
    }
    outbox_done(&b);

    cr_assert_eq(outbox_read(tx, last - 1, &b, &e), 0);
    cr_assert_eq(b.n, 1);
    cr_assert_eq(b.items[0].topic, TOPIC_INCIDENTS);
    cr_assert_not(b.items[0].is_new);
    outbox_done(&b);

    cr_assert_eq(outbox_read(tx, last, &b, &e), 0);
    cr_assert_eq(b.n, 0);
    cr_assert_eq(outbox_read(tx, last + 1, &b, &e), OUTBOX_GAP);
}

Test(ingest, a_listener_that_comes_too_late_is_told_so)
{
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;
    struct outbox_batch b;
    struct err e = {0};

    (void)post_one(&(struct batch_alert){.n = 1});
    cr_assert_eq(db_begin_write(temp_db, &tx, &e), 0);
    cr_assert_eq(
        db_run(tx, "UPDATE outbox SET seq = seq + $1", DB_ARGS(db_int(2 * OUTBOX_KEEP)), NULL, &e),
        0);
    cr_assert_eq(db_run(tx, "UPDATE outbox SET seq = 5 WHERE seq = $1",
                        DB_ARGS(db_int(2 * OUTBOX_KEEP + 1)), NULL, &e),
                 0);
    if (db_engine(tx) == DB_POSTGRES)
        cr_assert_eq(
            db_run(tx, "SELECT setval('outbox_seq_seq', max(seq)) FROM outbox", DB_NONE, NULL, &e),
            0);
    cr_assert_eq(outbox_add(tx, TOPIC_ALERTS, 1, false, &e), 0);
    cr_assert_eq(outbox_read(tx, 5, &b, &e), OUTBOX_GAP);
    cr_assert_eq(outbox_read(tx, 2 * OUTBOX_KEEP + 1, &b, &e), 0);
    cr_assert_eq(b.n, 2);
    outbox_done(&b);
}

/* Posts one alert of which `name` of `wind` (or of the item) is `value`. */
static struct ingest_result post_with(int n, const char *part, const char *name, json_t *takes)
{
    json_t *items = json_array(), *item = batch_item(&(struct batch_alert){.n = n});

    (void)json_object_set_new(part == NULL ? item : json_object_get(item, part), name, takes);
    (void)json_array_append_new(items, item);
    return batch_post_json(items);
}

/* How many alerts do not show the entities that they are joined with. */
static const char differing[] =
    "SELECT count(*) FROM alerts WHERE entities <> (SELECT json_group_array(json_object('kind', "
    "k, 'value', v, 'role', r)) FROM (SELECT en.kind k, en.value v, ae.role r FROM "
    "alert_entities ae JOIN entities en ON en.id = ae.entity_id WHERE ae.alert_id = alerts.id "
    "ORDER BY ae.pos))";

static void change(const char *sql)
{
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;
    struct err e = {0};

    cr_assert_eq(db_begin_write(temp_db, &tx, &e), 0);
    cr_assert_eq(db_run(tx, sql, DB_NONE, NULL, &e), 0, "%s", e.text);
    cr_assert_eq(db_commit(&tx, &e), 0);
}

Test(ingest, an_alert_carries_its_entities_also_when_it_comes_from_an_older_schema)
{
    if (temp_db_url[0] != '\0')
        cr_skip_test("SQLite alone has such schemas");
    json_t *odd = json_pack("[{s:s,s:s,s:s}]", "kind", "user", "value", "say \"hi\"\\ \xc3\xa9\n",
                            "role", "victim");
    struct ingest_result res = post_with(1, "wind", "entities", odd);
    cr_assert_eq(res.n[INGEST_STORED], 1);
    ingest_result_done(&res);
    (void)post_one(&(struct batch_alert){.n = 2});
    (void)post_one(&(struct batch_alert){.n = 2, .rev = 2, .victim = "10.9.0.7"});
    cr_assert_eq(ask(differing), 0);
    cr_assert_str_eq(ask_text("SELECT entities FROM alerts WHERE id = 2"),
                     "[{\"kind\":\"host\",\"value\":\"10.9.0.66\",\"role\":\"attacker\"},"
                     "{\"kind\":\"host\",\"value\":\"10.9.0.7\",\"role\":\"victim\"}]");

    change("ALTER TABLE alerts DROP COLUMN entities");
    change("DELETE FROM schema_migrations WHERE name = '0005_alert_entities'");
    batch_reopen(1000);
    cr_assert_eq(ask("SELECT count(*) FROM alerts WHERE entities = '[]'"), 0);
    cr_assert_eq(ask(differing), 0);
}

Test(ingest, tags_of_before_are_still_shown_after_the_migration)
{
    json_t *tags = json_pack("[s,s]", "vip", "lab");
    struct err e = {0};

    (void)post_one(&(struct batch_alert){.n = 1});
    struct db_tx *tx = NULL;
    cr_assert_eq(db_begin_write(temp_db, &tx, &e), 0);
    cr_assert_eq(store_tags_set(tx, TOPIC_ALERTS, 1, tags, &e), 0);
    cr_assert_eq(db_commit(&tx, &e), 0);
    change("UPDATE alerts SET kept = 0");
    change("DELETE FROM schema_migrations WHERE name = '0007_tagged'");
    batch_reopen(1000);
    cr_assert_eq(db_begin_read(temp_db, &tx, &e), 0);
    json_t *o = shown_alert(tx, 1);
    cr_assert_eq(json_array_size(json_object_get(o, "tags")), 2);
    json_decref(o);
    json_decref(tags);
    tx = db_tx_free(tx);
}

Test(ingest, times_at_the_end_of_all_times_are_rejected_before_they_are_added_to)
{
    static const char *const late[] = {"2262-04-11T23:47:16Z", "2500-01-01T00:00:00Z"};

    for (size_t i = 0; i < WIND_ARRAY_SIZE(late); i++) {
        struct ingest_result res = post_with(1, "wind", "last_seen", json_string(late[i]));
        cr_assert_eq(res.n[INGEST_STORED], 0);
        cr_assert_eq(res.n[INGEST_REJECTED], 1);
        ingest_result_done(&res);
    }
    struct ingest_result res =
        post_with(1, "wind", "last_seen", json_string("2261-12-31T23:59:59Z"));
    cr_assert_eq(res.n[INGEST_STORED], 1);
    ingest_result_done(&res);
}

Test(ingest, a_title_that_had_to_be_cut_ends_with_a_whole_character)
{
    char text[DESCRIPTION_MAX + 1] = "a";

    for (size_t i = 1; i + 2 < 1000; i += 2)
        memcpy(text + i, "\xc3\xa9", 3);
    struct ingest_result res = post_with(1, "alert", "signature", json_string(text));
    cr_assert_eq(res.n[INGEST_STORED], 1);
    ingest_result_done(&res);
    json_t *title = json_string(ask_text("SELECT title FROM incidents"));
    cr_assert_eq(json_string_length(title), TITLE_MAX - 1);
    json_decref(title);

    text[81] = '\0'; /* a name that does not fit in a title whole */
    for (int n = 2; n < 4; n++) {
        json_t *who =
            json_pack("[{s:s,s:s,s:s}]", "kind", "user", "value", text, "role", "attacker");
        res = post_with(n, "wind", "entities", who);
        cr_assert_eq(res.n[INGEST_STORED], 1);
        ingest_result_done(&res);
    }
    title = json_string(ask_text("SELECT title FROM incidents WHERE id = 2"));
    cr_assert_not_null(title);
    json_decref(title);
}
