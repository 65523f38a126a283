#include <errno.h>

#include "collector/incidents.h"
#include "collector/sensors.h"
#include "common/time.h"
#include "support/batch.h"
#include "support/shown.h"

TestSuite(store, .init = batch_init, .fini = batch_fini);

#define NS ((int64_t)WIND_NS_PER_S)

static struct db_tx *begin(void)
{
    struct db_tx *tx = NULL;
    struct err e = {0};

    cr_assert_eq(db_begin_write(temp_db, &tx, &e), 0, "%s", e.text);
    return tx;
}

static void commit(struct db_tx *tx)
{
    cr_assert_eq(db_commit(&tx, NULL), 0);
}

static int64_t add_incident(const char *title)
{
    struct db_tx *tx = begin();
    const struct incident in = {.title = title,
                                .type = "other",
                                .severity = 2,
                                .created_by = "ann",
                                .first_ns = 5 * NS,
                                .last_ns = 6 * NS};
    int64_t id = 0;

    cr_assert_eq(incident_add(tx, &in, &id, NULL), 0);
    commit(tx);
    return id;
}

static json_t *get_incident(int64_t id)
{
    WIND_AUTO(db_tx) struct db_tx *tx = begin();

    return shown_incident(tx, id);
}

Test(store, a_new_incident_has_every_field)
{
    json_t *o = get_incident(add_incident("Odd"));
    static const char *const names[] = {
        "id",          "uid",        "title",          "description",      "type",
        "status",      "severity",   "created_at",     "updated_at",       "created_by",
        "assigned_to", "first_seen", "related_alerts", "related_entities", "comments",
        "tags",        "last_seen",  "alert_count",    "version"};

    for (size_t i = 0; i < WIND_ARRAY_SIZE(names); i++)
        cr_expect_not_null(json_object_get(o, names[i]), "%s", names[i]);
    cr_assert_eq(json_object_size(o), WIND_ARRAY_SIZE(names));
    cr_assert_str_eq(json_string_value(json_object_get(o, "status")), "open");
    cr_assert_str_eq(json_string_value(json_object_get(o, "first_seen")),
                     "1970-01-01T00:00:05.000000Z");
    json_decref(o);
}

Test(store, every_change_of_an_incident_is_a_new_version_with_history)
{
    const int64_t id = add_incident("Odd");
    json_t *patch = json_pack("{s:s, s:s, s:s, s:[s,s,s]}", "status", "contained", "title", "Odd",
                              "assigned_to", "bob", "tags", "b", "a", "b");
    int64_t before = 0, after = 0;
    struct db_tx *tx = begin();

    cr_assert_eq(incident_version(tx, id, &before, NULL), 0);
    cr_assert_eq(incident_change(tx, id, patch, "ann", NULL), 0);
    cr_assert_eq(incident_version(tx, id, &after, NULL), 0);
    cr_assert_eq(incident_change(tx, 99, patch, "ann", NULL), STORE_ABSENT);
    commit(tx);
    json_decref(patch);
    cr_assert_eq(after, before + 1);
    /* the title is the same as before, so two changes */
    cr_assert_eq(ask("SELECT count(*) FROM history"), 2);
    cr_assert_str_eq(ask_text("SELECT old || new FROM history WHERE field = 'status'"),
                     "opencontained");
    json_t *o = get_incident(id);
    const json_t *tags = json_object_get(o, "tags");
    cr_assert_eq(json_array_size(tags), 2);
    cr_assert_str_eq(json_string_value(json_array_get(tags, 0)), "a");
    json_decref(o);
}

Test(store, null_takes_the_assignee_away_and_silence_leaves_it)
{
    const int64_t id = add_incident("Odd");
    static const char *const patches[] = {"{\"assigned_to\": \"bob\"}", "{\"status\": \"open\"}",
                                          "{\"assigned_to\": null}"};
    static const char *const expected[] = {"bob", "bob", "-"};

    for (size_t i = 0; i < 3; i++) {
        json_t *patch = json_loads(patches[i], 0, NULL);
        struct db_tx *tx = begin();
        cr_assert_eq(incident_change(tx, id, patch, "ann", NULL), 0);
        commit(tx);
        json_decref(patch);
        cr_assert_str_eq(ask_text("SELECT coalesce(assigned_to, '-') FROM incidents"), expected[i]);
    }
}

Test(store, bad_tags_change_nothing)
{
    const int64_t id = add_incident("Odd");
    static const char *const bad[] = {"{\"tags\": [\"\"]}", "{\"tags\": [7]}", "{\"tags\": 7}",
                                      "{\"tags\": null}"};

    for (size_t i = 0; i < WIND_ARRAY_SIZE(bad); i++) {
        json_t *patch = json_loads(bad[i], 0, NULL);
        WIND_AUTO(db_tx) struct db_tx *tx = begin();
        struct err e = {0};
        cr_expect_eq(incident_change(tx, id, patch, "ann", &e), -EINVAL, "%s", bad[i]);
        json_decref(patch);
    }
    cr_assert_eq(ask("SELECT version FROM incidents"), 1);
}

