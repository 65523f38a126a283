#include "collector/api_common.h"

#include <errno.h>
#include <inttypes.h>

#include "collector/cache.h"
#include "collector/cache_local.h"
#include "collector/collector.h"
#include "collector/metrics.h"
#include "collector/retention.h"
#include "collector/search.h"
#include "common/time.h"

#define LIST_FIRST ((size_t)64 << 10) /* most lists of 50 fit */
#define SHOW_FIRST ((size_t)2 << 10)

static const struct field entity_fields[] = {
    {.name = "kind", .type = FIELD_WORD, .flags = FIELD_REQUIRED, .words = entity_kind_words},
    {.name = "value",
     .type = FIELD_TEXT,
     .flags = FIELD_REQUIRED,
     .min = 1,
     .max = ENTITY_VALUE_MAX},
    {.name = "role", .type = FIELD_WORD, .words = entity_role_words},
    {.name = NULL},
};
const struct schema entity_schema = {.name = "Entity", .fields = entity_fields};

const struct field list_query[] = {
    {.name = "limit", .type = FIELD_INT, .min = 1, .max = FILTER_PAGE_MAX, .help = "50 without"},
    {.name = "cursor", .type = FIELD_TEXT, .min = 1, .max = FILTER_CURSOR},
    {.name = "sort",
     .type = FIELD_TEXT,
     .min = 1,
     .max = 24,
     .help = "id, time, severity, ...; with a leading - the largest first. Without: -id, or "
             "-time (of alerts) or -created when q asks for that"},
    {.name = "q",
     .type = FIELD_TEXT,
     .max = FILTER_TEXT_MAX,
     .help = "src:10.0.0.0/8 -status:closed severity:>=high score:>0.9 free words"},
    {.name = NULL},
};

typedef int filter_part(struct filter *f, const char *text, struct err *e);

/* 0, API_FAULT, or < 0. */
static int read_filter(struct request *rq, struct filter *f)
{
    static const struct {
        const char *name;
        filter_part *part;
    } parts[] = {{"q", filter_search}, {"sort", filter_sort}, {"cursor", filter_cursor}};

    for (size_t i = 0; i < WIND_ARRAY_SIZE(parts); i++) {
        const int r = parts[i].part(f, request_query(rq, parts[i].name), &rq->err);
        if (r == -EINVAL) {
            request_fault(rq, "query", parts[i].name, "%s", rq->err.text);
            return API_FAULT;
        }
        if (r != 0)
            return r;
    }
    filter_limit(f, request_query_int(rq, "limit", 50));
    return 0;
}

int api_ask(struct request *rq, struct response *rs, struct filter *f)
{
    int64_t behind = 0;
    const int r = search_ask(rq->app->search, f, &behind, &rq->err);

    if (r == 0 && behind > 0)
        respond_header(rs, "Wind-Search-Behind", "%" PRId64, behind);
    return r;
}

static int write_list(struct db_tx *tx, const struct api_object *o, struct filter *f,
                      struct buf *out, struct err *e)
{
    char cursor[FILTER_CURSOR];
    struct jsonw j;

    (void)buf_room(out, LIST_FIRST);
    jsonw_begin(&j, out);
    jsonw_object(&j, NULL);
    jsonw_array(&j, "data");
    const int r = o->list(tx, f, &j, cursor, e);
    jsonw_end(&j);
    if (r == 0 && cursor[0] != '\0')
        jsonw_str(&j, "next_cursor", cursor);
    else
        jsonw_null(&j, "next_cursor");
    jsonw_end(&j);
    return r;
}

/* ---------------------------------------------------------------- lists that are kept */

/*
 * What a list's answer depends on: the question, and the commits that this collector knows of.
 * False: it is not kept.
 */
static bool list_key(const struct request *rq, char ret_key[CACHE_KEY_MAX + 1])
{
    static const char *const parts[] = {"limit", "sort", "cursor", "q"};
    struct buf key = {.data = ret_key, .cap = CACHE_KEY_MAX, .max = CACHE_KEY_MAX};
    struct cache *cache = rq->app->cache;

    if (rq->app->lists == NULL || !cache_is_current(cache, CACHE_COMMITTED))
        return false;
    buf_printf(&key, "%s %" PRIu64, rq->route->object->name, cache_heard(cache, CACHE_COMMITTED));
    for (size_t i = 0; i < WIND_ARRAY_SIZE(parts); i++) {
        const char *value = request_query(rq, parts[i]);
        buf_printf(&key, " %zu:%s", value != NULL ? strlen(value) : 0, value != NULL ? value : "");
    }
    ret_key[key.len] = '\0';
    return !key.failed;
}

