#include "collector/windctl/options.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

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
    "  -h, --help            help; also windctl NOUN --help\n"
    "  -V, --version         version\n"
    "\n"
    "Exit: 0 fine, 1 failed, 2 wrong way of calling, 3 not logged in or broken settings.\n";

enum { OPT_URL = 256, OPT_LIMIT, OPT_WHY, OPT_USER, OPT_PASSWORD, OPT_KEY, OPT_CA, OPT_INSECURE };

static const struct option longs[] = {
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, 'V'},
    {"output", required_argument, NULL, 'o'},
    {"query", required_argument, NULL, 'q'},
    {"limit", required_argument, NULL, OPT_LIMIT},
    {"why", no_argument, NULL, OPT_WHY},
    {"url", required_argument, NULL, OPT_URL},
    {"username", required_argument, NULL, OPT_USER},
    {"password-file", required_argument, NULL, OPT_PASSWORD},
    {"key-file", required_argument, NULL, OPT_KEY},
    {"ca-file", required_argument, NULL, OPT_CA},
    {"insecure", no_argument, NULL, OPT_INSECURE},
    {NULL, 0, NULL, 0},
};

static int take_format(struct options *o, struct err *e)
{
    static const char *const names[] = {
        [SCREEN_TABLE] = "table", [SCREEN_JSON] = "json", [SCREEN_CSV] = "csv"};

    for (size_t i = 0; i < WIND_ARRAY_SIZE(names); i++)
        if (strcmp(optarg, names[i]) == 0) {
            o->format = (enum screen_format)i;
            return 0;
        }
    return err_set(e, OPTIONS_USAGE, "-o '%s': there are table, json and csv", optarg);
}

static int take_limit(struct options *o, struct err *e)
{
    char *end = NULL;

    o->limit = strtol(optarg, &end, 10);
    if (end == optarg || *end != '\0' || o->limit < 1 || o->limit > OPTIONS_LIMIT)
        return err_set(e, OPTIONS_USAGE, "--limit '%s' is not a number from 1 to %d", optarg,
                       OPTIONS_LIMIT);
    return 0;
}

static const char **text_option(struct options *o, int opt)
{
    switch (opt) {
    case 'q':
        return &o->query;
    case OPT_URL:
        return &o->url;
    case OPT_USER:
        return &o->username;
    case OPT_PASSWORD:
        return &o->password_file;
    case OPT_KEY:
        return &o->key_file;
    case OPT_CA:
        return &o->ca_file;
    default:
        return NULL;
    }
}

static int take(struct options *o, int opt, struct err *e)
{
    const char **text = text_option(o, opt);

    if (text != NULL)
        *text = optarg;
    else if (opt == 'o')
        return take_format(o, e);
    else if (opt == OPT_LIMIT)
        return take_limit(o, e);
    else if (opt == OPT_WHY)
        o->has_reasons = true;
    else if (opt == OPT_INSECURE)
        o->is_insecure = true;
    else if (opt == 'h')
        o->wants_help = true;
    else if (opt == 'V')
        o->wants_version = true;
    return 0;
}

int options_parse(int argc, char **argv, struct options *ret_options, struct err *e)
{
    int opt;

    *ret_options = (struct options){.limit = 50};
    optind = 0; /* from the start, also when called again */
    opterr = 0;
    while ((opt = getopt_long(argc, argv, ":o:q:hV", longs, NULL)) != -1) {
        if (opt == ':')
            return err_set(e, OPTIONS_USAGE, "'%s' needs a value; see windctl --help",
                           argv[optind - 1]);
        if (opt == '?')
            return err_set(e, OPTIONS_USAGE, "no such option '%s'; see windctl --help",
                           argv[optind - 1]);
        const int r = take(ret_options, opt, e);
        if (r < 0)
            return r;
    }
    for (; optind < argc; optind++) {
        if (ret_options->n_words == OPTIONS_WORDS)
            return err_set(e, OPTIONS_USAGE, "'%s' is one word too many; see windctl --help",
                           argv[optind]);
        ret_options->word[ret_options->n_words++] = argv[optind];
    }
    return 0;
}
