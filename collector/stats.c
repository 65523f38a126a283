#include "collector/stats.h"

#include <errno.h>

#include "collector/store.h"
#include "common/time.h"

#define NS  ((int64_t)WIND_NS_PER_S)
#define DAY INT64_C(86400)

int64_t stats_bucket_s(int64_t from_s, int64_t to_s)
{
    static const int64_t steps[] = {1,       2,       5,        10,       15,       30,
                                    60,      120,     300,      600,      900,      1800,
                                    3600,    7200,    10800,    21600,    43200,    DAY,
                                    2 * DAY, 7 * DAY, 14 * DAY, 30 * DAY, 90 * DAY, 365 * DAY};

    for (size_t i = 0; i < WIND_ARRAY_SIZE(steps); i++)
        if (to_s / steps[i] - from_s / steps[i] < STATS_BUCKETS)
            return steps[i];
    return 3650 * DAY; /* all times there are, 1970 to 2553, in 59 */
}

/* ---------------------------------------------------------------- sums */

static int read_extent(struct db_tx *tx, json_t *o, struct stats_range *in_out, struct err *e)
{
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;

    int r =
        db_query_row(tx, "SELECT min(detected_at), max(detected_at) FROM alerts", DB_NONE, &s, e);
    if (r < 0)
        return r;
    json_t *extent = json_object();
    (void)json_object_set_new(extent, "first", store_json_time_at(s, 0));
    (void)json_object_set_new(extent, "last", store_json_time_at(s, 1));
    (void)json_object_set_new(o, "extent", extent);
    if (in_out->from_ns < 0)
        in_out->from_ns = db_i64(s, 0);
    if (in_out->to_ns < 0)
        in_out->to_ns = db_i64(s, 1);
    return 0;
}

/* {"word": count}: the first column of each row, or the severity it stands for. */
static int put_counts(struct db_tx *tx, json_t *o, const char *name, const char *sql,
                      const struct stats_range *range, struct err *e)
{
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;
    json_t *counts = json_object();

    (void)json_object_set_new(o, name, counts);
    int r = range == NULL
                ? db_query(tx, sql, DB_NONE, &s, e)
                : db_query(tx, sql, DB_ARGS(db_int(range->from_ns), db_int(range->to_ns)), &s, e);
    while (r == 0 && (r = db_step(s, e)) == DB_ROW) {
        const char *word = db_text(s, 0);
        if (strcmp(name, "by_severity") == 0)
            word = severity_words[db_i64(s, 0) - 1];
        (void)json_object_set_new(counts, word, json_integer(db_i64(s, 1)));
        r = 0;
    }
    return r;
}

static json_int_t sum_of(const json_t *counts)
{
    json_int_t sum = 0;
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)(uintptr_t)counts, key, value) sum += json_integer_value(value);
    return sum;
}

#define IN_RANGE " FROM alerts WHERE detected_at BETWEEN $1 AND $2 GROUP BY 1 ORDER BY 2 DESC, 1"

static int put_sums(struct db_tx *tx, json_t *o, const struct stats_range *range, struct err *e)
{
    json_t *alerts = json_object(), *incidents = json_object();

    (void)json_object_set_new(o, "alerts", alerts);
    (void)json_object_set_new(o, "incidents", incidents);
    int r = put_counts(tx, alerts, "by_severity", "SELECT severity, count(*)" IN_RANGE, range, e);
    if (r == 0)
        r = put_counts(tx, alerts, "by_status", "SELECT status, count(*)" IN_RANGE, range, e);
    if (r == 0)
        r = put_counts(tx, alerts, "by_type", "SELECT type, count(*)" IN_RANGE " LIMIT 50", range,
                       e);
    if (r == 0)
        r = put_counts(tx, incidents, "by_status",
                       "SELECT status, count(*) FROM incidents GROUP BY 1 ORDER BY 1", NULL, e);
    (void)json_object_set_new(alerts, "total",
                              json_integer(sum_of(json_object_get(alerts, "by_status"))));
    (void)json_object_set_new(incidents, "total",
                              json_integer(sum_of(json_object_get(incidents, "by_status"))));
    return r;
}
_Static_assert(STATS_TYPES == 50, "the LIMIT above");

