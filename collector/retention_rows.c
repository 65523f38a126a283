#include "collector/retention_rows.h"

#include <stdio.h>

#include "collector/outbox.h"

#define IDS_MAX RETENTION_ROWS

struct ids {
    int64_t ids[IDS_MAX];
    size_t n;
};

static int64_t rows_of(const struct retention_scan *s)
{
    return s->rows > 0 ? s->rows : RETENTION_ROWS;
}

static int run(struct db_tx *tx, const char *sql, const struct ids *ids, int64_t *deleted,
               struct err *e)
{
    int64_t changed = 0;
    const int r = db_run(tx, sql, DB_ARGS(db_ints(ids->ids, ids->n)), &changed, e);

    if (r == 0 && deleted != NULL)
        *deleted += changed;
    return r;
}

static void add_once(struct ids *ids, int64_t id)
{
    for (size_t i = 0; i < ids->n; i++)
        if (ids->ids[i] == id)
            return;
    ids->ids[ids->n++] = id;
}

/* ---------------------------------------------------------------- alerts */

/* By id, which is the order in which they came. The last column: may it go? */
static const char alerts_sql[] =
    "SELECT a.id, coalesce(a.incident_id, 0), CASE WHEN a.created_at < $3 THEN 1 ELSE 0 END, "
    "CASE WHEN a.created_at >= $3 THEN 0 WHEN $5 >= 2 THEN 1 "
    "WHEN (a.status = 'closed' OR a.assigned_to IS NULL) AND (i.id IS NULL "
    "OR i.status = 'resolved' OR ($5 >= 1 AND i.assigned_to IS NULL)) THEN 1 "
    "WHEN a.created_at < $4 AND a.assigned_to IS NULL AND i.assigned_to IS NULL THEN 1 "
    "ELSE 0 END FROM alerts a LEFT JOIN incidents i ON i.id = a.incident_id "
    "WHERE a.id > $1 AND a.id < $6 ORDER BY a.id LIMIT $2";

/* The next alerts. 0: that was the end, or all of them are too young; 1. */
static int find_alerts(struct db_tx *tx, struct retention_scan *s, struct ids *alerts,
                       struct ids *incidents, struct err *e)
{
    WIND_AUTO(db_stmt) struct db_stmt *stmt = NULL;
    int64_t seen = 0, old = 0;
    int r = db_query(tx, alerts_sql,
                     DB_ARGS(db_int(s->after), db_int(rows_of(s)), db_int(s->before),
                             db_int(s->open_before), db_int((int64_t)s->level),
                             db_int(s->up_to > 0 ? s->up_to : INT64_MAX)),
                     &stmt, e);

    while (r == 0 && (r = db_step(stmt, e)) == DB_ROW) {
        s->after = db_i64(stmt, 0);
        seen++;
        old += db_i64(stmt, 2) != 0;
        if (db_i64(stmt, 3) != 0) {
            alerts->ids[alerts->n++] = s->after;
            if (db_i64(stmt, 1) != 0)
                add_once(incidents, db_i64(stmt, 1));
        }
        r = 0;
    }
    return r < 0 ? r : seen == rows_of(s) && old > 0;
}

/* Whoever shows an incident shows fewer alerts now. */
static int recount(struct db_tx *tx, const struct ids *incidents, struct err *e)
{
    if (incidents->n == 0)
        return 0;
    const int r = run(tx,
                      "UPDATE incidents SET version = version + 1, alert_count = "
                      "(SELECT count(*) FROM alerts a WHERE a.incident_id = incidents.id) "
                      "WHERE id = ANY($1)",
                      incidents, NULL, e);
    return r != 0 ? r
                  : outbox_add_all(tx, TOPIC_INCIDENTS, OUTBOX_UPDATED, incidents->ids,
                                   incidents->n, e);
}

static int delete_alerts(struct db_tx *tx, const struct ids *alerts, int64_t *deleted,
                         struct err *e)
{
    int r = run(tx, "DELETE FROM alert_entities WHERE alert_id = ANY($1)", alerts,
                &deleted[RETENTION_alert_entities], e);
    if (r == 0)
        r = run(tx, "DELETE FROM tags WHERE topic = 'alerts' AND object_id = ANY($1)", alerts,
                &deleted[RETENTION_tags], e);
    if (r == 0)
        r = run(tx, "DELETE FROM history WHERE topic = 'alerts' AND object_id = ANY($1)", alerts,
                &deleted[RETENTION_history], e);
    if (r == 0 && db_engine(tx) == DB_POSTGRES) /* in SQLite the alert has its uid */
        r = db_run(tx,
                   "DELETE FROM alert_uids WHERE alert_id BETWEEN $2 AND $3 AND "
                   "alert_id = ANY($1)", /* its index (BRIN) is for ranges */
                   DB_ARGS(db_ints(alerts->ids, alerts->n), db_int(alerts->ids[0]),
                           db_int(alerts->ids[alerts->n - 1])),
                   NULL, e);
    if (r == 0)
        r = run(tx, "DELETE FROM alerts WHERE id = ANY($1)", alerts, &deleted[RETENTION_alerts], e);
    return r != 0 ? r : outbox_add_all(tx, TOPIC_ALERTS, OUTBOX_DELETED, alerts->ids, alerts->n, e);
}

