#include "collector/db_replica.h"

#include <errno.h>

#include "common/log.h"

#define PRIMARY_SQL "SELECT CAST(pg_current_wal_insert_lsn() - '0/0' AS BIGINT)"
#define REPLICA_SQL                                                                                \
    "SELECT coalesce(CAST(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() - '0/0' "    \
    "END AS BIGINT), -1)"

void db_replica_init(struct db_replica *r, struct db *db, int64_t lag_max_ms)
{
    *r = (struct db_replica){.db = db, .lag_max_ms = lag_max_ms, .lag_ms = -1};
    (void)pthread_mutex_init(&r->lock, NULL);
}

void db_replica_done(struct db_replica *r)
{
    if (r->db != NULL)
        (void)pthread_mutex_destroy(&r->lock);
    r->db = NULL;
}

void db_replica_note(struct db_replica *r, int64_t lsn)
{
    (void)pthread_mutex_lock(&r->lock);
    if (lsn > r->needed)
        r->needed = lsn;
    (void)pthread_mutex_unlock(&r->lock);
}

static void add_sample(struct db_replica *r, int64_t at_ms, int64_t lsn)
{
    if (r->n == DB_REPLICA_SAMPLES) {
        r->n--;
        memmove(r->samples, r->samples + 1, r->n * sizeof(r->samples[0]));
    }
    r->samples[r->n++] = (struct db_position){.at_ms = at_ms, .lsn = lsn};
}

/* How long ago the primary was where the replica is now. */
static int64_t lag_of(const struct db_replica *r, int64_t now_ms)
{
    for (size_t i = r->n; i > 0; i--)
        if (r->samples[i - 1].lsn <= r->replayed)
            return now_ms - r->samples[i - 1].at_ms;
    return r->n > 0 ? now_ms - r->samples[0].at_ms + r->lag_max_ms : -1;
}

static void take_over(struct db_replica *r, int64_t now_ms, int64_t primary, int64_t replayed)
{
    (void)pthread_mutex_lock(&r->lock);
    const bool was_good = r->lag_ms >= 0 && r->lag_ms <= r->lag_max_ms;
    r->is_checking = false;
    r->checked_ms = now_ms;
    r->lag_ms = -1;
    if (primary >= 0 && replayed >= 0) {
        r->replayed = replayed;
        add_sample(r, now_ms, primary);
        r->lag_ms = lag_of(r, now_ms);
    }
    const bool is_good = r->lag_ms >= 0 && r->lag_ms <= r->lag_max_ms;
    const int64_t lag_ms = r->lag_ms;
    (void)pthread_mutex_unlock(&r->lock);
    if (was_good && !is_good)
        log_warn("database: lists are read from the primary: the replica is %s (%lld ms)",
                 lag_ms < 0 ? "away" : "behind", (long long)lag_ms);
}

static int64_t ask(struct db_tx *tx, const char *sql)
{
    int64_t lsn = -1;

    return db_query_i64(tx, sql, DB_NONE, &lsn, NULL) == 0 ? lsn : -1;
}

int db_replica_note_schema(struct db_replica *r, struct err *e)
{
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;
    int64_t lsn = 0;

    int code = db_begin_single(r->db, &tx, e);
    if (code == 0)
        code = db_query_i64(tx, PRIMARY_SQL, DB_NONE, &lsn, e);
    if (code == 0)
        db_replica_note(r, lsn);
    return code;
}

/* One thread each DB_REPLICA_CHECK_MS; the others go by what it found. */
static void check(struct db_replica *r)
{
    WIND_AUTO(db_tx) struct db_tx *primary = NULL, *replica = NULL;
    const int64_t now_ms = db_now_ms();
    int64_t at = -1, replayed = -1;

    (void)pthread_mutex_lock(&r->lock);
    const bool is_ours =
        !r->is_checking && (r->checked_ms == 0 || now_ms - r->checked_ms >= DB_REPLICA_CHECK_MS);
    r->is_checking = r->is_checking || is_ours;
    (void)pthread_mutex_unlock(&r->lock);
    if (!is_ours)
        return;
    if (db_begin_single(r->db, &primary, NULL) == 0)
        at = ask(primary, PRIMARY_SQL);
    primary = db_tx_free(primary);
    if (db_begin_replica(r->db, &replica, NULL) == 0)
        replayed = ask(replica, REPLICA_SQL);
    take_over(r, now_ms, at, replayed);
}

/* Has it come to what people wrote? One more question, of the connection that reads the list. */
static bool has_come(struct db_replica *r, struct db_tx *tx)
{
    const int64_t replayed = ask(tx, REPLICA_SQL);

    (void)pthread_mutex_lock(&r->lock);
    if (replayed > r->replayed)
        r->replayed = replayed;
    const bool has = replayed >= r->needed;
    (void)pthread_mutex_unlock(&r->lock);
    return has;
}

static int begin(struct db_replica *r, struct db_tx **ret_tx)
{
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;

    check(r);
    (void)pthread_mutex_lock(&r->lock);
    const bool is_good = r->lag_ms >= 0 && r->lag_ms <= r->lag_max_ms;
    const bool is_behind = r->replayed < r->needed;
    (void)pthread_mutex_unlock(&r->lock);
    if (!is_good)
        return -EAGAIN;
    const int code = db_begin_replica(r->db, &tx, NULL);
    if (code != 0)
        return code;
    if (is_behind && !has_come(r, tx))
        return -EAGAIN;
    *ret_tx = WIND_STEAL(tx);
    return 0;
}

int db_replica_begin(struct db_replica *r, struct db_tx **ret_tx)
{
    const int code = begin(r, ret_tx);

    (void)pthread_mutex_lock(&r->lock);
    r->reads += code == 0;
    r->passed += code != 0;
    (void)pthread_mutex_unlock(&r->lock);
    return code;
}
