/*
 * ingest_write.h - what a batch has to write, and how it is written: table by table, in bulk.
 *
 * Why      Only ingest_store.c uses this: it decides what becomes of alerts, this writes it.
 * Owns     The lists of one batch, until store_batch_done.
 * Threads  That of the write transaction.
 * Bounds   The batch's.
 */
#pragma once

#include <errno.h>

#include "collector/ingest_store.h"
#include "collector/view_story.h"
#include "common/arena.h"

/* A row of alerts that is added or changed. */
struct store_row {
    int64_t id;                        /* 0: it gets one when it is written */
    const struct alert *alert;         /* as it came first */
    const struct alert *latest;        /* its highest revision */
    struct view_entity *const *people; /* of the latest */
    struct view_incident *in;          /* of one that is new */
    struct stored *of;
    bool is_new, is_relinked; /* its entities are others now */
};

/* An alert that is in the database, or will be. */
struct stored {
    uint8_t uid[16];
    int64_t id, rev, incident, first_ns, last_ns;
    int severity;
    bool keeps_severity;
    uint16_t type;
    unsigned stage; /* of its tactic */
    struct entities_mark {
        size_t len;
        uint64_t whole, open; /* hashes of their JSON, with and without its end */
    } entities;
    struct view_incident *in; /* NULL: `incident` says */
    struct store_row *row;    /* NULL: nothing to write yet */
};

struct store_part {
    struct view_entity *entity;
    struct view_part part;
};

struct store_batch {
    struct view *view;
    struct db_tx *tx;
    struct ingest_put *items;
    size_t n_items;
    struct arena *arena;
    struct id_map by_uid;        /* struct stored */
    struct view_entity **people; /* of all items, */
    size_t *people_of, n_people; /* and where those of one begin */

    struct store_row **rows;
    struct view_incident **touched;
    struct store_part *parts;
    size_t n_rows, n_touched, n_parts; /* since the last flush */
};

static inline int store_no_memory(struct err *e)
{
    (void)err_set(e, -ENOMEM, "ingest: out of memory");
    return -ENOMEM;
}

WIND_MUST_USE int store_batch_init(struct store_batch *b, struct err *e);
void store_batch_done(struct store_batch *b);

/* To be written by the next flush. */
struct store_row *store_row(struct store_batch *b, struct stored *of, const struct alert *a,
                            struct view_entity *const *people);
void store_touch(struct store_batch *b, struct view_incident *in);
void store_part(struct store_batch *b, struct view_entity *en, const struct view_part *part);

/* Write all of it; rows that were new are known afterwards. 0, DB_CONFLICT. */
WIND_MUST_USE int store_flush(struct store_batch *b, struct err *e);
