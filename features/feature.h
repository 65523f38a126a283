/*
 * feature.h - the numbers that describe a flow, and the schema that names them.
 *
 * Why      Sensor, replay, training and tests compile this same module, so what a model
 *          sees in production is what it was trained on.
 * Owns     Nothing: pure functions from statistics to a row.
 * Threads  Any.
 * Bounds   A row is FEATURE_COUNT floats and a mask. Every value is finite and >= 0; a missing
 *          one is 0 with its bit set. Nothing here can fail or allocate.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "features/flow_stats.h"

enum feature {
#define FEATURE(name, unit, family, sources, meaning) FEATURE_##name,
#include "features/features.def"
#undef FEATURE
    FEATURE_COUNT
};
_Static_assert(FEATURE_COUNT <= 64, "the mask of missing features has 64 bits");

enum feature_family {
    FEATURE_TIME,
    FEATURE_SIZE,
    FEATURE_TCP,
    FEATURE_HOST,
    FEATURE_CHANNEL,
    FEATURE_FAMILIES
};

/* Bits of feature_info.sources: which kind of input can know it. */
enum feature_source { FEATURE_PACKET = 1, FEATURE_NETFLOW = 2 };

struct feature_info {
    const char *name, *unit, *meaning;
    enum feature_family family;
    unsigned sources; /* enum feature_source */
};

/* One row of features.def; NULL from FEATURE_COUNT on. Static. */
const struct feature_info *feature_info(size_t feature);

/* The same, for people: never NULL ("?" from FEATURE_COUNT on). */
const char *feature_name(size_t feature);
const char *feature_unit(size_t feature);
const char *feature_meaning(size_t feature);

/* Index of a name, or -1. */
int feature_find(const char *name);

/* Hash of name and unit of the first `n` features, in order; n above FEATURE_COUNT counts as that.
 */
uint64_t feature_schema_hash(size_t n);

#define FEATURE_SCHEMA_TEXT 24
/* "31:0123456789abcdef", count and hash of that prefix. */
void feature_schema_text(size_t n, char ret_text[FEATURE_SCHEMA_TEXT]);

/*
 * Fill the flow's own features from `s`, and mark all others missing. `proto` is the IP protocol.
 * `row` has room for FEATURE_COUNT floats. A NULL `s` marks everything missing.
 */
void feature_flow(const struct flow_stats *s, uint8_t proto, float *row, uint64_t *ret_missing);

/* Zero if NaN or negative, FLT_MAX if too large: what every feature passes through. */
float feature_finite(double value);

static inline void feature_put(float *row, uint64_t *missing, enum feature f, double value)
{
    row[f] = feature_finite(value);
    *missing &= ~(UINT64_C(1) << f);
}

static inline int feature_is_missing(uint64_t missing, size_t feature)
{
    return (int)(missing >> feature & 1);
}
