#include "collector/view.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "collector/db_rows.h"
#include "collector/view_story.h"
#include "common/crypto.h"
#include "common/hash.h"
#include "common/ip.h"

#define CHANGES_MAX 10000  /* incidents changed by others; beyond: begin anew */
#define ROWS_MAX    200000 /* parts of one batch's entities; beyond: VIEW_HEAVY */

const char *const part_role_words[] = {"attacker", "victim", "related", "subject", NULL};

static int no_memory(struct err *e)
{
    (void)err_set(e, -ENOMEM, "correlation: out of memory");
    return -ENOMEM;
}

void view_init(struct view *v, const struct correlate_conf *conf)
{
    *v = (struct view){
        .conf = *conf, .known_ns = INT64_MIN, .from_ns = INT64_MIN, .order = INT64_MAX / 2};
    if (v->conf.memory == 0)
        v->conf.memory = CORRELATE_MEMORY;
    crypto_random(&v->seed, sizeof(v->seed));
}

void view_clear(struct view *v)
{
    const struct view old = *v;

    for (struct view_entity *en = v->entities, *next; en != NULL; en = next) {
        next = en->next;
        free(en->parts);
        free(en);
    }
    for (struct view_incident *in = v->all, *next; in != NULL; in = next) {
        next = in->next;
        view_story_free(in->story);
        free(in);
    }
    id_map_done(&v->by_text);
    id_map_done(&v->by_id);
    id_map_done(&v->incidents);
    id_map_done(&v->types);
    free(v->type_words);
    view_init(v, &old.conf);
    v->singly = old.singly;
    v->forgotten = old.forgotten + 1;
}

/* ---------------------------------------------------------------- texts */

/* A key of id_map, never 0; who gives equal ones to different texts only makes us look twice. */
static uint64_t text_key(const struct view *v, const char *text, uint64_t kind)
{
    return hash64_keyed(text, strlen(text), v->seed + kind) | 1;
}

struct view_entity *view_entity(struct view *v, const char *kind, const char *value)
{
    uint64_t key = text_key(v, value, (uint8_t)kind[0]);
    const size_t len = strlen(value);
    struct view_entity *en;

    for (; (en = id_map_get(&v->by_text, key)) != NULL; key += 2)
        if (strcmp(en->value, value) == 0 && strcmp(en->kind, kind) == 0)
            return en;
    en = calloc(1, sizeof(*en) + len + 1);
    if (en == NULL || id_map_put(&v->by_text, key, en) != 0) {
        free(en);
        return NULL;
    }
    char *copy = (char *)(en + 1);
    memcpy(copy, value, len + 1);
    en->value = copy;
    en->kind = entity_kind_words[store_word(entity_kind_words, kind)];
    en->known_ns = INT64_MAX;
    en->next = v->entities;
    v->entities = en;
    v->bytes += (int64_t)(sizeof(*en) + len + 1 + 4 * sizeof(struct id_slot));
    return en;
}

int view_type(struct view *v, const char *type)
{
    uint64_t key = text_key(v, type, 0);
    const uintptr_t *known;

    for (; (known = id_map_get(&v->types, key)) != NULL; key += 2)
        if (strcmp(v->type_words[(uintptr_t)known - 1], type) == 0)
            return (int)((uintptr_t)known - 1);
    if (v->n_types == v->size_types) {
        const size_t size = v->size_types == 0 ? 16 : v->size_types * 2;
        void *words = size > UINT16_MAX ? NULL : realloc(v->type_words, size * (TYPE_MAX + 1));
        if (words == NULL)
            return -ENOMEM;
        v->type_words = words;
        v->bytes += (int64_t)((size - v->size_types) * (TYPE_MAX + 1));
        v->size_types = size;
    }
    /* NOLINTNEXTLINE(performance-no-int-to-ptr): a number in a table of pointers */
    if (id_map_put(&v->types, key, (void *)(uintptr_t)(v->n_types + 1)) != 0)
        return -ENOMEM;
    (void)strncpy(v->type_words[v->n_types], type, TYPE_MAX);
    v->type_words[v->n_types][TYPE_MAX] = '\0';
    return (int)v->n_types++;
}

/* ---------------------------------------------------------------- incidents */

struct view_incident *view_incident(const struct view *v, int64_t id)
{
    struct view_incident *in = id_map_get(&v->incidents, (uint64_t)id);

    return in == NULL || in->is_gone ? NULL : in;
}

struct view_incident *view_incident_new(struct view *v)
{
    struct view_incident *in = calloc(1, sizeof(*in));

