#include "collector/search_span.h"

#define CHANGED(topic)                                                                             \
    "SELECT object_id FROM outbox WHERE topic = '" topic "' AND seq > $1 AND seq <= $2"

/*
 * Batch after batch changes the same incidents, which are long to take: when the follower is far
 * behind, one that changes again soon is taken with that change.
 */
#define CHANGED_AGAIN(topic)                                                                       \
    " EXCEPT SELECT object_id FROM outbox WHERE topic = '" topic "' AND seq > $2 AND "             \
    "seq <= $2 + 10000"

static const struct {
    const char *rows, *changed, *lasting;
} sqls[TOPICS] = {
    [TOPIC_ALERTS] = {"SELECT id FROM alerts WHERE id > $1 AND id <= $2 ORDER BY id",
                      CHANGED("alerts") " GROUP BY object_id ORDER BY object_id",
                      CHANGED("alerts") " GROUP BY object_id ORDER BY object_id"},
    [TOPIC_INCIDENTS] = {"SELECT id FROM incidents WHERE id > $1 AND id <= $2 ORDER BY id",
                         CHANGED("incidents") " GROUP BY object_id ORDER BY object_id",
                         CHANGED("incidents") CHANGED_AGAIN("incidents") " ORDER BY 1"},
};

int search_span_ids(struct db_tx *tx, const struct search_span *span, enum topic t,
                    struct search_ids *ret_ids, struct err *e)
{
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;
    const char *sql = span->is_ids   ? sqls[t].rows
                      : span->is_far ? sqls[t].lasting
                                     : sqls[t].changed;

    ret_ids->n = 0;
    if (span->is_ids && span->topic != t)
        return 0;
    int r = db_query(tx, sql, DB_ARGS(db_int(span->from), db_int(span->to)), &s, e);
    for (; r == 0 && (r = db_step(s, e)) == DB_ROW; r = 0) {
        WIND_CHECK(ret_ids->n < SEARCH_BATCH_MAX);
        ret_ids->id[ret_ids->n++] = db_i64(s, 0);
    }
    return r;
}
