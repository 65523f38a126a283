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
/* clang-format on */

typedef int api_list_fn(struct db_tx *tx, struct filter *f, json_t **ret_list,
                        char ret_cursor[FILTER_CURSOR], struct err *e);

/* The whole handler of a list. */
int api_list(struct request *rq, struct response *rs, enum filter_table t, api_list_fn *list);

/*
 * Replace the body's assigned_to, a user's name or id, by that user's name.
 * 0, API_FAULT: there is no such user.
 */
WIND_MUST_USE int api_assignee(struct request *rq, struct db_tx *tx);

/* The body's tags were refused with rq->err. Returns API_FAULT. */
int api_tags_fault(struct request *rq);

/* Correlation with the collector's settings. */
void api_correlate(struct request *rq, struct correlate *ret_correlate);

/* Put the body's related_alerts into an incident, and remember whom that touches. 0, API_FAULT. */
WIND_MUST_USE int api_attach(struct request *rq, struct db_tx *tx, struct correlate *c,
                             int64_t incident_id);

/* The whole handler that makes a user of the body's username, password and email. */
int api_user_create(struct request *rq, struct response *rs, enum role role);
