/* /api/keys/: keys for sensors and other programs. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "collector/api_key.h"
#include "collector/collector.h"
#include "collector/routes.h"
#include "collector/store.h"
#include "common/crypto.h"
#include "common/time.h"

#define KEYS_SHOWN 1000

static const struct field create_fields[] = {
    {.name = "name", .type = FIELD_TEXT, .flags = FIELD_REQUIRED, .min = 1, .max = 63},
    {.name = "scopes",
     .type = FIELD_LIST,
     .flags = FIELD_REQUIRED,
     .min = 1,
     .max = 16,
     .item = FIELD_WORD,
     .words = permission_words},
    {.name = "expires_at", .type = FIELD_TIME, .flags = FIELD_NULLABLE},
    {.name = "sensor",
     .type = FIELD_TEXT,
     .flags = FIELD_NULLABLE,
     .min = 1,
     .max = SOURCE_MAX,
     .help = "The only one it may post as."},
    {.name = NULL},
};
static const struct schema create_schema = {.name = "KeyCreate", .fields = create_fields};

static const struct field key_fields[] = {
    {.name = "id", .type = FIELD_INT, .flags = FIELD_REQUIRED},
    {.name = "name", .type = FIELD_TEXT, .flags = FIELD_REQUIRED},
    {.name = "prefix", .type = FIELD_TEXT, .flags = FIELD_REQUIRED, .help = "What may be seen."},
    {.name = "scopes",
     .type = FIELD_LIST,
     .flags = FIELD_REQUIRED,
     .item = FIELD_WORD,
     .words = permission_words},
    {.name = "created_by", .type = FIELD_INT, .flags = FIELD_REQUIRED | FIELD_NULLABLE},
    {.name = "created_at", .type = FIELD_TIME, .flags = FIELD_REQUIRED},
    {.name = "expires_at", .type = FIELD_TIME, .flags = FIELD_REQUIRED | FIELD_NULLABLE},
    {.name = "last_used_at", .type = FIELD_TIME, .flags = FIELD_REQUIRED | FIELD_NULLABLE},
    {.name = "is_revoked", .type = FIELD_BOOL, .flags = FIELD_REQUIRED},
    {.name = "sensor",
     .type = FIELD_TEXT,
     .flags = FIELD_REQUIRED | FIELD_NULLABLE,
     .help = "The only one it may post as; null: any."},
    {.name = "key", .type = FIELD_TEXT, .help = "The secret; only in the answer that made it."},
    {.name = NULL},
};
static const struct schema key_schema = {.name = "Key", .fields = key_fields};

static json_t *split_scopes(const char *scopes)
{
    json_t *list = json_array();

    while (*scopes != '\0') {
        const size_t n = strcspn(scopes, " ");
        json_array_append_new(list, json_stringn(scopes, n));
        scopes += n + (scopes[n] == ' ');
    }
    return list;
}

static json_t *read_key(struct db_stmt *s)
{
    return json_pack("{s:I,s:s,s:s,s:o,s:o,s:o,s:o,s:o,s:b,s:o}", "id", (json_int_t)db_i64(s, 0),
                     "name", db_text(s, 1), "prefix", db_text(s, 2), "scopes",
                     split_scopes(db_text(s, 3)), "created_by",
                     db_is_null(s, 4) ? json_null() : json_integer(db_i64(s, 4)), "created_at",
                     store_json_time_at(s, 5), "expires_at", store_json_time_at(s, 6),
                     "last_used_at", store_json_time_at(s, 7), "is_revoked", db_i64(s, 8) != 0,
                     "sensor", store_json_text(db_text(s, 9)));
}

/* One key, or with id 0 all of them, the newest first. */
static int find(struct request *rq, int64_t id, json_t **ret_list)
{
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;
    int r = db_begin_read(rq->db, &tx, &rq->err);

    if (r == 0)
        r = db_query(tx,
                     "SELECT id, name, prefix, scopes, created_by, created_ns, expires_ns,"
                     " last_used_ns, is_revoked, sensor FROM api_keys WHERE $1 = 0 OR id = $1"
                     " ORDER BY id DESC LIMIT $2",
                     DB_ARGS(db_int(id), db_int(KEYS_SHOWN)), &s, &rq->err);
    if (r != 0)
        return r;
    json_t *list = json_array();
    while ((r = db_step(s, &rq->err)) == DB_ROW)
        json_array_append_new(list, read_key(s));
    if (r < 0)
        json_decref(list);
    else
        *ret_list = list;
    return r;
}

