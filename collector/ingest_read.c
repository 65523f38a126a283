#include "collector/ingest_read.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "collector/schema.h"
#include "common/buf.h"
#include "common/ip.h"
#include "common/json_scan.h"

#define REV_MAX INT64_C(0x7fffffff)

/* FIELD(name, path) of an alert in EVE form. */
#define FIELDS(FIELD)                                                                              \
    FIELD(TIMESTAMP, "timestamp")                                                                  \
    FIELD(SRC_IP, "src_ip")                                                                        \
    FIELD(SRC_PORT, "src_port")                                                                    \
    FIELD(DEST_IP, "dest_ip")                                                                      \
    FIELD(DEST_PORT, "dest_port")                                                                  \
    FIELD(PROTO, "proto")                                                                          \
    FIELD(APP_PROTO, "app_proto")                                                                  \
    FIELD(FLOW_ID, "flow_id")                                                                      \
    FIELD(COMMUNITY_ID, "community_id")                                                            \
    FIELD(VLAN, "vlan")                                                                            \
    FIELD(IN_IFACE, "in_iface")                                                                    \
    FIELD(PCAP_FILENAME, "pcap_filename")                                                          \
    FIELD(SIGNATURE, "alert.signature")                                                            \
    FIELD(SIGNATURE_ID, "alert.signature_id")                                                      \
    FIELD(CATEGORY, "alert.category")                                                              \
    FIELD(WIND, "wind")                                                                            \
    FIELD(UID, "wind.uid")                                                                         \
    FIELD(REV, "wind.rev")                                                                         \
    FIELD(DETECTOR, "wind.detector")                                                               \
    FIELD(SEVERITY, "wind.severity")                                                               \
    FIELD(SCORE, "wind.score")                                                                     \
    FIELD(P_VALUE, "wind.p_value")                                                                 \
    FIELD(MODEL, "wind.model")                                                                     \
    FIELD(SCHEMA, "wind.schema")                                                                   \
    FIELD(EXPLAIN, "wind.explain")                                                                 \
    FIELD(TECHNIQUE, "wind.technique")                                                             \
    FIELD(TACTIC, "wind.technique.tactic")                                                         \
    FIELD(COUNT, "wind.count")                                                                     \
    FIELD(COMMUNITY_IDS, "wind.community_ids")                                                     \
    FIELD(ANALYSIS_LEVEL, "wind.analysis_level")                                                   \
    FIELD(COVERAGE, "wind.coverage")                                                               \
    FIELD(FIRST_SEEN, "wind.first_seen")                                                           \
    FIELD(LAST_SEEN, "wind.last_seen")                                                             \
    FIELD(ENTITIES, "wind.entities")

enum field_index {
#define FIELD(name, path) F_##name,
    FIELDS(FIELD)
#undef FIELD
        F_N
};

static const char *const paths[] = {
#define FIELD(name, path) [F_##name] = (path),
    FIELDS(FIELD)
#undef FIELD
};

enum { E_KIND, E_VALUE, E_ROLE, E_N };
static const char *const entity_paths[] = {
    [E_KIND] = "kind", [E_VALUE] = "value", [E_ROLE] = "role"};

struct ingest_reader {
    struct json_scan *alert, *entity;
};

/* One alert that is being read. */
struct reading {
    const struct ingest_reader *rd;
    struct arena *arena;
    struct json_span v[F_N];
};

int ingest_reader_new(struct ingest_reader **ret_reader, struct err *e)
{
    WIND_AUTO(ingest_reader) struct ingest_reader *rd = calloc(1, sizeof(*rd));

    if (rd == NULL)
        return err_set(e, -ENOMEM, "ingest: out of memory");
    int r = json_scan_new(&rd->alert, paths, F_N, e);
    if (r == 0)
        r = json_scan_new(&rd->entity, entity_paths, E_N, e);
    if (r == 0)
        *ret_reader = WIND_STEAL(rd);
    return r;
}

struct ingest_reader *ingest_reader_free(struct ingest_reader *rd)
{
    if (rd != NULL) {
        json_scan_free(rd->alert);
        json_scan_free(rd->entity);
    }
    free(rd);
    return NULL;
}

/* ---------------------------------------------------------------- single values */

