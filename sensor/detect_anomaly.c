/*
 * The model's findings: a host with more unusual flows than chance would give it.
 *
 * A flow below anomaly.p_max is one of so many by definition, and a busy host has some of them. So
 * what counts is how far they are above what its number of flows lets expect, given how often such
 * flows come from all other hosts here: a network that the model was not fitted on has more of
 * them, and they are its normal. One odd service used again and again is one oddity, so several are
 * needed. Flows that another detector explained are its evidence, not news; groups, error reports
 * and connections that were joined midway are not judged.
 */
#include <errno.h>
#include <math.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/hash.h"
#include "common/time.h"
#include "features/fmath.h"
#include "features/sketch.h"
#include "sensor/decode.h"
#include "sensor/detect.h"
#include "sensor/lru.h"

#define PANE_NS      (300 * WIND_NS_PER_S)
#define SERVICES_MIN 3      /* different ones, among the unusual flows */
#define SURPRISE_MIN 13.8   /* ln(1e6): by chance once in a million hosts and windows */
#define PRIOR_FLOWS  1000.0 /* so many flows' worth of trust in p_max, before others are seen */
#define NORMAL_SDS   2.0F   /* farther from its mean than so many deviations is told */
#define NORMAL_MIN   8      /* flows before a host has a normal worth telling */
#define RARE_MISSING 0.05F  /* "not there" is a reason only if that is rare */
#define REASONS      5

struct pane {
    uint32_t unusual, seen; /* flows: below p_max; scored */
    struct sketch services; /* of the unusual ones */
};

struct host {
    uint64_t pane_ns;
    struct pane pane[2];
    uint64_t unusual, seen; /* ever */
    uint32_t whole;         /* unusual ones since the alert opened ... */
    uint64_t before;        /* ... and flows seen until then */
    const struct model *model;
    struct flow_key key; /* of the worst flow */
    struct model_score worst;
    uint64_t missing;
    float row[FEATURE_COUNT];
    float normal[FEATURE_COUNT], normal_sd[FEATURE_COUNT];
    uint32_t normal_n[FEATURE_COUNT];
};

struct state {
    struct lru *hosts;
    float p_max; /* as p-values are */
    uint32_t threshold;
    uint64_t unusual, seen; /* flows, over all hosts */
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
    const int r = lru_new(&s->hosts, conf->max, 16, sizeof(struct host), e);
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
        h->pane[1] = turns == 1 ? h->pane[0] : (struct pane){0};
        h->pane[0] = (struct pane){0};
    }
}

/* Can the model's opinion of it mean anything? */
static bool is_judged(const struct flow_record *r)
{
    if (!detect_is_unicast(r->key.dst))
        return false;
    if (r->key.proto == IPPROTO_ICMP)
        return r->key.sport == 8;
    if (r->key.proto == IPPROTO_ICMPV6)
        return r->key.sport == 128;
    return r->key.proto != IPPROTO_TCP || (r->tcp_flags[0] & TCP_SYN);
}

/* Whatever a scanner does besides looks odd beside its scan: that is told already. */
static bool is_scanner(const struct detect_view *v)
{
    struct alert_cause scan = {.detector = DETECTOR_PORT_SCAN};

    memcpy(scan.src, v->r->key.src, 16);
    return alerts_open(v->alerts, &scan) != NULL;
}

/* How many unusual flows of that host chance would make, in its last two panes. */
static double expected(const struct state *s, const struct host *h)
{
    const double others = ((double)(s->unusual - h->unusual) + PRIOR_FLOWS * s->p_max) /
                          ((double)(s->seen - h->seen) + PRIOR_FLOWS);
    const double share = others > s->p_max ? others : s->p_max;

    return share * ((double)h->pane[0].seen + h->pane[1].seen);
}

/* Chernoff's bound on the tail of a Poisson variable: P(X >= k) <= e^(k - mean) (mean / k)^k. */
static double surprise(double k, double mean)
{
    return k > mean ? k * fmath_log(k / mean) - k + mean : 0;
}

static bool is_news(const struct state *s, const struct host *h)
{
    const double k = (double)h->pane[0].unusual + h->pane[1].unusual;

    return k >= s->threshold && surprise(k, expected(s, h)) >= SURPRISE_MIN &&
           sketch_count(&h->pane[0].services, &h->pane[1].services) >= SERVICES_MIN;
}

static void keep_worst(struct host *h, const struct detect_view *v)
{
    h->model = v->model;
    h->key = v->r->key;
    h->worst = *v->score;
    h->missing = v->r->missing;
    memcpy(h->row, v->r->feature, sizeof(h->row));
    for (size_t f = 0; f < FEATURE_COUNT; f++)
        h->normal_n[f] = host_stats_normal(v->host, f, &h->normal[f], &h->normal_sd[f]);
}

static void count_unusual(struct state *s, struct host *h, const struct detect_view *v)
{
    const struct flow_key *k = &v->r->key;

    s->unusual++;
    h->unusual++;
    h->pane[0].unusual++;
    sketch_add(&h->pane[0].services, hash64(k->dst, 16, (uint64_t)k->proto << 16 | k->dport));
    if (h->model != v->model || h->pane[0].unusual + h->pane[1].unusual == 1 ||
        v->score->raw > h->worst.raw)
        keep_worst(h, v);
}

