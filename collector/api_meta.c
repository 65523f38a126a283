/* The API about itself: description, health, metrics, and the door of the WebSocket. */
#include <stdatomic.h>
#include <string.h>

#include "collector/collector.h"
#include "collector/db.h"
#include "collector/flow_index.h"
#include "collector/http_server.h"
#include "collector/metrics.h"
#include "collector/retention.h"
#include "collector/routes.h"
#include "collector/search.h"
#include "collector/session.h"
#include "collector/ws.h"
#include "common/buf.h"

#define METRICS_BYTES ((size_t)4 * 1024 * 1024)

static int openapi(struct request *rq, struct response *rs)
{
    return respond_bytes(rs, 200, "application/json", rq->app->openapi, strlen(rq->app->openapi));
}

static int healthz(struct request *rq, struct response *rs)
{
    (void)rq;
    return respond_json(rs, 200, json_pack("{s:s,s:s}", "status", "ok", "version", WIND_VERSION));
}

static int readyz(struct request *rq, struct response *rs)
{
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;
    if (!atomic_load_explicit(&rq->app->is_ready, memory_order_relaxed))
        return respond_problem(rs, 503, "not_ready", "the server is starting");
    int r = db_begin_write(rq->db, &tx, &rq->err);
    if (r == 0)
        r = db_query_row(tx, "SELECT COUNT(*) FROM secrets", DB_NONE, &s, &rq->err);
    if (r < 0)
        return respond_problem(rs, 503, "not_ready",
                               "the database does not answer, or not to writers");
    json_t *o = json_pack("{s:s}", "status", "ready");
    if (rq->app->bus != NULL)
        (void)json_object_set_new(o, "bus",
                                  json_string(bus_state_words[bus_state_now(rq->app->bus)]));
    return respond_json(rs, 200, o);
}

static void print_db(struct db *db, struct buf *out)
{
    struct db_stats st;

    db_stats(db, &st);
    const struct {
        const char *name, *type, *help;
        uint64_t value;
    } rows[] = {
        {"wind_db_commits_total", "counter", "Transactions that lasted.", st.commits},
        {"wind_db_rollbacks_total", "counter", "Transactions undone.", st.rollbacks},
        {"wind_db_waits_failed_total", "counter", "Transactions that got no turn in time.",
         st.waits_failed},
        {"wind_db_connections", "gauge", "Connections to the database.", st.connections},
        {"wind_db_connects_failed_total", "counter", "Connections that were refused.",
         st.connects_failed},
        {"wind_db_connections_lost_total", "counter", "Connections that broke.", st.lost},
        {"wind_db_file_bytes", "gauge", "Size of the database.", st.file_bytes},
        {"wind_db_wal_bytes", "gauge", "Size of its write-ahead log.", st.wal_bytes},
        {"wind_db_replica_reads_total", "counter", "Lists read from the replica.",
         st.replica_reads},
        {"wind_db_replica_passed_total", "counter",
         "Lists read from the primary because the replica was behind or away.", st.replica_passed},
        {"wind_db_replica_lag_ms", "gauge", "How far the replica is behind.",
         st.replica_lag_ms < 0 ? 0 : (uint64_t)st.replica_lag_ms},
    };
    for (size_t i = 0; i < WIND_ARRAY_SIZE(rows); i++)
        metrics_print_one(out, rows[i].name, rows[i].type, rows[i].help, rows[i].value);
}

static int metrics(struct request *rq, struct response *rs)
{
    struct buf text;

    buf_init(&text, METRICS_BYTES);
    metrics_print(rq->app->metrics, &text);
    metrics_print_one(&text, "wind_ws_clients", "gauge", "WebSocket clients now.",
                      ws_count(rq->app->ws));
    cache_print(rq->app->cache, &text);
    if (rq->app->auth->known != NULL)
        session_cache_print(rq->app->auth->known, &text);
    search_print(rq->app->search, &text);
    retention_print(rq->app->retention, &text);
    print_db(rq->db, &text);
    if (rq->app->bus != NULL)
        bus_print(rq->app->bus, &text);
    if (rq->app->flows != NULL)
        flow_index_print(rq->app->flows, &text);
    const int r = text.failed ? respond_problem(rs, 500, "internal_error", "the metrics do not fit")
                              : respond_bytes(rs, 200, "text/plain; version=0.0.4; charset=utf-8",
                                              text.data, text.len);
    buf_done(&text);
    return r;
}

static const char *const state_words[] = {"ok", "ready", NULL};
static const struct field state_fields[] = {
    {.name = "status", .type = FIELD_WORD, .flags = FIELD_REQUIRED, .words = state_words},
    {.name = "bus",
     .type = FIELD_WORD,
     .words = bus_state_words,
     .help = "With Kafka only. Whatever it is, the API works; what is away: no broker answers, "
             "database or dlq: messages wait until it takes them."},
    {.name = NULL},
};
static const struct schema state_schema = {.name = "State", .fields = state_fields, .open = true};

const struct route meta_routes[] = {
    {.method = "GET",
     .pattern = "/api/openapi.json",
     .handler = openapi,
     .summary = "This document"},
    {.method = "GET",
     .pattern = "/api/ws",
     .handler = respond_upgrade,
     .summary = "Live alerts and incidents (WebSocket; the first message is auth)",
     .status = 101},
    {.method = "GET", .pattern = "/metrics", .handler = metrics, .summary = "Prometheus text"},
    {.method = "GET",
     .pattern = "/healthz",
     .handler = healthz,
     .summary = "The process answers",
     .reply = &state_schema},
    {.method = "GET",
     .pattern = "/readyz",
     .handler = readyz,
     .summary = "The database answers too, and can be written",
     .reply = &state_schema},
    {.method = NULL},
};
