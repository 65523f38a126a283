#include "sensor/sink_kafka.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/jsonw.h"
#include "common/log.h"
#include "common/time.h"

#define SCHEMA      "1"
#define TOPIC_MAX   40
#define HEALTH_MAX  65536
#define EVENTS_MAX  1000 /* a step; each may hold many delivery reports */
#define FAREWELL_S  2
#define FATAL_NS    WIND_NS_PER_S /* a dead producer's last reports */
#define PATIENCE_NS WIND_NS_PER_S /* is_patient: so long without a report is long enough */

enum topic { TOPIC_ALERTS, TOPIC_FLOWS, TOPIC_HEALTH, TOPICS };

static const char *const topic_name[TOPICS] = {"alerts", "flows", "health"};

struct sink_kafka {
    struct sink base;
    const struct sink_conf *conf;
    struct sink_books *books;
    rd_kafka_t *client;
    rd_kafka_queue_t *events;
    struct {
        char name[TOPIC_MAX];
        rd_kafka_topic_t *handle;
        rd_kafka_resp_err_t error; /* of its last message */
    } topic[TOPICS];
    pthread_t farewell; /* lets the producer before this one go */
    bool has_farewell;

    /* the batch */
    size_t n, pending, bytes;
    bool is_done[KAFKA_BATCH_ALERTS];
    rd_kafka_resp_err_t error; /* the first alert's that failed */

    size_t others, other_bytes, signs; /* flows and signs of life on their way */
    bool is_impatient;                 /* until the next report */
    bool is_down, was_down;            /* brokers out of reach; as the sender knows it */
    bool is_refused;                   /* by name and password, or by its certificate */
    char reason[160];                  /* the last thing that went wrong on a connection */
    rd_kafka_resp_err_t fatal;         /* the producer is beyond repair */
    uint64_t fatal_ns;                 /* since then */
    char fatal_reason[160];
    struct buf health;
};

/* ---------------------------------------------------------------- settings */

int sink_kafka_conf_new(rd_kafka_conf_t **ret_conf, const struct kafka_conf *conf,
                        uint64_t queue_bytes, struct err *e)
{
    char kbytes[24], messages[24];
    const struct kafka_setting own[] = {
        {"enable.idempotence", "true", true},
        {"acks", "all", true},
        {"request.required.acks", NULL, true},
        {"delivery.report.only.error", NULL, true},
        {"transactional.id", NULL, true},
        /* What limits us is counted by us; librdkafka's own limits come after. */
        {"queue.buffering.max.messages", messages, true},
        {"queue.buffering.max.kbytes", kbytes, true},
        {"client.id", "wind-sensor", false},
        {"compression.type", "lz4", false},
        {"linger.ms", "10", false},
        {"partitioner", "murmur2_random", false}, /* as Java's */
        {"topic.metadata.propagation.max.ms", "5000", false},
        {NULL, NULL, false},
    };

    (void)snprintf(messages, sizeof(messages), "%u", 2 * (KAFKA_BATCH_ALERTS + KAFKA_FLOWS_MAX));
    (void)snprintf(kbytes, sizeof(kbytes), "%" PRIu64, 2 * (KAFKA_BATCH_BYTES + queue_bytes) >> 10);
    return kafka_conf_new(ret_conf, conf, own, e);
}

/* ---------------------------------------------------------------- the producer */

static void *farewell_run(void *client)
{
    (void)rd_kafka_purge(client, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT |
                                     RD_KAFKA_PURGE_F_NON_BLOCKING);
    rd_kafka_destroy(client);
    return NULL;
}

/* The producer and what is on its way are nobody's any more. */
static void drop_client(struct sink_kafka *s)
{
    rd_kafka_t *const client = s->client;

    for (size_t i = 0; i < TOPICS; i++) {
        if (s->topic[i].handle != NULL)
            rd_kafka_topic_destroy(s->topic[i].handle);
        s->topic[i].handle = NULL;
    }
    if (s->events != NULL)
        rd_kafka_queue_destroy(s->events);
    s->events = NULL;
    s->client = NULL;
    if (s->has_farewell) /* one at a time: it is over long ago */
        (void)pthread_join(s->farewell, NULL);
    s->has_farewell =
        client != NULL && pthread_create(&s->farewell, NULL, farewell_run, client) == 0;
    if (client != NULL && !s->has_farewell)
        (void)farewell_run(client);
}

