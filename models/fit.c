#include "models/fit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "models/calibrate.h"
#include "models/model_file.h"
#include "models/reference.h"
#include "models/train_iforest.h"

#define ROWS_MIN 100

struct fit {
    const struct dataset *data;
    const struct fit_conf *conf;
    float *value; /* the rows to grow from, one after the other */
    uint64_t *missing;
    size_t n;
    size_t *held; /* the rows to calibrate with: indices into data */
    size_t n_held;
    float *raw; /* their scores, ascending */
    size_t n_raw;
    float quantile[FEATURE_COUNT * REFERENCE_LEVELS];
    float missing_share[FEATURE_COUNT];
    struct train_forest forest;
};

static void fit_done(struct fit *fit)
{
    free(fit->value);
    free(fit->missing);
    free(fit->held);
    free(fit->raw);
    train_iforest_done(&fit->forest);
}

static int is_held(const struct fit *fit, size_t i)
{
    uint64_t state = fit->conf->seed ^ (i / FIT_BLOCK + 1) * UINT64_C(0xd1342543de82ef95);

    return (double)(train_random(&state) >> 11) / 9007199254740992.0 < fit->conf->calibrate;
}

static int make_room(struct fit *fit, struct err *e)
{
    const struct dataset *d = fit->data;

    fit->value = calloc(d->n + 1, FEATURE_COUNT * sizeof(*fit->value));
    fit->missing = calloc(d->n + 1, sizeof(*fit->missing));
    fit->held = calloc(d->n + 1, sizeof(*fit->held));
    fit->raw = calloc(d->n + 1, sizeof(*fit->raw));
    if (fit->value == NULL || fit->missing == NULL || fit->held == NULL || fit->raw == NULL)
        return err_set(e, -ENOMEM, "out of memory for %zu rows", d->n);
    return 0;
}

static void keep(struct fit *fit, size_t i)
{
    memcpy(fit->value + fit->n * FEATURE_COUNT, fit->data->value + i * FEATURE_COUNT,
           FEATURE_COUNT * sizeof(*fit->value));
    fit->missing[fit->n++] = fit->data->missing[i];
}

/* Benign rows: those from `first` up to before `last` are held for calibration, all others grow. */
static void split_range(struct fit *fit, size_t first, size_t last)
{
    const struct dataset *d = fit->data;

    fit->n = fit->n_held = 0;
    for (size_t i = 0; i < d->n; i++) {
        if (d->label[i] != 0)
            continue;
        if (i >= first && i < last)
            fit->held[fit->n_held++] = i;
        else
            keep(fit, i);
    }
}

/* Blocks of rows, drawn by the seed, are held. */
static void split_blocks(struct fit *fit)
{
    const struct dataset *d = fit->data;

    for (size_t i = 0; i < d->n; i++) {
        if (d->label[i] != 0)
            continue;
        if (is_held(fit, i))
            fit->held[fit->n_held++] = i;
        else
            keep(fit, i);
    }
}

static int check_rows(size_t grow, size_t calibrate, struct err *e)
{
    if (grow < ROWS_MIN || calibrate < ROWS_MIN)
        return err_set(e, -EINVAL,
                       "%zu benign rows to grow from and %zu to calibrate with: each needs %d",
                       grow, calibrate, ROWS_MIN);
    return 0;
}

static int grow(struct fit *fit, struct err *e)
{
    const struct fit_conf *conf = fit->conf;
    const struct train_rows rows = {fit->value, fit->missing, fit->n, FEATURE_COUNT};
    const struct train_iforest_conf forest = {conf->trees, conf->sample, conf->seed, conf->margin};

    train_iforest_done(&fit->forest);
    return train_iforest(&fit->forest, &rows, &forest, e);
}

static int compare_floats(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;

    return (x > y) - (x < y);
}

/* The forest's scores of the held rows join the calibration. */
static void score_held(struct fit *fit)
{
    const struct train_forest *f = &fit->forest;
    const struct iforest view = {.node = f->node,
                                 .n_nodes = f->n_nodes,
                                 .root = f->root,
                                 .n_trees = f->n_trees,
                                 .sample = f->sample,
                                 .average_path = iforest_average_path(f->sample)};

    for (size_t i = 0; i < fit->n_held; i++) {
        const size_t at = fit->held[i];
        const struct model_row row = {fit->data->value + at * FEATURE_COUNT,
                                      fit->data->missing[at]};
        iforest_score(&view, &row, 1, &fit->raw[fit->n_raw++]);
    }
}

/* Ascending; beyond CALIBRATION_MAX every so-manieth, the highest always. */
static void sort_calibration(struct fit *fit)
{
    qsort(fit->raw, fit->n_raw, sizeof(*fit->raw), compare_floats);
    if (fit->n_raw > CALIBRATION_MAX) {
        for (size_t i = 0; i < CALIBRATION_MAX; i++)
            fit->raw[i] = fit->raw[(fit->n_raw - 1) * i / (CALIBRATION_MAX - 1)];
        fit->n_raw = CALIBRATION_MAX;
    }
}

/* Some rows grow the forest, others calibrate it. */
static int fit_apart(struct fit *fit, struct err *e)
{
    split_blocks(fit);
    int r = check_rows(fit->n, fit->n_held, e);
    if (r == 0)
        r = grow(fit, e);
    if (r == 0)
        score_held(fit);
    return r;
}

