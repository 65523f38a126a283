/* /api/ingest: batches from sensors. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "collector/api_common.h"
#include "collector/collector.h"
#include "collector/ingest.h"
#include "collector/routes.h"

#define VERSION_MAX 64

static const struct field batch_fields[] = {
    {.name = "sensor", .type = FIELD_TEXT, .flags = FIELD_REQUIRED, .min = 1, .max = SOURCE_MAX},
    {.name = "version", .type = FIELD_TEXT, .max = VERSION_MAX},
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

/* As batch_fields says; what isn't is left to jansson and the schema. */
static bool read_body(struct request *rq, const char *text, size_t len)
{
    const struct json_span *v = rq->spans;

    _Static_assert(INGEST_PARTS <= HTTP_SPANS, "a body's parts have their spans");
    return ingest_split(rq->app->ingest, text, len, rq->spans) == 0 &&
           v[INGEST_SENSOR].kind == SPAN_STRING && v[INGEST_SENSOR].len > 0 &&
           v[INGEST_SENSOR].len <= SOURCE_MAX &&
           (v[INGEST_VERSION].kind == SPAN_ABSENT || v[INGEST_VERSION].kind == SPAN_STRING) &&
           v[INGEST_VERSION].len <= VERSION_MAX && v[INGEST_LIST].kind == SPAN_ARRAY &&
           json_items_count(&v[INGEST_LIST]) <= INGEST_ALERTS &&
           (v[INGEST_STATS].kind == SPAN_ABSENT || v[INGEST_STATS].kind == SPAN_NULL ||
            v[INGEST_STATS].kind == SPAN_OBJECT);
}

static int post(struct request *rq, struct response *rs, struct ingest_batch *batch)
{
    const struct json_span *stats = &rq->spans[INGEST_STATS];
    struct json_items it = json_items_of(&rq->spans[INGEST_LIST]);
    struct ingest_item *items = calloc(INGEST_ALERTS, sizeof(*items));
    char *text = stats->kind == SPAN_OBJECT ? strndup(stats->p, stats->len) : NULL;
    struct ingest_result res;
    struct json_span item;

    int r = items == NULL || (stats->kind == SPAN_OBJECT && text == NULL) ? -ENOMEM : 0;
    while (r == 0 && batch->n_items < INGEST_ALERTS && json_items_next(&it, &item)) {
        struct ingest_item *to = &items[batch->n_items++];
        to->json = json_span_raw(&item, &to->len);
    }
    batch->items = items;
    batch->stats = text;
    const bool is_full = r == 0 && batch->n_items > 0 && api_is_full(rq, rs);
    if (r == 0 && !is_full)
        r = ingest_batch(rq->app->ingest, batch, &res, &rq->err);
    free(items);
    free(text);
    if (r != 0 || is_full)
        return r;
    r = respond_result(rs, &res);
    ingest_result_done(&res);
    return r;
}

static int ingest(struct request *rq, struct response *rs)
{
    char sensor[SOURCE_MAX + 1], version[VERSION_MAX + 1];
    struct ingest_batch batch = {.sensor = sensor, .version = version};
    const char *own = rq->principal.sensor;

    _Static_assert(sizeof(rq->principal.sensor) > SOURCE_MAX, "any sensor's name fits");
    if (rq->body != NULL) /* JSON, but beyond the bounds of json_scan.h */
        return respond_problem(rs, 400, "json_invalid", "too many or too long keys, or numbers");
    (void)json_span_text(&rq->spans[INGEST_SENSOR], sensor);
    (void)json_span_text(&rq->spans[INGEST_VERSION], version);
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
     .read_body = read_body,
     .reply = &result_schema,
     .flags = ROUTE_NO_REPLAY, /* uid and rev make it idempotent already */
     .body_max = INGEST_BYTES},
    {.method = NULL},
};
