/*
 * hearing.h - a listener with one flow at a time, for tests: what it kept, and what it told.
 */
#pragma once

#include <string.h>

#include "sensor/listener.h"
#include "support/views.h"

#define HEARING_TOLD_MAX 64

static struct {
    struct listener *l;
    struct listener_conf conf;
    struct counters *counters;
    struct heard heard;
    uint8_t bits;
    struct flow_key key; /* as the client writes it */
    uint32_t seq[2];
    struct listener_named told[HEARING_TOLD_MAX];
    size_t n_told;
    uint8_t facts[RECORD_FACTS_MAX];
    size_t len;
} ear;

static inline void ear_named(void *arg, const struct listener_named *named)
{
    (void)arg;
    if (ear.n_told < HEARING_TOLD_MAX)
        ear.told[ear.n_told++] = *named;
}

static inline void ear_close(void)
{
    if (ear.l != NULL)
        listener_forget(ear.l, &ear.heard);
    ear.l = listener_free(ear.l);
    ear.counters = counters_free(ear.counters);
}

static inline void ear_open(size_t memory, size_t streams)
{
    ear_close();
    memset(&ear, 0, sizeof(ear));
    if (counters_new(&ear.counters, NULL) != 0)
        abort();
    ear.conf = (struct listener_conf){
        .memory = memory, .streams = streams, .counters = ear.counters, .named = ear_named};
    if (listener_new(&ear.l, &ear.conf, NULL) != 0)
        abort();
}

/* Another flow: 10.0.0.1:40000 -> 10.0.0.2:dport. */
static inline void ear_flow(unsigned proto, unsigned dport)
{
    listener_forget(ear.l, &ear.heard);
    ear.bits = 0;
    ear.key = view_key(proto, 1, 40000, 2, dport);
    ear.seq[0] = ear.seq[1] = 0xffffff00; /* they wrap */
}

static inline void ear_packet(struct packet_view v, unsigned dir)
{
    if ((ear.bits & HEARD_ALL) != HEARD_ALL && v.payload_len > 0)
        listener_packet(ear.l, &ear.heard, &ear.bits, &v, dir);
}

/* `wire`: bytes on the wire, of which n were kept. */
static inline struct packet_view ear_view(unsigned dir, const void *p, size_t n, size_t wire)
{
    struct packet_view v = view_of(dir == 0 ? ear.key : view_reversed(ear.key), 0x18, 0);

    v.payload = p;
    v.payload_len = (uint32_t)n;
    v.payload_wire_len = (uint32_t)wire;
    v.tcp_seq = ear.seq[dir];
    return v;
}

/* In order. */
static inline void ear_says(unsigned dir, const void *p, size_t n)
{
    ear_packet(ear_view(dir, p, n, n), dir);
    ear.seq[dir] += (uint32_t)n;
}

/* The fact of a type: its bytes, or NULL. `nth` from 0. */
static inline const uint8_t *ear_fact(enum record_fact_type type, unsigned nth, size_t *ret_len)
{
    struct record_fact f;
    const uint8_t *p;

    ear.len = fact_copy(ear.heard.facts, ear.facts);
    for (size_t at = 0; (p = fact_next(ear.facts, ear.len, &at, &f)) != NULL;) {
        if (f.type == type && nth-- == 0) {
            *ret_len = f.len;
            return p;
        }
    }
    return NULL;
}

static inline bool ear_has(enum record_fact_type type, const void *p, size_t n)
{
    size_t len = 0;
    const uint8_t *const fact = ear_fact(type, 0, &len);

    return fact != NULL && len == n && memcmp(fact, p, n) == 0;
}

static inline unsigned ear_count(enum record_fact_type type)
{
    unsigned n = 0;
    size_t len;

    while (ear_fact(type, n, &len) != NULL)
        n++;
    return n;
}
