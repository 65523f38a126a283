#include "collector/search.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "collector/metrics.h"
#include "collector/outbox.h"
#include "collector/search_index.h"
#include "collector/search_rest.h"
#include "collector/search_state.h"
#include "common/crypto.h"
#include "common/log.h"
#include "common/time.h"

#define LOOK_MS     1000 /* another collector's commits wake nobody here */
#define FAR         (INT64_C(5) * SEARCH_BATCH)
#define FULL_EACH   16 /* spans */
#define BACKOFF_MS  200
#define BACKOFF_MAX 30000

struct search {
    struct db *db;
    const struct search_ops *ops;
    void *index;
    bool is_ready; /* of the follower, as is what comes next */
    bool ids_turn;
    bool has_more; /* beyond the batch that was taken */
    unsigned spans;
    int64_t batch, batch_max; /* 0: not known yet */
    uint64_t began_ns, prune_ns;
    pthread_t thread;
    bool is_started;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t woken, moved;
    bool is_stopping, is_awake;
    int64_t seq;      /* -1: not known yet */
    int64_t left;     /* ids of a rebuild */
    unsigned waiting; /* questions that wait, or are about to */
    uint64_t taken, refused, failed;
    char trouble[240];
};

/* ---------------------------------------------------------------- getting ready */

static void new_generation(const struct search *s, char ret[SEARCH_GENERATION])
{
    uint8_t random[8];

    crypto_random(random, sizeof(random));
    const int n = snprintf(ret, SEARCH_GENERATION, "%.8s.", s->ops->version);
    for (size_t i = 0; i < sizeof(random); i++)
        (void)snprintf(ret + n + 2 * i, 3, "%02x", random[i]);
}

/*
 * The generation of our index in this database; a new one when it was filled with something else.
 * An index that nobody fills any more is forgotten, so that the outbox needn't keep for it.
 */
static int know_generation(struct search *s, char ret[SEARCH_GENERATION], struct err *e)
{
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;
    const size_t len = strlen(s->ops->version);
    struct search_state st = {.seq = 0};
    bool is_there = false;

    int r = db_begin_write(s->db, &tx, e);
    if (r == 0)
        r = search_state_load(tx, s->ops->name, &st, &is_there, e);
    if (r == 0)
        r = db_run(tx, "DELETE FROM search_state WHERE name <> $1", DB_ARGS(db_str(s->ops->name)),
                   NULL, e);
    if (r == 0 && (!is_there || strncmp(st.generation, s->ops->version, len) != 0 ||
                   st.generation[len] != '.')) {
        new_generation(s, st.generation);
        r = search_state_anew(tx, s->ops->name, st.generation, e);
    }
    if (r == 0)
        r = db_commit(&tx, e);
    if (r == 0)
        memcpy(ret, st.generation, SEARCH_GENERATION);
    return r;
}

static int make_ready(struct search *s, struct err *e)
{
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;
    char generation[SEARCH_GENERATION];
    bool is_empty = false;

    int r = know_generation(s, generation, e);
    if (r == 0)
        r = s->ops->open(s->index, generation, &is_empty, e);
    if (r == 0 && is_empty) {
        r = db_begin_write(s->db, &tx, e);
        if (r == 0)
            r = search_state_anew(tx, s->ops->name, generation, e);
        if (r == 0)
            r = db_commit(&tx, e);
    }
    s->is_ready = r == 0;
    return r;
}

/* ---------------------------------------------------------------- what to take next */

enum plan { PLAN_NOTHING, PLAN_ANEW, PLAN_SPAN };

/* The next ids of a rebuild. */
static int plan_ids(const struct search *s, struct db_tx *tx, const struct search_state *st,
                    enum topic t, struct search_span *ret_span, struct err *e)
{
    const char *sql = t == TOPIC_ALERTS
                          ? "SELECT max(id) FROM (SELECT id FROM alerts WHERE id > $1 AND "
                            "id <= $2 ORDER BY id LIMIT $3) x"
                          : "SELECT max(id) FROM (SELECT id FROM incidents WHERE id > $1 AND "
                            "id <= $2 ORDER BY id LIMIT $3) x";

    *ret_span = (struct search_span){.topic = t, .is_ids = true, .from = st->done[t]};
    const int r =
        db_query_i64(tx, sql, DB_ARGS(db_int(st->done[t]), db_int(st->to[t]), db_int(s->batch)),
                     &ret_span->to, e);
    if (r >= 0 && ret_span->to == 0) /* the rest of them was deleted */
        ret_span->to = st->to[t];
    return r < 0 ? r : PLAN_SPAN;
}

