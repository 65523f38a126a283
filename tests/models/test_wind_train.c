/* The real wind-train on rows of a small made-up network. */
#include <criterion/criterion.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "features/rows.h"
#include "models/train_iforest.h"

#define BENIGN 4000
#define SCANS  200

static char folder[] = "/tmp/test-wind-train-XXXXXX";

static char *in_folder(const char *name)
{
    static char path[8][128];
    static unsigned turn;
    char *p = path[turn++ % 8];

    (void)snprintf(p, sizeof(path[0]), "%s/%s", folder, name);
    return p;
}

static void write_text(const char *name, const struct buf *b)
{
    FILE *f = fopen(in_folder(name), "wb");

    cr_assert_not_null(f);
    cr_assert_not(b->failed);
    cr_assert_eq(fwrite(b->data, 1, b->len, f), b->len);
    cr_assert_eq(fclose(f), 0);
}

static void fill(struct flow_record *r, unsigned i, int is_scan, uint64_t *random)
{
    r->key = (struct flow_key){.sport = (uint16_t)(1024 + i), .dport = 80, .proto = 6};
    memcpy(r->key.src, "\0\0\0\0\0\0\0\0\0\0\xff\xff\x0a\0\0\1", 16);
    memcpy(r->key.dst, "\0\0\0\0\0\0\0\0\0\0\xff\xff\x0a\0\0\2", 16);
    r->start_ns = UINT64_C(1700000000000000000) + i * UINT64_C(1000000000);
    r->n_features = FEATURE_COUNT;
    for (size_t f = 0; f < FEATURE_COUNT; f++)
        r->feature[f] = (float)(100 + train_random(random) % 100);
    if (is_scan) {
        for (size_t f = FEATURE_src_flows; f <= FEATURE_src_new_share; f++)
            r->feature[f] = 5000;
        for (size_t f = FEATURE_duration; f <= FEATURE_bytes_rev; f++)
            r->feature[f] = 0;
        r->missing = UINT64_C(1) << FEATURE_answer_time;
    }
}

/* rows.csv: 4000 benign rows and 200 of a scan; truth.csv names all but the last ten. */
static void make_inputs(void)
{
    struct flow_record *r = calloc(1, sizeof(*r) + FEATURE_COUNT * sizeof(float));
    struct buf rows, truth;
    uint64_t random = 11;

    cr_assert_not_null(mkdtemp(folder));
    cr_assert_not_null(r);
    buf_init(&rows, 16 << 20);
    buf_init(&truth, 16 << 20);
    rows_put_header(&rows);
    buf_puts(&truth, "start,src_ip,src_port,dest_ip,dest_port,proto,label\n");
    for (unsigned i = 0; i < BENIGN + SCANS; i++) {
        const int is_scan = i >= BENIGN;
        fill(r, i, is_scan, &random);
        rows_put(&rows, r, "1:x=");
        if (i < BENIGN + SCANS - 10)
            buf_printf(&truth, "%llu,10.0.0.1,%u,10.0.0.2,80,TCP,%s\n",
                       (unsigned long long)(r->start_ns / 1000000000), r->key.sport,
                       is_scan ? "port_scan" : "benign");
    }
    write_text("rows.csv", &rows);
    write_text("truth.csv", &truth);
    buf_done(&rows);
    buf_done(&truth);
    free(r);
}

static void remove_inputs(void)
{
    char command[128];

    (void)snprintf(command, sizeof(command), "rm -r %s", folder);
    (void)!system(command);
}

TestSuite(wind_train, .init = make_inputs, .fini = remove_inputs);

/* Runs in the folder; returns the exit code, and all it printed. */
static int run(char out[8192], const char *arguments)
{
    char command[512];

    (void)snprintf(command, sizeof(command), "cd %s && " WIND_BIN_DIR "/wind-train %s 2>&1", folder,
                   arguments);
    FILE *p = popen(command, "r");
    cr_assert_not_null(p);
    const size_t n = fread(out, 1, 8191, p);
    out[n] = '\0';
    return WEXITSTATUS(pclose(p));
}

static size_t file_bytes(const char *name, char *bytes, size_t size)
{
    FILE *f = fopen(in_folder(name), "rb");

    cr_assert_not_null(f);
    const size_t n = fread(bytes, 1, size, f);
    (void)fclose(f);
    return n;
}

