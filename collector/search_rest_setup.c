#include "collector/search_rest_setup.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "collector/search_doc.h"
#include "common/log.h"
#include "common/time.h"

#define DAY_NS   (INT64_C(86400) * (int64_t)WIND_NS_PER_S)
#define MONTH_NS (31 * DAY_NS)

/* As search_http_do, where 404 and 400 are an answer, too: there is no such thing. *ret_answer
 * NULL. */
static int look(struct search_rest *r, const char *path, json_t **ret_answer, struct err *e)
{
    const struct search_call c = {.method = "GET", .path = path};
    json_t *answer = NULL;
    const int status = search_http_call(r->http, &c, &answer, e);

    *ret_answer = NULL;
    if (status == 200) {
        *ret_answer = answer;
        return 0;
    }
    int code = status < 0 ? status : 0;
    if (status == 401 || status == 403 || status == 429 || status >= 500)
        code = search_http_refused(r->http, path, status, answer, e);
    json_decref(answer);
    return code;
}

/* ---------------------------------------------------------------- the server */

static int check_server(struct search_rest *r, bool *ret_is_opensearch, struct err *e)
{
    json_auto_t *answer = NULL;

    const int code = search_http_do(r->http, "GET", "/", NULL, &answer, e);
    if (code != 0)
        return code;
    const json_t *version = json_object_get(answer, "version");
    const char *number = json_string_value(json_object_get(version, "number"));
    const char *kind = json_string_value(json_object_get(version, "distribution"));
    *ret_is_opensearch = kind != NULL && strcmp(kind, "opensearch") == 0;
    if (number == NULL)
        return err_set(e, -EAGAIN,
                       "search.url: neither Elasticsearch nor OpenSearch answers there");
    const int major = atoi(number); // NOLINT(cert-err34-c): 0 is what it is then
    const char *dot = strchr(number, '.');
    const int minor = dot == NULL ? 0 : atoi(dot + 1); // NOLINT(cert-err34-c)
    if (!*ret_is_opensearch && (major < 7 || (major == 7 && minor < 10)))
        return err_set(e, -EAGAIN, "search server: Elasticsearch %.20s is too old; 7.10 is needed",
                       number);
    return 0;
}

/* ---------------------------------------------------------------- life-cycle */

/*
 * After the documentation of both, and untested: the servers of the tests have neither. An
 * index ends when the month it was made in is over for as long as the retention.
 */
static int put_ilm(struct search_rest *r, struct err *e)
{
    char path[128], age[24];

    (void)snprintf(path, sizeof(path), "/_ilm/policy/%s-alerts", r->prefix);
    (void)snprintf(age, sizeof(age), "%lldd", (long long)((r->retention_ns + MONTH_NS) / DAY_NS));
    return search_http_do(r->http, "PUT", path,
                          json_pack("{s:{s:{s:{s:{}}, s:{s:s, s:{s:{}}}}}}", "policy", "phases",
                                    "hot", "actions", "delete", "min_age", age, "actions",
                                    "delete"),
                          NULL, e);
}

static int put_ism(struct search_rest *r, struct err *e)
{
    char path[128], age[24], pattern[INDEX_MAX];
    json_auto_t *there = NULL;

    (void)snprintf(path, sizeof(path), "/_plugins/_ism/policies/%s-alerts", r->prefix);
    int code = look(r, path, &there, e);
    if (code != 0 || there != NULL) /* a policy that is there is the operator's now */
        return code;
    (void)snprintf(age, sizeof(age), "%lldd", (long long)((r->retention_ns + MONTH_NS) / DAY_NS));
    (void)snprintf(pattern, sizeof(pattern), "%s-alerts-*", r->prefix);
    json_t *kept =
        json_pack("{s:s, s:[], s:[{s:s, s:{s:s}}]}", "name", "kept", "actions", "transitions",
                  "state_name", "over", "conditions", "min_index_age", age);
    json_t *over =
        json_pack("{s:s, s:[{s:{}}], s:[]}", "name", "over", "actions", "delete", "transitions");
    return search_http_do(r->http, "PUT", path,
                          json_pack("{s:{s:s, s:s, s:[o, o], s:[{s:[s], s:i}]}}", "policy",
                                    "description", "search.retention of Wind", "default_state",
                                    "kept", "states", kept, over, "ism_template", "index_patterns",
                                    pattern, "priority", 100),
                          NULL, e);
}

