#include "collector/ingest.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "collector/ingest_read.h"
#include "collector/ingest_store.h"
#include "collector/metrics.h"
#include "collector/retention.h"
#include "collector/sensors.h"
#include "common/json_scan.h"

/* What became of alerts of one detector and severity, for the metrics. */
struct kind {
    char type[TYPE_MAX + 1];
    int severity;
    uint64_t n[ALERT_OUTCOMES];
};
#define KINDS 64 /* the last is "other" */

/* What one sensor sent in this batch. */
struct sender {
    const char *name;
    int64_t n[INGEST_STATES];
    int64_t sent_ns; /* the newest */
};
#define SENDERS 64

struct ingest {
    struct ingest_conf conf;
    struct ingest_reader *reader;
    struct json_scan *body;
    struct view view; /* of who holds the write transaction */
};

static const char *const body_paths[INGEST_PARTS] = {
    [INGEST_SENSOR] = "sensor",
    [INGEST_VERSION] = "version",
    [INGEST_LIST] = "alerts",
    [INGEST_STATS] = "stats",
};

/* One item, read. */
struct reading {
    struct ingest_alert a;
    const char *sensor;
};

/* One call of ingest_batch. */
struct work {
    struct ingest *in;
    const struct ingest_batch *batch;
    struct ingest_result res;
    struct arena *arena; /* of the texts of all alerts */
    struct reading *readings;
    struct ingest_put *puts;
    uint64_t singly, forgotten; /* what the view counted */
    size_t n_kinds, n_senders;
    struct kind kinds[KINDS];
    struct sender senders[SENDERS];
};

int ingest_new(struct ingest **ret_ingest, const struct ingest_conf *conf, struct err *e)
{
    WIND_AUTO(ingest) struct ingest *in = calloc(1, sizeof(*in));

    if (in == NULL)
        return err_set(e, -ENOMEM, "ingest: out of memory");
    in->conf = *conf;
    view_init(&in->view, &conf->correlate);
    int r = ingest_reader_new(&in->reader, e);
    if (r == 0)
        r = json_scan_new(&in->body, body_paths, INGEST_PARTS, e);
    if (r == 0)
        *ret_ingest = WIND_STEAL(in);
    return r;
}

struct ingest *ingest_free(struct ingest *in)
{
    if (in != NULL) {
        ingest_reader_free(in->reader);
        json_scan_free(in->body);
        view_clear(&in->view);
    }
    free(in);
    return NULL;
}

int ingest_split(const struct ingest *in, const char *text, size_t len,
                 struct json_span ret_parts[INGEST_PARTS])
{
    return json_scan(in->body, text, len, ret_parts, NULL);
}

void ingest_result_done(struct ingest_result *res)
{
    for (size_t i = 0; i < res->n_outcomes; i++)
        free(res->outcomes[i].reason);
    free(res->outcomes);
    *res = (struct ingest_result){.outcomes = NULL};
}

static void tally(struct work *w, const struct alert *a, enum alert_put_outcome outcome)
{
    size_t i = 0;

    WIND_CHECK(a->type != NULL);
    while (i < w->n_kinds &&
           (w->kinds[i].severity != a->severity || strcmp(w->kinds[i].type, a->type) != 0))
        i++;
    if (i == w->n_kinds && i < KINDS) {
        struct kind *k = &w->kinds[w->n_kinds++];
        *k = (struct kind){.severity = a->severity};
        (void)snprintf(k->type, sizeof(k->type), "%s", w->n_kinds == KINDS ? "other" : a->type);
    }
    w->kinds[i < KINDS ? i : KINDS - 1].n[outcome]++;
}

static int report(struct work *w, struct db_tx *tx, struct err *e)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < w->n_senders; i++) {
        const struct sender *s = &w->senders[i];
        const bool is_batch = s->name == w->batch->sensor;
        const struct sensor_report said = {
            .name = s->name,
            .version = is_batch ? w->batch->version : NULL,
            .alerts = s->n[INGEST_STORED],
            .updates = s->n[INGEST_UPDATED],
            .rejected = s->n[INGEST_REJECTED],
            .stats = is_batch ? w->batch->stats : NULL,
            .sent_ns = s->sent_ns,
        };
        r = sensor_seen(tx, &said, e);
    }
    w->n_senders = 0;
    return r;
}

