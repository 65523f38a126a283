/*
 * model.h - a model file, checked and ready to score rows.
 *
 * Why      The sensor needs one call for every kind of model: rows in, scores out.
 * Owns     A model owns the bytes of its file. It never changes after loading.
 * Threads  load/free: one. All else: any number at once.
 * Bounds   A file has at most MODEL_BYTES_MAX. Loading checks every index, length and number,
 *          so scoring cannot fail, allocate or read outside; a tree is at most MODEL_DEPTH_MAX
 * deep.
 *
 * Numbers of a scoring:
 *      raw      what the model computes; an isolation forest: 2^(-E[path] / c(sample)), 0..1
 *      p_value  share of the benign calibration flows that look at least as unusual, counted
 *               conservatively: (k + 1) / (n + 1). Under 1/1000 is rarer than one in a thousand.
 *      score    0..1, higher is worse: -log10(p) / 6. Half is one in a thousand, a sixth more is
 * ten times rarer. It grows with `raw` everywhere, also between and beyond the calibration flows,
 * so it ranks where p-values tie.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base.h"
#include "common/err.h"

#define MODEL_BYTES_MAX (64u << 20)
#define MODEL_DEPTH_MAX 64
#define MODEL_NAME_MAX  32

struct model;

struct model_info {
    char name[MODEL_NAME_MAX]; /* "flow-iforest" */
    char kind[MODEL_NAME_MAX]; /* "iforest" */
    uint32_t version;
    uint32_t n_features; /* schema: this prefix of features.def ... */
    uint64_t schema;     /* ... and its hash, equal to ours or the model would not have loaded */
    char schema_text[24];
    float alert_p;          /* a flow below this p-value is worth an alert, says its training */
    uint64_t training_rows; /* fitted on */
    uint32_t calibration_rows;
    uint8_t digest[32]; /* SHA-256 of the file's content */
};

/* Read from a descriptor (of a file; its offset does not matter). The caller closes it. */
WIND_MUST_USE int model_load_fd(struct model **ret_model, int fd, struct err *e);

/* The same from bytes, which are copied. -EINVAL with a sentence: something is off. */
WIND_MUST_USE int model_load_bytes(struct model **ret_model, const void *bytes, size_t len,
                                   struct err *e);

struct model *model_free(struct model *m);
WIND_DEFINE_FREE(model)

const struct model_info *model_info(const struct model *m);

/* The JSON header as it is in the file; not NUL-terminated. */
const char *model_header(const struct model *m, size_t *ret_len);

/* A row to score: at least model_info.n_features values in the order of features.def. */
struct model_row {
    const float *value;
    uint64_t missing;
};

struct model_score {
    float raw, p_value, score;
};

void model_score(const struct model *m, const struct model_row *rows, size_t n,
                 struct model_score *ret_scores);

/* Why a row scores as it does: one feature's share, and what training saw of that feature. */
struct model_reason {
    uint32_t feature;
    bool is_missing;
    float value;
    float contribution;      /* >= 0; over all features they sum to 1 */
    float median, low, high; /* of the training rows: 50 %, 5 %, 95 % */
    float missing_share;     /* training rows without it */
};

/*
 * The weightiest `max` reasons, the weightiest first, only those above 0. Returns how many: 0 when
 * no feature makes the row more unusual than the median row. Costs about 60 scorings: for alerts.
 *
 * A feature's share is the mean of two marginal effects on `raw`: what it adds to a row of medians
 * when it comes first, and what it takes away from the row when it goes first. They are the two
 * ends of the Shapley value (Shapley 1953; Lundberg and Lee 2017); negative ones count as 0.
 */
size_t model_explain(const struct model *m, const struct model_row *row,
                     struct model_reason *ret_reasons, size_t max);