static int make_client(struct sink_kafka *s, struct err *e)
{
    rd_kafka_conf_t *const conf = rd_kafka_conf_dup(s->conf->kafka);
    char why[160];

    rd_kafka_conf_set_events(conf, RD_KAFKA_EVENT_DR | RD_KAFKA_EVENT_ERROR);
    s->client = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof(why));
    if (s->client == NULL) { /* it has not taken conf */
        rd_kafka_conf_destroy(conf);
        return err_set(e, -EINVAL, "kafka.options: %s", why);
    }
    s->events = rd_kafka_queue_get_main(s->client);
    for (size_t i = 0; i < TOPICS; i++) {
        s->topic[i].handle = rd_kafka_topic_new(s->client, s->topic[i].name, NULL);
        if (s->topic[i].handle == NULL) {
            drop_client(s);
            return err_set(e, -EINVAL, "kafka: topic '%s': %s", s->topic[i].name,
                           rd_kafka_err2str(rd_kafka_last_error()));
        }
    }
    return 0;
}

static void kafka_free(struct sink *base)
{
    struct sink_kafka *s = (struct sink_kafka *)base;

    struct timespec limit;

    drop_client(s);
    (void)clock_gettime(CLOCK_REALTIME, &limit);
    limit.tv_sec += FAREWELL_S;
    if (s->has_farewell) /* a process that ends need not wait for a name server */
        (void)pthread_timedjoin_np(s->farewell, NULL, &limit);
    buf_done(&s->health);
    free(s);
}

/* ---------------------------------------------------------------- messages */

struct message {
    enum topic topic;
    const char *key, *value, *run;
    size_t key_len, len;
    uint64_t seq;
    void *mark; /* comes back with the report */
};

/* A copy is on its way; or librdkafka's reason why not. */
static rd_kafka_resp_err_t produce(struct sink_kafka *s, const struct message *m)
{
    char seq[24];

    if (s->client == NULL)
        return RD_KAFKA_RESP_ERR__FATAL;
    (void)snprintf(seq, sizeof(seq), "%" PRIu64, m->seq);
    return rd_kafka_producev(
        s->client, RD_KAFKA_V_RKT(s->topic[m->topic].handle),
        RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
        RD_KAFKA_V_KEY((void *)(uintptr_t)m->key, m->key_len),
        RD_KAFKA_V_VALUE((void *)(uintptr_t)m->value, m->len),
        RD_KAFKA_V_HEADER("schema", SCHEMA, -1), RD_KAFKA_V_HEADER("sensor", s->conf->sensor, -1),
        RD_KAFKA_V_HEADER("run", m->run, -1), RD_KAFKA_V_HEADER("seq", seq, -1),
        RD_KAFKA_V_OPAQUE(m->mark), RD_KAFKA_V_END);
}

static void kafka_begin(struct sink *base)
{
    struct sink_kafka *s = (struct sink_kafka *)base;

    if (s->client == NULL)
        (void)make_client(s, NULL);
    s->n = s->pending = s->bytes = 0;
    s->error = RD_KAFKA_RESP_ERR_NO_ERROR;
}

static bool kafka_has_room(const struct sink *base)
{
    const struct sink_kafka *s = (const struct sink_kafka *)base;

    return s->n < KAFKA_BATCH_ALERTS && s->bytes < KAFKA_BATCH_BYTES &&
           s->error == RD_KAFKA_RESP_ERR_NO_ERROR;
}

/* The value of the first entity: alerts about one host stay in order. */
static const char *find_entity(const json_t *alert)
{
    const json_t *entities = json_object_get(json_object_get(alert, "wind"), "entities");

    return json_string_value(json_object_get(json_array_get(entities, 0), "value"));
}

