#include "collector/ingest_write.h"

#include <stdlib.h>

#include "collector/db_rows.h"
#include "collector/outbox.h"
#include "common/crypto.h"
#include "common/time.h"

/* ---------------------------------------------------------------- lists */

#define ALIGNED ((size_t)16) /* of each piece of the arena */

int store_batch_init(struct store_batch *b, struct err *e)
{
    for (size_t i = 0; i < b->n_items; i++)
        b->n_people += b->items[i].alert == NULL ? 0 : b->items[i].alert->n_entities;
    const size_t n = b->n_items + 1, people = b->n_people + 1;
    const size_t bytes = n * (sizeof(struct stored) + sizeof(struct store_row) + 5 * ALIGNED) +
                         people * (sizeof(struct store_part) + ALIGNED) + 5 * ALIGNED;

    const int r = arena_new(&b->arena, bytes, e);
    if (r != 0)
        return r;
    b->people = arena_alloc(b->arena, people * sizeof(struct view_entity *));
    b->people_of = arena_alloc(b->arena, n * sizeof(*b->people_of));
    b->rows = arena_alloc(b->arena, n * sizeof(struct store_row *));
    b->touched = arena_alloc(b->arena, n * sizeof(struct view_incident *));
    b->parts = arena_alloc(b->arena, people * sizeof(*b->parts));
    return b->parts == NULL ? store_no_memory(e) : 0;
}

void store_batch_done(struct store_batch *b)
{
    b->arena = arena_free(b->arena);
    id_map_done(&b->by_uid);
}

struct store_row *store_row(struct store_batch *b, struct stored *of, const struct alert *a,
                            struct view_entity *const *people)
{
    struct store_row *row = arena_alloc(b->arena, sizeof(*row));

    WIND_CHECK(row != NULL && b->n_rows < b->n_items);
    *row = (struct store_row){.id = of->id, .alert = a, .latest = a, .people = people, .of = of};
    b->rows[b->n_rows++] = row;
    return row;
}

void store_touch(struct store_batch *b, struct view_incident *in)
{
    if (in->is_touched)
        return;
    WIND_CHECK(b->n_touched < b->n_items);
    in->is_touched = true;
    b->touched[b->n_touched++] = in;
}

void store_part(struct store_batch *b, struct view_entity *en, const struct view_part *part)
{
    WIND_CHECK(b->n_parts < b->n_people);
    b->parts[b->n_parts++] = (struct store_part){en, *part};
}

/*
 * An update of n rows. Of a few, PostgreSQL isn't waited for. DB_CONFLICT: fewer were there, so
 * what we know is not what is there.
 */
static int update(struct store_batch *b, const char *sql, const struct db_value *args,
                  size_t n_args, size_t n, struct err *e)
{
    int64_t changed = 0;

    if (n == 0)
        return 0;
    if (db_engine(b->tx) == DB_POSTGRES && n <= DB_ROWS_FEW)
        return db_defer(b->tx, sql, args, n_args, e);
    const int r = db_run(b->tx, sql, args, n_args, &changed, e);
    return r == 0 && changed != (int64_t)n ? DB_CONFLICT : r;
}

/* ---------------------------------------------------------------- incidents */

static int add_incident(struct store_batch *b, struct db_rows *rows, struct view_incident *in,
                        int64_t id, struct err *e)
{
    const int64_t now = (int64_t)time_wall_ns();
    char title[TITLE_MAX + 1];
    struct story st;
    uint8_t uid[16], random[10];

    if (view_incident_has_id(b->view, in, id) != 0)
        return store_no_memory(e);
    view_story_tell(b->view, in, &st, title);
    crypto_random(random, sizeof(random));
    uuid_v7((uint64_t)now / WIND_NS_PER_MS, random, uid);
    return db_rows_add(rows,
                       DB_ARGS(db_int(id), db_bytes(uid, 16), db_str(title),
                               db_str(story_type(&st)), db_int(story_severity(&st)), db_int(now),
                               db_int(now), db_str("wind"), db_int(st.first_ns), db_int(st.last_ns),
                               db_int(st.alerts)),
                       e);
}

