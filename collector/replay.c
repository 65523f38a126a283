#include "collector/replay.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "collector/db.h"
#include "common/time.h"

void replay_key(struct replay *r, const struct principal *who, const struct request *rq,
                const char *key, const void *body, size_t n)
{
    char text[1024];
    const int len = snprintf(text, sizeof(text), "%d %" PRId64 " %s %s %s", (int)who->kind, who->id,
                             rq->method, rq->path, key);

    crypto_sha256(text, len < (int)sizeof(text) ? (size_t)len : sizeof(text) - 1, r->key);
    crypto_sha256(body, n, r->body);
}

static const char *find_header(const struct response *rs, const char *name)
{
    for (size_t i = 0; i < rs->n_headers; i++)
        if (strcmp(rs->headers[i].name, name) == 0)
            return rs->headers[i].value;
    return NULL;
}

static int find(struct db_tx *tx, const struct replay *r, struct response *rs, struct err *e)
{
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;
    size_t len, body_len;
    int code = db_query(
        tx, "SELECT body_hash, status, body, location, etag FROM replays WHERE key_hash = $1",
        DB_ARGS(db_bytes(r->key, sizeof(r->key))), &s, e);
    if (code == 0)
        code = db_step(s, e);
    if (code != DB_ROW)
        return code;
    const void *hash = db_blob(s, 0, &len);
    if (hash == NULL || len != sizeof(r->body) || !crypto_equal(hash, r->body, sizeof(r->body)))
        return REPLAY_MISMATCH;
    const int status = (int)db_i64(s, 1);
    if (status == 0)
        return REPLAY_RUNNING;
    const void *body = db_blob(s, 2, &body_len);
    if (body == NULL)
        (void)respond_empty(rs, status);
    else
        (void)respond_bytes(rs, status, "application/json", body, body_len);
    if (!db_is_null(s, 3))
        respond_header(rs, "Location", "%s", db_text(s, 3));
    if (!db_is_null(s, 4))
        respond_header(rs, "ETag", "%s", db_text(s, 4));
    respond_header(rs, "Idempotency-Replayed", "true");
    return REPLAY_FOUND;
}

static int forget(struct db_tx *tx, int64_t now, struct err *e)
{
    int r =
        db_run(tx, "DELETE FROM replays WHERE created_ns < $1 OR (status = 0 AND created_ns < $2)",
               DB_ARGS(db_int(now - (int64_t)(WIND_NS_PER_S * 3600 * REPLAY_HOURS)),
                       db_int(now - (int64_t)(REPLAY_STUCK_S * WIND_NS_PER_S))),
               NULL, e);
    if (r == 0)
        r = db_run(tx,
                   "DELETE FROM replays WHERE created_ns <= (SELECT created_ns FROM replays"
                   " ORDER BY created_ns DESC LIMIT 1 OFFSET $1)",
                   DB_ARGS(db_int(REPLAYS_MAX)), NULL, e);
    return r;
}

int replay_begin(struct db *db, const struct replay *r, struct response *rs, struct err *e)
{
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;
    const int64_t now = (int64_t)time_wall_ns();
    int code = db_begin_write(db, &tx, e);

    if (code == 0)
        code = forget(tx, now, e);
    if (code == 0)
        code = find(tx, r, rs, e);
    if (code != 0)
        return code;
    code = db_run(
        tx,
        "INSERT INTO replays (key_hash, body_hash, status, body, created_ns)"
        " VALUES ($1, $2, 0, NULL, $3)",
        DB_ARGS(db_bytes(r->key, sizeof(r->key)), db_bytes(r->body, sizeof(r->body)), db_int(now)),
        NULL, e);
    return code == 0 ? db_commit(&tx, e) : code;
}

int replay_end(struct db *db, const struct replay *r, const struct response *rs, struct err *e)
{
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;
    const bool is_kept = rs->status >= 200 && rs->status < 300 && rs->n <= REPLAY_BODY_MAX;
    int code = db_begin_write(db, &tx, e);

    if (code == 0 && is_kept)
        code = db_run(tx,
                      "UPDATE replays SET status = $2, body = $3, location = $4, etag = $5 WHERE "
                      "key_hash = $1",
                      DB_ARGS(db_bytes(r->key, sizeof(r->key)), db_int(rs->status),
                              db_bytes(rs->bytes, rs->n), db_str(find_header(rs, "Location")),
                              db_str(find_header(rs, "ETag"))),
                      NULL, e);
    else if (code == 0)
        code = db_run(tx, "DELETE FROM replays WHERE key_hash = $1",
                      DB_ARGS(db_bytes(r->key, sizeof(r->key))), NULL, e);
    return code == 0 ? db_commit(&tx, e) : code;
}