static void kafka_put(struct sink *base, const struct spool_entry *alert, const char *run)
{
    struct sink_kafka *s = (struct sink_kafka *)base;
    json_t *const parsed = json_loadb(alert->json, alert->len, 0, NULL);
    const char *const entity = find_entity(parsed);
    const char *const key = entity != NULL ? entity : s->conf->sensor;
    const struct message m = {.topic = TOPIC_ALERTS,
                              .key = key,
                              .key_len = strlen(key),
                              .value = alert->json,
                              .len = alert->len,
                              .run = run,
                              .seq = alert->index,
                              .mark = &s->is_done[s->n]};

    s->is_done[s->n++] = false;
    s->bytes += alert->len;
    const rd_kafka_resp_err_t error =
        s->error != RD_KAFKA_RESP_ERR_NO_ERROR ? s->error : produce(s, &m);
    if (error == RD_KAFKA_RESP_ERR_NO_ERROR)
        s->pending++;
    else
        s->error = error;
    json_decref(parsed);
}

static int kafka_send(struct sink *base)
{
    struct sink_kafka *s = (struct sink_kafka *)base;

    if (s->n == 0)
        return SINK_SENT;
    base->is_busy = true;
    return 0;
}

/* A flow or a sign of life; false: there's no room. */
static bool produce_other(struct sink_kafka *s, const struct message *m)
{
    if (s->others >= KAFKA_FLOWS_MAX || s->other_bytes + m->len > s->conf->queue_bytes ||
        produce(s, m) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return false;
    s->others++;
    s->other_bytes += m->len;
    return true;
}

static void kafka_put_stats(struct sink *base, const char *json, size_t len)
{
    struct sink_kafka *s = (struct sink_kafka *)base;
    const struct sink_conf *c = s->conf;
    struct jsonw j;

    buf_reset(&s->health);
    jsonw_begin(&j, &s->health);
    jsonw_object(&j, NULL);
    jsonw_time(&j, "timestamp", time_wall_ns());
    jsonw_str(&j, "event_type", "stats");
    jsonw_str(&j, "host", c->sensor);
    jsonw_raw(&j, "stats", json, len);
    jsonw_object(&j, "wind");
    jsonw_str(&j, "version", c->version);
    jsonw_end(&j);
    jsonw_end(&j);
    const struct message m = {.topic = TOPIC_HEALTH,
                              .key = c->sensor,
                              .key_len = strlen(c->sensor),
                              .value = s->health.data,
                              .len = s->health.len,
                              .run = c->run,
                              .seq = s->books->signs};
    if (!s->health.failed && produce_other(s, &m)) {
        s->signs++;
        s->books->signs++;
    }
}

/* ---------------------------------------------------------------- what librdkafka says */

/* Once, until the topic takes messages again. */
static void say_topic(struct sink_kafka *s, enum topic topic, rd_kafka_resp_err_t error)
{
    const char *const name = s->topic[topic].name;

    if (error == s->topic[topic].error)
        return;
    s->topic[topic].error = error;
    if (error == RD_KAFKA_RESP_ERR_NO_ERROR)
        log_info("uplink: Kafka's topic '%s' takes messages again", name);
    else if (topic != TOPIC_ALERTS) /* the sender speaks of those */
        log_warn("uplink: Kafka's topic '%s': %s, dropped and counted", name,
                 rd_kafka_err2str(error));
}

static void take_report(struct sink_kafka *s, const rd_kafka_message_t *m)
{
    const bool is_there = m->err == RD_KAFKA_RESP_ERR_NO_ERROR;
    enum topic topic = TOPIC_ALERTS;

    while (topic < TOPICS && m->rkt != s->topic[topic].handle)
        topic++;
    s->is_impatient = false;
    if (is_there)
        s->is_down = s->is_refused = false;
    if (topic == TOPIC_ALERTS) {
        s->pending--;
        *(bool *)m->_private = is_there;
        if (!is_there && s->error == RD_KAFKA_RESP_ERR_NO_ERROR)
            s->error = m->err;
    } else {
        s->others--;
        s->other_bytes -= m->len;
        s->signs -= topic == TOPIC_HEALTH;
        s->books->flows_delivered += topic == TOPIC_FLOWS && is_there;
        s->books->flows_dropped += topic == TOPIC_FLOWS && !is_there;
    }
    say_topic(s, topic, m->err);
}

static void take_error(struct sink_kafka *s, rd_kafka_event_t *event)
{
    const rd_kafka_resp_err_t error = rd_kafka_event_error(event);

    if (rd_kafka_event_error_is_fatal(event)) {
        s->fatal = rd_kafka_fatal_error(s->client, s->fatal_reason, sizeof(s->fatal_reason));
        s->fatal_ns = time_mono_ns();
        (void)rd_kafka_purge(s->client, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT |
                                            RD_KAFKA_PURGE_F_NON_BLOCKING);
        return;
    }
    s->is_refused |= error == RD_KAFKA_RESP_ERR__AUTHENTICATION || error == RD_KAFKA_RESP_ERR__SSL;
    s->is_down |= error == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN || s->is_refused;
    if (error != RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN) /* it has no reason of its own */
        (void)snprintf(s->reason, sizeof(s->reason), "%s", rd_kafka_event_error_string(event));
}

static void take_events(struct sink_kafka *s, int wait_ms)
{
    for (int i = 0; i < EVENTS_MAX && s->events != NULL; i++) {
        rd_kafka_event_t *const event = rd_kafka_queue_poll(s->events, i == 0 ? wait_ms : 0);
        const rd_kafka_message_t *m;

        if (event == NULL)
            return;
        if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_DR)
            while ((m = rd_kafka_event_message_next(event)) != NULL)
                take_report(s, m);
        else if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_ERROR)
            take_error(s, event);
        rd_kafka_event_destroy(event);
    }
}