int retention_alerts(struct db_tx *tx, struct retention_scan *s, int64_t *deleted, struct err *e)
{
    struct ids alerts = {.n = 0}, incidents = {.n = 0};
    const int more = find_alerts(tx, s, &alerts, &incidents, e);

    if (more < 0 || alerts.n == 0)
        return more;
    int r = delete_alerts(tx, &alerts, deleted, e);
    if (r == 0)
        r = recount(tx, &incidents, e);
    return r < 0 ? r : more;
}

/* ---------------------------------------------------------------- incidents */

/* $4: forced, those that Wind made go with their last alert. */
static const char incidents_sql[] =
    "SELECT i.id FROM incidents i WHERE i.id > $1 AND "
    "((i.status = 'resolved' AND i.updated_at < $2) OR "
    "(i.assigned_to IS NULL AND i.updated_at < $3) OR "
    "($4 >= 1 AND i.created_by = 'wind' AND (i.assigned_to IS NULL OR $4 >= 2))) AND "
    "NOT EXISTS (SELECT 1 FROM alerts a WHERE a.incident_id = i.id) ORDER BY i.id LIMIT $5";

static int delete_incidents(struct db_tx *tx, const struct ids *ids, int64_t *deleted,
                            struct err *e)
{
    int r = run(tx, "DELETE FROM comments WHERE incident_id = ANY($1)", ids,
                &deleted[RETENTION_comments], e);
    if (r == 0)
        r = run(tx, "DELETE FROM incident_entities WHERE incident_id = ANY($1)", ids,
                &deleted[RETENTION_incident_entities], e);
    if (r == 0)
        r = run(tx, "DELETE FROM tags WHERE topic = 'incidents' AND object_id = ANY($1)", ids,
                &deleted[RETENTION_tags], e);
    if (r == 0)
        r = run(tx, "DELETE FROM history WHERE topic = 'incidents' AND object_id = ANY($1)", ids,
                &deleted[RETENTION_history], e);
    if (r == 0)
        r = run(tx, "DELETE FROM incidents WHERE id = ANY($1)", ids, &deleted[RETENTION_incidents],
                e);
    return r != 0 ? r : outbox_add_all(tx, TOPIC_INCIDENTS, OUTBOX_DELETED, ids->ids, ids->n, e);
}

int retention_incidents(struct db_tx *tx, struct retention_scan *s, int64_t *deleted, struct err *e)
{
    WIND_AUTO(db_stmt) struct db_stmt *stmt = NULL;
    struct ids ids = {.n = 0};
    int r = db_query(tx, incidents_sql,
                     DB_ARGS(db_int(s->after), db_int(s->before), db_int(s->open_before),
                             db_int((int64_t)s->level), db_int(rows_of(s))),
                     &stmt, e);

    while (r == 0 && (r = db_step(stmt, e)) == DB_ROW) {
        s->after = ids.ids[ids.n++] = db_i64(stmt, 0);
        r = 0;
    }
    if (r == 0 && ids.n > 0)
        r = delete_incidents(tx, &ids, deleted, e);
    return r < 0 ? r : (int64_t)ids.n == rows_of(s);
}

/* ---------------------------------------------------------------- what nothing points at */

int retention_entities(struct db_tx *tx, struct retention_scan *s, int64_t *deleted, struct err *e)
{
    int64_t last = 0, changed = 0;
    int r = db_query_i64(tx,
                         "SELECT coalesce(max(id), 0) FROM (SELECT id FROM entities WHERE id > $1 "
                         "ORDER BY id LIMIT $2) x",
                         DB_ARGS(db_int(s->after), db_int(rows_of(s))), &last, e);

    if (r < 0 || last == 0)
        return r < 0 ? r : 0;
    r = db_run(tx,
               "DELETE FROM entities WHERE id > $1 AND id <= $2 AND NOT EXISTS "
               "(SELECT 1 FROM alert_entities ae WHERE ae.entity_id = entities.id) AND NOT EXISTS "
               "(SELECT 1 FROM incident_entities ie WHERE ie.entity_id = entities.id)",
               DB_ARGS(db_int(s->after), db_int(last)), &changed, e);
    s->after = last;
    deleted[RETENTION_entities] += changed;
    if (r == 0 && changed > 0) /* who remembers them (view.h) has to hear of it */
        r = outbox_add_all(tx, TOPIC_INCIDENTS, OUTBOX_DELETED, &(const int64_t){0}, 1, e);
    return r < 0 ? r : 1;
}

