#include "collector/ingest_store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "collector/ingest_write.h"
#include "collector/view_join.h"
#include "common/hash.h"

/* ---------------------------------------------------------------- what is there already */

static uint64_t uid_key(const struct view *v, const uint8_t uid[16])
{
    return hash64_keyed(uid, 16, v->seed) | 1;
}

static struct stored *stored_find(const struct store_batch *b, const uint8_t uid[16])
{
    struct stored *k;

    for (uint64_t key = uid_key(b->view, uid); (k = id_map_get(&b->by_uid, key)) != NULL; key += 2)
        if (memcmp(k->uid, uid, 16) == 0)
            return k;
    return NULL;
}

static struct stored *stored_make(struct store_batch *b, const uint8_t uid[16])
{
    struct stored *k = stored_find(b, uid);
    uint64_t key = uid_key(b->view, uid);

    if (k != NULL)
        return k;
    while (id_map_get(&b->by_uid, key) != NULL)
        key += 2;
    k = arena_alloc(b->arena, sizeof(*k));
    if (k == NULL || id_map_put(&b->by_uid, key, k) != 0)
        return NULL;
    *k = (struct stored){.id = 0};
    memcpy(k->uid, uid, 16);
    return k;
}

static struct entities_mark entities_mark(const struct view *v, const char *json)
{
    const size_t len = strlen(json);

    return (struct entities_mark){.len = len,
                                  .whole = hash64_keyed(json, len, v->seed),
                                  .open = hash64_keyed(json, len == 0 ? 0 : len - 1, v->seed)};
}

static int stored_read(struct store_batch *b, struct db_stmt *s, struct err *e)
{
    size_t len = 0;
    const uint8_t *uid = db_blob(s, 0, &len);

    if (len != 16)
        return err_set(e, -EINVAL, "an alert's uid has %zu bytes", len);
    const int type = view_type(b->view, db_text(s, 9));
    struct stored *k = stored_make(b, uid);
    if (k == NULL || type < 0)
        return store_no_memory(e);
    k->id = db_i64(s, 1);
    k->rev = db_i64(s, 2);
    k->incident = db_i64(s, 3);
    k->severity = (int)db_i64(s, 4);
    k->keeps_severity = (db_i64(s, 5) & KEPT_SEVERITY) != 0;
    k->first_ns = db_i64(s, 6);
    k->last_ns = db_i64(s, 7);
    k->stage = db_is_null(s, 8) ? 0 : story_stage(db_text(s, 8));
    k->type = (uint16_t)type;
    k->entities = entities_mark(b->view, db_text(s, 10));
    k->in = NULL;
    k->row = NULL;
    return 0;
}

static int stored_load(struct store_batch *b, const struct db_value *uids, size_t n, struct err *e)
{
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;
    int r = db_query(b->tx,
                     "SELECT u.uid, a.id, a.rev, a.incident_id, a.severity, a.kept, a.first_seen, "
                     "a.last_seen, a.tactic, a.type, a.entities FROM alert_uids u "
                     "JOIN alerts a ON a.id = u.alert_id WHERE u.uid = ANY($1)",
                     DB_ARGS(db_array(DB_TYPE_BLOB, uids, n)), &s, e);

    while (r == 0 && (r = db_step(s, e)) == DB_ROW)
        r = stored_read(b, s, e);
    return r;
}

/* Those of all items; the incidents of those that will be updated come into the view. */
static int load_stored(struct store_batch *b, struct err *e)
{
    struct db_value *uids = calloc(b->n_items + 1, sizeof(*uids));
    int64_t *ids = calloc(b->n_items + 1, sizeof(*ids));
    size_t n = 0;

    int r = uids == NULL || ids == NULL ? store_no_memory(e) : 0;
    for (size_t i = 0; r == 0 && i < b->n_items; i++)
        if (b->items[i].alert != NULL)
            uids[n++] = db_bytes(b->items[i].alert->uid, 16);
    if (r == 0 && n > 0)
        r = stored_load(b, uids, n, e);
    n = 0;
    for (size_t i = 0; r == 0 && i < b->n_items; i++) {
        const struct alert *a = b->items[i].alert;
        const struct stored *k = a == NULL ? NULL : stored_find(b, a->uid);
        if (k != NULL && a->rev > k->rev && k->incident != 0 &&
            view_incident(b->view, k->incident) == NULL)
            ids[n++] = k->incident;
    }
    if (r == 0)
        r = view_load(b->view, b->tx, ids, n, e);
    free(uids);
    free(ids);
    return r;
}

/* ---------------------------------------------------------------- entities */

