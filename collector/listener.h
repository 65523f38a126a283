/*
 * listener.h - "127.0.0.1:8080" as a socket that listens.
 *
 * Why      The server must know whether others can reach it before it speaks plain HTTP.
 * Owns     Nothing; the descriptor is the caller's.
 * Threads  Any.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"

struct listener {
    int fd;
    uint16_t port;    /* that was bound */
    bool is_loopback; /* only this machine can reach it */
    char host[80];    /* as in a URL */
};

/* `text` is "address:port", "[v6]:port" or "localhost:port"; port 0 = any free one. */
WIND_MUST_USE int listener_open(struct listener *ret, const char *text, struct err *e);
