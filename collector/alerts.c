#include "collector/alerts.h"

#include <errno.h>

#include "collector/outbox.h"
#include "common/time.h"

/* Every byte of a value may be an escape of six. */
#define ENTITIES_JSON_MAX ((size_t)ENTITIES_MAX * (6 * ENTITY_VALUE_MAX + 128))

/* ---------------------------------------------------------------- putting */

static int link_entities(struct db_tx *tx, int64_t id, const struct alert *a, struct err *e)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < a->n_entities; i++) {
        int64_t entity = 0;
        r = store_entity(tx, &a->entities[i], &entity, e);
        if (r == 0)
            r = db_run(tx,
                       "INSERT INTO alert_entities (alert_id, pos, entity_id, role) "
                       "VALUES ($1, $2, $3, $4)",
                       DB_ARGS(db_int(id), db_int((int64_t)i), db_int(entity),
                               db_str(a->entities[i].role)),
                       NULL, e);
    }
    return r <= 0 ? r : err_set(e, -EIO, "an entity of alert %lld does not fit", (long long)id);
}

static struct db_value score_value(const struct alert *a)
{
    return a->score < 0 ? db_null() : db_f64(a->score);
}

static int insert(struct db_tx *tx, const struct alert *a, const char *entities, int64_t *ret_id,
                  struct err *e)
{
    static const char sql[] =
        "INSERT INTO alerts (uid, rev, detected_at, severity, type, source, description, status, "
        "assigned_to, tactic, score, first_seen, last_seen, src, dst, src_port, dst_port, proto, "
        "metadata, entities, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, "
        "$10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $21) RETURNING id";
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;
    const struct db_value no = db_null();

    int r = db_query_row(
        tx, sql,
        DB_ARGS(db_bytes(a->uid, 16), db_int(a->rev), db_int(a->detected_ns), db_int(a->severity),
                db_str(a->type), db_str(a->source), db_str(a->description),
                db_str(a->status ? a->status : "new"), db_str(a->assigned), db_str(a->tactic),
                score_value(a), db_int(a->first_ns), db_int(a->last_ns),
                a->has_flow ? db_bytes(a->src, 16) : no, a->has_flow ? db_bytes(a->dst, 16) : no,
                a->has_flow ? db_int(a->src_port) : no, a->has_flow ? db_int(a->dst_port) : no,
                db_str(a->proto), db_str(a->metadata), db_str(entities),
                db_int((int64_t)time_wall_ns())),
        &s, e);
    if (r != DB_ROW)
        return r < 0 ? r : err_set(e, -EIO, "alert: not inserted");
    *ret_id = db_i64(s, 0);
    return link_entities(tx, *ret_id, a, e);
}

static int update(struct db_tx *tx, int64_t id, const struct alert *a, const char *entities,
                  struct err *e)
{
    static const char sql[] =
        "UPDATE alerts SET rev = $2, "
        "severity = CASE WHEN kept & 4 <> 0 THEN severity ELSE $3 END, "
        "description = $4, tactic = $5, score = $6, first_seen = $7, last_seen = $8, "
        "metadata = $9, entities = $10, updated_at = $11 WHERE id = $1";

    int r =
        db_run(tx, sql,
               DB_ARGS(db_int(id), db_int(a->rev), db_int(a->severity), db_str(a->description),
                       db_str(a->tactic), score_value(a), db_int(a->first_ns), db_int(a->last_ns),
                       db_str(a->metadata), db_str(entities), db_int((int64_t)time_wall_ns())),
               NULL, e);
    if (r == 0)
        r = db_run(tx, "DELETE FROM alert_entities WHERE alert_id = $1", DB_ARGS(db_int(id)), NULL,
                   e);
    return r == 0 ? link_entities(tx, id, a, e) : r;
}

static int write(struct db_tx *tx, int64_t known, const struct alert *a, int64_t *ret_id,
                 struct err *e)
{
    struct buf entities;
    int r;

    buf_init(&entities, ENTITIES_JSON_MAX);
    store_entities_write(&entities, a->entities, a->n_entities);
    const char *text = buf_text(&entities);
    if (entities.failed)
        r = err_set(e, -ENOMEM, "out of memory");
    else if (known == 0)
        r = insert(tx, a, text, ret_id, e);
    else
        r = update(tx, known, a, text, e);
    buf_done(&entities);
    return r;
}

