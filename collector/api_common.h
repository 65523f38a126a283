/*
 * api_common.h - what the handlers of alerts and incidents share.
 *
 * Why      Lists, assignees and entities mean the same for both.
 * Owns     Nothing: tables are static.
 * Threads  Any.
 */
#pragma once

#include "collector/correlate.h"
#include "collector/filter.h"
#include "collector/http.h"
#include "collector/incidents.h"

/* The request has a fault (request_fault was called): answer respond_invalid. */
#define API_FAULT 2

extern const struct schema entity_schema; /* {kind, value, role} */
extern const struct field list_query[];   /* limit, cursor, sort, q */

typedef int api_list_fn(struct db_tx *tx, struct filter *f, json_t **ret_list,
                        char ret_cursor[FILTER_CURSOR], struct err *e);

/* The whole handler of a list. */
int api_list(struct request *rq, struct response *rs, enum filter_table t, api_list_fn *list);

/*
 * Replace the body's assigned_to, a user's name or id, by that user's name.
 * 0, API_FAULT: there is no such user.
 */
WIND_MUST_USE int api_assignee(struct request *rq, struct db_tx *tx);

/* Correlation with the collector's settings. */
void api_correlate(struct request *rq, struct correlate *ret_correlate);

/* Put the body's related_alerts into an incident, and remember whom that touches. 0, API_FAULT. */
WIND_MUST_USE int api_attach(struct request *rq, struct db_tx *tx, struct correlate *c,
                             int64_t incident_id);
