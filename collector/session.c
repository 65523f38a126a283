#include "collector/session.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "collector/db.h"
#include "collector/schema.h"
#include "common/crypto.h"
#include "common/time.h"

const char *auth_outcome_code(int outcome)
{
    static const char *const codes[] = {
        [AUTH_MISSING] = "token_missing",
        [AUTH_EXPIRED] = "token_expired",
        [AUTH_REVOKED] = "token_revoked",
        [AUTH_INVALID] = "credentials_invalid",
    };
    return codes[outcome];
}

static int64_t now_ns(void)
{
    return (int64_t)time_wall_ns();
}

static int64_t now_s(void)
{
    return now_ns() / (int64_t)WIND_NS_PER_S;
}

static void new_uuid(char ret_text[UUID_TEXT])
{
    uint8_t random[10], uuid[16];

    crypto_random(random, sizeof(random));
    uuid_v7(time_wall_ns() / WIND_NS_PER_MS, random, uuid);
    uuid_format(uuid, ret_text);
}

/* ---------------------------------------------------------------- the signing key */

static int key_from_file(struct auth *a, const char *path, struct err *e)
{
    char text[256] = "";
    FILE *f = fopen(path, "re");

    if (f == NULL)
        return err_set(e, -errno, "auth.key_file '%s': %s", path, strerror(errno));
    const size_t n = fread(text, 1, sizeof(text) - 1, f);
    (void)fclose(f);
    const size_t len = strcspn(text, "\r\n");
    if (n < JWT_KEY_BYTES || len < JWT_KEY_BYTES) {
        crypto_wipe(text, sizeof(text));
        return err_set(e, -EINVAL, "auth.key_file '%s': its line has less than %d characters", path,
                       JWT_KEY_BYTES);
    }
    crypto_sha256(text, len, a->key);
    crypto_wipe(text, sizeof(text));
    return 0;
}

/* The first start makes the key; the unique name decides if two collectors start at once. */
static int key_from_db(struct auth *a, struct err *e)
{
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;
    uint8_t fresh[JWT_KEY_BYTES];
    size_t len = 0;

    crypto_random(fresh, sizeof(fresh));
    int r = db_begin_write(a->db, &tx, e);
    if (r == 0)
        r = db_run(
            tx,
            "INSERT INTO secrets (name, value) VALUES ('jwt', $1) ON CONFLICT (name) DO NOTHING",
            DB_ARGS(db_bytes(fresh, sizeof(fresh))), NULL, e);
    if (r == 0)
        r = db_query_row(tx, "SELECT value FROM secrets WHERE name = 'jwt'", DB_NONE, &s, e);
    crypto_wipe(fresh, sizeof(fresh));
    if (r < 0)
        return r;
    const void *key = r == DB_ROW ? db_blob(s, 0, &len) : NULL;
    if (key == NULL || len != JWT_KEY_BYTES)
        return err_set(e, -EINVAL, "the signing key in the database is damaged");
    memcpy(a->key, key, len);
    s = db_stmt_free(s);
    return db_commit(&tx, e);
}

int auth_new(struct auth **ret, struct db *db, const struct auth_conf *conf, struct err *e)
{
    WIND_AUTO(auth) struct auth *a = calloc(1, sizeof(*a));
    if (a == NULL)
        return err_set(e, -ENOMEM, "auth: out of memory");
    a->conf = *conf;
    a->db = db;
    int r = passwords_new(&a->passwords, &conf->password, e);
    if (r == 0 && conf->cache != NULL)
        r = session_cache_new(&a->known, conf->cache, e);
    if (r == 0)
        r = conf->key_file[0] != '\0' ? key_from_file(a, conf->key_file, e) : key_from_db(a, e);
    if (r != 0)
        return r;
    *ret = WIND_STEAL(a);
    return 0;
}

struct auth *auth_free(struct auth *a)
{
    if (a == NULL)
        return NULL;
    passwords_free(a->passwords);
    session_cache_free(a->known);
    crypto_wipe(a->key, sizeof(a->key));
    free(a);
    return NULL;
}

/* ---------------------------------------------------------------- access tokens */

static void set_text(char *to, size_t size, const char *from)
{
    (void)snprintf(to, size, "%s", from != NULL ? from : "");
}

