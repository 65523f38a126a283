#include "collector/flow_index.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "collector/bus_kafka.h"
#include "collector/flow_doc.h"
#include "collector/metrics.h"
#include "collector/search_bulk.h"
#include "common/count.h"
#include "common/log.h"
#include "common/time.h"

#define POLL_MS        100
#define BACKOFF_MS     100
#define BACKOFF_MAX    5000
#define LOOK_NS        WIND_NS_PER_S
#define PRUNE_NS       (600 * WIND_NS_PER_S)
#define AGAIN_NS       (60 * WIND_NS_PER_S) /* what stays wrong is logged again after */
#define RECONNECT_MS   5000
#define BODY_SPARE     3 /* a document is at most so many times the message: it has it, escaped */
#define INDEX_NAME_MAX 96
#define DAY_NS         (INT64_C(86400) * (int64_t)WIND_NS_PER_S)

/* How far a partition is done once the batch is. */
struct reach {
    int32_t partition;
    int64_t next;
};

struct flow_index {
    struct flow_index_conf conf;
    char group[160], prefix[64];
    struct bus_kafka_conf kafka_conf;
    struct search_http *http;
    struct flow_doc *doc;

    /* the thread's own */
    struct search_bulk bulk;
    struct reach *reach;
    size_t n_reach, room_reach;
    uint64_t looked_ns, pruned_ns;
    bool is_set_up;

    pthread_t thread;
    bool is_started;
    pthread_mutex_t lock;    /* guards kafka while another thread looks at it */
    struct bus_kafka *kafka; /* NULL while there is none */
    _Atomic bool is_stopping;
    _Atomic uint64_t fetched, indexed, refused, unreadable, returned, in_hand, failures;
};

static bool is_stopping(struct flow_index *x)
{
    return atomic_load_explicit(&x->is_stopping, memory_order_relaxed);
}

/* ---------------------------------------------------------------- indices */

static int set_up(struct flow_index *x, struct err *e)
{
    char path[INDEX_NAME_MAX], alias[INDEX_NAME_MAX], pattern[INDEX_NAME_MAX];

    if (x->is_set_up)
        return 0;
    (void)snprintf(path, sizeof(path), "/_index_template/%s-flows", x->prefix);
    (void)snprintf(alias, sizeof(alias), "%s-flows", x->prefix);
    (void)snprintf(pattern, sizeof(pattern), "%s-flows-*", x->prefix);
    const int r = search_http_do(
        x->http, "PUT", path,
        json_pack("{s:[s], s:i, s:{s:{s:{s:i, s:s, s:s, s:s}}, s:o, s:{s:{}}}}", "index_patterns",
                  pattern, "priority", 200, "template", "settings", "index", "number_of_shards", 1,
                  "auto_expand_replicas", "0-1", "refresh_interval", "5s", "codec",
                  "best_compression", "mappings", flow_doc_mapping(), "aliases", alias),
        NULL, e);
    x->is_set_up = r == 0;
    return r;
}

/* "wind-flows-2026.11.27": the day of the message, which does not change when it comes again. */
static void put_action(struct flow_index *x, const rd_kafka_message_t *msg)
{
    rd_kafka_timestamp_type_t type;
    const int64_t ms = rd_kafka_message_timestamp(msg, &type);
    const time_t s = ms > 0 ? (time_t)(ms / 1000) : 0;
    struct tm tm;

    (void)gmtime_r(&s, &tm);
    buf_printf(&x->bulk.body,
               "{\"index\":{\"_index\":\"%s-flows-%04d.%02d.%02d\",\"_id\":\"%d-%" PRId64 "\"}}\n",
               x->prefix, tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, (int)msg->partition,
               msg->offset);
}

/* When the day of an index is over; 0: its name has none. */
static int64_t day_end_ns(const char *name, const char *start)
{
    struct tm tm = {0};
    int year = 0, month = 0, day = 0;

    if (strncmp(name, start, strlen(start)) != 0 ||
        sscanf(name + strlen(start), "%4d.%2d.%2d", &year, &month, &day) !=
            3) // NOLINT(cert-err34-c)
        return 0;
    tm.tm_year = year - 1900;
    tm.tm_mon = month - 1;
    tm.tm_mday = day + 1;
    return (int64_t)timegm(&tm) * (int64_t)WIND_NS_PER_S;
}

