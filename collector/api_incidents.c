/* /api/incidents/: what people work on. */
#include <errno.h>

#include "collector/api_common.h"
#include "collector/routes.h"
#include "common/time.h"

#define COMMENTS_AT_ONCE 50
#define COMMENT_JSON     ((size_t)COMMENT_MAX * 6 + 512) /* every byte may be an escape */

/* ---------------------------------------------------------------- tables */

static const struct field comment_fields[] = {
    {.name = "id", .type = FIELD_INT, .flags = FIELD_REQUIRED},
    {.name = "author", .type = FIELD_TEXT, .flags = FIELD_REQUIRED},
    {.name = "text", .type = FIELD_TEXT, .flags = FIELD_REQUIRED, .max = COMMENT_MAX},
    {.name = "created_at", .type = FIELD_TIME, .flags = FIELD_REQUIRED},
    {.name = "edited_at", .type = FIELD_TIME, .flags = FIELD_REQUIRED | FIELD_NULLABLE},
    {.name = NULL},
};
static const struct schema comment_schema = {.name = "Comment", .fields = comment_fields};

static const struct field change_fields[] = {
    {.name = "at", .type = FIELD_TIME, .flags = FIELD_REQUIRED},
    {.name = "actor", .type = FIELD_TEXT, .flags = FIELD_REQUIRED},
    {.name = "field", .type = FIELD_TEXT, .flags = FIELD_REQUIRED},
    {.name = "before", .type = FIELD_TEXT, .flags = FIELD_REQUIRED | FIELD_NULLABLE},
    {.name = "after", .type = FIELD_TEXT, .flags = FIELD_REQUIRED | FIELD_NULLABLE},
    {.name = NULL},
};
static const struct schema change_schema = {.name = "Change", .fields = change_fields};

static const struct field incident_fields[] = {
    {.name = "id", .type = FIELD_INT, .flags = FIELD_REQUIRED},
    {.name = "uid", .type = FIELD_TEXT, .flags = FIELD_REQUIRED, .help = "UUIDv7"},
    {.name = "title", .type = FIELD_TEXT, .flags = FIELD_REQUIRED},
    {.name = "description", .type = FIELD_TEXT, .flags = FIELD_REQUIRED, .max = DESCRIPTION_MAX},
    {.name = "type", .type = FIELD_WORD, .flags = FIELD_REQUIRED, .words = incident_type_words},
    {.name = "status", .type = FIELD_WORD, .flags = FIELD_REQUIRED, .words = incident_status_words},
    {.name = "severity", .type = FIELD_WORD, .flags = FIELD_REQUIRED, .words = severity_words},
    {.name = "created_at", .type = FIELD_TIME, .flags = FIELD_REQUIRED},
    {.name = "updated_at", .type = FIELD_TIME, .flags = FIELD_REQUIRED},
    {.name = "created_by",
     .type = FIELD_TEXT,
     .flags = FIELD_REQUIRED,
     .help = "A user, or wind: correlation."},
    {.name = "assigned_to", .type = FIELD_TEXT, .flags = FIELD_REQUIRED | FIELD_NULLABLE},
    {.name = "related_alerts",
     .type = FIELD_LIST,
     .flags = FIELD_REQUIRED,
     .item = FIELD_INT,
     .help = "The first 1000; alert_count says how many there are."},
    {.name = "related_entities",
     .type = FIELD_LIST,
     .flags = FIELD_REQUIRED,
     .item = FIELD_OBJECT,
     .of = &entity_schema},
    {.name = "comments",
     .type = FIELD_LIST,
     .flags = FIELD_REQUIRED,
     .item = FIELD_OBJECT,
     .of = &comment_schema},
    {.name = "tags", .type = FIELD_LIST, .flags = FIELD_REQUIRED, .item = FIELD_TEXT},
    {.name = "first_seen", .type = FIELD_TIME, .flags = FIELD_REQUIRED, .help = "Event time."},
    {.name = "last_seen", .type = FIELD_TIME, .flags = FIELD_REQUIRED},
    {.name = "alert_count", .type = FIELD_INT, .flags = FIELD_REQUIRED},
    {.name = "version", .type = FIELD_INT, .flags = FIELD_REQUIRED, .help = "Behind the ETag."},
    {.name = "history",
     .type = FIELD_LIST,
     .item = FIELD_OBJECT,
     .of = &change_schema,
     .help = "What people changed; not in lists."},
    {.name = NULL},
};
const struct schema incident_schema = {.name = "Incident", .fields = incident_fields};