    if (in == NULL)
        return NULL;
    in->order = v->order++;
    in->is_open = true;
    in->next = v->all;
    v->all = in;
    v->bytes += (int64_t)(sizeof(*in) + 2 * sizeof(struct id_slot));
    return in;
}

int view_incident_has_id(struct view *v, struct view_incident *in, int64_t id)
{
    in->id = in->order = id;
    return id_map_put(&v->incidents, (uint64_t)id, in);
}

/* Parts still point at it, and are passed over. */
void view_forget(struct view *v, int64_t id)
{
    struct view_incident *in = view_incident(v, id);

    if (in != NULL)
        in->is_gone = true;
}

/* ---------------------------------------------------------------- parts */

/* Drops what is over, so that the list of a busy host stays short. */
static void trim(struct view *v, struct view_entity *en)
{
    const int64_t from_ns = en->known_ns > v->from_ns ? en->known_ns : v->from_ns;
    size_t kept = 0;

    for (size_t i = 0; i < en->n_parts; i++)
        if (!en->parts[i].in->is_gone && en->parts[i].in->last_ns >= from_ns)
            en->parts[kept++] = en->parts[i];
    en->n_parts = kept;
    en->known_ns = from_ns;
    if (from_ns > v->known_ns)
        v->known_ns = from_ns;
}

int view_part_add(struct view *v, struct view_entity *en, const struct view_part *part)
{
    for (size_t i = en->n_parts; i > 0; i--) {
        const struct view_part *p = &en->parts[i - 1];
        if (p->in == part->in && p->type == part->type && p->role == part->role)
            return 0;
    }
    if (en->n_parts == en->size && en->size >= 256)
        trim(v, en);
    if (en->n_parts == en->size) {
        const size_t size = en->size == 0 ? 2 : en->size * 2;
        void *parts = realloc(en->parts, size * sizeof(*en->parts));
        if (parts == NULL)
            return -ENOMEM;
        v->bytes += (int64_t)((size - en->size) * sizeof(*en->parts));
        en->parts = parts;
        en->size = size;
    }
    en->parts[en->n_parts++] = *part;
    return 1;
}

/* Those parts of incidents that entities of the view play. */
static int load_parts(struct view *v, struct db_tx *tx, const int64_t *ids, size_t n, struct err *e)
{
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;
    int r = db_query(tx,
                     "SELECT entity_id, role, alert_type, incident_id FROM incident_entities "
                     "WHERE incident_id = ANY($1)",
                     DB_ARGS(db_ints(ids, n)), &s, e);

    while (r == 0 && (r = db_step(s, e)) == DB_ROW) {
        struct view_entity *en = id_map_get(&v->by_id, (uint64_t)db_i64(s, 0));
        const int type = view_type(v, db_text(s, 2));
        const int role = store_word(part_role_words, db_text(s, 1));
        struct view_incident *in = view_incident(v, db_i64(s, 3));
        r = 0;
        if (en == NULL || in == NULL || role < 0)
            continue;
        const struct view_part part = {in, (uint16_t)type, (uint8_t)role};
        r = type < 0 ? type : view_part_add(v, en, &part);
        r = r < 0 ? no_memory(e) : 0;
    }
    return r;
}

int view_load(struct view *v, struct db_tx *tx, const int64_t *ids, size_t n, struct err *e)
{
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;
    int r = n == 0 ? 0
                   : db_query(tx,
                              "SELECT id, status, first_seen, last_seen, alert_count FROM "
                              "incidents WHERE id = ANY($1)",
                              DB_ARGS(db_ints(ids, n)), &s, e);

    if (n == 0 || r != 0)
        return r;
    while (r == 0 && (r = db_step(s, e)) == DB_ROW) {
        r = 0;
        if (view_incident(v, db_i64(s, 0)) != NULL)
            continue;
        struct view_incident *in = view_incident_new(v);
        if (in == NULL || view_incident_has_id(v, in, db_i64(s, 0)) != 0)
            return no_memory(e);
        in->is_open = strcmp(db_text(s, 1), "resolved") != 0;
        in->first_ns = db_i64(s, 2);
        in->last_ns = db_i64(s, 3);
        in->alerts = db_i64(s, 4);
    }
    return r == 0 ? load_parts(v, tx, ids, n, e) : r;
}

int view_before_stretch(struct view *v, struct db_tx *tx, const struct view_incident *in,
                        struct err *e)
{
    return in->id == 0 || in->last_ns >= v->known_ns ? 0 : load_parts(v, tx, &in->id, 1, e);
}

