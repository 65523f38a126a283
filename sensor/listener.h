/*
 * listener.h - hears what is said on a flow: DNS messages, and how TLS begins.
 *
 * Why      nDPI tells one answer of DNS and no JA4. And what DNS has answered names the addresses
 *          of the flows that follow, so it is told at once, not when its flow ends.
 * Owns     The facts of every flow (fact_store.h), and the beginnings that lie in several TCP
 *          segments, until listener_forget.
 * Threads  One.
 * Bounds   A packet without news costs one test of flow.heard. conf.streams beginnings at a time
 *          (LISTENER_STREAM bytes each), then one is given up and counted (facts.no_stream), as is
 *          one of which a segment is missing or late (facts.out_of_order). At most LISTENER_ITEMS
 *          items of a DNS message are looked at.
 */
#pragma once

#include "sensor/decode.h"
#include "sensor/fact_store.h"

#define LISTENER_STREAM 8192
#define LISTENER_ITEMS  128

struct listener;
struct stream;

/* Of one flow. All zero: nothing yet. */
struct heard {
    struct facts *facts;
    struct stream *stream;
};

/* What is left to hear: a byte in the flow's entry; the bits above are others'. */
enum {
    HEARD_TO_SERVER = 1, /* this side's beginning has been heard, or is of no interest */
    HEARD_TO_CLIENT = 2,
    HEARD_ALL = 3,
    HEARD_DNS = 4, /* it is DNS: every message is of interest */
    HEARD_BITS = 7
};

struct listener_named {
    uint8_t client[16]; /* as in struct named_record */
    char name[RECORD_NAME_MAX];
    size_t n;
    struct named_address address[NAMED_ADDRESSES_MAX];
};

struct listener_conf {
    size_t memory;  /* for facts */
    size_t streams; /* beginnings in several segments, at a time */
    struct counters *counters;
    /* A name has these addresses: somebody asked, and was told. */
    void (*named)(void *arg, const struct listener_named *named);
    void *arg;
};

WIND_MUST_USE int listener_new(struct listener **ret_listener, const struct listener_conf *conf,
                               struct err *e);
struct listener *listener_free(struct listener *l); /* every flow has been forgotten */
WIND_DEFINE_FREE(listener)

/* A packet with payload, while (*heard_bits & HEARD_ALL) != HEARD_ALL. `dir`: 0 to server. */
void listener_packet(struct listener *l, struct heard *h, uint8_t *heard_bits,
                     const struct packet_view *v, unsigned dir);

/* Add what somebody else has found out. */
void listener_add(struct listener *l, struct heard *h, enum record_fact_type type, const void *p,
                  size_t len);

/* The flow is over. */
void listener_forget(struct listener *l, struct heard *h);
