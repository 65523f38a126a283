/*
 * retention.h - deletes what is too old or too much, a little at a time.
 *
 * Why      A database that only grows ends on a full disk. Age is that of the collector's own clock
 *          (created_at), so that a replayed old capture is not gone at once.
 * Owns     A thread, the stage of the disk, counters.
 * Threads  new, start, stop, free: main. retention_run: one at a time. The rest: any.
 * Bounds   RETENTION_ROWS rows a transaction; after each it sleeps as long as that took.
 *
 * By age goes what nobody works on: an alert that is assigned and not closed stays, and one whose
 * incident is not resolved; an incident stays until it is resolved and its alerts are gone. When
 * the limit by size forces it, alerts go in this order, the oldest first:
 *
 *     1. those that age would take, however young
 *     2. those of open incidents       3. those that are assigned
 *
 * and with the last alert of an incident that Wind made, the incident. A full disk (stage high)
 * takes 1 and 2, and nothing younger than disk_keep: it may be others who fill it. In stage flood
 * nothing new is taken (retention_is_full) until there is room again. Users and keys never go.
 *
 * PostgreSQL keeps a million alerts a table: an old one that is empty is dropped, and size
 * takes the oldest table whole, but never the one that is being filled.
 *
 * What is deleted has a row in the outbox, so that indexes and kept answers follow.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "collector/disk_guard.h"
#include "common/buf.h"
#include "common/err.h"

#define RETENTION_ROWS 500

struct db;
struct retention;

struct retention_conf {
    struct db *db;      /* borrowed */
    const char *folder; /* of the database, for the disk; NULL: it is elsewhere. Copied */
    int64_t alerts_ns, incidents_ns, sensors_ns; /* 0 = for ever */
    int64_t open_ns;      /* alerts and incidents that are open and nobody's; 0 = for ever */
    int64_t size;         /* of the database; 0 = no limit */
    int64_t disk_keep_ns; /* alerts younger than this do not go for a full disk */
    int64_t interval_ns;  /* between two passes */
    unsigned percent[DISK_STAGES];
};

/* TABLE(name): what is counted as deleted */
#define RETENTION_TABLES(TABLE)                                                                    \
    TABLE(alerts)                                                                                  \
    TABLE(alert_entities)                                                                          \
    TABLE(incidents)                                                                               \
    TABLE(incident_entities)                                                                       \
    TABLE(comments)                                                                                \
    TABLE(tags)                                                                                    \
    TABLE(history)                                                                                 \
    TABLE(entities)                                                                                \
    TABLE(sensors)                                                                                 \
    TABLE(bus_sequences)                                                                           \
    TABLE(sessions)                                                                                \
    TABLE(revoked_tokens)                                                                          \
    TABLE(replays)

enum retention_table {
#define TABLE(name) RETENTION_##name,
    RETENTION_TABLES(TABLE)
#undef TABLE
        RETENTION_TABLES_N
};
extern const char *const retention_table_words[RETENTION_TABLES_N];

WIND_MUST_USE int retention_new(struct retention **ret, const struct retention_conf *conf,
                                struct err *e);
WIND_MUST_USE int retention_start(struct retention *r, struct err *e);
void retention_stop(struct retention *r);
struct retention *retention_free(struct retention *r);
WIND_DEFINE_FREE(retention)

/* One whole pass now, without the thread. ret_deleted (may be NULL): rows by table, by this pass.
 */
WIND_MUST_USE int retention_run(struct retention *r, int64_t ret_deleted[RETENTION_TABLES_N],
                                struct err *e);

/* Stage flood: whoever would make the database grow says -ENOSPC. */
bool retention_is_full(const struct retention *r);

void retention_print(struct retention *r, struct buf *out);
