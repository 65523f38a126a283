#include "collector/sensors.h"

#include "common/time.h"

static const char *const state_words[] = {"online", "late", "offline"};

int sensor_seen(struct db_tx *tx, const struct sensor_report *report, struct err *e)
{
    const char *stats = report->stats;

    const int64_t now = (int64_t)time_wall_ns();
    const int64_t seen = report->sent_ns == 0 || report->sent_ns > now ? now : report->sent_ns;

    if (stats != NULL && strlen(stats) > SENSOR_STATS_MAX)
        stats = NULL;
    return db_defer(
        tx,
        "INSERT INTO sensors (name, version, first_seen, last_seen, alerts, updates, rejected, "
        "stats) VALUES ($1, coalesce($2, ''), $3, $3, $4, $5, $6, $7) "
        "ON CONFLICT (name) DO UPDATE SET "
        "version = CASE WHEN excluded.last_seen >= sensors.last_seen "
        "THEN coalesce($2, sensors.version) ELSE sensors.version END, "
        "last_seen = CASE WHEN excluded.last_seen > sensors.last_seen "
        "THEN excluded.last_seen ELSE sensors.last_seen END, "
        "alerts = sensors.alerts + excluded.alerts, "
        "updates = sensors.updates + excluded.updates, "
        "rejected = sensors.rejected + excluded.rejected, "
        "stats = CASE WHEN excluded.last_seen >= sensors.last_seen "
        "THEN coalesce(excluded.stats, sensors.stats) ELSE sensors.stats END",
        DB_ARGS(db_str(report->name), db_str(report->version), db_int(seen), db_int(report->alerts),
                db_int(report->updates), db_int(report->rejected), db_str(stats)),
        e);
}

static unsigned state_of(int64_t last_ns, int64_t now_ns)
{
    const int64_t silent_s = (now_ns - last_ns) / (int64_t)WIND_NS_PER_S;

    return silent_s <= SENSOR_LATE_S ? 0 : silent_s <= SENSOR_OFFLINE_S ? 1 : 2;
}

int sensor_list(struct db_tx *tx, int64_t now_ns, json_t **ret_list, struct err *e)
{
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;
    int r = db_query(tx,
                     "SELECT name, version, first_seen, last_seen, alerts, updates, rejected, "
                     "stats, gaps, missing FROM sensors ORDER BY name LIMIT $1",
                     DB_ARGS(db_int(SENSORS_MAX)), &s, e);
    if (r != 0)
        return r;
    json_t *list = json_array();
    while ((r = db_step(s, e)) == DB_ROW) {
        json_t *o = json_object();
        const char *stats = db_text(s, 7);
        json_t *parsed = stats == NULL ? NULL : json_loads(stats, 0, NULL);
        (void)json_object_set_new(o, "name", store_json_text(db_text(s, 0)));
        (void)json_object_set_new(o, "version", store_json_text(db_text(s, 1)));
        (void)json_object_set_new(o, "first_seen", store_json_time(db_i64(s, 2)));
        (void)json_object_set_new(o, "last_seen", store_json_time(db_i64(s, 3)));
        (void)json_object_set_new(o, "state",
                                  json_string(state_words[state_of(db_i64(s, 3), now_ns)]));
        (void)json_object_set_new(o, "alerts", json_integer(db_i64(s, 4)));
        (void)json_object_set_new(o, "updates", json_integer(db_i64(s, 5)));
        (void)json_object_set_new(o, "rejected", json_integer(db_i64(s, 6)));
        (void)json_object_set_new(o, "gaps", json_integer(db_i64(s, 8)));
        (void)json_object_set_new(o, "missing", json_integer(db_i64(s, 9)));
        (void)json_object_set_new(o, "stats", parsed ? parsed : json_null());
        (void)json_array_append_new(list, o);
    }
    if (r < 0) {
        json_decref(list);
        return r;
    }
    *ret_list = list;
    return 0;
}

int sensor_states(struct db_tx *tx, int64_t now_ns, json_t **ret_states, struct err *e)
{
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;
    int64_t n[3] = {0};

    int r = db_query(tx, "SELECT last_seen FROM sensors", DB_NONE, &s, e);
    while (r == 0 && (r = db_step(s, e)) == DB_ROW) {
        n[state_of(db_i64(s, 0), now_ns)]++;
        r = 0;
    }
    if (r < 0)
        return r;
    json_t *o = json_object();
    (void)json_object_set_new(o, "total", json_integer(n[0] + n[1] + n[2]));
    for (size_t i = 0; i < 3; i++)
        (void)json_object_set_new(o, state_words[i], json_integer(n[i]));
    *ret_states = o;
    return 0;
}
