/*
 * sink_kafka.h - alerts, flows and signs of life to Kafka, each a message of its own.
 *
 * Why      Many sensors, many collectors, and a broker between them that keeps what nobody has
 * read. Owns     librdkafka's producer, and so what is on its way: alerts of one batch, some flows.
 * Threads  One; librdkafka's own see nothing of ours: all it has to say comes through a queue that
 *          sink_step reads.
 * Bounds   A batch: 2000 alerts and 4 MiB. Flows and signs of life: conf.queue_bytes and
 *          KAFKA_FLOWS_MAX messages; what comes beyond is dropped and counted.
 *
 * Topics <prefix>alerts, <prefix>flows, <prefix>health; a value is one JSON object: the alert's or
 * flow's line of eve.json, a flow's with its features; health: a `stats` record with
 * wind.version. Key: the alert's first entity; both addresses of a flow, the lower one first; the
 * sensor. So what belongs together stays in order.
 *
 * Headers: schema "1"; sensor; run, seq: a number in decimals that grows by one from message to
 * message of a topic and run, so that a gap is a loss and a repetition isn't new. An alert's is its
 * index in the spool, and the run is the spool's; flows and signs of life count anew with each
 * start of the sensor.
 *
 * An alert is done when the broker has confirmed it (acks=all, idempotent producer), and sent again
 * from the spool when librdkafka gives it up (message.timeout.ms). What the idempotent producer
 * can't repair (a fatal error) ends with a new producer; the old one is let go in a thread of its
 * own, because that may take as long as a name lookup.
 */
#pragma once

#include "common/kafka_conf.h"
#include "sensor/sink.h"

#define KAFKA_BATCH_ALERTS 2000
#define KAFKA_BATCH_BYTES  (4u << 20)
#define KAFKA_FLOWS_MAX    50000

/* Settings to librdkafka's; a sentence if they can't be used. Needs no network. */
WIND_MUST_USE int sink_kafka_conf_new(rd_kafka_conf_t **ret_conf, const struct kafka_conf *conf,
                                      uint64_t queue_bytes, struct err *e);

/* See sink_new. */
WIND_MUST_USE int sink_kafka_new(struct sink **ret_sink, const struct sink_conf *conf,
                                 struct sink_books *books, struct err *e);