static int add_incidents(struct store_batch *b, struct outbox_change *changes, struct err *e)
{
    WIND_AUTO(db_rows) struct db_rows *rows = NULL;
    int64_t id = 0;
    size_t n = 0;

    for (size_t i = 0; i < b->n_touched; i++) {
        changes[i].is_new = b->touched[i]->id == 0;
        n += changes[i].is_new;
    }
    if (n == 0)
        return 0;
    int r = db_reserve(b->tx, "incidents", n, &id, e);
    if (r == 0)
        r = db_rows_begin(b->tx, "incidents",
                          "id, uid, title, type, severity, created_at, updated_at, created_by, "
                          "first_seen, last_seen, alert_count",
                          n, &rows, e);
    for (size_t i = 0; r == 0 && i < b->n_touched; i++)
        if (changes[i].is_new)
            r = add_incident(b, rows, b->touched[i], id++, e);
    return r == 0 ? db_rows_end(&rows, e) : r;
}

/* Columns of the update below, each an array. */
enum { UP_ID, UP_FIRST, UP_LAST, UP_ALERTS, UP_SEVERITY, UP_TYPE, UP_TITLE, UP_COLUMNS };

static int change_incidents(struct store_batch *b, const struct outbox_change *changes,
                            struct err *e)
{
    static const char sql[] =
        "UPDATE incidents SET first_seen = t.first, last_seen = t.last, alert_count = t.alerts, "
        "severity = CASE WHEN incidents.kept & 4 <> 0 THEN incidents.severity ELSE t.severity END, "
        "type = CASE WHEN incidents.kept & 2 <> 0 THEN incidents.type ELSE t.type END, "
        "title = CASE WHEN incidents.kept & 1 <> 0 THEN incidents.title ELSE t.title END, "
        "version = incidents.version + 1, updated_at = $8 "
        "FROM unnest($1, $2, $3, $4, $5, $6, $7) "
        "AS t(id, first, last, alerts, severity, type, title) WHERE incidents.id = t.id";
    const size_t size = b->n_touched + 1;
    struct db_value *v = calloc(size * UP_COLUMNS, sizeof(*v));
    char(*titles)[TITLE_MAX + 1] = calloc(size, sizeof(*titles));
    size_t n = 0;

    int r = v == NULL || titles == NULL ? store_no_memory(e) : 0;
    for (size_t i = 0; r == 0 && i < b->n_touched; i++) {
        struct story st;
        if (changes[i].is_new)
            continue;
        view_story_tell(b->view, b->touched[i], &st, titles[n]);
        v[UP_ID * size + n] = db_int(b->touched[i]->id);
        v[UP_FIRST * size + n] = db_int(st.first_ns);
        v[UP_LAST * size + n] = db_int(st.last_ns);
        v[UP_ALERTS * size + n] = db_int(st.alerts);
        v[UP_SEVERITY * size + n] = db_int(story_severity(&st));
        v[UP_TYPE * size + n] = db_str(story_type(&st));
        v[UP_TITLE * size + n] = db_str(titles[n]);
        n++;
    }
    if (r == 0)
        r = update(b, sql,
                   DB_ARGS(db_array(DB_TYPE_INT, v + UP_ID * size, n),
                           db_array(DB_TYPE_INT, v + UP_FIRST * size, n),
                           db_array(DB_TYPE_INT, v + UP_LAST * size, n),
                           db_array(DB_TYPE_INT, v + UP_ALERTS * size, n),
                           db_array(DB_TYPE_INT, v + UP_SEVERITY * size, n),
                           db_array(DB_TYPE_TEXT, v + UP_TYPE * size, n),
                           db_array(DB_TYPE_TEXT, v + UP_TITLE * size, n),
                           db_int((int64_t)time_wall_ns())),
                   n, e);
    free(v);
    free(titles);
    return r;
}

static int write_parts(struct store_batch *b, struct err *e)
{
    WIND_AUTO(db_rows) struct db_rows *rows = NULL;

    if (b->n_parts == 0)
        return 0;
    int r = db_rows_begin(b->tx, "incident_entities", "entity_id, role, alert_type, incident_id",
                          b->n_parts, &rows, e);
    for (size_t i = 0; r == 0 && i < b->n_parts; i++) {
        const struct view_part *p = &b->parts[i].part;
        r = db_rows_add(rows,
                        DB_ARGS(db_int(b->parts[i].entity->id), db_str(part_role_words[p->role]),
                                db_str(b->view->type_words[p->type]), db_int(p->in->id)),
                        e);
    }
    return r == 0 ? db_rows_end(&rows, e) : r;
}

/* ---------------------------------------------------------------- alerts */

