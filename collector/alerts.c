#include "collector/alerts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "collector/db_bulk.h"
#include "collector/outbox.h"
#include "common/time.h"

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

/* SQLite's alerts know their uid themselves: there it is a view. */
static int put_uid(struct db_tx *tx, int64_t id, const struct alert *a, struct err *e)
{
    return db_engine(tx) == DB_SQLITE
               ? 0
               : db_defer(tx, "INSERT INTO alert_uids (uid, alert_id) VALUES ($1, $2)",
                          DB_ARGS(db_bytes(a->uid, 16), db_int(id)), e);
}

static int insert(struct db_tx *tx, const struct alert *a, const char *entities, int64_t *ret_id,
                  struct err *e)
{
    static const char sql[] =
        "INSERT INTO alerts (id, uid, rev, detected_at, severity, type, source, description, "
        "status, "
        "assigned_to, tactic, score, first_seen, last_seen, src, dst, src_port, dst_port, proto, "
        "metadata, entities, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, "
        "$10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $22)";
    const struct db_value no = db_null();
    int64_t id = 0;

    int r = db_reserve(tx, "alerts", 1, &id, e);
    if (r == 0)
        r = put_uid(tx, id, a, e);
    if (r != 0)
        return r;
    r = db_run(tx, sql,
               DB_ARGS(db_int(id), db_bytes(a->uid, 16), db_int(a->rev), db_int(a->detected_ns),
                       db_int(a->severity), db_str(a->type), db_str(a->source),
                       db_str(a->description), db_str(a->status ? a->status : "new"),
                       db_str(a->assigned), db_str(a->tactic), score_value(a), db_int(a->first_ns),
                       db_int(a->last_ns), a->has_flow ? db_bytes(a->src, 16) : no,
                       a->has_flow ? db_bytes(a->dst, 16) : no,
                       a->has_flow ? db_int(a->src_port) : no,
                       a->has_flow ? db_int(a->dst_port) : no, db_str(a->proto),
                       db_str(a->metadata), db_str(entities), db_int((int64_t)time_wall_ns())),
               NULL, e);
    if (r != 0)
        return r < 0 ? r : err_set(e, -EIO, "alert: not inserted");
    *ret_id = id;
    return link_entities(tx, id, a, e);
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
    const char *text = a->entities_json;
    struct buf entities;
    int r;

    buf_init(&entities, STORE_ENTITIES_JSON);
    if (text == NULL) {
        store_entities_write(&entities, a->entities, a->n_entities);
        text = buf_text(&entities);
    }
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

    int r = db_query_row(tx,
                         "SELECT u.alert_id, a.rev FROM alert_uids u "
                         "JOIN alerts a ON a.id = u.alert_id WHERE u.uid = $1",
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
    COL_ENTITIES,
    COL_INCIDENT,
    COL_CREATED,
    COL_UPDATED,
    COL_KEPT,
    COLS
};
#define COLUMNS                                                                                    \
    "a.id, a.uid, a.rev, a.detected_at, a.severity, a.type, a.source, a.description, a.status, "   \
    "a.verdict, a.assigned_to, a.metadata, a.entities, a.incident_id, a.created_at, "              \
    "a.updated_at, a.kept"

/* The first alerts of one incident. */
struct related {
    int64_t incident; /* 0: not read yet */
    size_t n;
    int64_t ids[ALERT_RELATED + 1]; /* one more: who asks is not related to itself */
};

/* The rows of a page are of few incidents, so each is asked for once. */
#define PAGE_INCIDENTS 16
struct page {
    size_t limit;                   /* related alerts of each */
    size_t next, n;                 /* the place that gives way; places */
    struct related *related, *kept; /* kept: to be freed */
};

static void page_init(struct page *p, struct related *places, size_t n)
{
    p->next = 0;
    p->n = n;
    p->related = places;
    for (size_t i = 0; i < n; i++)
        places[i].incident = 0;
}

static int related_read(struct db_tx *tx, int64_t incident, size_t limit, struct related *ret,
                        struct err *e)
{
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;
    int r = db_query(tx, "SELECT id FROM alerts WHERE incident_id = $1 ORDER BY id LIMIT $2",
                     DB_ARGS(db_int(incident), db_int((int64_t)limit + 1)), &s, e);

