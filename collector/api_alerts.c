/* /api/alerts/: what sensors saw, and what people made of it. */
#include <errno.h>
#include <stdlib.h>

#include "collector/alerts.h"
#include "collector/api_common.h"
#include "collector/collector.h"
#include "collector/ingest.h"
#include "collector/retention.h"
#include "collector/routes.h"
#include "collector/write_queue.h"
#include "common/crypto.h"
#include "common/log.h"
#include "common/time.h"

/* ---------------------------------------------------------------- tables */

static const struct field alert_fields[] = {
    {.name = "id", .type = FIELD_INT, .flags = FIELD_REQUIRED},
    {.name = "uid", .type = FIELD_TEXT, .flags = FIELD_REQUIRED, .help = "UUIDv7"},
    {.name = "rev", .type = FIELD_INT, .flags = FIELD_REQUIRED},
    {.name = "detected_at", .type = FIELD_TIME, .flags = FIELD_REQUIRED, .help = "Event time."},
    {.name = "severity", .type = FIELD_WORD, .flags = FIELD_REQUIRED, .words = severity_words},
    {.name = "type", .type = FIELD_TEXT, .flags = FIELD_REQUIRED, .help = "The detector."},
    {.name = "source", .type = FIELD_TEXT, .flags = FIELD_REQUIRED, .help = "The sensor."},
    {.name = "description", .type = FIELD_TEXT, .flags = FIELD_REQUIRED, .max = DESCRIPTION_MAX},
    {.name = "status", .type = FIELD_WORD, .flags = FIELD_REQUIRED, .words = alert_status_words},
    {.name = "verdict",
     .type = FIELD_WORD,
     .flags = FIELD_REQUIRED | FIELD_NULLABLE,
     .words = verdict_words},
    {.name = "assigned_to", .type = FIELD_TEXT, .flags = FIELD_REQUIRED | FIELD_NULLABLE},
    {.name = "metadata",
     .type = FIELD_OBJECT,
     .flags = FIELD_REQUIRED,
     .help = "Scores, reasons, technique, flow."},
    {.name = "related_entities",
     .type = FIELD_LIST,
     .flags = FIELD_REQUIRED,
     .item = FIELD_OBJECT,
     .of = &entity_schema},
    {.name = "related_alerts",
     .type = FIELD_LIST,
     .flags = FIELD_REQUIRED,
     .item = FIELD_INT,
     .help = "Others of its incident: at most 100, in a list 10."},
    {.name = "incident_id", .type = FIELD_INT, .flags = FIELD_REQUIRED | FIELD_NULLABLE},
    {.name = "tags", .type = FIELD_LIST, .flags = FIELD_REQUIRED, .item = FIELD_TEXT},
    {.name = "created_at", .type = FIELD_TIME, .flags = FIELD_REQUIRED},
    {.name = "updated_at", .type = FIELD_TIME, .flags = FIELD_REQUIRED},
    {.name = NULL},
};
const struct schema alert_schema = {.name = "Alert", .fields = alert_fields};

static const struct field create_fields[] = {
    {SEVERITY_FIELD, .flags = FIELD_REQUIRED},
    {.name = "type", .type = FIELD_TEXT, .flags = FIELD_REQUIRED, .min = 1, .max = TYPE_MAX},
    {.name = "description",
     .type = FIELD_TEXT,
     .flags = FIELD_REQUIRED,
     .min = 1,
     .max = DESCRIPTION_MAX},
    {.name = "source",
     .type = FIELD_TEXT,
     .min = 1,
     .max = SOURCE_MAX,
     .help = "Without it: who posts."},
    {.name = "detected_at", .type = FIELD_TIME, .help = "Without it: now."},
    {.name = "status", .type = FIELD_WORD, .words = alert_status_words},
    ASSIGNED_FIELD,
    {.name = "metadata", .type = FIELD_OBJECT},
    {.name = "related_entities",
     .type = FIELD_LIST,
     .max = ENTITIES_MAX,
     .item = FIELD_OBJECT,
     .of = &entity_schema},
    {.name = "related_alerts",
     .type = FIELD_LIST,
     .item = FIELD_INT,
     .help = "It joins the incident of the first of them."},
    TAGS_FIELD,
    {.name = NULL},
};
static const struct schema create_schema = {.name = "AlertCreate", .fields = create_fields};

