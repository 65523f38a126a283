#include "collector/windctl/options.h"

#include <stdlib.h>
#include <string.h>

#include "common/cli.h"

const char options_help[] =
    "Options:\n"
    "  -o FORMAT             table (default), json or csv\n"
    "  -q QUERY              search: src:10.0.0.0/8 -status:closed score:>0.9 sort:-time words\n"
    "  --limit N             at most so many rows (default 50)\n"
    "  --why                 tables of alerts: with the reasons\n"
    "  --url URL             the collector; default: where you logged in, http://127.0.0.1:8080\n"
    "  --username NAME       log in as NAME (default admin)\n"
    "  --password-file FILE  log in with the password in FILE; else it is asked for, or read from\n"
    "                        standard input when that is no terminal\n"
    "  --key-file FILE       use the API key in FILE instead of a login\n"
    "  --ca-file FILE        certificates to trust; default: the system's\n"
    "  --insecure            allow plain http to another machine: the network can read along\n"
    "  -c FILE               windctl db: the collector's settings; default\n"
    "                        /etc/wind/collector.yaml if it is there\n"
    "  --set KEY=VALUE       windctl db: one of them, such as db.path=/var/lib/wind/wind.db\n"
    "  --force               windctl db restore: replace what is there\n"
    "  -h, --help            help; also windctl NOUN --help\n"
    "  -V, --version         version\n"
    "\n"
    "Exit: 0 fine, 1 failed, 2 wrong way of calling, 3 not logged in or broken settings.\n";

static int take_format(void *field, const char *text, struct err *e)
{
    static const char *const names[] = {
        [SCREEN_TABLE] = "table", [SCREEN_JSON] = "json", [SCREEN_CSV] = "csv"};

    for (size_t i = 0; i < WIND_ARRAY_SIZE(names); i++)
        if (strcmp(text, names[i]) == 0) {
            *(enum screen_format *)field = (enum screen_format)i;
            return 0;
        }
    return err_set(e, CLI_USAGE, "'%s': there are table, json and csv", text);
}

static int take_limit(void *field, const char *text, struct err *e)
{
    long *const limit = field;
    char *end = NULL;

    *limit = strtol(text, &end, 10);
    if (end == text || *end != '\0' || *limit < 1 || *limit > OPTIONS_LIMIT)
        return err_set(e, CLI_USAGE, "'%s' is not a number from 1 to %d", text, OPTIONS_LIMIT);
    return 0;
}

static int take_word(void *all, const char *word, struct err *e)
{
    struct options *o = all;

    if (o->n_words == OPTIONS_WORDS)
        return err_set(e, CLI_USAGE, "'%s' is one word too many; see windctl --help", word);
    o->word[o->n_words++] = word;
    return 0;
}

#define O struct options

static const struct cli_option options[] = {
    CLI_FLAG(O, wants_help, "help", 'h'), /* not CLI_HELP: it depends on the words */
    CLI_VERSION,
    CLI_TAKE(O, format, "output", 'o', take_format),
    CLI_TEXT(O, query, "query", 'q'),
    CLI_TAKE(O, limit, "limit", 0, take_limit),
    CLI_FLAG(O, has_reasons, "why", 0),
    CLI_TEXT(O, url, "url", 0),
    CLI_TEXT(O, username, "username", 0),
    CLI_TEXT(O, password_file, "password-file", 0),
    CLI_TEXT(O, key_file, "key-file", 0),
    CLI_TEXT(O, ca_file, "ca-file", 0),
    CLI_FLAG(O, is_insecure, "insecure", 0),
    CLI_TEXT(O, conf.file, NULL, 'c'),
    CLI_TAKE(O, conf, "set", 0, cli_take_set),
    CLI_FLAG(O, is_forced, "force", 0),
    CLI_END,
};

int options_parse(int argc, char **argv, struct options *ret_options, struct err *e)
{
    static const struct cli cli = {
        .program = "windctl", .options = options, .take_word = take_word};

    *ret_options = (struct options){.limit = 50};
    return cli_parse(&cli, argc, argv, ret_options, e);
}