/* The counters of a sensor; when too many sent in one batch, what was counted is written. */
static int sender_of(struct work *w, struct db_tx *tx, const char *name, struct sender **ret_sender,
                     struct err *e)
{
    for (size_t i = 0; i < w->n_senders; i++)
        if (strcmp(w->senders[i].name, name) == 0) {
            *ret_sender = &w->senders[i];
            return 0;
        }
    const int r = w->n_senders == SENDERS ? report(w, tx, e) : 0;
    if (r != 0)
        return r;
    *ret_sender = &w->senders[w->n_senders++];
    **ret_sender = (struct sender){.name = name};
    return 0;
}

static const enum alert_put_outcome outcomes[] = {[INGEST_STORED] = ALERT_ADDED,
                                                  [INGEST_UPDATED] = ALERT_UPDATED,
                                                  [INGEST_KNOWN] = ALERT_UNCHANGED};

static int take_outcome(struct work *w, struct db_tx *tx, size_t i, struct err *e)
{
    const struct ingest_item *item = &w->batch->items[i];
    struct ingest_outcome *out = &w->res.outcomes[i];
    struct sender *sender = NULL;

    if (out->state != INGEST_REJECTED) {
        out->state = w->puts[i].state;
        tally(w, w->puts[i].alert, outcomes[out->state]);
    }
    const int r = sender_of(w, tx, w->readings[i].sensor, &sender, e);
    if (r == 0) {
        sender->n[out->state]++;
        if (item->sent_ns > sender->sent_ns)
            sender->sent_ns = item->sent_ns;
        w->res.n[out->state]++;
    }
    return r;
}

static int store(struct work *w, struct db_tx *tx, struct err *e)
{
    const struct ingest_batch *b = w->batch;
    struct sender *own = NULL;

    w->n_kinds = w->n_senders = 0;
    memset(w->res.n, 0, sizeof(w->res.n));
    int r = b->sensor != NULL ? sender_of(w, tx, b->sensor, &own, e) : 0;
    if (r == 0)
        r = ingest_store(&w->in->view, tx, w->puts, b->n_items, e);
    for (size_t i = 0; r == 0 && i < b->n_items; i++)
        r = take_outcome(w, tx, i, e);
    if (r == 0)
        r = report(w, tx, e);
    if (r == 0 && b->also != NULL)
        r = b->also(tx, b->also_arg, e);
    return r;
}

/* 0, DB_CONFLICT. */
static int store_once(struct work *w, struct err *e)
{
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;
    const struct view *v = &w->in->view;

    int r = db_begin_write(w->in->conf.db, &tx, e);
    if (r != 0)
        return r;
    const uint64_t singly = v->singly, forgotten = v->forgotten;
    r = store(w, tx, e);
    w->singly = v->singly - singly;
    w->forgotten += v->forgotten - forgotten;
    return r == 0 ? db_commit(&tx, e) : r;
}

/* What others took away is found by a conflict at the latest; without a memory there is none. */
static int store_work(struct work *w, struct err *e)
{
    int r = store_once(w, e);

    if (r == DB_CONFLICT)
        r = store_once(w, e);
    return r <= 0 ? r : err_set(e, -EIO, "a key of the batch does not fit");
}

int ingest_alerts(struct ingest *in, struct db_tx *tx, const struct alert *const *alerts, size_t n,
                  struct err *e)
{
    struct ingest_put *puts = calloc(n, sizeof(*puts));

    if (puts == NULL)
        return err_set(e, -ENOMEM, "ingest: out of memory");
    for (size_t i = 0; i < n; i++)
        puts[i].alert = alerts[i];
    const int r = ingest_store(&in->view, tx, puts, n, e);
    free(puts);
    return r;
}

