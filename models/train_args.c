#include "models/train_args.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

enum {
    OPTION_TRUTH = 256,
    OPTION_LABEL,
    OPTION_SENSOR,
    OPTION_JSON,
    OPTION_TREES,
    OPTION_SAMPLE,
    OPTION_MARGIN,
    OPTION_SEED,
    OPTION_NAME,
    OPTION_VERSION,
    OPTION_CALIBRATE,
    OPTION_ALERT_P,
    OPTION_METRICS,
    OPTION_HELP
};

static const struct option options[] = {
    {"truth", required_argument, NULL, OPTION_TRUTH},
    {"label", required_argument, NULL, OPTION_LABEL},
    {"sensor", required_argument, NULL, OPTION_SENSOR},
    {"json", no_argument, NULL, OPTION_JSON},
    {"output", required_argument, NULL, 'o'},
    {"trees", required_argument, NULL, OPTION_TREES},
    {"sample", required_argument, NULL, OPTION_SAMPLE},
    {"margin", required_argument, NULL, OPTION_MARGIN},
    {"seed", required_argument, NULL, OPTION_SEED},
    {"name", required_argument, NULL, OPTION_NAME},
    {"model-version", required_argument, NULL, OPTION_VERSION},
    {"calibrate", required_argument, NULL, OPTION_CALIBRATE},
    {"alert-p", required_argument, NULL, OPTION_ALERT_P},
    {"metrics", required_argument, NULL, OPTION_METRICS},
    {"help", no_argument, NULL, OPTION_HELP},
    {NULL, 0, NULL, 0},
};

static int parse_u64(const char *text, uint64_t max, uint64_t *ret, struct err *e)
{
    char *end = NULL;

    errno = 0;
    const unsigned long long value = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || value > max)
        return err_set(e, -EINVAL, "'%s' is not a number of 0..%llu", text,
                       (unsigned long long)max);
    *ret = value;
    return 0;
}

static int parse_u32(const char *text, uint32_t *ret, struct err *e)
{
    uint64_t value = 0;

    const int r = parse_u64(text, UINT32_MAX, &value, e);
    *ret = r == 0 ? (uint32_t)value : *ret;
    return r;
}

static int parse_ratio(const char *text, double max, double *ret, struct err *e)
{
    char *end = NULL;
    const double value = strtod(text, &end);

    if (end == text || *end != '\0' || !(value >= 0 && value <= max))
        return err_set(e, -EINVAL, "'%s' is not a number from 0 to %g", text, max);
    *ret = value;
    return 0;
}

static int add_input(struct train_args *a, const char *path, const char *label, struct err *e)
{
    if (a->model == NULL && a->command != TRAIN_FIT) {
        a->model = path;
        return 0;
    }
    if (a->n_inputs == TRAIN_INPUTS_MAX)
        return err_set(e, -EINVAL, "more than %d inputs", TRAIN_INPUTS_MAX);
    a->input[a->n_inputs++] = (struct train_input){path, label};
    return 0;
}

static int add_truth(struct train_args *a, const char *path, struct err *e)
{
    if (a->n_truths == TRAIN_INPUTS_MAX)
        return err_set(e, -EINVAL, "more than %d truth files", TRAIN_INPUTS_MAX);
    a->truth[a->n_truths++] = path;
    return 0;
}

static int take_fit_option(struct train_args *a, int option, struct err *e)
{
    switch (option) {
    case 'o':
        a->model = optarg;
        return 0;
    case OPTION_NAME:
        a->fit.name = optarg;
        return 0;
    case OPTION_METRICS:
        a->metrics = optarg;
        return 0;
    case OPTION_TREES:
        return parse_u32(optarg, &a->fit.trees, e);
    case OPTION_SAMPLE:
        return parse_u32(optarg, &a->fit.sample, e);
    case OPTION_MARGIN:
        return parse_ratio(optarg, 10, &a->fit.margin, e);
    case OPTION_VERSION:
        return parse_u32(optarg, &a->fit.version, e);
    case OPTION_SEED:
        return parse_u64(optarg, UINT64_MAX, &a->fit.seed, e);
    case OPTION_CALIBRATE:
        return parse_ratio(optarg, 1, &a->fit.calibrate, e);
    case OPTION_ALERT_P:
        return parse_ratio(optarg, 1, &a->fit.alert_p, e);
    default:
        return err_set(e, -EINVAL, "unknown option; see wind-train --help");
    }
}

static int take_option(struct train_args *a, int option, const char **label, struct err *e)
{
    switch (option) {
    case 1: /* not an option */
        return add_input(a, optarg, *label, e);
    case OPTION_TRUTH:
        return add_truth(a, optarg, e);
    case OPTION_LABEL:
        *label = optarg;
        return 0;
    case OPTION_SENSOR:
        a->sensor = optarg;
        return 0;
    case OPTION_JSON:
        a->json = true;
        return 0;
    case OPTION_HELP:
        (void)fputs(help, stdout);
        return 1;
    default:
        if (a->command != TRAIN_FIT)
            return err_set(e, -EINVAL, "unknown option, or one of 'fit'; see wind-train --help");
        return take_fit_option(a, option, e);
    }
}

static int take_command(struct train_args *a, const char *word, struct err *e)
{
    static const char *const words[] = {"fit", "evaluate", "show"};

    for (size_t i = 0; i < WIND_ARRAY_SIZE(words); i++) {
        if (word != NULL && strcmp(word, words[i]) == 0) {
            a->command = (enum train_command)i;
            return 0;
        }
    }
    if (word != NULL && strcmp(word, "--help") == 0) {
        (void)fputs(help, stdout);
        return 1;
    }
    return err_set(e, -EINVAL, "say 'fit', 'evaluate' or 'show'; see wind-train --help");
}

static int check(const struct train_args *a, struct err *e)
{
    if (a->model == NULL)
        return err_set(e, -EINVAL,
                       a->command == TRAIN_FIT ? "say where to write it: -o MODEL"
                                               : "say which model");
    if (a->command != TRAIN_SHOW && a->n_inputs == 0)
        return err_set(e, -EINVAL, "give at least one file of rows, or a capture");
    if (a->command == TRAIN_SHOW && a->n_inputs > 0)
        return err_set(e, -EINVAL, "show takes one model");
    return 0;
}

int train_args_parse(struct train_args *ret_args, int argc, char **argv, struct err *e)
{
    const char *label = NULL;
    int option;

    *ret_args = (struct train_args){.fit = {.name = "flow-iforest",
                                            .version = 1,
                                            .trees = 200,
                                            .sample = 1024,
                                            .margin = 0.5,
                                            .seed = 1,
                                            .calibrate = 0.25,
                                            .alert_p = 0.001}};
    int r = take_command(ret_args, argc > 1 ? argv[1] : NULL, e);
    if (r != 0)
        return r;
    optind = 2;
    opterr = 0;
    while ((option = getopt_long(argc, argv, "-o:", options, NULL)) != -1) {
        r = take_option(ret_args, option, &label, e);
        if (r != 0)
            return r;
    }
    for (; optind < argc && r == 0; optind++) /* after "--" */
        r = add_input(ret_args, argv[optind], label, e);
    return r != 0 ? r : check(ret_args, e);
}