/* ---------------------------------------------------------------- others' changes */

static int take_changes(struct view *v, struct db_tx *tx, struct err *e)
{
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;
    int64_t *ids = calloc(CHANGES_MAX, sizeof(*ids));
    bool has_deleted = false;
    size_t n = 0;

    int r = ids == NULL ? no_memory(e)
                        : db_query(tx,
                                   "SELECT object_id, max(CASE WHEN op = 'deleted' THEN 1 ELSE 0 "
                                   "END) FROM outbox WHERE seq > $1 AND (topic = 'incidents' OR "
                                   "op = 'deleted') GROUP BY object_id LIMIT $2",
                                   DB_ARGS(db_int(v->last.seq), db_int(CHANGES_MAX)), &s, e);
    while (r == 0 && (r = db_step(s, e)) == DB_ROW) {
        ids[n++] = db_i64(s, 0);
        has_deleted |= db_i64(s, 1) != 0; /* entities may have gone as well */
        r = 0;
    }
    if (r == 0 && (has_deleted || n == CHANGES_MAX)) {
        view_clear(v);
    } else if (r == 0) {
        for (size_t i = 0; i < n; i++)
            view_forget(v, ids[i]);
        r = view_load(v, tx, ids, n, e);
    }
    free(ids);
    return r;
}

int view_sync(struct view *v, struct db_tx *tx, struct err *e)
{
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;

    int r = db_query_row(tx,
                         "SELECT seq, at, coalesce((SELECT at FROM outbox WHERE seq = $1), 0) "
                         "FROM outbox ORDER BY seq DESC LIMIT 1",
                         DB_ARGS(db_int(v->last.seq)), &s, e);
    if (r < 0)
        return r;
    const struct outbox_mark last = {.seq = r == DB_ROW ? db_i64(s, 0) : 0,
                                     .at_ns = r == DB_ROW ? db_i64(s, 1) : 0};
    const int64_t at_ns = r == DB_ROW ? db_i64(s, 2) : 0;
    r = 0;
    if (v->entities != NULL && (at_ns != v->last.at_ns || v->bytes > v->conf.memory))
        view_clear(v);
    else if (v->entities != NULL && last.seq != v->last.seq)
        r = take_changes(v, tx, e);
    v->last = last;
    return r;
}

/* ---------------------------------------------------------------- entities of a batch */

/* Those that the database knows get their ids. */
static int find_ids(struct view *v, struct db_tx *tx, struct view_entity **list, size_t n,
                    struct err *e)
{
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;
    struct db_value *texts = calloc(n * 2, sizeof(*texts));

    if (texts == NULL)
        return no_memory(e);
    for (size_t i = 0; i < n; i++) {
        texts[i] = db_str(list[i]->kind);
        texts[n + i] = db_str(list[i]->value);
    }
    int r = db_query(
        tx,
        "SELECT en.id, en.kind, en.value FROM unnest($1, $2) AS t(kind, value) "
        "JOIN entities en ON en.kind = t.kind AND en.value = t.value",
        DB_ARGS(db_array(DB_TYPE_TEXT, texts, n), db_array(DB_TYPE_TEXT, texts + n, n)), &s, e);
    while (r == 0 && (r = db_step(s, e)) == DB_ROW) {
        struct view_entity *en = view_entity(v, db_text(s, 1), db_text(s, 2));
        r = 0;
        if (en != NULL)
            en->id = db_i64(s, 0);
        if (en == NULL || id_map_put(&v->by_id, (uint64_t)en->id, en) != 0)
            r = no_memory(e);
    }
    free(texts);
    return r;
}

/* The others are made. */
static int make_ids(struct view *v, struct db_tx *tx, struct view_entity **list, size_t n,
                    struct err *e)
{
    WIND_AUTO(db_rows) struct db_rows *rows = NULL;
    int64_t id = 0;
    size_t missing = 0;

    for (size_t i = 0; i < n; i++)
        missing += list[i]->id == 0;
    if (missing == 0)
        return 0;
    int r = db_reserve(tx, "entities", missing, &id, e);
    if (r == 0)
        r = db_rows_begin(tx, "entities", "id, kind, value, addr", missing, &rows, e);
    for (size_t i = 0; r == 0 && i < n; i++) {
        struct view_entity *en = list[i];
        uint8_t addr[16];
        if (en->id != 0)
            continue;
        en->id = id++;
        en->known_ns = INT64_MIN; /* nobody is in an incident before it is known */
        if (id_map_put(&v->by_id, (uint64_t)en->id, en) != 0)
            return no_memory(e);
        const bool is_addr = strcmp(en->kind, "host") == 0 && ip_parse(en->value, addr) == 0;
        r = db_rows_add(rows,
                        DB_ARGS(db_int(en->id), db_str(en->kind), db_str(en->value),
                                is_addr ? db_bytes(addr, sizeof(addr)) : db_null()),
                        e);
    }
    return r == 0 ? db_rows_end(&rows, e) : r;
}

