/*
 * session.h - proving who is asking: tokens, sessions and API keys.
 *
 * Why      All that decides about credentials is behind these calls; what follows from them
 *          (permissions) is auth.h.
 * Owns     The signing key in memory. Users, sessions and keys live in the database, and who
 *          changes one says so to all (auth_changed), so a role, a revocation or a changed
 *          password counts at once, in every collector.
 * Threads  Any.
 * Bounds   sessions_max sessions a user: the one unused longest ends. Ended rows are deleted.
 *
 * A session is a family of refresh tokens, of which only the newest is good. A second use of
 * an older one means that somebody copied it: the session ends, and its access tokens too.
 *
 *     login -> live --refresh--> live --logout, reuse, password change, time--> ended
 */
#pragma once

#include "collector/auth.h"
#include "collector/jwt.h"
#include "collector/password.h"
#include "collector/session_cache.h"
#include "common/err.h"

struct db;
struct db_tx;

struct auth_conf {
    const char *key_file; /* "" = the key is kept in the database */
    int64_t access_s, refresh_s, sessions_max;
    struct password_conf password;
    struct cache *cache; /* borrowed; NULL: others may change sessions unheard, ask each time */
};

struct auth {
    struct auth_conf conf;
    struct db *db;               /* borrowed */
    struct session_cache *known; /* NULL without conf.cache */
    struct passwords *passwords;
    uint8_t key[JWT_KEY_BYTES];
};

/* Outcomes of the checks; auth_outcome_code gives the `code` of the 401. */
#define AUTH_MISSING 1
#define AUTH_EXPIRED 2
#define AUTH_REVOKED 3
#define AUTH_INVALID 4
const char *auth_outcome_code(int outcome);

struct tokens {
    char access[JWT_MAX], refresh[JWT_MAX];
    int64_t expires_in_s;
};

WIND_MUST_USE int auth_new(struct auth **ret, struct db *db, const struct auth_conf *conf,
                           struct err *e);
struct auth *auth_free(struct auth *a);
WIND_DEFINE_FREE(auth)

/* What an Authorization: Bearer or the first WebSocket message says. */
WIND_MUST_USE int auth_token(struct auth *a, const char *token, struct principal *ret,
                             struct err *e);
/* "wind_<id>_<secret>". Notes the time of use, at most once a minute. */
WIND_MUST_USE int auth_key(struct auth *a, const char *text, struct principal *ret, struct err *e);

/*
 * After the commit: what was known of this user's tokens, or of this session's (user_id 0), is no
 * longer so.
 */
void auth_changed(struct auth *a, int64_t user_id, const char *sid);

/* Is what was proved before still good? 0, AUTH_EXPIRED or AUTH_REVOKED. */
WIND_MUST_USE int auth_still(struct auth *a, const struct principal *p, struct err *e);

/* 0 or AUTH_INVALID, after the same time for unknown users. */
WIND_MUST_USE int session_login(struct auth *a, const char *username, const char *password,
                                struct tokens *ret, struct err *e);
/* 0, AUTH_EXPIRED, AUTH_REVOKED (also: used before, and now all of the session is) or AUTH_INVALID.
 */
WIND_MUST_USE int session_refresh(struct auth *a, const char *refresh_token, struct tokens *ret,
                                  struct err *e);
WIND_MUST_USE int session_logout(struct auth *a, const struct principal *p, struct err *e);

/* Ends all sessions of the user and starts a new one. 0 or AUTH_INVALID (`current` is wrong). */
WIND_MUST_USE int session_change_password(struct auth *a, const struct principal *p,
                                          const char *current, const char *password,
                                          struct tokens *ret, struct err *e);

/* End every token of a user, within the caller's transaction; auth_changed once it is committed. */
WIND_MUST_USE int session_end_all(struct db_tx *tx, int64_t user_id, struct err *e);
