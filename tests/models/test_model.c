#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/crypto.h"
#include "models/model.h"
#include "models/tiny_model.h"

static struct model *load(struct tiny *t)
{
    struct model *m = NULL;
    struct err e = {0};

    tiny_init(t);
    tiny_write(t);
    cr_assert_eq(model_load_bytes(&m, t->bytes.data, t->bytes.len, &e), 0, "%s", e.text);
    return m;
}

static struct model_score score_of(const struct model *m, float duration, float pkts, int rst)
{
    float value[FEATURE_COUNT] = {0};
    struct model_row row = {value, 0};
    struct model_score score;

    value[FEATURE_duration] = duration;
    value[FEATURE_pkts_fwd] = pkts;
    value[FEATURE_tcp_rst] = rst > 0 ? (float)rst : 0;
    row.missing = rst < 0 ? UINT64_C(1) << FEATURE_tcp_rst : 0;
    model_score(m, &row, 1, &score);
    return score;
}

Test(model, scores_follow_the_paths_by_hand)
{
    struct tiny t;
    WIND_AUTO(model) struct model *m = load(&t);
    const double c = 13.0 / 6;

    cr_expect_float_eq(score_of(m, 0, 2, -1).raw, exp2(-3 / c), 1e-6, "3 and 3, missing goes left");
    cr_expect_float_eq(score_of(m, 0, 2, 0).raw, exp2(-3 / c), 1e-6, "0 resets as well");
    cr_expect_float_eq(score_of(m, 100, 2, 0).raw, exp2(-2.5 / c), 1e-6, "the cut itself is right");
    cr_expect_float_eq(score_of(m, 0, 10, 0).raw, exp2(-2 / c), 1e-6);
    cr_expect_float_eq(score_of(m, 0, 10, 1).raw, exp2(-1 / c), 1e-6);
    tiny_done(&t);
}

Test(model, p_values_count_conservatively_and_scores_rise_between_them)
{
    struct tiny t;
    WIND_AUTO(model) struct model *m = load(&t);
    const double c = 13.0 / 6;

    /* raw 0.383: of 0.3 0.4 0.5 0.6 three are at least that: (3 + 1) / (4 + 1) */
    struct model_score s = score_of(m, 0, 2, -1);
    cr_expect_float_eq(s.p_value, 0.8, 1e-6);
    const double share = (exp2(-3 / c) - 0.3) / 0.1;
    cr_expect_float_eq(s.score, -log10((4 - share) / 5) / 6, 1e-5);

    /* raw 0.726: above all */
    s = score_of(m, 0, 10, 1);
    cr_expect_float_eq(s.p_value, 0.2, 1e-6);
    const double start = -log10(0.2) / 6, beyond = (exp2(-1 / c) - 0.6) / 0.4;
    cr_expect_float_eq(s.score, start + (1 - start) * beyond, 1e-5);
    tiny_done(&t);
}

Test(model, a_batch_scores_as_its_rows_alone)
{
    enum { N = 150 };
    static float value[N][FEATURE_COUNT];
    struct model_row rows[N];
    struct model_score batch[N], alone;
    struct tiny t;
    WIND_AUTO(model) struct model *m = load(&t);

    for (int i = 0; i < N; i++) {
        value[i][FEATURE_pkts_fwd] = (float)(i % 20);
        value[i][FEATURE_duration] = (float)(i * 3 % 200);
        rows[i] = (struct model_row){value[i], i % 3 ? 0 : UINT64_C(1) << FEATURE_tcp_rst};
    }
    model_score(m, rows, N, batch);
    for (int i = 0; i < N; i++) {
        model_score(m, &rows[i], 1, &alone);
        cr_assert_float_eq(alone.raw, batch[i].raw, 0, "row %d", i);
        cr_assert_float_eq(alone.score, batch[i].score, 0, "row %d", i);
    }
    tiny_done(&t);
}

