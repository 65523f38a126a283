/*
 * listener_dns.h - the listener's ear for DNS: a message becomes a fact, and its addresses news.
 *
 * Why      See listener.h, whose part it is.
 * Owns     Its scratch memory.
 * Threads  One.
 * Bounds   LISTENER_ITEMS items of a message, LISTENER_DNS_FACT bytes of a fact.
 *
 * A question that is answered is not kept beside its answer: that repeats it.
 */
#pragma once

#include "sensor/listener.h"
#include "sensor/span.h"

#define LISTENER_DNS_FACT 1400

struct listener_dns {
    const struct listener_conf *conf;
    struct fact_store *facts;
    struct listener_named named;
    uint8_t fact[LISTENER_DNS_FACT];
    uint8_t known[RECORD_FACTS_MAX];
};

/* DNS, mDNS or LLMNR by its port, at either end. */
bool listener_dns_is_port(const struct flow_key *key);

/* False: it is none. `wire_len`: the capture may have kept less of it. */
bool listener_dns_message(struct listener_dns *l, struct facts **facts, const struct packet_view *v,
                          unsigned dir, struct span message, size_t wire_len);
