/*
 * dataset.h - feature rows with labels, as training and evaluation want them.
 *
 * Why      Rows come from files of several recordings, labels from truth files or for a whole file.
 * Owns     Its rows.
 * Threads  One.
 * Bounds   `max` rows; more is an error, never a silent cut.
 */
#pragma once

#include <jansson.h>

#include "features/rows.h"
#include "models/truth.h"

#define DATASET_MAX 10000000u

struct dataset {
    float *value; /* n x FEATURE_COUNT */
    uint64_t *missing;
    uint8_t *label; /* index into labels */
    size_t n, cap, max;
    size_t unlabelled; /* rows left out: a truth was given, but it does not name them */
    struct labels labels;
    struct truth truth; /* empty: rows take the label of their file */
    json_t *sources;    /* [{"name", "rows", "digest"}]; name without its folders */
};

WIND_MUST_USE int dataset_init(struct dataset *d, struct err *e);
void dataset_done(struct dataset *d);

/*
 * Add the rows of a file. `label`: of all its rows, or NULL: as the truth says, or benign when
 * there is none. `name` is what errors and the model's lineage call it.
 */
WIND_MUST_USE int dataset_read(struct dataset *d, const char *path, const char *name,
                               const char *label, struct err *e);
