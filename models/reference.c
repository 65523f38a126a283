#include "models/reference.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "features/feature.h"

int reference_check(const struct reference *ref, struct err *e)
{
    for (size_t f = 0; f < ref->n; f++) {
        const float *q = ref->quantile + f * REFERENCE_LEVELS;
        if (!(ref->missing[f] >= 0 && ref->missing[f] <= 1))
            return err_set(e, -EINVAL, "reference: the missing share of %s is not from 0 to 1",
                           feature_name(f));
        for (size_t i = 0; i < REFERENCE_LEVELS; i++)
            if (!isfinite(q[i]) || (i > 0 && q[i] < q[i - 1]))
                return err_set(e, -EINVAL, "reference: the quantiles of %s do not ascend",
                               feature_name(f));
    }
    return 0;
}

static int compare_floats(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;

    return (x > y) - (x < y);
}

void reference_quantiles(float *values, size_t n, float ret_levels[REFERENCE_LEVELS])
{
    if (n > 0)
        qsort(values, n, sizeof(*values), compare_floats);
    for (size_t i = 0; i < REFERENCE_LEVELS; i++)
        ret_levels[i] = n > 0 ? values[(n - 1) * i / (REFERENCE_LEVELS - 1)] : 0;
}

/* ---------------------------------------------------------------- why */

struct one_row {
    float value[FEATURE_COUNT];
    uint64_t missing;
};

/* `to` takes feature f as `from` has it. */
static void take_feature(struct one_row *to, const struct one_row *from, size_t f)
{
    const uint64_t bit = UINT64_C(1) << f;

    to->value[f] = from->value[f];
    to->missing = (to->missing & ~bit) | (from->missing & bit);
}

static float raw_of(const struct model *m, const struct one_row *row)
{
    const struct model_row view = {row->value, row->missing};
    struct model_score score;

    model_score(m, &view, 1, &score);
    return score.raw;
}

static struct one_row median_row(const struct reference *ref)
{
    struct one_row row = {.missing = 0};

    for (size_t f = 0; f < ref->n; f++) {
        if (ref->missing[f] > 0.5f)
            row.missing |= UINT64_C(1) << f;
        else
            row.value[f] = ref->quantile[f * REFERENCE_LEVELS + REFERENCE_MEDIAN];
    }
    return row;
}

static double effect(const struct model *m, const struct one_row *row, const struct one_row *median,
                     size_t f)
{
    struct one_row first = *median, without = *row;

    take_feature(&first, row, f);
    take_feature(&without, median, f);
    const double adds = (double)raw_of(m, &first) - (double)raw_of(m, median);
    const double takes = (double)raw_of(m, row) - (double)raw_of(m, &without);
    return adds + takes > 0 ? (adds + takes) / 2 : 0;
}

static struct model_reason reason_of(const struct reference *ref, const struct one_row *row,
                                     size_t f, double share)
{
    const float *q = ref->quantile + f * REFERENCE_LEVELS;

    return (struct model_reason){
        .feature = (uint32_t)f,
        .is_missing = feature_is_missing(row->missing, f),
        .value = row->value[f],
        .contribution = (float)share,
        .median = q[REFERENCE_MEDIAN],
        .low = q[REFERENCE_LOW],
        .high = q[REFERENCE_HIGH],
        .missing_share = ref->missing[f],
    };
}

size_t reference_explain(const struct reference *ref, const struct model *m,
                         const struct model_row *row, struct model_reason *ret_reasons, size_t max)
{
    struct one_row own = {.missing = row->missing};
    const struct one_row median = median_row(ref);
    double share[FEATURE_COUNT] = {0}, sum = 0;
    size_t n = 0;

    memcpy(own.value, row->value, ref->n * sizeof(float));
    for (size_t f = 0; f < ref->n; f++) {
        share[f] = effect(m, &own, &median, f);
        sum += share[f];
    }
    for (; n < max && n < ref->n; n++) {
        size_t best = 0;
        for (size_t f = 1; f < ref->n; f++) /* ties: the first in features.def */
            if (share[f] > share[best])
                best = f;
        if (!(share[best] > 0))
            break;
        ret_reasons[n] = reason_of(ref, &own, best, share[best] / sum);
        share[best] = 0;
    }
    return n;
}
