/*
 * jwt.h - JSON Web Tokens, HS256 and nothing else.
 *
 * Why      One algorithm, so that no header can choose a weaker one. The signature is checked
 *          before a byte of the token is parsed.
 * Owns     Nothing.
 * Threads  Any.
 * Bounds   A token is at most JWT_MAX bytes.
 */
#pragma once

#include <stdint.h>

#include "common/crypto.h"
#include "common/err.h"

#define JWT_MAX       1024
#define JWT_KEY_BYTES 32

/* Outcomes of jwt_verify. */
#define JWT_EXPIRED 1
#define JWT_INVALID 2 /* not ours: signature, form, algorithm or a claim is wrong */

enum jwt_use { JWT_ACCESS, JWT_REFRESH };

struct jwt_claims {
    enum jwt_use use;
    int64_t user_id;
    int64_t generation; /* of the user's password: a change ends every older token */
    int64_t issued_s, expires_s;
    char jti[UUID_TEXT]; /* this token */
    char sid[UUID_TEXT]; /* the session (the family of refresh tokens) it belongs to */
};

/* -ENOMEM, or -E2BIG (cannot happen with ids of the right length). */
WIND_MUST_USE int jwt_sign(const uint8_t key[JWT_KEY_BYTES], const struct jwt_claims *claims,
                           char ret_token[JWT_MAX]);

/*
 * 0, or an outcome above; *ret_claims is set on 0 and on JWT_EXPIRED. Our own signature on a time
 * to come means that the clock was set back: such an access token counts as expired, so that its
 * owner refreshes it, and a refresh token is as good as its session.
 */
WIND_MUST_USE int jwt_verify(const uint8_t key[JWT_KEY_BYTES], const char *token, int64_t now_s,
                             struct jwt_claims *ret_claims);
