/*
 * iforest.h - isolation forest: unusual rows are told apart by few random cuts.
 *
 * Why      Liu, Ting, Zhou, "Isolation Forest" (ICDM 2008): needs no attacks to learn from.
 * Owns     Nothing: a view of a model file's arrays.
 * Threads  Any.
 * Bounds   A checked forest never reads outside its nodes and never walks deeper than
 *          MODEL_DEPTH_MAX.
 *
 * A row goes left when the feature is missing or below `value`, else right. So a missing value is
 * a place of its own, below every value, in training and in scoring alike.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "models/model.h"

struct iforest_node {
    int32_t feature; /* -1: a leaf */
    float value;     /* leaf: path length here, depth + c(rows that ended here); else the cut */
    uint32_t left;   /* its right sibling is left + 1; 0 in a leaf */
};
_Static_assert(sizeof(struct iforest_node) == 12, "as in the file");

struct iforest {
    const struct iforest_node *node;
    size_t n_nodes;
    const uint32_t *root;
    size_t n_trees;
    uint32_t sample;     /* rows a tree was grown from */
    double average_path; /* c(sample) */
};

/* c(n): mean path of an unsuccessful search in a binary tree of n: 2 H(n - 1) - 2 (n - 1) / n. */
double iforest_average_path(uint32_t n);

/* Is every index in its place, every number finite, every tree a tree? -EINVAL says what is not. */
WIND_MUST_USE int iforest_check(const struct iforest *f, size_t n_features, struct err *e);

/* 2^(-E[path] / c(sample)) of each row. */
void iforest_score(const struct iforest *f, const struct model_row *rows, size_t n, float *ret_raw);
