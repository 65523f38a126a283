/*
 * view.h - what correlation remembers between batches: entities, and the incidents they are in.
 *
 * Why      Asking the database for each alert costs more than everything else about it.
 * Owns     Entities, incidents and their stories, until view_clear. All of it is in the database
 *          as well, but for what the running batch has not written yet.
 * Threads  One at a time, between the begin and the end of a write transaction.
 * Bounds   About `memory` bytes; then it begins anew at the next batch. Of an entity with more
 *          than VIEW_PARTS parts in the time that matters it does not know all (VIEW_HEAVY).
 *
 * It is right as long as these hold; view_sync makes them so:
 *   1. an entity knows its parts in all incidents that were last seen at known_ns or later;
 *   2. an incident is as in the database, or as the running batch will write it.
 * Who else changes an incident, here or in another collector, says so in the outbox. What was
 * remembered of a transaction that was undone is found by the outbox, too: its last row is not
 * there. Who fails in the middle of a batch calls view_clear.
 */
#pragma once

#include "collector/correlate.h"
#include "collector/outbox.h"
#include "common/id_map.h"

#define VIEW_PARTS 4096
#define VIEW_HEAVY 1 /* ask the database instead */

/* In incident_entities; a subject is whom an alert is about without calling it attacker or victim.
 */
enum part_role { PART_ATTACKER, PART_VICTIM, PART_RELATED, PART_SUBJECT };
extern const char *const part_role_words[];

struct view_story;

struct view_incident {
    int64_t id;    /* 0: not in the database yet */
    int64_t order; /* as ids will be */
    int64_t first_ns, last_ns, alerts;
    bool is_open, is_gone, is_touched;
    struct view_story *story; /* NULL: not asked for yet */
    struct view_incident *next;
    uint64_t mark;
};

struct view_part {
    struct view_incident *in;
    uint16_t type;
    uint8_t role; /* of enum part_role */
};

struct view_entity {
    int64_t id; /* 0: not asked for yet */
    const char *kind, *value;
    int64_t known_ns; /* INT64_MAX: no part is known */
    struct view_part *parts;
    size_t n_parts, size;
    struct view_entity *next;
};

struct view {
    struct correlate_conf conf;
    uint64_t seed;
    int64_t bytes;
    struct outbox_mark last; /* of the outbox: all before is known here */
    int64_t known_ns;        /* the latest of all entities */
    int64_t from_ns; /* what was last seen before that doesn't matter to the running batch */
    int64_t order;
    uint64_t mark;
    uint64_t singly, forgotten; /* counters: alerts put one by one, calls of view_clear */
    struct id_map by_text, by_id, incidents, types;
    struct view_entity *entities;
    struct view_incident *all;
    char (*type_words)[TYPE_MAX + 1];
    size_t n_types, size_types;
};

void view_init(struct view *v, const struct correlate_conf *conf);
void view_clear(struct view *v);

/* At the begin: take over what others did meanwhile. */
WIND_MUST_USE int view_sync(struct view *v, struct db_tx *tx, struct err *e);

/* Find or make it; it may have no id yet. NULL: no memory. */
struct view_entity *view_entity(struct view *v, const char *kind, const char *value);

/* Its number; -ENOMEM. */
int view_type(struct view *v, const char *type);

struct view_want {
    struct view_entity *entity;
    int64_t from_ns; /* parts in incidents last seen from here on are wanted */
};

/* Gives every wanted entity its id, in the database too, and its parts. VIEW_HEAVY. */
WIND_MUST_USE int view_resolve(struct view *v, struct db_tx *tx, const struct view_want *wants,
                               size_t n, struct err *e);

/* Load those that are not here. */
WIND_MUST_USE int view_load(struct view *v, struct db_tx *tx, const int64_t *ids, size_t n,
                            struct err *e);
struct view_incident *view_incident(const struct view *v, int64_t id); /* NULL: not here */
void view_forget(struct view *v, int64_t id);

/* One that the database hasn't yet; NULL: no memory. */
struct view_incident *view_incident_new(struct view *v);
WIND_MUST_USE int view_incident_has_id(struct view *v, struct view_incident *in, int64_t id);

/* 1: it is new. 0: it was there. -ENOMEM. */
int view_part_add(struct view *v, struct view_entity *en, const struct view_part *part);

/* Before an incident is stretched: invariant 1 has to hold afterwards, too. */
WIND_MUST_USE int view_before_stretch(struct view *v, struct db_tx *tx,
                                      const struct view_incident *in, struct err *e);