/* The last key of a path: what people know a field as. */
static const char *name_of(enum field_index f)
{
    const char *dot = strrchr(paths[f], '.');

    return dot == NULL ? paths[f] : dot + 1;
}

/* A text of 1..max bytes, or NULL. */
static int text_of(const struct reading *g, const struct json_span *v, size_t max,
                   const char **ret_text, struct err *e)
{
    *ret_text = NULL;
    if (v->kind != SPAN_STRING || v->len == 0 || v->len > 6 * max)
        return 0; /* an escape is at most six times what it stands for */
    char *text = arena_alloc(g->arena, (size_t)v->len + 1);
    if (text == NULL)
        return err_set(e, -ENOMEM, "out of memory");
    if (json_span_text(v, text) <= max)
        *ret_text = text;
    return 0;
}

static int take_text(const struct reading *g, enum field_index f, size_t max, const char **ret_text,
                     struct err *e)
{
    const int r = text_of(g, &g->v[f], max, ret_text, e);

    if (r == 0 && *ret_text == NULL)
        return err_set(e, -EINVAL, "%s must be a text of 1 to %zu bytes", name_of(f), max);
    return r;
}

/* `absent` < 0: it has to be there. */
static int take_time(const struct reading *g, enum field_index f, int64_t absent, int64_t *ret_ns,
                     struct err *e)
{
    char text[64];

    if (g->v[f].kind == SPAN_ABSENT && absent >= 0) {
        *ret_ns = absent;
        return 0;
    }
    if (schema_time(json_span_short(&g->v[f], text, sizeof(text)), ret_ns) != 0)
        return err_set(e, -EINVAL, "%s must be a time", name_of(f));
    return 0;
}

static int take_port(const struct reading *g, enum field_index f, int64_t *ret_port, struct err *e)
{
    const struct json_span *v = &g->v[f];

    *ret_port = json_span_i64(v);
    if (v->kind != SPAN_ABSENT && (v->kind != SPAN_INT || *ret_port < 0 || *ret_port > 65535))
        return err_set(e, -EINVAL, "%s must be 0 to 65535", name_of(f));
    return 0;
}

static int take_address(const struct reading *g, enum field_index f, uint8_t ret_ip[16],
                        struct err *e)
{
    char text[64];

    if (ip_parse(json_span_short(&g->v[f], text, sizeof(text)), ret_ip) != 0)
        return err_set(e, -EINVAL, "%s must be an address", name_of(f));
    return 0;
}

/* ---------------------------------------------------------------- groups of values */

static int take_identity(const struct reading *g, struct alert *a, char ret_uid[UUID_TEXT],
                         struct err *e)
{
    char text[64];

    if (uuid_parse(json_span_short(&g->v[F_UID], text, sizeof(text)), a->uid) != 0)
        return err_set(e, -EINVAL, "wind.uid must be a UUID");
    uuid_format(a->uid, ret_uid);
    a->severity = store_severity(json_span_short(&g->v[F_SEVERITY], text, sizeof(text)));
    if (a->severity == 0)
        return err_set(e, -EINVAL, "wind.severity must be low, medium, high or critical");
    return take_text(g, F_DETECTOR, TYPE_MAX, &a->type, e);
}

static int take_numbers(const struct reading *g, struct alert *a, struct err *e)
{
    const struct json_span *score = &g->v[F_SCORE];

    a->rev = json_span_i64(&g->v[F_REV]);
    if (a->rev < 1 || a->rev > REV_MAX)
        return err_set(e, -EINVAL, "wind.rev must be a whole number from 1");
    a->score = -1;
    if (score->kind == SPAN_ABSENT || score->kind == SPAN_NULL)
        return 0;
    a->score = json_span_f64(score);
    if ((score->kind != SPAN_INT && score->kind != SPAN_REAL) || !(a->score >= 0 && a->score <= 1))
        return err_set(e, -EINVAL, "wind.score must be 0 to 1");
    return 0;
}

