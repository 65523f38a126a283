#include "common/cli.h"

#include <criterion/criterion.h>
#include <string.h>

struct args {
    struct cli_conf conf;
    const char *name;
    bool quiet;
    int total;
    char order[64];
};

struct settings {
    int64_t size;
};

static const struct conf_key keys[] = {
    CONF_INT(struct settings, size, "a.size", "1", 0, 9, "A number."),
    {.name = NULL},
};

static int take_number(void *field, const char *value, struct err *e)
{
    if (value[0] < '0' || value[0] > '9')
        return err_set(e, CLI_USAGE, "'%s' is no digit", value);
    *(int *)field += value[0] - '0';
    return 0;
}

static int take_word(void *all, const char *word, struct err *e)
{
    struct args *a = all;

    if (strcmp(word, "bad") == 0)
        return err_set(e, CLI_USAGE, "no '%s' here", word);
    (void)strcat(a->order, word);
    (void)strcat(a->order, a->quiet ? "!" : ".");
    return 0;
}

static const struct cli_option options[] = {
    CLI_CONF(struct args, conf),
    CLI_TEXT(struct args, name, "name", 'n'),
    CLI_FLAG(struct args, quiet, "quiet", 'q'),
    CLI_TAKE(struct args, total, "add", 'a', take_number),
    CLI_END,
};

static int parse(const struct cli *cli, const char *line, struct args *a, struct err *e)
{
    static char words[1024], program[] = "prog";
    char *argv[80] = {program};
    int argc = 1;

    (void)strcpy(words, line);
    for (char *p = strtok(words, " "); p != NULL; p = strtok(NULL, " "))
        argv[argc++] = p;
    *a = (struct args){.total = 0};
    return cli_parse(cli, argc, argv, a, e);
}

static const struct cli with_words = {"prog", "help\n", options, take_word};
static const struct cli without_words = {"prog", "help\n", options, NULL};

Test(cli, options_have_long_and_short_forms)
{
    struct args a;
    struct err e = {0};

    cr_assert_eq(parse(&with_words, "-n x -qa1 --add=2 --add 3", &a, &e), 0, "%s", e.text);
    cr_expect_str_eq(a.name, "x");
    cr_expect(a.quiet);
    cr_expect_eq(a.total, 6);
    cr_assert_eq(parse(&with_words, "", &a, &e), 0);
    cr_expect_null(a.name);
    cr_expect_not(a.quiet);
}

Test(cli, words_come_in_the_order_they_are_written)
{
    struct args a;
    struct err e = {0};

    cr_assert_eq(parse(&with_words, "a b -q c -- -d", &a, &e), 0, "%s", e.text);
    cr_expect_str_eq(a.order, "a.b.c!-d!");
}

Test(cli, a_mistake_is_a_sentence)
{
    static const struct {
        const struct cli *cli;
        const char *line, *sentence;
    } wrong[] = {
        {&with_words, "--what", "no such option '--what'; see prog --help"},
        {&with_words, "-qZ", "no such option '-Z'; see prog --help"},
        {&with_words, "--name", "'--name' needs a value; see prog --help"},
        {&with_words, "-qn", "'-n' needs a value; see prog --help"},
        {&with_words, "--quiet=yes", "no such option '--quiet=yes'; see prog --help"},
        {&with_words, "--add x", "--add: 'x' is no digit"},
        {&with_words, "a bad", "no 'bad' here"},
        {&without_words, "-q a", "'a' is no option; see prog --help"},
        {&without_words, "-- -q", "'-q' is no option; see prog --help"},
    };

    for (size_t i = 0; i < WIND_ARRAY_SIZE(wrong); i++) {
        struct args a;
        struct err e = {0};
        cr_expect_eq(parse(wrong[i].cli, wrong[i].line, &a, &e), CLI_USAGE, "%s", wrong[i].line);
        cr_expect_str_eq(e.text, wrong[i].sentence);
    }
}

Test(cli, set_beats_the_default_and_is_bounded)
{
    static const struct cli_places nowhere = {NULL, NULL};
    struct settings s;
    struct args a;
    struct err e = {0};

    cr_assert_eq(parse(&with_words, "--set a.size=3 --set a.size=4", &a, &e), 0, "%s", e.text);
    cr_assert_eq(cli_conf_load(&a.conf, keys, &nowhere, &s, &e), 0, "%s", e.text);
    cr_expect_eq(s.size, 4);
    cr_expect_eq(cli_conf_printed(&a.conf, keys, &s), 0);
    cr_expect_eq(cli_conf_tested(&a.conf, "prog"), 0);

    for (int i = 0; i < CLI_SET_MAX; i++)
        cr_expect_eq(cli_take_set(&a.conf, "a.size=1", &e), i < CLI_SET_MAX - 2 ? 0 : CLI_USAGE);
}

Test(cli, testing_and_printing_are_answers)
{
    static const struct cli_places nowhere = {NULL, NULL};
    struct settings s;
    struct args a;
    struct err e = {0};

    cr_assert_eq(parse(&with_words, "-T --print-config", &a, &e), 0, "%s", e.text);
    cr_assert_eq(cli_conf_load(&a.conf, keys, &nowhere, &s, &e), 0, "%s", e.text);
    cr_expect_eq(cli_conf_printed(&a.conf, keys, &s), CLI_DONE);
    cr_expect_eq(cli_conf_tested(&a.conf, "prog"), CLI_DONE);
    cr_expect_eq(parse(&with_words, "--help --what", &a, &e), CLI_DONE);
    cr_expect_eq(parse(&with_words, "-V", &a, &e), CLI_DONE);
}
