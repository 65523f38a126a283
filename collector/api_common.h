/*
 * api_common.h - what handlers share.
 *
 * Why      Lists, assignees, entities and tags mean the same for alerts and incidents, and the
 *          rules for names and passwords the same whoever makes a user.
 * Owns     Nothing: tables are static.
 * Threads  Any.
 */
#pragma once

#include "collector/correlate.h"
#include "collector/filter.h"
#include "collector/http.h"
#include "collector/incidents.h"
#include "collector/users.h"

/* The request has a fault (request_fault was called): answer respond_invalid. */
#define API_FAULT 2

extern const struct schema entity_schema; /* {kind, value, role} */
extern const struct field list_query[];   /* limit, cursor, sort, q */

/* clang-format off */
#define USERNAME_FIELD {.name = "username", .type = FIELD_TEXT, .flags = FIELD_REQUIRED, \
                        .min = 1, .max = USERNAME_MAX}
#define PASSWORD_FIELD(field) {.name = (field), .type = FIELD_TEXT, .flags = FIELD_REQUIRED, \
                               .min = PASSWORD_MIN, .max = PASSWORD_MAX}
#define EMAIL_FIELD {.name = "email", .type = FIELD_TEXT, .flags = FIELD_NULLABLE, .max = 254}

#define SEVERITY_FIELD .name = "severity", .type = FIELD_WORD, .words = severity_words
#define ASSIGNED_FIELD {.name = "assigned_to", .type = FIELD_NAME, .flags = FIELD_NULLABLE, \
                        .help = "A user's name or id."}
#define TAGS_FIELD     {.name = "tags", .type = FIELD_LIST, .max = TAGS_MAX, .item = FIELD_TEXT}
/* clang-format on */

/* What people work on: listed, shown, made and changed. */
struct api_object {
    const char *name; /* "alert" of /api/alerts/ */
    enum filter_table filter;
    int (*list)(struct db_tx *tx, struct filter *f, struct jsonw *j, char ret_cursor[FILTER_CURSOR],
                struct err *e);
    /* 0, STORE_ABSENT */
    int (*show)(struct db_tx *tx, int64_t id, struct jsonw *j, struct err *e);
    /* 0, API_FAULT */
    int (*add)(struct request *rq, struct db_tx *tx, int64_t *ret_id);
    /* 0, API_FAULT, STORE_ABSENT */
    int (*change)(struct request *rq, struct db_tx *tx, int64_t id);
    /* 0, STORE_ABSENT. NULL: the object has no version, and answers no ETag */
    int (*version)(struct db_tx *tx, int64_t id, int64_t *ret_version, struct err *e);
};

/* The whole handlers of routes with an object; between request and answer is one transaction. */
int api_list(struct request *rq, struct response *rs);
int api_show(struct request *rq, struct response *rs);
int api_create(struct request *rq, struct response *rs);

/* True: the disk is nearly full, and the answer says so. For what makes the database grow. */
bool api_is_full(struct request *rq, struct response *rs);
int api_patch(struct request *rq, struct response *rs);

extern const struct api_object alert_object, incident_object; /* api_alerts.c, api_incidents.c */
extern const struct schema alert_schema, incident_schema;

/* 404 in one sentence. */
int api_absent(struct response *rs, const struct api_object *o);

/*
 * Replace the body's assigned_to, a user's name or id, by that user's name.
 * 0, API_FAULT: there is no such user.
 */
WIND_MUST_USE int api_assignee(struct request *rq, struct db_tx *tx);

/* Before a page with words: search_ask, and the header that says what it does not know yet. */
WIND_MUST_USE int api_ask(struct request *rq, struct response *rs, struct filter *f);

/* The body's tags were refused with rq->err. Returns API_FAULT. */
int api_tags_fault(struct request *rq);

/* Correlation with the collector's settings. */
void api_correlate(struct request *rq, struct correlate *ret_correlate);

/* Put the body's related_alerts into an incident, and remember whom that touches. 0, API_FAULT. */
WIND_MUST_USE int api_attach(struct request *rq, struct db_tx *tx, struct correlate *c,
                             int64_t incident_id);

/* The whole handler that makes a user of the body's username, password and email. */
int api_user_create(struct request *rq, struct response *rs, enum role role);
