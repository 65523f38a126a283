/*
 * talk.h - what the two ends of a flow say: its application, and facts.
 *
 * Why      nDPI and our own listener look at the same packets and write into the same record.
 * Owns     nDPI's states, the listener's facts, and 32 bytes beside each flow of the table that are
 *          not touched before there is something to remember.
 * Threads  The worker's.
 * Bounds   Those of dpi.h and listener.h. An established flow's packet costs two tests.
 *
 *     talk_begin -> talk_packet ... -> talk_finish -> talk_fill -> talk_forget
 */
#pragma once

#include "sensor/dpi.h"
#include "sensor/flow_table.h"
#include "sensor/listener.h"

struct talk;

/* In flow.heard, beside HEARD_*: nDPI is through, and its answer lies at the flow's index. */
#define TALK_DPI_DONE 0x08

struct talk_conf {
    size_t flows_max;
    struct dpi *dpi;               /* NULL: without; taken when talk_new returns 0 */
    struct listener_conf listener; /* .memory 0: without */
    struct counters *counters;
};

WIND_MUST_USE int talk_new(struct talk **ret_talk, const struct talk_conf *conf, struct err *e);
struct talk *talk_free(struct talk *t); /* every flow has been forgotten */
WIND_DEFINE_FREE(talk)

/* A new flow. */
void talk_begin(struct talk *t, struct flow *f);

/* `index`: flow_table_index of f. `dir`: 0 to server. */
void talk_packet(struct talk *t, struct flow *f, size_t index, const struct packet_view *view,
                 uint64_t time_ns, unsigned dir);

/* The flow ends: nDPI has the last word. */
void talk_finish(struct talk *t, struct flow *f, size_t index);

/* Bytes of facts for its record. */
size_t talk_facts(const struct talk *t, size_t index);

/* What the record says of application and, with room for `facts`, of them and of the name. */
void talk_fill(struct talk *t, const struct flow *f, size_t index, struct flow_record *r,
               uint8_t *facts);

/* The entry is the table's again; also without talk_finish. */
void talk_forget(struct talk *t, struct flow *f, size_t index);
