#include <criterion/criterion.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "features/feature.h"
#include "models/iforest_walk.h"
#include "models/train_iforest.h"

#define FEATURES 3
#define ROWS     2000

static float value[ROWS][FEATURES];
static uint64_t missing[ROWS];

/* Two clouds; feature 2 is missing in one of them. */
static struct train_rows clouds(void)
{
    uint64_t random = 7;

    for (int i = 0; i < ROWS; i++) {
        for (int f = 0; f < FEATURES; f++)
            value[i][f] = (float)(100 + 900 * (i & 1) + (int)(train_random(&random) % 50));
        missing[i] = i & 1 ? UINT64_C(4) : 0;
        if (missing[i])
            value[i][2] = 0;
    }
    return (struct train_rows){value[0], missing, ROWS, FEATURES};
}

static double margin; /* of fit; 0 is the paper */

static struct train_forest fit(const struct train_rows *rows, uint32_t trees, uint32_t sample,
                               uint64_t seed)
{
    const struct train_iforest_conf conf = {trees, sample, seed, margin};
    struct train_forest f;
    struct err e = {0};

    cr_assert_eq(train_iforest(&f, rows, &conf, &e), 0, "%s", e.text);
    return f;
}

static struct iforest view_of(const struct train_forest *f)
{
    return (struct iforest){.node = f->node,
                            .n_nodes = f->n_nodes,
                            .root = f->root,
                            .n_trees = f->n_trees,
                            .sample = f->sample,
                            .average_path = iforest_average_path(f->sample)};
}

static float raw_of(const struct train_forest *f, float a, float b, float c, uint64_t mask)
{
    const struct iforest view = view_of(f);
    const float v[FEATURES] = {a, b, c};
    float raw;

    iforest_score(&view, &(struct model_row){v, mask}, 1, &raw);
    return raw;
}

Test(train_iforest, average_path_is_that_of_the_paper)
{
    cr_assert_float_eq(iforest_average_path(0), 0, 0);
    cr_assert_float_eq(iforest_average_path(1), 0, 0);
    cr_assert_float_eq(iforest_average_path(2), 1, 1e-12);
    cr_assert_float_eq(iforest_average_path(4), 13.0 / 6, 1e-12);
    /* 2 (ln 255 + 0.5772156649) - 2 * 255 / 256, plus the 1 / 255 that the approximation leaves out
     */
    cr_assert_float_eq(iforest_average_path(256), 10.2486, 1e-3);
}

Test(train_iforest, a_seed_gives_the_same_forest_and_another_seed_another)
{
    const struct train_rows rows = clouds();
    struct train_forest a = fit(&rows, 20, 64, 1), b = fit(&rows, 20, 64, 1),
                        c = fit(&rows, 20, 64, 2);

    cr_assert_eq(a.n_nodes, b.n_nodes);
    cr_assert_eq(memcmp(a.node, b.node, a.n_nodes * sizeof(*a.node)), 0);
    cr_assert(a.n_nodes != c.n_nodes || memcmp(a.node, c.node, a.n_nodes * sizeof(*a.node)) != 0);
    train_iforest_done(&a);
    train_iforest_done(&b);
    train_iforest_done(&c);
}

Test(train_iforest, what_is_grown_passes_the_check_of_loading)
{
    const struct train_rows rows = clouds();

    for (uint32_t sample = 2; sample <= 1024; sample *= 2) {
        struct train_forest f = fit(&rows, 10, sample, sample);
        const struct iforest view = view_of(&f);
        struct err e = {0};
        cr_assert_eq(iforest_check(&view, FEATURES, &e), 0, "%s", e.text);
        train_iforest_done(&f);
    }
}

/* The weighted mean path of a tree's own sample is what the paper's c(n) stands for. */
Test(train_iforest, every_row_of_the_sample_ends_in_exactly_one_leaf)
{
    const struct train_rows rows = clouds();
    struct train_forest f = fit(&rows, 1, ROWS, 3);
    size_t leaves = 0, inner = 0;

    for (size_t i = 0; i < f.n_nodes; i++)
        *(f.node[i].feature < 0 ? &leaves : &inner) += 1;
    cr_assert_eq(leaves, inner + 1);
    cr_assert_eq(f.sample, ROWS);
    train_iforest_done(&f);
}

Test(train_iforest, outliers_score_higher_than_the_clouds)
{
    const struct train_rows rows = clouds();
    struct train_forest f = fit(&rows, 100, 256, 5);
    const float in_first = raw_of(&f, 125, 125, 125, 0), in_second = raw_of(&f, 1025, 1025, 0, 4);

    cr_assert_lt(in_first, 0.5f);
    cr_assert_lt(in_second, 0.5f);
    cr_assert_gt(raw_of(&f, 100000, 125, 125, 0), in_first + 0.1f, "far above");
    cr_assert_gt(raw_of(&f, 1025, 125, 125, 0), in_first + 0.05f, "between the clouds");
    cr_assert_gt(raw_of(&f, 125, 125, 0, 4), in_first + 0.02f, "missing where it never is");
    train_iforest_done(&f);
}

