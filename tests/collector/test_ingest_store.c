/* Batches of any size give what the rules give alert by alert, asked of the database each time. */
#include <errno.h>

#include "collector/incidents.h"
#include "collector/ingest_read.h"
#include "collector/outbox.h"
#include "collector/retention.h"
#include "collector/retention_rows.h"
#include "common/buf.h"
#include "support/batch.h"

TestSuite(ingest_store, .init = batch_init, .fini = batch_fini, .timeout = 120);

/* Alert by alert a server takes its time. */
static size_t enough(void)
{
    return temp_db_url[0] == '\0' ? 1500 : 500;
}

static uint64_t seed;

static unsigned pick(unsigned n)
{
    seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return (unsigned)(seed >> 33) % n;
}

static const char *host(unsigned n)
{
    static char texts[8][24];
    static unsigned at;
    char *text = texts[at++ % 8];

    (void)snprintf(text, sizeof(texts[0]), "10.9.%u.%u", n / 200, 1 + n % 200);
    return text;
}

/* Alert i at some revision; what of it is random depends on `seed` alone. */
static json_t *random_alert(int n, int rev, int at_s)
{
    static const char *const detectors[] = {"port_scan", "brute_force", "beacon", "anomaly", "own"};
    static const char *const severities[] = {"low", "medium", "high", "critical"};
    static const char *const tactics[] = {"Discovery", "Credential Access", "Command and Control",
                                          "Exfiltration", "no tactic"};
    static const char *const roles[] = {"attacker", "victim", "related"};
    const struct batch_alert a = {
        .n = n,
        .rev = rev,
        .at_s = at_s,
        .detector = detectors[pick(5)],
        .severity = severities[pick(4)],
        .attacker = host(pick(120)),
        .victim = host(100 + pick(80)),
        .tactic = tactics[pick(5)],
        .roles = {roles[pick(10) == 0 ? pick(3) : 0], roles[pick(6) == 0 ? pick(3) : 1]}};
    json_t *item = batch_item(&a), *wind = json_object_get(item, "wind");
    json_t *entities = json_object_get(wind, "entities");

    for (unsigned more = pick(8) == 0 ? pick(5) : 0; more > 0; more--)
        (void)json_array_append_new(entities,
                                    json_pack("{s:s, s:s, s:s}", "kind", pick(2) ? "host" : "user",
                                              "value", host(pick(200)), "role", roles[pick(3)]));
    if (pick(40) == 0)
        (void)json_array_clear(entities);
    return item;
}

/* A later revision: mostly one that only adds, sometimes quite another alert. */
static json_t *grown(const json_t *item, int rev)
{
    json_t *now = json_deep_copy(item), *wind = json_object_get(now, "wind");
    json_t *entities = json_object_get(wind, "entities");

    (void)json_object_set_new(wind, "rev", json_integer(rev));
    (void)json_object_set_new(json_object_get(now, "alert"), "signature",
                              json_sprintf("revision %d", rev));
    switch (pick(6)) {
    case 0:
        (void)json_object_set_new(wind, "severity", json_string("critical"));
        break;
    case 1:
        (void)json_object_set_new(wind, "severity", json_string("low"));
        break;
    case 2:
        (void)json_array_append_new(entities, json_pack("{s:s, s:s, s:s}", "kind", "host", "value",
                                                        host(pick(200)), "role", "victim"));
        break;
    case 3:
        (void)json_array_remove(entities, 0);
        break;
    case 4:
        (void)json_object_set_new(wind, "last_seen", json_string("2026-01-02T23:59:00Z"));
        break;
    default:
        break;
    }
    return now;
}