    ret->incident = 0;
    ret->n = 0;
    while (r == 0 && (r = db_step(s, e)) == DB_ROW && ret->n < WIND_ARRAY_SIZE(ret->ids)) {
        ret->ids[ret->n++] = db_i64(s, 0);
        r = 0;
    }
    if (r == 0)
        ret->incident = incident;
    return r;
}

static int related_find(struct db_tx *tx, int64_t incident, struct page *page, struct related **ret,
                        struct err *e)
{
    for (size_t i = 0; i < page->n; i++) {
        if (page->related[i].incident == incident) {
            *ret = &page->related[i];
            return 0;
        }
    }
    *ret = &page->related[page->next];
    page->next = page->next + 1 < page->n ? page->next + 1 : 0;
    return related_read(tx, incident, page->limit, *ret, e);
}

static int show_related(struct db_tx *tx, struct jsonw *j, int64_t id, int64_t incident,
                        struct page *page, struct err *e)
{
    struct related *related = NULL;
    const int r = incident != 0 ? related_find(tx, incident, page, &related, e) : 0;

    jsonw_array(j, "related_alerts");
    for (size_t i = 0, n = 0; r == 0 && related != NULL && i < related->n; i++)
        if (related->ids[i] != id && n++ < page->limit)
            jsonw_i64(j, NULL, related->ids[i]);
    jsonw_end(j);
    return r;
}

/* A column that holds JSON already. */
static void show_json(struct jsonw *j, const char *key, struct db_stmt *s, int col)
{
    const char *text = db_text(s, col);

    WIND_CHECK(text != NULL);
    jsonw_raw(j, key, text, strlen(text));
}

static int alert_row(struct db_tx *tx, struct db_stmt *s, struct jsonw *j, void *arg, struct err *e)
{
    const int64_t id = db_i64(s, COL_ID), incident = db_i64(s, COL_INCIDENT);

    jsonw_object(j, NULL);
    jsonw_i64(j, "id", id);
    store_show_uid(j, "uid", s, COL_UID);
    jsonw_i64(j, "rev", db_i64(s, COL_REV));
    store_show_time(j, "detected_at", s, COL_DETECTED);
    store_show_severity(j, "severity", s, COL_SEVERITY);
    store_show_text(j, "type", s, COL_TYPE);
    store_show_text(j, "source", s, COL_SOURCE);
    store_show_text(j, "description", s, COL_DESCRIPTION);
    store_show_text(j, "status", s, COL_STATUS);
    store_show_text(j, "verdict", s, COL_VERDICT);
    store_show_text(j, "assigned_to", s, COL_ASSIGNED);
    show_json(j, "metadata", s, COL_METADATA);
    show_json(j, "related_entities", s, COL_ENTITIES);
    int r = show_related(tx, j, id, incident, arg, e);
    if (incident != 0)
        jsonw_i64(j, "incident_id", incident);
    else
        jsonw_null(j, "incident_id");
    if (r == 0 && (db_i64(s, COL_KEPT) & KEPT_TAGS) != 0)
        r = store_show_tags(tx, TOPIC_ALERTS, id, j, e);
    else
        jsonw_raw(j, "tags", "[]", 2); /* as nearly all: not worth a question each */
    store_show_time(j, "created_at", s, COL_CREATED);
    store_show_time(j, "updated_at", s, COL_UPDATED);
    jsonw_end(j);
    return r;
}

int alert_show(struct db_tx *tx, int64_t id, struct jsonw *j, struct err *e)
{
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;
    struct related related[1];
    struct page page = {.limit = ALERT_RELATED};

    page_init(&page, related, 1);
    int r = db_query_row(tx, "SELECT " COLUMNS " FROM alerts a WHERE a.id = $1",
                         DB_ARGS(db_int(id)), &s, e);
    if (r != DB_ROW)
        return r < 0 ? r : STORE_ABSENT;
    return alert_row(tx, s, j, &page, e);
}

/* Those of several incidents, in PostgreSQL: one question for all. */
static int related_all(struct db_tx *tx, const int64_t *ids, size_t n, struct page *page,
                       struct err *e)
{
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;