static bool list_find(struct request *rq, const char *key, struct buf *out)
{
    (void)buf_room(out, LIST_FIRST);
    const bool is_kept = cache_local_get(rq->app->lists, key, out, time_mono_ns()) == 0;
    metrics_add(rq->app->metrics, is_kept ? METRICS_LISTS_KEPT : METRICS_LISTS_READ, 1);
    return is_kept;
}

/* Unless something was committed since `key` was made: the answer may be of before or after. */
static void list_keep(const struct request *rq, const char *key, const struct buf *answer)
{
    char now[CACHE_KEY_MAX + 1];

    if (list_key(rq, now) && strcmp(now, key) == 0)
        cache_local_put(rq->app->lists, key,
                        &(struct cache_value){.data = answer->data,
                                              .n = answer->len,
                                              .ends_ns = time_mono_ns() +
                                                         (uint64_t)rq->app->conf.cache_lists_ns});
}

static int read_list(struct request *rq, struct response *rs, struct buf *out, bool *ret_is_whole)
{
    const struct api_object *o = rq->route->object;
    WIND_AUTO(filter) struct filter *f = NULL;
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;

    int r = filter_new(&f, o->filter, &rq->err);
    if (r == 0)
        r = read_filter(rq, f);
    if (r == 0 && (filter_has_words(f) || (rq->route->flags & ROUTE_INDEX) != 0)) {
        *ret_is_whole = false; /* the index may know more a moment later */
        r = api_ask(rq, rs, f);
    }
    if (r == 0) /* a replica's text index may be behind ours */
        r = *ret_is_whole ? db_begin_list(rq->db, &tx, &rq->err)
                          : db_begin_read(rq->db, &tx, &rq->err);
    return r == 0 ? write_list(tx, o, f, out, &rq->err) : r;
}

int api_list(struct request *rq, struct response *rs)
{
    char key[CACHE_KEY_MAX + 1];
    const bool is_kept = list_key(rq, key);
    bool is_whole = true;
    struct buf out;

    buf_init(&out, STORE_JSON_MAX);
    if (is_kept && list_find(rq, key, &out))
        return respond_buf(rs, 200, &out);
    const int r = read_list(rq, rs, &out, &is_whole);
    if (r == 0) {
        if (is_kept && is_whole && !out.failed)
            list_keep(rq, key, &out);
        return respond_buf(rs, 200, &out);
    }
    buf_done(&out);
    return r == API_FAULT ? respond_invalid(rq, rs) : r;
}

/* ---------------------------------------------------------------- one object */

int api_absent(struct response *rs, const struct api_object *o)
{
    return respond_problem(rs, 404, "not_found", "there is no such %s", o->name);
}

/* What is to be answered of one object, read in the transaction that made it so. */
struct shown {
    struct buf json;
    int64_t id, version;
};

static void shown_done(struct shown *s)
{
    buf_done(&s->json);
}

/* 0, STORE_ABSENT. */
static int show(struct db_tx *tx, const struct api_object *o, int64_t id, struct shown *ret,
                struct err *e)
{
    struct jsonw j;

    *ret = (struct shown){.id = id};
    buf_init(&ret->json, STORE_JSON_MAX);
    (void)buf_room(&ret->json, SHOW_FIRST);
    jsonw_begin(&j, &ret->json);
    int r = o->show(tx, id, &j, e);
    if (r == 0 && o->version != NULL)
        r = o->version(tx, id, &ret->version, e);
    if (r != 0)
        shown_done(ret);
    return r;
}

static int answer(struct response *rs, int status, const struct api_object *o, struct shown *s)
{
    if (o->version != NULL)
        respond_etag(rs, s->id, s->version);
    return respond_buf(rs, status, &s->json);
}

int api_show(struct request *rq, struct response *rs)
{
    const struct api_object *o = rq->route->object;
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;
    struct shown shown = {.id = 0};

    /* what has a version must be of that version as a whole */
    int r = o->version != NULL ? db_begin_read(rq->db, &tx, &rq->err)
                               : db_begin_single(rq->db, &tx, &rq->err);
    if (r == 0)
        r = show(tx, o, request_id(rq, "id"), &shown, &rq->err);
    if (r == STORE_ABSENT)
        return api_absent(rs, o);
    return r < 0 ? r : answer(rs, 200, o, &shown);
}