/*
 * Has the outbox lost changes that we don't know? Numbers have gaps, but ours is of a row that was
 * there, and trimming keeps that one.
 */
static bool has_forgotten(const struct search_state *st, int64_t first, int64_t last)
{
    return st->seq > last || (st->seq > 0 ? first > st->seq : last > OUTBOX_HELD);
}

/*
 * Nobody may wait for a change that is left out: who asks from now on waits for the later one, too,
 * which this snapshot has. And what changes all the time has its turn now and then.
 */
static bool is_far(struct search *s, int64_t behind)
{
    (void)pthread_mutex_lock(&s->lock);
    const bool is_free = s->waiting == 0;
    (void)pthread_mutex_unlock(&s->lock);
    return is_free && behind > FAR && ++s->spans % FULL_EACH != 0;
}

static int plan(struct search *s, struct db_tx *tx, struct search_state *st,
                struct search_span *ret_span, struct err *e)
{
    int64_t first = 1, last = 0;
    bool is_there;

    int r = search_state_load(tx, s->ops->name, st, &is_there, e);
    if (r == 0)
        r = outbox_range(tx, &first, &last, e);
    if (r < 0)
        return r;
    s->has_more = true;
    if (!is_there || has_forgotten(st, first, last))
        return PLAN_ANEW;
    const enum topic t =
        st->done[TOPIC_ALERTS] < st->to[TOPIC_ALERTS] ? TOPIC_ALERTS : TOPIC_INCIDENTS;
    const bool has_ids = st->done[t] < st->to[t];
    if (has_ids && (s->ids_turn || st->seq == last))
        return plan_ids(s, tx, st, t, ret_span, e);
    if (st->seq == last)
        return PLAN_NOTHING;
    *ret_span = (struct search_span){.from = st->seq, .is_far = is_far(s, last - st->seq)};
    r = db_query_i64(tx,
                     "SELECT max(seq) FROM (SELECT seq FROM outbox WHERE seq > $1 "
                     "ORDER BY seq LIMIT $2) x",
                     DB_ARGS(db_int(st->seq), db_int(s->batch)), &ret_span->to, e);
    s->has_more = has_ids || ret_span->to < last;
    return r < 0 ? r : PLAN_SPAN;
}

/* ---------------------------------------------------------------- one batch */

static void moved(struct search *s, const struct search_state *st, uint64_t taken, uint64_t refused)
{
    (void)pthread_mutex_lock(&s->lock);
    s->seq = st->seq;
    s->left = 0;
    for (int t = 0; t < TOPICS; t++)
        s->left += st->to[t] - st->done[t];
    s->taken += taken;
    s->refused += refused;
    s->trouble[0] = '\0';
    (void)pthread_cond_broadcast(&s->moved);
    (void)pthread_mutex_unlock(&s->lock);
}

/*
 * Does what was planned in `tx`, and ends it. What was read is written later, when somebody may
 * have changed it again: that change comes behind this span.
 */
static int take(struct search *s, struct db_tx **tx, struct search_state *st,
                const struct search_span *span, struct err *e)
{
    const struct search_state old = *st;
    uint64_t taken = 0, refused = 0;
    bool is_ours = false;

    int r = s->ops->take(s->index, *tx, span, &taken, e);
    *tx = db_tx_free(*tx);
    if (r == 0 && s->ops->send != NULL)
        r = s->ops->send(s->index, &refused, e);
    if (r == 0)
        r = db_begin_beside(s->db, tx, e);
    if (span->is_ids)
        st->done[span->topic] = span->to;
    else
        st->seq = span->to;
    if (r == 0)
        r = search_state_save(*tx, s->ops->name, &old, st, &is_ours, e);
    if (r == 0 && is_ours && s->ops->write != NULL)
        r = s->ops->write(s->index, *tx, span, e);
    if (r == 0)
        r = db_commit(tx, e);
    if (r == 0 && is_ours)
        moved(s, st, taken - refused, refused);
    s->has_more |= !is_ours; /* another collector was first: look how far it is */
    return r;
}

