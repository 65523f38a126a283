/*
 * sink_http.h - one batch at a time to a collector, by HTTPS, without ever blocking the caller.
 *
 * Why      eve.json and the spool must go on while the collector is slow or away.
 * Owns     The connection and the batch in flight (copied). The key: never logged.
 * Threads  One. libcurl may resolve names in a thread of its own.
 * Bounds   A batch: 500 alerts and 1 MiB. One request in flight, 30 s for it; at most
 *          SINK_ANSWER_MAX bytes of an answer.
 *
 * Certificates are verified, always. Plain http is for loopback only, unless the operator said
 * `insecure`: the key would travel in the clear.
 */
#pragma once

#include "sensor/sink.h"

#define SINK_HTTP_BATCH_ALERTS 500
#define SINK_HTTP_BATCH_BYTES  (1u << 20)
#define SINK_ANSWER_MAX        (1u << 20)

/* Whether url and key can be used at all; a sentence if not. Needs no network. */
WIND_MUST_USE int sink_conf_check(const struct sink_conf *conf, struct err *e);

/* Read a key file: one line. For the supervisor, before privileges are dropped. */
WIND_MUST_USE int sink_key_load(struct sink_conf *conf, const char *path, struct err *e);

/* See sink_new. */
WIND_MUST_USE int sink_http_new(struct sink **ret_sink, const struct sink_conf *conf,
                                struct err *e);
