/*
 * collector.h - the collector's configuration, its parts, and its life.
 *
 * Why      One struct holds every part, so nothing is global; handlers reach the parts of
 *          others through it (request.app).
 * Owns     Everything below; collector_free is the only teardown.
 * Threads  Made, run and freed by the main thread. After collector_run began, the pointers do
 *          not change, and each part says in its own header what may be called from where.
 * Bounds   Those of its parts, all in struct collector_conf.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "collector/bus.h"
#include "collector/cache.h"
#include "collector/correlate.h"
#include "common/conf.h"
#include "common/err.h"

struct auth;
struct cache_local;
struct db;
struct flow_index;
struct http_server;
struct ingest;
struct metrics;
struct retention;
struct search;
struct ws;

struct collector_conf {
    char api_listen[128];
    int64_t api_threads;
    int64_t api_connections, api_connections_each;
    int64_t api_timeout_ns, api_body_memory;
    int64_t api_rate, api_burst;
    char api_tls_cert[256], api_tls_key[256];
    bool api_insecure;
    struct conf_list api_origins;
    char db_path[256], db_url[512], db_password_file[256], db_replica_url[512];
    int64_t db_pool, db_replica_lag_ns;
    bool db_fast;
    char dashboard_dir[256];
    char auth_key_file[256];
    bool auth_register;
    int64_t auth_access_ns, auth_refresh_ns;
    int64_t auth_sessions_max;
    int64_t auth_hashes, auth_hash_memory, auth_hash_passes;
    int64_t auth_login_rate;
    int64_t ws_clients, ws_queue_bytes, ws_ping_ns;
    char cache_url[256], cache_password_file[256], cache_prefix[CACHE_PREFIX_MAX + 1];
    bool cache_insecure;
    int64_t cache_timeout_ns, cache_connections, cache_memory, cache_lists_ns;
    char search_url[512], search_user[128], search_password_file[256], search_ca_file[256];
    char search_index[32];
    bool search_gzip, search_flows;
    int64_t search_retention_ns, search_flows_retention_ns;
    struct correlate_conf correlate;
    int64_t retention_alerts_ns, retention_incidents_ns, retention_open_ns, retention_sensors_ns;
    int64_t retention_size, retention_interval_ns, retention_disk_keep_ns;
    int64_t retention_disk_low, retention_disk_high, retention_disk_flood;
    struct bus_conf bus;
};

extern const struct conf_key collector_keys[];

struct collector {
    struct collector_conf conf;
    struct db *db;
    struct cache *cache;
    struct cache_local *lists; /* answers; NULL: others may change the database unheard */
    struct retention *retention;
    struct auth *auth;
    struct metrics *metrics;
    struct ingest *ingest;
    struct search *search;
    struct ws *ws;
    struct bus *bus;          /* NULL: there is none */
    struct flow_index *flows; /* NULL: flows are left on the bus */
    struct http_server *http;
    char *openapi; /* the document, made once */
    _Atomic bool
        is_ready; /* the first start is over: set once, by main; relaxed, /readyz says it */
};

/* What db_open takes; its texts are those of `conf`. */
struct db_conf collector_db_conf(const struct collector_conf *conf);

/* What retention_new takes; `folder` is for its text. */
struct retention_conf collector_retention_conf(const struct collector_conf *conf, struct db *db,
                                               char folder[256]);

/* Opens the database and the listener; nothing is served before collector_run. */
WIND_MUST_USE int collector_new(struct collector **ret_collector, const struct collector_conf *conf,
                                struct err *e);
struct collector *collector_free(struct collector *c);
WIND_DEFINE_FREE(collector)

/* Serves until SIGTERM or SIGINT. */
WIND_MUST_USE int collector_run(struct collector *c, struct err *e);