static const struct field patch_fields[] = {
    {.name = "status", .type = FIELD_WORD, .words = alert_status_words},
    {.name = "verdict", .type = FIELD_WORD, .flags = FIELD_NULLABLE, .words = verdict_words},
    ASSIGNED_FIELD,
    {SEVERITY_FIELD},
    TAGS_FIELD,
    {.name = NULL},
};
static const struct schema patch_schema = {.name = "AlertPatch", .fields = patch_fields};

/* ---------------------------------------------------------------- reading */

/* ---------------------------------------------------------------- making */

struct draft {
    struct alert alert;
    struct entity entities[ENTITIES_MAX];
    char *metadata; /* owned */
};

/* 0, API_FAULT */
static int read_draft(struct request *rq, struct draft *d)
{
    const json_t *metadata = json_object_get(rq->body, "metadata");
    const char *detected = body_text(rq, "detected_at", NULL);
    const char *own = rq->principal.sensor;
    const char *source = body_text(rq, "source", own[0] != '\0' ? own : rq->principal.name);
    const json_t *score = json_object_get(metadata, "score");
    int64_t at_ns = (int64_t)time_wall_ns();
    uint8_t random[10];

    if (own[0] != '\0' && strcmp(source, own) != 0) {
        request_fault(rq, "body", "source", "this key speaks for the sensor '%s'", own);
        return API_FAULT;
    }
    if (detected != NULL && schema_time(detected, &at_ns) != 0) {
        request_fault(rq, "body", "detected_at", "must be a time");
        return API_FAULT;
    }
    d->metadata = metadata == NULL ? strdup("{}") : json_dumps(metadata, JSON_COMPACT);
    if (d->metadata == NULL)
        return err_set(&rq->err, -ENOMEM, "out of memory");
    if (strlen(d->metadata) > ALERT_METADATA_MAX) {
        request_fault(rq, "body", "metadata", "is longer than %d bytes", ALERT_METADATA_MAX);
        return API_FAULT;
    }
    const double value = json_is_number(score) ? json_number_value(score) : -1;
    d->alert = (struct alert){
        .rev = 1,
        .detected_ns = at_ns,
        .first_ns = at_ns,
        .last_ns = at_ns,
        .severity = store_severity(body_text(rq, "severity", "low")),
        .type = body_text(rq, "type", ""),
        .source = source,
        .description = body_text(rq, "description", ""),
        .status = body_text(rq, "status", NULL),
        .assigned = body_text(rq, "assigned_to", NULL),
        .score = value >= 0 && value <= 1 ? value : -1,
        .metadata = d->metadata,
        .entities = d->entities,
    };
    crypto_random(random, sizeof(random));
    uuid_v7(time_wall_ns() / WIND_NS_PER_MS, random, d->alert.uid);
    return store_entities_read(json_object_get(rq->body, "related_entities"), d->entities,
                               &d->alert.n_entities, &rq->err);
}