/* *ret_has_ilm: the template has to name the policy. */
static int put_policy(struct search_rest *r, bool is_opensearch, bool *ret_has_ilm, struct err *e)
{
    json_auto_t *answer = NULL;
    const json_t *item;
    bool has_ism = false;
    size_t i;

    *ret_has_ilm = false;
    if (r->retention_ns == 0)
        return 0;
    int code = look(
        r, is_opensearch ? "/_cat/plugins?format=json&h=component" : "/_xpack?categories=features",
        &answer, e);
    if (code != 0 || answer == NULL)
        return code;
    if (!is_opensearch) {
        const json_t *ilm = json_object_get(json_object_get(answer, "features"), "ilm");
        *ret_has_ilm = json_is_true(json_object_get(ilm, "available")) &&
                       json_is_true(json_object_get(ilm, "enabled"));
        return *ret_has_ilm ? put_ilm(r, e) : 0;
    }
    json_array_foreach(answer, i, item)
    {
        const char *name = json_string_value(json_object_get(item, "component"));
        has_ism |= name != NULL && strcmp(name, "opensearch-index-management") == 0;
    }
    return has_ism ? put_ism(r, e) : 0;
}

/* ---------------------------------------------------------------- templates */

static void template_path(const struct search_rest *r, enum topic t, char ret[INDEX_MAX])
{
    (void)snprintf(ret, INDEX_MAX, "/_index_template/%s-%s", r->prefix, topic_words[t]);
}

static int put_template(struct search_rest *r, enum topic t, const char *generation, bool has_ilm,
                        struct err *e)
{
    char path[INDEX_MAX], name[INDEX_MAX], pattern[INDEX_MAX + 2];

    template_path(r, t, path);
    (void)snprintf(name, sizeof(name), "%s-%s", r->prefix, topic_words[t]);
    (void)snprintf(pattern, sizeof(pattern), "%s-*", name);
    json_t *settings = json_pack("{s:i, s:s, s:s}", "number_of_shards", 1, "auto_expand_replicas",
                                 "0-1", "refresh_interval", "1s");
    if (has_ilm && t == TOPIC_ALERTS)
        (void)json_object_set_new(settings, "lifecycle.name", json_string(name));
    return search_http_do(r->http, "PUT", path,
                          json_pack("{s:[s], s:i, s:{s:{s:o}, s:o, s:{s:{}}}}", "index_patterns",
                                    pattern, "priority", 200, "template", "settings", "index",
                                    settings, "mappings", search_doc_mapping(generation), "aliases",
                                    name),
                          NULL, e);
}

/* Are its indices the ones that this database filled? */
static int has_generation(struct search_rest *r, enum topic t, const char *generation,
                          bool *ret_is_it, struct err *e)
{
    char path[INDEX_MAX];
    json_auto_t *answer = NULL;

    template_path(r, t, path);
    const int code = look(r, path, &answer, e);
    const json_t *o = json_array_get(json_object_get(answer, "index_templates"), 0);
    static const char *const way[] = {"index_template", "template", "mappings", "_meta"};
    for (size_t i = 0; i < WIND_ARRAY_SIZE(way); i++)
        o = json_object_get(o, way[i]);
    const char *is = json_string_value(json_object_get(o, "generation"));
    *ret_is_it = is != NULL && strcmp(is, generation) == 0;
    return code;
}

/* ---------------------------------------------------------------- whole indices */

/* Names of our indices: [{"index": "wind-alerts-2026.11"}]. */
static int list_indices(struct search_rest *r, json_t **ret_list, struct err *e)
{
    char path[2 * INDEX_MAX + 64];

    (void)snprintf(path, sizeof(path),
                   "/_cat/indices/%s-alerts-*,%s-incidents-*?format=json&h=index", r->prefix,
                   r->prefix);
    return search_http_do(r->http, "GET", path, NULL, ret_list, e);
}

/* By name: servers may be told to refuse patterns here. */
static int drop_index(struct search_rest *r, const char *name, struct err *e)
{
    char path[INDEX_MAX + 32];

    (void)snprintf(path, sizeof(path), "/%s?ignore_unavailable=true", name);
    return search_http_do(r->http, "DELETE", path, NULL, NULL, e);
}

