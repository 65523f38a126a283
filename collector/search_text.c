/* The database's own text index: one row of tokens for each alert and incident. */
#include <errno.h>
#include <stdio.h>

#include "collector/incidents.h"
#include "collector/search_index.h"
#include "collector/search_token.h"

#define TOKENS_MAX ((size_t)256 * 1024)
#define GENERATION "1" /* raise it when texts become other tokens, or other texts are taken */

static const struct topic_sql {
    const char *rows, *drop, *add;
} sqls[TOPICS] = {
    [TOPIC_ALERTS] = {"SELECT id, description, type, source, entities FROM alerts WHERE ",
                      "DELETE FROM alert_text WHERE row",
                      "INSERT INTO alert_text (rowid, tokens) VALUES ($1, $2)"},
    [TOPIC_INCIDENTS] = {"SELECT id, title, description, type FROM incidents WHERE ",
                         "DELETE FROM incident_text WHERE row",
                         "INSERT INTO incident_text (rowid, tokens) VALUES ($1, $2)"},
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

static int put_incident_entities(struct buf *tokens, struct db_tx *tx, int64_t id, struct err *e)
{
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;
    int r = db_query(tx,
                     "SELECT DISTINCT en.value FROM incident_entities ie "
                     "JOIN entities en ON en.id = ie.entity_id WHERE ie.incident_id = $1 "
                     "ORDER BY 1 LIMIT $2",
                     DB_ARGS(db_int(id), db_int(INCIDENT_ENTITIES)), &s, e);

    while (r == 0 && (r = db_step(s, e)) == DB_ROW) {
        put_text(tokens, db_text(s, 0));
        r = 0;
    }
    return r;
}

/* The tokens of the row that `s` stands on. */
static int put_row(struct buf *tokens, struct db_tx *tx, struct db_stmt *s, enum topic t,
                   struct err *e)
{
    buf_reset(tokens);
    for (int col = 1; col <= 3; col++)
        put_text(tokens, db_text(s, col));
    if (t == TOPIC_INCIDENTS)
        return put_incident_entities(tokens, tx, db_i64(s, 0), e);
    put_entities(tokens, db_text(s, 4));
    return 0;
}

static int add(struct db_tx *tx, enum topic t, int64_t id, struct buf *tokens, struct err *e)
{
    return db_run(tx, sqls[t].add, DB_ARGS(db_int(id), db_str(buf_text(tokens))), NULL, e);
}

static int take_topic(struct db_tx *tx, const struct search_span *span, enum topic t,
                      uint64_t *taken, struct err *e)
{
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;
    const struct db_value args[] = {db_int(span->from), db_int(span->to)};
    char sql[256];
    struct buf tokens;

    (void)snprintf(sql, sizeof(sql), "%s%s", sqls[t].drop, search_span_sql(span, t));
    int r = db_run(tx, sql, args, 2, NULL, e);
    (void)snprintf(sql, sizeof(sql), "%s%s", sqls[t].rows, search_span_sql(span, t));
    if (r == 0)
        r = db_query(tx, sql, args, 2, &s, e);
    buf_init(&tokens, TOKENS_MAX);
    while (r == 0 && (r = db_step(s, e)) == DB_ROW) {
        r = put_row(&tokens, tx, s, t, e);
        if (r == 0)
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

static int text_open(void *index, char ret_generation[SEARCH_GENERATION], struct err *e)
{
    (void)index, (void)e;
    (void)snprintf(ret_generation, SEARCH_GENERATION, GENERATION);
    return 0;
}

const struct search_ops search_text_ops = {
    .name = "text", .open = text_open, .take = text_take, .send = NULL, .find = NULL, .done = NULL};
