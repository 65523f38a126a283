#include "collector/collector_conf.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "collector/api_key.h"
#include "collector/ingest.h"
#include "common/time.h"

#define C     struct collector_conf
#define NS(s) ((int64_t)(s) * (int64_t)WIND_NS_PER_S)
#define KB    INT64_C(1024)
#define MB    (1024 * KB)

/* clang-format off */
const struct conf_key collector_keys[] = {
    CONF_TEXT(C, api_listen, "api.listen", "127.0.0.1:8080", "Address and port of API, page and WebSocket; port 0 = any free one."),
    CONF_TEXT(C, api_tls_cert, "api.tls_cert", "", "Certificate chain (PEM); with api.tls_key the listener speaks TLS."),
    CONF_TEXT(C, api_tls_key, "api.tls_key", "", "Its private key (PEM)."),
    CONF_BOOL(C, api_insecure, "api.insecure", "no", "Allow plain HTTP on an address that others reach: a proxy in front does TLS."),
    CONF_LIST(C, api_origins, "api.origins", "", "Origins besides its own whose pages may open the WebSocket, such as https://soc.example.com."),
    CONF_INT(C, api_threads, "api.threads", "4", 1, 256, "Threads that answer requests."),
    CONF_INT(C, api_connections, "api.connections", "512", 8, 100000, "Connections at a time; more are refused."),
    CONF_INT(C, api_connections_each, "api.connections_each", "256", 1, 100000, "Of them from one address: nobody can take them all; a proxy in front needs all of them."),
    CONF_TIME(C, api_timeout_ns, "api.timeout", "30s", NS(1), NS(3600), "A connection without traffic ends after so long."),
    CONF_SIZE(C, api_body_memory, "api.body_memory", "64mb", MB, 65536 * MB, "Memory for all bodies that are being received; more are told to come back."),
    CONF_INT(C, api_rate, "api.rate", "12000", 0, 100000000, "Requests a minute of one user, key or (without either) address; 0 = no limit."),
    CONF_INT(C, api_burst, "api.burst", "1000", 1, 1000000, "Of them at once."),

    CONF_TEXT(C, db_path, "db.path", "wind.db", "SQLite file; it is made when it isn't there. Not used with db.url."),
    CONF_TEXT(C, db_url, "db.url", "", "PostgreSQL instead of SQLite: postgresql://user@host:port/database, with all that libpq knows behind a ?; empty = SQLite."),
    CONF_TEXT(C, db_password_file, "db.password_file", "", "File with the password for it, one line."),
    CONF_TEXT(C, db_replica_url, "db.replica_url", "", "A streaming replica of it, for lists and search; empty = none."),
    CONF_TIME(C, db_replica_lag_ns, "db.replica_lag", "5s", NS(1), NS(3600), "Lists are read from the primary while the replica is further behind."),
    CONF_INT(C, db_pool, "db.pool", "8", 3, 1000, "Connections to PostgreSQL at a time, and as many to the replica; one of them writes, one fills the text index."),
    CONF_BOOL(C, db_fast, "db.fast", "no", "Do not wait for the disk at each commit: a power cut may cost the last ones."),
    CONF_TEXT(C, dashboard_dir, "dashboard.dir", "auto", "Folder with the page; auto = dashboard beside the folder of this program, empty = none."),

    CONF_TEXT(C, auth_key_file, "auth.key_file", "", "File with the secret that signs tokens, one line of at least 32 characters; empty = the database keeps one."),
    CONF_BOOL(C, auth_register, "auth.register", "yes", "Everybody who reaches the API may register as a viewer."),
    CONF_TIME(C, auth_access_ns, "auth.access", "15m", NS(10), NS(86400), "Life of an access token."),
    CONF_TIME(C, auth_refresh_ns, "auth.refresh", "14d", NS(60), NS(31536000), "Life of a refresh token; each use gives a new one."),
    CONF_INT(C, auth_sessions_max, "auth.sessions", "50", 1, 10000, "Sessions of one user; the one unused longest ends."),
    CONF_INT(C, auth_login_rate, "auth.login_rate", "10", 1, 100000, "Failed logins a minute of one user from one address, and at once."),
    CONF_INT(C, auth_hashes, "auth.hashes", "2", 1, 64, "Passwords checked at a time."),
    CONF_SIZE(C, auth_hash_memory, "auth.hash_memory", "19mb", 8 * KB, 4096 * MB, "Memory of one argon2id hash."),
    CONF_INT(C, auth_hash_passes, "auth.hash_passes", "2", 1, 100, "Passes of one argon2id hash."),

    CONF_INT(C, ws_clients, "ws.clients", "256", 1, 100000, "WebSocket connections at a time."),
    CONF_SIZE(C, ws_queue_bytes, "ws.queue", "1mb", 64 * KB, 1024 * MB, "Unsent bytes of one client; who has more goes on from the database when they are gone."),
    CONF_TIME(C, ws_ping_ns, "ws.ping", "20s", NS(1), NS(600), "Time between two pings; a connection that takes nothing for so long, or answers no three, ends."),

    CONF_TEXT(C, cache_url, "cache.url", "", "Redis that several collectors share, as redis://[user@]host:6379/0 (TLS: through a local proxy such as stunnel); empty = in the process."),
    CONF_TEXT(C, cache_password_file, "cache.password_file", "", "File with its password, one line."),
    CONF_BOOL(C, cache_insecure, "cache.insecure", "no", "It may be on another machine, in plain text, where others could read its password and change what it says."),
    CONF_TEXT(C, cache_prefix, "cache.prefix", "wind:", "Of all keys and channels there; the same in all collectors of one database."),
    CONF_TIME(C, cache_timeout_ns, "cache.timeout", "100ms", NS(1) / 1000, NS(10), "A request waits so long for Redis; after a failure none does until it serves again."),
    CONF_INT(C, cache_connections, "cache.connections", "8", 1, 256, "Connections to it."),
    CONF_TIME(C, cache_lists_ns, "cache.lists", "1s", 0, NS(3600), "A list is answered from memory for so long, unless something was committed; 0s = never. Not with db.replica_url, nor with db.url without cache.url."),
    CONF_SIZE(C, cache_memory, "cache.memory", "16mb", 64 * KB, 65536 * MB, "Answers and other values that are kept in the process."),

    CONF_TEXT(C, search_url, "search.url", "", "Elasticsearch (7.10 or newer) or OpenSearch, such as https://search.example.com:9200, several with commas; empty = words are searched in the database."),
    CONF_TEXT(C, search_user, "search.user", "", "Who we are there."),
    CONF_TEXT(C, search_password_file, "search.password_file", "", "File with its password, one line."),
    CONF_TEXT(C, search_ca_file, "search.ca_file", "", "Authority (PEM) that signed its certificate; empty = those of the system."),
    CONF_TEXT(C, search_index, "search.index", "wind", "What the names of our indices, aliases and templates begin with; one for each database."),
    CONF_BOOL(C, search_gzip, "search.gzip", "no", "Compress what is sent to it."),
    CONF_BOOL(C, search_flows, "search.flows", "no", "Flows that sensors send to Kafka (kafka.flows there) go there, too."),
    CONF_TIME(C, search_flows_retention_ns, "search.flows_retention", "7d", 0, NS(315360000), "It keeps them so long, in whole days; 0 = for ever."),
    CONF_TIME(C, search_retention_ns, "search.retention", "0s", 0, NS(315360000), "It keeps alerts so long, in whole months; 0 = as long as the database does."),

    CONF_TIME(C, retention_alerts_ns, "retention.alerts", "365d", 0, NS(31536000) * 100, "Alerts go after so long, unless they are assigned and not closed, or their incident is not resolved; 0 = never."),
    CONF_TIME(C, retention_incidents_ns, "retention.incidents", "365d", 0, NS(31536000) * 100, "Resolved incidents without alerts, unchanged for so long; 0 = never."),
    CONF_TIME(C, retention_open_ns, "retention.open", "0", 0, NS(31536000) * 100, "Open incidents and their alerts too, when nobody is assigned; 0 = never."),
    CONF_TIME(C, retention_sensors_ns, "retention.sensors", "90d", 0, NS(31536000) * 100, "Sensors that were silent for so long are forgotten; 0 = never."),
    CONF_SIZE(C, retention_size, "retention.size", "0", 0, INT64_C(1048576) * 1024 * MB, "Of the database: beyond it alerts go, the oldest first; in the end open and assigned ones, too. PostgreSQL: the oldest million at a time, whole. 0 = no limit."),
    CONF_TIME(C, retention_interval_ns, "retention.interval", "10m", NS(1), NS(86400), "Time between two passes."),
    CONF_INT(C, retention_disk_low, "retention.disk_low", "85", 3, 99, "Percent of the database's disk (SQLite) in use that is worth a warning; not while 40 GB are free."),
    CONF_INT(C, retention_disk_high, "retention.disk_high", "90", 3, 99, "Here the oldest alerts go that nobody is assigned to, older than disk_keep; not while 20 GB are free."),
    CONF_INT(C, retention_disk_flood, "retention.disk_flood", "95", 3, 99, "Here nothing new is taken (503; sensors keep it) until there is room; not while 4 GB are free."),
    CONF_TIME(C, retention_disk_keep_ns, "retention.disk_keep", "7d", 0, NS(31536000), "Alerts younger than this do not go for a full disk."),

    CONF_TIME(C, correlate.window_ns, "correlate.window", "30m", NS(1), NS(604800), "An alert joins an incident that is at most so far away in event time."),
    CONF_INT(C, correlate.alerts_max, "correlate.alerts", "1000", 1, 1000000, "Alerts of one incident; the next opens another one."),
    CONF_SIZE(C, correlate.memory, "correlate.memory", "64mb", MB, 65536 * MB, "What is remembered of hosts and incidents between batches; full, it begins anew from the database."),

    CONF_TEXT(C, bus.brokers, "kafka.brokers", "", "Brokers that sensors send to, host:port with commas; empty = no Kafka, sensors post to /api/ingest."),
    CONF_TEXT(C, bus.prefix, "kafka.prefix", "wind.", "What the topics' names begin with; the sensors' is the same. Topics: wind.alerts, wind.health, wind.dlq."),
    CONF_TEXT(C, bus.group, "kafka.group", "wind-collector", "Consumer group; collectors with the same database have the same group."),
    CONF_LIST(C, bus.options, "kafka.options", "", "Properties of librdkafka, such as security.protocol=sasl_ssl, sasl.mechanism=SCRAM-SHA-512, sasl.username=wind, ssl.ca.location=/etc/wind/ca.pem."),
    CONF_TEXT(C, bus.password_file, "kafka.password_file", "", "File with the password of SASL, or of the private key when there is no SASL."),
    CONF_INT(C, bus.batch, "kafka.batch", "2000", 1, INGEST_ITEMS, "Messages stored at once, at most; fewer while that takes longer than a second."),
    CONF_SIZE(C, bus.batch_bytes, "kafka.batch_bytes", "8mb", KB, 1024 * MB, "Their bytes."),
    CONF_TIME(C, bus.batch_wait_ns, "kafka.batch_wait", "50ms", 0, NS(10), "Time that the first of them waits for more."),
    CONF_SIZE(C, bus.queue_bytes, "kafka.queue", "32mb", MB, 2048 * MB - KB, "Memory for messages that are fetched ahead. Where librdkafka rests for a second when it is full (before 2.2), no more than about that comes in a second."),
    CONF_TIME(C, bus.gap_wait_ns, "kafka.gap_wait", "2m", NS(1), NS(604800), "A number of a sensor that is missing for so long is a loss."),
    {.name = NULL},
};
/* clang-format on */

