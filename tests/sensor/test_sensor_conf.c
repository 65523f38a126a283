#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sensor/sensor_conf.h"

static struct sensor_conf conf;
static struct sensor_args args;
static struct err e;

/* Read a command line of words separated by blanks, without the program's name. */
static int from(const char *line)
{
    static char words[4096];
    char *argv[256] = {(char *)(uintptr_t) "wind-sensor"};
    int argc = 1;

    (void)snprintf(words, sizeof(words), "%s", line);
    for (char *at = words, *word; (word = strsep(&at, " ")) != NULL;)
        if (*word != '\0')
            argv[argc++] = word;
    memset(&conf, 0, sizeof(conf));
    memset(&e, 0, sizeof(e));
    optind = 0; /* glibc: start again */
    return sensor_conf_from_args(argc, argv, &conf, &args, &e);
}

static void refused(const char *line, int code, const char *words)
{
    const int r = from(line);

    cr_assert(code == 0 ? r < 0 && r != CLI_USAGE : r == code, "%s: %d", line, r);
    cr_assert(strstr(e.text, words) != NULL, "%s: '%s' lacks '%s'", line, e.text, words);
}

Test(sensor_conf, every_setting_has_a_section_a_default_and_a_sentence)
{
    for (const struct conf_key *k = sensor_keys; k->name != NULL; k++) {
        cr_assert(k->help != NULL && strlen(k->help) > 10, "%s", k->name);
        cr_assert(k->help[strlen(k->help) - 1] == '.', "%s: '%s'", k->name, k->help);
        cr_assert(strchr(k->name, '.') != NULL || strcmp(k->name, "home_nets") == 0, "%s", k->name);
        for (const struct conf_key *other = k + 1; other->name != NULL; other++)
            cr_assert(strcmp(k->name, other->name) != 0 && k->offset != other->offset, "%s twice",
                      k->name);
    }
}

Test(sensor_conf, the_defaults_load_and_are_what_the_readme_says)
{
    cr_assert_eq(from("-r x.pcap"), 0, "%s", e.text);
    cr_assert(conf.flow_max == 1000000 && conf.flow_idle == 120000000000 &&
              conf.ring_size == 16 << 20 && conf.home_nets.n == 4 && conf.dpi_enabled);
    cr_assert_str_eq(args.pcap, "x.pcap");
    cr_assert_str_eq(args.dir, ".");
    cr_assert_neq(conf.name[0], '\0'); /* the host's */
}

/* As --print-config prints it; to be freed. */
static char *printed(const struct sensor_conf *c)
{
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);

    conf_print(sensor_keys, c, f);
    (void)fclose(f);
    return text;
}

Test(sensor_conf, what_it_prints_reads_back_the_same)
{
    static struct sensor_conf again;
    char path[] = "/tmp/wind-conf-XXXXXX";

    cr_assert_eq(from("-r x --set flow.max=5000 --set sensor.name=edge-7 --set flow.idle=90s "
                      "--set analysis.level=detectors --set spool.max=3mb --set anomaly.p_max=0.01 "
                      "--set home_nets=10.1.0.0/16,fd00::/8 --set dpi.enabled=no "
                      "--set flow.linger=250ms"),
                 0, "%s", e.text);
    char *text = printed(&conf);
    const int fd = mkstemp(path);
    cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    (void)close(fd);
    cr_assert_eq(conf_defaults(sensor_keys, &again, &e), 0);
    cr_assert_eq(conf_load(sensor_keys, &again, path, &e), 0, "%s", e.text);
    char *text_again = printed(&again);
    cr_assert_str_eq(text, text_again);
    cr_assert(again.flow_max == 5000 && again.flow_linger == 250000000 && !again.dpi_enabled &&
              again.home_nets.n == 2 && strcmp(again.name, "edge-7") == 0);
    (void)unlink(path);
    free(text_again);
    free(text);
}