static int list(struct request *rq, struct response *rs)
{
    json_t *keys = NULL;
    const int r = find(rq, 0, &keys);
    return r < 0 ? r : respond_list(rs, keys, NULL);
}

/* Each scope once, separated by spaces. */
static void join_scopes(json_t *list, char text[API_KEY_SCOPES])
{
    size_t n = 0;

    text[0] = '\0';
    for (const char *const *w = permission_words; *w != NULL; w++) {
        bool is_wanted = false;
        size_t i;
        json_t *item;
        json_array_foreach(list, i, item) is_wanted =
            is_wanted || strcmp(json_string_value(item), *w) == 0;
        if (is_wanted)
            n += (size_t)snprintf(text + n, API_KEY_SCOPES - n, "%s%s", n > 0 ? " " : "", *w);
    }
}

/* Somebody else's rights, or another sensor's voice, which a key has not itself. */
static bool gives_too_much(const struct principal *p, const struct api_key_draft *d)
{
    const uint32_t given = api_key_permissions(d->scopes);

    if (p->kind != PRINCIPAL_KEY)
        return false;
    return (given & ~p->permissions) != 0 ||
           (p->sensor[0] != '\0' && (d->sensor == NULL || strcmp(p->sensor, d->sensor) != 0));
}

static int create(struct request *rq, struct response *rs)
{
    char scopes[API_KEY_SCOPES], text[API_KEY_TEXT];
    const char *expires = body_text(rq, "expires_at", NULL);
    int64_t expires_ns = 0, id = 0;

    if (expires != NULL &&
        (schema_time(expires, &expires_ns) != 0 || expires_ns <= (int64_t)time_wall_ns())) {
        request_fault(rq, "body", "expires_at", "must be in the future");
        return respond_invalid(rq, rs);
    }
    join_scopes(json_object_get(rq->body, "scopes"), scopes);
    const struct api_key_draft draft = {
        .name = body_text(rq, "name", ""),
        .scopes = scopes,
        .created_by = rq->principal.kind == PRINCIPAL_USER ? rq->principal.id : 0,
        .expires_ns = expires_ns,
        .sensor = body_text(rq, "sensor", NULL),
    };
    if (gives_too_much(&rq->principal, &draft))
        return respond_problem(rs, 403, "permission_missing",
                               "a key cannot give what it may not do itself");
    int r = api_key_create(rq->db, &draft, text, &id, &rq->err);
    if (r == API_KEY_TOO_MANY)
        return respond_problem(rs, 409, "too_many", "there are %d keys, which is the limit",
                               API_KEYS_MAX);
    json_t *keys = NULL;
    if (r == 0)
        r = find(rq, id, &keys);
    if (r < 0)
        return r;
    json_t *key = json_incref(json_array_get(keys, 0));
    json_decref(keys);
    json_object_set_new(key, "key", json_string(text));
    crypto_wipe(text, sizeof(text));
    respond_header(rs, "Location", "/api/keys/%" PRId64, id);
    return respond_json(rs, 201, key);
}

static int revoke(struct request *rq, struct response *rs)
{
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;
    int64_t changed = 0;
    int r = db_begin_write(rq->db, &tx, &rq->err);

    if (r == 0)
        r = db_run(tx, "UPDATE api_keys SET is_revoked = 1 WHERE id = $1",
                   DB_ARGS(db_int(request_id(rq, "key_id"))), &changed, &rq->err);
    if (r == 0)
        r = db_commit(&tx, &rq->err);
    if (r == 0 && changed == 0)
        return respond_problem(rs, 404, "not_found", "there is no such key");
    return r < 0 ? r : respond_empty(rs, 204);
}

const struct route keys_routes[] = {
    {.method = "GET",
     .pattern = "/api/keys/",
     .need = PERMISSION_KEYS_READ,
     .handler = list,
     .summary = "The newest 1000 keys",
     .reply = &key_schema,
     .list = true},
    {.method = "POST",
     .pattern = "/api/keys/",
     .need = PERMISSION_KEYS_WRITE,
     .handler = create,
     .summary = "Make a key; the secret is shown this once",
     .body = &create_schema,
     .reply = &key_schema,
     .flags = ROUTE_NO_REPLAY,
     .status = 201},
    {.method = "DELETE",
     .pattern = "/api/keys/{key_id}",
     .need = PERMISSION_KEYS_WRITE,
     .handler = revoke,
     .summary = "Revoke a key, at once and for good",
     .status = 204},
    {.method = NULL},
};
