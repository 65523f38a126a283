#include "collector/search.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "collector/outbox.h"
#include "collector/search_index.h"
#include "common/log.h"
#include "common/time.h"

#define LOOK_MS     1000 /* another collector's commits wake nobody here */
#define BACKOFF_MS  200
#define BACKOFF_MAX 30000

struct state {
    char generation[SEARCH_GENERATION];
    int64_t seq, done[TOPICS], to[TOPICS];
};

struct search {
    struct db *db;
    const struct search_ops *ops;
    void *index;
    bool is_open; /* of the follower, as is what comes next */
    bool ids_turn;
    char generation[SEARCH_GENERATION];
    pthread_t thread;
    bool is_started;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t woken, moved;
    bool is_stopping, is_awake;
    int64_t seq;
    uint64_t taken, refused, failed;
    char trouble[240];
};

/* ---------------------------------------------------------------- state in the database */

#define STATE_COLUMNS "generation, seq, alerts_done, alerts_to, incidents_done, incidents_to"

/* *ret_is_there false: never filled. */
static int load(struct search *s, struct db_tx *tx, struct state *st, bool *ret_is_there,
                struct err *e)
{
    WIND_AUTO(db_stmt) struct db_stmt *q = NULL;
    const int r = db_query_row(tx, "SELECT " STATE_COLUMNS " FROM search_state WHERE name = $1",
                               DB_ARGS(db_str(s->ops->name)), &q, e);

    *st = (struct state){.seq = 0};
    *ret_is_there = r == DB_ROW;
    if (r != DB_ROW)
        return r;
    (void)snprintf(st->generation, sizeof(st->generation), "%s", db_text(q, 0));
    st->seq = db_i64(q, 1);
    for (int t = 0; t < TOPICS; t++) {
        st->done[t] = db_i64(q, 2 + 2 * t);
        st->to[t] = db_i64(q, 3 + 2 * t);
    }
    return 0;
}

/* Another collector that was faster with the same batch wrote the same. */
static int save(struct search *s, struct db_tx *tx, const struct state *st, struct err *e)
{
    return db_run(tx,
                  "INSERT INTO search_state (name, " STATE_COLUMNS ") "
                  "VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (name) DO UPDATE SET "
                  "generation = $2, seq = $3, alerts_done = $4, alerts_to = $5, "
                  "incidents_done = $6, incidents_to = $7",
                  DB_ARGS(db_str(s->ops->name), db_str(st->generation), db_int(st->seq),
                          db_int(st->done[TOPIC_ALERTS]), db_int(st->to[TOPIC_ALERTS]),
                          db_int(st->done[TOPIC_INCIDENTS]), db_int(st->to[TOPIC_INCIDENTS])),
                  NULL, e);
}

/* All rows that are there now, and the changes after now. */
static int anew(struct search *s, struct db_tx *tx, struct state *st, struct err *e)
{
    memcpy(st->generation, s->generation, sizeof(st->generation));
    st->done[TOPIC_ALERTS] = st->done[TOPIC_INCIDENTS] = 0;
    st->to[TOPIC_ALERTS] = st->to[TOPIC_INCIDENTS] = 0;
    int r = outbox_last(tx, &st->seq, e);
    if (r == 0)
        r = db_query_i64(tx, "SELECT coalesce(max(id), 0) FROM alerts", DB_NONE,
                         &st->to[TOPIC_ALERTS], e);
    if (r >= 0)
        r = db_query_i64(tx, "SELECT coalesce(max(id), 0) FROM incidents", DB_NONE,
                         &st->to[TOPIC_INCIDENTS], e);
    return r < 0 ? r : save(s, tx, st, e);
}

/* ---------------------------------------------------------------- what to take next */

enum plan { PLAN_NOTHING, PLAN_ANEW, PLAN_SPAN };

