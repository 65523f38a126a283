#include "sensor/analysis.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/buf.h"
#include "common/community_id.h"
#include "features/rows.h"
#include "sensor/lru.h"
#include "sensor/merge.h"

#define ROWS_FLUSH  ((size_t)64 * 1024)
#define COUNT_EVERY 1024
#define BEST_SLOTS  65536 /* flows whose earlier score is remembered; a newer one takes the slot */

/* The highest score of a flow that was scored before it ended. */
struct best {
    uint64_t flow_id;
    float score, p_value;
};

struct analysis {
    struct analysis_conf conf;
    struct merge *merge;
    uint64_t after; /* what an alert that is told now has to come after */
    struct model *model;
    struct detectors *detectors;
    struct alerts *alerts;
    struct lru *hosts;
    struct names *names;
    struct best *best;
    struct counters *counters;
    struct buf rows;
};

/* ---------------------------------------------------------------- life */

static int make_parts(struct analysis *a, const struct analysis_conf *conf, struct err *e)
{
    struct alerts_conf alerts = conf->alerts;
    int r = merge_new(&a->merge, conf->flows, a->counters, alerts.live, e);

    if (r == 0)
        r = detectors_new(&a->detectors, &conf->detect, e);
    if (r < 0)
        return r;
    a->after = merge_count(a->merge);
    alerts.after = &a->after;
    r = alerts_new(&a->alerts, &alerts, detectors_kinds(a->detectors), DETECTORS, e);
    if (r < 0)
        return r;
    r = lru_new(&a->hosts, conf->hosts_max, 16, sizeof(struct host_stats), e);
    if (r < 0)
        return err_wrap(e, r, "hosts.max");
    r = names_new(&a->names, &conf->names, a->counters, e);
    if (r < 0)
        return r;
    a->best = calloc(BEST_SLOTS, sizeof(*a->best));
    return a->best == NULL ? err_set(e, -ENOMEM, "out of memory") : 0;
}

int analysis_new(struct analysis **ret_analysis, const struct analysis_conf *conf,
                 struct model *model, struct err *e)
{
    WIND_AUTO(analysis) struct analysis *a = calloc(1, sizeof(*a));
    if (a == NULL)
        return err_set(e, -ENOMEM, "out of memory");
    a->conf = *conf;
    a->counters = conf->alerts.counters;
    buf_init(&a->rows, 4 * (size_t)ROWS_FLUSH);
    const int r = make_parts(a, conf, e);
    if (r < 0)
        return r;
    a->model = model;
    if (conf->features_fd >= 0 && lseek(conf->features_fd, 0, SEEK_CUR) <= 0)
        rows_put_header(&a->rows);
    *ret_analysis = WIND_STEAL(a);
    return 0;
}

struct analysis *analysis_free(struct analysis *a)
{
    if (a != NULL) {
        a->alerts = alerts_free(a->alerts);
        a->detectors = detectors_free(a->detectors);
        a->hosts = lru_free(a->hosts);
        a->names = names_free(a->names);
        a->model = model_free(a->model);
        a->merge = merge_free(a->merge);
        free(a->best);
        buf_done(&a->rows);
        free(a);
    }
    return NULL;
}

/* ---------------------------------------------------------------- rows */

static void write_rows(struct analysis *a)
{
    size_t done = 0;

    while (done < a->rows.len) {
        const ssize_t n = write(a->conf.features_fd, a->rows.data + done, a->rows.len - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            counters_add(a->counters, COUNTER_analysis_rows_lost, 1);
            break;
        }
        done += (size_t)n;
    }
    buf_reset(&a->rows);
}

static void put_row(struct analysis *a, const struct flow_record *r)
{
    char id[COMMUNITY_ID_TEXT];

    community_id(&r->key, 0, id);
    rows_put(&a->rows, r, id);
    if (a->rows.len >= ROWS_FLUSH)
        write_rows(a);
}

/* ---------------------------------------------------------------- records */

static struct host_stats *find_host(struct analysis *a, const struct flow_record *r)
{
    bool is_new = false;
    struct host_stats *h = lru_touch(a->hosts, r->key.src, &is_new);

    if (is_new) {
        host_stats_init(h, r->header.time_ns);
        counters_add(a->counters, COUNTER_host_made, 1);
        counters_set(a->counters, COUNTER_host_live, lru_live(a->hosts));
        counters_set(a->counters, COUNTER_host_evicted, lru_evicted(a->hosts));
    }
    return h;
}