/* Into the incident of the first related alert that has one; else by correlation. */
static int join(struct request *rq, struct db_tx *tx, int64_t id, const struct alert *a)
{
    const json_t *ids = json_object_get(rq->body, "related_alerts");
    struct correlate c;
    int64_t incident = 0, from = 0;
    int r = 0;

    api_correlate(rq, &c);
    for (size_t i = 0; r == 0 && incident == 0 && i < json_array_size(ids); i++) {
        WIND_AUTO(db_stmt) struct db_stmt *s = NULL;
        r = db_query_row(tx, "SELECT incident_id FROM alerts WHERE id = $1",
                         DB_ARGS(db_int(json_integer_value(json_array_get(ids, i)))), &s, &rq->err);
        if (r == 0) {
            request_fault(rq, "body", "related_alerts", "must name alerts that exist");
            return API_FAULT;
        }
        incident = r == DB_ROW ? db_i64(s, 0) : 0;
        r = r < 0 ? r : 0;
    }
    if (r == 0 && incident != 0)
        r = incident_attach(tx, incident, id, &from, &rq->err);
    if (r == 0)
        r = incident != 0 ? correlate_incident(&c, tx, incident, false, &rq->err)
                          : correlate_alert(&c, tx, id, a, &rq->err);
    return r == 0 ? correlate_finish(&c, tx, &rq->err) : r;
}

static int put_draft(struct request *rq, struct db_tx *tx, struct draft *d, int64_t *ret_id)
{
    const json_t *tags = json_object_get(rq->body, "tags");

    int r = api_assignee(rq, tx);
    if (r == 0)
        r = read_draft(rq, d);
    if (r == 0)
        r = alert_put(tx, &d->alert, ret_id, &rq->err);
    if (r == 0 && tags != NULL)
        r = store_tags_set(tx, TOPIC_ALERTS, *ret_id, tags, &rq->err);
    if (r == -EINVAL && tags != NULL)
        return api_tags_fault(rq);
    return r == 0 ? join(rq, tx, *ret_id, &d->alert) : r;
}

static int add(struct request *rq, struct db_tx *tx, int64_t *ret_id)
{
    struct draft d = {.metadata = NULL};
    const int r = put_draft(rq, tx, &d, ret_id);

    free(d.metadata);
    return r;
}

static int create(struct request *rq, struct response *rs)
{
    return api_is_full(rq, rs) ? 0 : api_create(rq, rs);
}

/* ---------------------------------------------------------------- making several at once */

struct posted {
    struct draft draft;
    struct buf entities; /* JSON */
    struct http_asked *asked;
};

/* What it says of other objects is looked up one by one; a full disk is told to each, too. */
static bool is_plain(const struct request *rq)
{
    return !retention_is_full(rq->app->retention) && !body_has(rq, "tags") &&
           !body_has(rq, "related_alerts") && !body_has(rq, "assigned_to");
}

/* Those that can go together; *ret_n of them. A draft with a fault is told so when it is alone. */
static void take_drafts(struct http_asked *asked, size_t n, struct posted *ret, size_t *ret_n)
{
    *ret_n = 0;
    for (size_t i = 0; i < n; i++) {
        struct posted *p = &ret[*ret_n];
        struct request *rq = asked[i].rq;
        if (!is_plain(rq))
            continue;
        p->asked = &asked[i];
        buf_init(&p->entities, STORE_JSON_MAX);
        if (read_draft(rq, &p->draft) != 0) {
            free(p->draft.metadata);
            p->draft.metadata = NULL;
            json_array_clear(rq->errors);
            continue;
        }
        store_entities_write(&p->entities, p->draft.entities, p->draft.alert.n_entities);
        p->draft.alert.entities_json = buf_text(&p->entities);
        (*ret_n)++;
    }
}

/* 0, DB_CONFLICT. */
static int store_posted(struct collector *app, struct posted *posted, struct alert_shown *shown,
                        size_t n, struct err *e)
{
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;
    const struct alert *alerts[WRITE_GROUP];
    int r = 0;

    for (size_t i = 0; r == 0 && i < n; i++) {
        alerts[i] = &posted[i].draft.alert;
        memcpy(shown[i].uid, alerts[i]->uid, sizeof(shown[i].uid));
        r = posted[i].entities.failed ? err_set(e, -ENOMEM, "out of memory") : 0;
    }
    if (r == 0)
        r = db_begin_write(app->db, &tx, e);
    if (r == 0)
        r = ingest_alerts(app->ingest, tx, alerts, n, e);
    if (r == 0)
        r = alert_show_all(tx, shown, n, e);
    for (size_t i = 0; r == 0 && i < n; i++)
        if (shown[i].id == 0 || shown[i].json.failed)
            r = err_set(e, -EIO, "an alert that was stored cannot be shown");
    if (r == 0)
        r = db_commit(&tx, e);
    return r;
}