const char *search_span_sql(const struct search_span *span, enum topic t)
{
    if (span->is_ids)
        return "id BETWEEN $1 + 1 AND $2";
    return t == TOPIC_ALERTS
               ? "id IN (SELECT object_id FROM outbox WHERE topic = 'alerts' AND seq > $1 "
                 "AND seq <= $2)"
               : "id IN (SELECT object_id FROM outbox WHERE topic = 'incidents' AND seq > $1 "
                 "AND seq <= $2)";
}

/* The next SEARCH_BATCH ids of a rebuild. */
static int plan_ids(struct db_tx *tx, const struct state *st, enum topic t,
                    struct search_span *ret_span, struct err *e)
{
    const char *sql = t == TOPIC_ALERTS
                          ? "SELECT max(id) FROM (SELECT id FROM alerts WHERE id > $1 AND "
                            "id <= $2 ORDER BY id LIMIT $3) x"
                          : "SELECT max(id) FROM (SELECT id FROM incidents WHERE id > $1 AND "
                            "id <= $2 ORDER BY id LIMIT $3) x";

    *ret_span = (struct search_span){.topic = t, .is_ids = true, .from = st->done[t]};
    const int r =
        db_query_i64(tx, sql, DB_ARGS(db_int(st->done[t]), db_int(st->to[t]), db_int(SEARCH_BATCH)),
                     &ret_span->to, e);
    if (r >= 0 && ret_span->to == 0) /* the rest of them was deleted */
        ret_span->to = st->to[t];
    return r < 0 ? r : PLAN_SPAN;
}

static int plan(struct search *s, struct db_tx *tx, struct state *st, struct search_span *ret_span,
                struct err *e)
{
    int64_t first = 1, last = 0;
    bool is_there;

    int r = load(s, tx, st, &is_there, e);
    if (r == 0)
        r = outbox_range(tx, &first, &last, e);
    if (r < 0)
        return r;
    if (!is_there || strcmp(st->generation, s->generation) != 0 || st->seq < first - 1 ||
        st->seq > last)
        return PLAN_ANEW;
    const enum topic t =
        st->done[TOPIC_ALERTS] < st->to[TOPIC_ALERTS] ? TOPIC_ALERTS : TOPIC_INCIDENTS;
    const bool has_ids = st->done[t] < st->to[t];
    if (has_ids && (s->ids_turn || st->seq == last))
        return plan_ids(tx, st, t, ret_span, e);
    if (st->seq == last)
        return PLAN_NOTHING;
    *ret_span = (struct search_span){
        .from = st->seq, .to = last - st->seq > SEARCH_BATCH ? st->seq + SEARCH_BATCH : last};
    return PLAN_SPAN;
}

/* ---------------------------------------------------------------- one batch */

static void moved(struct search *s, const struct state *st, uint64_t taken, uint64_t refused)
{
    (void)pthread_mutex_lock(&s->lock);
    s->seq = st->seq;
    s->taken += taken;
    s->refused += refused;
    s->trouble[0] = '\0';
    (void)pthread_cond_broadcast(&s->moved);
    (void)pthread_mutex_unlock(&s->lock);
}

/* Does what was planned in `tx`, and ends it. */
static int take(struct search *s, struct db_tx **tx, struct state *st,
                const struct search_span *span, struct err *e)
{
    uint64_t taken = 0, refused = 0;

    int r = s->ops->take(s->index, *tx, span, &taken, e);
    if (r == 0 && s->ops->send != NULL) {
        *tx = db_tx_free(*tx);
        r = s->ops->send(s->index, &refused, e);
        if (r == 0)
            r = db_begin_write(s->db, tx, e);
    }
    if (span->is_ids)
        st->done[span->topic] = span->to;
    else
        st->seq = span->to;
    s->ids_turn = !s->ids_turn;
    if (r == 0)
        r = save(s, *tx, st, e);
    if (r == 0)
        r = db_commit(tx, e);
    if (r == 0)
        moved(s, st, taken - refused, refused);
    return r < 0 ? r : 0;
}

