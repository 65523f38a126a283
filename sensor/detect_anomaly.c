/*
 * The model's findings: a host with several flows that are rarer than anomaly.p_max.
 *
 * One rare flow is chance (that is what a p-value says); several of one host within ten minutes
 * are not. Flows that another detector already explained count as its evidence, not as news.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/time.h"
#include "sensor/detect.h"
#include "sensor/lru.h"

#define PANE_NS (300 * WIND_NS_PER_S)

struct host {
    uint64_t pane_ns;
    uint32_t pane[2]; /* unusual flows */
    uint32_t seen[2]; /* flows scored */
    uint32_t whole;   /* since the alert opened */
    const struct model *model;
    struct model_score worst;
    uint64_t missing; /* of the worst flow's row */
    float row[FEATURE_COUNT];
    float normal[FEATURE_COUNT], normal_sd[FEATURE_COUNT];
    uint32_t normal_n[FEATURE_COUNT];
};

struct state {
    struct lru *hosts;
    float p_max; /* as p-values are */
    uint32_t threshold;
};

static void *anomaly_free(void *state)
{
    struct state *s = state;

    if (s != NULL)
        s->hosts = lru_free(s->hosts);
    free(s);
    return NULL;
}

static int anomaly_make(void **ret_state, const struct detect_conf *conf, struct err *e)
{
    struct state *s = calloc(1, sizeof(*s));
    if (s == NULL)
        return err_set(e, -ENOMEM, "out of memory");
    s->p_max = (float)conf->anomaly_p;
    s->threshold = conf->anomaly_flows;
    const int r = lru_new(&s->hosts, conf->max, 16, sizeof(struct host), NULL, NULL, e);
    if (r < 0) {
        free(s);
        return r;
    }
    *ret_state = s;
    return 0;
}

static uint64_t anomaly_evicted(const void *state)
{
    return lru_evicted(((const struct state *)state)->hosts);
}

static void turn(struct host *h, uint64_t now_ns)
{
    const int turns = detect_turn(&h->pane_ns, now_ns, PANE_NS);

    if (turns > 0) {
        h->pane[1] = turns == 1 ? h->pane[0] : 0;
        h->seen[1] = turns == 1 ? h->seen[0] : 0;
        h->pane[0] = h->seen[0] = 0;
    }
}

static void keep_worst(struct host *h, const struct detect_view *v)
{
    h->model = v->model;
    h->worst = *v->score;
    h->missing = v->r->missing;
    memcpy(h->row, v->r->feature, sizeof(h->row));
    for (size_t f = 0; f < FEATURE_COUNT; f++)
        h->normal_n[f] = host_stats_normal(v->host, f, &h->normal[f], &h->normal_sd[f]);
}

static void anomaly_ended(void *state, struct detect_view *v)
{
    struct state *s = state;
    const struct flow_record *r = v->r;
    struct alert_cause cause = {.detector = DETECTOR_ANOMALY};
    bool is_new = false;

    if (v->score == NULL || r->header.kind != RECORD_FLOW_ENDED)
        return;
    struct host *h = lru_touch(s->hosts, r->key.src, &is_new);
    if (is_new)
        h->pane_ns = r->header.time_ns;
    turn(h, r->header.time_ns);
    h->seen[0]++;
    if (v->score->p_value > s->p_max || v->is_evidence)
        return;
    memcpy(cause.src, r->key.src, 16);
    const bool is_open = alerts_open(v->alerts, &cause) != NULL;
    if (!is_open)
        h->whole = 0;
    h->pane[0]++;
    if (h->model != v->model || h->pane[0] + h->pane[1] == 1 || v->score->raw > h->worst.raw)
        keep_worst(h, v);
    if (!is_open && h->pane[0] + h->pane[1] < s->threshold)
        return;
    h->whole = is_open ? h->whole + 1 : h->pane[0] + h->pane[1];
    detect_evidence(v, alerts_note(v->alerts, &cause, r));
}

static void reason_text(const struct host *h, const struct model_reason *m, struct alert_reason *r)
{
    const char *unit = feature_unit(m->feature);
    char value[DETECT_NUMBER], a[DETECT_NUMBER], b[DETECT_NUMBER];

    detect_number((double)m->value, unit, value);
    if (m->is_missing)
        (void)snprintf(r->text, sizeof(r->text), "%s: not there, as in %.0f %% of ordinary flows",
                       feature_meaning(m->feature), 100 * (double)m->missing_share);
    else if (h->normal_n[m->feature] > 0)
        (void)snprintf(r->text, sizeof(r->text),
                       "%s: %s; this host's normal is %s, give or take %s",
                       feature_meaning(m->feature), value,
                       detect_number((double)h->normal[m->feature], unit, a),
                       detect_number((double)h->normal_sd[m->feature], unit, b));
    else
        (void)snprintf(r->text, sizeof(r->text), "%s: %s; ordinary flows have %s to %s",
                       feature_meaning(m->feature), value, detect_number((double)m->low, unit, a),
                       detect_number((double)m->high, unit, b));
}

static bool anomaly_describe(void *state, const struct alert_cause *cause, struct alert_record *a)
{
    const struct state *s = state;
    const struct host *h = lru_peek(s->hosts, cause->src);
    struct model_reason why[5];
    char src[IP_TEXT];

    if (h == NULL || h->model == NULL || h->whole == 0)
        return false;
    const struct model_info *info = model_info(h->model);
    const struct model_row row = {.value = h->row, .missing = h->missing};
    const size_t n = model_explain(h->model, &row, why, WIND_ARRAY_SIZE(why));
    const uint32_t seen = h->seen[0] + h->seen[1];

    ip_format(cause->src, src);
    (void)snprintf(a->signature, sizeof(a->signature),
                   "%u of %u recent connections of %s are unusual: %s", h->whole,
                   seen > h->whole ? seen : h->whole, src,
                   n > 0 ? feature_meaning(why[0].feature) : "no single reason stands out");
    a->count = h->whole;
    a->severity = h->worst.p_value < 0.1F * s->p_max ? SEVERITY_MEDIUM : SEVERITY_LOW;
    a->score = h->worst.score;
    a->p_value = h->worst.p_value;
    (void)snprintf(a->model, sizeof(a->model), "%s %u", info->name, info->version);
    (void)snprintf(a->schema, sizeof(a->schema), "%s", info->schema_text);
    alert_entity(a, "related", cause->src);
    for (size_t i = 0; i < n; i++) {
        struct alert_reason *r =
            alert_reason(a, feature_name(why[i].feature), feature_unit(why[i].feature),
                         (double)why[i].value, (double)why[i].contribution);
        r->normal = h->normal[why[i].feature];
        r->normal_sd = h->normal_sd[why[i].feature];
        r->normal_n = h->normal_n[why[i].feature];
        reason_text(h, &why[i], r);
    }
    return true;
}

const struct detector_ops detect_anomaly = {
    .kind = {.name = "anomaly",
             .signature_id = 9000004,
             .category = "Unusual behaviour",
             .technique_id = "",
             .technique = "",
             .tactic = "",
             .describe = anomaly_describe},
    .make = anomaly_make,
    .free = anomaly_free,
    .ended = anomaly_ended,
    .evicted = anomaly_evicted,
};