static int take_times(const struct reading *g, struct alert *a, struct err *e)
{
    int r = take_time(g, F_TIMESTAMP, -1, &a->detected_ns, e);

    if (r == 0)
        r = take_time(g, F_FIRST_SEEN, a->detected_ns, &a->first_ns, e);
    if (r == 0)
        r = take_time(g, F_LAST_SEEN, a->detected_ns, &a->last_ns, e);
    if (r == 0 && a->first_ns > a->last_ns)
        r = err_set(e, -EINVAL, "first_seen is after last_seen");
    return r;
}

static int take_flow(const struct reading *g, struct alert *a, struct err *e)
{
    if (g->v[F_SRC_IP].kind == SPAN_ABSENT && g->v[F_DEST_IP].kind == SPAN_ABSENT)
        return 0;
    int r = take_address(g, F_SRC_IP, a->src, e);
    if (r == 0)
        r = take_address(g, F_DEST_IP, a->dst, e);
    if (r == 0)
        r = text_of(g, &g->v[F_PROTO], 16, &a->proto, e);
    if (r == 0)
        r = take_port(g, F_SRC_PORT, &a->src_port, e);
    if (r == 0)
        r = take_port(g, F_DEST_PORT, &a->dst_port, e);
    a->has_flow = r == 0;
    return r;
}

/* ---------------------------------------------------------------- entities */

static int take_entity(const struct reading *g, const struct json_span *item,
                       struct entity *ret_entity, struct buf *json, struct err *e)
{
    struct json_span v[E_N] = {0};
    struct entity en = {.kind = NULL};
    char text[64];
    size_t len = 0;

    const char *raw = json_span_raw(item, &len);
    int r = json_scan(g->rd->entity, raw, len, v, e);
    if (r == 0)
        r = text_of(g, &v[E_VALUE], ENTITY_VALUE_MAX, &en.value, e);
    if (r != 0)
        return r;
    const int kind = store_word(entity_kind_words, json_span_short(&v[E_KIND], text, sizeof(text)));
    const int role =
        v[E_ROLE].kind == SPAN_STRING
            ? store_word(entity_role_words, json_span_short(&v[E_ROLE], text, sizeof(text)))
            : ENTITY_RELATED;
    r = store_entity_words(kind, role, en.value, &en, e);
    if (r != 0)
        return r;
    *ret_entity = en;
    raw = json_span_raw(&v[E_VALUE], &len);
    buf_puts(json, json->len == 0 ? "[{\"kind\":\"" : ",{\"kind\":\"");
    buf_puts(json, en.kind);
    buf_puts(json, "\",\"value\":");
    buf_put(json, raw, len);
    buf_puts(json, ",\"role\":\"");
    buf_puts(json, en.role);
    buf_puts(json, "\"}");
    return 0;
}

#define ENTITY_JSON_REST 64 /* bytes of an entity's JSON beside its value */

static int take_entities(const struct reading *g, struct alert *a, struct err *e)
{
    const struct json_span *list = &g->v[F_ENTITIES];
    struct json_items it = json_items_of(list);
    struct entity found[ENTITIES_MAX];
    struct json_span item;
    const size_t n = json_items_count(list);

    if (list->kind != SPAN_ABSENT && list->kind != SPAN_ARRAY)
        return err_set(e, -EINVAL, "entities must be a list");
    if (n > ENTITIES_MAX)
        return err_set(e, -EINVAL, "more than %d entities", ENTITIES_MAX);

    const size_t size = list->len + n * ENTITY_JSON_REST + 3;
    char *text = arena_alloc(g->arena, size);
    struct entity *entities = arena_alloc(g->arena, (n + 1) * sizeof(*entities));
    if (text == NULL || entities == NULL)
        return err_set(e, -ENOMEM, "out of memory");
    struct buf json = {.data = text, .cap = size, .max = size};
    for (size_t i = 0; i < n; i++) {
        (void)json_items_next(&it, &item);
        const int r = take_entity(g, &item, &found[i], &json, e);
        if (r != 0)
            return r;
    }
    buf_puts(&json, n == 0 ? "[]" : "]");
    memcpy(entities, found, n * sizeof(*entities));
    a->entities = entities;
    a->n_entities = n;
    a->entities_json = buf_text(&json);
    WIND_CHECK(!json.failed);
    return 0;
}

/* ---------------------------------------------------------------- metadata */

