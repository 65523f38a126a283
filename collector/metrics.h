/*
 * metrics.h - what the HTTP side counts, as Prometheus text.
 *
 * Why      Every request ends in exactly one counter: Σ wind_http_requests_total is the number
 *          of requests, and the histogram of a route has as many events as its counters.
 * Owns     Counters for each route of all_routes, and one row for what matches no route.
 * Threads  metrics_request and metrics_add from any; metrics_print from any.
 * Bounds   Fixed at start: routes x classes x buckets.
 */
#pragma once

#include <stdint.h>

#include "collector/alerts.h"
#include "collector/http.h"
#include "common/buf.h"
#include "common/err.h"

#define METRICS_KINDS 64

struct metrics;

/* COUNTER(enum name, Prometheus name, help) */
#define METRICS_COUNTERS(COUNTER)                                                                  \
    COUNTER(AUTH_FAILED, "wind_auth_failed_total", "Requests with a bad token, key or password.")  \
    COUNTER(RATE_LIMITED, "wind_http_rate_limited_total", "Requests answered 429.")                \
    COUNTER(FULL, "wind_disk_refused_total", "Requests refused because the disk is nearly full.")  \
    COUNTER(REPLAYED, "wind_http_replayed_total", "Answers given again for an Idempotency-Key.")   \
    COUNTER(WS_OPENED, "wind_ws_opened_total", "WebSocket connections accepted.")                  \
    COUNTER(WS_REFUSED, "wind_ws_refused_total", "WebSocket connections beyond ws.clients.")       \
    COUNTER(WS_DROPPED, "wind_ws_dropped_total", "WebSocket clients closed: stuck or silent.")     \
    COUNTER(WS_SENT, "wind_ws_messages_total", "Events put on WebSocket connections.")             \
    COUNTER(INGEST_BATCHES, "wind_ingest_batches_total", "Batches of sensors that were stored.")   \
    COUNTER(INGEST_REJECTED, "wind_ingest_rejected_total", "Alerts that were refused for good.")   \
    COUNTER(LISTS_KEPT, "wind_http_lists_kept_total", "Lists answered as just before.")            \
    COUNTER(LISTS_READ, "wind_http_lists_read_total", "Lists that the database was asked for.")    \
    COUNTER(INGEST_SINGLY, "wind_ingest_singly_total", "Alerts that were not joined in bulk.")     \
    COUNTER(INGEST_FORGOTTEN, "wind_ingest_forgotten_total",                                       \
            "Times correlate.memory was emptied.")                                                 \
    COUNTER(WRITE_GROUPS, "wind_http_commits_total", "Commits of what requests write.")            \
    COUNTER(WRITE_GROUPED, "wind_http_writes_total", "Requests in them: several share one.")

enum metrics_counter {
#define COUNTER(name, text, help) METRICS_##name,
    METRICS_COUNTERS(COUNTER)
#undef COUNTER
        METRICS_COUNTERS_N
};

WIND_MUST_USE int metrics_new(struct metrics **ret, struct err *e);
struct metrics *metrics_free(struct metrics *m);
WIND_DEFINE_FREE(metrics)

void metrics_add(struct metrics *m, enum metrics_counter which, uint64_t n);

/* What became of alerts of one kind; outcomes as in alerts.h. Kinds beyond METRICS_KINDS: "other".
 */
void metrics_alerts(struct metrics *m, const char *detector, int severity,
                    enum alert_put_outcome outcome, uint64_t n);

/* `route` NULL: no route (the page's files, and paths that do not exist). */
void metrics_request(struct metrics *m, const struct route *route, int status, uint64_t took_ns);

void metrics_print(struct metrics *m, struct buf *out);

/* One gauge or counter of another part, with its HELP and TYPE lines. */
void metrics_print_one(struct buf *out, const char *name, const char *type, const char *help,
                       uint64_t value);