Test(wind_train, a_seed_gives_the_same_bytes_and_a_model_that_finds_the_scan)
{
    static char a[1 << 20], b[1 << 20];
    char out[8192];

    cr_assert_eq(run(out, "fit --truth truth.csv rows.csv -o a.model --trees 50"), 0, "%s", out);
    cr_assert_not_null(strstr(out, "flow-iforest 1, schema 31:"), "%s", out);
    cr_assert_not_null(strstr(out, "10 left out without a label"), "%s", out);
    cr_assert_eq(run(out, "fit --truth truth.csv rows.csv -o b.model --trees 50"), 0, "%s", out);
    const size_t n = file_bytes("a.model", a, sizeof(a));
    cr_assert_eq(file_bytes("b.model", b, sizeof(b)), n);
    cr_assert_eq(memcmp(a, b, n), 0, "the same bytes");
    cr_assert_eq(run(out, "fit --truth truth.csv rows.csv -o b.model --trees 50 --seed 2"), 0);
    (void)file_bytes("b.model", b, sizeof(b));
    cr_assert_neq(memcmp(a, b, n), 0, "another seed, other bytes");

    cr_assert_eq(run(out, "evaluate --json --truth truth.csv a.model rows.csv"), 0, "%s", out);
    json_t *report = json_loads(out, 0, NULL);
    json_t *scan = json_object_get(json_object_get(report, "families"), "port_scan");
    cr_assert_eq(json_integer_value(json_object_get(scan, "rows")), SCANS - 10);
    cr_assert_gt(json_number_value(json_object_get(json_object_get(scan, "model"), "auc")), 0.99);
    json_t *baseline = json_object_get(scan, "baseline");
    cr_assert_float_eq(json_number_value(json_object_get(baseline, "auc")), 1, 1e-9);
    cr_assert_eq(json_integer_value(json_object_get(json_object_get(report, "benign"), "rows")),
                 BENIGN);
    json_decref(report);

    cr_assert_eq(run(out, "evaluate --truth truth.csv a.model rows.csv"), 0, "%s", out);
    cr_assert_not_null(strstr(out, "port_scan"), "%s", out);
    cr_assert_not_null(strstr(out, "best single feature"), "%s", out);
}

Test(wind_train, labels_on_the_command_line_and_metrics_in_the_header)
{
    char out[8192];

    cr_assert_eq(run(out, "fit rows.csv -o a.model --trees 5"), 0, "%s", out);
    cr_assert_eq(run(out, "evaluate --json a.model rows.csv --label flood rows.csv > m.json"), 0);
    cr_assert_eq(run(out, "fit rows.csv -o b.model --trees 5 --metrics m.json --name mine "
                          "--model-version 7"),
                 0, "%s", out);
    cr_assert_eq(run(out, "show --json b.model"), 0, "%s", out);
    json_t *header = json_loads(out, 0, NULL);
    json_t *metrics = json_object_get(header, "metrics");
    cr_assert_not_null(json_object_get(json_object_get(metrics, "families"), "flood"), "%s", out);
    cr_assert_eq(json_integer_value(json_object_get(header, "version")), 7);
    json_t *sources = json_object_get(json_object_get(header, "lineage"), "sources");
    json_t *name = json_object_get(json_array_get(sources, 0), "name");
    cr_assert_str_eq(json_string_value(name), "rows.csv", "no path of this machine");
    json_decref(header);
    cr_assert_eq(run(out, "show b.model"), 0);
    cr_assert_not_null(strstr(out, "mine 7, kind iforest"), "%s", out);
}

/* The real sensor beside it makes the rows. */
Test(wind_train, a_capture_becomes_rows_through_the_sensor)
{
    const char *lab = WIND_SOURCE_DIR "/tests/data/lab-demo";
    char out[8192], arguments[512];

    (void)snprintf(arguments, sizeof(arguments),
                   "evaluate --json --truth %s/truth.csv " WIND_SOURCE_DIR
                   "/tests/models/data/tiny.model %s/capture.pcap.gz",
                   lab, lab);
    cr_assert_eq(run(out, arguments), 0, "%s", out);
    const char *json = strstr(out, "{\n"); /* behind what the sensor may have to say */
    cr_assert_not_null(json, "%s", out);
    json_t *report = json_loads(json, 0, NULL);
    cr_assert_not_null(report, "%s", out);
    json_t *families = json_object_get(report, "families");
    cr_assert_not_null(json_object_get(families, "port_scan"), "%s", out);
    cr_assert_not_null(json_object_get(families, "brute_force"), "%s", out);
    cr_assert_gt(json_integer_value(json_object_get(json_object_get(report, "benign"), "rows")),
                 50);
    cr_assert_eq(json_integer_value(json_object_get(report, "unlabelled")), 0, "%s", out);
    json_decref(report);
}