/* clang-format off */
#define TITLE_FIELD       .name = "title", .type = FIELD_TEXT, .min = 1, .max = TITLE_MAX
#define DESCRIPTION_FIELD {.name = "description", .type = FIELD_TEXT, .max = DESCRIPTION_MAX}
#define TYPE_FIELD        .name = "type", .type = FIELD_WORD, .words = incident_type_words
#define STATUS_FIELD      {.name = "status", .type = FIELD_WORD, .words = incident_status_words}
#define ALERTS_FIELD      {.name = "related_alerts", .type = FIELD_LIST, .item = FIELD_INT, \
                           .help = "These alerts move here; others stay."}
/* clang-format on */

static const struct field create_fields[] = {
    {TITLE_FIELD, .flags = FIELD_REQUIRED},
    DESCRIPTION_FIELD,
    {TYPE_FIELD, .flags = FIELD_REQUIRED},
    STATUS_FIELD,
    {SEVERITY_FIELD, .flags = FIELD_REQUIRED},
    ASSIGNED_FIELD,
    ALERTS_FIELD,
    TAGS_FIELD,
    {.name = NULL},
};
static const struct schema create_schema = {.name = "IncidentCreate", .fields = create_fields};

static const struct field comment_create_fields[] = {
    {.name = "text", .type = FIELD_TEXT, .flags = FIELD_REQUIRED, .min = 1, .max = COMMENT_MAX},
    {.name = NULL},
};
static const struct schema comment_create_schema = {.name = "CommentCreate",
                                                    .fields = comment_create_fields};
/* In a PATCH: comments as they were read may be sent back; only those without an id are new. */
static const struct schema comment_patch_schema = {
    .name = "CommentPatch", .fields = comment_create_fields, .open = true};

static const struct field patch_fields[] = {
    {TITLE_FIELD},
    DESCRIPTION_FIELD,
    {TYPE_FIELD},
    STATUS_FIELD,
    {SEVERITY_FIELD},
    ASSIGNED_FIELD,
    ALERTS_FIELD,
    TAGS_FIELD,
    {.name = "comment",
     .type = FIELD_TEXT,
     .min = 1,
     .max = COMMENT_MAX,
     .help = "Adds a comment."},
    {.name = "comments",
     .type = FIELD_LIST,
     .max = INCIDENT_COMMENTS,
     .item = FIELD_OBJECT,
     .of = &comment_patch_schema,
     .help = "Adds those that have no id yet."},
    {.name = NULL},
};
static const struct schema patch_schema = {.name = "IncidentPatch", .fields = patch_fields};

/* ---------------------------------------------------------------- reading */

static int show(struct db_tx *tx, int64_t id, struct jsonw *j, struct err *e)
{
    return incident_show(tx, id, true, j, e);
}

/* ---------------------------------------------------------------- writing */

/* What a body may have besides its columns. 0, API_FAULT. */
static int put_rest(struct request *rq, struct db_tx *tx, int64_t id, bool is_new)
{
    struct correlate c;

    if (!is_new && !body_has(rq, "related_alerts"))
        return 0;
    api_correlate(rq, &c);
    int r = correlate_incident(&c, tx, id, is_new, &rq->err);
    if (r == 0)
        r = api_attach(rq, tx, &c, id);
    return r == 0 ? correlate_finish(&c, tx, &rq->err) : r;
}

static int add(struct request *rq, struct db_tx *tx, int64_t *ret_id)
{
    const int64_t now = (int64_t)time_wall_ns();
    const json_t *tags = json_object_get(rq->body, "tags");

    int r = api_assignee(rq, tx);
    if (r != 0)
        return r;
    const struct incident in = {
        .title = body_text(rq, "title", ""),
        .description = body_text(rq, "description", NULL),
        .type = body_text(rq, "type", "other"),
        .status = body_text(rq, "status", NULL),
        .severity = store_severity(body_text(rq, "severity", "low")),
        .created_by = rq->principal.name,
        .assigned = body_text(rq, "assigned_to", NULL),
        .first_ns = now,
        .last_ns = now,
        .kept = KEPT_TITLE | KEPT_TYPE | KEPT_SEVERITY,
    };
    r = incident_add(tx, &in, ret_id, &rq->err);
    if (r == 0 && tags != NULL)
        r = store_tags_set(tx, TOPIC_INCIDENTS, *ret_id, tags, &rq->err);
    if (r == -EINVAL)
        return api_tags_fault(rq);
    return r == 0 ? put_rest(rq, tx, *ret_id, true) : r;
}

