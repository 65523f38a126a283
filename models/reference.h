/*
 * reference.h - how each feature was spread over the training rows.
 *
 * Why      An explanation needs the usual value beside the odd one; drift needs a histogram to
 *          compare with. Quantiles are both: REFERENCE_LEVELS - 1 bins of equal mass.
 * Owns     Nothing: a view of a model file's arrays.
 * Threads  Any.
 */
#pragma once

#include <stddef.h>

#include "common/err.h"
#include "models/model.h"

#define REFERENCE_LEVELS 21 /* 0 %, 5 %, ... 100 % */
#define REFERENCE_MEDIAN 10
#define REFERENCE_LOW    1
#define REFERENCE_HIGH   19

struct reference {
    const float *quantile; /* n x REFERENCE_LEVELS, ascending; of the rows that have the feature */
    const float *missing;  /* n: share of the rows that do not */
    size_t n;
};

/* -EINVAL: not ascending, not finite, or a share outside 0..1. */
WIND_MUST_USE int reference_check(const struct reference *ref, struct err *e);

/* As model_explain. */
size_t reference_explain(const struct reference *ref, const struct model *m,
                         const struct model_row *row, struct model_reason *ret_reasons, size_t max);

/* Of `n` values, which are sorted in place: the levels of one feature. n = 0: all zero. */
void reference_quantiles(float *values, size_t n, float ret_levels[REFERENCE_LEVELS]);