static int read_user(struct db_stmt *s, const struct jwt_claims *c, struct principal *p)
{
    const int role = word_find(role_words, db_text(s, 1));

    if (db_i64(s, 2) == 0 || db_i64(s, 3) != c->generation || db_i64(s, 4) != 0 ||
        db_i64(s, 5) != 0 || role < 0)
        return AUTH_REVOKED;
    *p = (struct principal){.kind = PRINCIPAL_USER,
                            .id = c->user_id,
                            .role = (enum role)role,
                            .permissions = role_permissions((enum role)role),
                            .generation = c->generation,
                            .expires_s = c->expires_s};
    set_text(p->name, sizeof(p->name), db_text(s, 0));
    set_text(p->jti, sizeof(p->jti), c->jti);
    set_text(p->sid, sizeof(p->sid), c->sid);
    return 0;
}

/* What the database says about a token that is ours and not too old. */
static int check_session(struct auth *a, const struct jwt_claims *c, struct principal *ret,
                         struct err *e)
{
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;
    int r = db_begin_single(a->db, &tx, e);

    if (r == 0)
        r = db_query_row(tx,
                         "SELECT u.username, u.role, u.is_active, u.generation, s.is_revoked,"
                         " (SELECT COUNT(*) FROM revoked_tokens t WHERE t.jti = $2)"
                         " FROM users u JOIN sessions s ON s.user_id = u.id"
                         " WHERE u.id = $1 AND s.sid = $3",
                         DB_ARGS(db_int(c->user_id), db_str(c->jti), db_str(c->sid)), &s, e);
    if (r < 0)
        return r;
    return r == DB_ROW ? read_user(s, c, ret) : AUTH_REVOKED;
}

int auth_token(struct auth *a, const char *token, struct principal *ret, struct err *e)
{
    struct jwt_claims c;

    if (a->known != NULL && session_cache_get(a->known, token, ret))
        return ret->expires_s > now_s() ? 0 : AUTH_EXPIRED;
    const int verdict = jwt_verify(a->key, token, now_s(), &c);
    if (verdict == JWT_INVALID || (verdict == 0 && c.use != JWT_ACCESS))
        return AUTH_INVALID;
    if (verdict == JWT_EXPIRED)
        return AUTH_EXPIRED;
    const uint64_t heard = a->known != NULL ? session_cache_heard(a->known) : 0;
    const int r = check_session(a, &c, ret, e);
    if (r == 0 && a->known != NULL)
        session_cache_put(a->known, heard, token, ret);
    return r;
}

void auth_changed(struct auth *a, int64_t user_id, const char *sid)
{
    char text[64];

    if (a->conf.cache == NULL)
        return;
    if (user_id != 0)
        (void)snprintf(text, sizeof(text), "user %lld", (long long)user_id);
    else
        (void)snprintf(text, sizeof(text), "session %s", sid);
    cache_publish(a->conf.cache, CACHE_CREDENTIALS, text);
}

/* The end of a transaction that changed them. */
static int commit_changed(struct auth *a, struct db_tx **tx, int64_t user_id, const char *sid,
                          struct err *e)
{
    const int r = db_commit(tx, e);

    if (r == 0)
        auth_changed(a, user_id, sid);
    return r;
}

static int check_key(struct auth *a, int64_t id, struct err *e)
{
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;
    int r = db_begin_read(a->db, &tx, e);

    if (r == 0)
        r = db_query_row(tx,
                         "SELECT 1 FROM api_keys k LEFT JOIN users u ON u.id = k.created_by"
                         " WHERE k.id = $1 AND k.is_revoked = 0 AND COALESCE(u.is_active, 1) = 1",
                         DB_ARGS(db_int(id)), &s, e);
    if (r < 0)
        return r;
    return r == DB_ROW ? 0 : AUTH_REVOKED;
}

int auth_still(struct auth *a, const struct principal *p, struct err *e)
{
    struct jwt_claims c = {.user_id = p->id, .generation = p->generation};
    struct principal now;

    if (p->expires_s > 0 && p->expires_s <= now_s())
        return AUTH_EXPIRED;
    if (p->kind == PRINCIPAL_KEY)
        return check_key(a, p->id, e);
    memcpy(c.jti, p->jti, sizeof(c.jti));
    memcpy(c.sid, p->sid, sizeof(c.sid));
    const int r = check_session(a, &c, &now, e);
    return r == 0 && now.role != p->role ? AUTH_REVOKED : r;
}

/* ---------------------------------------------------------------- sessions */

static int make_tokens(const struct auth *a, struct jwt_claims *c, struct tokens *ret,
                       struct err *e)
{
    char refresh_jti[UUID_TEXT];