/* The object as it has become, once that is in the database. 0, STORE_ABSENT. */
static int commit_shown(struct request *rq, struct db_tx **tx, int64_t id, struct shown *ret)
{
    int r = show(*tx, rq->route->object, id, ret, &rq->err);
    if (r != 0)
        return r;
    r = db_commit(tx, &rq->err);
    if (r != 0)
        shown_done(ret);
    return r;
}

bool api_is_full(struct request *rq, struct response *rs)
{
    if (!retention_is_full(rq->app->retention))
        return false;
    (void)respond_problem(rs, 503, "storage", "the server's disk is nearly full");
    respond_header(rs, "Retry-After", "30");
    metrics_add(rq->app->metrics, METRICS_FULL, 1);
    return true;
}

int api_create(struct request *rq, struct response *rs)
{
    const struct api_object *o = rq->route->object;
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;
    struct shown shown = {.id = 0};
    int64_t id = 0;

    int r = db_begin_write(rq->db, &tx, &rq->err);
    if (r == 0)
        r = o->add(rq, tx, &id);
    if (r == API_FAULT)
        return respond_invalid(rq, rs);
    if (r == 0)
        r = commit_shown(rq, &tx, id, &shown);
    if (r != 0)
        return r < 0 ? r : err_set(&rq->err, -EIO, "the new %s is gone", o->name);
    respond_header(rs, "Location", "/api/%ss/%" PRId64, o->name, id);
    return answer(rs, 201, o, &shown);
}

int api_patch(struct request *rq, struct response *rs)
{
    const struct api_object *o = rq->route->object;
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;
    const int64_t id = request_id(rq, "id");
    struct shown shown = {.id = 0};
    int64_t version = 0;

    int r = db_begin_write(rq->db, &tx, &rq->err);
    if (r == 0 && o->version != NULL) {
        r = o->version(tx, id, &version, &rq->err);
        if (r == 0 && !request_if_match(rq, rs, id, version))
            return 0;
    }
    if (r == 0)
        r = o->change(rq, tx, id);
    if (r == API_FAULT)
        return respond_invalid(rq, rs);
    if (r == 0)
        r = commit_shown(rq, &tx, id, &shown);
    if (r == STORE_ABSENT)
        return api_absent(rs, o);
    return r < 0 ? r : answer(rs, 200, o, &shown);
}

/* ---------------------------------------------------------------- parts of a body */

int api_assignee(struct request *rq, struct db_tx *tx)
{
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;
    const json_t *who = json_object_get(rq->body, "assigned_to");

    if (who == NULL || json_is_null(who))
        return 0;
    int r = json_is_integer(who)
                ? db_query_row(tx, "SELECT username FROM users WHERE id = $1",
                               DB_ARGS(db_int(json_integer_value(who))), &s, &rq->err)
                : db_query_row(tx, "SELECT username FROM users WHERE username = lower($1)",
                               DB_ARGS(db_str(json_string_value(who))), &s, &rq->err);
    if (r < 0)
        return r;
    if (r != DB_ROW) {
        request_fault(rq, "body", "assigned_to", "must be the name or the id of a user");
        return API_FAULT;
    }
    (void)json_object_set_new(rq->body, "assigned_to", store_json_text(db_text(s, 0)));
    return 0;
}

int api_tags_fault(struct request *rq)
{
    request_fault(rq, "body", "tags", "%s", rq->err.text);
    return API_FAULT;
}

void api_correlate(struct request *rq, struct correlate *ret_correlate)
{
    correlate_init(ret_correlate, &rq->app->conf.correlate);
}

int api_attach(struct request *rq, struct db_tx *tx, struct correlate *c, int64_t incident_id)
{
    const json_t *ids = json_object_get(rq->body, "related_alerts");
    int r = 0;

    for (size_t i = 0; r == 0 && i < json_array_size(ids); i++) {
        const int64_t id = json_integer_value(json_array_get(ids, i));
        int64_t from = 0;
        r = incident_attach(tx, incident_id, id, &from, &rq->err);
        if (r == STORE_ABSENT) {
            request_fault(rq, "body", "related_alerts",
                          "must name alerts that exist: %lld does not", (long long)id);
            return API_FAULT;
        }
        if (r == 0 && from != 0 && from != incident_id)
            r = correlate_incident(c, tx, from, false, &rq->err);
    }
    return r;
}