int search_step(struct search *s, struct err *e)
{
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;
    struct search_span span = {.to = 0};
    struct state st = {.seq = 0};
    int what;

    int r = s->is_open ? 0 : s->ops->open(s->index, s->generation, e);
    if (r != 0)
        return r;
    s->is_open = true;
    r = db_begin_read(s->db, &tx, e);
    what = r == 0 ? plan(s, tx, &st, &span, e) : r;
    if (what == PLAN_NOTHING)
        moved(s, &st, 0, 0);
    if (what <= PLAN_NOTHING)
        return what;
    if (what == PLAN_ANEW || s->ops->send == NULL) { /* again, where nobody else may write */
        tx = db_tx_free(tx);
        r = db_begin_write(s->db, &tx, e);
        what = r == 0 ? plan(s, tx, &st, &span, e) : r;
        if (what <= PLAN_NOTHING)
            return what;
    }
    if (what == PLAN_SPAN) {
        r = take(s, &tx, &st, &span, e);
    } else {
        r = anew(s, tx, &st, e);
        if (r == 0)
            r = db_commit(&tx, e);
    }
    return r < 0 ? r : 1;
}

/* ---------------------------------------------------------------- the thread */

/* Until woken, or for `ms`; false: stop. */
static bool nap(struct search *s, int ms, bool is_backoff)
{
    struct timespec until;

    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += ms / 1000;
    until.tv_nsec += (long)(ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    (void)pthread_mutex_lock(&s->lock);
    int r = 0;
    while (r == 0 && !s->is_stopping && (is_backoff || !s->is_awake))
        r = pthread_cond_timedwait(&s->woken, &s->lock, &until);
    s->is_awake = false;
    const bool goes_on = !s->is_stopping;
    (void)pthread_mutex_unlock(&s->lock);
    return goes_on;
}

/* Says it once for each new reason, and counts. */
static void failed(struct search *s, const char *text)
{
    (void)pthread_mutex_lock(&s->lock);
    const bool is_news = strcmp(s->trouble, text) != 0;
    s->failed++;
    (void)snprintf(s->trouble, sizeof(s->trouble), "%s", text);
    (void)pthread_cond_broadcast(&s->moved); /* nobody waits for what doesn't come */
    (void)pthread_mutex_unlock(&s->lock);
    if (is_news)
        log_warn("search: %s; trying again", text);
}

static void *follow(void *arg)
{
    struct search *s = arg;
    int backoff = 0;
    bool goes_on = true;

    while (goes_on) {
        struct err e = {0};
        const int r = search_step(s, &e);
        if (r < 0) {
            backoff = backoff == 0                ? BACKOFF_MS
                      : backoff > BACKOFF_MAX / 2 ? BACKOFF_MAX
                                                  : 2 * backoff;
            failed(s, e.text);
        } else {
            backoff = 0;
        }
        goes_on = r == 1 ? nap(s, 0, false) : nap(s, r < 0 ? backoff : LOOK_MS, r < 0);
    }
    return NULL;
}

int search_new(struct search **ret_search, const struct search_conf *conf, struct err *e)
{
    pthread_condattr_t mono;
    struct search *s = calloc(1, sizeof(*s));

    if (s == NULL)
        return err_set(e, -ENOMEM, "search: out of memory");
    s->db = conf->db;
    s->ops = &search_text_ops;
    (void)pthread_mutex_init(&s->lock, NULL);
    (void)pthread_condattr_init(&mono);
    (void)pthread_condattr_setclock(&mono, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&s->woken, &mono);
    (void)pthread_cond_init(&s->moved, &mono);
    (void)pthread_condattr_destroy(&mono);
    *ret_search = s;
    return 0;
}

int search_start(struct search *s, struct err *e)
{
    const int r = pthread_create(&s->thread, NULL, follow, s);

    if (r != 0)
        return err_set(e, -r, "search: cannot start a thread");
    s->is_started = true;
    return 0;
}

void search_stop(struct search *s)
{
    if (s == NULL || !s->is_started)
        return;
    (void)pthread_mutex_lock(&s->lock);
    s->is_stopping = true;
    (void)pthread_cond_signal(&s->woken);
    (void)pthread_cond_broadcast(&s->moved);
    (void)pthread_mutex_unlock(&s->lock);
    (void)pthread_join(s->thread, NULL);
    s->is_started = false;
}

struct search *search_free(struct search *s)
{
    if (s == NULL)
        return NULL;
    search_stop(s);
    if (s->ops->done != NULL)
        s->ops->done(s->index);
    (void)pthread_mutex_destroy(&s->lock);
    (void)pthread_cond_destroy(&s->woken);
    (void)pthread_cond_destroy(&s->moved);
    free(s);
    return NULL;
}

void search_wake(struct search *s)
{
    if (s == NULL)
        return;
    (void)pthread_mutex_lock(&s->lock);
    s->is_awake = true;
    (void)pthread_cond_signal(&s->woken);
    (void)pthread_mutex_unlock(&s->lock);
}

/* ---------------------------------------------------------------- questions */

/* Waits for the changes up to now; *ret_behind: those that are missing all the same. */
static int settle(struct search *s, int64_t *ret_behind, struct err *e)
{
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;
    const uint64_t end = time_mono_ns() + (uint64_t)SEARCH_SETTLE_MS * WIND_NS_PER_MS;
    struct timespec until = {.tv_sec = (time_t)(end / WIND_NS_PER_S),
                             .tv_nsec = (long)(end % WIND_NS_PER_S)};
    struct state st;
    bool is_there;
    int64_t first, last;

    int r = db_begin_read(s->db, &tx, e);
    if (r == 0)
        r = outbox_range(tx, &first, &last, e);
    if (r == 0)
        r = load(s, tx, &st, &is_there, e);
    if (r != 0)
        return r;
    tx = db_tx_free(tx);
    (void)pthread_mutex_lock(&s->lock);
    s->is_awake = true;
    (void)pthread_cond_signal(&s->woken);
    const uint64_t failures = s->failed;
    while (r == 0 && s->is_started && !s->is_stopping && s->seq < last && s->failed == failures &&
           s->trouble[0] == '\0')
        r = pthread_cond_timedwait(&s->moved, &s->lock, &until);
    *ret_behind = s->seq < last ? last - s->seq : 0;
    (void)pthread_mutex_unlock(&s->lock);
    for (int t = 0; t < TOPICS; t++)
        *ret_behind += st.to[t] - st.done[t];
    return 0;
}

int search_ask(struct search *s, struct filter *f, int64_t *ret_behind, struct err *e)
{
    const int r = settle(s, ret_behind, e);

    return r == 0 && s->ops->find != NULL ? s->ops->find(s->index, f, e) : r;
}

int search_rebuild(struct search *s, struct err *e)
{
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;

    int r = db_begin_write(s->db, &tx, e);
    if (r == 0)
        r = db_run(tx, "UPDATE search_state SET generation = '' WHERE name = $1",
                   DB_ARGS(db_str(s->ops->name)), NULL, e);
    if (r == 0)
        r = db_commit(&tx, e);
    return r < 0 ? r : 0;
}

int search_stats(struct search *s, struct search_stats *ret_stats, struct err *e)
{
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;
    int64_t first, last;
    struct state st;
    bool is_there;

    int r = db_begin_read(s->db, &tx, e);
    if (r == 0)
        r = outbox_range(tx, &first, &last, e);
    if (r == 0)
        r = load(s, tx, &st, &is_there, e);
    if (r != 0)
        return r;
    (void)pthread_mutex_lock(&s->lock);
    *ret_stats = (struct search_stats){.index = s->ops->name,
                                       .behind = last > st.seq ? last - st.seq : 0,
                                       .taken = s->taken,
                                       .refused = s->refused,
                                       .failed = s->failed};
    memcpy(ret_stats->trouble, s->trouble, sizeof(s->trouble));
    (void)pthread_mutex_unlock(&s->lock);
    for (int t = 0; t < TOPICS; t++) {
        ret_stats->rebuild_at += st.done[t];
        ret_stats->rebuild_to += st.to[t];
    }
    return 0;
}
