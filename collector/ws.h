/*
 * ws.h - live alerts and incidents over WebSocket.
 *
 * Why      A page should not poll. Events come from the outbox in the order of commits, so a
 *          client that was away goes on from the last number it saw and misses nothing.
 * Owns     One thread, and the connections that the server upgraded.
 * Threads  ws_accept, ws_wake, ws_count: any. start, stop, free: main.
 * Bounds   ws.clients connections; ws.queue unsent bytes a client: who has more gets no new ones
 *          until they are gone, and then goes on from the outbox. Who takes nothing for
 *          ws.ping, or answers no three pings, is closed and counted, and may resume.
 *          Incoming messages: WS_MESSAGE_MAX bytes, WS_MESSAGES_MAX between two pings,
 *          WS_FRAMES_MAX frames of any kind (pieces, pings: each ping is answered).
 *
 *     opened --auth (5 s)--> known --subscribe--> behind <--> live
 *     any --stuck, silent, revoked, expired, stop--> closed
 *
 * client: {"type":"auth","token":T}            again at any time, to go on with a newer token
 *         {"type":"subscribe","topics":["alerts","incidents"],"since":SEQ|null}
 *         {"type":"pong"}
 * server: {"type":"ready","seq":N}             events after N follow
 *         {"type":"alert"|"incident","seq":N,"op":"created"|"updated","data":{}}
 *         {"type":"gap","seq":N}               events before N are forgotten: load the lists
 *         {"type":"ping"}  {"type":"error","code":C,"detail":D}
 * close:  4401 the reason is the `code` of a 401; 4403 the reason is the missing permission;
 *         1008 the reason says what was wrong; 1001 the server stops. A stuck client is cut off.
 */
#pragma once

#include <stdint.h>

#include "collector/auth.h"
#include "common/err.h"

#define WS_MESSAGE_MAX  4096
#define WS_MESSAGES_MAX 50
#define WS_FRAMES_MAX   500
#define WS_AUTH_S       5

struct auth;
struct db;
struct metrics;
struct ws;
struct MHD_UpgradeResponseHandle;

struct ws_conf {
    struct db *db; /* the parts are borrowed */
    struct auth *auth;
    struct metrics *metrics;
    int64_t clients, queue_bytes, ping_s;
};

WIND_MUST_USE int ws_new(struct ws **ret, const struct ws_conf *conf, struct err *e);
WIND_MUST_USE int ws_start(struct ws *w, struct err *e);
void ws_stop(struct ws *w); /* closes all connections and ends the thread */
struct ws *ws_free(struct ws *w);
WIND_DEFINE_FREE(ws)

/* Take one place; false: all are taken. ws_accept, or ws_unreserve, must follow. */
bool ws_reserve(struct ws *w);
void ws_unreserve(struct ws *w);

struct ws_connection {
    int fd;
    struct MHD_UpgradeResponseHandle *handle;
    const void *early; /* bytes that came with the handshake; copied */
    size_t early_n;
    struct principal principal; /* kind NONE: has to authenticate by message */
};

/* Hands the connection over; it is closed by the ws thread, also when it cannot be served. */
void ws_accept(struct ws *w, const struct ws_connection *c);

/* Something was committed: look at the outbox. Made for db_on_commit. */
void ws_wake(void *ws);

uint64_t ws_count(struct ws *w);
