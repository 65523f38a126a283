/* /api/ingest: batches from sensors. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "collector/collector.h"
#include "collector/ingest.h"
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

static json_t *rejected_json(const struct ingest_result *res)
{
    json_t *list = json_array();

    for (size_t i = 0; i < res->n_outcomes; i++) {
        const struct ingest_outcome *out = &res->outcomes[i];
        if (out->state != INGEST_REJECTED)
            continue;
        json_t *o = json_object();
        (void)json_object_set_new(o, "index", json_integer((json_int_t)i));
        (void)json_object_set_new(o, "uid", out->uid[0] ? json_string(out->uid) : json_null());
        (void)json_object_set_new(o, "detail", json_string(out->reason));
        (void)json_array_append_new(list, o);
    }
    return list;
}

static int respond_result(struct response *rs, const struct ingest_result *res)
{
    json_t *o = json_object();

    (void)json_object_set_new(o, "accepted", json_integer(res->n[INGEST_STORED]));
    (void)json_object_set_new(o, "updated", json_integer(res->n[INGEST_UPDATED]));
    (void)json_object_set_new(o, "unchanged", json_integer(res->n[INGEST_KNOWN]));
    (void)json_object_set_new(o, "rejected", rejected_json(res));
    return respond_json(rs, 200, o);
}

static int post(struct request *rq, struct response *rs, struct ingest_batch *batch)
{
    const json_t *alerts = json_object_get(rq->body, "alerts");
    const json_t *stats = json_object_get(rq->body, "stats");
    const size_t n = json_array_size(alerts);
    struct ingest_item *items = calloc(n + 1, sizeof(*items));
    char *texts = json_is_object(stats) ? json_dumps(stats, JSON_COMPACT) : NULL;
    struct ingest_result res;
    int r = items == NULL ? -ENOMEM : 0;

    for (size_t i = 0; r == 0 && i < n; i++) {
        char *text = json_dumps(json_array_get(alerts, i), JSON_COMPACT | JSON_ENCODE_ANY);
        if (text == NULL)
            r = -ENOMEM;
        else
            items[i] = (struct ingest_item){.json = text, .len = strlen(text)};
    }
    batch->items = items;
    batch->n_items = n;
    batch->stats = texts;
    if (r == 0)
        r = ingest_batch(rq->app->ingest, batch, &res, &rq->err);
    for (size_t i = 0; items != NULL && i < n; i++)
        free((void *)(uintptr_t)items[i].json);
    free(items);
    free(texts);
    if (r != 0)
        return r;
    r = respond_result(rs, &res);
    ingest_result_done(&res);
    return r;
}

static int ingest(struct request *rq, struct response *rs)
{
    struct ingest_batch batch = {
        .sensor = body_text(rq, "sensor", ""),
        .version = body_text(rq, "version", ""),
    };
    const char *own = rq->principal.sensor;

    _Static_assert(sizeof(rq->principal.sensor) > SOURCE_MAX, "any sensor's name fits");
    if (own[0] != '\0' && strcmp(own, batch.sensor) != 0)
        return respond_problem(rs, 403, "sensor_foreign", "this key speaks for the sensor '%s'",
                               own);
    return post(rq, rs, &batch);
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