int alert_put(struct db_tx *tx, const struct alert *a, int64_t *ret_id, struct err *e)
{
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;
    int64_t id = 0;

    int r = db_query_row(tx, "SELECT id, rev FROM alerts WHERE uid = $1",
                         DB_ARGS(db_bytes(a->uid, 16)), &s, e);
    if (r < 0)
        return r;
    if (r == DB_ROW) {
        id = *ret_id = db_i64(s, 0);
        if (a->rev <= db_i64(s, 1))
            return ALERT_UNCHANGED;
    }
    const bool is_new = id == 0;
    r = write(tx, id, a, &id, e);
    if (r == 0)
        r = outbox_add(tx, TOPIC_ALERTS, id, is_new, e);
    if (r != 0)
        return r;
    *ret_id = id;
    return is_new ? ALERT_ADDED : ALERT_UPDATED;
}

/* ---------------------------------------------------------------- reading */

enum {
    COL_ID,
    COL_UID,
    COL_REV,
    COL_DETECTED,
    COL_SEVERITY,
    COL_TYPE,
    COL_SOURCE,
    COL_DESCRIPTION,
    COL_STATUS,
    COL_VERDICT,
    COL_ASSIGNED,
    COL_METADATA,
    COL_INCIDENT,
    COL_CREATED,
    COL_UPDATED,
    COLS
};
#define COLUMNS                                                                                    \
    "a.id, a.uid, a.rev, a.detected_at, a.severity, a.type, a.source, a.description, a.status, "   \
    "a.verdict, a.assigned_to, a.metadata, a.incident_id, a.created_at, a.updated_at"

static int put_entities(struct db_tx *tx, json_t *o, int64_t id, struct err *e)
{
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;
    json_t *list = NULL;
    int r = db_query(tx,
                     "SELECT en.kind, en.value, ae.role FROM alert_entities ae "
                     "JOIN entities en ON en.id = ae.entity_id WHERE ae.alert_id = $1 "
                     "ORDER BY ae.pos",
                     DB_ARGS(db_int(id)), &s, e);
    if (r == 0)
        r = store_entities(s, &list, e);
    (void)json_object_set_new(o, "related_entities", list ? list : json_array());
    return r;
}

static int put_related(struct db_tx *tx, json_t *o, int64_t id, int64_t incident, struct err *e)
{
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;
    json_t *list = NULL;
    int r = 0;

    if (incident != 0) {
        r = db_query(tx,
                     "SELECT id FROM alerts WHERE incident_id = $1 AND id <> $2 ORDER BY id LIMIT "
                     "$3",
                     DB_ARGS(db_int(incident), db_int(id), db_int(ALERT_RELATED)), &s, e);
        if (r == 0)
            r = store_ids(s, &list, e);
    }
    (void)json_object_set_new(o, "related_alerts", list ? list : json_array());
    return r;
}

static int alert_row(struct db_tx *tx, struct db_stmt *s, json_t **ret_row, struct err *e)
{
    json_t *o = json_object();
    json_t *tags = NULL;
    const int64_t id = db_i64(s, COL_ID);
    const char *metadata = db_text(s, COL_METADATA);
    json_t *parsed = metadata == NULL ? NULL : json_loads(metadata, 0, NULL);

    (void)json_object_set_new(o, "id", json_integer(id));
    (void)json_object_set_new(o, "uid", store_json_uid(s, COL_UID));
    (void)json_object_set_new(o, "rev", json_integer(db_i64(s, COL_REV)));
    (void)json_object_set_new(o, "detected_at", store_json_time(db_i64(s, COL_DETECTED)));
    (void)json_object_set_new(o, "severity", store_json_severity(db_i64(s, COL_SEVERITY)));
    (void)json_object_set_new(o, "type", store_json_text(db_text(s, COL_TYPE)));
    (void)json_object_set_new(o, "source", store_json_text(db_text(s, COL_SOURCE)));
    (void)json_object_set_new(o, "description", store_json_text(db_text(s, COL_DESCRIPTION)));
    (void)json_object_set_new(o, "status", store_json_text(db_text(s, COL_STATUS)));
    (void)json_object_set_new(o, "verdict", store_json_text(db_text(s, COL_VERDICT)));
    (void)json_object_set_new(o, "assigned_to", store_json_text(db_text(s, COL_ASSIGNED)));
    (void)json_object_set_new(o, "metadata", parsed ? parsed : json_object());
    int r = put_entities(tx, o, id, e);
    if (r == 0)
        r = put_related(tx, o, id, db_i64(s, COL_INCIDENT), e);
    (void)json_object_set_new(o, "incident_id",
                              db_is_null(s, COL_INCIDENT) ? json_null()
                                                          : json_integer(db_i64(s, COL_INCIDENT)));
    if (r == 0)
        r = store_tags(tx, TOPIC_ALERTS, id, &tags, e);
    (void)json_object_set_new(o, "tags", tags ? tags : json_array());
    (void)json_object_set_new(o, "created_at", store_json_time(db_i64(s, COL_CREATED)));
    (void)json_object_set_new(o, "updated_at", store_json_time(db_i64(s, COL_UPDATED)));
    if (r != 0) {
        json_decref(o);
        return r;
    }
    *ret_row = o;
    return 0;
}

