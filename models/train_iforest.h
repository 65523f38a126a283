/*
 * train_iforest.h - grow an isolation forest from rows.
 *
 * Why      Training lives beside scoring and shares its arithmetic, so both agree by construction.
 * Owns     A grown forest owns its arrays, until train_iforest_done.
 * Threads  One.
 * Bounds   Deterministic: the same rows, in the same order, and the same seed give the same bytes
 *          on every CPU. Memory: 24 to 48 bytes for each sampled row of each tree.
 *
 * Cuts are uniform in log2(1 + x), not in x: sizes and times span many powers of ten, and a cut
 * uniform in x would only ever tell the largest value from all others. The file holds cuts in x, so
 * scoring needs no logarithm. Missing values stand below the smallest one, a quarter of its span
 * away, at least 1.
 *
 * In the paper a cut lies between the values of the node, so a value far beyond all of training
 * looks like the largest one. Here cuts also fall into a margin on both sides, a share of the span;
 * one side is empty then, and what later falls there is unusual at once. A scan of a thousand ports
 * is far beyond what benign hosts do, and is only found that way. A margin of 0 is the paper.
 */
#pragma once

#include "common/err.h"
#include "models/iforest.h"

struct train_rows {
    const float *value;      /* n x n_features */
    const uint64_t *missing; /* n */
    size_t n, n_features;
};

struct train_iforest_conf {
    uint32_t trees;  /* 1..10000 */
    uint32_t sample; /* rows a tree, 2..65536; fewer rows than that: all of them */
    uint64_t seed;
    double margin; /* 0..10, share of a feature's span */
};

struct train_forest {
    struct iforest_node *node;
    uint32_t *root;
    size_t n_nodes, n_trees;
    uint32_t sample; /* as used */
};

/* -EINVAL: a setting out of range, or fewer than two rows. -ENOMEM. */
WIND_MUST_USE int train_iforest(struct train_forest *ret_forest, const struct train_rows *rows,
                                const struct train_iforest_conf *conf, struct err *e);
void train_iforest_done(struct train_forest *f);

/* The generator behind it: splitmix64 (Steele et al. 2014). */
uint64_t train_random(uint64_t *state);
