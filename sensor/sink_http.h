/*
 * sink_http.h - one batch at a time to a collector, by HTTPS, without ever blocking the caller.
 *
 * Why      eve.json and the spool must go on while the collector is slow or away.
 * Owns     The connection and the batch in flight (copied). The key: never logged.
 * Threads  One. libcurl may resolve names in a thread of its own.
 * Bounds   One request in flight, 30 s for it; at most SINK_ANSWER_MAX bytes of an answer.
 *
 * Certificates are verified, always. Plain http is for loopback only, unless the operator said
 * `insecure`: the key would travel in the clear.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"
#include "sensor/sink_answer.h"

#define SINK_ANSWER_MAX (1u << 20)

struct sink_http;

struct sink_conf {
    char url[512];      /* of the collector; "" = none */
    char key[192];      /* wind_<id>_<secret> */
    char ca_file[1024]; /* "" = the system's */
    bool insecure;      /* plain http to anywhere */
};

/* Whether url and key can be used at all; a sentence if not. Needs no network. */
WIND_MUST_USE int sink_conf_check(const struct sink_conf *conf, struct err *e);

/* Read a key file: one line. For the supervisor, before privileges are dropped. */
WIND_MUST_USE int sink_key_load(struct sink_conf *conf, const char *path, struct err *e);

WIND_MUST_USE int sink_http_new(struct sink_http **ret_sink, const struct sink_conf *conf,
                                struct err *e);
struct sink_http *sink_http_free(struct sink_http *s);
WIND_DEFINE_FREE(sink_http)

/* Start sending a batch of `alerts`. Only when not busy. */
WIND_MUST_USE int sink_http_post(struct sink_http *s, const char *body, size_t len, size_t alerts);
bool sink_http_is_busy(const struct sink_http *s);

/*
 * Move on. True once for each post: the answer is there. *ret_after_ns: how long the collector
 * asked us to wait (Retry-After), or 0.
 */
bool sink_http_step(struct sink_http *s, struct sink_answer *ret_answer, uint64_t *ret_after_ns);

/* Sleep until the network has something, at most wait_ms. */
void sink_http_wait(struct sink_http *s, int wait_ms);
