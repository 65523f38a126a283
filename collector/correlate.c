#include "collector/correlate.h"

#include <errno.h>
#include <stdio.h>

#include "collector/incidents.h"
#include "collector/story.h"
#include "common/utf8.h"

void correlate_init(struct correlate *c, const struct correlate_conf *conf)
{
    *c = (struct correlate){.conf = *conf};
}

/* ---------------------------------------------------------------- finding an incident */

/* Parts of the statements below: $1 alert, $2 and $3 event time, $4 alerts_max. */
#define OPEN_INCIDENT                                                                              \
    "SELECT i.id AS id, i.last_seen AS at FROM alert_entities ae "                                 \
    "JOIN incident_entities ie ON ie.entity_id = ae.entity_id "                                    \
    "JOIN incidents i ON i.id = ie.incident_id "                                                   \
    "WHERE ae.alert_id = $1 AND i.status <> 'resolved' AND i.last_seen >= $2 "                     \
    "AND i.first_seen <= $3 AND i.alert_count < $4 AND "
#define LATEST " ORDER BY at DESC, id LIMIT 1"

#define ACTS  "(ae.role = 'attacker' OR (ae.pos = 0 AND ae.role = 'related'))"
#define ACTED "ie.role IN ('attacker', 'subject')"

/*
 * The turned host may not be a hub: look no further than it is a victim in so many incidents.
 * Asked of `ie`, not of `ae`, so that it is asked last, of the few hosts that play both parts.
 */
#define HUB_SQL(n) #n
#define HUB(n)     HUB_SQL(n)
#define NO_HUB                                                                                     \
    " AND (SELECT count(*) FROM (SELECT DISTINCT v.incident_id FROM incident_entities v "          \
    "JOIN incidents vi ON vi.id = v.incident_id WHERE v.entity_id = ie.entity_id "                 \
    "AND v.role = 'victim' AND vi.last_seen >= $2 AND vi.first_seen <= $3 "                        \
    "LIMIT " HUB(HUB_INCIDENTS) ") AS few) < " HUB(HUB_INCIDENTS)

static const char *const rules[] = {
    OPEN_INCIDENT ACTS " AND " ACTED LATEST,

    /* Two statements for two indexes: with OR, all incidents of a hub would be read. */
    OPEN_INCIDENT ACTS " AND ie.role = 'victim'" NO_HUB " UNION ALL " OPEN_INCIDENT
                       "ae.role = 'victim' AND " ACTED NO_HUB LATEST,

    OPEN_INCIDENT "ae.role IN ('victim', 'related') AND ie.role = ae.role AND ie.alert_type = "
                  "(SELECT type FROM alerts WHERE id = $1)" LATEST,
};
#define RULE_VICTIM 2

/* 0: *ret_id is set. STORE_ABSENT. */
static int find_incident(const struct correlate *c, struct db_tx *tx, int64_t alert_id,
                         const struct alert *a, int64_t *ret_id, struct err *e)
{
    for (size_t i = 0; i < WIND_ARRAY_SIZE(rules); i++) {
        WIND_AUTO(db_stmt) struct db_stmt *s = NULL;
        if (i == RULE_VICTIM && !story_joins_by_victim(a->type))
            continue;
        int r = db_query_row(tx, rules[i],
                             DB_ARGS(db_int(alert_id), db_int(a->first_ns - c->conf.window_ns),
                                     db_int(a->last_ns + c->conf.window_ns),
                                     db_int(c->conf.alerts_max)),
                             &s, e);
        if (r == DB_ROW)
            *ret_id = db_i64(s, 0);
        if (r != 0)
            return r < 0 ? r : 0;
    }
    return STORE_ABSENT;
}

int correlate_incident(struct correlate *c, struct db_tx *tx, int64_t incident_id, bool is_new,
                       struct err *e)
{
    for (size_t i = 0; i < c->n_touched; i++)
        if (c->touched[i].id == incident_id)
            return 0;
    if (c->n_touched == CORRELATE_TOUCHED) {
        const int r = correlate_finish(c, tx, e);
        if (r != 0)
            return r;
    }
    c->touched[c->n_touched++] = (struct touched){.id = incident_id, .is_new = is_new};
    return 0;
}