Test(store, comments_stay_in_order_and_need_their_incident)
{
    const int64_t id = add_incident("Odd");
    struct db_tx *tx = begin();
    char text[200];
    struct buf made = BUF_FIXED(text);
    struct jsonw j;

    jsonw_begin(&j, &made);
    cr_assert_eq(incident_comment(tx, id, "ann", "first", &j, NULL), 0);
    cr_assert_not_null(strstr(buf_text(&made), "\"author\":\"ann\",\"text\":\"first\""));
    cr_assert_eq(incident_comment(tx, id, "bob", "second", NULL, NULL), 0);
    cr_assert_eq(incident_comment(tx, id + 1, "bob", "lost", NULL, NULL), STORE_ABSENT);
    commit(tx);
    json_t *o = get_incident(id);
    const json_t *comments = json_object_get(o, "comments");
    cr_assert_eq(json_array_size(comments), 2);
    cr_assert_str_eq(json_string_value(json_object_get(json_array_get(comments, 1), "text")),
                     "second");
    cr_assert(json_is_null(json_object_get(json_array_get(comments, 0), "edited_at")));
    json_decref(o);
}

Test(store, an_alert_that_moves_takes_its_entities_along)
{
    batch_post((const struct batch_alert[]){{.n = 1, .victim = "10.9.0.1"},
                                            {.n = 2, .victim = "10.9.0.2"}},
               2);
    const int64_t id = add_incident("Apart");
    struct db_tx *tx = begin();
    int64_t from = 0;

    cr_assert_eq(incident_attach(tx, id, 2, &from, NULL), 0);
    cr_assert_eq(from, 1);
    cr_assert_eq(incident_attach(tx, id, 2, &from, NULL), 0);
    cr_assert_eq(from, id);
    cr_assert_eq(incident_attach(tx, id, 99, &from, NULL), STORE_ABSENT);
    commit(tx);
    cr_assert_eq(ask("SELECT alert_count FROM incidents WHERE id = 1"), 1);
    cr_assert_eq(ask("SELECT alert_count FROM incidents WHERE id = 2"), 1);
    cr_assert_eq(ask("SELECT count(*) FROM incident_entities ie JOIN entities en "
                     "ON en.id = ie.entity_id WHERE en.value = '10.9.0.2' AND incident_id = 1"),
                 0);
    cr_assert_eq(ask("SELECT count(*) FROM incident_entities WHERE incident_id = 2"), 2);
}

Test(store, what_an_alert_is_related_to_has_a_bound)
{
    struct batch_alert alerts[ALERT_RELATED + 5];

    for (int i = 0; i < ALERT_RELATED + 5; i++)
        alerts[i] = (struct batch_alert){.n = i};
    batch_post(alerts, WIND_ARRAY_SIZE(alerts));
    WIND_AUTO(db_tx) struct db_tx *tx = begin();
    json_t *o = shown_alert(tx, 1);
    const json_t *related = json_object_get(o, "related_alerts");
    cr_assert_eq(json_array_size(related), ALERT_RELATED);
    cr_assert_eq(json_integer_value(json_array_get(related, 0)), 2);
    json_decref(o);
}

Test(store, a_sensor_is_online_then_late_then_offline)
{
    static const struct {
        int64_t after_s;
        const char *state;
    } rows[] = {{0, "online"},
                {SENSOR_LATE_S - 1, "online"},
                {SENSOR_LATE_S + 2, "late"},
                {SENSOR_OFFLINE_S + 2, "offline"}};
    const struct sensor_report report = {
        .name = "lab", .version = "0.1.0", .alerts = 3, .stats = "{\"uptime\": 7}"};
    const struct sensor_report heartbeat = {.name = "lab", .version = "0.1.1"};
    const struct sensor_report bus = {.name = "lab"};
    WIND_AUTO(db_tx) struct db_tx *tx = begin();

    cr_assert_eq(sensor_seen(tx, &report, NULL), 0);
    cr_assert_eq(sensor_seen(tx, &heartbeat, NULL), 0);
    cr_assert_eq(sensor_seen(tx, &bus, NULL), 0);
    for (size_t i = 0; i < WIND_ARRAY_SIZE(rows); i++) {
        const int64_t now = (int64_t)time_wall_ns() + rows[i].after_s * NS;
        json_t *list = NULL, *states = NULL;
        cr_assert_eq(sensor_list(tx, now, &list, NULL), 0);
        const json_t *lab = json_array_get(list, 0);
        cr_expect_str_eq(json_string_value(json_object_get(lab, "state")), rows[i].state);
        cr_expect_str_eq(json_string_value(json_object_get(lab, "version")), "0.1.1");
        cr_expect_eq(json_integer_value(json_object_get(lab, "alerts")), 3);
        cr_expect(json_is_object(json_object_get(lab, "stats")));
        cr_assert_eq(sensor_states(tx, now, &states, NULL), 0);
        cr_expect_eq(json_integer_value(json_object_get(states, rows[i].state)), 1);
        json_decref(states);
        json_decref(list);
    }
}
