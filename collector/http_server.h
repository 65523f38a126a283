/*
 * http_server.h - the listener, and the one place where a request is let in.
 *
 * Why      For every request in this order: route, credentials, rate limit, permission, size,
 *          body, schema, Idempotency-Key, handler, counters. No handler repeats any of it.
 * Owns     The MHD daemon and its threads, the rate limits, the page's files.
 * Threads  new, start, stop, free: main. Handlers run on api.threads threads.
 * Bounds   Connections, body sizes (each, and all together), idle time, requests a minute.
 */
#pragma once

#include "collector/http.h"
#include "common/err.h"

#define RESPONSE_HEADERS_MAX 8

struct http_server;

struct response_header {
    const char *name;
    char value[160];
};

struct response {
    int status;
    const char *type; /* static */
    char *bytes;      /* owned, by malloc; see is_static */
    size_t n;
    bool is_static;  /* `bytes` lives as long as the server */
    bool is_upgrade; /* 101: the connection goes to ws */
    struct response_header headers[RESPONSE_HEADERS_MAX];
    size_t n_headers;
};

void response_done(struct response *rs);

/* 101 Switching Protocols, if the request's head is a good WebSocket handshake; else 426. */
int respond_upgrade(struct request *rq, struct response *rs);

/*
 * Read certificate and page, bind. -EINVAL: plain HTTP on an address that others can reach,
 * without api.insecure.
 */
WIND_MUST_USE int http_server_new(struct http_server **ret, struct collector *app, struct err *e);
WIND_MUST_USE int http_server_start(struct http_server *s, struct err *e);

/* No new connections from here on; requests that run are answered. */
void http_server_quiesce(struct http_server *s);

/* Waits for running requests; upgraded connections must have been closed (ws_stop). */
struct http_server *http_server_free(struct http_server *s);
WIND_DEFINE_FREE(http_server)

/* "http://127.0.0.1:8080", with the port that was bound when 0 was asked for. */
const char *http_server_url(const struct http_server *s);