static bool is_wanted(const struct store_batch *b, const struct alert *a)
{
    const struct stored *k = a == NULL ? NULL : stored_find(b, a->uid);

    return a != NULL && (k == NULL || a->rev > k->rev);
}

/* Every wanted item's entities as those of the view. 0, VIEW_HEAVY. */
static int resolve(struct store_batch *b, struct err *e)
{
    const int64_t window_ns = b->view->conf.window_ns;
    int64_t from_ns = INT64_MAX;
    size_t n = 0;

    struct view_want *wants = calloc(b->n_people + 1, sizeof(*wants));
    int r = wants == NULL ? store_no_memory(e) : 0;
    n = 0;
    for (size_t i = 0; r == 0 && i < b->n_items; i++) {
        const struct alert *a = b->items[i].alert;
        b->people_of[i] = n;
        if (!is_wanted(b, a))
            continue;
        for (size_t k = 0; r == 0 && k < a->n_entities; k++) {
            struct view_entity *en =
                view_entity(b->view, a->entities[k].kind, a->entities[k].value);
            if (en == NULL)
                r = store_no_memory(e);
            b->people[n] = en;
            wants[n++] = (struct view_want){en, a->first_ns - window_ns};
        }
        if (a->first_ns < from_ns)
            from_ns = a->first_ns;
    }
    b->view->from_ns = from_ns == INT64_MAX ? INT64_MIN : from_ns - 2 * window_ns;
    if (r == 0)
        r = view_resolve(b->view, b->tx, wants, n, e);
    free(wants);
    return r;
}

/* ---------------------------------------------------------------- one alert */

/* Its entities play these parts in its incident; parts that are new are written with the batch. */
static int take_parts(struct store_batch *b, const struct view_alert *a, struct view_incident *in,
                      struct err *e)
{
    for (size_t i = 0; i < a->alert->n_entities; i++) {
        const struct view_part part = {in, a->type, (uint8_t)view_role(a->alert, i)};
        const int r = view_part_add(b->view, a->entities[i], &part);
        if (r < 0)
            return store_no_memory(e);
        if (r == 1)
            store_part(b, a->entities[i], &part);
    }
    return 0;
}

/* The alert is in `in`, which tells of it from now on. */
static int take_in(struct store_batch *b, const struct view_alert *a, struct view_incident *in,
                   bool is_new, struct err *e)
{
    int r = view_before_stretch(b->view, b->tx, in, e);

    if (r == 0 && in->id != 0)
        r = view_story_load(b->view, b->tx, in, e);
    if (r == 0)
        r = view_story_add(b->view, in, a, is_new, e);
    if (r == 0)
        r = take_parts(b, a, in, e);
    if (r == 0)
        store_touch(b, in);
    return r;
}

/* What a later revision in this batch is compared with. */
static void remember(struct store_batch *b, struct stored *k, const struct view_alert *a)
{
    k->rev = a->alert->rev;
    k->severity = a->severity;
    k->first_ns = a->alert->first_ns;
    k->last_ns = a->alert->last_ns;
    k->stage = a->alert->tactic == NULL ? 0 : story_stage(a->alert->tactic);
    k->type = a->type;
    k->entities = entities_mark(b->view, a->alert->entities_json);
}

/* 0, VIEW_HEAVY. */
static int put_new(struct store_batch *b, const struct view_alert *a, struct err *e)
{
    struct view_incident *in = NULL;
    struct stored *k;

    int r = view_find(b->view, a, &in);
    if (r != 0)
        return r;
    if (in == NULL)
        in = view_incident_new(b->view);
    r = in == NULL ? store_no_memory(e) : take_in(b, a, in, true, e);
    if (r != 0)
        return r;
    k = stored_make(b, a->alert->uid);
    if (k == NULL)
        return store_no_memory(e);
    k->in = in;
    k->row = store_row(b, k, a->alert, a->entities);
    k->row->in = in;
    k->row->is_new = true;
    remember(b, k, a);
    return 0;
}

/* Are the new ones the old ones, or those and more behind them? */
static bool grows(const struct view *v, const struct entities_mark *old, const char *json,
                  bool *ret_same)
{
    const size_t len = strlen(json), open = old->len - 1;

    *ret_same = len == old->len && hash64_keyed(json, len, v->seed) == old->whole;
    return *ret_same || (old->len > 2 && len > old->len && json[open] == ',' &&
                         hash64_keyed(json, open, v->seed) == old->open);
}

/* A revision that only adds to what its incident tells. */
static bool only_adds(const struct view *v, const struct stored *k, const struct view_alert *a,
                      bool *ret_same)
{
    const struct alert *al = a->alert;
    const unsigned stage = al->tactic == NULL ? 0 : story_stage(al->tactic);

    return grows(v, &k->entities, al->entities_json, ret_same) && a->severity >= k->severity &&
           al->first_ns <= k->first_ns && al->last_ns >= k->last_ns &&
           (k->stage == 0 || k->stage == stage);
}