/* ---------------------------------------------------------------- partitions (PostgreSQL) */

#define PART_WIDTH 1000000 /* ids of one, as in sql/postgres/0001_core.sql */
#define PART_LATE  100000  /* ids given out since: nobody fills the one before any more */

/* Numbers of those that are full, the oldest first. */
static const char parts_sql[] =
    "SELECT CAST(substr(c.relname, 8) AS BIGINT) FROM pg_inherits i JOIN pg_class c "
    "ON c.oid = i.inhrelid, alerts_id_seq q WHERE i.inhparent = to_regclass('alerts') "
    "AND (CAST(substr(c.relname, 8) AS BIGINT) + 1) * $1 + $2 <= q.last_value ORDER BY 1";

int retention_oldest_part(struct db_tx *tx, int64_t *ret_up_to, struct err *e)
{
    int64_t part = -1;
    const int r =
        db_query_i64(tx, parts_sql, DB_ARGS(db_int(PART_WIDTH), db_int(PART_LATE)), &part, e);

    *ret_up_to = (part + 1) * PART_WIDTH;
    return r < 0 ? r : 0;
}

static int is_empty(struct db_tx *tx, int64_t part, bool *ret_empty, struct err *e)
{
    int64_t first = -1;
    const int r = db_query_i64(tx, "SELECT id FROM alerts WHERE id >= $1 AND id < $2 LIMIT 1",
                               DB_ARGS(db_int(part * PART_WIDTH), db_int((part + 1) * PART_WIDTH)),
                               &first, e);

    *ret_empty = first < 0;
    return r < 0 ? r : 0;
}

/* A reader that is long keeps it from us, and we would keep all others out: later, then. */
static int drop(struct db_tx *tx, int64_t part, struct err *e)
{
    char sql[96];
    int r = db_run(tx, "SET LOCAL lock_timeout = '200ms'", DB_NONE, NULL, e);

    (void)snprintf(sql, sizeof(sql), "DROP TABLE alerts_%lld, alert_entities_%lld", (long long)part,
                   (long long)part);
    if (r == 0)
        r = db_run(tx, sql, DB_NONE, NULL, e);
    return r;
}

int retention_parts(struct db_tx *tx, struct retention_scan *s, int64_t *deleted, struct err *e)
{
    WIND_AUTO(db_stmt) struct db_stmt *stmt = NULL;
    int64_t part = -1;
    bool empty = false;
    int r;

    (void)s, (void)deleted;
    if (db_engine(tx) != DB_POSTGRES)
        return 0;
    r = db_query(tx, parts_sql, DB_ARGS(db_int(PART_WIDTH), db_int(PART_LATE)), &stmt, e);
    while (r == 0 && !empty && (r = db_step(stmt, e)) == DB_ROW) {
        part = db_i64(stmt, 0);
        r = is_empty(tx, part, &empty, e);
    }
    stmt = db_stmt_free(stmt);
    if (r < 0 || !empty)
        return r < 0 ? r : 0;
    r = drop(tx, part, e);
    return r < 0 ? r : 1;
}

/* ---------------------------------------------------------------- what only has a time */

int retention_plain(struct db_tx *tx, enum retention_table table, int64_t before, int64_t *deleted,
                    struct err *e)
{
    static const char *const sqls[RETENTION_TABLES_N] = {
        [RETENTION_sessions] = "DELETE FROM sessions WHERE sid IN (SELECT sid FROM sessions "
                               "WHERE expires_ns < $1 LIMIT $2)",
        [RETENTION_revoked_tokens] = "DELETE FROM revoked_tokens WHERE jti IN (SELECT jti FROM "
                                     "revoked_tokens WHERE expires_ns < $1 LIMIT $2)",
        [RETENTION_replays] = "DELETE FROM replays WHERE key_hash IN (SELECT key_hash FROM replays "
                              "WHERE created_ns < $1 LIMIT $2)",
        [RETENTION_sensors] = "DELETE FROM sensors WHERE name IN (SELECT name FROM sensors "
                              "WHERE last_seen < $1 LIMIT $2)",
        [RETENTION_bus_sequences] =
            "DELETE FROM bus_sequences WHERE (sensor, topic, run) IN "
            "(SELECT sensor, topic, run FROM bus_sequences WHERE used_at < $1 LIMIT $2)",
    };
    int64_t changed = 0;
    const int r =
        db_run(tx, sqls[table], DB_ARGS(db_int(before), db_int(RETENTION_ROWS)), &changed, e);

    *deleted += changed;
    return r < 0 ? r : changed == RETENTION_ROWS;
}