/* Rows of {entity, role, type, incident}; incidents that aren't here are listed in `ids`. */
static int take_parts(struct view *v, struct db_stmt *s, int64_t *ids, size_t *n_ids, struct err *e)
{
    struct id_map listed = {.slots = NULL};
    size_t rows = 0;
    int r;

    while ((r = db_step(s, e)) == DB_ROW && rows++ < ROWS_MAX) {
        struct view_incident *in = view_incident(v, db_i64(s, 3));
        struct view_entity *en = id_map_get(&v->by_id, (uint64_t)db_i64(s, 0));
        const int type = view_type(v, db_text(s, 2));
        const int role = store_word(part_role_words, db_text(s, 1));
        const struct view_part part = {in, (uint16_t)type, (uint8_t)role};
        if (in != NULL && en != NULL && role >= 0)
            r = type < 0 ? type : view_part_add(v, en, &part);
        else
            r = id_map_add(&listed, (uint64_t)db_i64(s, 3));
        if (r < 0)
            break;
        if (in == NULL && r > 0)
            ids[(*n_ids)++] = db_i64(s, 3);
    }
    id_map_done(&listed);
    return r == -ENOMEM ? no_memory(e) : r == DB_ROW ? VIEW_HEAVY : r;
}

static int know_parts(struct view *v, struct db_tx *tx, struct view_entity **list, size_t n,
                      int64_t from_ns, struct err *e)
{
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;
    int64_t *ids = calloc(n + ROWS_MAX, sizeof(*ids));
    size_t n_ids = 0;

    if (ids == NULL)
        return no_memory(e);
    for (size_t i = 0; i < n; i++)
        ids[i] = list[i]->id;
    int r = db_query(tx,
                     "SELECT ie.entity_id, ie.role, ie.alert_type, ie.incident_id "
                     "FROM incident_entities ie JOIN incidents i ON i.id = ie.incident_id "
                     "WHERE ie.entity_id = ANY($1) AND i.last_seen >= $2",
                     DB_ARGS(db_ints(ids, n), db_int(from_ns)), &s, e);
    if (r == 0)
        r = take_parts(v, s, ids + n, &n_ids, e);
    s = db_stmt_free(s);
    if (r == 0)
        r = view_load(v, tx, ids + n, n_ids, e);
    free(ids);
    for (size_t i = 0; r == 0 && i < n; i++)
        list[i]->known_ns = from_ns;
    if (r == 0 && from_ns > v->known_ns)
        v->known_ns = from_ns;
    return r;
}

int view_resolve(struct view *v, struct db_tx *tx, const struct view_want *wants, size_t n,
                 struct err *e)
{
    struct view_entity **list = calloc(n + 1, sizeof(struct view_entity *));
    struct id_map asked = {.slots = NULL};
    int64_t from_ns = INT64_MAX;
    size_t n_list = 0;
    int r = list == NULL ? no_memory(e) : 0;

    for (size_t i = 0; r == 0 && i < n; i++)
        if (wants[i].entity->id == 0 && (r = id_map_add(&asked, (uintptr_t)wants[i].entity)) == 1) {
            list[n_list++] = wants[i].entity;
            r = 0;
        }
    if (r == 0 && n_list > 0)
        r = find_ids(v, tx, list, n_list, e);
    if (r == 0)
        r = make_ids(v, tx, list, n_list, e);
    id_map_done(&asked);

    n_list = 0;
    for (size_t i = 0; r == 0 && i < n; i++) {
        struct view_entity *en = wants[i].entity;
        if (en->known_ns <= wants[i].from_ns)
            continue;
        if (wants[i].from_ns < from_ns)
            from_ns = wants[i].from_ns;
        if ((r = id_map_add(&asked, (uint64_t)en->id)) == 1) {
            list[n_list++] = en;
            r = 0;
        }
    }
    if (r == 0 && n_list > 0)
        /* so much earlier that those who are a little late needn't ask again */
        r = know_parts(v, tx, list, n_list, from_ns - v->conf.window_ns, e);
    id_map_done(&asked);
    free(list);
    return r == -ENOMEM ? no_memory(e) : r;
}