static int add_alert(struct db_rows *rows, const struct store_row *row, int64_t now, struct err *e)
{
    const struct alert *a = row->alert, *l = row->latest;
    const struct db_value no = db_null();

    return db_rows_add(
        rows,
        DB_ARGS(db_int(row->id), db_bytes(a->uid, 16), db_int(l->rev), db_int(a->detected_ns),
                db_int(l->severity), db_str(a->type), db_str(a->source), db_str(l->description),
                db_str(a->status ? a->status : "new"), db_str(a->assigned), db_str(l->tactic),
                l->score < 0 ? no : db_f64(l->score), db_int(l->first_ns), db_int(l->last_ns),
                a->has_flow ? db_bytes(a->src, 16) : no, a->has_flow ? db_bytes(a->dst, 16) : no,
                a->has_flow ? db_int(a->src_port) : no, a->has_flow ? db_int(a->dst_port) : no,
                db_str(a->proto), db_str(l->metadata), db_str(l->entities_json),
                db_int(row->in->id), db_int(now), db_int(now)),
        e);
}

static int add_alerts(struct store_batch *b, struct err *e)
{
    WIND_AUTO(db_rows) struct db_rows *rows = NULL;
    const int64_t now = (int64_t)time_wall_ns();
    int64_t id = 0;
    size_t n = 0;

    for (size_t i = 0; i < b->n_rows; i++)
        n += b->rows[i]->is_new;
    if (n == 0)
        return 0;
    int r = db_reserve(b->tx, "alerts", n, &id, e);
    if (r == 0)
        r = db_rows_begin(
            b->tx, "alerts",
            "id, uid, rev, detected_at, severity, type, source, description, "
            "status, assigned_to, tactic, score, first_seen, last_seen, src, dst, src_port, "
            "dst_port, proto, metadata, entities, incident_id, created_at, "
            "updated_at",
            n, &rows, e);
    for (size_t i = 0; r == 0 && i < b->n_rows; i++)
        if (b->rows[i]->is_new) {
            b->rows[i]->id = id++;
            r = add_alert(rows, b->rows[i], now, e);
        }
    return r == 0 ? db_rows_end(&rows, e) : r;
}

/* In PostgreSQL a table of its own says which alert has a uid. */
static int add_uids(struct store_batch *b, struct err *e)
{
    WIND_AUTO(db_rows) struct db_rows *rows = NULL;
    int r = db_rows_begin(b->tx, "alert_uids", "uid, alert_id", b->n_rows, &rows, e);

    for (size_t i = 0; r == 0 && i < b->n_rows; i++)
        if (b->rows[i]->is_new)
            r = db_rows_add(
                rows, DB_ARGS(db_bytes(b->rows[i]->alert->uid, 16), db_int(b->rows[i]->id)), e);
    return r == 0 ? db_rows_end(&rows, e) : r;
}

enum {
    AL_ID,
    AL_REV,
    AL_SEVERITY,
    AL_DESCRIPTION,
    AL_TACTIC,
    AL_SCORE,
    AL_FIRST,
    AL_LAST,
    AL_METADATA,
    AL_ENTITIES,
    AL_COLUMNS
};

static void alert_columns(struct db_value *v, size_t size, const struct store_row *row)
{
    const struct alert *l = row->latest;

    v[AL_ID * size] = db_int(row->id);
    v[AL_REV * size] = db_int(l->rev);
    v[AL_SEVERITY * size] = db_int(l->severity);
    v[AL_DESCRIPTION * size] = db_str(l->description);
    v[AL_TACTIC * size] = db_str(l->tactic);
    v[AL_SCORE * size] = l->score < 0 ? db_null() : db_f64(l->score);
    v[AL_FIRST * size] = db_int(l->first_ns);
    v[AL_LAST * size] = db_int(l->last_ns);
    v[AL_METADATA * size] = db_str(l->metadata);
    v[AL_ENTITIES * size] = db_str(l->entities_json);
}

static int change_alerts(struct store_batch *b, struct err *e)
{
    static const char sql[] =
        "UPDATE alerts SET rev = t.rev, "
        "severity = CASE WHEN alerts.kept & 4 <> 0 THEN alerts.severity ELSE t.severity END, "
        "description = t.description, tactic = t.tactic, score = t.score, first_seen = t.first, "
        "last_seen = t.last, metadata = t.metadata, entities = t.entities, updated_at = $11 "
        "FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) "
        "AS t(id, rev, severity, description, tactic, score, first, last, metadata, entities) "
        "WHERE alerts.id = t.id";
    static const enum db_type types[AL_COLUMNS] = {
        DB_TYPE_INT, DB_TYPE_INT, DB_TYPE_INT, DB_TYPE_TEXT, DB_TYPE_TEXT,
        DB_TYPE_F64, DB_TYPE_INT, DB_TYPE_INT, DB_TYPE_TEXT, DB_TYPE_TEXT};
    const size_t size = b->n_rows + 1;
    struct db_value args[AL_COLUMNS + 1];
    struct db_value *v = calloc(size * AL_COLUMNS, sizeof(*v));
    size_t n = 0;

    if (v == NULL)
        return store_no_memory(e);
    for (size_t i = 0; i < b->n_rows; i++)
        if (!b->rows[i]->is_new)
            alert_columns(v + n++, size, b->rows[i]);
    for (size_t i = 0; i < AL_COLUMNS; i++)
        args[i] = db_array(types[i], v + i * size, n);
    args[AL_COLUMNS] = db_int((int64_t)time_wall_ns());
    const int r = update(b, sql, args, WIND_ARRAY_SIZE(args), n, e);
    free(v);
    return r;
}