/* ---------------------------------------------------------------- answers */

static enum sink_verdict verdict_of(rd_kafka_resp_err_t error)
{
    switch (error) {
    case RD_KAFKA_RESP_ERR_NO_ERROR:
        return SINK_TAKEN;
    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
    case RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE:
    case RD_KAFKA_RESP_ERR_INVALID_RECORD:
    case RD_KAFKA_RESP_ERR_INVALID_MSG:
    case RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP:
        return SINK_SPLIT;
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR__AUTHENTICATION:
        return SINK_REFUSED;
    default:
        return SINK_LATER;
    }
}

static bool is_topic_missing(rd_kafka_resp_err_t error)
{
    return error == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC ||
           error == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
}

static void answer(struct sink_kafka *s, struct sink_answer *a)
{
    *a = (struct sink_answer){.verdict = verdict_of(s->error)};
    while (a->taken < s->n && s->is_done[a->taken])
        a->taken++;
    if (is_topic_missing(s->error))
        (void)snprintf(a->text, sizeof(a->text),
                       "has no topic '%s': make it (kafka-topics.sh --create), or let the brokers "
                       "(auto.create.topics.enable)",
                       s->topic[TOPIC_ALERTS].name);
    else if (s->error == RD_KAFKA_RESP_ERR__MSG_TIMED_OUT && s->reason[0] != '\0')
        (void)snprintf(a->text, sizeof(a->text), "gave no answer: %s", s->reason);
    else
        (void)snprintf(a->text, sizeof(a->text), "says: %s", rd_kafka_err2str(s->error));
    s->base.is_busy = false;
}

/*
 * What the dead producer didn't report in time is given up: alerts are in the spool, flows are
 * counted.
 */
static void renew(struct sink_kafka *s)
{
    struct err e = {0};

    log_warn("uplink: Kafka's producer gave up: %s; going on with a new one", s->fatal_reason);
    drop_client(s);
    if (s->pending > 0 && s->error == RD_KAFKA_RESP_ERR_NO_ERROR)
        s->error = s->fatal;
    s->books->flows_dropped += s->others - s->signs;
    s->others = s->other_bytes = s->signs = s->pending = 0;
    s->fatal = RD_KAFKA_RESP_ERR_NO_ERROR;
    if (make_client(s, &e) < 0) /* kafka_begin tries again */
        log_warn("uplink: %s", e.text);
}

