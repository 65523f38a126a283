/*
 * collector_conf.h - the command line and the settings of wind-collector.
 *
 * Why      main() stays short, and a configuration can be tested without starting anything.
 * Owns     Nothing.
 * Threads  Before the first thread.
 */
#pragma once

#include "collector/collector.h"
#include "common/cli.h"

struct collector_args {
    struct cli_conf conf;
    const char *create_key; /* NULL: serve */
    char scopes[256];       /* for it, separated by spaces */
    const char *sensor;     /* for it; NULL: any */
};

/* The settings alone, checked: of /etc/wind/collector.yaml unless -c names another file. */
WIND_MUST_USE int collector_conf_load(const struct cli_conf *words, struct collector_conf *ret_conf,
                                      struct err *e);

/* 0, CLI_DONE, CLI_USAGE, or another negative: the configuration is wrong. */
WIND_MUST_USE int collector_conf_from_args(int argc, char **argv, struct collector_conf *ret_conf,
                                           struct collector_args *ret_args, struct err *e);
