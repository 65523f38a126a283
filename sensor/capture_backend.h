/*
 * capture_backend.h - what a source of packets has to provide. Only capture*.c include this.
 *
 * Why      A backend is one file: it embeds struct capture as its first member.
 * Owns     The state every backend has: how the input fared, what was counted.
 * Threads  The one that has the handle (capture.h).
 */
#pragma once

#include "sensor/capture.h"

struct capture_ops {
    bool is_live;
    size_t (*recv)(struct capture *c, struct packet *ret_packets, size_t max, int wait_ms);
    void (*release)(struct capture *c); /* may be NULL */
    bool (*digest)(struct capture *c, uint8_t ret_digest[32], int wait_ms);
    void (*update_stats)(struct capture *c);               /* may be NULL */
    int (*start_thread)(struct capture *c, struct err *e); /* may be NULL */
    bool (*keeps)(const struct capture *c);                /* may be NULL: no */
    void (*free)(struct capture *c);
};

struct capture {
    const struct capture_ops *ops;
    const char *name; /* static */
    struct capture_stats stats;
    uint64_t latest_ns; /* of all packets handed out */
    int fd;             /* live: poll says when there may be packets */
    enum capture_state state;
    bool ended;
    bool lent; /* packets are out: recv must not be called */
    struct err error;
    enum capture_state fault; /* of one file among several; CAPTURE_OK: none, or told */
    struct err fault_error;
};
