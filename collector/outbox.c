#include "collector/outbox.h"

#include <errno.h>
#include <stdatomic.h>

#include "collector/alerts.h"
#include "collector/db_rows.h"
#include "collector/incidents.h"
#include "common/time.h"

/*
 * Each new row ends an old one: whoever writes, sensors or people, the table stays small. What the
 * slowest index has not taken is kept longer, and the row it has come to, by which it sees that
 * none is missing.
 */
static int trim(struct db_tx *tx, int64_t seq, struct err *e)
{
    if (seq <= OUTBOX_KEEP)
        return 0;
    return db_defer(tx,
                    "DELETE FROM outbox WHERE seq >= $3 AND seq <= (SELECT CASE "
                    "WHEN coalesce(min(seq), $1 + 1) > $1 THEN $1 "
                    "WHEN min(seq) <= $2 THEN $2 ELSE min(seq) - 1 END FROM search_state)",
                    DB_ARGS(db_int(seq - OUTBOX_KEEP), db_int(seq - OUTBOX_HELD),
                            db_int(atomic_load(db_memory(tx, DB_OUTBOX_FIRST)))),
                    e);
}

int outbox_add(struct db_tx *tx, enum topic t, int64_t id, bool is_new, struct err *e)
{
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;
    int r =
        db_query(tx,
                 "INSERT INTO outbox (topic, object_id, op, at) VALUES ($1, $2, $3, $4) "
                 "RETURNING seq",
                 DB_ARGS(db_str(topic_words[t]), db_int(id), db_str(is_new ? "created" : "updated"),
                         db_int((int64_t)time_wall_ns())),
                 &s, e);
    if (r == 0)
        r = db_step(s, e);
    if (r != DB_ROW)
        return r < 0 ? r : err_set(e, -EIO, "outbox: not inserted");
    return trim(tx, db_i64(s, 0), e);
}

int outbox_add_all(struct db_tx *tx, enum topic t, enum outbox_op op, const int64_t *ids, size_t n,
                   struct err *e)
{
    static const char *const words[] = {"created", "updated", "deleted"};
    int64_t last = 0;
    int r = db_run(tx,
                   "INSERT INTO outbox (topic, object_id, op, at) SELECT $1, t.id, $2, $3 "
                   "FROM unnest($4) AS t(id)",
                   DB_ARGS(db_str(topic_words[t]), db_str(words[op]),
                           db_int((int64_t)time_wall_ns()), db_ints(ids, n)),
                   NULL, e);
    if (r == 0)
        r = outbox_last(tx, &last, e);
    return r == 0 ? trim(tx, last, e) : r;
}

int outbox_add_changes(struct db_tx *tx, const struct outbox_change *changes, size_t n,
                       struct outbox_mark *ret_last, struct err *e)
{
    WIND_AUTO(db_rows) struct db_rows *rows = NULL;
    const int64_t now = (int64_t)time_wall_ns();
    int64_t seq = 0;

    if (n == 0)
        return 0;
    int r = db_reserve(tx, "outbox", n, &seq, e);
    if (r == 0)
        r = db_rows_begin(tx, "outbox", "seq, topic, object_id, op, at", n, &rows, e);
    for (size_t i = 0; r == 0 && i < n; i++)
        r = db_rows_add(rows,
                        DB_ARGS(db_int(seq + (int64_t)i), db_str(topic_words[changes[i].topic]),
                                db_int(changes[i].id),
                                db_str(changes[i].is_new ? "created" : "updated"), db_int(now)),
                        e);
    if (r == 0)
        r = db_rows_end(&rows, e);
    *ret_last = (struct outbox_mark){.seq = seq + (int64_t)n - 1, .at_ns = now};
    return r == 0 ? trim(tx, ret_last->seq, e) : r;
}

int outbox_mark(struct db_tx *tx, struct outbox_mark *ret_last, struct err *e)
{
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;
    const int r =
        db_query_row(tx, "SELECT seq, at FROM outbox ORDER BY seq DESC LIMIT 1", DB_NONE, &s, e);

    *ret_last = (struct outbox_mark){.seq = 0};
    if (r == DB_ROW)
        *ret_last = (struct outbox_mark){.seq = db_i64(s, 0), .at_ns = db_i64(s, 1)};
    return r < 0 ? r : 0;
}

/*
 * Trimming always leaves the newest row, so the largest seq is never forgotten. Not min() and
 * max(): for a table that is small when it is planned, PostgreSQL may choose to read all of it, and
 * the plan stays when it has grown.
 */
