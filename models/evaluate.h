/*
 * evaluate.h - how well a score tells attacks from benign rows.
 *
 * Why      A model is only worth its file if it beats one threshold on one feature; both are
 *          measured here in the same way.
 * Owns     Nothing.
 * Threads  One.
 */
#pragma once

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "models/dataset.h"
#include "models/model.h"

struct metric {
    double auc;               /* chance that an attack scores higher than a benign row; ties half */
    double average_precision; /* as scikit-learn's average_precision_score */
    double recall_1pct;       /* attacks found when at most 1 % of the benign rows are, too */
    double recall_01pct;      /* ... 0.1 % */
};

struct scored {
    float score;
    uint8_t is_attack;
};

/* Sorts `items` in place. All zero if there is no attack or no benign row. */
struct metric metric_of(struct scored *items, size_t n);

/*
 * Score the rows of `d` and compare each attack label with all benign rows:
 * {"model", "version", "benign": {"rows", "alerts"}, "alert_p", "unlabelled",
 *  "families": {label: {"rows", "found", "model": {auc, ...}, "baseline": {"feature", auc, ...}}}}
 * "found" and "alerts" count rows with a p-value below the model's alert_p. The baseline is the one
 * feature, high or low, with the best AUC for that family: chosen with hindsight, to its advantage.
 */
WIND_MUST_USE int evaluate_model(const struct model *m, const struct dataset *d,
                                 json_t **ret_report, struct err *e);
