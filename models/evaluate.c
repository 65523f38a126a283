#include "models/evaluate.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---------------------------------------------------------------- one ranking */

static int worst_first(const void *a, const void *b)
{
    const float x = ((const struct scored *)a)->score, y = ((const struct scored *)b)->score;

    return (x < y) - (x > y);
}

struct metric metric_of(struct scored *items, size_t n)
{
    struct metric m = {0};
    double attacks = 0, found = 0, wrong = 0, area = 0;

    for (size_t i = 0; i < n; i++)
        attacks += items[i].is_attack;
    const double benign = (double)n - attacks;
    if (attacks < 1 || benign < 1)
        return m;

    qsort(items, n, sizeof(*items), worst_first);
    for (size_t i = 0; i < n;) { /* rows of the same score are one step */
        double hits = 0, misses = 0;
        const float score = items[i].score;
        for (; i < n && items[i].score == score; i++) {
            hits += items[i].is_attack;
            misses += !items[i].is_attack;
        }
        area += misses * (found + hits / 2);
        found += hits;
        wrong += misses;
        m.average_precision += hits / attacks * found / (found + wrong);
        if (wrong <= 0.01 * benign)
            m.recall_1pct = found / attacks;
        if (wrong <= 0.001 * benign)
            m.recall_01pct = found / attacks;
    }
    m.auc = area / (attacks * benign);
    return m;
}

/* ---------------------------------------------------------------- a dataset */

struct evaluation {
    const struct dataset *data;
    struct model_score *score; /* of every row */
    struct scored *items;      /* room for every row */
};

static size_t count_label(const struct dataset *d, int label)
{
    size_t n = 0;

    for (size_t i = 0; i < d->n; i++)
        n += d->label[i] == label;
    return n;
}

static size_t count_below(const struct evaluation *ev, int label, float p)
{
    size_t n = 0;

    for (size_t i = 0; i < ev->data->n; i++)
        n += ev->data->label[i] == label && ev->score[i].p_value < p;
    return n;
}

/* By the model's score (feature < 0), or by one feature times `sign`; missing is below all. */
static struct metric rank(const struct evaluation *ev, int label, int feature, float sign)
{
    const struct dataset *d = ev->data;
    size_t n = 0;

    for (size_t i = 0; i < d->n; i++) {
        if (d->label[i] != 0 && d->label[i] != label)
            continue;
        float score = ev->score[i].score;
        if (feature >= 0) {
            const size_t f = (size_t)feature;
            score = feature_is_missing(d->missing[i], f) ? -1 : d->value[i * FEATURE_COUNT + f];
            score *= sign;
        }
        ev->items[n++] = (struct scored){score, d->label[i] == label};
    }
    return metric_of(ev->items, n);
}

static json_t *report_metric(const struct metric *m)
{
    return json_pack("{s:f, s:f, s:f, s:f}", "auc", m->auc, "average_precision",
                     m->average_precision, "recall_1pct", m->recall_1pct, "recall_01pct",
                     m->recall_01pct);
}

static json_t *report_baseline(const struct evaluation *ev, int label)
{
    struct metric best = {.auc = -1};
    char name[64] = "";

    for (int f = 0; f < FEATURE_COUNT; f++) {
        for (int sign = 1; sign >= -1; sign -= 2) {
            const struct metric m = rank(ev, label, f, (float)sign);
            if (m.auc <= best.auc)
                continue;
            best = m;
            (void)snprintf(name, sizeof(name), "%s %s", sign > 0 ? "high" : "low",
                           feature_name((size_t)f));
        }
    }
    json_t *report = report_metric(&best);
    (void)json_object_set_new(report, "feature", json_string(name));
    return report;
}

static json_t *report_family(const struct evaluation *ev, const struct model_info *info, int label)
{
    const struct metric m = rank(ev, label, -1, 1);

    return json_pack("{s:I, s:I, s:o, s:o}", "rows", (json_int_t)count_label(ev->data, label),
                     "found", (json_int_t)count_below(ev, label, info->alert_p), "model",
                     report_metric(&m), "baseline", report_baseline(ev, label));
}

static json_t *report(const struct evaluation *ev, const struct model_info *info)
{
    const struct dataset *d = ev->data;
    json_t *families = json_object();

    for (size_t label = 1; label < d->labels.n; label++)
        if (count_label(d, (int)label) > 0)
            (void)json_object_set_new(families, d->labels.name[label],
                                      report_family(ev, info, (int)label));
    return json_pack("{s:s, s:I, s:f, s:{s:I, s:I}, s:I, s:o}", "model", info->name, "version",
                     (json_int_t)info->version, "alert_p", (double)info->alert_p, "benign", "rows",
                     (json_int_t)count_label(d, 0), "alerts",
                     (json_int_t)count_below(ev, 0, info->alert_p), "unlabelled",
                     (json_int_t)d->unlabelled, "families", families);
}

int evaluate_model(const struct model *m, const struct dataset *d, json_t **ret_report,
                   struct err *e)
{
    struct evaluation ev = {.data = d};

    if (d->n == 0)
        return err_set(e, -EINVAL, "there are no rows to evaluate on");
    ev.score = calloc(d->n, sizeof(*ev.score));
    ev.items = calloc(d->n, sizeof(*ev.items));
    json_t *done = NULL;
    if (ev.score != NULL && ev.items != NULL) {
        for (size_t i = 0; i < d->n; i++) {
            const struct model_row row = {d->value + i * FEATURE_COUNT, d->missing[i]};
            model_score(m, &row, 1, &ev.score[i]);
        }
        done = report(&ev, model_info(m));
    }
    free(ev.score);
    free(ev.items);
    if (done == NULL)
        return err_set(e, -ENOMEM, "out of memory to evaluate %zu rows", d->n);
    *ret_report = done;
    return 0;
}