static int put_comments(struct request *rq, struct db_tx *tx, int64_t id)
{
    const char *one = body_text(rq, "comment", NULL);
    const json_t *many = json_object_get(rq->body, "comments");
    size_t added = 0;
    int r = 0;

    if (one != NULL)
        r = incident_comment(tx, id, rq->principal.name, one, NULL, &rq->err);
    for (size_t i = 0; r == 0 && i < json_array_size(many); i++) {
        const json_t *item = json_array_get(many, i);
        if (json_is_integer(json_object_get(item, "id")))
            continue;
        if (added++ == COMMENTS_AT_ONCE) {
            request_fault(rq, "body", "comments", "more than %d new ones", COMMENTS_AT_ONCE);
            return API_FAULT;
        }
        r = incident_comment(tx, id, rq->principal.name,
                             json_string_value(json_object_get(item, "text")), NULL, &rq->err);
    }
    return r;
}

static int change(struct request *rq, struct db_tx *tx, int64_t id)
{
    int r = api_assignee(rq, tx);
    if (r == 0)
        r = incident_change(tx, id, rq->body, rq->principal.name, &rq->err);
    if (r == -EINVAL)
        return api_tags_fault(rq);
    if (r == 0)
        r = put_comments(rq, tx, id);
    return r == 0 ? put_rest(rq, tx, id, false) : r;
}

const struct api_object incident_object = {.name = "incident",
                                           .filter = FILTER_INCIDENTS,
                                           .list = incident_list,
                                           .show = show,
                                           .add = add,
                                           .change = change,
                                           .version = incident_version};

static int comment(struct request *rq, struct response *rs)
{
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;
    struct jsonw j;
    struct buf made;

    buf_init(&made, COMMENT_JSON);
    jsonw_begin(&j, &made);
    int r = db_begin_write(rq->db, &tx, &rq->err);
    if (r == 0)
        r = incident_comment(tx, request_id(rq, "id"), rq->principal.name,
                             body_text(rq, "text", ""), &j, &rq->err);
    if (r == 0)
        r = db_commit(&tx, &rq->err);
    if (r == 0)
        return respond_buf(rs, 201, &made);
    buf_done(&made);
    return r == STORE_ABSENT ? api_absent(rs, &incident_object) : r;
}

/* ---------------------------------------------------------------- routes */

const struct route incidents_routes[] = {
    {.method = "GET",
     .pattern = "/api/incidents/",
     .need = PERMISSION_INCIDENTS_READ,
     .handler = api_list,
     .object = &incident_object,
     .summary = "Incidents, the newest first",
     .reply = &incident_schema,
     .query = list_query,
     .list = true},
    {.method = "POST",
     .pattern = "/api/incidents/",
     .need = PERMISSION_INCIDENTS_WRITE,
     .handler = api_create,
     .object = &incident_object,
     .summary = "Open an incident by hand",
     .body = &create_schema,
     .reply = &incident_schema,
     .flags = ROUTE_GROUPED,
     .status = 201},
    {.method = "GET",
     .pattern = "/api/incidents/{id}",
     .need = PERMISSION_INCIDENTS_READ,
     .handler = api_show,
     .object = &incident_object,
     .summary = "One incident, with its history",
     .reply = &incident_schema},
    {.method = "PATCH",
     .pattern = "/api/incidents/{id}",
     .need = PERMISSION_INCIDENTS_WRITE,
     .handler = api_patch,
     .object = &incident_object,
     .summary = "Work on it; with If-Match only if nobody else did meanwhile",
     .body = &patch_schema,
     .reply = &incident_schema,
     .flags = ROUTE_IF_MATCH | ROUTE_GROUPED},
    {.method = "POST",
     .pattern = "/api/incidents/{id}/comments",
     .need = PERMISSION_INCIDENTS_WRITE,
     .handler = comment,
     .summary = "Comment on it",
     .body = &comment_create_schema,
     .reply = &comment_schema,
     .flags = ROUTE_GROUPED,
     .status = 201},
    {.method = NULL},
};
