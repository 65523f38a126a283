/* /api/stats/: the figures of the page. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "collector/cache.h"
#include "collector/collector.h"
#include "collector/outbox.h"
#include "collector/routes.h"
#include "collector/sensors.h"
#include "collector/stats.h"
#include "common/time.h"

#define KEPT_S 60 /* nothing is wrong with it later; but nobody may ask any more */

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

/* What was kept under `key`, or NULL. */
static json_t *find_kept(struct request *rq, const char *key)
{
    struct buf text;
    json_t *stats = NULL;

    buf_init(&text, HTTP_BODY_MAX);
    if (cache_get(rq->app->cache, key, &text) == 0)
        stats = json_loadb(text.data, text.len, 0, NULL);
    buf_done(&text);
    return stats;
}

static void keep(struct request *rq, const char *key, const json_t *stats)
{
    char *text = json_dumps(stats, JSON_COMPACT);

    if (text != NULL)
        cache_put(rq->app->cache, key, text, strlen(text), KEPT_S);
    free(text);
}

/* Counting a million alerts takes a while; until something changes the answer stays the same. */
static int get(struct request *rq, struct db_tx *tx, const struct stats_range *range,
               json_t **ret_stats)
{
    char key[CACHE_KEY_MAX + 1];
    int64_t seq = 0;
    int r = outbox_last(tx, &seq, &rq->err);

    if (r < 0)
        return r;
    (void)snprintf(key, sizeof(key), "stats %" PRId64 " %" PRId64 " %" PRId64, seq, range->from_ns,
                   range->to_ns);
    *ret_stats = seq > 0 ? find_kept(rq, key) : NULL;
    if (*ret_stats != NULL)
        return 0;
    r = stats_get(tx, range, ret_stats, &rq->err);
    if (r == 0 && seq > 0)
        keep(rq, key, *ret_stats);
    return r;
}

static int show(struct request *rq, struct response *rs)
{
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;
    const struct stats_range range = {query_time(rq, "from"), query_time(rq, "to")};
    json_t *stats = NULL, *sensors = NULL;

    if (range.from_ns >= 0 && range.to_ns >= 0 && range.from_ns > range.to_ns) {
        request_fault(rq, "query", "to", "is before from");
        return respond_invalid(rq, rs);
    }
    int r = db_begin_read(rq->db, &tx, &rq->err);
    if (r == 0)
        r = get(rq, tx, &range, &stats);
    if (r == 0)
        r = sensor_states(tx, (int64_t)time_wall_ns(), &sensors, &rq->err); /* by the clock */
    if (r != 0) {
        json_decref(stats);
        return r;
    }
    (void)json_object_set_new(stats, "sensors", sensors);
    return respond_json(rs, 200, stats);
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