/* Until correlate_finish: the next alert of the batch has to find this incident by its time. */
static int stretch(struct db_tx *tx, int64_t id, const struct alert *a, struct err *e)
{
    return db_run(tx,
                  "UPDATE incidents SET "
                  "first_seen = CASE WHEN first_seen < $2 THEN first_seen ELSE $2 END, "
                  "last_seen = CASE WHEN last_seen > $3 THEN last_seen ELSE $3 END WHERE id = $1",
                  DB_ARGS(db_int(id), db_int(a->first_ns), db_int(a->last_ns)), NULL, e);
}

int correlate_alert(struct correlate *c, struct db_tx *tx, int64_t alert_id, const struct alert *a,
                    struct err *e)
{
    int64_t id = 0, from = 0;
    int r = find_incident(c, tx, alert_id, a, &id, e);
    const bool is_new = r == STORE_ABSENT;

    if (is_new) {
        const struct incident in = {.title = a->description,
                                    .type = "other",
                                    .severity = a->severity,
                                    .created_by = "wind",
                                    .first_ns = a->first_ns,
                                    .last_ns = a->last_ns};
        r = incident_add(tx, &in, &id, e);
    } else if (r == 0) {
        r = stretch(tx, id, a, e);
    }
    if (r == 0)
        r = incident_attach(tx, id, alert_id, &from, e);
    return r == 0 ? correlate_incident(c, tx, id, is_new, e) : r;
}

int correlate_changed(struct correlate *c, struct db_tx *tx, int64_t alert_id, struct err *e)
{
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;

    int r = db_query_row(tx, "SELECT incident_id FROM alerts WHERE id = $1",
                         DB_ARGS(db_int(alert_id)), &s, e);
    if (r < 0)
        return r;
    const int64_t id = db_i64(s, 0);
    if (id == 0)
        return 0;
    /* its entities may be others now; those it named before stay */
    r = db_run(tx,
               "INSERT INTO incident_entities (entity_id, role, alert_type, incident_id) "
               "SELECT " INCIDENT_ENTITY_COLUMNS ", a.incident_id FROM alert_entities ae "
               "JOIN alerts a ON a.id = ae.alert_id WHERE a.id = $1 ON CONFLICT DO NOTHING",
               DB_ARGS(db_int(alert_id)), NULL, e);
    return r == 0 ? correlate_incident(c, tx, id, false, e) : r;
}

/* ---------------------------------------------------------------- telling its story */

static int read_sums(struct db_tx *tx, int64_t id, struct story *st, struct err *e)
{
    WIND_AUTO(db_stmt) struct db_stmt *sums = NULL, *tactics = NULL;

    int r = db_query_row(tx,
                         "SELECT count(*), min(first_seen), max(last_seen), max(severity) "
                         "FROM alerts WHERE incident_id = $1",
                         DB_ARGS(db_int(id)), &sums, e);
    if (r != DB_ROW)
        return r;
    st->alerts = db_i64(sums, 0);
    st->first_ns = db_i64(sums, 1);
    st->last_ns = db_i64(sums, 2);
    st->severity = db_i64(sums, 3);

    r = db_query(tx,
                 "SELECT DISTINCT tactic FROM alerts WHERE incident_id = $1 "
                 "AND tactic IS NOT NULL",
                 DB_ARGS(db_int(id)), &tactics, e);
    while (r == 0 && (r = db_step(tactics, e)) == DB_ROW) {
        st->stages |= story_stage(db_text(tactics, 0));
        r = 0;
    }
    return r;
}

