#include "collector/search_state.h"

#include <stdio.h>

#include "collector/outbox.h"

#define STATE_COLUMNS "generation, seq, alerts_done, alerts_to, incidents_done, incidents_to"

int search_state_load(struct db_tx *tx, const char *index, struct search_state *ret_state,
                      bool *ret_is_there, struct err *e)
{
    WIND_AUTO(db_stmt) struct db_stmt *q = NULL;
    const int r = db_query_row(tx, "SELECT " STATE_COLUMNS " FROM search_state WHERE name = $1",
                               DB_ARGS(db_str(index)), &q, e);

    *ret_state = (struct search_state){.seq = 0};
    *ret_is_there = r == DB_ROW;
    if (r != DB_ROW)
        return r;
    (void)snprintf(ret_state->generation, sizeof(ret_state->generation), "%s", db_text(q, 0));
    ret_state->seq = db_i64(q, 1);
    for (int t = 0; t < TOPICS; t++) {
        ret_state->done[t] = db_i64(q, 2 + 2 * t);
        ret_state->to[t] = db_i64(q, 3 + 2 * t);
    }
    return 0;
}

#define STATE_ARGS(index, st)                                                                      \
    db_str(index), db_str((st)->generation), db_int((st)->seq), db_int((st)->done[TOPIC_ALERTS]),  \
        db_int((st)->to[TOPIC_ALERTS]), db_int((st)->done[TOPIC_INCIDENTS]),                       \
        db_int((st)->to[TOPIC_INCIDENTS])

int search_state_save(struct db_tx *tx, const char *index, const struct search_state *old,
                      const struct search_state *st, bool *ret_is_ours, struct err *e)
{
    int64_t n = 0;
    const int r =
        db_run(tx,
               "UPDATE search_state SET generation = $2, seq = $3, alerts_done = $4, "
               "alerts_to = $5, incidents_done = $6, incidents_to = $7 WHERE name = $1 AND "
               "seq = $8 AND alerts_done = $9 AND incidents_done = $10 AND alerts_to = $11 AND "
               "incidents_to = $12 AND generation = $13",
               DB_ARGS(STATE_ARGS(index, st), db_int(old->seq), db_int(old->done[TOPIC_ALERTS]),
                       db_int(old->done[TOPIC_INCIDENTS]), db_int(old->to[TOPIC_ALERTS]),
                       db_int(old->to[TOPIC_INCIDENTS]), db_str(old->generation)),
               &n, e);
    *ret_is_ours = n > 0;
    return r;
}

int search_state_anew(struct db_tx *tx, const char *index, const char *generation, struct err *e)
{
    struct search_state st = {.seq = 0};
    int64_t first;

    (void)snprintf(st.generation, sizeof(st.generation), "%s", generation);
    int r = outbox_range(tx, &first, &st.seq, e);
    if (r == 0)
        r = db_query_i64(tx, "SELECT coalesce(max(id), 0) FROM alerts", DB_NONE,
                         &st.to[TOPIC_ALERTS], e);
    if (r == 0)
        r = db_query_i64(tx, "SELECT coalesce(max(id), 0) FROM incidents", DB_NONE,
                         &st.to[TOPIC_INCIDENTS], e);
    if (r == 0)
        r = db_run(tx,
                   "INSERT INTO search_state (name, " STATE_COLUMNS ") "
                   "VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (name) DO UPDATE SET "
                   "generation = $2, seq = $3, alerts_done = $4, alerts_to = $5, "
                   "incidents_done = $6, incidents_to = $7",
                   DB_ARGS(STATE_ARGS(index, &st)), NULL, e);
    return r;
}
