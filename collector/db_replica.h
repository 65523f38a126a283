/*
 * db_replica.h - may a list be read from the replica? Only db*.c.
 *
 * Why      A replica takes the lists from the primary, but shows the past. Two promises: it is not
 *          further behind than replica_lag_ms, and what people wrote here (in a group: db.h) is in
 *          every list that is asked for after their answer. Sensors' alerts come when they come.
 *          Another collector's people may wait for replica_lag_ms.
 * Owns     What is known of both servers' positions in the log.
 * Threads  Any.
 * Bounds   DB_REPLICA_SAMPLES positions of the primary, one each DB_REPLICA_CHECK_MS. While either
 *          server does not answer, or the replica is none, the primary is read.
 */
#pragma once

#include "collector/db_pool.h"

#define DB_REPLICA_CHECK_MS 500
#define DB_REPLICA_SAMPLES  128

struct db_replica {
    struct db *db;
    int64_t lag_max_ms;
    pthread_mutex_t lock; /* guards what follows */
    struct db_position {
        int64_t at_ms, lsn;
    } samples[DB_REPLICA_SAMPLES]; /* of the primary, the oldest first */
    size_t n;
    int64_t checked_ms, replayed, needed; /* positions: it has come to; people have to see */
    int64_t lag_ms;                       /* < 0: not known */
    bool is_checking;
    uint64_t reads, passed; /* lists from the replica, and those that the primary got instead */
};

void db_replica_init(struct db_replica *r, struct db *db, int64_t lag_max_ms);
void db_replica_done(struct db_replica *r);

/* People wrote up to this position. */
void db_replica_note(struct db_replica *r, int64_t lsn);

/* The schema is what the primary has now: without it a list can't be read. Before the first one. */
WIND_MUST_USE int db_replica_note_schema(struct db_replica *r, struct err *e);

/* 0, or < 0: read the primary. */
WIND_MUST_USE int db_replica_begin(struct db_replica *r, struct db_tx **ret_tx);
