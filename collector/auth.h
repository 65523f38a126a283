/*
 * auth.h - who is asking, and what may they do.
 *
 * Why      Roles, scopes and permissions are one table, checked in one place: the router,
 *          before a handler runs. Handlers never look at a role.
 * Owns     The signing key. Users, sessions and keys live in the database.
 * Threads  Any: every function is safe to call from all server threads.
 * Bounds   Sessions per user (auth.sessions); concurrent password hashes (auth.hashes),
 *          a caller beyond waits up to 2 s and then gets -EBUSY.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"

/* PERMISSION(enum name, text in scopes and in 403 answers, what it allows) */
#define AUTH_PERMISSIONS(PERMISSION)                                                               \
    PERMISSION(ALERTS_READ, "alerts:read", "see alerts")                                           \
    PERMISSION(ALERTS_WRITE, "alerts:write", "create and triage alerts")                           \
    PERMISSION(INCIDENTS_READ, "incidents:read", "see incidents")                                  \
    PERMISSION(INCIDENTS_WRITE, "incidents:write", "create and work on incidents")                 \
    PERMISSION(SENSORS_READ, "sensors:read", "see sensors and statistics")                         \
    PERMISSION(USERS_READ, "users:read", "see users")                                              \
    PERMISSION(USERS_WRITE, "users:write", "create and change users")                              \
    PERMISSION(KEYS_READ, "keys:read", "see API keys")                                             \
    PERMISSION(KEYS_WRITE, "keys:write", "create and revoke API keys")                             \
    PERMISSION(SEARCH_WRITE, "search:write", "fill the text index anew")                           \
    PERMISSION(INGEST, "ingest", "post batches as a sensor")

enum permission {
    PERMISSION_NONE, /* everybody, no token needed */
    PERMISSION_SELF, /* anybody who is logged in (a user, not a key) */
#define PERMISSION(name, text, help) PERMISSION_##name,
    AUTH_PERMISSIONS(PERMISSION)
#undef PERMISSION
        PERMISSIONS
};

enum role { ROLE_VIEWER, ROLE_ANALYST, ROLE_ADMIN, ROLES };

enum principal_kind { PRINCIPAL_NONE, PRINCIPAL_USER, PRINCIPAL_KEY };

#define PRINCIPAL_SENSOR 129

struct principal {
    enum principal_kind kind;
    int64_t id;    /* users.id or api_keys.id */
    char name[64]; /* user name, or the key's name */
    enum role role;
    uint32_t permissions; /* bit (1 << enum permission) */
    char jti[37], sid[37];
    int64_t generation;            /* of the user's password, as the token knows it */
    int64_t expires_s;             /* Unix time when the token or key ends; 0 = never */
    char sensor[PRINCIPAL_SENSOR]; /* the one that a key speaks for; "" = any */
};

extern const char *const role_words[ROLES + 1];
extern const char *const permission_words[]; /* every scope a key can have; ends with NULL */

const char *permission_name(enum permission p);
uint32_t role_permissions(enum role r);
bool principal_may(const struct principal *p, enum permission need);
