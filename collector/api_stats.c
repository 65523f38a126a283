/* /api/stats/: the figures of the page. */
#include "collector/routes.h"
#include "collector/stats.h"

static const struct field range_query[] = {
    {.name = "from", .type = FIELD_TIME, .help = "Event time; without it the first alert's."},
    {.name = "to", .type = FIELD_TIME, .help = "Event time; without it the last alert's."},
    {.name = NULL},
};

static const struct field stats_fields[] = {
    {.name = "extent", .type = FIELD_OBJECT, .flags = FIELD_REQUIRED},
    {.name = "alerts", .type = FIELD_OBJECT, .flags = FIELD_REQUIRED},
    {.name = "incidents", .type = FIELD_OBJECT, .flags = FIELD_REQUIRED},
    {.name = "timeline", .type = FIELD_OBJECT, .flags = FIELD_REQUIRED},
    {.name = "top_entities", .type = FIELD_LIST, .flags = FIELD_REQUIRED, .item = FIELD_OBJECT},
    {.name = "sensors", .type = FIELD_OBJECT, .flags = FIELD_REQUIRED},
    {.name = NULL},
};
static const struct schema stats_schema = {.name = "Stats", .fields = stats_fields};

/* A time of the query that the router has checked, or -1. */
static int64_t query_time(const struct request *rq, const char *name)
{
    const char *text = request_query(rq, name);
    int64_t ns;

    return text == NULL || schema_time(text, &ns) != 0 ? -1 : ns;
}

static int show(struct request *rq, struct response *rs)
{
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;
    const struct stats_range range = {query_time(rq, "from"), query_time(rq, "to")};
    json_t *stats = NULL;

    if (range.from_ns >= 0 && range.to_ns >= 0 && range.from_ns > range.to_ns) {
        request_fault(rq, "query", "to", "is before from");
        return respond_invalid(rq, rs);
    }
    int r = db_begin_read(rq->db, &tx, &rq->err);
    if (r == 0)
        r = stats_get(tx, &range, &stats, &rq->err);
    return r == 0 ? respond_json(rs, 200, stats) : r;
}

const struct route stats_routes[] = {
    {.method = "GET",
     .pattern = "/api/stats/",
     .need = PERMISSION_SENSORS_READ,
     .handler = show,
     .summary = "Alerts by kind, over time, and around whom",
     .reply = &stats_schema,
     .query = range_query},
    {.method = NULL},
};
