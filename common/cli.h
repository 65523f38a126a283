/*
 * cli.h - the command line of a program is one struct plus one table that describes it.
 *
 * Why      -c, -T, -v, -V, --set, --print-config and --help mean the same in every program, and
 *          the same mistake gets the same sentence.
 * Owns     Nothing: texts are borrowed from argv.
 * Threads  Start-up only; one command line at a time (getopt's state is global).
 * Bounds   CLI_OPTIONS_MAX options in a table, CLI_SET_MAX times --set.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/conf.h"

#define CLI_OPTIONS_MAX 32
#define CLI_SET_MAX     64

/* Outcome of parsing: --help, -V, -T or --print-config said what was asked; end with 0. */
#define CLI_DONE 1
/* Code of a failure that is the caller's way of calling. */
#define CLI_USAGE (-4096)

/* What main() returns besides EXIT_SUCCESS and EXIT_FAILURE. */
enum { CLI_EXIT_USAGE = 2, CLI_EXIT_CONFIGURATION = 3 };

/* Take the value of an option (or a word that is none) into `field`. 0, CLI_USAGE with a sentence.
 */
typedef int cli_take(void *field, const char *value, struct err *e);

enum cli_type {
    CLI_TYPE_END, /* ends a table */
    CLI_TYPE_FLAG,
    CLI_TYPE_TEXT,
    CLI_TYPE_TAKE,
    CLI_TYPE_HELP,
    CLI_TYPE_VERSION,
};

struct cli_option {
    const char *name; /* long, without the dashes; NULL: it has a letter only */
    char letter;      /* 0: it has a long name only */
    enum cli_type type;
    size_t offset; /* of the field in the caller's struct */
    cli_take *take;
};

/* The _Generic makes a wrong field type a compile error instead of a wild write. */
/* clang-format off */
#define CLI_FLAG(S, field, long_name, short_name) { \
    .name = (long_name), .letter = (short_name), .type = CLI_TYPE_FLAG, \
    .offset = _Generic(((S *)0)->field, bool: offsetof(S, field)) }
#define CLI_TEXT(S, field, long_name, short_name) { \
    .name = (long_name), .letter = (short_name), .type = CLI_TYPE_TEXT, \
    .offset = _Generic(((S *)0)->field, const char *: offsetof(S, field)) }
#define CLI_TAKE(S, field, long_name, short_name, function) { \
    .name = (long_name), .letter = (short_name), .type = CLI_TYPE_TAKE, \
    .offset = offsetof(S, field), .take = (function) }
#define CLI_HELP    {.name = "help", .letter = 'h', .type = CLI_TYPE_HELP}
#define CLI_VERSION {.name = "version", .letter = 'V', .type = CLI_TYPE_VERSION}
#define CLI_END     {.type = CLI_TYPE_END}
/* The rows of a program with settings; `field` is its struct cli_conf. */
#define CLI_CONF(S, field) \
    CLI_HELP, CLI_VERSION, \
    CLI_TEXT(S, field.file, NULL, 'c'), \
    CLI_FLAG(S, field.is_test, NULL, 'T'), \
    CLI_FLAG(S, field.is_verbose, NULL, 'v'), \
    CLI_FLAG(S, field.is_print, "print-config", 0), \
    CLI_TAKE(S, field, "set", 0, cli_take_set)
/* clang-format on */

struct cli {
    const char *program; /* its name */
    const char *help;    /* what --help prints */
    const struct cli_option *options;
    cli_take *take_word; /* gets the whole struct; NULL: there are no words but options */
};

/*
 * Options and words in the order they are written, into `out`, which has its defaults already.
 * 0, CLI_DONE, CLI_USAGE.
 */
WIND_MUST_USE int cli_parse(const struct cli *cli, int argc, char **argv, void *out, struct err *e);

/* What the command line says about the settings. */
struct cli_conf {
    const char *file; /* -c, or NULL */
    const char *set[CLI_SET_MAX];
    size_t n_set;
    bool is_test, is_print, is_verbose;
};

cli_take cli_take_set;

/* Where settings are without -c; both need not exist, and NULL means none. */
struct cli_places {
    const char *file, *dir;
};

/*
 * Settings by `keys` into `out`, the later beats the earlier: defaults, -c or else `places`, the
 * environment (WIND_SECTION__KEY), --set. Starts the log, which -v makes say more.
 */
WIND_MUST_USE int cli_conf_load(const struct cli_conf *c, const struct conf_key *keys,
                                const struct cli_places *places, void *out, struct err *e);

/* Answer --print-config: CLI_DONE, or 0 when nobody asks. */
WIND_MUST_USE int cli_conf_printed(const struct cli_conf *c, const struct conf_key *keys,
                                   const void *conf);

/* Answer -T, when all checks are behind: CLI_DONE, or 0 when nobody asks. */
WIND_MUST_USE int cli_conf_tested(const struct cli_conf *c, const char *program);
