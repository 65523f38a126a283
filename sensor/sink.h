/*
 * sink.h - where alerts go: to a collector by HTTPS, or to Kafka. One interface for both.
 *
 * Why      The sender decides when, how much and when again, and keeps the books; how it's said on
 *          the wire is the sink's. Nothing above knows which one it is.
 * Owns     The connection, and a copy of what is on its way.
 * Threads  One. What libraries do in threads of their own stays inside.
 * Bounds   One batch of alerts on its way, sink->batch_max alerts in it; flows: conf.queue_bytes.
 *          Nothing here blocks, but sink_wait, and sink_flow in a replay.
 *
 * A batch:  sink_begin -> sink_put (while sink_has_room) -> sink_put_stats -> sink_send
 *           -> sink_step ... SINK_ANSWERED.
 *
 * Flows and signs of life are sent once: what becomes of them is counted (struct sink_books), and
 * the spool knows nothing of them. In a batch only alerts can fail.
 */
#pragma once

#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"
#include "sensor/sink_answer.h"
#include "sensor/spool.h"

#define SINK_RUN_TEXT 33 /* 32 hex digits */

struct sink_conf {
    char sensor[64], version[16];

    char url[512];      /* of the collector; "" = none */
    char key[192];      /* wind_<id>_<secret> */
    char ca_file[1024]; /* "" = the system's */
    bool insecure;      /* plain http to anywhere */

    const rd_kafka_conf_t *kafka; /* sink_kafka_conf_new; borrowed; NULL = none */
    char prefix[32];              /* of the topics: "wind." */
    uint64_t queue_bytes;         /* flows on their way */
    bool is_patient;              /* a full queue is waited for (replay), not dropped (live) */
    char run[SINK_RUN_TEXT];      /* of this sensor's start: flows and signs of life count anew */
};

/* Plain data: it lies in the uplink's commit. made = delivered + dropped + on their way. */
struct sink_books {
    uint64_t flows, flows_delivered, flows_dropped;
    uint64_t signs; /* of life */
};

enum sink_event {
    SINK_NOTHING,
    SINK_ANSWERED, /* once for each batch that was sent */
    SINK_NOTICE,   /* ret_answer says what is wrong now (or SINK_TAKEN: no more); go on waiting */
};

struct sink_ops;

struct sink {
    const struct sink_ops *ops;
    const char *peer;       /* "the collector": for people */
    const char *if_refused; /* what an operator does about it */
    const char *if_strange;
    size_t batch_max;
    bool is_busy; /* a batch is on its way */
};

/* What sinks have in common; see the functions below. */
struct sink_ops {
    void (*free)(struct sink *s);
    void (*begin)(struct sink *s);
    bool (*has_room)(const struct sink *s);
    void (*put)(struct sink *s, const struct spool_entry *alert, const char *run);
    void (*put_stats)(struct sink *s, const char *json, size_t len);
    int (*send)(struct sink *s);
    enum sink_event (*step)(struct sink *s, struct sink_answer *ret_answer, uint64_t *ret_after);
    void (*wait)(struct sink *s, int wait_ms);
    size_t (*count_others)(const struct sink *s); /* NULL: there are none */
    void (*flow)(struct sink *s, const char *key, size_t key_len, const char *json, size_t len);
};

/* Whether there is anywhere to send to. */
static inline bool sink_conf_is_set(const struct sink_conf *c)
{
    return c->url[0] != '\0' || c->kafka != NULL;
}

/* conf and books are borrowed for the sink's life. */
WIND_MUST_USE int sink_new(struct sink **ret_sink, const struct sink_conf *conf,
                           struct sink_books *books, struct err *e);
struct sink *sink_free(struct sink *s);
WIND_DEFINE_FREE(sink)

/* An empty batch; only when not busy. */
static inline void sink_begin(struct sink *s)
{
    s->ops->begin(s);
}

/* Room for one more, whatever its size. */
static inline bool sink_has_room(const struct sink *s)
{
    return s->ops->has_room(s);
}

/* The next alert; `run`: of its spool. */
static inline void sink_put(struct sink *s, const struct spool_entry *alert, const char *run)
{
    s->ops->put(s, alert, run);
}

/* A sign of life: the object that stands under "stats". */
static inline void sink_put_stats(struct sink *s, const char *json, size_t len)
{
    s->ops->put_stats(s, json, len);
}

#define SINK_SENT 1 /* there is nothing to wait for */

/* 0: busy from now on, and SINK_ANSWERED comes. < 0: nothing was sent, try again later. */
static inline int sink_send(struct sink *s)
{
    return s->ops->send(s);
}

/*
 * Move on; also when there is no batch. *ret_after_ns of an answer: how long the other side asked
 * us to wait, or 0.
 */
static inline enum sink_event sink_step(struct sink *s, struct sink_answer *ret_answer,
                                        uint64_t *ret_after_ns)
{
    return s->ops->step(s, ret_answer, ret_after_ns);
}

/* Sleep until the network has something, at most wait_ms. */
static inline void sink_wait(struct sink *s, int wait_ms)
{
    s->ops->wait(s, wait_ms);
}

/* Flows and signs of life whose fate isn't known yet. */
static inline size_t sink_others(const struct sink *s)
{
    return s->ops->count_others != NULL ? s->ops->count_others(s) : 0;
}

/* A flow: its number is books->flows, which grows by one; dropped when there is no room. */
static inline void sink_flow(struct sink *s, const char *key, size_t key_len, const char *json,
                             size_t len)
{
    s->ops->flow(s, key, key_len, json, len);
}
