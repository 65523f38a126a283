#include "models/iforest.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "features/feature.h"
#include "features/fmath.h"

#define BATCH         32
#define TREES_AT_ONCE 16

double iforest_average_path(uint32_t n)
{
    double harmonic = 0;

    if (n < 2)
        return 0;
    for (uint32_t i = n - 1; i >= 1; i--) /* small terms first */
        harmonic += 1.0 / i;
    return 2 * harmonic - 2 * (double)(n - 1) / n;
}

static int check_node(const struct iforest *f, size_t i, size_t n_features, struct err *e)
{
    const struct iforest_node *node = &f->node[i];

    if (!isfinite(node->value) || node->value < 0)
        return err_set(e, -EINVAL, "node %zu: its number is not finite, or negative", i);
    if (node->feature < 0)
        return node->feature == -1 && node->left == 0
                   ? 0
                   : err_set(e, -EINVAL, "node %zu: a leaf with children", i);
    if ((size_t)node->feature >= n_features)
        return err_set(e, -EINVAL, "node %zu: feature %d is not one of the schema's %zu", i,
                       node->feature, n_features);
    /* always forward, so there are no loops */
    if (node->left <= i || node->left >= f->n_nodes || node->left + 1 >= f->n_nodes)
        return err_set(e, -EINVAL, "node %zu: its child %u is out of range", i, node->left);
    return 0;
}

int iforest_check(const struct iforest *f, size_t n_features, struct err *e)
{
    if (f->n_trees == 0 || f->n_nodes == 0 || f->sample < 2)
        return err_set(e, -EINVAL, "a forest without trees, nodes or sample");
    uint8_t *depth = calloc(f->n_nodes, 1);
    if (depth == NULL)
        return err_set(e, -ENOMEM, "out of memory for %zu nodes", f->n_nodes);

    int r = 0;
    for (size_t i = 0; i < f->n_nodes && r == 0; i++) {
        r = check_node(f, i, n_features, e);
        if (r < 0 || f->node[i].feature < 0)
            continue;
        if (depth[i] == MODEL_DEPTH_MAX) {
            r = err_set(e, -EINVAL, "node %zu: deeper than %d", i, MODEL_DEPTH_MAX);
            continue;
        }
        for (size_t child = f->node[i].left; child <= f->node[i].left + 1u; child++)
            if (depth[child] <= depth[i])
                depth[child] = (uint8_t)(depth[i] + 1);
    }
    free(depth);
    for (size_t t = 0; t < f->n_trees && r == 0; t++)
        if (f->root[t] >= f->n_nodes)
            r = err_set(e, -EINVAL, "tree %zu: its root %u is out of range", t, f->root[t]);
    return r;
}

/* One step down, without a branch on the data: a wrong guess costs more than the step. */
static uint32_t step(const struct iforest_node *node, const struct model_row *row)
{
    const uint32_t f = (uint32_t)node->feature;
    const uint32_t is_left =
        (uint32_t)feature_is_missing(row->missing, f) | (uint32_t)(row->value[f] < node->value);

    return node->left + 1 - is_left;
}

/* Adds the paths of a row through `n` trees, in tree order; all walk at once, to hide the memory.
 */
static double add_paths(double sum, const struct iforest *f, size_t first, size_t n,
                        const struct model_row *row)
{
    uint32_t at[TREES_AT_ONCE];
    size_t walking = n;

    for (size_t t = 0; t < n; t++)
        at[t] = f->root[first + t];
    while (walking > 0) {
        walking = 0;
        for (size_t t = 0; t < n; t++) {
            const struct iforest_node *node = &f->node[at[t]];
            if (node->feature < 0)
                continue;
            at[t] = step(node, row);
            walking++;
        }
    }
    for (size_t t = 0; t < n; t++)
        sum += (double)f->node[at[t]].value;
    return sum;
}

/* Some trees over a batch of rows at a time, so that those trees stay in the cache. */
void iforest_score(const struct iforest *f, const struct model_row *rows, size_t n, float *ret_raw)
{
    for (size_t start = 0; start < n; start += BATCH) {
        const size_t m = n - start < BATCH ? n - start : BATCH;
        double sum[BATCH] = {0};
        for (size_t t = 0; t < f->n_trees; t += TREES_AT_ONCE) {
            const size_t left = f->n_trees - t;
            const size_t trees = left < TREES_AT_ONCE ? left : TREES_AT_ONCE;
            for (size_t i = 0; i < m; i++)
                sum[i] = add_paths(sum[i], f, t, trees, &rows[start + i]);
        }
        for (size_t i = 0; i < m; i++) {
            const double mean = sum[i] / (double)f->n_trees;
            ret_raw[start + i] = (float)fmath_exp2(-mean / f->average_path);
        }
    }
}