int outbox_last(struct db_tx *tx, int64_t *ret_seq, struct err *e)
{
    *ret_seq = 0;
    return db_query_i64(tx, "SELECT seq FROM outbox ORDER BY seq DESC LIMIT 1", DB_NONE, ret_seq,
                        e);
}

/* It only grows: what was found last time is where to look from. */
static int outbox_first(struct db_tx *tx, int64_t *ret_seq, struct err *e)
{
    _Atomic int64_t *known = db_memory(tx, DB_OUTBOX_FIRST);
    const int64_t from = atomic_load(known);
    int64_t first = 0;
    static const char sql[] = "SELECT seq FROM outbox WHERE seq >= $1 ORDER BY seq LIMIT 1";
    int r = db_query_i64(tx, sql, DB_ARGS(db_int(from)), &first, e);

    if (r == 0 && first == 0 && from > 0)
        r = db_query_i64(tx, sql, DB_ARGS(db_int(0)), &first, e);
    if (r == 0)
        atomic_store(known, first);
    *ret_seq = first == 0 ? 1 : first;
    return r;
}

int outbox_range(struct db_tx *tx, int64_t *ret_first, int64_t *ret_last, struct err *e)
{
    const int r = outbox_first(tx, ret_first, e);

    return r == 0 ? outbox_last(tx, ret_last, e) : r;
}

static int item_read(struct db_tx *tx, struct db_stmt *s, struct outbox_item *ret_item,
                     struct err *e)
{
    struct jsonw j;
    const int64_t id = db_i64(s, 2);
    const char *op = db_text(s, 3);
    const enum topic t =
        store_word(topic_words, db_text(s, 1)) == 0 ? TOPIC_ALERTS : TOPIC_INCIDENTS;

    *ret_item = (struct outbox_item){
        .seq = db_i64(s, 0), .topic = t, .is_new = op != NULL && strcmp(op, "created") == 0};
    buf_init(&ret_item->data, STORE_JSON_MAX);
    jsonw_begin(&j, &ret_item->data);
    int r = t == TOPIC_ALERTS ? alert_show(tx, id, &j, e) : incident_show(tx, id, false, &j, e);
    if (r == 0 && ret_item->data.failed)
        r = err_set(e, -ENOMEM, "out of memory");
    if (r != 0)
        buf_done(&ret_item->data);
    return r;
}

/*
 * A change that is followed by another of the same object is left out, so that a listener who
 * comes late gets each object once; the object's last row speaks, and says "created" if any
 * of the rows left out did.
 */
static const char read_sql[] =
    "SELECT seq, topic, object_id, CASE WHEN EXISTS (SELECT 1 FROM outbox o WHERE "
    "o.seq > $1 AND o.seq <= $2 AND o.topic = w.topic AND o.object_id = w.object_id "
    "AND o.op = 'created') THEN 'created' ELSE op END "
    "FROM outbox w WHERE seq > $1 AND seq <= $2 AND NOT EXISTS (SELECT 1 FROM outbox o WHERE "
    "o.seq > w.seq AND o.seq <= $2 AND o.topic = w.topic AND o.object_id = w.object_id) "
    "ORDER BY seq";

int outbox_read(struct db_tx *tx, int64_t since, struct outbox_batch *ret_batch, struct err *e)
{
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;
    int64_t first = 0, last = 0;

    *ret_batch = (struct outbox_batch){.seq = since};
    int r = outbox_range(tx, &first, &last, e);
    if (r < 0)
        return r;
    if (since < first - 1 || since > last)
        return OUTBOX_GAP;
    if (last > since + OUTBOX_BATCH)
        last = since + OUTBOX_BATCH;
    r = db_query(tx, read_sql, DB_ARGS(db_int(since), db_int(last)), &s, e);
    while (r == 0 && (r = db_step(s, e)) == DB_ROW && ret_batch->n < OUTBOX_BATCH) {
        r = item_read(tx, s, &ret_batch->items[ret_batch->n], e);
        ret_batch->n += r == 0;
        r = r < 0 ? r : 0;
    }
    if (r < 0) {
        outbox_done(ret_batch);
        return r;
    }
    ret_batch->seq = last;
    return 0;
}

void outbox_done(struct outbox_batch *b)
{
    for (size_t i = 0; i < b->n; i++)
        buf_done(&b->items[i].data);
    b->n = 0;
}
