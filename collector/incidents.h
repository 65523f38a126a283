/*
 * incidents.h - the table of incidents: what people work on.
 *
 * Why      The one place that reads and writes incidents and their comments, by people (here)
 *          and by correlation (collector/correlate.h).
 * Owns     Nothing: incidents live in the database, inside the caller's transaction.
 * Threads  Any, each with a transaction of its own; the writing functions need a write one.
 * Bounds   Texts as in store.h; INCIDENT_ALERTS ids, INCIDENT_ENTITIES entities and
 *          INCIDENT_COMMENTS comments are shown of an incident (alert_count says how many).
 */
#pragma once

#include "collector/filter.h"
#include "collector/store.h"

#define INCIDENT_ALERTS   1000
#define INCIDENT_ENTITIES 200
#define INCIDENT_COMMENTS 1000

/* Borrowed texts; checked by whoever made it. */
struct incident {
    const char *title, *description, *type, *status; /* description, status may be NULL */
    int severity;
    const char *created_by, *assigned; /* assigned may be NULL */
    int64_t first_ns, last_ns;
    int kept; /* bits of enum kept: 0 = correlation names and grades it */
};

WIND_MUST_USE int incident_add(struct db_tx *tx, const struct incident *in, int64_t *ret_id,
                               struct err *e);

/* Write it as the API shows it, or STORE_ABSENT. A page goes into an open array. */
WIND_MUST_USE int incident_show(struct db_tx *tx, int64_t id, bool with_history, struct jsonw *j,
                                struct err *e);
WIND_MUST_USE int incident_list(struct db_tx *tx, struct filter *f, struct jsonw *j,
                                char ret_cursor[FILTER_CURSOR], struct err *e);

/* What ETag carries. STORE_ABSENT. */
WIND_MUST_USE int incident_version(struct db_tx *tx, int64_t id, int64_t *ret_version,
                                   struct err *e);

/* title, description, type, status, severity, assigned_to, tags, where `patch` has them. */
WIND_MUST_USE int incident_change(struct db_tx *tx, int64_t id, const json_t *patch,
                                  const char *actor, struct err *e);

/* j (may be NULL) gets it as the API shows it. STORE_ABSENT: no such incident. */
WIND_MUST_USE int incident_comment(struct db_tx *tx, int64_t id, const char *author,
                                   const char *text, struct jsonw *j, struct err *e);

/*
 * Move an alert into it, from whatever incident it was in; *ret_from: that one, or 0.
 * STORE_ABSENT: no such alert.
 */
WIND_MUST_USE int incident_attach(struct db_tx *tx, int64_t id, int64_t alert_id, int64_t *ret_from,
                                  struct err *e);

/*
 * The columns of incident_entities for rows of alerts `a` joined with alert_entities `ae`. Whom an
 * alert is about without calling it attacker or victim (an anomaly) is a subject there, which
 * correlation takes for an actor and the API shows as related.
 */
#define INCIDENT_ENTITY_COLUMNS                                                                    \
    "ae.entity_id, CASE WHEN ae.pos = 0 AND ae.role = 'related' THEN 'subject' ELSE ae.role END, " \
    "a.type"

/* It is another one now: version, updated_at, outbox. */
WIND_MUST_USE int incident_touch(struct db_tx *tx, int64_t id, bool is_new, struct err *e);
