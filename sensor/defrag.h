/*
 * defrag.h - put the fragments of an IP packet together.
 *
 * Why      Only the first fragment has ports, and what is cut in two is not seen by looking at
 *          either half.
 * Owns     Copies of fragments, and the packets made of them until defrag_release.
 * Threads  One.
 * Bounds   conf.max packets at a time, DEFRAG_PIECES_MAX fragments each, conf.memory bytes in all:
 *          the one that waits longest makes room. One that gets no fragment for conf.timeout_ns
 *          of packet time is given up. At most DEFRAG_WHOLE_MAX packets between two releases.
 *
 * Where fragments overlap, the bytes that came first stay: as the BSDs do. (Linux, and IPv6 by
 * RFC 5722, throw the whole packet away; then nobody sees it, and it does no harm that we do.)
 * Overlaps of the same bytes are duplicates, of other bytes overlaps; a fragment that contradicts
 * the known end is an overlap too, and ignored.
 *
 *     defrag.started = completed + timed_out + evicted + live, but for those a crash cost
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base.h"
#include "common/err.h"
#include "sensor/capture.h"
#include "sensor/span.h"

#define DEFRAG_PIECES_MAX 256
#define DEFRAG_HEADER_MAX 128 /* bytes of headers before the fragment's data */
#define DEFRAG_NESTED_MAX 2   /* a fragmented tunnel of a fragmented packet */
#define DEFRAG_WHOLE_MAX  ((size_t)DEFRAG_NESTED_MAX * CAPTURE_BATCH)
#define DEFRAG_PACKET_MAX ((size_t)UINT16_MAX + DEFRAG_HEADER_MAX)

struct counters;
struct defrag;

struct defrag_conf {
    size_t max, memory;
    uint64_t timeout_ns;
    struct counters *counters;
};

/* What belongs together. No padding. */
struct defrag_key {
    uint8_t src[16], dst[16];
    uint32_t id;
    uint16_t vlan;
    uint8_t proto, ip_version; /* proto: IPv4 only, else 0 */
};

struct defrag_fragment {
    struct defrag_key key;
    struct span header; /* IP header, and what comes before the fragment header */
    struct span data;
    uint32_t at;      /* where the data belongs */
    uint16_t next_at; /* IPv6: which byte of header names the fragment header ... */
    uint8_t next;     /* ... and what it names in the packet put together */
    bool has_more;
};

enum defrag_result {
    DEFRAG_HELD,  /* or dropped, and counted as such */
    DEFRAG_WHOLE, /* *ret_packet is the packet: borrowed until defrag_release */
    DEFRAG_BAD    /* no fragment of any packet that can be */
};

WIND_MUST_USE int defrag_new(struct defrag **ret_defrag, const struct defrag_conf *conf,
                             struct err *e);
struct defrag *defrag_free(struct defrag *d);
WIND_DEFINE_FREE(defrag)

/* *ret_overlap is set when it overlaps with other bytes than those that we have. */
enum defrag_result defrag_add(struct defrag *d, const struct defrag_fragment *f, uint64_t time_ns,
                              struct span *ret_packet, bool *ret_overlap);

/* Nobody looks any more at the packets handed out. */
void defrag_release(struct defrag *d);