static json_t *random_alerts(void)
{
    json_t *items = json_array();
    int at_s = 0, n = 0;

    while (json_array_size(items) < enough()) {
        const size_t size = json_array_size(items);
        at_s += (int)pick(60);
        const int jitter = (int)pick(20) == 0 ? (int)pick(4000) : 0;
        if (size > 10 && pick(3) == 0) {
            const json_t *old = json_array_get(items, size - 1 - pick(size < 300 ? 10 : 300));
            const json_t *rev = json_object_get(json_object_get(old, "wind"), "rev");
            (void)json_array_append_new(items,
                                        grown(old, (int)json_integer_value(rev) + (int)pick(3)));
        } else {
            (void)json_array_append_new(
                items, random_alert(n++, 1, (at_s > jitter ? at_s - jitter : 0) % 80000));
        }
    }
    return items;
}

static void put_one(struct ingest_reader *rd, const char *text)
{
    const struct correlate_conf conf = {.window_ns = BATCH_WINDOW_NS, .alerts_max = 40};
    const struct ingest_item item = {.json = text, .len = strlen(text)};
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;
    WIND_AUTO(arena) struct arena *arena = NULL;
    struct ingest_alert a;
    struct correlate c;
    struct err e = {0};
    int64_t id = 0;

    correlate_init(&c, &conf);
    cr_assert_eq(arena_new(&arena, INGEST_READ_BYTES(item.len), NULL), 0);
    cr_assert_eq(ingest_read(rd, &item, "lab", arena, &a, &e), 0, "%s", e.text);
    cr_assert_eq(db_begin_write(temp_db, &tx, &e), 0);
    const int outcome = alert_put(tx, &a.alert, &id, &e);
    cr_assert_geq(outcome, 0, "%s", e.text);
    if (outcome == ALERT_ADDED)
        cr_assert_eq(correlate_alert(&c, tx, id, &a.alert, &e), 0, "%s", e.text);
    else if (outcome == ALERT_UPDATED)
        cr_assert_eq(correlate_changed(&c, tx, id, &e), 0, "%s", e.text);
    cr_assert_eq(correlate_finish(&c, tx, &e), 0, "%s", e.text);
    cr_assert_eq(db_commit(&tx, &e), 0);
}

static void dump_query(struct buf *b, const char *sql, int columns)
{
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;
    struct err e = {0};
    int r;

    cr_assert_eq(db_begin_read(temp_db, &tx, &e), 0);
    cr_assert_eq(db_query(tx, sql, DB_NONE, &s, &e), 0, "%s", e.text);
    while ((r = db_step(s, &e)) == DB_ROW) {
        for (int i = 0; i < columns; i++)
            buf_printf(b, "%s|", db_text(s, i) ? db_text(s, i) : "-");
        buf_putc(b, '\n');
    }
    cr_assert_eq(r, 0);
}

/* All that ingest and correlation wrote, but for their own clock and how often they wrote. */
static char *dump(void)
{
    struct buf b;

    buf_init(&b, 1 << 24);
    dump_query(&b,
               "SELECT id, title, type, severity, status, first_seen, last_seen, alert_count, kept "
               "FROM incidents ORDER BY id",
               9);
    dump_query(&b,
               "SELECT id, rev, severity, type, description, tactic, first_seen, "
               "last_seen, incident_id, entities, metadata, kept FROM alerts ORDER BY id",
               12);
    dump_query(&b,
               "SELECT ae.alert_id, ae.pos, en.kind, en.value, ae.role FROM alert_entities ae "
               "JOIN entities en ON en.id = ae.entity_id ORDER BY 1, 2",
               5);
    dump_query(
        &b,
        "SELECT ie.incident_id, ie.role, ie.alert_type, en.kind, en.value FROM "
        "incident_entities ie JOIN entities en ON en.id = ie.entity_id ORDER BY 1, 2, 3, 4, 5",
        5);
    cr_assert_not(b.failed);
    char *text = strdup(buf_text(&b));
    buf_done(&b);
    return text;
}

