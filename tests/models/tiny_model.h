/*
 * tiny_model.h - a forest of two trees that a hand can follow, as the bytes of a model file.
 *
 *      tree 0:  pkts_fwd < 10 ?  path 3 : path 1
 *      tree 1:  tcp_rst missing or < 1 ?  (duration < 100 ? path 3 : path 2)  :  path 1
 *
 * Grown from 4 rows, so c = 2 (1 + 1/2 + 1/3) - 2 * 3/4 = 13/6. Calibration: 0.3 0.4 0.5 0.6.
 */
#pragma once

#include <criterion/criterion.h>
#include <string.h>

#include "features/feature.h"
#include "models/iforest.h"
#include "models/model_file.h"
#include "models/reference.h"

struct tiny {
    struct iforest_node node[8];
    uint32_t root[2];
    float calibration[4];
    float quantile[FEATURE_COUNT * REFERENCE_LEVELS];
    float missing[FEATURE_COUNT];
    json_t *header;
    struct buf bytes;
};

static inline void tiny_init(struct tiny *t)
{
    char schema[FEATURE_SCHEMA_TEXT];

    memset(t, 0, sizeof(*t));
    t->node[0] = (struct iforest_node){FEATURE_pkts_fwd, 10, 1};
    t->node[1] = (struct iforest_node){-1, 3, 0};
    t->node[2] = (struct iforest_node){-1, 1, 0};
    t->node[3] = (struct iforest_node){FEATURE_tcp_rst, 1, 4};
    t->node[4] = (struct iforest_node){FEATURE_duration, 100, 6};
    t->node[5] = (struct iforest_node){-1, 1, 0};
    t->node[6] = (struct iforest_node){-1, 3, 0};
    t->node[7] = (struct iforest_node){-1, 2, 0};
    t->root[1] = 3;
    for (int i = 0; i < 4; i++)
        t->calibration[i] = 0.3f + 0.1f * (float)i;
    for (int f = 0; f < FEATURE_COUNT; f++) /* 0..20, median 10; pkts_fwd: 0..4, median 2 */
        for (int i = 0; i < REFERENCE_LEVELS; i++)
            t->quantile[f * REFERENCE_LEVELS + i] =
                (float)i / (f == FEATURE_pkts_fwd ? 5.0f : 1.0f);
    t->missing[FEATURE_tcp_rst] = 0.75f; /* its median is: missing */

    feature_schema_text(FEATURE_COUNT, schema);
    t->header = json_pack("{s:i, s:s, s:s, s:i, s:{s:i, s:s}, s:{s:i}, s:{s:f}, s:i}", "format", 1,
                          "name", "tiny", "kind", "iforest", "version", 3, "schema", "count",
                          FEATURE_COUNT, "hash", strchr(schema, ':') + 1, "lineage", "rows", 4,
                          "thresholds", "alert_p", 0.25, "sample", 4);
    cr_assert_not_null(t->header);
    buf_init(&t->bytes, 1 << 20);
}

static inline void tiny_write(struct tiny *t)
{
    const struct model_array arrays[] = {
        {"nodes", t->node, sizeof(t->node)},
        {"roots", t->root, sizeof(t->root)},
        {"calibration", t->calibration, sizeof(t->calibration)},
        {"quantiles", t->quantile, sizeof(t->quantile)},
        {"missing", t->missing, sizeof(t->missing)},
    };
    struct err e = {0};

    cr_assert_eq(model_file_write(&t->bytes, t->header, arrays, 5, &e), 0, "%s", e.text);
}

static inline void tiny_done(struct tiny *t)
{
    json_decref(t->header);
    buf_done(&t->bytes);
}
