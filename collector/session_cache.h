/*
 * session_cache.h - what the database said about access tokens, for a few seconds.
 *
 * Why      A token that was good a moment ago is good now unless somebody has said otherwise,
 *          and whoever ends a session, a role or an account says so (CACHE_CREDENTIALS).
 *          Asking the database again costs more than the rest of a request.
 * Owns     Copies of principals, and of what /api/auth/me answers.
 * Threads  Any; one short lock.
 * Bounds   SESSION_CACHE_TOKENS tokens, SESSION_CACHE_USERS answers; CACHE_KEPT_S seconds each.
 *          The one kept longest gives way.
 *
 * Nothing is believed while messages of other collectors may be missing (cache_is_current).
 */
#pragma once

#include "collector/auth.h"
#include "collector/cache.h"
#include "common/buf.h"
#include "common/err.h"

#define SESSION_CACHE_TOKENS 2048
#define SESSION_CACHE_USERS  256
#define SESSION_CACHE_ANSWER 2048 /* bytes */

struct session_cache;

WIND_MUST_USE int session_cache_new(struct session_cache **ret, struct cache *cache, struct err *e);
struct session_cache *session_cache_free(struct session_cache *c);
WIND_DEFINE_FREE(session_cache)

/* To be taken before the database is asked, and handed over with what it said. */
uint64_t session_cache_heard(const struct session_cache *c);

/* Also finds what has expired since: look at expires_s. */
bool session_cache_get(struct session_cache *c, const char *token, struct principal *ret);
void session_cache_put(struct session_cache *c, uint64_t since, const char *token,
                       const struct principal *p);

/* Tokens that were found, and not, so far; for /metrics. */
void session_cache_print(const struct session_cache *c, struct buf *out);

/* The answer to this user's /api/auth/me, appended. */
bool session_cache_answer(struct session_cache *c, int64_t user_id, struct buf *into);
void session_cache_put_answer(struct session_cache *c, uint64_t since, int64_t user_id,
                              const char *text, size_t n);
