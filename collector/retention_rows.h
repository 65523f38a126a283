/*
 * retention_rows.h - which rows may go, and all that goes with them. Only retention*.c includes it.
 *
 * Why      retention.c says when and how much, this says what.
 * Owns     Nothing: one write transaction of the caller each.
 * Bounds   `rows` rows a step, at most RETENTION_ROWS.
 */
#pragma once

#include "collector/db.h"
#include "collector/retention.h"

/* How hard to look: each level takes what the ones before take, too. */
enum retention_level { RETENTION_IDLE, RETENTION_OPEN, RETENTION_ASSIGNED, RETENTION_LEVELS };

struct retention_scan {
    enum retention_level level;
    int64_t before;      /* created earlier than this, in nanoseconds */
    int64_t open_before; /* nobody's, though open, and created earlier; 0 = none */
    int64_t after;       /* where the next step goes on, by id */
    int64_t rows;        /* of one step; 0 = RETENTION_ROWS */
    int64_t up_to;       /* alerts: ids below this; 0 = all */
};

/* Each: 0 = there is nothing more, 1 = call again, < 0. deleted[RETENTION_TABLES_N] is added to. */
WIND_MUST_USE int retention_alerts(struct db_tx *tx, struct retention_scan *s, int64_t *deleted,
                                   struct err *e);
WIND_MUST_USE int retention_incidents(struct db_tx *tx, struct retention_scan *s, int64_t *deleted,
                                      struct err *e);
WIND_MUST_USE int retention_entities(struct db_tx *tx, struct retention_scan *s, int64_t *deleted,
                                     struct err *e);

/*
 * PostgreSQL keeps a million alerts a table. The first id above the oldest of them; 0: there is
 * only the one that is being filled.
 */
WIND_MUST_USE int retention_oldest_part(struct db_tx *tx, int64_t *ret_up_to, struct err *e);

/* Drops one that is empty and will stay so: its disk is free at once. As above. */
WIND_MUST_USE int retention_parts(struct db_tx *tx, struct retention_scan *s, int64_t *deleted,
                                  struct err *e);

/* Rows of `table`, which has a time and needs nothing else, from before `before`. */
WIND_MUST_USE int retention_plain(struct db_tx *tx, enum retention_table table, int64_t before,
                                  int64_t *deleted, struct err *e);