int alert_get(struct db_tx *tx, int64_t id, json_t **ret_alert, struct err *e)
{
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;

    int r = db_query_row(tx, "SELECT " COLUMNS " FROM alerts a WHERE a.id = $1",
                         DB_ARGS(db_int(id)), &s, e);
    if (r != DB_ROW)
        return r < 0 ? r : STORE_ABSENT;
    return alert_row(tx, s, ret_alert, e);
}

int alert_list(struct db_tx *tx, struct filter *f, json_t **ret_list,
               char ret_cursor[FILTER_CURSOR], struct err *e)
{
    static const struct filter_rows rows = {COLUMNS, COLS, alert_row};

    return filter_page(f, tx, &rows, ret_list, ret_cursor, e);
}

/* ---------------------------------------------------------------- triage */

/* patch[name], where JSON null is NULL; `before` when the patch does not speak of it. */
static const char *patched(const json_t *patch, const char *name, const char *before)
{
    const json_t *v = json_object_get(patch, name);

    return v == NULL ? before : json_string_value(v);
}

static int tell(struct db_tx *tx, int64_t id, const char *actor, const char *const change[3],
                struct err *e)
{
    const struct change c = {TOPIC_ALERTS, id, actor, change[0], change[1], change[2]};

    return store_history(tx, &c, e);
}

int alert_change(struct db_tx *tx, int64_t id, const json_t *patch, const char *actor,
                 int64_t *ret_incident, struct err *e)
{
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;

    int r = db_query_row(tx,
                         "SELECT status, verdict, assigned_to, severity, incident_id FROM alerts "
                         "WHERE id = $1",
                         DB_ARGS(db_int(id)), &s, e);
    if (r != DB_ROW)
        return r < 0 ? r : STORE_ABSENT;

    const char *status = patched(patch, "status", db_text(s, 0));
    const char *verdict = patched(patch, "verdict", db_text(s, 1));
    const char *assigned = patched(patch, "assigned_to", db_text(s, 2));
    const char *old_severity = severity_words[db_i64(s, 3) - 1];
    const char *severity = patched(patch, "severity", old_severity);
    const bool is_graded = json_object_get(patch, "severity") != NULL;
    const json_t *tags = json_object_get(patch, "tags");

    r = db_run(tx,
               "UPDATE alerts SET status = $2, verdict = $3, assigned_to = $4, severity = $5, "
               "kept = kept | $6, updated_at = $7 WHERE id = $1",
               DB_ARGS(db_int(id), db_str(status), db_str(verdict), db_str(assigned),
                       db_int(store_severity(severity)), db_int(is_graded ? KEPT_SEVERITY : 0),
                       db_int((int64_t)time_wall_ns())),
               NULL, e);
    const char *const changes[][3] = {
        {"status", db_text(s, 0), status},
        {"verdict", db_text(s, 1), verdict},
        {"assigned_to", db_text(s, 2), assigned},
        {"severity", old_severity, severity},
    };
    for (size_t i = 0; r == 0 && i < WIND_ARRAY_SIZE(changes); i++)
        r = tell(tx, id, actor, changes[i], e);
    if (r == 0 && tags != NULL)
        r = store_tags_set(tx, TOPIC_ALERTS, id, tags, e);
    if (r == 0)
        r = outbox_add(tx, TOPIC_ALERTS, id, false, e);
    if (r == 0)
        *ret_incident = db_i64(s, 4);
    return r;
}