    memcpy(refresh_jti, c->jti, sizeof(refresh_jti));
    c->issued_s = now_s();
    c->use = JWT_REFRESH;
    c->expires_s = c->issued_s + a->conf.refresh_s;
    int r = jwt_sign(a->key, c, ret->refresh);
    new_uuid(c->jti);
    c->use = JWT_ACCESS;
    c->expires_s = c->issued_s + a->conf.access_s;
    if (r == 0)
        r = jwt_sign(a->key, c, ret->access);
    memcpy(c->jti, refresh_jti, sizeof(refresh_jti));
    ret->expires_in_s = a->conf.access_s;
    return r == 0 ? 0 : err_set(e, r, "cannot make a token");
}

/* What time has ended is deleted; a user with too many sessions loses the one unused longest. */
static int tidy(const struct auth *a, struct db_tx *tx, int64_t user_id, struct err *e)
{
    const int64_t now = now_ns();
    int r = db_run(tx, "DELETE FROM sessions WHERE expires_ns < $1", DB_ARGS(db_int(now)), NULL, e);

    if (r == 0)
        r = db_run(tx, "DELETE FROM revoked_tokens WHERE expires_ns < $1", DB_ARGS(db_int(now)),
                   NULL, e);
    if (r == 0)
        r = db_run(
            tx,
            "DELETE FROM sessions WHERE user_id = $1 AND sid NOT IN (SELECT sid FROM sessions"
            " WHERE user_id = $1 ORDER BY used_ns DESC, sid DESC LIMIT $2)",
            DB_ARGS(db_int(user_id), db_int(a->conf.sessions_max - 1)), NULL, e);
    return r;
}

static int start(struct auth *a, struct db_tx *tx, struct jwt_claims *c, struct tokens *ret,
                 struct err *e)
{
    const int64_t now = now_ns();

    new_uuid(c->sid);
    new_uuid(c->jti);
    int r = tidy(a, tx, c->user_id, e);
    if (r == 0)
        r = db_run(
            tx,
            "INSERT INTO sessions (sid, user_id, refresh_jti, created_ns, used_ns, expires_ns)"
            " VALUES ($1, $2, $3, $4, $4, $5)",
            DB_ARGS(db_str(c->sid), db_int(c->user_id), db_str(c->jti), db_int(now),
                    db_int(now + a->conf.refresh_s * (int64_t)WIND_NS_PER_S)),
            NULL, e);
    if (r == 0)
        r = make_tokens(a, c, ret, e);
    return r;
}

struct account {
    int64_t id, generation;
    bool is_active, is_known;
    char hash[PASSWORD_TEXT];
};

/* An unknown user gives an account that is not known. */
static int find_account(struct auth *a, const char *username, int64_t id, struct account *ret,
                        struct err *e)
{
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;

    *ret = (struct account){.id = 0};
    int r = db_begin_read(a->db, &tx, e);
    if (r == 0)
        r = db_query_row(tx,
                         "SELECT id, generation, is_active, password_hash FROM users"
                         " WHERE username = $1 OR id = $2",
                         DB_ARGS(db_str(username), db_int(id)), &s, e);
    if (r != DB_ROW)
        return r;
    ret->is_known = true;
    ret->id = db_i64(s, 0);
    ret->generation = db_i64(s, 1);
    ret->is_active = db_i64(s, 2) != 0;
    set_text(ret->hash, sizeof(ret->hash), db_text(s, 3));
    return 0;
}

int session_login(struct auth *a, const char *username, const char *password, struct tokens *ret,
                  struct err *e)
{
    struct account account;
    int r = find_account(a, username, 0, &account, e);
    if (r == 0)
        r = password_check(a->passwords, password, account.is_known ? account.hash : NULL, e);
    if (r != 0 || !account.is_active)
        return r < 0 ? r : AUTH_INVALID;

    WIND_AUTO(db_tx) struct db_tx *tx = NULL;
    struct jwt_claims c = {.user_id = account.id, .generation = account.generation};
    r = db_begin_write(a->db, &tx, e);
    if (r == 0)
        r = start(a, tx, &c, ret, e);
    if (r == 0)
        r = db_run(tx, "UPDATE users SET last_login_ns = $2 WHERE id = $1",
                   DB_ARGS(db_int(account.id), db_int(now_ns())), NULL, e);
    /* others of the user may have lost their place, and the time of the login is shown */
    return r == 0 ? commit_changed(a, &tx, account.id, NULL, e) : r;
}

static int revoke(struct db_tx *tx, const char *sid, struct err *e)
{
    return db_run(tx, "UPDATE sessions SET is_revoked = 1 WHERE sid = $1", DB_ARGS(db_str(sid)),
                  NULL, e);
}

