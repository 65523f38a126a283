#include "collector/collector.h"

#include <errno.h>
#include <libgen.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "collector/cache_local.h"
#include "collector/db.h"
#include "collector/flow_index.h"
#include "collector/http_server.h"
#include "collector/ingest.h"
#include "collector/metrics.h"
#include "collector/openapi.h"
#include "collector/retention.h"
#include "collector/routes.h"
#include "collector/search.h"
#include "collector/session.h"
#include "collector/users.h"
#include "collector/ws.h"
#include "common/crypto.h"
#include "common/log.h"
#include "common/time.h"

#define SPARE_READERS                                                                              \
    4 /* beside one a server thread: WebSocket and search threads, start-up, luck */

/* <folder of the program>/../dashboard */
static void find_dashboard(struct collector_conf *conf)
{
    char path[256];

    if (strcmp(conf->dashboard_dir, "auto") != 0)
        return;
    conf->dashboard_dir[0] = '\0';
    const ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);
    if (n <= 0)
        return;
    path[n] = '\0';
    for (int i = 0; i < 2; i++) {
        char *slash = strrchr(path, '/');
        if (slash != NULL)
            *slash = '\0';
    }
    (void)snprintf(conf->dashboard_dir, sizeof(conf->dashboard_dir), "%.240s/dashboard", path);
}

/* Last of all, when nothing can fail any more: the password is shown this once. */
static int first_start(struct collector *c, struct err *e)
{
    char password[21];
    const int r = users_first_admin(c->auth, password, e);

    if (r == 0)
        (void)fprintf(stderr, "admin password: %s (shown once)\n", password);
    crypto_wipe(password, sizeof(password));
    return r < 0 ? r : 0;
}

static int make_auth(struct collector *c, struct err *e)
{
    const struct collector_conf *conf = &c->conf;
    const struct auth_conf auth = {
        /* without a shared cache nobody says what other collectors change in the server */
        .cache = conf->db_url[0] == '\0' || conf->cache_url[0] != '\0' ? c->cache : NULL,
        .key_file = conf->auth_key_file,
        .access_s = conf->auth_access_ns / (int64_t)WIND_NS_PER_S,
        .refresh_s = conf->auth_refresh_ns / (int64_t)WIND_NS_PER_S,
        .sessions_max = conf->auth_sessions_max,
        .password = {.hashes = (unsigned)conf->auth_hashes,
                     .kib = (uint32_t)(conf->auth_hash_memory / 1024),
                     .passes = (uint32_t)conf->auth_hash_passes},
    };
    return auth_new(&c->auth, c->db, &auth, e);
}

/* Here or in another collector: the outbox may have news. */
static void committed(void *arg, const char *text)
{
    const struct collector *c = arg;

    (void)text;
    ws_wake(c->ws);
    search_wake(c->search);
}

static void commit(void *arg)
{
    const struct collector *c = arg;

    cache_publish(c->cache, CACHE_COMMITTED, "");
}

static int make_ws(struct collector *c, struct err *e)
{
    const struct ws_conf conf = {
        .db = c->db,
        .auth = c->auth,
        .metrics = c->metrics,
        .clients = c->conf.ws_clients,
        .queue_bytes = c->conf.ws_queue_bytes,
        .ping_s = c->conf.ws_ping_ns / (int64_t)WIND_NS_PER_S,
    };
    const int r = ws_new(&c->ws, &conf, e);

    if (r == 0) {
        cache_listen(c->cache, CACHE_COMMITTED, committed, c);
        db_on_commit(c->db, commit, c);
    }
    return r;
}

static int make_cache(struct collector *c, struct err *e)
{
    const struct cache_conf conf = {
        .url = c->conf.cache_url,
        .password_file = c->conf.cache_password_file,
        .prefix = c->conf.cache_prefix,
        .is_insecure = c->conf.cache_insecure,
        .timeout_ns = c->conf.cache_timeout_ns,
        .connections = (unsigned)c->conf.cache_connections,
        .memory = (size_t)c->conf.cache_memory,
    };

    /* only where every commit is heard of, and none is missing on a replica */
    const bool hears_all = c->conf.db_url[0] == '\0' || c->conf.cache_url[0] != '\0';
    int r = cache_new(&c->cache, &conf, e);
    if (r == 0 && hears_all && c->conf.db_replica_url[0] == '\0' && c->conf.cache_lists_ns > 0)
        r = cache_local_new(&c->lists, (size_t)c->conf.cache_memory, e);
    return r;
}

/* The folder of the database file. */
struct retention_conf collector_retention_conf(const struct collector_conf *conf, struct db *db,
                                               char folder[256])
{
    (void)snprintf(folder, 256, "%s", conf->db_path);
    return (struct retention_conf){
        .db = db,
        .folder = conf->db_url[0] == '\0' ? dirname(folder) : NULL, /* its disk is another's */
        .alerts_ns = conf->retention_alerts_ns,
        .incidents_ns = conf->retention_incidents_ns,
        .sensors_ns = conf->retention_sensors_ns,
        .open_ns = conf->retention_open_ns,
        .size = conf->retention_size,
        .disk_keep_ns = conf->retention_disk_keep_ns,
        .interval_ns = conf->retention_interval_ns,
        .percent = {[DISK_LOW] = (unsigned)conf->retention_disk_low,
                    [DISK_HIGH] = (unsigned)conf->retention_disk_high,
                    [DISK_FLOOD] = (unsigned)conf->retention_disk_flood},
    };
}

static int make_retention(struct collector *c, struct err *e)
{
    char folder[256];
    const struct retention_conf conf = collector_retention_conf(&c->conf, c->db, folder);

    return retention_new(&c->retention, &conf, e);
}