static void count_all(struct metrics *m, const struct work *w)
{
    metrics_add(m, METRICS_INGEST_BATCHES, 1);
    metrics_add(m, METRICS_INGEST_REJECTED, (uint64_t)w->res.n[INGEST_REJECTED]);
    metrics_add(m, METRICS_INGEST_SINGLY, w->singly);
    metrics_add(m, METRICS_INGEST_FORGOTTEN, w->forgotten);
    for (size_t i = 0; i < w->n_kinds; i++)
        for (int o = 0; o < ALERT_OUTCOMES; o++)
            metrics_alerts(m, w->kinds[i].type, w->kinds[i].severity, (enum alert_put_outcome)o,
                           w->kinds[i].n[o]);
}

/* ---------------------------------------------------------------- reading a batch */

static struct work *work_free(struct work *w)
{
    if (w != NULL) {
        arena_free(w->arena);
        free(w->readings);
        free(w->puts);
        ingest_result_done(&w->res);
    }
    free(w);
    return NULL;
}
WIND_DEFINE_FREE(work)

static int work_new(struct work **ret_work, struct ingest *in, const struct ingest_batch *b,
                    struct err *e)
{
    WIND_AUTO(work) struct work *w = calloc(1, sizeof(*w));
    size_t bytes = 1;

    if (w == NULL)
        return err_set(e, -ENOMEM, "ingest: out of memory");
    w->in = in;
    w->batch = b;
    for (size_t i = 0; i < b->n_items; i++)
        bytes += INGEST_READ_BYTES(b->items[i].len);
    w->readings = calloc(b->n_items + 1, sizeof(*w->readings));
    w->res.outcomes = calloc(b->n_items + 1, sizeof(*w->res.outcomes));
    w->puts = calloc(b->n_items + 1, sizeof(*w->puts));
    if (w->readings == NULL || w->res.outcomes == NULL || w->puts == NULL)
        return err_set(e, -ENOMEM, "ingest: out of memory");
    w->res.n_outcomes = b->n_items;
    const int r = arena_new(&w->arena, bytes, e);
    if (r == 0)
        *ret_work = WIND_STEAL(w);
    return r;
}

/* Outside the transaction: nobody has to wait for it. */
static int read_all(struct work *w, struct err *e)
{
    int r = 0;

    WIND_CHECK(w != NULL && w->readings != NULL && w->res.outcomes != NULL);
    for (size_t i = 0; r == 0 && i < w->batch->n_items; i++) {
        const struct ingest_item *item = &w->batch->items[i];
        struct ingest_outcome *out = &w->res.outcomes[i];
        struct reading *g = &w->readings[i];
        struct err why = {0};
        g->sensor = item->sensor != NULL ? item->sensor : w->batch->sensor;
        WIND_CHECK(g->sensor != NULL);
        r = ingest_read(w->in->reader, item, g->sensor, w->arena, &g->a, &why);
        memcpy(out->uid, g->a.uid, sizeof(out->uid));
        if (r == 0)
            w->puts[i].alert = &g->a.alert;
        if (r == -EINVAL) {
            out->state = INGEST_REJECTED;
            out->reason = strdup(why.text);
            r = out->reason == NULL ? -ENOMEM : 0;
        }
        if (r != 0)
            (void)err_set(e, r, "ingest: out of memory");
    }
    return r;
}

int ingest_batch(struct ingest *in, const struct ingest_batch *batch,
                 struct ingest_result *ret_result, struct err *e)
{
    WIND_AUTO(work) struct work *w = NULL;

    if (batch->n_items > 0 && in->conf.retention != NULL && retention_is_full(in->conf.retention))
        return err_set(e, -ENOSPC, "the database's disk is nearly full");
    int r = work_new(&w, in, batch, e);
    if (r == 0)
        r = read_all(w, e);
    if (r == 0)
        r = store_work(w, e);
    if (r != 0)
        return r;
    if (in->conf.metrics != NULL)
        count_all(in->conf.metrics, w);
    *ret_result = w->res;
    w->res = (struct ingest_result){.outcomes = NULL};
    return 0;
}
