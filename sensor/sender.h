/*
 * sender.h - takes alerts from the spool to the collector or to Kafka, and keeps the books about
 * it.
 *
 * Why      When to send, how much, when again, and what became of each alert: apart from the
 *          transport below and from the files above.
 * Owns     Nothing on the wire: spool, sink and books are the uplink's.
 * Threads  One.
 * Bounds   One batch at a time, as large as the sink takes (sensor/sink.h). Retries: 0.25 s
 * doubling to 30 s, with jitter, or what Retry-After says (at most 5 minutes); 30 s when only an
 * operator can help.
 *
 * The books speak of indices (sensor/spool.h), so that counting twice is impossible:
 *
 *     next - base = delivered + rejected + lost + gone + waiting   (this run's alerts)
 *
 * A step changes the books first; the uplink commits them, then calls spool_confirm.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "sensor/sink.h"
#include "sensor/spool.h"

/* Plain data: it lies in the uplink's commit. */
struct sender_books {
    uint64_t base;           /* first index of this run: what is older was left by another */
    uint64_t confirmed;      /* everything before is done */
    uint64_t lost, rejected; /* of this run's, before `confirmed` */
    uint64_t gone;           /* of those that wait: no disk had them when the run ended */
    uint64_t requests, failures;
};

/* Of this run's alerts: how many were confirmed, and how many wait (the spool's next index is
 * `next`). */
uint64_t sender_delivered(const struct sender_books *b);
uint64_t sender_waiting(const struct sender_books *b, uint64_t next);

struct sender;

struct sender_conf {
    uint64_t heartbeat_ns;
    /* Appends the stats object for a heartbeat. */
    void (*put_stats)(void *arg, struct buf *out);
    void *arg;
};

/* Spool, sink and books are borrowed for the sender's life; conf is copied. */
WIND_MUST_USE int sender_new(struct sender **ret_sender, const struct sender_conf *conf,
                             struct spool *spool, struct sink *sink, struct sender_books *books,
                             struct err *e);
struct sender *sender_free(struct sender *s);
WIND_DEFINE_FREE(sender)

/* Move on without blocking. True when the books changed. */
bool sender_step(struct sender *s, uint64_t mono_ns);

/* A last heartbeat is wanted after the last alert, with the final stats. */
void sender_finish(struct sender *s);

/* After sender_finish: everything was sent; or waiting is pointless until an operator acts. */
bool sender_is_done(const struct sender *s);
bool sender_is_stuck(const struct sender *s);
