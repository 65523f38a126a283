/*
 * fit.h - from benign rows to a model file.
 *
 * Why      The one place that decides which rows a model grows from and which calibrate it.
 * Owns     Nothing.
 * Threads  One.
 * Bounds   The same rows and settings give the same bytes. No clock time goes in.
 *
 * Rows with an attack label are left out. Of the rest, whole blocks of FIT_BLOCK neighbouring rows,
 * drawn by the seed, are kept for calibration: neighbours are too alike to be on both sides. Or,
 * with `calibrate` 0, each input is scored by a forest that grew from the others.
 */
#pragma once

#include <jansson.h>

#include "common/buf.h"
#include "common/err.h"
#include "models/dataset.h"

#define FIT_BLOCK 64

struct fit_conf {
    const char *name; /* of the model */
    uint32_t version;
    uint32_t trees, sample;
    uint64_t seed;
    double calibrate; /* share of rows for calibration, below 1; 0: across inputs, two or more */
    double margin;    /* see train_iforest.h */
    double alert_p;
    json_t *metrics; /* borrowed; goes into the header as it is. NULL: none */
};

/* Appends the model file to `out`. -EINVAL: settings out of range or too few rows. -ENOMEM. */
WIND_MUST_USE int fit_model(struct buf *out, const struct dataset *d, const struct fit_conf *conf,
                            struct err *e);
