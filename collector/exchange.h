/*
 * exchange.h - one request on its way through the gate: admitted, read, checked, handled.
 *
 * Why      The order of the checks is the API's security; it stands in two functions here,
 *          apart from sockets.
 * Owns     The request, its body and its response.
 * Threads  One at a time: the server thread that has the connection.
 * Bounds   The body: route->body_max, and body_memory for all exchanges together.
 *
 *     exchange_admit: route, credentials, rate limit, permission, size     (before the body)
 *     exchange_check: body, schema                                         (after it)
 *     exchange_run:   both of these, login limit, Idempotency-Key, handler
 * Either fills x->response; a refused exchange must not be run.
 */
#pragma once

#include "collector/http_server.h"
#include "collector/static_files.h"
#include "collector/write_queue.h"
#include "common/buf.h"

struct cache_limit;

/* What all exchanges share. */
struct gate {
    struct collector *app;
    const struct route *const *tables;
    struct static_files *files;
    struct cache_limit *requests;  /* NULL: no limit */
    struct cache_limit *logins;    /* by user and address */
    struct cache_limit *addresses; /* failed logins, by address alone */
    size_t body_memory;
    _Atomic size_t bodies; /* bytes of bodies in memory now */
};

struct exchange {
    struct gate *gate;
    struct request rq;
    struct response rs;
    const struct static_file *file; /* the answer is this file */
    bool is_refused;
    uint64_t began_ns;
    struct buf body;
    size_t held;    /* our part of gate->bodies */
    size_t skipped; /* bytes of a body that nobody wants */
    struct write_job job;
    size_t n_headers; /* of the response, before the job ran */
    bool is_settled;  /* the job has ended */
    bool is_checked, is_run;
};

void exchange_init(struct exchange *x, struct gate *g, void *connection);
void exchange_done(struct exchange *x);

/* `body_len` is -1 when not known yet. */
void exchange_admit(struct exchange *x, int64_t body_len);

/* A piece of the body. False: far beyond any limit, end the connection. */
bool exchange_take_body(struct exchange *x, const char *p, size_t n);

/* False: it is refused. */
bool exchange_check(struct exchange *x);
void exchange_run(struct exchange *x);

/* Its Idempotency-Key, if an answer is to be kept for it; else NULL. */
const char *exchange_key(const struct exchange *x);

/* It was run in a group of writes, and this is how their commit went. */
void exchange_settle(struct exchange *x, int result, const struct err *why);