static int unlink_entities(struct store_batch *b, struct err *e)
{
    int64_t *ids = calloc(b->n_rows + 1, sizeof(*ids));
    size_t n = 0;

    if (ids == NULL)
        return store_no_memory(e);
    for (size_t i = 0; i < b->n_rows; i++)
        if (!b->rows[i]->is_new && b->rows[i]->is_relinked)
            ids[n++] = b->rows[i]->id;
    const int r = n == 0 ? 0
                         : db_run(b->tx, "DELETE FROM alert_entities WHERE alert_id = ANY($1)",
                                  DB_ARGS(db_ints(ids, n)), NULL, e);
    free(ids);
    return r;
}

static int link_entities(struct store_batch *b, struct err *e)
{
    WIND_AUTO(db_rows) struct db_rows *rows = NULL;
    size_t n = 0;

    for (size_t i = 0; i < b->n_rows; i++)
        n += b->rows[i]->latest->n_entities;
    int r = unlink_entities(b, e);
    if (r == 0)
        r = db_rows_begin(b->tx, "alert_entities", "alert_id, pos, entity_id, role", n, &rows, e);
    for (size_t i = 0; r == 0 && i < b->n_rows; i++) {
        const struct store_row *row = b->rows[i];
        if (!row->is_new && !row->is_relinked)
            continue;
        for (size_t k = 0; r == 0 && k < row->latest->n_entities; k++)
            r = db_rows_add(rows,
                            DB_ARGS(db_int(row->id), db_int((int64_t)k), db_int(row->people[k]->id),
                                    db_str(row->latest->entities[k].role)),
                            e);
    }
    return r == 0 ? db_rows_end(&rows, e) : r;
}

/* ---------------------------------------------------------------- all of it */

/* Alerts as they came, then incidents as they were touched, whose is_new is set already. */
static int tell_listeners(struct store_batch *b, struct outbox_change *changes, struct err *e)
{
    struct outbox_change *incidents = changes + b->n_rows;

    for (size_t i = 0; i < b->n_rows; i++)
        changes[i] = (struct outbox_change){TOPIC_ALERTS, b->rows[i]->id, b->rows[i]->is_new};
    for (size_t i = 0; i < b->n_touched; i++) {
        incidents[i].topic = TOPIC_INCIDENTS;
        incidents[i].id = b->touched[i]->id;
    }
    return outbox_add_changes(b->tx, changes, b->n_rows + b->n_touched, &b->view->last, e);
}

static void begin_anew(struct store_batch *b)
{
    for (size_t i = 0; i < b->n_rows; i++) {
        struct stored *of = b->rows[i]->of;
        of->id = b->rows[i]->id;
        if (of->in != NULL)
            of->incident = of->in->id;
        of->in = NULL;
        of->row = NULL;
    }
    for (size_t i = 0; i < b->n_touched; i++)
        b->touched[i]->is_touched = false;
    b->n_rows = b->n_touched = b->n_parts = 0;
}

int store_flush(struct store_batch *b, struct err *e)
{
    struct outbox_change *changes = calloc(b->n_rows + b->n_touched + 1, sizeof(*changes));

    int r = changes == NULL ? store_no_memory(e) : add_incidents(b, changes + b->n_rows, e);
    if (r == 0)
        r = change_incidents(b, changes + b->n_rows, e);
    if (r == 0)
        r = add_alerts(b, e);
    if (r == 0 && db_engine(b->tx) == DB_POSTGRES)
        r = add_uids(b, e);
    if (r == 0)
        r = change_alerts(b, e);
    if (r == 0)
        r = link_entities(b, e);
    if (r == 0)
        r = write_parts(b, e);
    if (r == 0)
        r = tell_listeners(b, changes, e);
    free(changes);
    begin_anew(b);
    return r;
}
