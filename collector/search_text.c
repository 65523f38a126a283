/* The database's own text index: one row of tokens for each alert and incident. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "collector/incidents.h"
#include "collector/search_index.h"
#include "collector/search_token.h"

#define PRUNE_ROWS 5000
#define TOKENS_MAX ((size_t)256 * 1024)
#define VERSION    "1" /* raise it when texts become other tokens, or other texts are taken */

#define ALERT_ROWS "SELECT id, description, type, source, entities FROM alerts WHERE "

/* With its entities in one text, a line each: a question for each incident would be a round trip.
 */
#define INCIDENT_ROWS(aggregate)                                                                   \
    "SELECT id, title, description, type, (SELECT " aggregate " FROM (SELECT DISTINCT en.value "   \
    "FROM incident_entities ie JOIN entities en ON en.id = ie.entity_id "                          \
    "WHERE ie.incident_id = incidents.id ORDER BY 1 LIMIT $3) x) FROM incidents WHERE "

static const struct topic_sql {
    const char *rows[2], *drop, *add[2]; /* by db_engine */
} sqls[TOPICS] = {
    [TOPIC_ALERTS] = {{ALERT_ROWS, ALERT_ROWS},
                      "DELETE FROM alert_text WHERE row",
                      {"INSERT INTO alert_text (rowid, tokens) VALUES ($1, $2)",
                       "INSERT INTO alert_text (rowid, tokens) VALUES ($1, $2::tsvector)"}},
    [TOPIC_INCIDENTS] = {{INCIDENT_ROWS("group_concat(value, char(10))"),
                          INCIDENT_ROWS("string_agg(value, chr(10))")},
                         "DELETE FROM incident_text WHERE row",
                         {"INSERT INTO incident_text (rowid, tokens) VALUES ($1, $2)",
                          "INSERT INTO incident_text (rowid, tokens) VALUES ($1, $2::tsvector)"}},
};

static void put_text(struct buf *tokens, const char *text)
{
    if (text == NULL)
        return;
    search_gap(tokens);
    (void)search_tokens(tokens, text);
}

/* Of a JSON list of {kind, value, role}. */
static void put_entities(struct buf *tokens, const char *json)
{
    json_t *list = json == NULL ? NULL : json_loads(json, 0, NULL);
    json_t *item;
    size_t i;

    json_array_foreach(list, i, item)
        put_text(tokens, json_string_value(json_object_get(item, "value")));
    json_decref(list);
}

/* A line each. */
static void put_lines(struct buf *tokens, const char *text)
{
    char line[ENTITY_VALUE_MAX + 1];

    while (text != NULL && *text != '\0') {
        const size_t n = strcspn(text, "\n"), len = n < sizeof(line) ? n : sizeof(line) - 1;
        memcpy(line, text, len);
        line[len] = '\0';
        put_text(tokens, line);
        text += n + (text[n] == '\n');
    }
}

/* The tokens of the row that `s` stands on. */
static void put_row(struct buf *tokens, struct db_stmt *s, enum topic t)
{
    buf_reset(tokens);
    for (int col = 1; col <= 3; col++)
        put_text(tokens, db_text(s, col));
    if (t == TOPIC_INCIDENTS)
        put_lines(tokens, db_text(s, 4));
    else
        put_entities(tokens, db_text(s, 4));
}

static int add(struct db_tx *tx, enum topic t, int64_t id, struct buf *tokens, struct err *e)
{
    struct buf vector;

    if (db_engine(tx) == DB_SQLITE)
        return db_run(tx, sqls[t].add[DB_SQLITE], DB_ARGS(db_int(id), db_str(buf_text(tokens))),
                      NULL, e);
    buf_init(&vector, 4 * TOKENS_MAX);
    search_tsvector(&vector, buf_text(tokens));
    const int r =
        db_defer(tx, sqls[t].add[DB_POSTGRES], DB_ARGS(db_int(id), db_str(buf_text(&vector))), e);
    buf_done(&vector);
    return r;
}

static int take_topic(struct db_tx *tx, const struct search_span *span, enum topic t,
                      uint64_t *taken, struct err *e)
{
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;
    const struct db_value args[] = {db_int(span->from), db_int(span->to), db_int(SEARCH_ENTITIES)};
    char sql[640];
    struct buf tokens;

    (void)snprintf(sql, sizeof(sql), "%s%s", sqls[t].drop, search_span_sql(span, t));
    int r = db_run(tx, sql, args, 2, NULL, e);
    (void)snprintf(sql, sizeof(sql), "%s%s", sqls[t].rows[db_engine(tx)], search_span_sql(span, t));
    if (r == 0)
        r = db_query(tx, sql, args, t == TOPIC_INCIDENTS ? 3 : 2, &s, e);
    buf_init(&tokens, TOKENS_MAX);
    while (r == 0 && (r = db_step(s, e)) == DB_ROW) {
        put_row(&tokens, s, t);
        r = add(tx, t, db_i64(s, 0), &tokens, e);
        *taken += r == 0;
    }
    buf_done(&tokens);
    return r;
}

static int text_take(void *index, struct db_tx *tx, const struct search_span *span,
                     uint64_t *ret_taken, struct err *e)
{
    int r = 0;

    (void)index;
    *ret_taken = 0;
    for (enum topic t = 0; r == 0 && t < TOPICS; t++)
        if (!span->is_ids || span->topic == t)
            r = take_topic(tx, span, t, ret_taken, e);
    return r <= 0 ? r : err_set(e, -EIO, "the text index has a row twice");
}

static int text_open(void *index, const char *generation, bool *ret_is_empty, struct err *e)
{
    (void)index, (void)generation, (void)e;
    *ret_is_empty = false;
    return 0;
}

/* Retention takes the oldest alerts away. 1: there are more. */
static int text_prune(void *index, struct db *db, struct err *e)
{
    static const char sql[] = "DELETE FROM alert_text WHERE rowid IN (SELECT rowid FROM "
                              "alert_text WHERE rowid < $1 ORDER BY rowid LIMIT $2)";
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;
    int64_t first = 0, n = 0;

    (void)index;
    int r = db_begin_write(db, &tx, e);
    if (r == 0)
        r = db_query_i64(tx, "SELECT coalesce(min(id), 0) FROM alerts", DB_NONE, &first, e);
    if (r == 0 && first > 1)
        r = db_run(tx, sql, DB_ARGS(db_int(first), db_int(PRUNE_ROWS)), &n, e);
    if (r == 0)
        r = db_commit(&tx, e);
    return r < 0 ? r : n == PRUNE_ROWS;
}

const struct search_ops search_text_ops = {
    .name = "text", .version = VERSION, .open = text_open, .take = text_take, .prune = text_prune};
