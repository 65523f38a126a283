#include "collector/incidents.h"

#include <errno.h>

#include "collector/outbox.h"
#include "common/crypto.h"
#include "common/time.h"

static int64_t now_ns(void)
{
    return (int64_t)time_wall_ns();
}

int incident_add(struct db_tx *tx, const struct incident *in, int64_t *ret_id, struct err *e)
{
    static const char sql[] =
        "INSERT INTO incidents (uid, title, description, type, status, severity, created_at, "
        "updated_at, created_by, assigned_to, first_seen, last_seen, kept) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7, $7, $8, $9, $10, $11, $12) RETURNING id";
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;
    uint8_t uid[16], random[10];
    const int64_t now = now_ns();

    crypto_random(random, sizeof(random));
    uuid_v7((uint64_t)now / WIND_NS_PER_MS, random, uid);
    int r = db_query_row(tx, sql,
                         DB_ARGS(db_bytes(uid, 16), db_str(in->title),
                                 db_str(in->description ? in->description : ""), db_str(in->type),
                                 db_str(in->status ? in->status : "open"), db_int(in->severity),
                                 db_int(now), db_str(in->created_by), db_str(in->assigned),
                                 db_int(in->first_ns), db_int(in->last_ns), db_int(in->kept)),
                         &s, e);
    if (r != DB_ROW)
        return r < 0 ? r : err_set(e, -EIO, "incident: not inserted");
    *ret_id = db_i64(s, 0);
    return 0;
}

/* ---------------------------------------------------------------- reading */

enum {
    COL_ID,
    COL_UID,
    COL_TITLE,
    COL_DESCRIPTION,
    COL_TYPE,
    COL_STATUS,
    COL_SEVERITY,
    COL_CREATED,
    COL_UPDATED,
    COL_CREATED_BY,
    COL_ASSIGNED,
    COL_FIRST,
    COL_LAST,
    COL_ALERTS,
    COL_VERSION,
    COLS
};
#define COLUMNS                                                                                    \
    "i.id, i.uid, i.title, i.description, i.type, i.status, i.severity, i.created_at, "            \
    "i.updated_at, i.created_by, i.assigned_to, i.first_seen, i.last_seen, i.alert_count, "        \
    "i.version"

static void show_comment(struct db_stmt *s, struct jsonw *j)
{
    jsonw_object(j, NULL);
    jsonw_i64(j, "id", db_i64(s, 0));
    store_show_text(j, "author", s, 1);
    store_show_text(j, "text", s, 2);
    store_show_time(j, "created_at", s, 3);
    store_show_time(j, "edited_at", s, 4);
    jsonw_end(j);
}

static void show_id(struct db_stmt *s, struct jsonw *j)
{
    jsonw_i64(j, NULL, db_i64(s, 0));
}

static void show_entity(struct db_stmt *s, struct jsonw *j)
{
    jsonw_object(j, NULL);
    store_show_text(j, "kind", s, 0);
    store_show_text(j, "value", s, 1);
    store_show_text(j, "role", s, 2);
    jsonw_end(j);
}

/* What hangs on an incident: each a query with its id, its bound, and how a row becomes JSON. */
static const struct part {
    const char *name, *sql;
    int64_t max;
    void (*show)(struct db_stmt *s, struct jsonw *j);
} parts[] = {
    {"related_alerts", "SELECT id FROM alerts WHERE incident_id = $1 ORDER BY id LIMIT $2",
     INCIDENT_ALERTS, show_id},
    {"related_entities",
     "SELECT DISTINCT en.kind, en.value, "
     "CASE WHEN ie.role = 'subject' THEN 'related' ELSE ie.role END FROM incident_entities ie "
     "JOIN entities en ON en.id = ie.entity_id WHERE ie.incident_id = $1 "
     "ORDER BY 3, 1, 2 LIMIT $2",
     INCIDENT_ENTITIES, show_entity},
    {"comments",
     "SELECT id, author, text, created_at, edited_at FROM comments WHERE incident_id = $1 "
     "ORDER BY id LIMIT $2",
     INCIDENT_COMMENTS, show_comment},
};

static int show_part(struct db_tx *tx, struct jsonw *j, const struct part *p, int64_t id,
                     struct err *e)
{
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;
    int r = db_query(tx, p->sql, DB_ARGS(db_int(id), db_int(p->max)), &s, e);

    jsonw_array(j, p->name);
    while (r == 0 && (r = db_step(s, e)) == DB_ROW) {
        p->show(s, j);
        r = 0;
    }
    jsonw_end(j);
    return r;
}