Test(model, info_says_what_the_header_says)
{
    struct tiny t;
    WIND_AUTO(model) struct model *m = load(&t);
    const struct model_info *info = model_info(m);
    size_t len = 0;

    cr_assert_str_eq(info->name, "tiny");
    cr_assert_str_eq(info->kind, "iforest");
    cr_assert_eq(info->version, 3);
    cr_assert_eq(info->n_features, FEATURE_COUNT);
    cr_assert_eq(info->schema, feature_schema_hash(FEATURE_COUNT));
    cr_assert_eq(info->training_rows, 4);
    cr_assert_eq(info->calibration_rows, 4);
    cr_assert_float_eq(info->alert_p, 0.25, 1e-6);
    cr_assert_eq(memcmp(info->digest, t.bytes.data + t.bytes.len - 32, 32), 0);
    cr_assert_eq(model_header(m, &len)[0], '{');
    cr_assert_eq(model_header(m, &len)[len - 1], '}');
    tiny_done(&t);
}

/* ---------------------------------------------------------------- why */

Test(model, the_feature_that_did_it_explains_all)
{
    struct tiny t;
    WIND_AUTO(model) struct model *m = load(&t);
    float value[FEATURE_COUNT];
    const struct model_row row = {value, UINT64_C(1) << FEATURE_tcp_rst};
    struct model_reason reason[FEATURE_COUNT];

    for (int f = 0; f < FEATURE_COUNT; f++)
        value[f] = 10;
    value[FEATURE_pkts_fwd] = 500;
    cr_assert_eq(model_explain(m, &row, reason, FEATURE_COUNT), 1);
    cr_assert_eq(reason[0].feature, FEATURE_pkts_fwd);
    cr_assert_float_eq(reason[0].contribution, 1, 1e-6);
    cr_assert_float_eq(reason[0].value, 500, 0);
    cr_assert_float_eq(reason[0].median, 2, 1e-6);
    cr_assert_float_eq(reason[0].low, 0.2, 1e-6);
    cr_assert_float_eq(reason[0].high, 3.8, 1e-6);
    cr_assert_not(reason[0].is_missing);
    tiny_done(&t);
}

Test(model, two_reasons_share_as_the_hand_computes)
{
    struct tiny t;
    WIND_AUTO(model) struct model *m = load(&t);
    float value[FEATURE_COUNT] = {0};
    const struct model_row row = {value, 0};
    struct model_reason reason[8];
    const double c = 13.0 / 6, none = exp2(-3 / c), one = exp2(-2 / c), both = exp2(-1 / c);

    /* the median row has paths 3 and 3; pkts_fwd alone makes 1 and 3, tcp_rst alone 3 and 1 */
    value[FEATURE_pkts_fwd] = 500;
    value[FEATURE_tcp_rst] = 9;
    cr_assert_eq(model_explain(m, &row, reason, 8), 2);
    cr_assert_eq(reason[0].feature, FEATURE_pkts_fwd, "a tie: the first in features.def");
    cr_assert_eq(reason[1].feature, FEATURE_tcp_rst);
    const double each = (one - none + (both - one)) / 2;
    cr_assert_float_eq(reason[0].contribution, each / (2 * each), 1e-5);
    cr_assert_float_eq(reason[1].missing_share, 0.75, 0);
    cr_assert_eq(model_explain(m, &row, reason, 1), 1, "no more than asked for");
    cr_assert_float_eq(reason[0].contribution, 0.5, 1e-5, "of all, not of those returned");
    tiny_done(&t);
}

Test(model, the_median_row_has_no_reasons)
{
    struct tiny t;
    WIND_AUTO(model) struct model *m = load(&t);
    float value[FEATURE_COUNT];
    const struct model_row row = {value, UINT64_C(1) << FEATURE_tcp_rst};
    struct model_reason reason[8];

    for (int f = 0; f < FEATURE_COUNT; f++)
        value[f] = f == FEATURE_pkts_fwd ? 2 : 10;
    cr_assert_eq(model_explain(m, &row, reason, 8), 0);
    tiny_done(&t);
}

/* ---------------------------------------------------------------- refusals */

