/*
 * eve.h - a record of the rings as one line of eve.json.
 *
 * Why      Suricata's EVE names, so that Filebeat, EveBox, Splunk and jq work at once. An alert's
 *          line is also what the spool keeps and what the collector gets.
 * Owns     Nothing.
 * Threads  Any: there is no state.
 * Bounds   A line is below EVE_LINE_MAX bytes, whatever the record holds.
 * Trust    Records come from a process that may be hostile: eve_take copies the header, then the
 *          body, and checks the copies; every text is taken as far as its NUL or its array's end.
 *
 * The shapes are published in tests/golden/eve.schema.json.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/record.h"
#include "sensor/counter.h"

#define EVE_LINE_MAX (64u << 10)

/* What every line says about where it comes from. "" leaves a key out. */
struct eve_source {
    char sensor[64];                       /* "host" */
    char pcap[256];                        /* "pcap_filename": the name without folders */
    char iface[RECORD_INTERFACES_MAX][16]; /* "in_iface", by the record's interface */
    uint16_t community_seed;
    float coverage; /* share of the packets that were seen: 1 in replay */
};

/* A copy. Facts are copied as far as flow.facts_len says, features as far as flow.n_features. */
struct eve_record {
    uint8_t facts[RECORD_FACTS_MAX];
    float feature[RECORD_FEATURES_MAX];
    union {
        struct record_header header;
        struct alert_record alert;
        struct anomaly_record anomaly;
        struct flow_record flow;
    };
};

enum eve_ring { EVE_RING_FLOWS, EVE_RING_ALERTS };

#define EVE_NO_LINE 1 /* a good record that makes no line: a flow opened, or so far */

/*
 * Copy a record out of the slot and check it. `room`: bytes that may be read at `slot`.
 * Returns 0, EVE_NO_LINE (only the header is copied), or -EBADMSG.
 */
WIND_MUST_USE int eve_take(const void *slot, size_t room, enum eve_ring ring,
                           struct eve_record *ret_record);

/* Append the line of a record that eve_take accepted, newline included. */
void eve_line(struct buf *out, const struct eve_source *source, const struct eve_record *record);

/*
 * The line of a flow as `line` has it, without its newline, and its features in it: wind.schema is
 * their count and hash (features/feature.h), wind.features their values in that order; null: could
 * not be known. `out` is emptied first.
 */
void eve_add_features(struct buf *out, const char *line, size_t len,
                      const struct eve_record *record);

/*
 * What a replay's `stats` leaves out, because it depends on the clock and on luck: uptime,
 * requests, failures and restarts. The rest is the same in every run.
 */
struct eve_stats {
    const struct counters *counters;
    uint64_t time_ns;
    uint64_t uptime_s;
    bool is_replay;
};

/* Append the `stats` line, newline included. */
void eve_stats_line(struct buf *out, const struct eve_source *source, const struct eve_stats *st);

/* Append only what stands under "stats", for the heartbeat. */
void eve_stats_object(struct buf *out, const struct eve_stats *st);
