#include "models/train_iforest.h"

#include <errno.h>
#include <stdlib.h>

#include "features/feature.h"
#include "features/fmath.h"

#define SAMPLE_MAX 65536u
#define DEPTH_MAX  16 /* log2(SAMPLE_MAX) */

struct grower {
    const struct train_rows *rows;
    struct train_forest *forest;
    uint64_t random;
    uint32_t *order; /* permutation of all rows; a tree's sample is its front */
    unsigned max_depth;
    double margin;
};

/* A feature over the rows of a node. */
struct span {
    float low, high; /* of those that have it */
    size_t n_missing, n;
};

uint64_t train_random(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* Uniform below n, which is far below 2^32: the bias of multiply and shift is below 2^-32. */
static uint32_t random_below(struct grower *g, uint32_t n)
{
    return (uint32_t)((train_random(&g->random) >> 32) * n >> 32);
}

/* Uniform in (0, 1). */
static double random_unit(struct grower *g)
{
    return ((double)(train_random(&g->random) >> 12) + 0.5) / 4503599627370496.0;
}

static float value_of(const struct grower *g, uint32_t row, size_t f)
{
    return g->rows->value[row * g->rows->n_features + f];
}

static struct span span_of(const struct grower *g, const uint32_t *member, size_t n, size_t f)
{
    struct span s = {.n = n};

    for (size_t i = 0; i < n; i++) {
        const float v = value_of(g, member[i], f);
        if (feature_is_missing(g->rows->missing[member[i]], f)) {
            s.n_missing++;
            continue;
        }
        if (i == s.n_missing) /* the first that has it */
            s.low = s.high = v;
        s.low = v < s.low ? v : s.low;
        s.high = v > s.high ? v : s.high;
    }
    return s;
}

static int can_cut(const struct span *s)
{
    return (s->n_missing > 0 && s->n_missing < s->n) || s->low < s->high;
}

/*
 * Where to cut: between the values, exactly at `low` to part missing from present, or in the margin
 * beyond them all, where one side stays empty.
 */
static float cut_of(struct grower *g, const struct span *s)
{
    const double low = fmath_log2(1 + (double)s->low), high = fmath_log2(1 + (double)s->high);
    double start = low;

    if (s->n_missing > 0)
        start -= (high - low) / 4 > 1 ? (high - low) / 4 : 1;
    const double margin = g->margin * (high - start);
    const double at = start - margin + (high - start + 2 * margin) * random_unit(g);
    const float cut = feature_finite(fmath_exp2(at) - 1);
    if (at <= low && s->n_missing > 0)
        return s->low;
    if (at <= low || at > high)
        return cut;
    return cut > s->low && cut <= s->high ? cut : s->high; /* rounding went too far */
}

/* Members left of the cut go to the front. Returns how many. */
static size_t part(struct grower *g, uint32_t *member, size_t n, size_t f, float cut)
{
    size_t left = 0;

    for (size_t i = 0; i < n; i++) {
        const uint32_t row = member[i];
        if (!feature_is_missing(g->rows->missing[row], f) && !(value_of(g, row, f) < cut))
            continue;
        member[i] = member[left];
        member[left++] = row;
    }
    return left;
}

/* One of the features that can cut this node, each as likely; -1 if all its rows are alike. */
static int choose_feature(struct grower *g, const uint32_t *member, size_t n, struct span *ret_span)
{
    struct span span[64];
    size_t able[64], n_able = 0;

    for (size_t f = 0; f < g->rows->n_features; f++) {
        span[n_able] = span_of(g, member, n, f);
        if (can_cut(&span[n_able]))
            able[n_able++] = f;
    }
    if (n_able == 0)
        return -1;
    const uint32_t chosen = random_below(g, (uint32_t)n_able);
    *ret_span = span[chosen];
    return (int)able[chosen];
}

/* Rows that still need a node. */
struct pending {
    size_t at; /* the node */
    uint32_t *member;
    size_t n;
    unsigned depth;
};

/* Makes the node: a leaf, or a cut with two sides that are pending then. Returns how many are. */
static size_t grow_node(struct grower *g, const struct pending *p, struct pending ret_sides[2])
{
    struct iforest_node *node = &g->forest->node[p->at];
    struct span span;

    const int f =
        p->n > 1 && p->depth < g->max_depth ? choose_feature(g, p->member, p->n, &span) : -1;
    if (f < 0) {
        const double length = p->depth + iforest_average_path((uint32_t)p->n);
        *node = (struct iforest_node){.feature = -1, .value = (float)length};
        return 0;
    }
    const float cut = cut_of(g, &span);
    const size_t left = part(g, p->member, p->n, (size_t)f, cut);
    const size_t child = g->forest->n_nodes;
    *node = (struct iforest_node){.feature = f, .value = cut, .left = (uint32_t)child};
    g->forest->n_nodes += 2;
    ret_sides[0] = (struct pending){child + 1, p->member + left, p->n - left, p->depth + 1};
    ret_sides[1] = (struct pending){child, p->member, left, p->depth + 1};
    return 2;
}

static void grow_tree(struct grower *g, size_t t)
{
    struct train_forest *f = g->forest;
    struct pending stack[DEPTH_MAX + 2];
    size_t n = 1;

    for (uint32_t i = 0; i < f->sample; i++) { /* Fisher and Yates, as far as needed */
        const uint32_t j = i + random_below(g, (uint32_t)g->rows->n - i);
        const uint32_t row = g->order[j];
        g->order[j] = g->order[i];
        g->order[i] = row;
    }
    f->root[t] = (uint32_t)f->n_nodes;
    stack[0] = (struct pending){f->n_nodes++, g->order, f->sample, 0};
    while (n > 0) { /* one side is taken, the other waits: never more than depth + 1 do */
        const struct pending top = stack[--n];
        n += grow_node(g, &top, &stack[n]);
    }
}

static unsigned max_depth(uint32_t sample) /* ceil(log2(sample)), as in the paper */
{
    unsigned depth = 0;

    while ((UINT32_C(1) << depth) < sample)
        depth++;
    return depth;
}

static void grow_forest(struct train_forest *f, const struct train_rows *rows, uint32_t *order,
                        const struct train_iforest_conf *conf)
{
    struct grower g = {.rows = rows,
                       .forest = f,
                       .random = conf->seed,
                       .order = order,
                       .max_depth = max_depth(f->sample),
                       .margin = conf->margin};

    for (uint32_t i = 0; i < rows->n; i++)
        order[i] = i;
    for (size_t t = 0; t < f->n_trees; t++)
        grow_tree(&g, t);
}

static int check_conf(const struct train_rows *rows, const struct train_iforest_conf *conf,
                      struct err *e)
{
    if (conf->trees < 1 || conf->trees > 10000)
        return err_set(e, -EINVAL, "trees: %u is outside 1..10000", conf->trees);
    if (conf->sample < 2 || conf->sample > SAMPLE_MAX)
        return err_set(e, -EINVAL, "sample: %u is outside 2..65536", conf->sample);
    if (!(conf->margin >= 0 && conf->margin <= 10))
        return err_set(e, -EINVAL, "margin: %g is outside 0..10", conf->margin);
    if (rows->n < 2 || rows->n > INT32_MAX || rows->n_features > FEATURE_COUNT)
        return err_set(e, -EINVAL, "%zu rows are too few or too many to fit a forest", rows->n);
    return 0;
}

int train_iforest(struct train_forest *ret_forest, const struct train_rows *rows,
                  const struct train_iforest_conf *conf, struct err *e)
{
    const int r = check_conf(rows, conf, e);
    if (r < 0)
        return r;

    struct train_forest f = {.n_trees = conf->trees};
    f.sample = conf->sample < rows->n ? conf->sample : (uint32_t)rows->n;
    const size_t room = ((size_t)conf->trees << (max_depth(f.sample) + 1)) + 1;
    f.node = calloc(room, sizeof(*f.node));
    f.root = calloc(conf->trees, sizeof(*f.root));
    uint32_t *order = calloc(rows->n + 1, sizeof(*order));
    if (f.node == NULL || f.root == NULL || order == NULL) {
        free(order);
        train_iforest_done(&f);
        return err_set(e, -ENOMEM, "out of memory for %u trees", conf->trees);
    }
    grow_forest(&f, rows, order, conf);
    free(order);
    *ret_forest = f;
    return 0;
}

void train_iforest_done(struct train_forest *f)
{
    free(f->node);
    free(f->root);
    *f = (struct train_forest){0};
}