/* Of an object that is open; it stays open. */
static int show_fields(struct db_tx *tx, struct db_stmt *s, struct jsonw *j, struct err *e)
{
    const int64_t id = db_i64(s, COL_ID);
    int r = 0;

    jsonw_i64(j, "id", id);
    store_show_uid(j, "uid", s, COL_UID);
    store_show_text(j, "title", s, COL_TITLE);
    store_show_text(j, "description", s, COL_DESCRIPTION);
    store_show_text(j, "type", s, COL_TYPE);
    store_show_text(j, "status", s, COL_STATUS);
    store_show_severity(j, "severity", s, COL_SEVERITY);
    store_show_time(j, "created_at", s, COL_CREATED);
    store_show_time(j, "updated_at", s, COL_UPDATED);
    store_show_text(j, "created_by", s, COL_CREATED_BY);
    store_show_text(j, "assigned_to", s, COL_ASSIGNED);
    for (size_t i = 0; r == 0 && i < WIND_ARRAY_SIZE(parts); i++)
        r = show_part(tx, j, &parts[i], id, e);
    if (r == 0)
        r = store_show_tags(tx, TOPIC_INCIDENTS, id, j, e);
    store_show_time(j, "first_seen", s, COL_FIRST);
    store_show_time(j, "last_seen", s, COL_LAST);
    jsonw_i64(j, "alert_count", db_i64(s, COL_ALERTS));
    jsonw_i64(j, "version", db_i64(s, COL_VERSION));
    return r;
}

static int incident_row(struct db_tx *tx, struct db_stmt *s, struct jsonw *j, void *arg,
                        struct err *e)
{
    (void)arg;
    jsonw_object(j, NULL);
    const int r = show_fields(tx, s, j, e);
    jsonw_end(j);
    return r;
}

int incident_show(struct db_tx *tx, int64_t id, bool with_history, struct jsonw *j, struct err *e)
{
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;

    int r = db_query_row(tx, "SELECT " COLUMNS " FROM incidents i WHERE i.id = $1",
                         DB_ARGS(db_int(id)), &s, e);
    if (r != DB_ROW)
        return r < 0 ? r : STORE_ABSENT;
    jsonw_object(j, NULL);
    r = show_fields(tx, s, j, e);
    if (r == 0 && with_history)
        r = store_show_changes(tx, TOPIC_INCIDENTS, id, j, e);
    jsonw_end(j);
    return r;
}

int incident_list(struct db_tx *tx, struct filter *f, struct jsonw *j,
                  char ret_cursor[FILTER_CURSOR], struct err *e)
{
    static const struct filter_rows rows = {COLUMNS, COLS, incident_row, NULL, NULL};

    return filter_page(f, tx, &rows, j, ret_cursor, e);
}

int incident_version(struct db_tx *tx, int64_t id, int64_t *ret_version, struct err *e)
{
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;

    int r =
        db_query_row(tx, "SELECT version FROM incidents WHERE id = $1", DB_ARGS(db_int(id)), &s, e);
    if (r != DB_ROW)
        return r < 0 ? r : STORE_ABSENT;
    *ret_version = db_i64(s, 0);
    return 0;
}

/* ---------------------------------------------------------------- writing */

int incident_touch(struct db_tx *tx, int64_t id, bool is_new, struct err *e)
{
    int r = 0;

    if (!is_new)
        r = db_run(tx, "UPDATE incidents SET version = version + 1, updated_at = $2 WHERE id = $1",
                   DB_ARGS(db_int(id), db_int(now_ns())), NULL, e);
    return r == 0 ? outbox_add(tx, TOPIC_INCIDENTS, id, is_new, e) : r;
}

static const char *patched(const json_t *patch, const char *name, const char *before)
{
    const json_t *v = json_object_get(patch, name);

    return v == NULL ? before : json_string_value(v);
}

static int kept_by(const json_t *patch)
{
    return (json_object_get(patch, "title") ? KEPT_TITLE : 0) |
           (json_object_get(patch, "type") ? KEPT_TYPE : 0) |
           (json_object_get(patch, "severity") ? KEPT_SEVERITY : 0);
}

/* The order of columns in incident_change. */
static const char *const changeable[] = {"title",  "description", "type",
                                         "status", "assigned_to", "severity"};
#define CHANGEABLE WIND_ARRAY_SIZE(changeable)

int incident_change(struct db_tx *tx, int64_t id, const json_t *patch, const char *actor,
                    struct err *e)
{
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;
    const char *before[CHANGEABLE], *after[CHANGEABLE];
    const json_t *tags = json_object_get(patch, "tags");