/* "10.9.0.66", or "3 hosts": whom alerts of one kind are about (pos 0), or against. */
static int read_people(struct db_tx *tx, int64_t id, const char *type, bool is_subject,
                       char ret_text[STORY_PEOPLE], struct err *e)
{
    static const char *const sql[] = {
        "SELECT count(DISTINCT ae.entity_id), min(en.value) FROM alerts a "
        "JOIN alert_entities ae ON ae.alert_id = a.id AND ae.pos > 0 "
        "JOIN entities en ON en.id = ae.entity_id WHERE a.incident_id = $1 AND a.type = $2",
        "SELECT count(DISTINCT ae.entity_id), min(en.value) FROM alerts a "
        "JOIN alert_entities ae ON ae.alert_id = a.id AND ae.pos = 0 "
        "JOIN entities en ON en.id = ae.entity_id WHERE a.incident_id = $1 AND a.type = $2",
    };
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;

    int r = db_query_row(tx, sql[is_subject], DB_ARGS(db_int(id), db_str(type)), &s, e);
    if (r < 0)
        return r;
    story_people(db_i64(s, 0), db_text(s, 1), ret_text);
    return 0;
}

static int read_chapters(struct db_tx *tx, int64_t id, struct story *st, struct err *e)
{
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;

    int r = db_query(tx,
                     "SELECT type, min(first_seen) FROM alerts WHERE incident_id = $1 "
                     "GROUP BY type ORDER BY 2, 1 LIMIT $2",
                     DB_ARGS(db_int(id), db_int(STORY_MAX)), &s, e);
    while (r == 0 && (r = db_step(s, e)) == DB_ROW) {
        struct chapter *ch = &st->chapters[st->n_chapters++];
        (void)snprintf(ch->type, sizeof(ch->type), "%s", db_text(s, 0));
        r = read_people(tx, id, ch->type, true, ch->who, e);
        if (r == 0)
            r = read_people(tx, id, ch->type, false, ch->whom, e);
    }
    return r;
}

/* One alert speaks for itself. */
static int title_of_one(struct db_tx *tx, int64_t id, char ret_title[TITLE_MAX + 1], struct err *e)
{
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;

    int r = db_query_row(tx, "SELECT description FROM alerts WHERE incident_id = $1",
                         DB_ARGS(db_int(id)), &s, e);
    if (r == DB_ROW)
        (void)snprintf(ret_title, TITLE_MAX + 1, "%s", db_text(s, 0));
    utf8_cut(ret_title);
    return r < 0 ? r : 0;
}

static int refresh(struct db_tx *tx, const struct touched *t, struct err *e)
{
    struct story st = {0};
    char title[TITLE_MAX + 1] = "";

    int r = read_sums(tx, t->id, &st, e);
    if (r != 0)
        return r;
    if (st.alerts == 0) /* all its alerts were moved away: it stays what it was */
        return incident_touch(tx, t->id, t->is_new, e);
    r = read_chapters(tx, t->id, &st, e);
    if (r != 0)
        return r;
    story_title(&st, title);
    if (st.alerts == 1)
        r = title_of_one(tx, t->id, title, e);
    if (r == 0)
        r = db_run(tx,
                   "UPDATE incidents SET first_seen = $2, last_seen = $3, alert_count = $4, "
                   "severity = CASE WHEN kept & 4 <> 0 THEN severity ELSE $5 END, "
                   "type = CASE WHEN kept & 2 <> 0 THEN type ELSE $6 END, "
                   "title = CASE WHEN kept & 1 <> 0 THEN title ELSE $7 END WHERE id = $1",
                   DB_ARGS(db_int(t->id), db_int(st.first_ns), db_int(st.last_ns),
                           db_int(st.alerts), db_int(story_severity(&st)), db_str(story_type(&st)),
                           db_str(title)),
                   NULL, e);
    return r == 0 ? incident_touch(tx, t->id, t->is_new, e) : r;
}

int correlate_finish(struct correlate *c, struct db_tx *tx, struct err *e)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < c->n_touched; i++)
        r = refresh(tx, &c->touched[i], e);
    c->n_touched = 0;
    return r;
}
