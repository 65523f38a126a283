/*
 * flow_feed.h - which flows go to Kafka, and under which key.
 *
 * Why      Search and training want flows with their features; alerts must not wait for them.
 * Owns     The line in hand.
 * Threads  One.
 * Bounds   A flow is sent once: what the sink has no room for is dropped and counted (sink.h).
 */
#pragma once

#include "common/buf.h"
#include "sensor/eve.h"
#include "sensor/sink.h"

enum flow_feed_which {
    FLOW_FEED_NONE,
    FLOW_FEED_ALERTED, /* evidence of an alert */
    FLOW_FEED_SAMPLED, /* these, and a sample of the others */
    FLOW_FEED_ALL
};

struct flow_feed {
    int which;       /* enum flow_feed_which */
    uint64_t sample; /* one in so many: by flow id, so that a replay samples the same ones */
    struct sink *sink;
    struct sink_books *books;
    struct buf line; /* with features */
};

/* `sink` NULL: there is none. Sink and books are borrowed. */
void flow_feed_init(struct flow_feed *f, int which, uint64_t sample, struct sink *sink,
                    struct sink_books *books);
void flow_feed_done(struct flow_feed *f);

/* A flow that has ended; `line`: as eve.json has it, without its newline. */
void flow_feed_put(struct flow_feed *f, const struct eve_record *r, const char *line, size_t len);
