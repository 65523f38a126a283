/*
 * api_key.h - keys for programs: "wind_<id>_<secret>".
 *
 * Why      The id finds the row, so the secret needs no search; only its hash is kept.
 * Owns     Nothing.
 * Threads  Any.
 * Bounds   API_KEY_TEXT bytes a key; API_KEYS_MAX keys in all.
 */
#pragma once

#include <stdint.h>

#include "collector/session.h"
#include "common/err.h"

#define API_KEY_TEXT   80
#define API_KEYS_MAX   10000
#define API_KEY_SCOPES 256

#define API_KEY_TOO_MANY 1

struct api_key_draft {
    const char *name;
    const char *scopes; /* permission names, separated by one space; checked by the caller */
    int64_t created_by; /* 0 = the command line */
    int64_t expires_ns; /* 0 = never */
    const char *sensor; /* it may post as this one only, at most PRINCIPAL_SENSOR - 1; NULL = any */
};

/* 0 or API_KEY_TOO_MANY. The text is shown once and kept nowhere. */
WIND_MUST_USE int api_key_create(struct db *db, const struct api_key_draft *draft,
                                 char ret_text[API_KEY_TEXT], int64_t *ret_id, struct err *e);

/* The bits of a list of scopes; 0 with an unknown or no scope. */
uint32_t api_key_permissions(const char *scopes);
