/*
 * wind-train - fits models on feature rows, evaluates and shows them.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "models/evaluate.h"
#include "models/train_args.h"
#include "models/train_rows.h"

static int read_inputs(struct dataset *d, const struct train_args *a, struct err *e)
{
    int r = dataset_init(d, e);

    for (size_t i = 0; i < a->n_truths && r == 0; i++)
        r = truth_read(&d->truth, a->truth[i], &d->labels, e);
    for (size_t i = 0; i < a->n_inputs && r == 0; i++)
        r = train_rows_read(d, a->input[i].path, a->input[i].label, a->sensor, e);
    return r;
}

static int load_model(struct model **ret_model, const char *path, struct err *e)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return err_set(e, -errno, "model '%s': %s", path, strerror(errno));
    const int r = model_load_fd(ret_model, fd, e);
    (void)close(fd);
    return r < 0 ? err_wrap(e, r, "model '%s'", path) : 0;
}

/* Whole or not at all: written beside, then renamed. */
static int write_file(const char *path, const struct buf *bytes, struct err *e)
{
    char beside[4096];

    if ((size_t)snprintf(beside, sizeof(beside), "%s.new", path) >= sizeof(beside))
        return err_set(e, -ENAMETOOLONG, "'%s' is too long", path);
    FILE *f = fopen(beside, "we");
    if (f == NULL)
        return err_set(e, -errno, "cannot write '%s': %s", beside, strerror(errno));
    int r = fwrite(bytes->data, 1, bytes->len, f) == bytes->len ? 0 : -EIO;
    if (fclose(f) != 0 || r < 0 || rename(beside, path) < 0) {
        r = err_set(e, -EIO, "cannot write '%s': %s", path, strerror(errno));
        (void)unlink(beside);
    }
    return r;
}

static int load_metrics(const struct train_args *a, json_t **ret_metrics, struct err *e)
{
    json_error_t why;

    if (a->metrics == NULL)
        return 0;
    *ret_metrics = json_load_file(a->metrics, JSON_REJECT_DUPLICATES, &why);
    return *ret_metrics != NULL ? 0
                                : err_set(e, -EINVAL, "%s:%d: %s", a->metrics, why.line, why.text);
}

static int run_fit(struct train_args *a, struct err *e)
{
    struct dataset d = {0};
    struct model *m = NULL;
    struct buf out;

    buf_init(&out, MODEL_BYTES_MAX);
    int r = load_metrics(a, &a->fit.metrics, e);
    if (r == 0)
        r = read_inputs(&d, a, e);
    if (r == 0)
        r = fit_model(&out, &d, &a->fit, e);
    if (r == 0) /* what we write is what others can read */
        r = model_load_bytes(&m, out.data, out.len, e);
    if (r == 0)
        r = write_file(a->model, &out, e);
    if (r == 0)
        printf("%s: %s %u, schema %s, %llu rows, %u to calibrate, %zu left out without a label\n",
               a->model, model_info(m)->name, model_info(m)->version, model_info(m)->schema_text,
               (unsigned long long)model_info(m)->training_rows, model_info(m)->calibration_rows,
               d.unlabelled);
    m = model_free(m);
    json_decref(a->fit.metrics);
    dataset_done(&d);
    buf_done(&out);
    return r;
}

static double number(const json_t *object, const char *name)
{
    return json_number_value(json_object_get(object, name));
}

static void print_line(const char *who, const json_t *m, const char *note)
{
    printf("  %-24s %7.4f %7.4f %9.4f %9.4f  %s\n", who, number(m, "auc"),
           number(m, "average_precision"), number(m, "recall_1pct"), number(m, "recall_01pct"),
           note);
}

static void print_report(json_t *report)
{
    const json_t *benign = json_object_get(report, "benign");
    const char *family;
    json_t *item;

    printf("%s %.0f on %.0f benign rows, of which %.0f (%.3f %%) below p = %g; "
           "%.0f rows without a label\n",
           json_string_value(json_object_get(report, "model")), number(report, "version"),
           number(benign, "rows"), number(benign, "alerts"),
           100 * number(benign, "alerts") / (number(benign, "rows") + 1e-9),
           number(report, "alert_p"), number(report, "unlabelled"));
    printf("  %-24s %7s %7s %9s %9s\n", "", "AUC", "AP", "recall@1%", "@0.1%");
    json_object_foreach(json_object_get(report, "families"), family, item)
    {
        const json_t *baseline = json_object_get(item, "baseline");
        char found[64];
        (void)snprintf(found, sizeof(found), "%.0f of %.0f rows below p", number(item, "found"),
                       number(item, "rows"));
        print_line(family, json_object_get(item, "model"), found);
        print_line("  best single feature", baseline,
                   json_string_value(json_object_get(baseline, "feature")));
    }
}

static int run_evaluate(const struct train_args *a, struct err *e)
{
    struct dataset d = {0};
    struct model *m = NULL;
    json_t *report = NULL;

    int r = load_model(&m, a->model, e);
    if (r == 0)
        r = read_inputs(&d, a, e);
    if (r == 0)
        r = evaluate_model(m, &d, &report, e);
    if (r == 0 && a->json) {
        (void)json_dumpf(report, stdout, JSON_INDENT(1) | JSON_SORT_KEYS | JSON_REAL_PRECISION(6));
        (void)putchar('\n');
    } else if (r == 0) {
        print_report(report);
    }
    json_decref(report);
    m = model_free(m);
    dataset_done(&d);
    return r;
}

static int run_show(const struct train_args *a, struct err *e)
{
    struct model *m = NULL;
    size_t len = 0;

    const int r = load_model(&m, a->model, e);
    if (r < 0)
        return r;
    const struct model_info *info = model_info(m);
    const char *header = model_header(m, &len);
    if (a->json) {
        printf("%.*s\n", (int)len, header);
    } else {
        json_t *all = json_loadb(header, len, 0, NULL);
        printf("%s %u, kind %s, schema %s\n%llu rows, %u to calibrate; alerts below p = %g\n",
               info->name, info->version, info->kind, info->schema_text,
               (unsigned long long)info->training_rows, info->calibration_rows,
               (double)info->alert_p);
        (void)json_dumpf(all, stdout, JSON_INDENT(1) | JSON_SORT_KEYS);
        (void)putchar('\n');
        json_decref(all);
    }
    m = model_free(m);
    return 0;
}

int main(int argc, char **argv)
{
    static struct train_args args; /* too large for a stack */
    struct err e = {0};

    int r = train_args_parse(&args, argc, argv, &e);
    if (r == 0)
        r = args.command == TRAIN_FIT        ? run_fit(&args, &e)
            : args.command == TRAIN_EVALUATE ? run_evaluate(&args, &e)
                                             : run_show(&args, &e);
    if (r == 0 && fflush(stdout) != 0)
        r = err_set(&e, -EIO, "cannot write to standard output");
    if (r < 0)
        (void)fprintf(stderr, "wind-train: %s\n", e.text);
    return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
