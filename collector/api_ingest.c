/* /api/ingest: batches from sensors. */
#include <string.h>

#include "collector/collector.h"
#include "collector/ingest.h"
#include "collector/metrics.h"
#include "collector/routes.h"

static const struct field batch_fields[] = {
    {.name = "sensor", .type = FIELD_TEXT, .flags = FIELD_REQUIRED, .min = 1, .max = SOURCE_MAX},
    {.name = "version", .type = FIELD_TEXT, .max = 64},
    {.name = "alerts",
     .type = FIELD_LIST,
     .flags = FIELD_REQUIRED,
     .max = INGEST_ALERTS,
     .item = FIELD_ANY,
     .help = "EVE alert objects; none is a heartbeat. A bad one is rejected alone."},
    {.name = "stats", .type = FIELD_OBJECT, .flags = FIELD_NULLABLE},
    {.name = NULL},
};
/* open: an older collector takes what a newer sensor has to say besides */
static const struct schema batch_schema = {.name = "Batch", .fields = batch_fields, .open = true};

static const struct field rejected_fields[] = {
    {.name = "index", .type = FIELD_INT, .flags = FIELD_REQUIRED},
    {.name = "uid", .type = FIELD_TEXT, .flags = FIELD_REQUIRED | FIELD_NULLABLE},
    {.name = "detail", .type = FIELD_TEXT, .flags = FIELD_REQUIRED},
    {.name = NULL},
};
static const struct schema rejected_schema = {.name = "Rejected", .fields = rejected_fields};

static const struct field result_fields[] = {
    {.name = "accepted", .type = FIELD_INT, .flags = FIELD_REQUIRED},
    {.name = "updated", .type = FIELD_INT, .flags = FIELD_REQUIRED},
    {.name = "unchanged", .type = FIELD_INT, .flags = FIELD_REQUIRED},
    {.name = "rejected",
     .type = FIELD_LIST,
     .flags = FIELD_REQUIRED,
     .item = FIELD_OBJECT,
     .of = &rejected_schema},
    {.name = NULL},
};
static const struct schema result_schema = {.name = "BatchResult", .fields = result_fields};

static void count(struct metrics *m, const struct ingest_result *res)
{
    metrics_add(m, METRICS_INGEST_BATCHES, 1);
    metrics_add(m, METRICS_INGEST_REJECTED, json_array_size(res->rejected));
    for (size_t i = 0; i < res->n_kinds; i++)
        for (int o = 0; o < ALERT_OUTCOMES; o++)
            metrics_alerts(m, res->kinds[i].type, res->kinds[i].severity, (enum alert_put_outcome)o,
                           res->kinds[i].n[o]);
}

static int ingest(struct request *rq, struct response *rs)
{
    const json_t *stats = json_object_get(rq->body, "stats");
    const struct ingest_batch batch = {
        .sensor = body_text(rq, "sensor", ""),
        .version = body_text(rq, "version", ""),
        .alerts = json_object_get(rq->body, "alerts"),
        .stats = json_is_object(stats) ? stats : NULL,
    };
    const char *own = rq->principal.sensor;
    struct ingest_result res;

    _Static_assert(sizeof(rq->principal.sensor) > SOURCE_MAX, "any sensor's name fits");
    if (own[0] != '\0' && strcmp(own, batch.sensor) != 0)
        return respond_problem(rs, 403, "sensor_foreign", "this key speaks for the sensor '%s'",
                               own);
    const int r = ingest_batch(rq->db, &rq->app->conf.correlate, &batch, &res, &rq->err);
    if (r != 0)
        return r;
    count(rq->app->metrics, &res);
    json_t *o = json_object();
    (void)json_object_set_new(o, "accepted", json_integer(res.accepted));
    (void)json_object_set_new(o, "updated", json_integer(res.updated));
    (void)json_object_set_new(o, "unchanged", json_integer(res.unchanged));
    (void)json_object_set_new(o, "rejected", res.rejected);
    return respond_json(rs, 200, o);
}

const struct route ingest_routes[] = {
    {.method = "POST",
     .pattern = "/api/ingest",
     .need = PERMISSION_INGEST,
     .handler = ingest,
     .summary = "Store a sensor's alerts, each once",
     .body = &batch_schema,
     .reply = &result_schema,
     .flags = ROUTE_NO_REPLAY, /* uid and rev make it idempotent already */
     .body_max = INGEST_BYTES},
    {.method = NULL},
};
