/*
 * options.h - the command line of windctl.
 *
 * Owns     Nothing: texts are borrowed from argv.
 * Threads  One.
 * Bounds   OPTIONS_WORDS words that are no options.
 */
#pragma once

#include <stdbool.h>

#include "collector/windctl/screen.h"
#include "common/cli.h"

#define OPTIONS_WORDS 4
#define OPTIONS_LIMIT 100000

/* A failure that main() ends with CLI_EXIT_CONFIGURATION, as CLI_USAGE with CLI_EXIT_USAGE. */
#define OPTIONS_CONFIG (-4097)

struct options {
    const char *word[OPTIONS_WORDS]; /* noun, verb, ... */
    size_t n_words;
    const char *url, *query, *username, *password_file, *key_file, *ca_file;
    enum screen_format format;
    long limit;
    bool has_reasons, is_insecure, wants_help, is_forced;
    struct cli_conf conf; /* -c and --set, of the collector: for windctl db */
};

/* 0, CLI_DONE (-V), CLI_USAGE. */
WIND_MUST_USE int options_parse(int argc, char **argv, struct options *ret_options, struct err *e);

/* The part of --help that is the same for all commands. */
extern const char options_help[];