static const enum field_index from_wind[] = {
    F_SCORE, F_P_VALUE,       F_MODEL,          F_SCHEMA,   F_EXPLAIN,    F_TECHNIQUE,
    F_COUNT, F_COMMUNITY_IDS, F_ANALYSIS_LEVEL, F_COVERAGE, F_FIRST_SEEN, F_LAST_SEEN};
static const enum field_index from_flow[] = {F_SRC_IP, F_SRC_PORT,  F_DEST_IP, F_DEST_PORT,
                                             F_PROTO,  F_APP_PROTO, F_FLOW_ID, F_COMMUNITY_ID,
                                             F_VLAN,   F_IN_IFACE};
static const enum field_index from_alert[] = {F_SIGNATURE_ID, F_CATEGORY, F_PCAP_FILENAME};

#define METADATA_KEYS 1024 /* bytes of all keys above, and what stands between */

/* Members as they came, so they stay valid JSON. `comma`: something stands before. */
static void put_members(struct buf *b, const struct reading *g, const enum field_index *fields,
                        size_t n, bool comma)
{
    for (size_t i = 0; i < n; i++) {
        const struct json_span *v = &g->v[fields[i]];
        size_t len = 0;
        if (v->kind == SPAN_ABSENT)
            continue;
        buf_puts(b, comma ? ",\"" : "\"");
        buf_puts(b, name_of(fields[i]));
        buf_puts(b, "\":");
        const char *raw = json_span_raw(v, &len);
        buf_put(b, raw, len);
        comma = true;
    }
}

/* The API's metadata: what `wind` says of why, and the flow that tipped it. */
static int make_metadata(const struct reading *g, struct alert *a, size_t item_len, struct err *e)
{
    const size_t size = item_len + METADATA_KEYS;
    char *text = arena_alloc(g->arena, size);
    struct buf b = {.data = text, .cap = size, .max = size};

    if (text == NULL)
        return err_set(e, -ENOMEM, "out of memory");
    buf_putc(&b, '{');
    put_members(&b, g, from_wind, WIND_ARRAY_SIZE(from_wind), false);
    buf_puts(&b, b.len > 1 ? ",\"flow\":{" : "\"flow\":{");
    put_members(&b, g, from_flow, WIND_ARRAY_SIZE(from_flow), false);
    buf_putc(&b, '}');
    put_members(&b, g, from_alert, WIND_ARRAY_SIZE(from_alert), true);
    buf_putc(&b, '}');
    a->metadata = buf_text(&b);
    WIND_CHECK(!b.failed);
    if (b.len > ALERT_METADATA_MAX)
        return err_set(e, -EINVAL, "its metadata is longer than %d bytes", ALERT_METADATA_MAX);
    return 0;
}

/* ---------------------------------------------------------------- one alert */

static int read_fields(const struct reading *g, struct alert *a, char ret_uid[UUID_TEXT],
                       struct err *e)
{
    int r = g->v[F_WIND].kind == SPAN_OBJECT ? take_identity(g, a, ret_uid, e)
                                             : err_set(e, -EINVAL, "wind must be an object");
    if (r == 0)
        r = take_numbers(g, a, e);
    if (r == 0)
        r = take_text(g, F_SIGNATURE, DESCRIPTION_MAX, &a->description, e);
    if (r == 0)
        r = take_times(g, a, e);
    if (r == 0)
        r = take_flow(g, a, e);
    if (r == 0)
        r = take_entities(g, a, e);
    if (r == 0)
        r = text_of(g, &g->v[F_TACTIC], 64, &a->tactic, e);
    return r;
}

int ingest_read(const struct ingest_reader *rd, const struct ingest_item *item, const char *sensor,
                struct arena *arena, struct ingest_alert *ret_alert, struct err *e)
{
    struct reading g = {.rd = rd, .arena = arena};

    *ret_alert = (struct ingest_alert){.alert.source = sensor};
    int r = json_scan(rd->alert, item->json, item->len, g.v, e);
    if (r == 0 && item->json[strspn(item->json, " \t\r\n")] != '{')
        r = err_set(e, -EINVAL, "an alert must be an object");
    if (r == 0)
        r = read_fields(&g, &ret_alert->alert, ret_alert->uid, e);
    return r == 0 ? make_metadata(&g, &ret_alert->alert, item->len, e) : r;
}