static const char usage[] =
    "wind-collector - receives alerts, joins them into incidents, serves API and page\n"
    "\n"
    "  wind-collector [-c FILE]                       serve until SIGTERM\n"
    "  wind-collector --create-key NAME --scope SCOPE make an API key, print it, end\n"
    "\n"
    "  -c FILE            configuration (YAML); else /etc/wind/collector.yaml if it is there\n"
    "  -T                 test the configuration and end\n"
    "  -v                 say more\n"
    "  -V                 version\n"
    "  --set KEY=VALUE    change one setting, e.g. --set api.listen=127.0.0.1:9000\n"
    "  --print-config     print all settings as YAML, with what they mean\n"
    "  --create-key NAME  also while a collector runs on the same database\n"
    "  --scope SCOPE      what the key may do; several times or with commas. Sensors need ingest\n"
    "  --sensor NAME      the only sensor (sensor.name) that may use the key\n"
    "\n"
    "Examples:\n"
    "  wind-collector --set db.path=/var/lib/wind/wind.db\n"
    "  wind-collector --create-key office --scope ingest --sensor office > sensor.key\n"
    "  wind-collector --set api.listen=0.0.0.0:8443 --set api.tls_cert=cert.pem \\\n"
    "                 --set api.tls_key=key.pem\n";

