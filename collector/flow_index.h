/*
 * flow_index.h - flows of the bus (wind.flows) into the search server.
 *
 * Why      An alert is looked at beside the flows around it, and models are trained on what was
 *          seen; the database keeps neither.
 * Owns     A thread, its place in a consumer group of its own (kafka.group + "-flows"), daily
 *          indices PREFIX-flows-2026.11.27 behind the alias PREFIX-flows, and their template.
 * Threads  new, start, stop, free: main. Everything else: any.
 * Bounds   A batch as kafka.batch and kafka.batch_bytes say. Indices that are over for longer than
 *          search.flows_retention are deleted. While the server is away nothing is taken: Kafka
 *          keeps it, as long as the topic's own retention says.
 *
 * A document's id is its message's place in the topic, and its day that of the message, so what is
 * sent twice is there once. Offsets are committed after the server has it.
 *
 *     fetched = indexed + refused + unreadable + returned + in hand
 */
#pragma once

#include "collector/bus.h"
#include "collector/search_http.h"

struct flow_index;

struct flow_index_conf {
    const struct bus_conf *bus; /* borrowed, as all texts */
    struct search_http_conf http;
    const char *prefix; /* of indices */
    int64_t retention_ns;
};

WIND_MUST_USE int flow_index_new(struct flow_index **ret_index, const struct flow_index_conf *conf,
                                 struct err *e);
WIND_MUST_USE int flow_index_start(struct flow_index *x, struct err *e);
/* Ends after the batch in hand, or without it when the server doesn't take it. */
void flow_index_stop(struct flow_index *x);
struct flow_index *flow_index_free(struct flow_index *x);
WIND_DEFINE_FREE(flow_index)

/* As Prometheus text. */
void flow_index_print(struct flow_index *x, struct buf *out);