static void answer_posted(struct posted *posted, struct alert_shown *shown, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct http_asked *a = posted[i].asked;
        respond_header(a->rs, "Location", "/api/alerts/%lld", (long long)shown[i].id);
        (void)respond_buf(a->rs, 201, &shown[i].json);
        a->is_done = true;
    }
}

/* As a batch of a sensor is stored. After any failure each is tried alone, and told why. */
static void post_all(struct http_asked *asked, size_t n)
{
    struct posted *posted = calloc(n, sizeof(*posted));
    struct alert_shown *shown = calloc(n, sizeof(*shown));
    struct err e = {0};
    size_t plain = 0;

    if (posted != NULL && shown != NULL) {
        take_drafts(asked, n, posted, &plain);
        for (size_t i = 0; i < plain; i++)
            buf_init(&shown[i].json, STORE_JSON_MAX);
        const int r = plain > 0 ? store_posted(asked[0].rq->app, posted, shown, plain, &e) : 0;
        if (r == 0)
            answer_posted(posted, shown, plain);
        else
            log_debug("%zu alerts at once: %s, one by one then", plain, e.text);
        for (size_t i = 0; i < n; i++) {
            buf_done(&shown[i].json);
            buf_done(&posted[i].entities);
            free(posted[i].draft.metadata);
        }
    }
    free(posted);
    free(shown);
}

/* ---------------------------------------------------------------- triage */

static int change(struct request *rq, struct db_tx *tx, int64_t id)
{
    struct correlate c;
    int64_t incident = 0;

    int r = api_assignee(rq, tx);
    if (r == 0)
        r = alert_change(tx, id, rq->body, rq->principal.name, &incident, &rq->err);
    if (r == -EINVAL)
        return api_tags_fault(rq);
    if (r != 0 || incident == 0 || !body_has(rq, "severity"))
        return r == STORE_ABSENT ? STORE_ABSENT : r;
    api_correlate(rq, &c);
    r = correlate_incident(&c, tx, incident, false, &rq->err);
    return r == 0 ? correlate_finish(&c, tx, &rq->err) : r;
}

/* ---------------------------------------------------------------- routes */

const struct api_object alert_object = {.name = "alert",
                                        .filter = FILTER_ALERTS,
                                        .list = alert_list,
                                        .show = alert_show,
                                        .add = add,
                                        .change = change};

const struct route alerts_routes[] = {
    {.method = "GET",
     .pattern = "/api/alerts/",
     .need = PERMISSION_ALERTS_READ,
     .handler = api_list,
     .object = &alert_object,
     .summary = "Alerts, the newest first",
     .reply = &alert_schema,
     .query = list_query,
     .list = true},
    {.method = "POST",
     .pattern = "/api/alerts/",
     .need = PERMISSION_ALERTS_WRITE,
     .handler = create,
     .group = post_all,
     .object = &alert_object,
     .summary = "Raise an alert by hand",
     .body = &create_schema,
     .reply = &alert_schema,
     .flags = ROUTE_GROUPED,
     .body_max = (size_t)256 * 1024,
     .status = 201},
    {.method = "GET",
     .pattern = "/api/alerts/{id}",
     .need = PERMISSION_ALERTS_READ,
     .handler = api_show,
     .object = &alert_object,
     .summary = "One alert, with the reasons for it",
     .reply = &alert_schema},
    {.method = "PATCH",
     .pattern = "/api/alerts/{id}",
     .need = PERMISSION_ALERTS_WRITE,
     .handler = api_patch,
     .object = &alert_object,
     .summary = "Triage",
     .body = &patch_schema,
     .reply = &alert_schema,
     .flags = ROUTE_GROUPED},
    {.method = NULL},
};
