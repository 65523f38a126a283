/*
 * calibrate.h - from what a model computes to how rare that is among benign flows.
 *
 * Why      A raw score means nothing to people; "one benign flow in a thousand" does.
 * Owns     Nothing: a view of the scores of benign flows that the model was not fitted on.
 * Threads  Any.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "models/model.h"

#define CALIBRATION_MAX 65536

struct calibration {
    const float *raw; /* ascending, 0..1 */
    size_t n;         /* 1..CALIBRATION_MAX */
};

/* -EINVAL: empty, too many, not ascending, or not 0..1. */
WIND_MUST_USE int calibration_check(const struct calibration *c, struct err *e);

/* p-value and score of a raw score; see model.h. */
struct model_score calibration_score(const struct calibration *c, float raw);