static void expect_refused(struct tiny *t, const char *sentence)
{
    struct model *m = NULL;
    struct err e = {0};

    cr_expect_eq(model_load_bytes(&m, t->bytes.data, t->bytes.len, &e), -EINVAL, "%s", sentence);
    cr_expect_null(m);
    cr_expect_not_null(strstr(e.text, sentence), "'%s' does not say '%s'", e.text, sentence);
    tiny_done(t);
}

#define REFUSED(change, sentence)                                                                  \
    do {                                                                                           \
        struct tiny t;                                                                             \
        tiny_init(&t);                                                                             \
        change;                                                                                    \
        tiny_write(&t);                                                                            \
        expect_refused(&t, sentence);                                                              \
    } while (0)

Test(model, a_header_that_is_off_is_refused)
{
    REFUSED(json_object_set_new(t.header, "format", json_integer(2)), "it has format 2");
    REFUSED(json_object_del(t.header, "name"), "'name' is not a text of 1..31 bytes");
    REFUSED(json_object_set_new(t.header, "version", json_integer(-1)), "'version' is not a");
    REFUSED(json_object_set_new(t.header, "kind", json_string("oracle")),
            "no kind of model called 'oracle'");
    REFUSED(json_object_del(t.header, "lineage"), "'rows' is not a number");
    REFUSED(json_object_del(t.header, "thresholds"), "'alert_p' is not a number from 0 to 1");
    REFUSED(json_object_del(t.header, "schema"), "'count' is not a number");
    REFUSED(json_object_set_new(json_object_get(t.header, "schema"), "count", json_integer(40)),
            "it needs 40 features");
    REFUSED(json_object_set_new(json_object_get(t.header, "schema"), "hash", json_string("feed")),
            "it was trained on feature schema 31:feed, this program has 31:");
    REFUSED(json_object_set_new(t.header, "sample", json_integer(1)), "a forest without");
}

Test(model, arrays_that_are_off_are_refused)
{
    REFUSED(t.node[0].feature = FEATURE_COUNT, "node 0: feature 31 is not one of");
    REFUSED(t.node[0].feature = -2, "node 0: a leaf with children");
    REFUSED(t.node[1].left = 2, "node 1: a leaf with children");
    REFUSED(t.node[0].left = 7, "node 0: its child 7 is out of range");
    REFUSED(t.node[3].left = 3, "node 3: its child 3 is out of range");
    REFUSED(t.node[3].left = UINT32_MAX, "node 3: its child 4294967295 is out of range");
    REFUSED(t.node[0].value = NAN, "node 0: its number is not finite");
    REFUSED(t.node[1].value = -1, "node 1: its number is not finite, or negative");
    REFUSED(t.root[1] = 8, "tree 1: its root 8 is out of range");
    REFUSED(t.calibration[1] = 0.2f, "calibration: score 1 is not ascending");
    REFUSED(t.calibration[3] = NAN, "calibration: score 3 is not");
    REFUSED(t.calibration[3] = 1.5f, "calibration: score 3 is not");
    REFUSED(t.quantile[1] = INFINITY, "the quantiles of duration");
    REFUSED(t.missing[1] = 2, "the missing share of pkts_fwd");
}

/* Bytes changed after writing; the digest is made right again. */
static void reseal(struct tiny *t)
{
    uint8_t *bytes = (uint8_t *)t->bytes.data;

    crypto_sha256(bytes, t->bytes.len - 32, bytes + t->bytes.len - 32);
}

