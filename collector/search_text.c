/* The database's own text index: one row of tokens for each alert and incident. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "collector/db_bulk.h"
#include "collector/incidents.h"
#include "collector/search.h"
#include "collector/search_index.h"
#include "collector/search_token.h"
#include "collector/search_tsvector.h"

#define PRUNE_ROWS 5000
#define ROWS       1000
#define TEXTS_MAX  ((size_t)32 << 20)
#define TOKENS_MAX ((size_t)256 * 1024)
#define VERSION    "2" /* raise it when texts become other tokens, or other texts are taken */

#define ALERT_ROWS                                                                                 \
    "SELECT id, description, type, source, entities FROM alerts WHERE " SEARCH_SOME("")

/*
 * With its entities in one text, a line each: a question for each incident would be a round trip.
 * Each is looked up by itself: a join may be planned when there are few, and read all of many.
 */
#define ENTITY_VALUE "(SELECT en.value FROM entities en WHERE en.id = x.entity_id)"
#define INCIDENT_ROWS(aggregate)                                                                   \
    "SELECT id, title, description, type, (SELECT " aggregate " FROM (SELECT DISTINCT "            \
    "ie.entity_id FROM incident_entities ie WHERE ie.incident_id = incidents.id ORDER BY 1 "       \
    "LIMIT $4) x) FROM incidents WHERE " SEARCH_SOME("")

#define DROP_IDS(what)  "DELETE FROM " what "_text WHERE rowid BETWEEN $1 + 1 AND $2"
#define DROP_GONE(what) "DELETE FROM " what "_text WHERE rowid = ANY($1)"
#define GONE(what)                                                                                 \
    "SELECT object_id FROM outbox WHERE topic = '" what "s' AND op = 'deleted' AND seq > $1 "      \
    "AND seq <= $2"
#define ADD(what) "INSERT OR REPLACE INTO " what "_text (rowid, tokens) VALUES ($1, $2)"

static const struct topic_sql {
    const char *table, *rows[2], *gone, *drop_ids, *drop_gone, *add; /* rows: by db_engine */
} sqls[TOPICS] = {
    [TOPIC_ALERTS] = {"alert_text",
                      {ALERT_ROWS, ALERT_ROWS},
                      GONE("alert"),
                      DROP_IDS("alert"),
                      DROP_GONE("alert"),
                      ADD("alert")},
    [TOPIC_INCIDENTS] = {"incident_text",
                         {INCIDENT_ROWS("group_concat(" ENTITY_VALUE ", char(10))"),
                          INCIDENT_ROWS("string_agg(" ENTITY_VALUE ", chr(10))")},
                         GONE("incident"),
                         DROP_IDS("incident"),
                         DROP_GONE("incident"),
                         ADD("incident")},
};

/* Rows of one topic between reading and writing, so that the tables are not kept from others. */
struct batch {
    size_t n;
    int64_t ids[SEARCH_BATCH_MAX];
    size_t at[SEARCH_BATCH_MAX],
        len[SEARCH_BATCH_MAX]; /* in `texts`; db_values only when that stays */
    size_t n_gone;
    int64_t gone[SEARCH_BATCH_MAX];
};

struct text {
    struct search_ids ids;
    struct batch batches[TOPICS];
    struct buf texts, tokens;
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

/* The row that `s` stands on. */
static int take_row(struct text *x, struct db_tx *tx, struct db_stmt *s, enum topic t,
                    struct err *e)
{
    struct batch *b = &x->batches[t];

    WIND_CHECK(b->n < SEARCH_BATCH_MAX);
    put_row(&x->tokens, s, t);
    b->ids[b->n] = db_i64(s, 0);
    b->at[b->n] = x->texts.len;
    if (db_engine(tx) == DB_SQLITE)
        buf_put(&x->texts, x->tokens.data, x->tokens.len);
    else
        search_tsvector(&x->texts, x->tokens.data, x->tokens.len);
    b->len[b->n] = x->texts.len - b->at[b->n];
    b->n++;
    return x->texts.failed ? err_set(e, -EFBIG, "search: a batch is beyond %zu bytes", TEXTS_MAX)
                           : 0;
}

static int take_rows(struct text *x, struct db_tx *tx, enum topic t, const int64_t *ids, size_t n,
                     struct err *e)
{
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;
    const struct db_value args[] = {SEARCH_SOME_ARGS(ids, n), db_int(SEARCH_ENTITIES)};

    int r = db_query(tx, sqls[t].rows[db_engine(tx)], args, t == TOPIC_INCIDENTS ? 4 : 3, &s, e);
    while (r == 0 && (r = db_step(s, e)) == DB_ROW)
        r = take_row(x, tx, s, t, e);
    return r;
}

/* ROWS at a time: PostgreSQL gives all of a statement at once, and an incident may be long. */
static int take_topic(struct text *x, struct db_tx *tx, const struct search_span *span,
                      enum topic t, struct err *e)
{
    int r = search_span_ids(tx, span, t, &x->ids, e);

