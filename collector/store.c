#include "collector/store.h"

#include <errno.h>

#include "common/crypto.h"
#include "common/ip.h"
#include "common/jsonw.h"
#include "common/time.h"

#define CHANGES_MAX 500

const char *const severity_words[] = {"low", "medium", "high", "critical", NULL};
const char *const alert_status_words[] = {"new", "acknowledged", "investigating", "closed", NULL};
const char *const verdict_words[] = {"true_positive", "false_positive", "benign_true_positive",
                                     "duplicate",     "undetermined",   NULL};
const char *const incident_status_words[] = {"open", "investigating", "contained", "resolved",
                                             NULL};
const char *const incident_type_words[] = {"intrusion", "malware", "recon", "exfiltration",
                                           "dos",       "policy",  "other", NULL};
const char *const entity_kind_words[] = {"host", "user", "domain", "service", "file", "asn", NULL};
const char *const entity_role_words[] = {"attacker", "victim", "related", NULL};
const char *const topic_words[] = {"alerts", "incidents", NULL};

int store_word(const char *const *words, const char *word)
{
    for (int i = 0; words[i] != NULL; i++)
        if (strcmp(words[i], word) == 0)
            return i;
    return -1;
}

int store_severity(const char *word)
{
    return store_word(severity_words, word) + 1;
}

/* ---------------------------------------------------------------- entities */

int store_entity(struct db_tx *tx, const struct entity *en, int64_t *ret_id, struct err *e)
{
    WIND_AUTO(db_stmt) struct db_stmt *found = NULL, *made = NULL;
    uint8_t addr[16];

    int r = db_query_row(tx, "SELECT id FROM entities WHERE kind = $1 AND value = $2",
                         DB_ARGS(db_str(en->kind), db_str(en->value)), &found, e);
    if (r == DB_ROW) {
        *ret_id = db_i64(found, 0);
        return 0;
    }
    if (r < 0)
        return r;
    const bool is_addr = strcmp(en->kind, "host") == 0 && ip_parse(en->value, addr) == 0;
    r = db_query_row(tx,
                     "INSERT INTO entities (kind, value, addr) VALUES ($1, $2, $3) RETURNING id",
                     DB_ARGS(db_str(en->kind), db_str(en->value),
                             is_addr ? db_bytes(addr, sizeof(addr)) : db_null()),
                     &made, e);
    if (r != DB_ROW)
        return r < 0 ? r : err_set(e, -EIO, "entity '%s' was not made", en->value);
    *ret_id = db_i64(made, 0);
    return 0;
}

int store_entity_words(int kind, int role, const char *value, struct entity *ret_entity,
                       struct err *e)
{
    if (kind < 0)
        return err_set(e, -EINVAL, "entity: kind must be host, user, domain, service, file or asn");
    if (role < 0)
        return err_set(e, -EINVAL, "entity: role must be attacker, victim or related");
    if (value == NULL)
        return err_set(e, -EINVAL, "entity: value must be a text of 1 to %d bytes",
                       ENTITY_VALUE_MAX);
    *ret_entity = (struct entity){
        .kind = entity_kind_words[kind], .value = value, .role = entity_role_words[role]};
    return 0;
}

static int entity_read(const json_t *item, struct entity *ret_entity, struct err *e)
{
    const char *kind = json_string_value(json_object_get(item, "kind"));
    const char *value = json_string_value(json_object_get(item, "value"));
    const char *role = json_string_value(json_object_get(item, "role"));

    if (value != NULL && (value[0] == '\0' || strlen(value) > ENTITY_VALUE_MAX))
        value = NULL;
    return store_entity_words(kind == NULL ? -1 : store_word(entity_kind_words, kind),
                              role == NULL ? ENTITY_RELATED : store_word(entity_role_words, role),
                              value, ret_entity, e);
}

int store_entities_read(const json_t *list, struct entity *ret_entities, size_t *ret_n,
                        struct err *e)
{
    const size_t n = json_array_size(list);

    if (list != NULL && !json_is_array(list))
        return err_set(e, -EINVAL, "entities must be a list");
    if (n > ENTITIES_MAX)
        return err_set(e, -EINVAL, "more than %d entities", ENTITIES_MAX);
    for (size_t i = 0; i < n; i++) {
        const int r = entity_read(json_array_get(list, i), &ret_entities[i], e);
        if (r != 0)
            return r;
    }
    *ret_n = n;
    return 0;
}

void store_entities_write(struct buf *b, const struct entity *entities, size_t n)
{
    struct jsonw j;

    jsonw_begin(&j, b);
    jsonw_array(&j, NULL);
    for (size_t i = 0; i < n; i++) {
        jsonw_object(&j, NULL);
        jsonw_str(&j, "kind", entities[i].kind);
        jsonw_str(&j, "value", entities[i].value);
        jsonw_str(&j, "role", entities[i].role);
        jsonw_end(&j);
    }
    jsonw_end(&j);
}

/* ---------------------------------------------------------------- tags */

