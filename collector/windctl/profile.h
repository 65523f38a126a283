/*
 * profile.h - where windctl is logged in: ~/.config/wind/windctl.json, for its owner's eyes only.
 *
 * Why      Nobody types a password for every command.
 * Owns     The file, and the lock beside it while profile_lock is held.
 * Threads  One. Several windctl at a time: a refresh token may be used once only, so whoever
 *          refreshes holds the lock and reads the file again first.
 * Bounds   Texts as below; a longer one is an error, never cut.
 */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"

#define PROFILE_TOKEN 4096

struct profile {
    char path[PATH_MAX];
    char url[512], ca_file[PATH_MAX], username[260];
    char access[PROFILE_TOKEN], refresh[PROFILE_TOKEN]; /* "" = not logged in */
    int64_t expires_s;                                  /* of access; Unix time */
    unsigned mode;                                      /* of the file; 0 = there is none */
    bool is_insecure;
};

/* Under $XDG_CONFIG_HOME, or ~/.config. No file is no failure: texts are empty then. */
WIND_MUST_USE int profile_load(struct profile *p, struct err *e);

/* Mode 0600; makes the folder. */
WIND_MUST_USE int profile_save(struct profile *p, struct err *e);

/* Waits for others. Returns a descriptor; closing it unlocks. */
WIND_MUST_USE int profile_lock(const struct profile *p, struct err *e);

/* Forget the tokens, in memory. */
void profile_wipe(struct profile *p);
