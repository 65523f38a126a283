#include "collector/search_doc.h"

#include <errno.h>
#include <stdio.h>

#include "collector/incidents.h"
#include "collector/search_token.h"
#include "common/crypto.h"
#include "common/ip.h"

/* ---------------------------------------------------------------- reading */

enum {
    COL_ID,
    COL_CREATED = SEARCH_DOC_CREATED,
    COL_UID = SEARCH_DOC_UID,
    COL_TIME, /* detected_at, last_seen */
    COL_SEVERITY,
    COL_TYPE,
    COL_TEXT, /* description, title */
    COL_STATUS,
    COL_ASSIGNED,
    COL_UPDATED,
    COL_FIRST,
    COL_LAST,
    COL_ENTITIES, /* JSON */
    COL_TAGS,     /* JSON */
    COL_REV,      /* from here on: of alerts */
    COL_SOURCE,
    COL_VERDICT,
    COL_INCIDENT,
    COL_SCORE,
    COL_TACTIC,
    COL_PROTO,
    COL_SRC,
    COL_DST,
    COL_SRC_PORT,
    COL_DST_PORT,
    COL_METADATA,
    COL_DESCRIPTION = COL_REV, /* of incidents */
    COL_ALERTS,
};

/* Lists as JSON are the one thing that the two databases name differently. */
#define TAGS(list, topic, id)                                                                      \
    "(SELECT CAST(" list "(t.tag) AS TEXT) FROM tags t WHERE t.topic = '" topic                    \
    "' AND t.object_id = " id ")"
#define ALERT_SQL(list)                                                                            \
    "SELECT a.id, a.created_at, a.uid, a.detected_at, a.severity, a.type, a.description, "         \
    "a.status, a.assigned_to, a.updated_at, a.first_seen, a.last_seen, a.entities, " TAGS(         \
        list, "alerts", "a.id") ", a.rev, a.source, a.verdict, a.incident_id, a.score, "           \
                                "a.tactic, a.proto, a.src, a.dst, a.src_port, a.dst_port, "        \
                                "a.metadata FROM alerts a WHERE " SEARCH_SOME("a.")
#define INCIDENT_SQL(list, object)                                                                 \
    "SELECT i.id, i.created_at, i.uid, i.last_seen, i.severity, i.type, i.title, i.status, "       \
    "i.assigned_to, i.updated_at, i.first_seen, i.last_seen, (SELECT CAST(" list "(" object        \
    "('kind', x.kind, 'value', x.value, 'role', x.role)) AS TEXT) FROM (SELECT DISTINCT "          \
    "en.kind, en.value, ie.role FROM incident_entities ie JOIN entities en "                       \
    "ON en.id = ie.entity_id WHERE ie.incident_id = i.id ORDER BY 2, 3 LIMIT 2000) x), " TAGS(     \
        list, "incidents", "i.id") ", i.description, i.alert_count FROM incidents i "              \
                                   "WHERE " SEARCH_SOME("i.")

int search_doc_query(struct db_tx *tx, enum topic t, const struct search_ids *ids,
                     struct db_stmt **ret_stmt, struct err *e)
{
    static const char *const sqls[2][TOPICS] = {
        [DB_SQLITE] = {ALERT_SQL("json_group_array"),
                       INCIDENT_SQL("json_group_array", "json_object")},
        [DB_POSTGRES] = {ALERT_SQL("json_agg"), INCIDENT_SQL("json_agg", "json_build_object")},
    };

    return db_query(tx, sqls[db_engine(tx)][t], DB_ARGS(SEARCH_SOME_ARGS(ids->id, ids->n)),
                    ret_stmt, e);
}
_Static_assert(SEARCH_ENTITIES == 2000, "the LIMIT above");

/* ---------------------------------------------------------------- parts */

/* Of an alert's metadata. */
enum { M_RULE, M_CATEGORY, M_TECHNIQUE, M_TECHNIQUE_NAME, M_PROTOCOL, M_IDS, M_ID, M_N };
static const char *const metadata_paths[M_N] = {
    [M_RULE] = "signature_id",       [M_CATEGORY] = "category",
    [M_TECHNIQUE] = "technique.id",  [M_TECHNIQUE_NAME] = "technique.name",
    [M_PROTOCOL] = "flow.app_proto", [M_IDS] = "community_ids",
    [M_ID] = "flow.community_id"};

static void put_text(struct jsonw *j, const char *key, const char *text)
{
    if (text != NULL)
        jsonw_str(j, key, text);
}

static void put_time(struct jsonw *j, const char *key, struct db_stmt *s, int col)
{
    jsonw_time_rfc3339(j, key, (uint64_t)db_i64(s, col));
}

