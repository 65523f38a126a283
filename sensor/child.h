/*
 * child.h - how analyser and uplink begin, right after the fork.
 *
 * Why      Both must end with the supervisor, leave signals to it, and hold less than it does.
 * Owns     Nothing.
 * Threads  Before the first thread of the process.
 */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "common/err.h"

struct child {
    const char *name;         /* for top and ps */
    pid_t parent;             /* the supervisor */
    const char *user, *group; /* NULL: stay */
    uint64_t capabilities;    /* the only ones to keep: bit CAP_x */
};

WIND_MUST_USE int child_begin(const struct child *c, struct err *e);