static int prune(struct flow_index *x, struct err *e)
{
    const int64_t before_ns = (int64_t)time_wall_ns() - x->conf.retention_ns;
    char path[2 * INDEX_NAME_MAX], start[INDEX_NAME_MAX];
    json_auto_t *list = NULL;
    const json_t *item;
    size_t i;

    (void)snprintf(start, sizeof(start), "%s-flows-", x->prefix);
    (void)snprintf(path, sizeof(path), "/_cat/indices/%s*?format=json&h=index", start);
    int r = search_http_do(x->http, "GET", path, NULL, &list, e);
    json_array_foreach(list, i, item)
    {
        const char *name = json_string_value(json_object_get(item, "index"));
        const int64_t end = name == NULL ? 0 : day_end_ns(name, start);
        if (r != 0 || end == 0 || end > before_ns)
            continue;
        (void)snprintf(path, sizeof(path), "/%.90s?ignore_unavailable=true", name);
        r = search_http_do(x->http, "DELETE", path, NULL, NULL, e);
        if (r == 0)
            log_info("flows: index '%s' is over, deleted", name);
    }
    return r;
}

/* ---------------------------------------------------------------- the batch in hand */

static void reach_to(struct flow_index *x, int32_t partition, int64_t next)
{
    for (size_t i = 0; i < x->n_reach; i++)
        if (x->reach[i].partition == partition) {
            x->reach[i].next = next;
            return;
        }
    if (x->n_reach == x->room_reach) {
        x->room_reach = x->room_reach == 0 ? 16 : 2 * x->room_reach;
        x->reach = realloc(x->reach, x->room_reach * sizeof(*x->reach));
        WIND_CHECK(x->reach != NULL);
    }
    x->reach[x->n_reach++] = (struct reach){partition, next};
}

