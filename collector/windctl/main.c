/* windctl: alerts, incidents, sensors and the state of it all, for operators. */
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>

#include "collector/windctl/command.h"
#include "collector/windctl/text.h"

static int run(struct ctl *c, struct err *e)
{
    const struct verb *verb = NULL;
    WIND_AUTO(client) struct client *client = NULL;

    int r = command_find(&c->options, &c->noun, &verb, &c->arg, e);
    if (r < 0)
        return r;
    if (verb->run == command_login && c->arg != NULL)
        c->options.url = c->arg;
    screen_init(&c->screen, stdout, c->options.format);
    c->screen.has_reasons = c->options.has_reasons;
    if (c->noun->is_local)
        return verb->run(c, e);
    r = profile_load(&c->profile, e);
    if (r < 0)
        return err_wrap(e, OPTIONS_CONFIG, "settings");
    r = client_new(&client, &c->options, &c->profile, e);
    if (r < 0)
        return r;
    c->client = client;
    return verb->run(c, e);
}

/* What a collector says may be from anywhere: safe for a terminal, like all the rest. */
static void complain(const char *sentence)
{
    struct buf safe;

    buf_init(&safe, 8192);
    text_safe(&safe, sentence, strlen(sentence));
    (void)fprintf(stderr, "windctl: %s\n", buf_text(&safe));
    buf_done(&safe);
}

int main(int argc, char **argv)
{
    static struct ctl c; /* static: zeroed, and large */
    struct err e = {0};

    if (setlocale(LC_CTYPE, "C.UTF-8") == NULL)
        (void)setlocale(LC_CTYPE, "");
    int r = options_parse(argc, argv, &c.options, &e);
    if (r == CLI_DONE)
        return EXIT_SUCCESS;
    if (r == 0 && c.options.wants_help) {
        command_help(stdout, command_noun(c.options.word[0]));
        return EXIT_SUCCESS;
    }
    if (r == 0)
        r = run(&c, &e);
    profile_wipe(&c.profile);
    if (r < 0 && e.text[0] != '\0')
        complain(e.text);
    if (r == CLI_USAGE)
        return CLI_EXIT_USAGE;
    if (r == OPTIONS_CONFIG)
        return CLI_EXIT_CONFIGURATION;
    return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