    for (size_t i = 0; i < n; i++)
        page->related[i].incident = ids[i];
    int r = db_query(tx,
                     "SELECT t.id, r.id FROM unnest($1) AS t(id) CROSS JOIN LATERAL "
                     "(SELECT id FROM alerts WHERE incident_id = t.id ORDER BY id LIMIT $2) r",
                     DB_ARGS(db_ints(ids, n), db_int((int64_t)page->limit + 1)), &s, e);
    for (size_t i = 0; r == 0 && (r = db_step(s, e)) == DB_ROW; r = 0) {
        while (ids[i] != db_i64(s, 0)) /* one behind the other, mostly in our order */
            i = i + 1 < n ? i + 1 : 0;
        struct related *of = &page->related[i];
        if (of->n < WIND_ARRAY_SIZE(of->ids))
            of->ids[of->n++] = db_i64(s, 1);
    }
    return r;
}

static int by_number(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

/* The incidents of all rows, each once. */
static int look_ahead(struct db_tx *tx, struct db_stmt *s, void *arg, struct err *e)
{
    struct page *page = arg;
    int64_t ids[FILTER_PAGE_MAX + 1];
    size_t n = 0, kept = 0;
    int r;

    while ((r = db_step(s, e)) == DB_ROW && n < WIND_ARRAY_SIZE(ids))
        if (!db_is_null(s, COL_INCIDENT))
            ids[n++] = db_i64(s, COL_INCIDENT);
    if (r < 0 || n == 0)
        return r < 0 ? r : 0;
    qsort(ids, n, sizeof(ids[0]), by_number);
    for (size_t i = 0; i < n; i++)
        if (i == 0 || ids[i] != ids[i - 1])
            ids[kept++] = ids[i];
    page->kept = calloc(kept, sizeof(*page->kept));
    if (page->kept == NULL)
        return err_set(e, -ENOMEM, "out of memory");
    page_init(page, page->kept, kept);
    return related_all(tx, ids, kept, page, e);
}

int alert_list(struct db_tx *tx, struct filter *f, struct jsonw *j, char ret_cursor[FILTER_CURSOR],
               struct err *e)
{
    struct related related[PAGE_INCIDENTS];
    struct page page = {.limit = ALERT_RELATED_LISTED};
    const struct filter_rows rows = {COLUMNS, COLS, alert_row, look_ahead, &page};

    page_init(&page, related, PAGE_INCIDENTS);
    const int r = filter_page(f, tx, &rows, j, ret_cursor, e);
    free(page.kept);
    return r;
}

/* ---------------------------------------------------------------- several that were put */

static struct alert_shown *shown_find(struct alert_shown *shown, size_t n, const uint8_t uid[16])
{
    for (size_t i = 0; i < n; i++)
        if (memcmp(shown[i].uid, uid, sizeof(shown[i].uid)) == 0)
            return &shown[i];
    return NULL;
}

static int show_rows(struct db_tx *tx, struct db_value uids, struct page *page,
                     struct alert_shown *shown, size_t n, struct err *e)
{
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;
    int r = db_query(tx,
                     "SELECT " COLUMNS " FROM alert_uids u JOIN alerts a ON a.id = u.alert_id "
                     "WHERE u.uid = ANY($1)",
                     DB_ARGS(uids), &s, e);

    if (r == 0 && db_engine(tx) == DB_POSTGRES) {
        r = look_ahead(tx, s, page, e);
        db_rewind(s);
    }
    while (r == 0 && (r = db_step(s, e)) == DB_ROW) {
        size_t len;
        const uint8_t *uid = db_blob(s, COL_UID, &len);
        WIND_CHECK(uid != NULL && len == sizeof(shown->uid)); /* as the table has it */
        struct alert_shown *one = shown_find(shown, n, uid);
        struct jsonw j;
        if (one == NULL)
            return err_set(e, -EIO, "an alert has another uid");
        one->id = db_i64(s, COL_ID);
        jsonw_begin(&j, &one->json);
        r = alert_row(tx, s, &j, page, e);
    }
    return r;
}

int alert_show_all(struct db_tx *tx, struct alert_shown *shown, size_t n, struct err *e)
{
    struct db_value *uids = calloc(n + 1, sizeof(*uids));
    struct related related[PAGE_INCIDENTS];
    struct page page = {.limit = ALERT_RELATED};

    WIND_CHECK(shown != NULL);
    if (uids == NULL)
        return err_set(e, -ENOMEM, "out of memory");
    for (size_t i = 0; i < n; i++)
        uids[i] = db_bytes(shown[i].uid, 16);
    page_init(&page, related, PAGE_INCIDENTS);
    const int r = show_rows(tx, db_array(DB_TYPE_BLOB, uids, n), &page, shown, n, e);
    free(page.kept);
    free(uids);
    return r;
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