static const char *sensor_of(const rd_kafka_message_t *msg, char *ret_name, size_t size)
{
    rd_kafka_headers_t *headers = NULL;
    const void *value;
    size_t len;

    if (rd_kafka_message_headers(msg, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR ||
        rd_kafka_header_get_last(headers, "sensor", &value, &len) != RD_KAFKA_RESP_ERR_NO_ERROR ||
        value == NULL || len == 0 || len >= size)
        return NULL;
    memcpy(ret_name, value, len);
    ret_name[len] = '\0';
    return ret_name;
}

static void add(struct flow_index *x, const rd_kafka_message_t *msg)
{
    const size_t before = x->bulk.body.len;
    char sensor[SOURCE_MAX + 1];
    struct err e = {0};
    struct jsonw j;
    int r = msg->payload == NULL || msg->len > BUS_VALUE_MAX
                ? err_set(&e, -EINVAL, "it is empty, or too long")
                : 0;

    count(&x->fetched, 1);
    reach_to(x, msg->partition, msg->offset + 1);
    if (r == 0) {
        put_action(x, msg);
        jsonw_begin(&j, &x->bulk.body);
        r = flow_doc_put(x->doc, &j, msg->payload, msg->len, sensor_of(msg, sensor, sizeof(sensor)),
                         &e);
        buf_putc(&x->bulk.body, '\n');
        r = r == 0 && x->bulk.body.failed ? -ENOMEM : r;
    }
    if (r != 0) {
        log_debug("flows: message %d-%" PRId64 ": %s", (int)msg->partition, msg->offset, e.text);
        buf_truncate(&x->bulk.body, before);
        count(&x->unreadable, 1);
        return;
    }
    x->bulk.n++;
    count(&x->in_hand, 1);
}

static void drop_hand(struct flow_index *x)
{
    buf_reset(&x->bulk.body);
    x->bulk.n = 0;
    x->n_reach = 0;
    count_set(&x->in_hand, 0);
}

/* The hook: somebody else reads on there, from where we committed; twice is once. */
static void give_up(void *arg, enum bus_topic topic, int32_t partition)
{
    struct flow_index *x = arg;

    (void)topic;
    for (size_t i = 0; i < x->n_reach; i++)
        if (x->reach[i].partition == partition)
            x->reach[i].next = -1;
}

/* Until the batch is full, or kafka.batch_wait after its first message. */
static void collect(struct flow_index *x)
{
    const struct bus_conf *c = x->conf.bus;
    uint64_t until = 0;
    int64_t bytes = 0, n = 0;

    while (n < c->batch && bytes < c->batch_bytes && !is_stopping(x)) {
        const uint64_t now = time_mono_ns();
        if (n > 0 && now >= until)
            return;
        const int wait_ms = n > 0 ? (int)((until - now) / WIND_NS_PER_MS) + 1 : POLL_MS;
        rd_kafka_message_t *msg = bus_kafka_poll(x->kafka, wait_ms);
        if (msg == NULL && n == 0)
            return;
        if (msg == NULL)
            continue;
        add(x, msg);
        bytes += (int64_t)msg->len;
        rd_kafka_message_destroy(msg);
        if (n++ == 0)
            until = time_mono_ns() + (uint64_t)c->batch_wait_ns;
    }
}

static void look(struct flow_index *x)
{
    const uint64_t now = time_mono_ns();
    struct err e = {0};

    if (now - x->looked_ns >= LOOK_NS) {
        x->looked_ns = now;
        bus_kafka_look(x->kafka);
    }
    if (x->is_set_up && x->conf.retention_ns > 0 && now - x->pruned_ns >= PRUNE_NS) {
        x->pruned_ns = now;
        if (prune(x, &e) != 0)
            log_warn("flows: %s, trying again", e.text);
    }
}

static int send_hand(struct flow_index *x, struct err *e)
{
    uint64_t refused = 0;

    int r = set_up(x, e);
    if (r == 0)
        r = search_bulk_send(x->http, &x->bulk, &refused, e);
    if (r != 0) {
        count(&x->failures, 1);
        return r;
    }
    count(&x->indexed, x->bulk.n - refused);
    count(&x->refused, refused);
    for (size_t i = 0; i < x->n_reach; i++)
        if (x->reach[i].next >= 0)
            bus_kafka_done(x->kafka, BUS_FLOWS, x->reach[i].partition, x->reach[i].next);
    bus_kafka_commit(x->kafka);
    drop_hand(x);
    return 0;
}

/* Everything in hand is there, however long that takes. */
static void settle(struct flow_index *x)
{
    struct err e = {0};
    int backoff = BACKOFF_MS;
    uint64_t said_ns = 0;

    while (x->n_reach > 0 && send_hand(x, &e) != 0) {
        const uint64_t now = time_mono_ns();
        if (said_ns == 0 || now - said_ns > AGAIN_NS) {
            log_error("flows: %s; %zu wait, trying again", e.text, x->bulk.n);
            said_ns = now;
        }
        bus_kafka_wait(x->kafka, backoff);
        look(x);
        backoff = 2 * backoff < BACKOFF_MAX ? 2 * backoff : BACKOFF_MAX;
        if (is_stopping(x))
            return;
    }
    if (said_ns != 0)
        log_info("flows: going on");
    bus_kafka_resume(x->kafka);
}

/* ---------------------------------------------------------------- the thread */

static void set_kafka(struct flow_index *x, struct bus_kafka *k)
{
    (void)pthread_mutex_lock(&x->lock);
    struct bus_kafka *old = x->kafka;
    x->kafka = k;
    (void)pthread_mutex_unlock(&x->lock);
    bus_kafka_free(old);
}

static void reconnect(struct flow_index *x)
{
    struct bus_kafka *k = NULL;
    struct err e = {0};

    count(&x->returned, x->bulk.n);
    drop_hand(x);
    set_kafka(x, NULL);
    while (!is_stopping(x) && bus_kafka_new(&k, &x->kafka_conf, &e) != 0) {
        log_error("flows: %s, trying again", e.text);
        for (int i = 0; i < RECONNECT_MS / POLL_MS && !is_stopping(x); i++)
            (void)usleep(POLL_MS * 1000);
    }
    set_kafka(x, k);
}

static void *run(void *arg)
{
    struct flow_index *x = arg;

    while (!is_stopping(x)) {
        if (x->kafka == NULL || bus_kafka_is_broken(x->kafka)) {
            reconnect(x);
            continue;
        }
        collect(x);
        settle(x);
        look(x);
    }
    count(&x->returned, x->bulk.n);
    drop_hand(x);
    return NULL;
}

/* ---------------------------------------------------------------- life */

int flow_index_new(struct flow_index **ret_index, const struct flow_index_conf *conf, struct err *e)
{
    WIND_AUTO(flow_index) struct flow_index *x = calloc(1, sizeof(*x));

    if (x == NULL)
        return err_set(e, -ENOMEM, "flows: out of memory");
    (void)pthread_mutex_init(&x->lock, NULL);
    x->conf = *conf;
    buf_init(&x->bulk.body, BODY_SPARE * ((size_t)conf->bus->batch_bytes + BUS_VALUE_MAX));
    (void)snprintf(x->prefix, sizeof(x->prefix), "%s", conf->prefix);
    (void)snprintf(x->group, sizeof(x->group), "%s-flows", conf->bus->group);
    x->kafka_conf = (struct bus_kafka_conf){.brokers = conf->bus->brokers,
                                            .prefix = conf->bus->prefix,
                                            .group = x->group,
                                            .password_file = conf->bus->password_file,
                                            .options = &conf->bus->options,
                                            .queue_bytes = conf->bus->queue_bytes,
                                            .first = BUS_FLOWS,
                                            .end = BUS_FLOWS + 1,
                                            .revoked = give_up,
                                            .arg = x};
    int r = flow_doc_new(&x->doc, e);
    if (r == 0)
        r = search_http_new(&x->http, &conf->http, e);
    if (r == 0)
        r = bus_kafka_check(&x->kafka_conf, e);
    if (r == 0)
        *ret_index = WIND_STEAL(x);
    return r;
}

int flow_index_start(struct flow_index *x, struct err *e)
{
    const int r = pthread_create(&x->thread, NULL, run, x);

    x->is_started = r == 0;
    return r == 0 ? 0 : err_set(e, -r, "flows: no thread");
}

void flow_index_stop(struct flow_index *x)
{
    if (x == NULL || !x->is_started)
        return;
    atomic_store_explicit(&x->is_stopping, true, memory_order_relaxed);
    (void)pthread_join(x->thread, NULL);
    x->is_started = false;
    set_kafka(x, NULL);
}

struct flow_index *flow_index_free(struct flow_index *x)
{
    if (x == NULL)
        return NULL;
    flow_index_stop(x);
    bus_kafka_free(x->kafka);
    search_http_free(x->http);
    flow_doc_free(x->doc);
    buf_done(&x->bulk.body);
    free(x->reach);
    (void)pthread_mutex_destroy(&x->lock);
    free(x);
    return NULL;
}

/* ---------------------------------------------------------------- figures */

void flow_index_print(struct flow_index *x, struct buf *out)
{
    const struct {
        const char *name;
        const _Atomic uint64_t *n;
    } outcomes[] = {{"indexed", &x->indexed},
                    {"refused", &x->refused},
                    {"unreadable", &x->unreadable},
                    {"returned", &x->returned}};
    struct bus_kafka_view view = {0};

    (void)pthread_mutex_lock(&x->lock);
    if (x->kafka != NULL)
        bus_kafka_view(x->kafka, &view);
    (void)pthread_mutex_unlock(&x->lock);
    metrics_print_one(out, "wind_flow_index_fetched_total", "counter",
                      "Flows taken from the bus for the search server.", count_get(&x->fetched));
    buf_puts(out, "# HELP wind_flow_index_flows_total What became of them.\n"
                  "# TYPE wind_flow_index_flows_total counter\n");
    for (size_t i = 0; i < WIND_ARRAY_SIZE(outcomes); i++)
        buf_printf(out, "wind_flow_index_flows_total{outcome=\"%s\"} %" PRIu64 "\n",
                   outcomes[i].name, count_get(outcomes[i].n));
    metrics_print_one(out, "wind_flow_index_in_hand", "gauge", "Taken, and not there yet.",
                      count_get(&x->in_hand));
    metrics_print_one(out, "wind_flow_index_failures_total", "counter",
                      "Batches that the search server did not take at once.",
                      count_get(&x->failures));
    metrics_print_one(out, "wind_flow_index_lag", "gauge",
                      "Flows on the bus behind those, in partitions that are ours.",
                      (uint64_t)view.lag);
}