static int take_scope(void *field, const char *text, struct err *e)
{
    struct collector_args *args = field;
    const size_t n = strlen(args->scopes);

    if (n + 1 + strlen(text) >= sizeof(args->scopes))
        return err_set(e, CLI_USAGE, "too many");
    (void)snprintf(args->scopes + n, sizeof(args->scopes) - n, "%s%s", n > 0 ? " " : "", text);
    for (char *p = args->scopes; *p != '\0'; p++)
        if (*p == ',')
            *p = ' ';
    return 0;
}

#define A struct collector_args

static const struct cli_option options[] = {
    CLI_CONF(A, conf),
    CLI_TEXT(A, create_key, "create-key", 0),
    {.name = "scope", .type = CLI_TYPE_TAKE, .take = take_scope},
    CLI_TEXT(A, sensor, "sensor", 0),
    CLI_END,
};

static const struct cli cli = {.program = "wind-collector", .help = usage, .options = options};

static int check_args(const struct collector_args *args, struct err *e)
{
    if (args->create_key == NULL && (args->scopes[0] != '\0' || args->sensor != NULL))
        return err_set(e, CLI_USAGE, "%s belongs to --create-key",
                       args->scopes[0] != '\0' ? "--scope" : "--sensor");
    if (args->create_key != NULL && (args->create_key[0] == '\0' || strlen(args->create_key) > 63))
        return err_set(e, CLI_USAGE, "--create-key: a name has 1 to 63 characters");
    if (args->create_key != NULL && api_key_permissions(args->scopes) == 0)
        return err_set(e, CLI_USAGE,
                       "--create-key needs --scope: ingest, alerts:read, ...; '%s' is none",
                       args->scopes);
    if (args->sensor != NULL && (args->sensor[0] == '\0' || strlen(args->sensor) > SOURCE_MAX))
        return err_set(e, CLI_USAGE, "--sensor: a name has 1 to %d characters", SOURCE_MAX);
    return 0;
}