int store_tags_set(struct db_tx *tx, enum topic t, int64_t id, const json_t *list, struct err *e)
{
    if (!json_is_array(list) || json_array_size(list) > TAGS_MAX)
        return err_set(e, -EINVAL, "tags must be a list of at most %d texts", TAGS_MAX);
    int r = db_run(tx, "DELETE FROM tags WHERE topic = $1 AND object_id = $2",
                   DB_ARGS(db_str(topic_words[t]), db_int(id)), NULL, e);
    for (size_t i = 0; r == 0 && i < json_array_size(list); i++) {
        const char *tag = json_string_value(json_array_get(list, i));
        if (tag == NULL || tag[0] == '\0' || strlen(tag) > TAG_MAX)
            return err_set(e, -EINVAL, "a tag must be a text of 1 to %d bytes", TAG_MAX);
        r = db_run(tx,
                   "INSERT INTO tags (topic, object_id, tag) VALUES ($1, $2, $3) "
                   "ON CONFLICT DO NOTHING",
                   DB_ARGS(db_str(topic_words[t]), db_int(id), db_str(tag)), NULL, e);
    }
    if (r == 0 && t == TOPIC_ALERTS)
        r = db_run(tx, "UPDATE alerts SET kept = kept | $2 WHERE id = $1",
                   DB_ARGS(db_int(id), db_int(KEPT_TAGS)), NULL, e);
    return r;
}

int store_show_tags(struct db_tx *tx, enum topic t, int64_t id, struct jsonw *j, struct err *e)
{
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;
    int r = db_query(tx, "SELECT tag FROM tags WHERE topic = $1 AND object_id = $2 ORDER BY tag",
                     DB_ARGS(db_str(topic_words[t]), db_int(id)), &s, e);
    jsonw_array(j, "tags");
    while (r == 0 && (r = db_step(s, e)) == DB_ROW) {
        jsonw_str(j, NULL, db_text(s, 0));
        r = 0;
    }
    jsonw_end(j);
    return r;
}

/* ---------------------------------------------------------------- history */

int store_history(struct db_tx *tx, const struct change *c, struct err *e)
{
    if (c->before == c->after ||
        (c->before != NULL && c->after != NULL && strcmp(c->before, c->after) == 0))
        return 0;
    return db_run(tx,
                  "INSERT INTO history (topic, object_id, at, actor, field, old, new) "
                  "VALUES ($1, $2, $3, $4, $5, $6, $7)",
                  DB_ARGS(db_str(topic_words[c->topic]), db_int(c->id),
                          db_int((int64_t)time_wall_ns()), db_str(c->actor), db_str(c->field),
                          db_str(c->before), db_str(c->after)),
                  NULL, e);
}

int store_show_changes(struct db_tx *tx, enum topic t, int64_t id, struct jsonw *j, struct err *e)
{
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;
    int r = db_query(tx,
                     "SELECT at, actor, field, old, new FROM history "
                     "WHERE topic = $1 AND object_id = $2 ORDER BY id LIMIT $3",
                     DB_ARGS(db_str(topic_words[t]), db_int(id), db_int(CHANGES_MAX)), &s, e);
    jsonw_array(j, "history");
    while (r == 0 && (r = db_step(s, e)) == DB_ROW) {
        jsonw_object(j, NULL);
        store_show_time(j, "at", s, 0);
        store_show_text(j, "actor", s, 1);
        store_show_text(j, "field", s, 2);
        store_show_text(j, "before", s, 3);
        store_show_text(j, "after", s, 4);
        jsonw_end(j);
        r = 0;
    }
    jsonw_end(j);
    return r;
}

/* ---------------------------------------------------------------- columns to JSON */

void store_show_text(struct jsonw *j, const char *key, struct db_stmt *s, int col)
{
    const char *text = db_text(s, col);

    if (text != NULL)
        jsonw_str(j, key, text);
    else
        jsonw_null(j, key);
}

void store_show_time(struct jsonw *j, const char *key, struct db_stmt *s, int col)
{
    if (db_is_null(s, col))
        jsonw_null(j, key);
    else
        jsonw_time_rfc3339(j, key, (uint64_t)db_i64(s, col));
}

void store_show_uid(struct jsonw *j, const char *key, struct db_stmt *s, int col)
{
    size_t len;
    const uint8_t *uid = db_blob(s, col, &len);
    char text[UUID_TEXT];

    if (len != 16) {
        jsonw_null(j, key);
        return;
    }
    uuid_format(uid, text);
    jsonw_strn(j, key, text, sizeof(text) - 1);
}

void store_show_severity(struct jsonw *j, const char *key, struct db_stmt *s, int col)
{
    const int64_t severity = db_i64(s, col);

    if (severity < 1 || severity > 4)
        jsonw_null(j, key);
    else
        jsonw_str(j, key, severity_words[severity - 1]);
}

json_t *store_json_text(const char *s)
{
    return s == NULL ? json_null() : json_string(s);
}

json_t *store_json_time(int64_t ns)
{
    char text[TIME_TEXT];

    (void)time_rfc3339((uint64_t)ns, text);
    return json_string(text);
}

json_t *store_json_time_at(struct db_stmt *s, int col)
{
    return db_is_null(s, col) ? json_null() : store_json_time(db_i64(s, col));
}

json_t *store_json_severity(int64_t severity)
{
    return severity < 1 || severity > 4 ? json_null() : json_string(severity_words[severity - 1]);
}
