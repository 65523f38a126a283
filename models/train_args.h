/*
 * train_args.h - the command line of wind-train.
 *
 * Why      Labels and inputs belong together in the order they are written.
 * Owns     Nothing: texts are argv's.
 * Threads  Start-up only.
 * Bounds   TRAIN_INPUTS_MAX inputs and truth files.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"
#include "models/fit.h"

#define TRAIN_INPUTS_MAX 4096

enum train_command { TRAIN_FIT, TRAIN_EVALUATE, TRAIN_SHOW };

struct train_input {
    const char *path;
    const char *label; /* NULL: by the truth, or benign */
};

struct train_args {
    enum train_command command;
    const char *model;   /* evaluate, show: to read; fit: to write */
    const char *label;   /* of the inputs from here on, while parsing; NULL: none */
    const char *sensor;  /* NULL: beside this program */
    const char *metrics; /* fit: JSON file to put into the header */
    struct fit_conf fit;
    struct train_input input[TRAIN_INPUTS_MAX];
    const char *truth[TRAIN_INPUTS_MAX];
    size_t n_inputs, n_truths;
    bool json;
};

/* 0, CLI_DONE, CLI_USAGE. */
WIND_MUST_USE int train_args_parse(struct train_args *ret_args, int argc, char **argv,
                                   struct err *e);