Test(sensor_conf, files_environment_and_command_line_overrule_each_other_in_this_order)
{
    char path[] = "/tmp/wind-conf-XXXXXX", line[256];
    const int fd = mkstemp(path);
    static const char yaml[] = "flow:\n  max: 2000\n  idle: 50s\n  linger: 1s\n";

    cr_assert_eq(write(fd, yaml, sizeof(yaml) - 1), (ssize_t)sizeof(yaml) - 1);
    (void)close(fd);
    (void)setenv("WIND_FLOW__IDLE", "60s", 1);
    (void)setenv("WIND_FLOW__MAX", "3000", 1);
    (void)snprintf(line, sizeof(line), "-r x -c %s --set flow.max=4000", path);
    cr_assert_eq(from(line), 0, "%s", e.text);
    cr_assert(conf.flow_max == 4000 && conf.flow_idle == 60000000000 &&
              conf.flow_linger == 1000000000);
    (void)unlink(path);
}

Test(sensor_conf, options_are_taken)
{
    cr_assert_eq(
        from("-r - -l out -q --features rows.csv --run-id 7 --speed 2.5 --user a --group b"), 0,
        "%s", e.text);
    cr_assert(strcmp(args.pcap, "-") == 0 && strcmp(args.dir, "out") == 0 && args.quiet);
    cr_assert(strcmp(args.features, "rows.csv") == 0 && strcmp(args.run_id, "7") == 0);
    cr_assert(args.speed == 2.5 && strcmp(args.user, "a") == 0 && strcmp(args.group, "b") == 0);
    cr_assert_eq(from("-i eth7"), 0, "%s", e.text);
    cr_assert(args.pcap == NULL && conf.interfaces.n == 1 &&
              strcmp(conf.interfaces.item[0], "eth7") == 0);
}

Test(sensor_conf, a_wrong_command_line_is_told_apart_from_a_wrong_configuration)
{
    refused("", CLI_USAGE, "-r FILE");
    refused("-r x -i eth0", CLI_USAGE, "exclude each other");
    refused("--what", CLI_USAGE, "no such option '--what'");
    refused("-Z", CLI_USAGE, "no such option '-Z'");
    refused("-r", CLI_USAGE, "'-r' needs a value");
    refused("--speed", CLI_USAGE, "'--speed' needs a value");
    refused("x.pcap", CLI_USAGE, "given as -r x.pcap");
    refused("-r x --speed fast", CLI_USAGE, "'fast' is not a number above 0");
    refused("-r x --speed 0", CLI_USAGE, "--speed");
    refused("-r x --speed nan", CLI_USAGE, "--speed");
    refused("-r x --set flow.maxx=5", 0, "did you mean 'flow.max'");
    refused("-r x --set flow.max=5", 0, "flow.max");
    refused("-r x -c /nowhere.yaml", 0, "/nowhere.yaml");
}

Test(sensor_conf, values_that_do_not_go_together_are_refused)
{
    refused("-r x --set ring.flows=100000", 0, "ring.flows: 100000 bytes is not a power of two");
    refused("-r x --set ring.alerts=3mb", 0, "ring.alerts: 3145728 bytes");
    refused("-r x --set anomaly.p_max=often", 0, "'often' is not a number from 0 to 1");
    refused("-r x --set anomaly.p_max=1.5", 0, "anomaly.p_max");
    refused("-r x --set anomaly.p_max=nan", 0, "anomaly.p_max");
    refused("-r x --set home_nets=10.0.0.0/40", 0, "home_nets: ");
    refused("-r x --set uplink.url=http://127.0.0.1:8080", 0, "uplink.key_file");
    refused("-r x --set detect.beacon_min=2h", 0, "detect.beacon_min is above detect.beacon_max");
}

Test(sensor_conf, sixty_four_settings_are_the_most_one_command_line_takes)
{
    char line[4096] = "-r x";

    for (int i = 0; i < 64; i++)
        (void)strncat(line, " --set flow.max=2000", sizeof(line) - strlen(line) - 1);
    cr_assert_eq(from(line), 0, "%s", e.text);
    (void)strncat(line, " --set flow.max=2000", sizeof(line) - strlen(line) - 1);
    refused(line, CLI_USAGE, "--set: more than 64");
}
