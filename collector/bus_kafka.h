/*
 * bus_kafka.h - a member of the consumer group: messages in, offsets back when they are done.
 *
 * Why      The rules of Kafka's client in one place: who owns a partition, what pausing means,
 *          what may be committed, how far behind we are.
 * Owns     The connection (threads of its own), the list of partitions that are ours.
 * Threads  One, except for bus_kafka_view. The hook is called inside poll, wait and free.
 * Bounds   At most kafka.queue of messages that were fetched ahead. A pause keeps the place in
 *          the group for as long as the thread calls wait. Partitions are as many as the broker
 *          has; BUS_PARTS_SHOWN of them are shown.
 *
 * Messages are taken one by one: librdkafka 2.0's batch calls crash on a topic that is missing,
 * and lose messages around a pause.
 */
#pragma once

#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stdint.h>

#include "collector/bus_message.h"
#include "common/conf.h"

#define BUS_PARTS_SHOWN 512

struct bus_kafka;

#define BUS_TOPIC_NAME 256

/* <prefix>alerts; *ret_name is BUS_TOPIC_NAME bytes. */
void bus_topic_name(const char *prefix, const char *word, char *ret_name);
/* The topic of this name, or -1. */
int bus_topic_find(const char *prefix, const char *name);

struct bus_kafka_conf {
    const char *brokers, *prefix, *group, *password_file;
    const struct conf_list *options;
    int64_t queue_bytes;
    enum bus_topic first; /* topics from `first` up to `end`, without it */
    int end;
    /* This partition is somebody else's now; what is in hand of it will come to them. */
    void (*revoked)(void *arg, enum bus_topic topic, int32_t partition);
    void *arg;
};

/* A wrong setting is an error that names it; nothing is connected. */
WIND_MUST_USE int bus_kafka_check(const struct bus_kafka_conf *conf, struct err *e);

WIND_MUST_USE int bus_kafka_new(struct bus_kafka **ret_kafka, const struct bus_kafka_conf *conf,
                                struct err *e);
/* Commits what is done and leaves the group. */
struct bus_kafka *bus_kafka_free(struct bus_kafka *k);
WIND_DEFINE_FREE(bus_kafka)

/* The next message, which is the caller's then; NULL: none within so much time. */
rd_kafka_message_t *bus_kafka_poll(struct bus_kafka *k, int timeout_ms);

/* Take nothing for so long, and stay in the group. Until resume, poll has nothing to give. */
void bus_kafka_wait(struct bus_kafka *k, int ms);
void bus_kafka_resume(struct bus_kafka *k);

/* Everything before `next` of this partition is done; told to the broker by commit. */
void bus_kafka_done(struct bus_kafka *k, enum bus_topic topic, int32_t partition, int64_t next);
void bus_kafka_commit(struct bus_kafka *k);

/* Now and then: how far behind, is the broker there. May take a second when it isn't. */
void bus_kafka_look(struct bus_kafka *k);

/* Nothing helps but a new one. */
bool bus_kafka_is_broken(const struct bus_kafka *k);

struct bus_part {
    enum bus_topic topic;
    int32_t partition;
    int64_t lag;
};

struct bus_kafka_view {
    bool is_up;     /* a broker answers */
    bool is_member; /* and gave us a share, maybe an empty one */
    uint64_t rebalances, commits, commits_failed, errors, queued;
    int64_t error_ns;     /* when the last one was; 0 = never */
    char error[200];      /* what it was; not for strangers: it may name brokers */
    int64_t lag, lag_max; /* over all partitions that are ours */
    size_t n_parts, n_shown;
    struct bus_part parts[BUS_PARTS_SHOWN];
};

/* Any thread. */
void bus_kafka_view(struct bus_kafka *k, struct bus_kafka_view *ret_view);