Test(train_iforest, only_a_margin_tells_far_beyond_from_the_largest_value)
{
    const struct train_rows rows = clouds();
    struct train_forest paper = fit(&rows, 100, 256, 5);

    margin = 0.5;
    struct train_forest wide = fit(&rows, 100, 256, 5);
    cr_assert_float_eq(raw_of(&paper, 1e9f, 1025, 0, 4), raw_of(&paper, 1050, 1025, 0, 4), 1e-6);
    cr_assert_gt(raw_of(&wide, 1e9f, 1025, 0, 4), raw_of(&wide, 1050, 1025, 0, 4) + 0.05f);
    train_iforest_done(&paper);
    train_iforest_done(&wide);
}

/* Empty sides cost nodes: the most there can be must find room, at odd sample sizes too. */
Test(train_iforest, a_wide_margin_stays_within_its_nodes)
{
    const struct train_rows rows = clouds();

    for (uint32_t sample = 2; sample < 600; sample = sample * 3 / 2 + 1) {
        for (int wide = 0; wide <= 10; wide += 5) {
            margin = wide;
            struct train_forest f = fit(&rows, 5, sample, sample);
            const struct iforest view = view_of(&f);
            struct err e = {0};
            cr_assert_eq(iforest_check(&view, FEATURES, &e), 0, "%s", e.text);
            train_iforest_done(&f);
        }
    }
}

Test(train_iforest, rows_that_are_all_alike_are_one_leaf)
{
    static float same[50][FEATURES];
    static uint64_t none[50];
    const struct train_rows rows = {same[0], none, 50, FEATURES};
    struct train_forest f = fit(&rows, 3, 256, 1);

    cr_assert_eq(f.n_nodes, 3);
    cr_assert_eq(f.sample, 50);
    cr_assert_float_eq(raw_of(&f, 9, 9, 9, 0), 0.5, 1e-6, "no tree can tell: as long as average");
    train_iforest_done(&f);
}

Test(train_iforest, extreme_values_still_part)
{
    static float extreme[4][1] = {{0}, {1e-30f}, {3.4e38f}, {3.3e38f}};
    static uint64_t none[4] = {0, 0, 0, 1};
    const struct train_rows rows = {extreme[0], none, 4, 1};

    for (uint64_t seed = 0; seed < 200; seed++) {
        struct train_forest f = fit(&rows, 1, 4, seed);
        const struct iforest view = view_of(&f);
        struct err e = {0};
        cr_assert_eq(iforest_check(&view, 1, &e), 0, "%s", e.text);
        cr_assert_geq(f.n_nodes, 5, "depth 2 parts at least three ways");
        train_iforest_done(&f);
    }
}

Test(train_iforest, settings_out_of_range_are_refused)
{
    const struct train_rows rows = clouds(), one = {value[0], missing, 1, FEATURES};
    struct train_forest f;
    struct err e = {0};

    cr_assert_eq(train_iforest(&f, &rows, &(struct train_iforest_conf){0, 256, 1, 0}, &e), -EINVAL);
    cr_assert_str_eq(e.text, "trees: 0 is outside 1..10000");
    cr_assert_eq(train_iforest(&f, &rows, &(struct train_iforest_conf){10, 1, 1, 0}, &e), -EINVAL);
    cr_assert_eq(train_iforest(&f, &one, &(struct train_iforest_conf){10, 256, 1, 0}, &e), -EINVAL);
}

/* ---------------------------------------------------------------- laid out for the walk */

/* 37 trees: two groups, and some left over. Rows within the clouds, beside them, and with gaps. */
Test(train_iforest, the_walk_scores_as_the_forest_does_to_the_last_bit)
{
    enum { N = 500 };
    static float v[N][FEATURES], raw[N], walked[N];
    static struct model_row row[N];
    const struct train_rows rows = clouds();
    struct train_forest f = fit(&rows, 37, 256, 5);
    const struct iforest view = view_of(&f);
    WIND_AUTO(iforest_walk) struct iforest_walk *w = NULL;
    uint64_t random = 11;
    size_t differ = 0;

    cr_assert_eq(iforest_walk_new(&w, &view, FEATURES, NULL), 0);
    for (size_t i = 0; i < N; i++) {
        for (size_t k = 0; k < FEATURES; k++)
            v[i][k] = (float)(train_random(&random) % 1500);
        row[i] = (struct model_row){v[i], train_random(&random) % 8};
    }
    iforest_score(&view, row, N, raw);
    iforest_walk_score(w, row, N, walked);
    cr_assert_eq(memcmp(raw, walked, sizeof(raw)), 0);
    for (size_t i = 1; i < N; i++)
        differ += raw[i] != raw[0];
    cr_assert_gt(differ, N / 2); /* there was something to agree on */
    train_iforest_done(&f);
}

Test(train_iforest, a_forest_too_large_for_the_walk_is_refused)
{
    const struct iforest_node leaf = {.feature = -1, .value = 1};
    const uint32_t root = 0;
    const struct iforest f = {.node = &leaf, .n_nodes = 1, .root = &root, .n_trees = 1};
    struct iforest_walk *w = NULL;

    cr_assert_eq(iforest_walk_new(&w, &f, 65, NULL), -EINVAL);
    cr_assert_null(w);
}