static void expect_sentence(const char *arguments, const char *sentence)
{
    char out[8192];

    cr_expect_eq(run(out, arguments), 1, "%s: %s", arguments, out);
    cr_expect_not_null(strstr(out, sentence), "%s: '%s' does not say '%s'", arguments, out,
                       sentence);
    cr_expect_eq(strchr(out, '\n'), strrchr(out, '\n'), "more than one line: %s", out);
}

Test(wind_train, whatever_is_off_gives_one_sentence)
{
    expect_sentence("", "say 'fit', 'evaluate' or 'show'");
    expect_sentence("fit rows.csv", "say where to write it: -o MODEL");
    expect_sentence("fit -o a.model", "give at least one file of rows");
    expect_sentence("fit -o a.model rows.csv --trees 0", "trees: 0 is outside 1..10000");
    expect_sentence("fit -o a.model rows.csv --trees many", "'many' is not a number");
    expect_sentence("fit -o a.model rows.csv --alert-p 1", "alert-p: 1 is not between 0 and 1");
    expect_sentence("fit -o a.model rows.csv --margin 11", "'11' is not a number from 0 to 10");
    expect_sentence("fit -o a.model rows.csv --frobnicate", "no such option '--frobnicate'");
    expect_sentence("fit -o a.model gone.csv", "gone.csv: No such file or directory");
    expect_sentence("fit -o /no/a.model rows.csv", "cannot write '/no/a.model.new'");
    expect_sentence("fit -o a.model --truth rows.csv rows.csv", "rows.csv:1: does not start");
    expect_sentence("fit -o a.model --label scan rows.csv", "0 benign rows to grow from");
    expect_sentence("fit -o a.model rows.csv --metrics rows.csv", "rows.csv:1:");
    expect_sentence("evaluate --trees 3 x rows.csv", "no such option '--trees'");
    expect_sentence("evaluate rows.csv rows.csv", "model 'rows.csv': not a model file");
    expect_sentence("show gone.model", "model 'gone.model': No such file or directory");
    expect_sentence("fit -o a.model --sensor /no/sensor truth.csv",
                    "truth.csv: cannot run /no/sensor: No such file or directory");
    expect_sentence("fit -o a.model --sensor /bin/false truth.csv",
                    "wind-sensor could not make rows of it (exit code 1)");
    cr_assert_neq(access(in_folder("a.model"), F_OK), 0, "nothing half-made is left behind");
}

/* Two networks, unlike each other: each looks strange to a forest that knows the other only. */
Test(wind_train, calibrates_each_input_by_a_forest_of_the_others)
{
    char out[8192], command[512];

    (void)snprintf(command, sizeof(command),
                   "cd %s && head -2000 rows.csv >near.csv && "
                   "sed -E '3,$ s/,1([0-9]{2})\\b/,9\\1/g' near.csv >far.csv",
                   folder);
    cr_assert_eq(system(command), 0);
    cr_assert_eq(run(out, "fit --calibrate 0 near.csv -o m"), 1);
    cr_assert_not_null(strstr(out, "needs two inputs"), "%s", out);
    cr_assert_eq(run(out, "fit --calibrate 0 near.csv far.csv -o m"), 0, "%s", out);
    cr_assert_not_null(strstr(out, "3996 rows, 3996 to calibrate"), "%s", out);

    /* So none of them is rare, although the forest has the usual tail of a hundredth or so. */
    cr_assert_eq(run(out, "evaluate m near.csv far.csv"), 0, "%s", out);
    cr_assert_not_null(strstr(out, "on 3996 benign rows, of which 0 ("), "%s", out);
    cr_assert_eq(run(out, "fit near.csv far.csv -o m --alert-p 0.01"), 0, "%s", out);
    cr_assert_eq(run(out, "evaluate m near.csv far.csv"), 0, "%s", out);
    cr_assert_null(strstr(out, "of which 0 ("), "%s", out);
}
