#include "models/iforest_walk.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "common/base.h"
#include "features/feature.h"
#include "features/fmath.h"

#define FEATURE_BITS  6
#define FEATURE_MASK  ((1u << FEATURE_BITS) - 1)
#define FEATURES_MAX  (1u << FEATURE_BITS)
#define BATCH         32
#define TREES_AT_ONCE 16 /* enough steps under way to hide the memory behind each */

struct node {
    float cut;     /* leaf: above every value */
    uint32_t next; /* the left child, or the leaf itself, above FEATURE_BITS of the feature */
};

struct iforest_walk {
    struct node *node;
    float *path; /* of a leaf */
    uint32_t *root;
    uint8_t *depth; /* of each tree */
    size_t n_trees, n_features;
    double average_path;
};

/* Children lie behind their parents: one pass backwards knows how deep it goes below each. */
static int lay_out(struct iforest_walk *w, const struct iforest *f, struct err *e)
{
    uint8_t *below = calloc(f->n_nodes, 1);

    if (below == NULL)
        return err_set(e, -ENOMEM, "out of memory for %zu nodes", f->n_nodes);
    for (size_t i = f->n_nodes; i-- > 0;) {
        const struct iforest_node *from = &f->node[i];
        const bool is_leaf = from->feature < 0;
        const uint32_t left = is_leaf ? (uint32_t)i : from->left;

        w->node[i] = (struct node){
            .cut = is_leaf ? INFINITY : from->value,
            .next = left << FEATURE_BITS | (is_leaf ? 0 : (uint32_t)from->feature),
        };
        w->path[i] = is_leaf ? from->value : 0;
        if (!is_leaf)
            below[i] =
                (uint8_t)(1 + (below[left] > below[left + 1] ? below[left] : below[left + 1]));
    }
    for (size_t t = 0; t < f->n_trees; t++) {
        w->root[t] = f->root[t];
        w->depth[t] = below[f->root[t]];
    }
    free(below);
    return 0;
}

int iforest_walk_new(struct iforest_walk **ret_walk, const struct iforest *f, size_t n_features,
                     struct err *e)
{
    if (f->n_nodes > IFOREST_WALK_NODES || n_features > FEATURES_MAX)
        return err_set(e, -EINVAL, "a forest of %zu nodes and %zu features is too large",
                       f->n_nodes, n_features);
    WIND_AUTO(iforest_walk) struct iforest_walk *w = calloc(1, sizeof(*w));
    if (w == NULL)
        return err_set(e, -ENOMEM, "out of memory");
    w->n_trees = f->n_trees;
    w->n_features = n_features;
    w->average_path = f->average_path;
    w->node = malloc(f->n_nodes * sizeof(*w->node));
    w->path = malloc(f->n_nodes * sizeof(*w->path));
    w->root = malloc(f->n_trees * sizeof(*w->root));
    w->depth = malloc(f->n_trees);
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
                    float ret_value[FEATURES_MAX])
{
    for (size_t f = 0; f < w->n_features; f++)
        ret_value[f] = feature_is_missing(row->missing, f) ? -1 : row->value[f];
}

static inline uint32_t step(const struct node *node, const float *value)
{
    return (node->next >> FEATURE_BITS) + !(value[node->next & FEATURE_MASK] < node->cut);
}

/* TREES_AT_ONCE trees from `first` on, in step. */
static double add_paths(double sum, const struct iforest_walk *w, size_t first, const float *value)
{
    uint32_t at[TREES_AT_ONCE];
    unsigned depth = 0;

    for (size_t t = 0; t < TREES_AT_ONCE; t++) {
        at[t] = w->root[first + t];
        depth = w->depth[first + t] > depth ? w->depth[first + t] : depth;
    }
    for (unsigned d = 0; d < depth; d++)
        for (size_t t = 0; t < TREES_AT_ONCE; t++)
            at[t] = step(&w->node[at[t]], value);
    for (size_t t = 0; t < TREES_AT_ONCE; t++)
        sum += (double)w->path[at[t]];
    return sum;
}

static double add_path(double sum, const struct iforest_walk *w, size_t tree, const float *value)
{
    uint32_t at = w->root[tree];

    for (unsigned d = 0; d < w->depth[tree]; d++)
        at = step(&w->node[at], value);
    return sum + (double)w->path[at];
}

/* Some trees over a batch of rows at a time, so that those trees stay in the cache. */
void iforest_walk_score(const struct iforest_walk *w, const struct model_row *rows, size_t n,
                        float *ret_raw)
{
    float value[BATCH][FEATURES_MAX];

    for (size_t start = 0; start < n; start += BATCH) {
        const size_t m = n - start < BATCH ? n - start : BATCH;
        double sum[BATCH] = {0};
        size_t t = 0;

        for (size_t i = 0; i < m; i++)
            lay_row(w, &rows[start + i], value[i]);
        for (; t + TREES_AT_ONCE <= w->n_trees; t += TREES_AT_ONCE)
            for (size_t i = 0; i < m; i++)
                sum[i] = add_paths(sum[i], w, t, value[i]);
        for (; t < w->n_trees; t++)
            for (size_t i = 0; i < m; i++)
                sum[i] = add_path(sum[i], w, t, value[i]);
        for (size_t i = 0; i < m; i++)
            ret_raw[start + i] =
                (float)fmath_exp2(-(sum[i] / (double)w->n_trees) / w->average_path);
    }
}
