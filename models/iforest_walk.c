#include "models/iforest_walk.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base.h"
#include "features/feature.h"
#include "features/fmath.h"

#define FEATURE_BITS  6
#define FEATURE_MASK  ((1u << FEATURE_BITS) - 1)
#define FEATURES_MAX  (1u << FEATURE_BITS)
#define BATCH         32
#define TREES_AT_ONCE 16 /* enough steps under way to hide the memory behind each */

/*
 * A node is one number: the cut, as `rank` has it (of a leaf: above every value), 26 bits of the
 * left child, or of the leaf itself, and FEATURE_BITS of the feature.
 */
struct iforest_walk {
    uint64_t *node;
    float *path; /* of a leaf */
    uint32_t *root;
    uint8_t *depth; /* of each tree */
    size_t n_trees, n_features;
    size_t n_walks; /* trees and, to make the last group whole, some of a single leaf and no path */
    double average_path;
};

/*
 * Numbers that are not negative compare as their bits do, and integers are compared sooner. The
 * sum makes 0 of -0.
 */
static int32_t rank(float value)
{
    const float v = value + 0.0f;
    int32_t bits;

    memcpy(&bits, &v, sizeof(bits));
    return bits;
}

static uint64_t make(float cut, uint32_t left, uint32_t feature)
{
    return (uint64_t)(uint32_t)rank(cut) << 32 | left << FEATURE_BITS | feature;
}

static uint64_t leaf(size_t i)
{
    return make(INFINITY, (uint32_t)i, 0);
}

/* Children lie behind their parents: one pass backwards knows how deep it goes below each. */
static int lay_out(struct iforest_walk *w, const struct iforest *f, struct err *e)
{
    uint8_t *below = calloc(f->n_nodes, 1);

    if (below == NULL)
        return err_set(e, -ENOMEM, "out of memory for %zu nodes", f->n_nodes);
    for (size_t i = f->n_nodes; i-- > 0;) {
        const struct iforest_node *from = &f->node[i];
        const uint32_t left = from->left;

        w->path[i] = from->feature < 0 ? from->value : 0;
        if (from->feature < 0) {
            w->node[i] = leaf(i);
            continue;
        }
        w->node[i] = make(from->value, left, (uint32_t)from->feature);
        below[i] = (uint8_t)(1 + (below[left] > below[left + 1] ? below[left] : below[left + 1]));
    }
    w->node[f->n_nodes] = leaf(f->n_nodes);
    w->path[f->n_nodes] = 0;
    for (size_t t = 0; t < w->n_walks; t++) {
        w->root[t] = t < f->n_trees ? f->root[t] : (uint32_t)f->n_nodes;
        w->depth[t] = t < f->n_trees ? below[f->root[t]] : 0;
    }
    free(below);
    return 0;
}

int iforest_walk_new(struct iforest_walk **ret_walk, const struct iforest *f, size_t n_features,
                     struct err *e)
{
    if (f->n_nodes >= IFOREST_WALK_NODES || n_features > FEATURES_MAX)
        return err_set(e, -EINVAL, "a forest of %zu nodes and %zu features is too large",
                       f->n_nodes, n_features);
    WIND_AUTO(iforest_walk) struct iforest_walk *w = calloc(1, sizeof(*w));
    if (w == NULL)
        return err_set(e, -ENOMEM, "out of memory");
    w->n_trees = f->n_trees;
    w->n_walks = (f->n_trees + TREES_AT_ONCE - 1) / TREES_AT_ONCE * TREES_AT_ONCE;
    w->n_features = n_features;
    w->average_path = f->average_path;
    w->node = malloc((f->n_nodes + 1) * sizeof(*w->node));
    w->path = malloc((f->n_nodes + 1) * sizeof(*w->path));
    w->root = malloc(w->n_walks * sizeof(*w->root));
    w->depth = malloc(w->n_walks);
    if (w->node == NULL || w->path == NULL || w->root == NULL || w->depth == NULL)
        return err_set(e, -ENOMEM, "out of memory for %zu nodes", f->n_nodes);
    const int r = lay_out(w, f, e);
    if (r < 0)
        return r;
    *ret_walk = WIND_STEAL(w);
    return 0;
}

struct iforest_walk *iforest_walk_free(struct iforest_walk *w)
{
    if (w != NULL) {
        free(w->node);
        free(w->path);
        free(w->root);
        free(w->depth);
        free(w);
    }
    return NULL;
}

/* A missing value goes left of every cut, and no value is below zero. */
static void lay_row(const struct iforest_walk *w, const struct model_row *row,
                    int32_t ret_rank[FEATURES_MAX])
{
    for (size_t f = 0; f < w->n_features; f++)
        ret_rank[f] = feature_is_missing(row->missing, f) ? -1 : rank(row->value[f]);
}

static inline uint32_t step(uint64_t node, const int32_t *row)
{
    return ((uint32_t)node >> FEATURE_BITS) + (row[node & FEATURE_MASK] >= (int32_t)(node >> 32));
}

/* TREES_AT_ONCE trees from `first` on, in step. */
static double add_paths(double sum, const struct iforest_walk *w, size_t first, const int32_t *row)
{
    uint32_t at[TREES_AT_ONCE];
    unsigned depth = 0;

    for (size_t t = 0; t < TREES_AT_ONCE; t++) {
        at[t] = w->root[first + t];
        depth = w->depth[first + t] > depth ? w->depth[first + t] : depth;
    }
    for (unsigned d = 0; d < depth; d++)
#pragma GCC unroll 16
        for (size_t t = 0; t < TREES_AT_ONCE; t++)
            at[t] = step(w->node[at[t]], row);
    for (size_t t = 0; t < TREES_AT_ONCE; t++)
        sum += (double)w->path[at[t]];
    return sum;
}

/* Some trees over a batch of rows at a time, so that those trees stay in the cache. */
void iforest_walk_score(const struct iforest_walk *w, const struct model_row *rows, size_t n,
                        float *ret_raw)
{
    int32_t rank_of[BATCH][FEATURES_MAX];

    for (size_t start = 0; start < n; start += BATCH) {
        const size_t m = n - start < BATCH ? n - start : BATCH;
        double sum[BATCH] = {0};

        for (size_t i = 0; i < m; i++)
            lay_row(w, &rows[start + i], rank_of[i]);
        for (size_t t = 0; t < w->n_walks; t += TREES_AT_ONCE)
            for (size_t i = 0; i < m; i++)
                sum[i] = add_paths(sum[i], w, t, rank_of[i]);
        for (size_t i = 0; i < m; i++)
            ret_raw[start + i] =
                (float)fmath_exp2(-(sum[i] / (double)w->n_trees) / w->average_path);
    }
}
