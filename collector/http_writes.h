/*
 * http_writes.h - what the queue of writes does with exchanges: together what can be done together.
 *
 * Why      A hundred alerts that are posted at once are one batch, as if a sensor had sent them.
 * Owns     Nothing: exchanges are those of suspended connections.
 * Threads  The queue's.
 * Bounds   WRITE_GROUP exchanges.
 */
#pragma once

#include "collector/exchange.h"

struct http_writes {
    struct collector *app;              /* borrowed */
    void (*resume)(struct exchange *x); /* it is settled: answer it */
};

/* `w` lives as long as the queue. */
struct write_ops http_writes_ops(struct http_writes *w);
