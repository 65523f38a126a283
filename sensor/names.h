/*
 * names.h - which name an address has, as DNS said to who asked.
 *
 * Why      10.1.2.3 connects to 192.0.2.7: people want to read mail.example. DNS has just said so.
 * Owns     The names remembered.
 * Threads  The analysis stage, which sees the answers of all workers.
 * Bounds   conf.max entries, of which an answer needs two an address; the least recent is
 *          forgotten and counted. An answer holds for its time to live, but at least
 *          conf.ttl_min_ns and at most conf.ttl_max_ns.
 *
 * What the flow's own other end was told comes first; then what anybody was told. A name counts
 * for flows that began while it held, not for those that were there before.
 */
#pragma once

#include "common/err.h"
#include "common/record.h"
#include "sensor/counter.h"

struct names;

struct names_conf {
    size_t max;
    uint64_t ttl_min_ns, ttl_max_ns;
};

WIND_MUST_USE int names_new(struct names **ret_names, const struct names_conf *conf,
                            struct counters *counters, struct err *e);
struct names *names_free(struct names *n);
WIND_DEFINE_FREE(names)

void names_learn(struct names *n, const struct named_record *r);

/* Write the names of both ends into the record, as far as they are known. */
/* It will be asked for soon. */
void names_prefetch(const struct names *n, const struct flow_record *r);
void names_fill(struct names *n, struct flow_record *r);