static void put_words(struct buf *tokens, const char *text)
{
    search_gap(tokens);
    if (text != NULL)
        (void)search_tokens(tokens, text);
}

static const char *text_of(const json_t *o, const char *key)
{
    return json_string_value(json_object_get(o, key));
}

static bool is_word(const json_t *o, const char *key, const char *word)
{
    const char *text = text_of(o, key);

    return text != NULL && strcmp(text, word) == 0;
}

/* The addresses of all hosts, or of those in a role. */
static void put_ips(struct jsonw *j, const char *key, const json_t *entities, const char *role)
{
    uint8_t addr[16];
    const json_t *item;
    size_t i;

    jsonw_array(j, key);
    json_array_foreach((json_t *)(uintptr_t)entities, i, item)
    {
        const char *value = text_of(item, "value");
        if (is_word(item, "kind", "host") && value != NULL && ip_parse(value, addr) == 0 &&
            (role == NULL || is_word(item, "role", role)))
            jsonw_ip(j, NULL, addr);
    }
    jsonw_end(j);
}

/* The values of one kind, or of all. */
static void put_values(struct jsonw *j, const char *key, const json_t *entities, const char *kind)
{
    const json_t *item;
    size_t i;

    jsonw_array(j, key);
    json_array_foreach((json_t *)(uintptr_t)entities, i, item)
    {
        const char *value = text_of(item, "value");
        if (value != NULL && (kind == NULL || is_word(item, "kind", kind)))
            jsonw_str(j, NULL, value);
    }
    jsonw_end(j);
}

static void put_event(struct jsonw *j, struct db_stmt *s, enum topic t)
{
    static const int risk[] = {21, 47, 73, 99};
    const int64_t severity = db_i64(s, COL_SEVERITY);
    char uid[UUID_TEXT] = "";
    size_t len;
    const uint8_t *p = db_blob(s, COL_UID, &len);

    if (len == 16)
        uuid_format(p, uid);
    jsonw_object(j, "event");
    jsonw_str(j, "kind", "alert");
    jsonw_str(j, "module", "wind");
    jsonw_str(j, "dataset", t == TOPIC_ALERTS ? "wind.alerts" : "wind.incidents");
    jsonw_str(j, "id", uid);
    jsonw_i64(j, "severity", severity);
    if (severity >= 1 && severity <= 4)
        jsonw_i64(j, "risk_score", risk[severity - 1]);
    put_time(j, "start", s, COL_FIRST);
    put_time(j, "end", s, COL_LAST);
    put_time(j, "created", s, COL_CREATED);
    jsonw_end(j);
}

static void put_end(struct jsonw *j, const char *key, struct db_stmt *s, int addr, int port)
{
    size_t len;
    const uint8_t *p = db_blob(s, addr, &len);

    if (len != 16)
        return;
    jsonw_object(j, key);
    jsonw_ip(j, "ip", p);
    if (!db_is_null(s, port))
        jsonw_i64(j, "port", db_i64(s, port));
    jsonw_end(j);
}

/* As SQL's lower() does it. */
static void put_lower(struct jsonw *j, const char *key, const char *text)
{
    char lower[32];
    size_t n = 0;

    if (text == NULL)
        return;
    for (; n < sizeof(lower) - 1 && text[n] != '\0'; n++)
        lower[n] = (char)(text[n] >= 'A' && text[n] <= 'Z' ? text[n] + 32 : text[n]);
    jsonw_strn(j, key, lower, n);
}

/* A text as it stands in the metadata. */
static void put_span(struct jsonw *j, const char *key, const struct json_span *v)
{
    size_t len;
    const char *raw = json_span_raw(v, &len);

    if (v->kind == SPAN_STRING)
        jsonw_raw(j, key, raw, len);
}

static void put_network(struct jsonw *j, struct db_stmt *s, const struct json_span *v)
{
    struct json_items it = json_items_of(&v[M_IDS]);
    struct json_span id;
    size_t n = 0;

    jsonw_object(j, "network");
    put_lower(j, "transport", db_text(s, COL_PROTO));
    put_span(j, "protocol", &v[M_PROTOCOL]);
    jsonw_array(j, "community_id");
    for (; json_items_next(&it, &id); n++)
        put_span(j, NULL, &id);
    if (n == 0)
        put_span(j, NULL, &v[M_ID]);
    jsonw_end(j);
    jsonw_end(j);
}

static void put_rule(struct jsonw *j, struct db_stmt *s, const struct json_span *v)
{
    jsonw_object(j, "rule");
    if (v[M_RULE].kind == SPAN_INT)
        jsonw_i64(j, "id", json_span_i64(&v[M_RULE]));
    jsonw_str(j, "name", db_text(s, COL_TYPE));
    put_span(j, "category", &v[M_CATEGORY]);
    jsonw_end(j);
}

