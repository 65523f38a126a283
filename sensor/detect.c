#include "sensor/detect.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A new detector is one more line here, and its id in detect.h. */
static const struct detector_ops *const detector_table[DETECTORS] = {
    [DETECTOR_PORT_SCAN] = &detect_port_scan,
    [DETECTOR_BRUTE_FORCE] = &detect_brute_force,
    [DETECTOR_BEACON] = &detect_beacon,
    [DETECTOR_ANOMALY] = &detect_anomaly, /* last: it leaves alone what the others explained */
};

struct detectors {
    struct detect_conf conf;
    void *state[DETECTORS];
    struct alert_kind kind[DETECTORS];
};

int detectors_new(struct detectors **ret_detectors, const struct detect_conf *conf, struct err *e)
{
    WIND_AUTO(detectors) struct detectors *d = calloc(1, sizeof(*d));
    if (d == NULL)
        return err_set(e, -ENOMEM, "out of memory");
    d->conf = *conf;
    for (int i = 0; i < DETECTORS; i++) {
        const int r = detector_table[i]->make(&d->state[i], &d->conf, e);
        if (r < 0)
            return err_wrap(e, r, "detector '%s'", detector_table[i]->kind.name);
        d->kind[i] = detector_table[i]->kind;
        d->kind[i].state = d->state[i];
    }
    *ret_detectors = WIND_STEAL(d);
    return 0;
}

struct detectors *detectors_free(struct detectors *d)
{
    if (d != NULL) {
        for (int i = 0; i < DETECTORS; i++)
            d->state[i] = detector_table[i]->free(d->state[i]);
        free(d);
    }
    return NULL;
}

const struct alert_kind *detectors_kinds(const struct detectors *d)
{
    return d->kind;
}

uint64_t detectors_evicted(const struct detectors *d)
{
    uint64_t n = 0;

    for (int i = 0; i < DETECTORS; i++)
        n += detector_table[i]->evicted(d->state[i]);
    return n;
}

static bool is_home(const struct detect_conf *conf, const uint8_t address[16])
{
    for (size_t i = 0; i < conf->n_home; i++)
        if (cidr_contains(&conf->home[i], address))
            return true;
    return false;
}

void detectors_see(struct detectors *d, struct detect_view *v)
{
    v->conf = &d->conf;
    v->is_evidence = false;
    v->evidence_score = 0;
    v->is_home_src = is_home(&d->conf, v->r->key.src);
    v->is_home_dst = is_home(&d->conf, v->r->key.dst);
    for (int i = 0; i < DETECTORS; i++) {
        if (v->r->header.kind != RECORD_FLOW_OPENED)
            detector_table[i]->ended(d->state[i], v);
        else if (detector_table[i]->opened != NULL)
            detector_table[i]->opened(d->state[i], v);
    }
}

/* ---------------------------------------------------------------- for detectors */

void detect_evidence(struct detect_view *v, const struct alert_record *alert)
{
    if (alert != NULL) {
        v->is_evidence = true;
        v->evidence_score = alert->score > v->evidence_score ? alert->score : v->evidence_score;
    }
}

bool detect_is_unicast(const uint8_t a[16])
{
    static const uint8_t none[16];

    if (ip_is_v4(a))
        return a[12] != 0 && a[12] < 224; /* 224/4 groups, 240/4 and broadcast */
    return a[0] != 0xff && memcmp(a, none, 16) != 0;
}

bool detect_says_something(const struct flow_record *r)
{
    return !feature_is_missing(r->missing, FEATURE_payload_mean_fwd);
}

/* 12345.6 -> "12,346" */
static void thousands(double value, char *out, size_t size)
{
    char digits[32];
    size_t n = 0;
    const int len = snprintf(digits, sizeof(digits), "%.0f", value);

    for (int i = 0; i < len && n + 2 < size; i++) {
        if (i > 0 && (len - i) % 3 == 0)
            out[n++] = ',';
        out[n++] = digits[i];
    }
    out[n] = '\0';
}

/* What a value of `unit` is called from `above` on. Sorted: the first that fits. */
static const struct scale {
    const char *unit;
    double above, divisor;
    const char *suffix;
} scales[] = {{"ms", 172800000, 86400000, " days"},
              {"ms", 7200000, 3600000, " h"},
              {"ms", 120000, 60000, " min"},
              {"ms", 1000, 1000, " s"},
              {"ms", 0, 1, " ms"},
              {"bytes", 1e9, 1e9, " GB"},
              {"bytes", 1e6, 1e6, " MB"},
              {"bytes", 1e3, 1e3, " kB"},
              {"bytes", 0, 1, " bytes"},
              {"per_s", 1, 1, " a second"},
              {"per_s", 1 / 60.0, 1 / 60.0, " a minute"},
              {"per_s", 0, 1 / 3600.0, " an hour"}};

const char *detect_number(double value, const char *unit, char ret_text[DETECT_NUMBER])
{
    const char *suffix = "";
    char number[DETECT_NUMBER];

    for (size_t i = 0; i < WIND_ARRAY_SIZE(scales); i++) {
        if (strcmp(scales[i].unit, unit) == 0 && value >= scales[i].above) {
            value /= scales[i].divisor;
            suffix = scales[i].suffix;
            break;
        }
    }
    if (value > 0 && value < 0.005)
        (void)snprintf(number, sizeof(number), "under 0.01");
    else if (value >= 999.5)
        thousands(value, number, sizeof(number));
    else
        (void)snprintf(number, sizeof(number),
                       value < 10 && value != floor(value) ? "%.2g" : "%.3g", value);
    (void)snprintf(ret_text, DETECT_NUMBER, "%.13s%s", number, suffix);
    return ret_text;
}

const char *detect_distinct(uint32_t value, char ret_text[DETECT_NUMBER])
{
    const uint32_t step = value < 1000 ? 10 : 100;
    const uint32_t rounded = (value + step / 2) / step * step;
    char number[DETECT_NUMBER];

    if (value < 100)
        return detect_number(value, "count", ret_text);
    thousands(value < 5000 ? rounded : 5000, number, sizeof(number));
    (void)snprintf(ret_text, DETECT_NUMBER, "%s %.8s", value < 5000 ? "about" : "more than",
                   number);
    return ret_text;
}

int detect_turn(uint64_t *pane_ns, uint64_t now_ns, uint64_t length_ns)
{
    if (now_ns < *pane_ns + length_ns)
        return 0;
    const int turns = now_ns < *pane_ns + 2 * length_ns ? 1 : 2;
    *pane_ns = turns == 1 ? *pane_ns + length_ns : now_ns;
    return turns;
}

/* Exponentially weighted beyond ten minutes of history (West 1979). */
void detect_normal_add(struct detect_normal *n, double value)
{
    n->n += n->n != UINT32_MAX;
    const double weight = 1.0 / (n->n < 10 ? n->n : 10);
    const double off = value - (double)n->mean;
    n->mean = (float)((double)n->mean + weight * off);
    n->var = (float)((1 - weight) * ((double)n->var + weight * off * off));
}

void detect_reason_normal(struct alert_reason *reason, const struct detect_normal *n)
{
    reason->normal = n->mean;
    reason->normal_sd = sqrtf(n->var);
    reason->normal_n = n->n;
}
