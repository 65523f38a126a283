/*
 * ws_client.h - one WebSocket connection: frames in and out, and what the client asked for.
 *
 * Why      The protocol is apart from threads and the database, so that hostile frames can be
 *          fed to it in a test.
 * Owns     The frame parser and the queue of unsent messages. Never the socket.
 * Threads  The ws thread.
 * Bounds   WS_MESSAGE_MAX bytes a message in, WS_MESSAGES_MAX messages between two pings;
 *          ws_client_queued says how much is waiting to go out.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "collector/auth.h"
#include "common/err.h"

/* Close codes of our own (4000..4999 are for applications). */
#define WS_CLOSE_GOING_AWAY   1001
#define WS_CLOSE_POLICY       1008
#define WS_CLOSE_UNAUTHORISED 4401
#define WS_CLOSE_FORBIDDEN    4403

struct ws_client;

/* What a client needs from the world. */
struct ws_world {
    /* 0, an AUTH outcome, or < 0 */
    int (*authenticate)(void *arg, const char *token, struct principal *ret);
    int64_t (*head)(void *arg); /* the newest event's number */
    void *arg;
};

struct ws_client_state {
    struct principal principal;
    bool is_subscribed;
    unsigned topics;                        /* bit (1 << enum topic) */
    int64_t seq;                            /* the last event it was told, or needn't be told */
    uint64_t opened_ns, heard_ns, wrote_ns; /* the last: when bytes could last be written */
};

/* `early` (copied): bytes that were read already. fd -1: only those. */
WIND_MUST_USE int ws_client_new(struct ws_client **ret, int fd, const void *early, size_t early_n,
                                const struct ws_world *world, struct err *e);
struct ws_client *ws_client_free(struct ws_client *c);
WIND_DEFINE_FREE(ws_client)

struct ws_client_state *ws_client_state(struct ws_client *c);

/* Read and answer what is there; write what can be written. False: close the socket. */
bool ws_client_receive(struct ws_client *c);
bool ws_client_send(struct ws_client *c);

/* Queue one text message. */
bool ws_client_put(struct ws_client *c, const char *text, size_t n);

/* Ask the client twice: by frame (for dead lines) and by message (browsers hide frames). */
void ws_client_ping(struct ws_client *c);

/* Say good-bye; the socket ends when it was sent. */
void ws_client_close(struct ws_client *c, uint16_t code, const char *reason);

size_t ws_client_queued(struct ws_client *c); /* bytes */
bool ws_client_wants_write(struct ws_client *c);
