#include "collector/search_rest.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "collector/outbox.h"
#include "collector/search.h"
#include "collector/search_doc.h"
#include "collector/search_dsl.h"
#include "collector/search_rest_setup.h"
#include "common/crypto.h"
#include "common/log.h"
#include "common/time.h"

#define TOKENS_MAX ((size_t)256 * 1024)

static int rest_open(void *index, const char *generation, bool *ret_is_empty, struct err *e)
{
    struct search_rest *r = index;

    return search_rest_setup(r, generation, ret_is_empty, e);
}

int search_rest_new(void **ret_index, const struct search_rest_conf *conf, struct err *e)
{
    static const char signs[] = "abcdefghijklmnopqrstuvwxyz0123456789_-";
    struct search_rest *r;

    if (strspn(conf->prefix, signs) != strlen(conf->prefix) || conf->prefix[0] < 'a')
        return err_set(e, -EINVAL,
                       "search.index: '%s' is no name of an index: small letters, then also "
                       "digits, _ and -",
                       conf->prefix);
    r = calloc(1, sizeof(*r));
    if (r == NULL)
        return err_set(e, -ENOMEM, "search: out of memory");
    (void)snprintf(r->prefix, sizeof(r->prefix), "%s", conf->prefix);
    r->retention_ns = conf->retention_ns;
    (void)pthread_mutex_init(&r->refresh, NULL);
    atomic_init(&r->is_dirty, true); /* what was sent before we were stopped */
    buf_init(&r->bulk.body, SEARCH_BULK_MAX);
    buf_init(&r->tokens, TOKENS_MAX);
    int code = search_doc_scan(&r->metadata, e);
    if (code == 0)
        code = search_http_new(&r->http, &conf->http, e);
    if (code != 0) {
        search_rest_ops.done(r);
        return code;
    }
    *ret_index = r;
    return 0;
}

static void rest_done(void *index)
{
    struct search_rest *r = index;

    (void)search_http_free(r->http);
    (void)json_scan_free(r->metadata);
    (void)pthread_mutex_destroy(&r->refresh);
    buf_done(&r->bulk.body);
    buf_done(&r->tokens);
    for (int t = 0; t < TOPICS; t++)
        json_decref(r->gone[t]);
    free(r);
}

/* ---------------------------------------------------------------- taking rows */

/* "wind-alerts-2026.11" */
static void index_of(const struct search_rest *r, enum topic t, int64_t made_ns,
                     char ret[INDEX_MAX])
{
    const time_t s = (time_t)(made_ns / (int64_t)WIND_NS_PER_S);
    struct tm tm;

    (void)gmtime_r(&s, &tm);
    (void)snprintf(ret, INDEX_MAX, "%s-%s-%04d.%02d", r->prefix, topic_words[t], tm.tm_year + 1900,
                   tm.tm_mon + 1);
}

static void put_action(struct search_rest *r, enum topic t, struct db_stmt *s)
{
    char index[INDEX_MAX], uid[UUID_TEXT] = "";
    size_t len;
    const uint8_t *p = db_blob(s, SEARCH_DOC_UID, &len);

    if (len == 16)
        uuid_format(p, uid);
    index_of(r, t, db_i64(s, SEARCH_DOC_CREATED), index);
    buf_printf(&r->bulk.body,
               "{\"index\":{\"_index\":\"%s\",\"_id\":\"%s\",\"version\":%lld,"
               "\"version_type\":\"external_gte\"}}\n",
               index, uid, (long long)r->version);
}

static int take_rows(struct search_rest *r, struct db_tx *tx, const struct search_span *span,
                     enum topic t, struct err *e)
{
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;
    struct jsonw j;

    int code = search_span_ids(tx, span, t, &r->ids, e);
    if (code == 0 && r->ids.n > 0)
        code = search_doc_query(tx, t, &r->ids, &s, e);
    while (s != NULL && code == 0 && (code = db_step(s, e)) == DB_ROW) {
        put_action(r, t, s);
        jsonw_begin(&j, &r->bulk.body);
        search_doc_put(&j, s, t, r->metadata, &r->tokens);
        buf_putc(&r->bulk.body, '\n');
        r->bulk.n++;
        code = r->bulk.body.failed
                   ? err_set(e, -EFBIG, "search: a batch is beyond %zu bytes", SEARCH_BULK_MAX)
                   : 0;
    }
    return code;
}

/* Changed, and not there any more. */
static int take_gone(struct search_rest *r, struct db_tx *tx, const struct search_span *span,
                     enum topic t, struct err *e)
{
    static const char *const sqls[TOPICS] = {
        [TOPIC_ALERTS] = "SELECT DISTINCT o.object_id FROM outbox o WHERE o.topic = 'alerts' AND "
                         "o.seq > $1 AND o.seq <= $2 AND NOT EXISTS (SELECT 1 FROM alerts x "
                         "WHERE x.id = o.object_id)",
        [TOPIC_INCIDENTS] = "SELECT DISTINCT o.object_id FROM outbox o WHERE o.topic = "
                            "'incidents' AND o.seq > $1 AND o.seq <= $2 AND NOT EXISTS (SELECT 1 "
                            "FROM incidents x WHERE x.id = o.object_id)",
    };
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;

    int code = db_query(tx, sqls[t], DB_ARGS(db_int(span->from), db_int(span->to)), &s, e);
    json_decref(r->gone[t]);
    r->gone[t] = json_array();
    while (code == 0 && (code = db_step(s, e)) == DB_ROW) {
        (void)json_array_append_new(r->gone[t], json_integer(db_i64(s, 0)));
        code = 0;
    }
    return code;
}

