/*
 * password.h - passwords as argon2id hashes.
 *
 * Why      A hash costs tens of milliseconds and much memory on purpose; so the number that
 *          runs at once is bounded here, not by luck.
 * Owns     The turnstile, and one hash that nobody's password has: checking an unknown user
 *          against it costs what checking a known one costs.
 * Threads  Any.
 * Bounds   `hashes` at once; others wait up to PASSWORD_WAIT_S, then -EBUSY.
 */
#pragma once

#include <stdint.h>

#include "common/err.h"

#define PASSWORD_TEXT   160 /* an encoded hash with its NUL */
#define PASSWORD_MIN    8
#define PASSWORD_MAX    128
#define PASSWORD_WAIT_S 2

#define PASSWORD_WRONG 1

struct password_conf {
    unsigned hashes; /* at once */
    uint32_t kib, passes;
};

struct passwords;

WIND_MUST_USE int passwords_new(struct passwords **ret, const struct password_conf *conf,
                                struct err *e);
struct passwords *passwords_free(struct passwords *p);
WIND_DEFINE_FREE(passwords)

WIND_MUST_USE int password_hash(struct passwords *p, const char *password,
                                char ret_text[PASSWORD_TEXT], struct err *e);

/* `hash` NULL: nobody's. 0 or PASSWORD_WRONG. */
WIND_MUST_USE int password_check(struct passwords *p, const char *password, const char *hash,
                                 struct err *e);

/* 20 letters and digits, none of which looks like another: about 98 bits. */
void password_random(char ret_text[21]);
