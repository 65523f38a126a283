/* /api/search: the same searches as the lists take, always answered by the text index. */
#include "collector/api_common.h"
#include "collector/collector.h"
#include "collector/routes.h"
#include "collector/search.h"

static const char *const index_words[] = {"text", "rest", NULL};

static const struct field status_fields[] = {
    {.name = "index",
     .type = FIELD_WORD,
     .flags = FIELD_REQUIRED,
     .words = index_words,
     .help = "The database's own, or a search server."},
    {.name = "behind",
     .type = FIELD_INT,
     .flags = FIELD_REQUIRED,
     .help = "Changes that it does not know yet."},
    {.name = "rebuild",
     .type = FIELD_OBJECT,
     .flags = FIELD_REQUIRED | FIELD_NULLABLE,
     .help = "{done, of}: ids, while it is filled anew."},
    {.name = "taken", .type = FIELD_INT, .flags = FIELD_REQUIRED, .help = "Since the start."},
    {.name = "refused",
     .type = FIELD_INT,
     .flags = FIELD_REQUIRED,
     .help = "Of the server, for good; the log has the reasons."},
    {.name = "failed",
     .type = FIELD_INT,
     .flags = FIELD_REQUIRED,
     .help = "Attempts that are made again."},
    {.name = "trouble", .type = FIELD_TEXT, .flags = FIELD_REQUIRED | FIELD_NULLABLE},
    {.name = NULL},
};
static const struct schema status_schema = {.name = "SearchStatus", .fields = status_fields};

static int answer(struct request *rq, struct response *rs, int status)
{
    struct search_stats stats;

    const int r = search_stats(rq->app->search, &stats, &rq->err);
    if (r != 0)
        return r;
    const bool is_rebuilding = stats.rebuild_at < stats.rebuild_to;
    return respond_json(
        rs, status,
        json_pack("{s:s, s:I, s:o, s:I, s:I, s:I, s:s?}", "index", stats.index, "behind",
                  (json_int_t)stats.behind, "rebuild",
                  is_rebuilding ? json_pack("{s:I, s:I}", "done", (json_int_t)stats.rebuild_at,
                                            "of", (json_int_t)stats.rebuild_to)
                                : json_null(),
                  "taken", (json_int_t)stats.taken, "refused", (json_int_t)stats.refused, "failed",
                  (json_int_t)stats.failed, "trouble",
                  stats.trouble[0] != '\0' ? stats.trouble : NULL));
}

static int show_status(struct request *rq, struct response *rs)
{
    return answer(rq, rs, 200);
}

static int rebuild(struct request *rq, struct response *rs)
{
    const int r = search_rebuild(rq->app->search, &rq->err);

    return r == 0 ? answer(rq, rs, 202) : r;
}

const struct route search_routes[] = {
    {.method = "GET",
     .pattern = "/api/search/",
     .need = PERMISSION_ALERTS_READ,
     .handler = api_list,
     .object = &alert_object,
     .summary = "Alerts, found by the text index alone",
     .reply = &alert_schema,
     .query = list_query,
     .flags = ROUTE_INDEX,
     .list = true},
    {.method = "GET",
     .pattern = "/api/search/incidents",
     .need = PERMISSION_INCIDENTS_READ,
     .handler = api_list,
     .object = &incident_object,
     .summary = "Incidents, found by the text index alone",
     .reply = &incident_schema,
     .query = list_query,
     .flags = ROUTE_INDEX,
     .list = true},
    {.method = "GET",
     .pattern = "/api/search/status",
     .need = PERMISSION_SENSORS_READ,
     .handler = show_status,
     .summary = "How far the text index has come",
     .reply = &status_schema},
    {.method = "POST",
     .pattern = "/api/search/rebuild",
     .need = PERMISSION_SEARCH_WRITE,
     .handler = rebuild,
     .summary = "Fill the text index anew, while it goes on answering",
     .reply = &status_schema,
     .status = 202},
    {.method = NULL},
};
