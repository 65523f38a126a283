/*
 * collector_conf.h - the command line and the settings of wind-collector.
 *
 * Why      main() stays short, and a configuration can be tested without starting anything.
 * Owns     Nothing.
 * Threads  Before the first thread.
 */
#pragma once

#include "collector/collector.h"

/* Outcome of collector_conf_from_args: all was said (--help, -V, -T, --print-config). */
#define COLLECTOR_CONF_DONE 1

/* Code of a failure that is the caller's way of calling; all others are the configuration's. */
#define COLLECTOR_CONF_USAGE (-4096)

struct collector_args {
    const char *create_key; /* NULL: serve */
    char scopes[256];       /* for it, separated by spaces */
};

WIND_MUST_USE int collector_conf_from_args(int argc, char **argv, struct collector_conf *ret_conf,
                                           struct collector_args *ret_args, struct err *e);