static int drop_all(struct search_rest *r, struct err *e)
{
    json_auto_t *list = NULL;
    const json_t *item;
    size_t i;

    int code = list_indices(r, &list, e);
    json_array_foreach(list, i, item)
    {
        const char *name = json_string_value(json_object_get(item, "index"));
        if (code == 0 && name != NULL)
            code = drop_index(r, name, e);
    }
    return code;
}

int search_rest_setup(struct search_rest *r, const char *generation, bool *ret_is_empty,
                      struct err *e)
{
    bool is_opensearch, has_ilm = false, is_it = true;

    int code = check_server(r, &is_opensearch, e);
    for (enum topic t = 0; code == 0 && is_it && t < TOPICS; t++)
        code = has_generation(r, t, generation, &is_it, e);
    *ret_is_empty = !is_it;
    if (code == 0 && !is_it)
        code = drop_all(r, e);
    if (code == 0)
        code = put_policy(r, is_opensearch, &has_ilm, e);
    for (enum topic t = 0; code == 0 && t < TOPICS; t++)
        code = put_template(r, t, generation, has_ilm, e);
    if (code == 0 && !is_it)
        log_info("search: templates '%s-*' are in place, the index is filled anew", r->prefix);
    return code;
}

/* ---------------------------------------------------------------- retention */

int search_rest_delete(struct search_rest *r, enum topic t, json_t *query, struct err *e)
{
    char path[INDEX_MAX + 128];

    (void)snprintf(path, sizeof(path),
                   "/%s-%s-*/_delete_by_query?conflicts=proceed&refresh=true"
                   "&ignore_unavailable=true&allow_no_indices=true",
                   r->prefix, topic_words[t]);
    return search_http_do(r->http, "POST", path, query, NULL, e);
}

/* When the month at the end of its name was over; 0: that is no month. */
static int64_t month_end_ns(const char *name)
{
    const size_t len = strlen(name);
    struct tm tm = {.tm_mday = 1};
    int year, month;

    if (len < 8 || sscanf(name + len - 8, "-%4d.%2d", &year, &month) != 2) // NOLINT(cert-err34-c)
        return 0;
    tm.tm_year = year - 1900;
    tm.tm_mon = month; /* the next one: tm counts from 0 */
    return (int64_t)timegm(&tm) * (int64_t)WIND_NS_PER_S;
}

/* Alerts that were made before `before_ns`, in whole months. */
static int drop_months(struct search_rest *r, int64_t before_ns, struct err *e)
{
    json_auto_t *list = NULL;
    char start[INDEX_MAX];
    const json_t *item;
    size_t i;

    const int n = snprintf(start, sizeof(start), "%s-alerts-", r->prefix);
    int code = list_indices(r, &list, e);
    json_array_foreach(list, i, item)
    {
        const char *name = json_string_value(json_object_get(item, "index"));
        const int64_t end = name == NULL ? 0 : month_end_ns(name);
        if (code != 0 || end == 0 || end > before_ns || strncmp(name, start, (size_t)n) != 0)
            continue;
        code = drop_index(r, name, e);
        if (code == 0)
            log_info("search: index '%s' is over, deleted", name);
    }
    return code;
}

int search_rest_prune(struct search_rest *r, struct db *db, struct err *e)
{
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;
    int64_t id = 0, made_ns = 0;

    int code = db_begin_read(db, &tx, e);
    if (code == 0)
        code = db_query_row(tx, "SELECT id, created_at FROM alerts ORDER BY id LIMIT 1", DB_NONE,
                            &s, e);
    if (code < 0)
        return code;
    if (code == DB_ROW) {
        id = db_i64(s, 0);
        made_ns = db_i64(s, 1);
    }
    tx = db_tx_free(tx);
    if (r->retention_ns > 0) {
        const int64_t kept_ns = (int64_t)time_wall_ns() - r->retention_ns;
        made_ns = kept_ns > made_ns ? kept_ns : made_ns;
    }
    code = made_ns > 0 ? drop_months(r, made_ns, e) : 0;
    if (code == 0 && id > 1)
        code = search_rest_delete(
            r, TOPIC_ALERTS,
            json_pack("{s:{s:{s:{s:I}}}}", "query", "range", "wind.id", "lt", (json_int_t)id), e);
    return code;
}