Test(model, a_frame_that_is_off_is_refused)
{
    struct tiny t;
    struct err e = {0};
    struct model *m = NULL;

    tiny_init(&t);
    tiny_write(&t);
    for (size_t len = 0; len < t.bytes.len; len++)
        cr_assert_eq(model_load_bytes(&m, t.bytes.data, len, &e), -EINVAL, "cut to %zu", len);
    for (size_t i = 0; i < t.bytes.len; i++) {
        t.bytes.data[i] ^= 0x10;
        cr_assert_eq(model_load_bytes(&m, t.bytes.data, t.bytes.len, &e), -EINVAL, "byte %zu", i);
        t.bytes.data[i] ^= 0x10;
    }
    t.bytes.data[200] ^= 1;
    expect_refused(&t, "its digest does not match");

    tiny_init(&t);
    tiny_write(&t);
    t.bytes.data[0] = 'X';
    expect_refused(&t, "not a model file");

    tiny_init(&t);
    tiny_write(&t);
    memcpy(t.bytes.data + 8, "\xff\xff\xff\x7f", 4);
    reseal(&t);
    expect_refused(&t, "its header of 2147483647 bytes does not fit");

    tiny_init(&t);
    tiny_write(&t);
    t.bytes.data[24] = '[';
    reseal(&t);
    expect_refused(&t, "its header is not JSON");

    tiny_init(&t);
    tiny_write(&t);
    memcpy(strstr(t.bytes.data + 24, "\"roots\""), "\"roofs\"", 7);
    reseal(&t);
    expect_refused(&t, "there is no array 'roots'");
}

Test(model, a_tree_that_is_too_deep_is_refused)
{
    enum { N = 2 * (MODEL_DEPTH_MAX + 2) + 1 };
    static struct iforest_node node[N];
    const uint32_t root = 0;
    struct iforest f = {node, N, &root, 1, 4, 2};
    struct err e = {0};

    for (uint32_t i = 0; i < N; i++) /* a chain: the left child of a left child ... */
        node[i] = i % 2 || i + 1 >= N ? (struct iforest_node){-1, 1, 0}
                                      : (struct iforest_node){0, 1, i + 1};
    for (uint32_t i = 1; i + 2 < N; i += 2)
        node[i] = (struct iforest_node){0, 1, i + 2};
    for (uint32_t i = 2; i < N; i += 2)
        node[i] = (struct iforest_node){-1, 1, 0};
    cr_assert_eq(iforest_check(&f, 1, &e), -EINVAL);
    cr_assert_not_null(strstr(e.text, "deeper than 64"), "%s", e.text);
}

/* ---------------------------------------------------------------- the file */

/* Goldens of other modules use this file; a changed format shows here. */
Test(model, the_tiny_model_in_the_tree_is_this_one)
{
    const char *path = WIND_SOURCE_DIR "/tests/models/data/tiny.model";
    static char bytes[1 << 16];
    struct tiny t;

    tiny_init(&t);
    tiny_write(&t);
    if (getenv("WIND_ACCEPT") != NULL) {
        FILE *out = fopen(path, "wb");
        cr_assert_not_null(out);
        cr_assert_eq(fwrite(t.bytes.data, 1, t.bytes.len, out), t.bytes.len);
        cr_assert_eq(fclose(out), 0);
    }
    FILE *f = fopen(path, "rb");
    cr_assert_not_null(f);
    cr_assert_eq(fread(bytes, 1, sizeof(bytes), f), t.bytes.len);
    cr_assert_eq(memcmp(bytes, t.bytes.data, t.bytes.len), 0);
    (void)fclose(f);
    tiny_done(&t);
}

Test(model, a_file_loads_by_descriptor_and_a_pipe_does_not)
{
    const int fd = open(WIND_SOURCE_DIR "/tests/models/data/tiny.model", O_RDONLY | O_CLOEXEC);
    WIND_AUTO(model) struct model *m = NULL;
    struct err e = {0};
    int pipes[2];

    cr_assert_geq(fd, 0);
    cr_assert_eq(model_load_fd(&m, fd, &e), 0, "%s", e.text);
    cr_assert_str_eq(model_info(m)->name, "tiny");
    (void)close(fd);

    struct model *none = NULL;
    cr_assert_eq(pipe(pipes), 0);
    cr_assert_eq(model_load_fd(&none, pipes[0], &e), -EINVAL);
    cr_assert_eq(model_load_fd(&none, -1, &e), -EBADF);
    cr_assert_null(none);
}