static enum sink_event kafka_step(struct sink *base, struct sink_answer *ret_answer,
                                  uint64_t *ret_after_ns)
{
    struct sink_kafka *s = (struct sink_kafka *)base;

    *ret_after_ns = 0;
    take_events(s, 0);
    if (s->fatal != RD_KAFKA_RESP_ERR_NO_ERROR &&
        (s->pending + s->others == 0 || time_mono_ns() - s->fatal_ns > FATAL_NS))
        renew(s);
    if (base->is_busy && s->pending == 0) {
        answer(s, ret_answer);
        return SINK_ANSWERED;
    }
    if (s->is_down == s->was_down)
        return SINK_NOTHING;
    s->was_down = s->is_down;
    *ret_answer = (struct sink_answer){.verdict = SINK_TAKEN};
    if (s->is_down)
        ret_answer->verdict = s->is_refused ? SINK_REFUSED : SINK_LATER;
    (void)snprintf(ret_answer->text, sizeof(ret_answer->text), "cannot be reached: %s", s->reason);
    return SINK_NOTICE;
}

static void kafka_wait(struct sink *base, int wait_ms)
{
    take_events((struct sink_kafka *)base, wait_ms);
}

static size_t kafka_others(const struct sink *base)
{
    return ((const struct sink_kafka *)base)->others;
}

/* ---------------------------------------------------------------- flows */

static void kafka_flow(struct sink *base, const char *key, size_t key_len, const char *json,
                       size_t len)
{
    struct sink_kafka *s = (struct sink_kafka *)base;
    const struct message m = {.topic = TOPIC_FLOWS,
                              .key = key,
                              .key_len = key_len,
                              .value = json,
                              .len = len,
                              .run = s->conf->run,
                              .seq = s->books->flows};
    const uint64_t from = s->conf->is_patient ? time_mono_ns() : 0;
    bool is_sent = produce_other(s, &m);

    while (!is_sent && s->conf->is_patient && !s->is_impatient && s->others > 0) {
        const size_t others = s->others;

        take_events(s, 10);
        is_sent = s->others < others && produce_other(s, &m);
        s->is_impatient = !is_sent && time_mono_ns() - from > PATIENCE_NS;
    }
    s->books->flows++;
    s->books->flows_dropped += !is_sent;
}

/* ---------------------------------------------------------------- start */

static const struct sink_ops kafka_ops = {
    .free = kafka_free,
    .begin = kafka_begin,
    .has_room = kafka_has_room,
    .put = kafka_put,
    .put_stats = kafka_put_stats,
    .send = kafka_send,
    .step = kafka_step,
    .wait = kafka_wait,
    .count_others = kafka_others,
    .flow = kafka_flow,
};

int sink_kafka_new(struct sink **ret_sink, const struct sink_conf *conf, struct sink_books *books,
                   struct err *e)
{
    struct sink_kafka *s = calloc(1, sizeof(*s));

    if (s == NULL)
        return err_set(e, -ENOMEM, "uplink: out of memory");
    WIND_AUTO(sink) struct sink *base = &s->base;
    s->base = (struct sink){
        .ops = &kafka_ops,
        .peer = "Kafka",
        .if_refused = "see kafka.options (security.protocol, sasl.*, ssl.*), kafka.password_file, "
                      "and that this user may write to the topics",
        .if_strange = "kafka.brokers doesn't lead to Kafka",
        .batch_max = KAFKA_BATCH_ALERTS};
    s->conf = conf;
    s->books = books;
    buf_init(&s->health, HEALTH_MAX);
    for (size_t i = 0; i < TOPICS; i++)
        (void)snprintf(s->topic[i].name, sizeof(s->topic[i].name), "%s%s", conf->prefix,
                       topic_name[i]);
    const int r = make_client(s, e);
    if (r < 0)
        return r;
    *ret_sink = WIND_STEAL(base);
    return 0;
}
