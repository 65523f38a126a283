#include "models/train_args.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cli.h"

static const char help[] =
    "wind-train fit [options] INPUT... -o MODEL\n"
    "wind-train evaluate [options] MODEL INPUT...\n"
    "wind-train show [--json] MODEL\n"
    "\n"
    "INPUT is a file of feature rows, or a capture, which wind-sensor turns into rows.\n"
    "\n"
    "  --truth FILE         CSV of labelled flows; rows it does not name are left out\n"
    "  --label NAME         label of the inputs after it ('benign' or an attack family)\n"
    "  --sensor PATH        wind-sensor for captures (default: beside this program)\n"
    "  --json               print JSON\n"
    "fit:\n"
    "  -o, --output MODEL   file to write\n"
    "  --trees N            trees of the forest (200)\n"
    "  --sample N           rows a tree grows from (1024)\n"
    "  --margin SHARE       cuts beyond the values seen, share of their span; 0: none (0.5)\n"
    "  --seed N             the same rows and seed give the same bytes (1)\n"
    "  --name NAME          name of the model (flow-iforest)\n"
    "  --model-version N    its version (1)\n"
    "  --calibrate SHARE    benign rows kept for calibration (0.25); 0: each input is scored by\n"
    "                       a forest of the others\n"
    "  --alert-p P          p-value below which a flow is worth an alert (0.001)\n"
    "  --metrics FILE       JSON of 'evaluate --json' to keep in the header\n";

static int parse_u64(const char *text, uint64_t max, uint64_t *ret, struct err *e)
{
    char *end = NULL;

    errno = 0;
    const unsigned long long value = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || value > max)
        return err_set(e, CLI_USAGE, "'%s' is not a number of 0..%llu", text,
                       (unsigned long long)max);
    *ret = value;
    return 0;
}

static int take_u64(void *field, const char *text, struct err *e)
{
    return parse_u64(text, UINT64_MAX, field, e);
}

static int take_u32(void *field, const char *text, struct err *e)
{
    uint64_t value = 0;

    const int r = parse_u64(text, UINT32_MAX, &value, e);
    if (r == 0)
        *(uint32_t *)field = (uint32_t)value;
    return r;
}

static int parse_ratio(const char *text, double max, double *ret, struct err *e)
{
    char *end = NULL;
    const double value = strtod(text, &end);

    if (end == text || *end != '\0' || !(value >= 0 && value <= max))
        return err_set(e, CLI_USAGE, "'%s' is not a number from 0 to %g", text, max);
    *ret = value;
    return 0;
}

static int take_share(void *field, const char *text, struct err *e)
{
    return parse_ratio(text, 1, field, e);
}

static int take_margin(void *field, const char *text, struct err *e)
{
    return parse_ratio(text, 10, field, e);
}

static int take_input(void *all, const char *path, struct err *e)
{
    struct train_args *a = all;

    if (a->model == NULL && a->command != TRAIN_FIT) {
        a->model = path;
        return 0;
    }
    if (a->n_inputs == TRAIN_INPUTS_MAX)
        return err_set(e, CLI_USAGE, "more than %d inputs", TRAIN_INPUTS_MAX);
    a->input[a->n_inputs++] = (struct train_input){path, a->label};
    return 0;
}

static int take_truth(void *all, const char *path, struct err *e)
{
    struct train_args *a = all;

    if (a->n_truths == TRAIN_INPUTS_MAX)
        return err_set(e, CLI_USAGE, "more than %d files", TRAIN_INPUTS_MAX);
    a->truth[a->n_truths++] = path;
    return 0;
}

#define A struct train_args
/* clang-format off */
#define OPTIONS_OF_ALL \
    CLI_HELP, CLI_VERSION, \
    {.name = "truth", .type = CLI_TYPE_TAKE, .take = take_truth}, \
    CLI_TEXT(A, label, "label", 0), \
    CLI_TEXT(A, sensor, "sensor", 0), \
    CLI_FLAG(A, json, "json", 0)
/* clang-format on */

static const struct cli_option options[] = {OPTIONS_OF_ALL, CLI_END};

static const struct cli_option fit_options[] = {
    OPTIONS_OF_ALL,
    CLI_TEXT(A, model, "output", 'o'),
    CLI_TEXT(A, metrics, "metrics", 0),
    CLI_TEXT(A, fit.name, "name", 0),
    CLI_TAKE(A, fit.version, "model-version", 0, take_u32),
    CLI_TAKE(A, fit.trees, "trees", 0, take_u32),
    CLI_TAKE(A, fit.sample, "sample", 0, take_u32),
    CLI_TAKE(A, fit.margin, "margin", 0, take_margin),
    CLI_TAKE(A, fit.seed, "seed", 0, take_u64),
    CLI_TAKE(A, fit.calibrate, "calibrate", 0, take_share),
    CLI_TAKE(A, fit.alert_p, "alert-p", 0, take_share),
    CLI_END,
};

static int take_command(struct train_args *a, const char *word, struct err *e)
{
    static const char *const words[] = {"fit", "evaluate", "show"};

    for (size_t i = 0; i < WIND_ARRAY_SIZE(words); i++) {
        if (word != NULL && strcmp(word, words[i]) == 0) {
            a->command = (enum train_command)i;
            return 0;
        }
    }
    return err_set(e, CLI_USAGE, "say 'fit', 'evaluate' or 'show'; see wind-train --help");
}

static int check(const struct train_args *a, struct err *e)
{
    if (a->model == NULL)
        return err_set(e, CLI_USAGE,
                       a->command == TRAIN_FIT ? "say where to write it: -o MODEL"
                                               : "say which model");
    if (a->command != TRAIN_SHOW && a->n_inputs == 0)
        return err_set(e, CLI_USAGE, "give at least one file of rows, or a capture");
    if (a->command == TRAIN_SHOW && a->n_inputs > 0)
        return err_set(e, CLI_USAGE, "show takes one model");
    return 0;
}

int train_args_parse(struct train_args *ret_args, int argc, char **argv, struct err *e)
{
    struct cli cli = {
        .program = "wind-train", .help = help, .options = options, .take_word = take_input};
    int r = 0;

    *ret_args = (struct train_args){.fit = {.name = "flow-iforest",
                                            .version = 1,
                                            .trees = 200,
                                            .sample = 1024,
                                            .margin = 0.5,
                                            .seed = 1,
                                            .calibrate = 0.25,
                                            .alert_p = 0.001}};
    if (argc > 1 && argv[1][0] == '-') /* --help, -V, or a mistake */
        r = cli_parse(&cli, 2, argv, ret_args, e);
    if (r == 0)
        r = take_command(ret_args, argc > 1 ? argv[1] : NULL, e);
    if (r != 0)
        return r;
    if (ret_args->command == TRAIN_FIT)
        cli.options = fit_options;
    r = cli_parse(&cli, argc - 1, argv + 1, ret_args, e);
    return r != 0 ? r : check(ret_args, e);
}