static void same(const char *got, const char *want, size_t size)
{
    size_t line = 1;

    for (size_t i = 0, start = 0; got[i] != '\0' || want[i] != '\0'; i++) {
        if (got[i] != want[i])
            cr_assert_fail("batches of %zu, line %zu:\n%.300s\ninstead of\n%.300s", size, line,
                           got + start, want + start);
        if (got[i] == '\n') {
            start = i + 1;
            line++;
        }
    }
}

static void begin_with(int64_t memory)
{
    const struct ingest_conf conf = {.db = NULL};
    struct ingest_conf with = conf;

    batch_fini();
    batch_init();
    batch_ingest = ingest_free(batch_ingest);
    with.db = temp_db;
    with.correlate =
        (struct correlate_conf){.window_ns = BATCH_WINDOW_NS, .alerts_max = 40, .memory = memory};
    cr_assert_eq(ingest_new(&batch_ingest, &with, NULL), 0);
}

static void post_in(const json_t *items, size_t size)
{
    const size_t n = json_array_size(items);

    for (size_t i = 0; i < n; i += size) {
        json_t *some = json_array();
        for (size_t k = i; k < n && k < i + size; k++)
            (void)json_array_append(some, json_array_get(items, k));
        struct ingest_result res = batch_post_json(some);
        cr_assert_eq(res.n[INGEST_REJECTED], 0);
        ingest_result_done(&res);
    }
}

static void compare(uint64_t from)
{
    static const struct {
        size_t size;
        int64_t memory;
    } runs[] = {{1, 0}, {7, 0}, {1000, 0}, {7, 1}}; /* the last forgets all after each batch */
    WIND_AUTO(ingest_reader) struct ingest_reader *rd = NULL;

    seed = from;
    json_t *items = random_alerts();
    cr_assert_eq(ingest_reader_new(&rd, NULL), 0);
    begin_with(0);
    for (size_t i = 0; i < json_array_size(items); i++) {
        char *text = json_dumps(json_array_get(items, i), JSON_COMPACT);
        put_one(rd, text);
        free(text);
    }
    char *want = dump();
    cr_assert_gt(ask("SELECT count(*) FROM incidents"), 10);
    cr_assert_gt(ask("SELECT max(alert_count) FROM incidents"), 5);
    for (size_t i = 0; i < WIND_ARRAY_SIZE(runs); i++) {
        begin_with(runs[i].memory);
        post_in(items, runs[i].size);
        char *got = dump();
        same(got, want, runs[i].size);
        free(got);
    }
    free(want);
    json_decref(items);
}

Test(ingest_store, batches_of_any_size_give_what_single_alerts_give)
{
    compare(1);
    if (temp_db_url[0] != '\0')
        return;
    compare(2);
    compare(3);
}

#define POST(...) batch_post(&(const struct batch_alert){__VA_ARGS__}, 1)

/* Its incident was too old to be asked for when the host was, and has come nearer since. */
Test(ingest_store, a_host_finds_an_incident_that_grew_towards_it)
{
    int n = 1;

    POST(.n = n++, .attacker = "10.1.0.1", .victim = "10.2.0.2", .at_s = 0);
    batch_reopen(1000);
    POST(.n = n++, .attacker = "10.1.0.1", .victim = "10.2.0.9", .at_s = 500);
    POST(.n = n++, .attacker = "10.1.0.7", .victim = "10.2.0.2", .detector = "anomaly",
         .at_s = 20000);
    for (int at_s = 2000; at_s < 17500; at_s += 1500)
        POST(.n = n++, .attacker = "10.1.0.1", .victim = "10.2.0.9", .at_s = at_s);
    cr_assert_eq(ask("SELECT count(*) FROM incidents"), 2);
    POST(.n = n, .attacker = "10.1.0.8", .victim = "10.2.0.2", .at_s = 18300);
    cr_assert_eq(ask("SELECT incident_id FROM alerts ORDER BY id DESC"), 1);
}