static int rest_take(void *index, struct db_tx *tx, const struct search_span *span,
                     uint64_t *ret_taken, struct err *e)
{
    struct search_rest *r = index;
    int64_t first;

    buf_reset(&r->bulk.body);
    r->bulk.n = 0;
    int code = outbox_range(tx, &first, &r->version, e);
    for (enum topic t = 0; code == 0 && t < TOPICS; t++) {
        if (span->is_ids && span->topic != t)
            continue;
        code = take_rows(r, tx, span, t, e);
        if (code == 0 && !span->is_ids)
            code = take_gone(r, tx, span, t, e);
    }
    *ret_taken = r->bulk.n;
    return code;
}

/* ---------------------------------------------------------------- sending them */

static int send_gone(struct search_rest *r, enum topic t, struct err *e)
{
    if (json_array_size(r->gone[t]) == 0)
        return 0;
    json_t *query = json_pack("{s:{s:{s:O}}}", "query", "terms", "wind.id", r->gone[t]);
    return search_rest_delete(r, t, query, e);
}

static int rest_send(void *index, uint64_t *ret_refused, struct err *e)
{
    struct search_rest *r = index;

    int code = search_bulk_send(r->http, &r->bulk, ret_refused, e);
    for (enum topic t = 0; code == 0 && t < TOPICS; t++)
        code = send_gone(r, t, e);
    atomic_store_explicit(&r->is_dirty, true, memory_order_release);
    return code;
}

/* ---------------------------------------------------------------- finding them */

/* What was sent shows after a refresh; whoever asks first after it was sent, does that. */
static int refresh(struct search_rest *r, struct err *e)
{
    char path[2 * INDEX_MAX + 64];
    const struct search_call call = {.method = "POST", .path = path};
    json_auto_t *answer = NULL;
    int code = 0;

    (void)snprintf(path, sizeof(path),
                   "/%s-alerts-*,%s-incidents-*/_refresh?ignore_unavailable=true", r->prefix,
                   r->prefix);
    (void)pthread_mutex_lock(&r->refresh);
    if (atomic_exchange_explicit(&r->is_dirty, false, memory_order_acq_rel)) {
        const int status = search_http_call(r->http, &call, &answer, e);
        if (status < 0)
            code = status;
        else if (status != 200)
            code = search_http_refused(r->http, "refresh", status, answer, e);
        if (code != 0)
            atomic_store_explicit(&r->is_dirty, true, memory_order_release);
    }
    (void)pthread_mutex_unlock(&r->refresh);
    return code;
}

static int read_hits(struct filter *f, const json_t *answer, struct err *e)
{
    const json_t *hits = json_object_get(json_object_get(answer, "hits"), "hits"), *hit;
    size_t i;

    f->is_picked = true;
    f->n_picked = 0;
    f->picked_cursor[0] = '\0';
    json_array_foreach((json_t *)(uintptr_t)hits, i, hit)
    {
        const json_t *sort = json_object_get(hit, "sort");
        const json_t *value = json_array_get(sort, 0), *id = json_array_get(sort, 1);
        if (!json_is_number(value) || !json_is_integer(id))
            return err_set(e, -EAGAIN, "search server: its answer is not as expected");
        if (f->n_picked == (size_t)f->limit)
            break;
        f->picked[f->n_picked++] = json_integer_value(id);
        if (f->n_picked == (size_t)f->limit && json_array_size(hits) > f->n_picked)
            filter_cursor_of(f, json_integer_value(value), json_number_value(value),
                             json_integer_value(id), f->picked_cursor);
    }
    return 0;
}

static int ask(struct search_rest *r, struct filter *f, const char *body, struct err *e)
{
    static const enum topic topics[] = {
        [FILTER_ALERTS] = TOPIC_ALERTS, [FILTER_INCIDENTS] = TOPIC_INCIDENTS};
    char path[INDEX_MAX + 160];
    const struct search_call call = {
        .method = "POST", .path = path, .body = body, .len = strlen(body)};
    json_auto_t *answer = NULL;

    (void)snprintf(path, sizeof(path),
                   "/%s-%s-*/_search?ignore_unavailable=true&allow_no_indices=true"
                   "&allow_partial_search_results=false&filter_path=hits.hits.sort,error",
                   r->prefix, topic_words[topics[f->what]]);
    const int status = search_http_call(r->http, &call, &answer, e);
    if (status < 0)
        return status;
    if (status == 200)
        return read_hits(f, answer, e);
    (void)search_http_refused(r->http, "a search", status, answer, e);
    return status == 400 ? -EIO : -EAGAIN;
}

static int rest_find(void *index, struct filter *f, struct err *e)
{
    struct search_rest *r = index;

    int code = refresh(r, e);
    if (code != 0)
        return code;
    json_t *dsl = search_dsl(f);
    char *body = dsl == NULL ? NULL : json_dumps(dsl, JSON_COMPACT | JSON_REAL_PRECISION(17));
    json_decref(dsl);
    code = body == NULL ? err_set(e, -ENOMEM, "search: out of memory") : ask(r, f, body, e);
    free(body);
    return code;
}

static int rest_prune(void *index, struct db *db, struct err *e)
{
    return search_rest_prune(index, db, e);
}

const struct search_ops search_rest_ops = {.name = "rest",
                                           .version = SEARCH_MAPPING,
                                           .batch = {SEARCH_BATCH, SEARCH_BATCH},
                                           .open = rest_open,
                                           .take = rest_take,
                                           .send = rest_send,
                                           .find = rest_find,
                                           .prune = rest_prune,
                                           .done = rest_done};