    for (size_t i = 0; r == 0 && i < x->ids.n; i += ROWS)
        r = take_rows(x, tx, t, x->ids.id + i, x->ids.n - i < ROWS ? x->ids.n - i : ROWS, e);
    return r;
}

static int take_gone(struct text *x, struct db_tx *tx, const struct search_span *span, enum topic t,
                     struct err *e)
{
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;
    struct batch *b = &x->batches[t];
    int r = db_query(tx, sqls[t].gone, DB_ARGS(db_int(span->from), db_int(span->to)), &s, e);

    for (; r == 0 && (r = db_step(s, e)) == DB_ROW; r = 0) {
        WIND_CHECK(b->n_gone < SEARCH_BATCH_MAX);
        b->gone[b->n_gone++] = db_i64(s, 0);
    }
    return r;
}

static int text_take(void *index, struct db_tx *tx, const struct search_span *span,
                     uint64_t *ret_taken, struct err *e)
{
    struct text *x = index;
    int r = 0;

    *ret_taken = 0;
    buf_reset(&x->texts);
    for (enum topic t = 0; t < TOPICS; t++)
        x->batches[t].n = x->batches[t].n_gone = 0;
    for (enum topic t = 0; r == 0 && t < TOPICS; t++) {
        r = take_topic(x, tx, span, t, e);
        if (r == 0 && !span->is_ids)
            r = take_gone(x, tx, span, t, e);
        *ret_taken += x->batches[t].n;
    }
    return r;
}

static int write_sqlite(struct text *x, struct db_tx *tx, enum topic t, struct err *e)
{
    const struct batch *b = &x->batches[t];
    int r = 0;

    for (size_t i = 0; r == 0 && i < b->n; i++)
        r = db_run(tx, sqls[t].add,
                   DB_ARGS(db_int(b->ids[i]), db_text_n(x->texts.data + b->at[i], b->len[i])), NULL,
                   e);
    return r;
}

static int write_postgres(struct text *x, struct db_tx *tx, enum topic t, struct err *e)
{
    WIND_AUTO(db_bulk) struct db_bulk *rows = NULL;
    const struct batch *b = &x->batches[t];

    int r = db_run(tx, sqls[t].drop_gone, DB_ARGS(db_ints(b->ids, b->n)), NULL, e);
    if (r == 0)
        r = db_bulk_begin(tx, sqls[t].table, "rowid, tokens", &rows, e);
    for (size_t i = 0; r == 0 && i < b->n; i++)
        r = db_bulk_row(
            rows, DB_ARGS(db_int(b->ids[i]), db_tsvector(x->texts.data + b->at[i], b->len[i])), e);
    return r == 0 ? db_bulk_end(&rows, e) : r;
}

/* What was read is put over what is there: it may have changed since, and comes again. */
static int write_rows(struct text *x, struct db_tx *tx, enum topic t, struct err *e)
{
    return db_engine(tx) == DB_SQLITE ? write_sqlite(x, tx, t, e) : write_postgres(x, tx, t, e);
}

static int text_write(void *index, struct db_tx *tx, const struct search_span *span, struct err *e)
{
    struct text *x = index;
    int r = 0;

    for (enum topic t = 0; r == 0 && t < TOPICS; t++) {
        const struct batch *b = &x->batches[t];
        if (span->is_ids && span->topic == t)
            r = db_run(tx, sqls[t].drop_ids, DB_ARGS(db_int(span->from), db_int(span->to)), NULL,
                       e);
        if (r == 0 && b->n_gone > 0)
            r = db_run(tx, sqls[t].drop_gone, DB_ARGS(db_ints(b->gone, b->n_gone)), NULL, e);
        if (r == 0 && b->n > 0)
            r = write_rows(x, tx, t, e);
    }
    return r <= 0 ? r : err_set(e, -EIO, "the text index has a row twice");
}

int search_text_new(void **ret_index, struct err *e)
{
    struct text *x = calloc(1, sizeof(*x));

    if (x == NULL)
        return err_set(e, -ENOMEM, "search: out of memory");
    buf_init(&x->texts, TEXTS_MAX);
    buf_init(&x->tokens, TOKENS_MAX);
    *ret_index = x;
    return 0;
}

static void text_done(void *index)
{
    struct text *x = index;

    buf_done(&x->texts);
    buf_done(&x->tokens);
    free(x);
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
    int r = db_begin_beside(db, &tx, e);
    if (r == 0) /* as who writes texts does first: they go one after the other */
        r = db_run(tx, "UPDATE search_state SET seq = seq WHERE name = 'text'", DB_NONE, NULL, e);
    if (r == 0)
        r = db_query_i64(tx, "SELECT coalesce(min(id), 0) FROM alerts", DB_NONE, &first, e);
    if (r == 0 && first > 1)
        r = db_run(tx, sql, DB_ARGS(db_int(first), db_int(PRUNE_ROWS)), &n, e);
    if (r == 0)
        r = db_commit(&tx, e);
    return r < 0 ? r : n == PRUNE_ROWS;
}

const struct search_ops search_text_ops = {
    .name = "text",
    .version = VERSION,
    .batch = {[DB_SQLITE] = SEARCH_BATCH, [DB_POSTGRES] = SEARCH_BATCH_MAX},
    .open = text_open,
    .take = text_take,
    .write = text_write,
    .prune = text_prune,
    .done = text_done};