static void change(const char *sql)
{
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;
    struct err e = {0};

    cr_assert_eq(db_begin_write(temp_db, &tx, &e), 0);
    cr_assert_eq(db_run(tx, sql, DB_NONE, NULL, &e), 0, "%s: %s", sql, e.text);
    cr_assert_eq(db_commit(&tx, &e), 0);
}

Test(ingest_store, what_people_do_to_incidents_is_known_at_the_next_batch)
{
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;
    json_t *patch = json_pack("{s:s, s:s}", "status", "resolved", "title", "Ours");

    POST(.n = 1);
    cr_assert_eq(db_begin_write(temp_db, &tx, NULL), 0);
    cr_assert_eq(incident_change(tx, 1, patch, "ann", NULL), 0);
    cr_assert_eq(db_commit(&tx, NULL), 0);
    json_decref(patch);
    POST(.n = 2, .at_s = 1);
    cr_assert_eq(ask("SELECT incident_id FROM alerts WHERE id = 2"), 2, "it was resolved");

    patch = json_pack("{s:s}", "status", "open");
    cr_assert_eq(db_begin_write(temp_db, &tx, NULL), 0);
    cr_assert_eq(incident_change(tx, 1, patch, "ann", NULL), 0);
    cr_assert_eq(incident_attach(tx, 1, 2, &(int64_t){0}, NULL), 0);
    struct correlate c;
    correlate_init(
        &c, &(const struct correlate_conf){.window_ns = BATCH_WINDOW_NS, .alerts_max = 1000});
    cr_assert_eq(correlate_incident(&c, tx, 1, false, NULL), 0);
    cr_assert_eq(correlate_incident(&c, tx, 2, false, NULL), 0);
    cr_assert_eq(correlate_finish(&c, tx, NULL), 0);
    cr_assert_eq(db_commit(&tx, NULL), 0);
    json_decref(patch);
    POST(.n = 3, .at_s = 2);
    cr_assert_eq(ask("SELECT incident_id FROM alerts WHERE id = 3"), 1);
    cr_assert_eq(ask("SELECT alert_count FROM incidents WHERE id = 1"), 3);
    cr_assert_str_eq(ask_text("SELECT title FROM incidents WHERE id = 1"), "Ours");
}

/* Two collectors on one database take turns; each knows what the other did. */
Test(ingest_store, two_memories_of_one_database_stay_right)
{
    const struct ingest_conf conf = {
        .db = temp_db, .correlate = {.window_ns = BATCH_WINDOW_NS, .alerts_max = 1000}};
    struct ingest *other = NULL, *own = batch_ingest;
    char attacker[24], victim[24];

    cr_assert_eq(ingest_new(&other, &conf, NULL), 0);
    for (int i = 0; i < 60; i++) {
        batch_ingest = i % 2 == 0 ? own : other;
        (void)snprintf(attacker, sizeof(attacker), "10.1.0.%d", i / 6);
        (void)snprintf(victim, sizeof(victim), "10.2.0.%d", i);
        POST(.n = i, .attacker = attacker, .victim = victim, .at_s = i);
    }
    batch_ingest = own;
    ingest_free(other);
    cr_assert_eq(ask("SELECT count(*) FROM incidents"), 10);
    cr_assert_eq(ask("SELECT min(alert_count) FROM incidents"), 6);
    cr_assert_eq(ask("SELECT max(alert_count) FROM incidents"), 6);
    cr_assert_str_eq(ask_text("SELECT title FROM incidents WHERE id = 3"),
                     "10.1.0.2 scanned 6 hosts");
    cr_assert_eq(ask("SELECT count(*) FROM entities"), 70);
}