static int make_ingest(struct collector *c, struct err *e)
{
    const struct ingest_conf conf = {.db = c->db,
                                     .metrics = c->metrics,
                                     .retention = c->retention,
                                     .correlate = c->conf.correlate};

    return ingest_new(&c->ingest, &conf, e);
}

static int make_search(struct collector *c, struct err *e)
{
    const struct search_conf conf = {
        .db = c->db,
        .url = c->conf.search_url,
        .user = c->conf.search_user,
        .password_file = c->conf.search_password_file,
        .ca_file = c->conf.search_ca_file,
        .prefix = c->conf.search_index,
        .is_gzip = c->conf.search_gzip,
        .retention_ns = c->conf.search_retention_ns,
    };

    return search_new(&c->search, &conf, e);
}

static int make_flows(struct collector *c, struct err *e)
{
    const struct flow_index_conf conf = {
        .bus = &c->conf.bus,
        .http = {.urls = c->conf.search_url,
                 .user = c->conf.search_user,
                 .password_file = c->conf.search_password_file,
                 .ca_file = c->conf.search_ca_file,
                 .is_gzip = c->conf.search_gzip},
        .prefix = c->conf.search_index,
        .retention_ns = c->conf.search_flows_retention_ns,
    };

    return flow_index_new(&c->flows, &conf, e);
}

static int make_openapi(struct collector *c, struct err *e)
{
    json_t *document = openapi_document(all_routes);

    c->openapi = document != NULL ? json_dumps(document, JSON_COMPACT) : NULL;
    json_decref(document);
    return c->openapi != NULL ? 0 : err_set(e, -ENOMEM, "openapi.json: out of memory");
}

struct db_conf collector_db_conf(const struct collector_conf *conf)
{
    const bool is_server = conf->db_url[0] != '\0';

    return (struct db_conf){
        .path = conf->db_path,
        .url = conf->db_url,
        .password_file = conf->db_password_file,
        .replica_url = conf->db_replica_url,
        .replica_lag_ms = conf->db_replica_lag_ns / (int64_t)WIND_NS_PER_MS,
        .readers = (unsigned)(is_server ? conf->db_pool - 2 : conf->api_threads + SPARE_READERS),
        .is_fast = conf->db_fast,
    };
}

int collector_new(struct collector **ret_collector, const struct collector_conf *conf,
                  struct err *e)
{
    WIND_AUTO(collector) struct collector *c = calloc(1, sizeof(*c));
    if (c == NULL)
        return err_set(e, -ENOMEM, "collector: out of memory");
    c->conf = *conf;
    find_dashboard(&c->conf);

    const struct db_conf db = collector_db_conf(&c->conf);
    int r = db_open(&c->db, &db, e);
    if (r == 0)
        r = metrics_new(&c->metrics, e);
    if (r == 0)
        r = make_retention(c, e);
    if (r == 0)
        r = make_ingest(c, e);
    if (r == 0)
        r = make_openapi(c, e);
    if (r == 0)
        r = make_cache(c, e);
    if (r == 0)
        r = http_server_new(&c->http, c, e);
    if (r == 0)
        r = make_auth(c, e);
    if (r == 0)
        r = make_search(c, e);
    if (r == 0)
        r = make_ws(c, e);
    if (r == 0 && conf->search_flows)
        r = make_flows(c, e);
    if (r == 0 && conf->bus.brokers[0] != '\0')
        r = bus_new(&c->bus, &c->conf.bus, c->db, c->ingest, e);
    if (r != 0)
        return r;
    *ret_collector = WIND_STEAL(c);
    return 0;
}

struct collector *collector_free(struct collector *c)
{
    if (c == NULL)
        return NULL;
    if (c->http != NULL)
        http_server_quiesce(c->http);
    bus_stop(c->bus);
    flow_index_stop(c->flows);
    retention_stop(c->retention);
    cache_stop(c->cache);
    ws_stop(c->ws);
    search_stop(c->search);
    http_server_free(c->http); /* the last handler has ended; only now may its parts go */
    ws_free(c->ws);
    search_free(c->search);
    bus_free(c->bus);
    flow_index_free(c->flows);
    auth_free(c->auth);
    ingest_free(c->ingest);
    retention_free(c->retention);
    metrics_free(c->metrics);
    cache_local_free(c->lists);
    cache_free(c->cache);
    db_free(c->db);
    free(c->openapi);
    free(c);
    return NULL;
}

int collector_run(struct collector *c, struct err *e)
{
    sigset_t ends;
    int signal_number = 0;

    (void)sigemptyset(&ends);
    (void)sigaddset(&ends, SIGTERM);
    (void)sigaddset(&ends, SIGINT);
    (void)pthread_sigmask(SIG_BLOCK, &ends, NULL); /* inherited by all threads below */
    (void)signal(SIGPIPE, SIG_IGN);

    int r = cache_start(c->cache, e);
    if (r == 0)
        r = ws_start(c->ws, e);
    if (r == 0)
        r = search_start(c->search, e);
    if (r == 0)
        r = retention_start(c->retention, e);
    if (r == 0)
        r = http_server_start(c->http, e);
    if (r == 0)
        r = first_start(c, e);
    if (r == 0 && c->bus != NULL)
        r = bus_start(c->bus, e);
    if (r == 0 && c->flows != NULL)
        r = flow_index_start(c->flows, e);
    if (r != 0)
        return r;
    atomic_store_explicit(&c->is_ready, true, memory_order_relaxed);
    log_info("serving on %s, database '%s'", http_server_url(c->http),
             c->conf.db_url[0] != '\0' ? c->conf.db_url : c->conf.db_path);
    (void)sigwait(&ends, &signal_number);
    log_info("signal %d, stopping", signal_number);
    return 0;
}