/* A batch that does not fit is halved, down to a single row; then they grow again. */
static int resize(struct search *s, int outcome)
{
    if (outcome == -EFBIG && s->batch > 1) {
        s->batch /= 2;
        s->has_more = true;
        return 0;
    }
    if (outcome == 0 && s->batch < s->batch_max)
        s->batch = s->batch > s->batch_max / 2 ? s->batch_max : 2 * s->batch;
    return outcome;
}

int search_step(struct search *s, struct err *e)
{
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;
    struct search_span span = {.to = 0};
    struct search_state st = {.seq = 0};

    int r = s->is_ready ? 0 : make_ready(s, e);
    if (r == 0)
        r = db_begin_read(s->db, &tx, e);
    if (r != 0)
        return r;
    s->batch_max = s->ops->batch[db_engine(tx)];
    if (s->batch == 0)
        s->batch = s->batch_max;
    const int what = plan(s, tx, &st, &span, e);
    if (what == PLAN_NOTHING)
        moved(s, &st, 0, 0);
    if (what <= PLAN_NOTHING)
        return what;
    if (what == PLAN_SPAN) {
        s->ids_turn = !s->ids_turn;
        r = resize(s, take(s, &tx, &st, &span, e));
    } else {
        tx = db_tx_free(tx);
        r = db_begin_write(s->db, &tx, e);
        if (r == 0)
            r = search_state_anew(tx, s->ops->name, st.generation, e);
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

/*
 * Commits that come soon after each other are taken together, unless somebody waits for them: the
 * incident that they all change is indexed once.
 */
static bool gather(struct search *s)
{
    const uint64_t end = s->began_ns + (uint64_t)SEARCH_PACE_MS * WIND_NS_PER_MS;
    const struct timespec until = {.tv_sec = (time_t)(end / WIND_NS_PER_S),
                                   .tv_nsec = (long)(end % WIND_NS_PER_S)};
    int r = 0;

    (void)pthread_mutex_lock(&s->lock);
    while (r == 0 && !s->is_stopping && s->waiting == 0)
        r = pthread_cond_timedwait(&s->woken, &s->lock, &until);
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

/* 0: not yet, or there was nothing to do. */
static int prune_when_due(struct search *s, struct err *e)
{
    const uint64_t now = time_mono_ns();

    if (now < s->prune_ns)
        return 0;
    const int r = search_prune(s, e);
    if (r == 0)
        s->prune_ns = now + SEARCH_PRUNE_S * WIND_NS_PER_S;
    return r;
}

static void *follow(void *arg)
{
    struct search *s = arg;
    int backoff = 0;
    bool goes_on = true;

    while (goes_on) {
        struct err e = {0};
        s->began_ns = time_mono_ns();
        int r = search_step(s, &e);
        if (r == 0 || (r == 1 && !s->has_more)) {
            const int pruned = prune_when_due(s, &e);
            s->has_more |= pruned == 1;
            r = pruned != 0 ? pruned : r;
        }
        if (r < 0) {
            s->is_ready = false; /* it may come back as another one */
            backoff = backoff == 0                ? BACKOFF_MS
                      : backoff > BACKOFF_MAX / 2 ? BACKOFF_MAX
                                                  : 2 * backoff;
            failed(s, e.text);
        } else {
            backoff = 0;
        }
        const bool is_rest = r == 1 && s->has_more;
        goes_on = is_rest ? nap(s, 0, false) : nap(s, r < 0 ? backoff : LOOK_MS, r < 0);
        if (goes_on && r >= 0 && !is_rest)
            goes_on = gather(s);
    }
    return NULL;
}

static int make_index(struct search *s, const struct search_conf *conf, struct err *e)
{
    const struct search_rest_conf rest = {.http = {.urls = conf->url,
                                                   .user = conf->user,
                                                   .password_file = conf->password_file,
                                                   .ca_file = conf->ca_file,
                                                   .is_gzip = conf->is_gzip},
                                          .prefix = conf->prefix,
                                          .retention_ns = conf->retention_ns};

    s->ops = &search_text_ops;
    if (conf->url == NULL || conf->url[0] == '\0')
        return search_text_new(&s->index, e);
    s->ops = &search_rest_ops;
    return search_rest_new(&s->index, &rest, e);
}

int search_new(struct search **ret_search, const struct search_conf *conf, struct err *e)
{
    pthread_condattr_t mono;
    struct search *s = calloc(1, sizeof(*s));

    if (s == NULL)
        return err_set(e, -ENOMEM, "search: out of memory");
    s->db = conf->db;
    s->seq = -1;
    const int r = make_index(s, conf, e);
    if (r != 0) {
        free(s);
        return r;
    }
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
    if (s->index != NULL)
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

/* With the lock held: what a question after `last` changes would not find. */
static int64_t missing(const struct search *s, int64_t last)
{
    return (s->seq < last ? last - s->seq : 0) + s->left;
}

static int last_change(struct search *s, int64_t *ret_last, struct err *e)
{
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;
    const int r = db_begin_read(s->db, &tx, e);

    return r == 0 ? outbox_last(tx, ret_last, e) : r;
}

/* With the lock held: waits for the changes up to `last`, unless they are too many. */
static void await(struct search *s, int64_t last)
{
    const uint64_t end = time_mono_ns() + (uint64_t)SEARCH_SETTLE_MS * WIND_NS_PER_MS;
    const struct timespec until = {.tv_sec = (time_t)(end / WIND_NS_PER_S),
                                   .tv_nsec = (long)(end % WIND_NS_PER_S)};
    const uint64_t failures = s->failed;
    int r = 0;

    if (missing(s, last) > 0) {
        s->is_awake = true;
        (void)pthread_cond_signal(&s->woken);
    }
    while (r == 0 && s->is_started && !s->is_stopping && missing(s, last) > 0 &&
           (s->seq < 0 || missing(s, last) <= SEARCH_NEAR) && s->failed == failures &&
           s->trouble[0] == '\0')
        r = pthread_cond_timedwait(&s->moved, &s->lock, &until);
}

/* *ret_behind: how many changes up to now the answer will not know. */
static int settle(struct search *s, int64_t *ret_behind, struct err *e)
{
    int64_t last = 0;

    (void)pthread_mutex_lock(&s->lock);
    s->waiting++;
    (void)pthread_mutex_unlock(&s->lock);
    const int r = last_change(s, &last, e);
    (void)pthread_mutex_lock(&s->lock);
    if (r == 0)
        await(s, last);
    *ret_behind = missing(s, last);
    s->waiting--;
    (void)pthread_mutex_unlock(&s->lock);
    return r;
}

int search_ask(struct search *s, struct filter *f, int64_t *ret_behind, struct err *e)
{
    const int r = settle(s, ret_behind, e);

    return r == 0 && s->ops->find != NULL ? s->ops->find(s->index, f, e) : r;
}

int search_rebuild(struct search *s, struct err *e)
{
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;

    int r = db_begin_beside(s->db, &tx, e);
    if (r == 0)
        r = db_run(tx,
                   "UPDATE search_state SET alerts_done = 0, incidents_done = 0, alerts_to = "
                   "(SELECT coalesce(max(id), 0) FROM alerts), incidents_to = "
                   "(SELECT coalesce(max(id), 0) FROM incidents) WHERE name = $1",
                   DB_ARGS(db_str(s->ops->name)), NULL, e);
    if (r == 0)
        r = db_commit(&tx, e);
    return r < 0 ? r : 0;
}

int search_prune(struct search *s, struct err *e)
{
    return s->ops->prune(s->index, s->db, e);
}

int search_stats(struct search *s, struct search_stats *ret_stats, struct err *e)
{
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;
    int64_t first, last;
    struct search_state st;
    bool is_there;

    int r = db_begin_read(s->db, &tx, e);
    if (r == 0)
        r = outbox_range(tx, &first, &last, e);
    if (r == 0)
        r = search_state_load(tx, s->ops->name, &st, &is_there, e);
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

void search_print(struct search *s, struct buf *out)
{
    struct search_stats stats;

    if (search_stats(s, &stats, NULL) != 0)
        return;
    metrics_print_one(out, "wind_search_behind", "gauge", "Changes the text index does not know.",
                      (uint64_t)stats.behind);
    metrics_print_one(out, "wind_search_rebuild_left", "gauge",
                      "Ids that a rebuild of the text index has before it.",
                      (uint64_t)(stats.rebuild_to - stats.rebuild_at));
    metrics_print_one(out, "wind_search_taken_total", "counter",
                      "Alerts and incidents that the text index took.", stats.taken);
    metrics_print_one(out, "wind_search_refused_total", "counter",
                      "Documents that the search server refused for good.", stats.refused);
    metrics_print_one(out, "wind_search_failed_total", "counter",
                      "Batches for the text index that failed, and are made again.", stats.failed);
}