static int check_url(const char *key, const char *url, struct err *e)
{
    if (url[0] == '\0')
        return 0;
    if (strncmp(url, "postgresql://", 13) != 0 && strncmp(url, "postgres://", 11) != 0)
        return err_set(e, -EINVAL, "%s must begin with postgresql://", key);
    const char *user = strstr(url, "//") + 2, *host = strchr(url, '@');
    if ((host != NULL && memchr(user, ':', (size_t)(host - user)) != NULL) ||
        strstr(url, "password=") != NULL)
        return err_set(e, -EINVAL, "%s has a password: put it into db.password_file", key);
    return 0;
}

static int check_db(const struct collector_conf *c, struct err *e)
{
    if (c->db_path[0] == '\0' && c->db_url[0] == '\0')
        return err_set(e, -EINVAL, "db.path and db.url are empty");
    if (c->db_url[0] == '\0' && (c->db_replica_url[0] != '\0' || c->db_password_file[0] != '\0'))
        return err_set(e, -EINVAL, "db.replica_url and db.password_file need db.url");
    const int r = check_url("db.url", c->db_url, e);
    return r == 0 ? check_url("db.replica_url", c->db_replica_url, e) : r;
}

static int check(const struct collector_conf *c, struct err *e)
{
    if ((c->api_tls_cert[0] == '\0') != (c->api_tls_key[0] == '\0'))
        return err_set(e, -EINVAL, "api.tls_cert and api.tls_key belong together");
    if (c->retention_disk_low > c->retention_disk_high ||
        c->retention_disk_high > c->retention_disk_flood)
        return err_set(e, -EINVAL,
                       "retention.disk_low, disk_high and disk_flood must grow in this order");
    if (c->search_flows && (c->search_url[0] == '\0' || c->bus.brokers[0] == '\0'))
        return err_set(e, -EINVAL,
                       "search.flows takes flows from Kafka to a search server: it needs "
                       "kafka.brokers and search.url");
    const int r = check_db(c, e);
    return r == 0 && c->bus.brokers[0] != '\0' ? bus_check(&c->bus, e) : r;
}

int collector_conf_load(const struct cli_conf *words, struct collector_conf *ret_conf,
                        struct err *e)
{
    static const struct cli_places places = {.file = "/etc/wind/collector.yaml"};

    const int r = cli_conf_load(words, collector_keys, &places, ret_conf, e);
    return r == 0 ? check(ret_conf, e) : r;
}

int collector_conf_from_args(int argc, char **argv, struct collector_conf *ret_conf,
                             struct collector_args *ret_args, struct err *e)
{
    *ret_args = (struct collector_args){.create_key = NULL};
    int r = cli_parse(&cli, argc, argv, ret_args, e);
    if (r == 0)
        r = check_args(ret_args, e);
    if (r == 0)
        r = collector_conf_load(&ret_args->conf, ret_conf, e);
    if (r == 0)
        r = cli_conf_printed(&ret_args->conf, collector_keys, ret_conf);
    return r == 0 ? cli_conf_tested(&ret_args->conf, cli.program) : r;
}