static void put_threat(struct jsonw *j, struct db_stmt *s, const struct json_span *v)
{
    const char *tactic = db_text(s, COL_TACTIC);

    if (v[M_TECHNIQUE].kind != SPAN_STRING)
        return;
    jsonw_object(j, "threat");
    jsonw_str(j, "framework", "MITRE ATT&CK");
    jsonw_object(j, "technique");
    put_span(j, "id", &v[M_TECHNIQUE]);
    put_span(j, "name", &v[M_TECHNIQUE_NAME]);
    jsonw_end(j);
    if (tactic != NULL) {
        jsonw_object(j, "tactic");
        jsonw_str(j, "name", tactic);
        jsonw_end(j);
    }
    jsonw_end(j);
}

/* ---------------------------------------------------------------- documents */

/* Metadata beyond the scanner's bounds, which only people can post, tells nothing here. */
static void put_alert_parts(struct jsonw *j, struct db_stmt *s, const struct json_scan *metadata)
{
    const char *text = db_text(s, COL_METADATA);
    struct json_span v[M_N] = {0};

    if (text == NULL || json_scan(metadata, text, strlen(text), v, NULL) != 0)
        memset(v, 0, sizeof(v));
    put_rule(j, s, v);
    put_threat(j, s, v);
    put_network(j, s, v);
    put_end(j, "source", s, COL_SRC, COL_SRC_PORT);
    put_end(j, "destination", s, COL_DST, COL_DST_PORT);
    jsonw_object(j, "observer");
    jsonw_str(j, "name", db_text(s, COL_SOURCE));
    jsonw_str(j, "type", "ids");
    jsonw_str(j, "vendor", "Wind");
    jsonw_end(j);
}

static void put_role(struct jsonw *j, const json_t *entities, const char *role)
{
    jsonw_object(j, role);
    put_ips(j, "ip", entities, role);
    jsonw_end(j);
}

/* What the grammar asks for. */
static void put_wind(struct jsonw *j, struct db_stmt *s, enum topic t, const json_t *entities,
                     const char *tokens)
{
    jsonw_object(j, "wind");
    jsonw_i64(j, "id", db_i64(s, COL_ID));
    jsonw_str(j, "type", db_text(s, COL_TYPE));
    jsonw_str(j, "status", db_text(s, COL_STATUS));
    put_text(j, "assigned_to", db_text(s, COL_ASSIGNED));
    jsonw_i64(j, "time", db_i64(s, COL_TIME));
    jsonw_i64(j, "created", db_i64(s, COL_CREATED));
    jsonw_i64(j, "updated", db_i64(s, COL_UPDATED));
    put_role(j, entities, "attacker");
    put_role(j, entities, "victim");
    put_values(j, "entities", entities, NULL);
    jsonw_str(j, "text", tokens);
    if (t == TOPIC_ALERTS) {
        jsonw_i64(j, "rev", db_i64(s, COL_REV));
        put_text(j, "verdict", db_text(s, COL_VERDICT));
        if (!db_is_null(s, COL_INCIDENT))
            jsonw_i64(j, "incident", db_i64(s, COL_INCIDENT));
        if (!db_is_null(s, COL_SCORE))
            jsonw_f64(j, "score", db_real(s, COL_SCORE));
    } else {
        jsonw_i64(j, "alerts", db_i64(s, COL_ALERTS));
    }
    jsonw_end(j);
}

/* The first entity is whom it is about. */
static void put_host(struct jsonw *j, const json_t *entities)
{
    const json_t *first = json_array_get(entities, 0);
    const char *value = text_of(first, "value");
    uint8_t addr[16];

    if (!is_word(first, "kind", "host") || value == NULL || ip_parse(value, addr) != 0)
        return;
    jsonw_object(j, "host");
    jsonw_ip(j, "ip", addr);
    jsonw_end(j);
}

static void put_related(struct jsonw *j, const json_t *entities)
{
    jsonw_object(j, "related");
    put_ips(j, "ip", entities, NULL);
    put_values(j, "hosts", entities, "domain");
    put_values(j, "user", entities, "user");
    jsonw_end(j);
}

int search_doc_scan(struct json_scan **ret_metadata, struct err *e)
{
    return json_scan_new(ret_metadata, metadata_paths, M_N, e);
}

