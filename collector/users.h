/*
 * users.h - the people who may log in.
 *
 * Why      Two resources and the first start all make users: one place knows their table.
 * Owns     Nothing: users live in the database.
 * Threads  Any.
 * Bounds   USERS_MAX users; names USERNAME_MAX bytes.
 */
#pragma once

#include <jansson.h>

#include "collector/auth.h"
#include "collector/schema.h"
#include "collector/session.h"

#define USERS_MAX    10000
#define USERNAME_MAX 63

/* Outcomes. */
#define USERS_ABSENT   1
#define USERS_TAKEN    2 /* the name */
#define USERS_TOO_MANY 3
#define USERS_LAST     4 /* it would leave no active admin */

struct user_draft {
    const char *username, *password, *email; /* email may be NULL */
    enum role role;
};

extern const struct schema user_schema;

/* Lower case; true if it is 1..USERNAME_MAX letters, digits, '.', '-', '_', '@'. */
bool username_normalise(const char *from, char ret_name[USERNAME_MAX + 1]);

/*
 * NULL if the password may be used, else what is wrong with it: PASSWORD_MIN characters to
 * PASSWORD_MAX bytes, and nothing that is tried first.
 */
const char *password_fault(const char *username, const char *password);

/* 0, USERS_TAKEN or USERS_TOO_MANY. The draft has been checked. */
WIND_MUST_USE int users_create(struct auth *a, const struct user_draft *draft, json_t **ret_user,
                               struct err *e);

/* 0 or USERS_ABSENT. */
WIND_MUST_USE int users_get(struct db *db, int64_t id, json_t **ret_user, struct err *e);

/* By id, after `after`; at most `limit`. *ret_next is 0 at the end. */
WIND_MUST_USE int users_list(struct db *db, int64_t after, int64_t limit, json_t **ret_list,
                             int64_t *ret_next, struct err *e);

/* NULL / -1: leave it. Losing a role or the account ends all tokens of the user. */
struct user_change {
    const char *email, *password;
    bool sets_email;
    int role, is_active;
};
/* 0, USERS_ABSENT or USERS_LAST. */
WIND_MUST_USE int users_change(struct auth *a, int64_t id, const struct user_change *change,
                               struct err *e);

/* If there is no user at all: make `admin` with a random password, which is given back. 0, or
 * USERS_TAKEN: there are users. */
WIND_MUST_USE int users_first_admin(struct auth *a, char ret_password[21], struct err *e);