/* 0, VIEW_HEAVY. */
static int put_again(struct store_batch *b, struct stored *k, struct view_alert *a, struct err *e)
{
    struct view_incident *in = k->in != NULL ? k->in : view_incident(b->view, k->incident);
    bool is_same = false;
    int r = 0;

    a->type = k->type; /* it stays what it was */
    if (k->keeps_severity)
        a->severity = k->severity;
    if ((in == NULL && k->incident != 0) || !only_adds(b->view, k, a, &is_same))
        return VIEW_HEAVY;
    if (in != NULL)
        r = take_in(b, a, in, false, e);
    if (r != 0)
        return r;
    if (k->row == NULL)
        k->row = store_row(b, k, a->alert, a->entities);
    k->row->latest = a->alert;
    k->row->people = a->entities;
    k->row->is_relinked |= !is_same;
    remember(b, k, a);
    return 0;
}

/* By the database, after all before was written. */
static int put_slowly(struct store_batch *b, struct ingest_put *item, struct err *e)
{
    static const enum ingest_state states[] = {[ALERT_ADDED] = INGEST_STORED,
                                               [ALERT_UPDATED] = INGEST_UPDATED,
                                               [ALERT_UNCHANGED] = INGEST_KNOWN};
    const struct db_value uid = db_bytes(item->alert->uid, 16);
    struct correlate c;
    int64_t id = 0, incident = 0;

    int r = store_flush(b, e);
    if (r != 0)
        return r;
    b->view->singly++;
    correlate_init(&c, &b->view->conf);
    const int outcome = alert_put(b->tx, item->alert, &id, e);
    if (outcome < 0)
        return outcome;
    item->state = states[outcome];
    r = outcome == ALERT_ADDED     ? correlate_alert(&c, b->tx, id, item->alert, e)
        : outcome == ALERT_UPDATED ? correlate_changed(&c, b->tx, id, e)
                                   : 0;
    if (r == 0)
        r = correlate_finish(&c, b->tx, e);
    if (r == 0)
        r = db_query_i64(b->tx, "SELECT incident_id FROM alerts WHERE id = $1", DB_ARGS(db_int(id)),
                         &incident, e);
    if (r == 0 && incident != 0) {
        view_forget(b->view, incident);
        r = view_load(b->view, b->tx, &incident, 1, e);
    }
    if (r == 0)
        r = outbox_mark(b->tx, &b->view->last, e);
    return r == 0 ? stored_load(b, &uid, 1, e) : r;
}

static int put(struct store_batch *b, size_t i, bool is_heavy, struct err *e)
{
    struct ingest_put *item = &b->items[i];
    struct stored *k = stored_find(b, item->alert->uid);
    const int type = view_type(b->view, item->alert->type);

    if (type < 0)
        return store_no_memory(e);
    if (k != NULL && item->alert->rev <= k->rev) {
        item->state = INGEST_KNOWN;
        return 0;
    }
    struct view_alert a = {.alert = item->alert,
                           .entities = b->people + b->people_of[i],
                           .severity = item->alert->severity,
                           .type = (uint16_t)type};
    item->state = k == NULL ? INGEST_STORED : INGEST_UPDATED;
    const int r = is_heavy ? VIEW_HEAVY : k == NULL ? put_new(b, &a, e) : put_again(b, k, &a, e);
    return r == VIEW_HEAVY ? put_slowly(b, item, e) : r;
}

/* ---------------------------------------------------------------- the batch */

static int put_all(struct store_batch *b, struct err *e)
{
    int r = view_sync(b->view, b->tx, e);

    if (r == 0)
        r = load_stored(b, e);
    if (r == 0)
        r = resolve(b, e);
    const bool is_heavy = r == VIEW_HEAVY;
    if (is_heavy)
        r = 0;
    for (size_t i = 0; r == 0 && i < b->n_items; i++)
        if (b->items[i].alert != NULL)
            r = put(b, i, is_heavy, e);
    if (r == 0)
        r = store_flush(b, e);
    if (r != 0)
        view_clear(b->view);
    return r;
}

int ingest_store(struct view *v, struct db_tx *tx, struct ingest_put *items, size_t n,
                 struct err *e)
{
    struct store_batch b = {.view = v, .tx = tx, .items = items, .n_items = n};

    int r = store_batch_init(&b, e);
    if (r == 0)
        r = put_all(&b, e);
    store_batch_done(&b);
    return r;
}