/* Within one write: is this the session's newest refresh token? 0 or an AUTH outcome. */
static int check_refresh(struct db_tx *tx, const struct jwt_claims *c, struct err *e)
{
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;
    int r =
        db_query_row(tx,
                     "SELECT s.refresh_jti, s.is_revoked, u.is_active, u.generation FROM sessions s"
                     " JOIN users u ON u.id = s.user_id WHERE s.sid = $1 AND u.id = $2",
                     DB_ARGS(db_str(c->sid), db_int(c->user_id)), &s, e);
    if (r < 0)
        return r;
    if (r != DB_ROW || db_i64(s, 1) != 0 || db_i64(s, 2) == 0 || db_i64(s, 3) != c->generation)
        return AUTH_REVOKED;
    if (strcmp(db_text(s, 0), c->jti) == 0)
        return 0;
    s = db_stmt_free(s);
    r = revoke(tx, c->sid, e);
    return r < 0 ? r : AUTH_REVOKED;
}

int session_refresh(struct auth *a, const char *refresh_token, struct tokens *ret, struct err *e)
{
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;
    struct jwt_claims c;

    const int verdict = jwt_verify(a->key, refresh_token, now_s(), &c);
    if (verdict == JWT_INVALID || (verdict == 0 && c.use != JWT_REFRESH))
        return AUTH_INVALID;
    if (verdict == JWT_EXPIRED)
        return AUTH_EXPIRED;
    int r = db_begin_write(a->db, &tx, e);
    if (r == 0)
        r = check_refresh(tx, &c, e);
    if (r < 0)
        return r;
    const int outcome = r;
    if (outcome == 0) {
        const int64_t now = now_ns();
        new_uuid(c.jti);
        r = db_run(tx,
                   "UPDATE sessions SET refresh_jti = $2, used_ns = $3, expires_ns = $4"
                   " WHERE sid = $1",
                   DB_ARGS(db_str(c.sid), db_str(c.jti), db_int(now),
                           db_int(now + a->conf.refresh_s * (int64_t)WIND_NS_PER_S)),
                   NULL, e);
        if (r == 0)
            r = make_tokens(a, &c, ret, e);
        if (r != 0)
            return r;
    }
    /* of the rotation, or of the revocation */
    r = outcome == 0 ? db_commit(&tx, e) : commit_changed(a, &tx, 0, c.sid, e);
    return r == 0 ? outcome : r;
}

int session_logout(struct auth *a, const struct principal *p, struct err *e)
{
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;
    int r = db_begin_write(a->db, &tx, e);
    if (r == 0)
        r = db_run(tx,
                   "INSERT INTO revoked_tokens (jti, expires_ns) VALUES ($1, $2)"
                   " ON CONFLICT (jti) DO NOTHING",
                   DB_ARGS(db_str(p->jti), db_int(p->expires_s * (int64_t)WIND_NS_PER_S)), NULL, e);
    if (r == 0)
        r = revoke(tx, p->sid, e);
    return r == 0 ? commit_changed(a, &tx, 0, p->sid, e) : r;
}

int session_end_all(struct db_tx *tx, int64_t user_id, struct err *e)
{
    const int r = db_run(tx, "UPDATE users SET generation = generation + 1 WHERE id = $1",
                         DB_ARGS(db_int(user_id)), NULL, e);
    return r != 0 ? r
                  : db_run(tx, "DELETE FROM sessions WHERE user_id = $1", DB_ARGS(db_int(user_id)),
                           NULL, e);
}

int session_change_password(struct auth *a, const struct principal *p, const char *current,
                            const char *password, struct tokens *ret, struct err *e)
{
    char hash[PASSWORD_TEXT];
    struct account account;
    int r = find_account(a, NULL, p->id, &account, e);
    if (r == 0)
        r = password_check(a->passwords, current, account.is_known ? account.hash : NULL, e);
    if (r != 0)
        return r < 0 ? r : AUTH_INVALID;
    r = password_hash(a->passwords, password, hash, e);

    WIND_AUTO(db_tx) struct db_tx *tx = NULL;
    struct jwt_claims c = {.user_id = p->id, .generation = account.generation + 1};
    if (r == 0)
        r = db_begin_write(a->db, &tx, e);
    if (r == 0)
        r = session_end_all(tx, p->id, e);
    if (r == 0)
        r = db_run(tx,
                   "UPDATE users SET password_hash = $2, generation = $3, updated_ns = $4"
                   " WHERE id = $1",
                   DB_ARGS(db_int(p->id), db_str(hash), db_int(c.generation), db_int(now_ns())),
                   NULL, e);
    if (r == 0)
        r = start(a, tx, &c, ret, e);
    return r == 0 ? commit_changed(a, &tx, p->id, NULL, e) : r;
}