/*
 * Each input is scored by a forest that grew from the others, so the calibration says how unusual
 * the flows of an input look to a model that has not seen it. The model itself grows from all.
 */
static int fit_across(struct fit *fit, struct err *e)
{
    const json_t *sources = fit->data->sources;
    const size_t n = json_array_size(sources);
    size_t first = 0;
    int r = n > 1 ? 0 : err_set(e, -EINVAL, "calibrate: 0 needs two inputs or more");

    for (size_t i = 0; i < n && r == 0; i++) {
        const json_t *rows = json_object_get(json_array_get(sources, i), "rows");
        const size_t last = first + (size_t)json_integer_value(rows);
        split_range(fit, first, last);
        first = last;
        if (fit->n_held == 0)
            continue;
        r = grow(fit, e);
        if (r == 0)
            score_held(fit);
    }
    if (r < 0)
        return r;
    split_range(fit, 0, 0);
    r = check_rows(fit->n, fit->n_raw, e);
    return r == 0 ? grow(fit, e) : r;
}

static int describe(struct fit *fit, struct err *e)
{
    float *column = calloc(fit->n, sizeof(*column));

    if (column == NULL)
        return err_set(e, -ENOMEM, "out of memory for %zu values", fit->n);
    for (size_t f = 0; f < FEATURE_COUNT; f++) {
        size_t n = 0;
        for (size_t i = 0; i < fit->n; i++)
            if (!feature_is_missing(fit->missing[i], f))
                column[n++] = fit->value[i * FEATURE_COUNT + f];
        reference_quantiles(column, n, fit->quantile + f * REFERENCE_LEVELS);
        fit->missing_share[f] = (float)((double)(fit->n - n) / (double)fit->n);
    }
    free(column);
    return 0;
}

static json_t *header_of(const struct fit *fit)
{
    const struct fit_conf *conf = fit->conf;
    char schema[FEATURE_SCHEMA_TEXT], seed[24];
    json_t *names = json_array();

    feature_schema_text(FEATURE_COUNT, schema);
    (void)snprintf(seed, sizeof(seed), "%llu", (unsigned long long)conf->seed);
    for (size_t f = 0; f < FEATURE_COUNT; f++)
        (void)json_array_append_new(names, json_string(feature_name(f)));
    json_t *lineage = json_pack("{s:I, s:I, s:i, s:s, s:f, s:f, s:O}", "rows", (json_int_t)fit->n,
                                "calibration_rows", (json_int_t)fit->n_raw, "trees",
                                (int)conf->trees, "seed", seed, "margin", conf->margin, "calibrate",
                                conf->calibrate, "sources", fit->data->sources);
    json_t *header = json_pack(
        "{s:i, s:s, s:s, s:I, s:{s:i, s:s}, s:o, s:o, s:{s:f}, s:i}", "format", 1, "name",
        conf->name, "kind", "iforest", "version", (json_int_t)conf->version, "schema", "count",
        FEATURE_COUNT, "hash", strchr(schema, ':') + 1, "features", names, "lineage", lineage,
        "thresholds", "alert_p", conf->alert_p, "sample", (int)fit->forest.sample);
    if (header != NULL && conf->metrics != NULL)
        (void)json_object_set(header, "metrics", conf->metrics);
    return header;
}

static int write_model(struct buf *out, const struct fit *fit, struct err *e)
{
    const struct train_forest *f = &fit->forest;
    const struct model_array arrays[] = {
        {"nodes", f->node, f->n_nodes * sizeof(*f->node)},
        {"roots", f->root, f->n_trees * sizeof(*f->root)},
        {"calibration", fit->raw, fit->n_raw * sizeof(*fit->raw)},
        {"quantiles", fit->quantile, sizeof(fit->quantile)},
        {"missing", fit->missing_share, sizeof(fit->missing_share)},
    };
    json_t *header = header_of(fit);

    if (header == NULL)
        return err_set(e, -EINVAL, "the model's name '%s' is not UTF-8, or out of memory",
                       fit->conf->name);
    const int r = model_file_write(out, header, arrays, WIND_ARRAY_SIZE(arrays), e);
    json_decref(header);
    return r;
}

static int check_conf(const struct fit_conf *conf, struct err *e)
{
    if (!(conf->calibrate >= 0 && conf->calibrate < 1))
        return err_set(e, -EINVAL, "calibrate: %g is not from 0 to below 1", conf->calibrate);
    if (!(conf->alert_p > 0 && conf->alert_p < 1))
        return err_set(e, -EINVAL, "alert-p: %g is not between 0 and 1", conf->alert_p);
    if (conf->name[0] == '\0' || strlen(conf->name) >= MODEL_NAME_MAX)
        return err_set(e, -EINVAL, "name: not a text of 1..%d bytes", MODEL_NAME_MAX - 1);
    return 0;
}

int fit_model(struct buf *out, const struct dataset *d, const struct fit_conf *conf, struct err *e)
{
    struct fit fit = {.data = d, .conf = conf};

    int r = check_conf(conf, e);
    if (r == 0)
        r = make_room(&fit, e);
    if (r == 0)
        r = conf->calibrate > 0 ? fit_apart(&fit, e) : fit_across(&fit, e);
    if (r == 0)
        r = describe(&fit, e);
    if (r == 0) {
        sort_calibration(&fit);
        r = write_model(out, &fit, e);
    }
    fit_done(&fit);
    return r;
}
