#include "common/cli.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"

#define WORD      1   /* getopt_long's value for a word that is no option */
#define FIRST_ROW 256 /* above every letter: row i of the table is FIRST_ROW + i */

/* The table in getopt's two forms. */
struct forms {
    char letters[2 + 2 * CLI_OPTIONS_MAX + 1];
    struct option names[CLI_OPTIONS_MAX + 1];
    size_t n;
};

static bool has_value(const struct cli_option *o)
{
    return o->type == CLI_TYPE_TEXT || o->type == CLI_TYPE_TAKE;
}

static void make_forms(struct forms *f, const struct cli_option *options)
{
    size_t names = 0, letters = 0;

    *f = (struct forms){.n = 0};
    f->letters[letters++] = '-'; /* words come in their place, not after all options */
    f->letters[letters++] = ':'; /* a missing value is told from an unknown option */
    for (const struct cli_option *o = options; o->type != CLI_TYPE_END; o++, f->n++) {
        WIND_CHECK(f->n < CLI_OPTIONS_MAX);
        if (o->name != NULL)
            f->names[names++] =
                (struct option){.name = o->name,
                                .has_arg = has_value(o) ? required_argument : no_argument,
                                .val = FIRST_ROW + (int)f->n};
        if (o->letter != 0) {
            f->letters[letters++] = o->letter;
            if (has_value(o))
                f->letters[letters++] = ':';
        }
    }
}

static int take_option(const struct cli *cli, const struct cli_option *o, void *out, struct err *e)
{
    void *const field = (char *)out + o->offset;

    switch (o->type) {
    case CLI_TYPE_FLAG:
        *(bool *)field = true;
        return 0;
    case CLI_TYPE_TEXT:
        *(const char **)field = optarg;
        return 0;
    case CLI_TYPE_TAKE: {
        const int r = o->take(field, optarg, e);
        return r >= 0 || o->name == NULL ? r : err_wrap(e, r, "--%s", o->name);
    }
    case CLI_TYPE_HELP:
        (void)fputs(cli->help, stdout);
        return CLI_DONE;
    case CLI_TYPE_VERSION:
        (void)printf("%s " WIND_VERSION "\n", cli->program);
        return CLI_DONE;
    case CLI_TYPE_END:
        break;
    }
    return 0;
}

static const struct cli_option *find_option(const struct cli *cli, int found)
{
    const struct cli_option *o = cli->options;

    if (found >= FIRST_ROW)
        return &o[found - FIRST_ROW];
    while (o->letter != found)
        o++;
    return o;
}

static int take_word(const struct cli *cli, const char *word, void *out, struct err *e)
{
    if (cli->take_word == NULL)
        return err_set(e, CLI_USAGE, "'%s' is no option; see %s --help", word, cli->program);
    return cli->take_word(out, word, e);
}

/* `letter` is getopt's optopt: what is wrong, where it is one letter of several in a word. */
static int refuse(const struct cli *cli, int found, int letter, const char *word, struct err *e)
{
    const char short_form[] = {'-', (char)letter, '\0'};
    const bool is_short = letter > 0 && letter < FIRST_ROW;

    return err_set(e, CLI_USAGE,
                   found == ':' ? "'%s' needs a value; see %s --help"
                                : "no such option '%s'; see %s --help",
                   is_short ? short_form : word, cli->program);
}

int cli_parse(const struct cli *cli, int argc, char **argv, void *out, struct err *e)
{
    struct forms forms;
    int found, r = 0;

    make_forms(&forms, cli->options);
    optind = 0; /* from the start, also when called again */
    opterr = 0;
    while (r == 0 && (found = getopt_long(argc, argv, forms.letters, forms.names, NULL)) != -1) {
        if (found == ':' || found == '?')
            return refuse(cli, found, optopt, argv[optind - 1], e);
        r = found == WORD ? take_word(cli, optarg, out, e)
                          : take_option(cli, find_option(cli, found), out, e);
    }
    for (; r == 0 && optind < argc; optind++) /* after "--" */
        r = take_word(cli, argv[optind], out, e);
    return r;
}

/* ---------------------------------------------------------------- settings */

int cli_take_set(void *field, const char *value, struct err *e)
{
    struct cli_conf *c = field;

    if (c->n_set == CLI_SET_MAX)
        return err_set(e, CLI_USAGE, "more than %d of them", CLI_SET_MAX);
    c->set[c->n_set++] = value;
    return 0;
}

int cli_conf_load(const struct cli_conf *c, const struct conf_key *keys,
                  const struct cli_places *places, void *out, struct err *e)
{
    log_init(LOG_AUTO, c->is_verbose ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO);
    int r = conf_defaults(keys, out, e);

    if (r == 0 && c->file != NULL)
        r = conf_load(keys, out, c->file, e);
    else if (r == 0 && places->file != NULL && access(places->file, F_OK) == 0)
        r = conf_load(keys, out, places->file, e);
    if (r == 0 && c->file == NULL && places->dir != NULL)
        r = conf_load_dir(keys, out, places->dir, e);
    if (r == 0)
        r = conf_env(keys, out, environ, e);
    for (size_t i = 0; r == 0 && i < c->n_set; i++)
        r = conf_set_pair(keys, out, c->set[i], e);
    return r;
}

int cli_conf_printed(const struct cli_conf *c, const struct conf_key *keys, const void *conf)
{
    if (!c->is_print)
        return 0;
    conf_print(keys, conf, stdout);
    return CLI_DONE;
}

int cli_conf_tested(const struct cli_conf *c, const char *program)
{
    if (!c->is_test)
        return 0;
    (void)printf("%s: the configuration is fine\n", program);
    return CLI_DONE;
}
