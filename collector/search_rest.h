/*
 * search_rest.h - the index on an Elasticsearch (7.10 or newer) or OpenSearch server.
 *
 * Why      What outgrows the database's own text index, and what dashboards made for ECS read.
 * Owns     Indices PREFIX-alerts-2026.11 and PREFIX-incidents-2026.11, by the month in which a
 *          row was made (a month never changes, so an update finds its document), each behind
 *          the aliases PREFIX-alerts and PREFIX-incidents; their templates; a life-cycle policy
 *          where the server has such a thing.
 * Threads  As search_index.h says.
 * Bounds   A batch is SEARCH_BATCH changes and at most SEARCH_BULK_MAX bytes. search.retention
 *          drops whole months.
 *
 * No data streams: they take no updates, and an alert is updated by its sensor and by people.
 * A document's version is the outbox's number, so an older one never wins, and what is sent
 * twice counts once. What the server refuses for good (a mapping it doesn't like) is counted
 * and told, and not sent again.
 */
#pragma once

#include "collector/search_http.h"
#include "collector/search_index.h"

#define SEARCH_BULK_MAX ((size_t)64 << 20)

struct search_rest_conf {
    struct search_http_conf http;
    const char *prefix;
    int64_t retention_ns; /* 0: as long as the database has them */
};

WIND_MUST_USE int search_rest_new(void **ret_index, const struct search_rest_conf *conf,
                                  struct err *e);

extern const struct search_ops search_rest_ops;