/* ---------------------------------------------------------------- timeline */

struct bucket {
    int64_t n[4]; /* by severity */
};

static json_t *bucket_json(int64_t at_s, const struct bucket *b)
{
    json_t *o = json_object();

    (void)json_object_set_new(o, "t", store_json_time(at_s * NS));
    for (size_t i = 0; i < 4; i++)
        (void)json_object_set_new(o, severity_words[i], json_integer(b->n[i]));
    return o;
}

static int put_timeline(struct db_tx *tx, json_t *o, const struct stats_range *range, struct err *e)
{
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;
    struct bucket buckets[STATS_BUCKETS] = {0};
    const int64_t step = stats_bucket_s(range->from_ns / NS, range->to_ns / NS);
    const int64_t first = range->from_ns / NS / step, last = range->to_ns / NS / step;

    int r =
        db_query(tx,
                 "SELECT detected_at / $3, severity, count(*) FROM alerts "
                 "WHERE detected_at BETWEEN $1 AND $2 GROUP BY 1, 2",
                 DB_ARGS(db_int(range->from_ns), db_int(range->to_ns), db_int(step * NS)), &s, e);
    while (r == 0 && (r = db_step(s, e)) == DB_ROW) {
        const int64_t at = db_i64(s, 0) - first;
        if (at >= 0 && at < STATS_BUCKETS)
            buckets[at].n[db_i64(s, 1) - 1] = db_i64(s, 2);
        r = 0;
    }
    json_t *timeline = json_object(), *list = json_array();
    (void)json_object_set_new(timeline, "bucket_s", json_integer(step));
    (void)json_object_set_new(timeline, "buckets", list);
    if (json_integer_value(json_object_get(json_object_get(o, "alerts"), "total")) > 0)
        for (int64_t i = first; i <= last && i - first < STATS_BUCKETS; i++)
            (void)json_array_append_new(list, bucket_json(i * step, &buckets[i - first]));
    (void)json_object_set_new(o, "timeline", timeline);
    return r;
}

static int put_top(struct db_tx *tx, json_t *o, const struct stats_range *range, struct err *e)
{
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;
    json_t *list = json_array();

    (void)json_object_set_new(o, "top_entities", list);
    int r =
        db_query(tx,
                 "SELECT en.kind, en.value, t.role, t.n, t.severity FROM "
                 "(SELECT ae.entity_id, ae.role, count(*) AS n, max(a.severity) AS severity "
                 "FROM alerts a JOIN alert_entities ae ON ae.alert_id = a.id "
                 "WHERE a.detected_at BETWEEN $1 AND $2 GROUP BY ae.entity_id, ae.role) t "
                 "JOIN entities en ON en.id = t.entity_id "
                 "ORDER BY t.n DESC, t.severity DESC, t.role, en.value LIMIT $3",
                 DB_ARGS(db_int(range->from_ns), db_int(range->to_ns), db_int(STATS_TOP)), &s, e);
    while (r == 0 && (r = db_step(s, e)) == DB_ROW) {
        json_t *top = json_object();
        (void)json_object_set_new(top, "kind", store_json_text(db_text(s, 0)));
        (void)json_object_set_new(top, "value", store_json_text(db_text(s, 1)));
        (void)json_object_set_new(top, "role", store_json_text(db_text(s, 2)));
        (void)json_object_set_new(top, "alerts", json_integer(db_i64(s, 3)));
        (void)json_object_set_new(top, "max_severity", store_json_severity(db_i64(s, 4)));
        (void)json_array_append_new(list, top);
        r = 0;
    }
    return r;
}

int stats_get(struct db_tx *tx, const struct stats_range *range, json_t **ret_stats, struct err *e)
{
    json_t *o = json_object();
    struct stats_range in = *range;

    int r = read_extent(tx, o, &in, e);
    if (r == 0)
        r = put_sums(tx, o, &in, e);
    if (r == 0)
        r = put_timeline(tx, o, &in, e);
    if (r == 0)
        r = put_top(tx, o, &in, e);
    if (r != 0) {
        json_decref(o);
        return r;
    }
    *ret_stats = o;
    return 0;
}
