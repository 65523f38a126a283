#include "collector/bus_dlq.h"

#include <errno.h>
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>

#include "collector/bus_kafka.h"
#include "common/kafka_conf.h"

#define STRINGIFY_(x) #x
#define STRINGIFY(x)  STRINGIFY_(x)

struct bus_dlq {
    struct bus_dlq_conf conf;
    char topic[BUS_TOPIC_NAME];
    rd_kafka_t *rk;
    size_t sent;                /* of this call */
    rd_kafka_resp_err_t failed; /* the last that went wrong, of this call */
    bool *is_too_large;         /* of this call, by message; borrowed from its frame */
    const struct bus_message *base;
};

static void on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *msg, void *opaque)
{
    struct bus_dlq *d = opaque;
    struct bus_message *m = msg->_private;

    (void)rk;
    if (msg->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
        m->is_done = true;
        d->sent++;
        return;
    }
    d->failed = msg->err;
    if (msg->err == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE)
        d->is_too_large[m - d->base] = true;
}

static int make_conf(rd_kafka_conf_t **ret_conf, const struct bus_dlq_conf *c, struct err *e)
{
    static const struct kafka_setting own[] = {
        {"enable.idempotence", "true", true},
        {"acks", "all", true},
        {"message.timeout.ms", STRINGIFY(DLQ_TIMEOUT_MS), true},
        {"message.max.bytes", "100000000", false}, /* the broker decides */
        {"client.id", "wind-collector", false},
        {"linger.ms", "5", false},
        {"reconnect.backoff.max.ms", "2000", false},
        {NULL, NULL, false},
    };
    const struct kafka_conf conf = {c->brokers, c->password_file, c->options};

    return kafka_conf_new(ret_conf, &conf, own, e);
}

int bus_dlq_check(const struct bus_dlq_conf *conf, struct err *e)
{
    rd_kafka_conf_t *made = NULL;
    const int r = make_conf(&made, conf, e);

    return r == 0 ? kafka_conf_try(made, RD_KAFKA_PRODUCER, e) : r;
}

static int connect_to(struct bus_dlq *d, struct err *e)
{
    rd_kafka_conf_t *made = NULL;
    char why[200];

    const int r = make_conf(&made, &d->conf, e);
    if (r != 0)
        return r;
    rd_kafka_conf_set_opaque(made, d);
    rd_kafka_conf_set_dr_msg_cb(made, on_delivery);
    d->rk = rd_kafka_new(RD_KAFKA_PRODUCER, made, why, sizeof(why));
    if (d->rk == NULL) {
        rd_kafka_conf_destroy(made);
        return err_set(e, -EINVAL, "kafka.options: %s", why);
    }
    return 0;
}

int bus_dlq_new(struct bus_dlq **ret_dlq, const struct bus_dlq_conf *conf, struct err *e)
{
    WIND_AUTO(bus_dlq) struct bus_dlq *d = calloc(1, sizeof(*d));

    if (d == NULL)
        return err_set(e, -ENOMEM, "bus: out of memory");
    d->conf = *conf;
    bus_topic_name(conf->prefix, "dlq", d->topic);
    const int r = connect_to(d, e);
    if (r != 0)
        return r;
    *ret_dlq = WIND_STEAL(d);
    return 0;
}

struct bus_dlq *bus_dlq_free(struct bus_dlq *d)
{
    if (d == NULL)
        return NULL;
    if (d->rk != NULL)
        rd_kafka_destroy(d->rk);
    free(d);
    return NULL;
}

static void set_header(rd_kafka_headers_t *h, const char *name, const char *value)
{
    (void)rd_kafka_header_remove(h, name);
    (void)rd_kafka_header_add(h, name, -1, value, -1);
}

static rd_kafka_headers_t *make_headers(const struct bus_dlq *d, const struct bus_message *m,
                                        bool is_cut)
{
    rd_kafka_headers_t *theirs = NULL;
    char number[24], topic[BUS_TOPIC_NAME];

    bus_topic_name(d->conf.prefix, bus_topic_words[m->topic], topic);
    (void)rd_kafka_message_headers(m->native, &theirs);
    rd_kafka_headers_t *h =
        theirs != NULL ? rd_kafka_headers_copy(theirs) : rd_kafka_headers_new(8);
    set_header(h, "reason", m->reason);
    set_header(h, "topic", topic);
    (void)snprintf(number, sizeof(number), "%d", (int)m->partition);
    set_header(h, "partition", number);
    (void)snprintf(number, sizeof(number), "%lld", (long long)m->offset);
    set_header(h, "offset", number);
    set_header(h, "sensor", m->sensor != NULL ? m->sensor : "");
    (void)snprintf(number, sizeof(number), "%zu", m->len);
    if (is_cut)
        set_header(h, "cut", number);
    return h;
}

static void produce(struct bus_dlq *d, struct bus_message *m, bool is_cut)
{
    rd_kafka_headers_t *h = make_headers(d, m, is_cut);
    const rd_kafka_message_t *from = m->native;
    const size_t len = is_cut && m->len > DLQ_CUT ? DLQ_CUT : m->len;
    const rd_kafka_resp_err_t code = rd_kafka_producev(
        d->rk, RD_KAFKA_V_TOPIC(d->topic), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
        RD_KAFKA_V_VALUE(from->payload, len), RD_KAFKA_V_KEY(from->key, from->key_len),
        RD_KAFKA_V_HEADERS(h), RD_KAFKA_V_OPAQUE(m), RD_KAFKA_V_END);

    if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
        return;
    rd_kafka_headers_destroy(h); /* they stay ours then */
    d->failed = code;
}

static bool is_due(const struct bus_message *m)
{
    return m->is_stored && m->reason != NULL && !m->is_done;
}

/* Every message gets its answer within message.timeout.ms; nothing outlives this call. */
static void wait_for_all(struct bus_dlq *d)
{
    if (rd_kafka_flush(d->rk, DLQ_TIMEOUT_MS + 5000) == RD_KAFKA_RESP_ERR_NO_ERROR)
        return;
    (void)rd_kafka_purge(d->rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
    (void)rd_kafka_flush(d->rk, -1);
}

/* After a fatal error a producer only repeats it. */
static int renew(struct bus_dlq *d, struct err *e)
{
    char why[200];

    if (d->rk != NULL && rd_kafka_fatal_error(d->rk, why, sizeof(why)) == 0)
        return 0;
    if (d->rk != NULL)
        rd_kafka_destroy(d->rk);
    d->rk = NULL;
    return connect_to(d, e);
}

int bus_dlq_send(struct bus_dlq *d, struct bus_message *m, size_t n, struct err *e)
{
    size_t left = 0;

    for (size_t i = 0; i < n; i++)
        left += is_due(&m[i]);
    if (left == 0)
        return 0;
    const int r = renew(d, e);
    if (r != 0)
        return r;
    d->is_too_large = calloc(n, sizeof(bool));
    if (d->is_too_large == NULL)
        return err_set(e, -ENOMEM, "bus: out of memory");
    d->base = m;
    d->sent = 0;
    for (int is_cut = 0; is_cut < 2; is_cut++) {
        for (size_t i = 0; i < n; i++)
            if (is_due(&m[i]) && (is_cut == 0 || d->is_too_large[i]))
                produce(d, &m[i], is_cut != 0);
        wait_for_all(d);
    }
    free(d->is_too_large);
    d->is_too_large = NULL;
    return d->sent == left ? 0
                           : err_set(e, -EAGAIN, "%s does not take %zu of %zu: %s", d->topic,
                                     left - d->sent, left, rd_kafka_err2str(d->failed));
}