Test(ingest_store, what_retention_took_is_not_remembered)
{
    struct retention_scan scan = {.after = 0};
    int64_t deleted[RETENTION_TABLES_N] = {0};
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;

    POST(.n = 1);
    change("DELETE FROM alert_entities");
    change("DELETE FROM incident_entities");
    cr_assert_eq(db_begin_write(temp_db, &tx, NULL), 0);
    cr_assert_eq(retention_entities(tx, &scan, deleted, NULL), 1);
    cr_assert_eq(db_commit(&tx, NULL), 0);
    cr_assert_eq(ask("SELECT count(*) FROM entities"), 0);
    POST(.n = 2);
    cr_assert_eq(ask("SELECT count(*) FROM alert_entities ae JOIN entities en "
                     "ON en.id = ae.entity_id"),
                 2);
}

static void put_by_hand(struct db_tx *tx, const char *attacker, uint8_t uid)
{
    const struct entity who = {.kind = "host", .value = attacker, .role = "attacker"};
    char entities[128];
    const struct alert a = {.uid = {uid},
                            .rev = 1,
                            .detected_ns = INT64_C(1767312000000000000),
                            .first_ns = INT64_C(1767312000000000000),
                            .last_ns = INT64_C(1767312000000000000),
                            .severity = 2,
                            .type = "report",
                            .source = "ann",
                            .description = "by hand",
                            .status = "acknowledged",
                            .assigned = "ann",
                            .score = -1,
                            .metadata = "{}",
                            .entities = &who,
                            .n_entities = 1,
                            .entities_json = entities};
    const struct alert *const alerts[] = {&a};
    struct buf b = BUF_FIXED(entities);
    struct err e = {0};

    store_entities_write(&b, &who, 1);
    (void)buf_text(&b);
    cr_assert_eq(ingest_alerts(batch_ingest, tx, alerts, 1, &e), 0, "%s", e.text);
}

Test(ingest_store, what_people_raise_is_joined_as_what_sensors_send)
{
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;

    POST(.n = 1, .attacker = "10.1.0.1");
    cr_assert_eq(db_begin_write(temp_db, &tx, NULL), 0);
    put_by_hand(tx, "10.1.0.1", 7);
    cr_assert_eq(db_commit(&tx, NULL), 0);
    cr_assert_str_eq(ask_text("SELECT status || ' ' || assigned_to || ' ' || incident_id || ' ' || "
                              "entities FROM alerts WHERE id = 2"),
                     "acknowledged ann 1 "
                     "[{\"kind\":\"host\",\"value\":\"10.1.0.1\",\"role\":\"attacker\"}]");
    cr_assert_eq(ask("SELECT alert_count FROM incidents"), 2);
    cr_assert_eq(ask("SELECT count(*) FROM outbox"), 4);
}

Test(ingest_store, what_was_undone_is_not_remembered)
{
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;

    POST(.n = 1, .attacker = "10.1.0.1");
    cr_assert_eq(db_begin_write(temp_db, &tx, NULL), 0);
    put_by_hand(tx, "10.1.0.9", 7);
    put_by_hand(tx, "10.1.0.1", 8);
    tx = db_tx_free(tx);
    for (int i = 0; i < 4; i++) { /* others take the numbers of what we had written */
        cr_assert_eq(db_begin_write(temp_db, &tx, NULL), 0);
        cr_assert_eq(outbox_add(tx, TOPIC_ALERTS, 1, false, NULL), 0);
        cr_assert_eq(db_commit(&tx, NULL), 0);
    }
    POST(.n = 2, .attacker = "10.1.0.9", .victim = "10.2.0.9");
    POST(.n = 3, .attacker = "10.1.0.1");
    cr_assert_eq(ask("SELECT count(*) FROM incidents"), 2);
    cr_assert_eq(ask("SELECT sum(alert_count) FROM incidents"), 3);
    cr_assert_str_eq(ask_text("SELECT title FROM incidents WHERE id = 1"),
                     "10.1.0.1 scanned 10.9.0.5");
    cr_assert_eq(ask("SELECT count(*) FROM alert_entities ae JOIN entities en "
                     "ON en.id = ae.entity_id"),
                 6);
}