void search_doc_put(struct jsonw *j, struct db_stmt *s, enum topic t,
                    const struct json_scan *metadata, struct buf *tokens)
{
    const char *json = db_text(s, COL_ENTITIES), *tags = db_text(s, COL_TAGS);
    json_t *entities = json == NULL ? NULL : json_loads(json, 0, NULL);
    const json_t *item;
    size_t i;

    buf_reset(tokens);
    put_words(tokens, db_text(s, COL_TEXT));
    put_words(tokens, db_text(s, COL_TYPE));
    put_words(tokens, db_text(s, t == TOPIC_ALERTS ? COL_SOURCE : COL_DESCRIPTION));
    json_array_foreach(entities, i, item) put_words(tokens, text_of(item, "value"));

    jsonw_object(j, NULL);
    put_time(j, "@timestamp", s, COL_TIME);
    jsonw_object(j, "ecs");
    jsonw_str(j, "version", "8.11.0");
    jsonw_end(j);
    put_event(j, s, t);
    jsonw_str(j, "message", db_text(s, COL_TEXT));
    put_related(j, entities);
    if (t == TOPIC_ALERTS)
        put_host(j, entities);
    if (tags != NULL)
        jsonw_raw(j, "tags", tags, strlen(tags));
    if (t == TOPIC_ALERTS)
        put_alert_parts(j, s, metadata);
    put_wind(j, s, t, entities, buf_text(tokens));
    jsonw_end(j);
    json_decref(entities);
}

/* ---------------------------------------------------------------- mapping */

/* Objects by dots. Fields that are not here are kept in the document, and not searched. */
static const struct search_field fields[] = {
    {"@timestamp", "date_nanos"},
    {"ecs.version", "keyword"},
    {"event.kind", "keyword"},
    {"event.module", "keyword"},
    {"event.dataset", "keyword"},
    {"event.id", "keyword"},
    {"event.severity", "long"},
    {"event.risk_score", "float"},
    {"event.start", "date_nanos"},
    {"event.end", "date_nanos"},
    {"event.created", "date_nanos"},
    {"message", "text"},
    {"tags", "keyword"},
    {"related.ip", "ip"},
    {"related.hosts", "keyword"},
    {"related.user", "keyword"},
    {"host.ip", "ip"},
    {"rule.id", "keyword"},
    {"rule.name", "keyword"},
    {"rule.category", "keyword"},
    {"threat.framework", "keyword"},
    {"threat.technique.id", "keyword"},
    {"threat.technique.name", "keyword"},
    {"threat.tactic.name", "keyword"},
    {"network.transport", "keyword"},
    {"network.protocol", "keyword"},
    {"network.community_id", "keyword"},
    {"source.ip", "ip"},
    {"source.port", "long"},
    {"destination.ip", "ip"},
    {"destination.port", "long"},
    {"observer.name", "keyword"},
    {"observer.type", "keyword"},
    {"observer.vendor", "keyword"},
    {"wind.id", "long"},
    {"wind.rev", "long"},
    {"wind.type", "keyword"},
    {"wind.status", "keyword"},
    {"wind.verdict", "keyword"},
    {"wind.assigned_to", "keyword"},
    {"wind.incident", "long"},
    {"wind.alerts", "long"},
    {"wind.score", "double"},
    {"wind.time", "long"},
    {"wind.created", "long"},
    {"wind.updated", "long"},
    {"wind.entities", "keyword"},
    {"wind.attacker.ip", "ip"},
    {"wind.victim.ip", "ip"},
    {NULL, NULL},
};

/* The object that holds a field's own entry, made on the way. */
static json_t *place(json_t *properties, const char *name, const char **ret_last)
{
    const char *dot;
    char part[32];

    while ((dot = strchr(name, '.')) != NULL) {
        (void)snprintf(part, sizeof(part), "%.*s", (int)(dot - name), name);
        json_t *o = json_object_get(properties, part);
        if (o == NULL) {
            o = json_pack("{s:{}}", "properties");
            (void)json_object_set_new(properties, part, o);
        }
        properties = json_object_get(o, "properties");
        name = dot + 1;
    }
    *ret_last = name;
    return properties;
}

json_t *search_doc_properties(const struct search_field *list)
{
    json_t *properties = json_object();
    const char *last;

    for (; list->name != NULL; list++) {
        json_t *o = place(properties, list->name, &last);
        (void)json_object_set_new(o, last, json_pack("{s:s}", "type", list->type));
    }
    return properties;
}

json_t *search_doc_mapping(const char *generation)
{
    json_t *properties = search_doc_properties(fields);
    const char *last;

    /* our tokens, and their beginnings as terms of their own: a prefix is one term to look up */
    (void)json_object_set_new(place(properties, "wind.text", &last), "text",
                              json_pack("{s:s, s:s, s:b, s:{s:i, s:i}}", "type", "text", "analyzer",
                                        "whitespace", "norms", 0, "index_prefixes", "min_chars", 1,
                                        "max_chars", 5));
    return json_pack("{s:{s:s, s:s}, s:b, s:o}", "_meta", "mapping", SEARCH_MAPPING, "generation",
                     generation, "dynamic", 0, "properties", properties);
}