    int r = db_query_row(tx,
                         "SELECT title, description, type, status, assigned_to, severity "
                         "FROM incidents WHERE id = $1",
                         DB_ARGS(db_int(id)), &s, e);
    if (r != DB_ROW)
        return r < 0 ? r : STORE_ABSENT;

    for (size_t i = 0; i < CHANGEABLE; i++) {
        const bool is_severity = i == CHANGEABLE - 1;
        before[i] = is_severity ? severity_words[db_i64(s, (int)i) - 1] : db_text(s, (int)i);
        after[i] = patched(patch, changeable[i], before[i]);
    }
    r = db_run(tx,
               "UPDATE incidents SET title = $2, description = $3, type = $4, status = $5, "
               "assigned_to = $6, severity = $7, kept = kept | $8 WHERE id = $1",
               DB_ARGS(db_int(id), db_str(after[0]), db_str(after[1]), db_str(after[2]),
                       db_str(after[3]), db_str(after[4]), db_int(store_severity(after[5])),
                       db_int(kept_by(patch))),
               NULL, e);
    for (size_t i = 0; r == 0 && i < CHANGEABLE; i++) {
        const struct change c = {TOPIC_INCIDENTS, id, actor, changeable[i], before[i], after[i]};
        r = store_history(tx, &c, e);
    }
    if (r == 0 && tags != NULL)
        r = store_tags_set(tx, TOPIC_INCIDENTS, id, tags, e);
    return r == 0 ? incident_touch(tx, id, false, e) : r;
}

int incident_comment(struct db_tx *tx, int64_t id, const char *author, const char *text,
                     struct jsonw *j, struct err *e)
{
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;
    int64_t version = 0;

    int r = incident_version(tx, id, &version, e);
    if (r != 0)
        return r;
    r = db_query_row(tx,
                     "INSERT INTO comments (incident_id, author, text, created_at) "
                     "VALUES ($1, $2, $3, $4) RETURNING id, author, text, created_at, edited_at",
                     DB_ARGS(db_int(id), db_str(author), db_str(text), db_int(now_ns())), &s, e);
    if (r != DB_ROW)
        return r < 0 ? r : err_set(e, -EIO, "comment: not inserted");
    if (j != NULL)
        show_comment(s, j);
    s = db_stmt_free(s);
    return incident_touch(tx, id, false, e);
}

static int count_alerts(struct db_tx *tx, int64_t id, int by, struct err *e)
{
    return db_run(tx, "UPDATE incidents SET alert_count = alert_count + $2 WHERE id = $1",
                  DB_ARGS(db_int(id), db_int(by)), NULL, e);
}

/* The entities of an incident that lost an alert are those of the alerts that stayed. */
static int lose_alert(struct db_tx *tx, int64_t id, struct err *e)
{
    int r = count_alerts(tx, id, -1, e);

    if (r == 0)
        r = db_run(tx, "DELETE FROM incident_entities WHERE incident_id = $1", DB_ARGS(db_int(id)),
                   NULL, e);
    if (r == 0)
        r = db_run(tx,
                   "INSERT INTO incident_entities (entity_id, role, alert_type, incident_id) "
                   "SELECT DISTINCT " INCIDENT_ENTITY_COLUMNS ", a.incident_id "
                   "FROM alerts a JOIN alert_entities ae ON ae.alert_id = a.id "
                   "WHERE a.incident_id = $1",
                   DB_ARGS(db_int(id)), NULL, e);
    return r;
}

int incident_attach(struct db_tx *tx, int64_t id, int64_t alert_id, int64_t *ret_from,
                    struct err *e)
{
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;

    int r = db_query_row(tx, "SELECT incident_id FROM alerts WHERE id = $1",
                         DB_ARGS(db_int(alert_id)), &s, e);
    if (r != DB_ROW)
        return r < 0 ? r : STORE_ABSENT;
    const int64_t from = db_i64(s, 0);
    *ret_from = from;
    if (from == id)
        return 0;
    r = db_run(tx, "UPDATE alerts SET incident_id = $2 WHERE id = $1",
               DB_ARGS(db_int(alert_id), db_int(id)), NULL, e);
    if (r == 0)
        r = db_run(tx,
                   "INSERT INTO incident_entities (entity_id, role, alert_type, incident_id) "
                   "SELECT " INCIDENT_ENTITY_COLUMNS ", $2 FROM alert_entities ae "
                   "JOIN alerts a ON a.id = ae.alert_id WHERE a.id = $1 "
                   "ON CONFLICT DO NOTHING",
                   DB_ARGS(db_int(alert_id), db_int(id)), NULL, e);
    if (r == 0)
        r = count_alerts(tx, id, 1, e);
    if (r == 0 && from != 0)
        r = lose_alert(tx, from, e);
    return r;
}