static void anomaly_ended(void *state, struct detect_view *v)
{
    struct state *s = state;
    const struct flow_record *r = v->r;
    struct alert_cause cause = {.detector = DETECTOR_ANOMALY};
    bool is_new = false;

    memcpy(cause.src, r->key.src, 16);
    if (v->score == NULL || r->header.kind != RECORD_FLOW_ENDED || v->is_evidence ||
        !is_judged(r) || is_scanner(v))
        return;
    struct host *h = lru_touch(s->hosts, r->key.src, &is_new);
    if (is_new)
        h->pane_ns = r->header.time_ns;
    turn(h, r->header.time_ns);
    h->pane[0].seen++;
    h->seen++;
    s->seen++;
    if ((double)v->score->p_value > s->p_max)
        return;
    const bool is_open = alerts_open(v->alerts, &cause) != NULL;
    count_unusual(s, h, v);
    if (!is_open && !is_news(s, h))
        return;
    if (!is_open) {
        h->whole = h->pane[0].unusual + h->pane[1].unusual - 1;
        h->before = h->seen - h->pane[0].seen - h->pane[1].seen;
    }
    h->whole++;
    detect_evidence(v, alerts_note(v->alerts, &cause, r));
}

static bool is_share(size_t feature)
{
    const char *name = feature_name(feature), *end = strstr(name, "_share");

    return end != NULL && end[strlen("_share")] == '\0';
}

static const char *value_text(double value, size_t feature, char text[DETECT_NUMBER])
{
    if (!is_share(feature))
        return detect_number(value, feature_unit(feature), text);
    (void)snprintf(text, DETECT_NUMBER, "%.3g %%", 100 * value);
    return text;
}

static bool is_beyond_own(const struct host *h, const struct model_reason *m)
{
    const size_t f = m->feature;

    return h->normal_n[f] >= NORMAL_MIN &&
           fabsf(m->value - h->normal[f]) > NORMAL_SDS * h->normal_sd[f];
}

/* Would a person see why, from the value alone? What weighs in the model need not be far out. */
static bool is_telling(const struct host *h, const struct model_reason *m)
{
    if (m->is_missing)
        return m->missing_share <= RARE_MISSING;
    return is_beyond_own(h, m) || m->value < m->low || m->value > m->high;
}

static void reason_text(const struct host *h, const struct model_reason *m, struct alert_reason *r)
{
    const size_t f = m->feature;
    const char *meaning = feature_meaning(f);
    char value[DETECT_NUMBER], a[DETECT_NUMBER], b[DETECT_NUMBER];

    value_text((double)m->value, f, value);
    if (m->is_missing)
        (void)snprintf(r->text, sizeof(r->text), "%s: none, as in only %.1f %% of ordinary flows",
                       meaning, 100 * (double)m->missing_share);
    else if (is_beyond_own(h, m))
        (void)snprintf(r->text, sizeof(r->text),
                       "%s: %s; this host's normal is %s, give or take %s", meaning, value,
                       value_text((double)h->normal[f], f, a),
                       value_text((double)h->normal_sd[f], f, b));
    else
        (void)snprintf(r->text, sizeof(r->text), "%s: %s; ordinary flows have %s to %s", meaning,
                       value, value_text((double)m->low, f, a), value_text((double)m->high, f, b));
}

static void reasons(const struct host *h, struct alert_record *a)
{
    struct model_reason why[FEATURE_COUNT];
    const struct model_row row = {.value = h->row, .missing = h->missing};
    const size_t n = model_explain(h->model, &row, why, WIND_ARRAY_SIZE(why));

    for (size_t i = 0; i < n && a->n_reasons < REASONS; i++) {
        const uint32_t f = why[i].feature;
        if (!is_telling(h, &why[i]) && (i + 1 < n || a->n_reasons > 0))
            continue;
        struct alert_reason *r = alert_reason(a, feature_name(f), feature_unit(f),
                                              (double)why[i].value, (double)why[i].contribution);
        r->normal = h->normal[f];
        r->normal_sd = h->normal_sd[f];
        r->normal_n = h->normal_n[f];
        reason_text(h, &why[i], r);
    }
}

static void anomaly_sentence(const struct host *h, const uint8_t *address, char *out, size_t size)
{
    const uint64_t seen = h->seen - h->before;
    char src[IP_TEXT], dst[IP_TEXT], all[DETECT_NUMBER], odd[DETECT_NUMBER];
    int n;

    ip_format(address, src);
    ip_format(h->key.dst, dst);
    n = snprintf(out, size, "%s of %s connections of %s are unusual, most of all the one to %s",
                 detect_number(h->whole, "count", odd), detect_number((double)seen, "count", all),
                 src, dst);
    if ((h->key.proto == IPPROTO_TCP || h->key.proto == IPPROTO_UDP) && n > 0 && (size_t)n < size)
        (void)snprintf(out + n, size - (size_t)n, " port %u", h->key.dport);
}

static bool anomaly_describe(void *state, const struct alert_cause *cause, struct alert_record *a)
{
    const struct state *s = state;
    const struct host *h = lru_peek(s->hosts, cause->src);

    if (h == NULL || h->model == NULL || h->whole == 0)
        return false;
    const struct model_info *info = model_info(h->model);

    anomaly_sentence(h, cause->src, a->signature, sizeof(a->signature));
    a->count = h->whole;
    a->severity = h->worst.p_value < 0.1F * s->p_max ? SEVERITY_MEDIUM : SEVERITY_LOW;
    a->score = h->worst.score;
    a->p_value = h->worst.p_value;
    (void)snprintf(a->model, sizeof(a->model), "%s %u", info->name, info->version);
    (void)snprintf(a->schema, sizeof(a->schema), "%s", info->schema_text);
    alert_entity(a, "related", cause->src);
    reasons(h, a);
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