static void score(struct analysis *a, const struct flow_record *r, struct model_score *ret_score)
{
    const struct model_row row = {.value = r->feature, .missing = r->missing};

    model_score(a->model, &row, 1, ret_score);
    counters_add(a->counters, COUNTER_analysis_scored, 1);
    if (ret_score->p_value <= (float)a->conf.detect.anomaly_p)
        counters_add(a->counters, COUNTER_analysis_unusual, 1);
}

/* The flow's one number: the highest of its scorings, and of the alerts it is evidence of. */
static void combine(struct analysis *a, struct flow_record *r, const struct detect_view *v)
{
    struct best *b = &a->best[(r->flow_id ^ r->flow_id >> FLOW_ID_SHIFT << 12) % BEST_SLOTS];

    if (v->score != NULL) {
        r->score = v->score->score;
        r->p_value = v->score->p_value;
    }
    r->score = v->evidence_score > r->score ? v->evidence_score : r->score;
    if (b->flow_id == r->flow_id && r->flow_id != 0) {
        r->score = b->score > r->score ? b->score : r->score;
        r->p_value = b->p_value < r->p_value ? b->p_value : r->p_value;
    }
    if (r->header.kind == RECORD_FLOW_UPDATE)
        *b = (struct best){.flow_id = r->flow_id, .score = r->score, .p_value = r->p_value};
}

static void see_flow(struct analysis *a, struct flow_record *r)
{
    const bool is_opened = r->header.kind == RECORD_FLOW_OPENED;
    const bool is_ended = r->header.kind == RECORD_FLOW_ENDED;

    r->names = 0;
    if (is_ended)
        names_prefetch(a->names, r);
    struct host_stats *host = find_host(a, r);
    struct model_score scored;
    struct detect_view v = {.r = r, .host = host, .model = a->model, .alerts = a->alerts};

    if (is_opened) {
        host_stats_opened(host, r->header.time_ns, r->start_ns, &r->key, r->opening);
    } else {
        if (is_ended) /* nothing is told of a flow before, but scans, which have no name */
            names_fill(a->names, r);
        feature_host(host, r->header.time_ns, &r->key, r->feature, &r->missing);
        if (a->model != NULL && a->conf.level == ANALYSIS_FULL &&
            r->analysis_level == ANALYSIS_FULL) {
            score(a, r, &scored);
            v.score = &scored;
        }
    }
    detectors_see(a->detectors, &v);
    if (!is_opened)
        combine(a, r, &v);
    if (!is_ended)
        return;
    r->alerted = v.is_evidence;
    if (!v.is_evidence)
        host_stats_ended(host, r->header.time_ns, r->feature, r->missing);
    if (a->conf.features_fd >= 0)
        put_row(a, r);
}

/*
 * An alert waits in the uplink for the flows before it, so nothing that is through may be held back
 * while alerts are told: each record is released by itself. What its time makes due comes before
 * it, what it is evidence of behind it.
 */
/* Also while records come without end: what is not counted yet dies with us. */
static void count_flows(struct analysis *a, size_t *flows)
{
    counters_add(a->counters, COUNTER_analysis_flows, *flows);
    counters_set(a->counters, COUNTER_analysis_evidence_evicted, detectors_evicted(a->detectors));
    *flows = 0;
}

size_t analysis_step(struct analysis *a)
{
    struct record_header *r;
    size_t n = 0, flows = 0;

    for (; (r = merge_peek(a->merge)) != NULL; n++) {
        alerts_tick(a->alerts, r->time_ns);
        a->after++;
        if (r->kind == RECORD_ANOMALY) {
            alerts_packet_anomaly(a->alerts, (const struct anomaly_record *)r);
        } else if (r->kind == RECORD_NAMED) {
            names_learn(a->names, (const struct named_record *)r);
        } else {
            see_flow(a, (struct flow_record *)r);
            if (++flows == COUNT_EVERY)
                count_flows(a, &flows);
        }
        merge_release(a->merge);
    }
    count_flows(a, &flows);
    return n;
}

void analysis_wait(const struct analysis *a, int wait_ms)
{
    merge_wait(a->merge, wait_ms);
}

void analysis_wake(const struct analysis *a)
{
    rings_wake(a->conf.flows, 0);
}

uint64_t analysis_clock(const struct analysis *a)
{
    return merge_clock(a->merge);
}

void analysis_tick(struct analysis *a, uint64_t clock_ns)
{
    alerts_tick(a->alerts, clock_ns);
}

void analysis_close(struct analysis *a)
{
    alerts_close(a->alerts);
    write_rows(a);
}

void analysis_anomaly(struct analysis *a, const char *type, const char *event, const char *text)
{
    alerts_anomaly(a->alerts, type, event, text);
}
