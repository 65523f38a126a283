#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/conf.h"
#include "common/time.h"

struct demo {
    bool promiscuous;
    int64_t flow_max, spool_bytes, idle_ns;
    char interface[16];
    struct conf_list nets;
    int level;
};

static const char *const levels[] = {"error", "warn", "info", NULL};

static const struct conf_key demo_keys[] = {
    CONF_BOOL(struct demo, promiscuous, "capture.promiscuous", "yes",
              "See all traffic on the link."),
    CONF_INT(struct demo, flow_max, "flow.max", "1000000", 1024, 100000000,
             "Flows kept per worker."),
    CONF_TIME(struct demo, idle_ns, "flow.idle", "30s", WIND_NS_PER_S, 3600 * WIND_NS_PER_S,
              "Silence that ends a flow."),
    CONF_TEXT(struct demo, interface, "capture.interface", "eth0", "Interface to listen on."),
    CONF_SIZE(struct demo, spool_bytes, "spool.max", "64mb", 1 << 20, INT64_C(1) << 40,
              "Disk kept for what is not delivered."),
    CONF_LIST(struct demo, nets, "home_nets", "10.0.0.0/8, fc00::/7", "Networks of our own."),
    CONF_ENUM(struct demo, level, "log.level", "info", levels, "What is logged."),
    {.name = NULL},
};

static struct demo defaults(void)
{
    struct demo d;

    memset(&d, 0, sizeof(d));
    cr_assert_eq(conf_defaults(demo_keys, &d, NULL), 0);
    return d;
}

static void print(const struct demo *d, char *text, size_t size)
{
    FILE *f = fmemopen(text, size, "w");

    cr_assert(f != NULL);
    conf_print(demo_keys, d, f);
    (void)fclose(f);
}

static void expect_same(const struct demo *a, const struct demo *b)
{
    char x[2048] = "", y[2048] = "";

    print(a, x, sizeof(x));
    print(b, y, sizeof(y));
    cr_expect_str_eq(x, y);
}

static int parse(struct demo *d, const char *text, struct err *e)
{
    return conf_parse(demo_keys, d, "x.yaml", text, strlen(text), e);
}

static void expect_error(const char *text, const char *sentence)
{
    struct demo d = defaults();
    struct err e = {0};

    cr_assert_lt(parse(&d, text, &e), 0, "accepted: %s", text);
    cr_expect_str_eq(e.text, sentence);
}

Test(conf, defaults_fill_every_field)
{
    const struct demo d = defaults();

    cr_assert(d.promiscuous);
    cr_assert_eq(d.flow_max, 1000000);
    cr_assert_eq(d.spool_bytes, 64 << 20);
    cr_assert_eq(d.idle_ns, 30 * WIND_NS_PER_S);
    cr_assert_str_eq(d.interface, "eth0");
    cr_assert_eq(d.nets.n, 2);
    cr_assert_str_eq(d.nets.item[1], "fc00::/7");
    cr_assert_eq(d.level, 2);
}

Test(conf, bad_values_name_the_key_and_change_nothing)
{
    struct demo d = defaults();
    struct err e = {0};

    cr_assert_eq(conf_set(demo_keys, &d, "flow.max", "7", &e), -ERANGE);
    cr_assert_str_eq(e.text, "flow.max: 7 is outside 1024..100000000");
    cr_assert_eq(conf_set(demo_keys, &d, "flow.max", "many", &e), -EINVAL);
    cr_assert_eq(conf_set(demo_keys, &d, "flow.max", "5k", &e), -EINVAL);
    cr_assert_eq(conf_set(demo_keys, &d, "flow.max", "99999999999999999999", &e), -ERANGE);
    cr_assert_eq(conf_set(demo_keys, &d, "flow.maximum", "7", &e), -ENOENT);
    cr_assert_eq(conf_set(demo_keys, &d, "capture.interface", "a-name-that-is-too-long", &e),
                 -ERANGE);
    cr_assert_eq(conf_set(demo_keys, &d, "capture.interface", "eth\n0", &e), -EINVAL);
    cr_assert_eq(conf_set(demo_keys, &d, "capture.interface", "eth\xff", &e), -EINVAL);
    cr_assert_eq(conf_set(demo_keys, &d, "log.level", "loud", &e), -EINVAL);
    cr_assert_str_eq(e.text, "log.level: 'loud' is not one of error, warn, info");
    cr_assert_eq(conf_set(demo_keys, &d, "home_nets", "a,,b", &e), -EINVAL);
    cr_assert_eq(conf_set(demo_keys, &d, "home_nets", "a,", &e), -EINVAL);
    const struct demo fresh = defaults();
    expect_same(&d, &fresh);
}

Test(conf, sizes_and_times_take_units)
{
    struct demo d = defaults();
    struct err e = {0};

    cr_assert_eq(conf_set(demo_keys, &d, "spool.max", "2GB", NULL), 0);
    cr_assert_eq(d.spool_bytes, INT64_C(2) << 30);
    cr_assert_eq(conf_set(demo_keys, &d, "spool.max", "1048577", NULL), 0);
    cr_assert_eq(d.spool_bytes, 1048577);
    cr_assert_eq(conf_set(demo_keys, &d, "spool.max", "9223372036854775807tb", &e), -ERANGE);
    cr_assert_str_eq(e.text, "spool.max: 9223372036854775807tb is outside 1mb..1tb");
    cr_assert_eq(conf_set(demo_keys, &d, "flow.idle", "1500ms", NULL), 0);
    cr_assert_eq(d.idle_ns, 1500 * WIND_NS_PER_MS);
    cr_assert_eq(conf_set(demo_keys, &d, "flow.idle", "2 min", NULL), 0);
    cr_assert_eq(d.idle_ns, 120 * WIND_NS_PER_S);
    cr_assert_eq(conf_set(demo_keys, &d, "flow.idle", "30", &e), -EINVAL);
    cr_assert_str_eq(e.text, "flow.idle: '30' is not a time such as 30s, 5m or 250ms");
    cr_assert_eq(conf_set(demo_keys, &d, "flow.idle", "0", &e), -ERANGE);
    cr_assert_str_eq(e.text, "flow.idle: 0 is outside 1s..1h");
}

Test(conf, yaml_sets_nested_dotted_and_listed_values)
{
    struct demo d = defaults();
    struct err e = {0};

    cr_assert_eq(parse(&d,
                       "# a comment\n"
                       "flow:\n  max: 2000   # more\n  idle: 5m\n"
                       "capture.interface: \"wlan0\"\n"
                       "log:\n"
                       "home_nets:\n  - 192.168.0.0/16\n  - 'fd00::/8'\n  - 10.1.0.0/16\n",
                       &e),
                 0, "%s", e.text);
    cr_assert_eq(d.flow_max, 2000);
    cr_assert_eq(d.idle_ns, 300 * WIND_NS_PER_S);
    cr_assert_str_eq(d.interface, "wlan0");
    cr_assert_eq(d.nets.n, 3);
    cr_assert_str_eq(d.nets.item[1], "fd00::/8");
    cr_assert_eq(parse(&d, "", &e), 0);
    cr_assert_eq(parse(&d, "---\n# nothing\n...\n", &e), 0, "%s", e.text);
}

Test(conf, yaml_errors_name_file_line_and_the_nearest_setting)
{
    expect_error("flow:\n  maxx: 5\n",
                 "x.yaml:2: unknown setting 'flow.maxx', did you mean 'flow.max'?");
    expect_error("\nzebra: 5\n", "x.yaml:2: unknown setting 'zebra'");
    expect_error("flow:\n  max: 5\n", "x.yaml:2: flow.max: 5 is outside 1024..100000000");
    expect_error("flow:\n  max: [5]\n", "x.yaml:2: flow.max: takes one value, not a list");
    expect_error("flow.max: 5000\nflow:\n  max: 5000\n",
                 "x.yaml:3: 'flow.max' was already set on line 1");
    expect_error("home_nets: [[a]]\n", "x.yaml:1: a list may hold only plain values");
    expect_error("- a\n", "x.yaml:1: expected 'name: value' lines");
    expect_error("flow\n", "x.yaml:1: expected 'name: value' lines");
}

Test(conf, hostile_yaml_is_refused)
{
    expect_error("a: &x [b]\n", "x.yaml:1: anchors (&) and tags (!) are not supported");
    expect_error("capture.interface: &x eth1\n", "x.yaml:1: anchors (&) are not supported");
    expect_error("capture.interface: *x\n", "x.yaml:1: aliases (*) are not supported");
    expect_error("capture.interface: !!str eth1\n", "x.yaml:1: tags (!) are not supported");
    expect_error("--- {}\n--- {}\n", "x.yaml:2: more than one document in a file");
    expect_error("a: {b: {c: {d: {e: {f: {g: 1}}}}}}\n", "x.yaml:1: is nested too deeply");
    expect_error("capture.interface: \"a\\0b\"\n", "x.yaml:1: a value is too long, or holds a NUL");
    expect_error("capture.interface: 'a\n", "x.yaml:2: found unexpected end of stream");
}

Test(conf, a_file_beyond_the_limit_is_refused)
{
    char path[] = "/tmp/wind-test-conf-XXXXXX";
    const int fd = mkstemp(path);
    struct demo d = defaults();
    struct err e = {0};

    cr_assert_geq(fd, 0);
    cr_assert_eq(ftruncate(fd, CONF_FILE_MAX + 1), 0);
    cr_assert_eq(conf_load(demo_keys, &d, path, &e), -EFBIG);
    cr_assert(strstr(e.text, "larger than 1048576 bytes") != NULL);
    (void)close(fd);
    (void)unlink(path);
    cr_assert_eq(conf_load(demo_keys, &d, path, &e), -ENOENT);
}

static void put_file(const char *dir, const char *name, const char *text)
{
    char path[256];

    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    FILE *f = fopen(path, "w");
    cr_assert(f != NULL);
    fputs(text, f);
    (void)fclose(f);
}

Test(conf, drop_ins_are_read_in_the_order_of_their_names)
{
    char dir[] = "/tmp/wind-test-conf-XXXXXX";
    struct demo d = defaults();
    struct err e = {0};

    cr_assert(mkdtemp(dir) != NULL);
    put_file(dir, "20-b.yaml", "flow.max: 2000\n");
    put_file(dir, "10-a.yaml", "flow.max: 3000\ncapture.interface: eth7\n");
    put_file(dir, "30-c.txt", "flow.max: 4000\n");
    put_file(dir, ".x.yaml", "flow.max: 5000\n");
    cr_assert_eq(conf_load_dir(demo_keys, &d, dir, &e), 0, "%s", e.text);
    cr_assert_eq(d.flow_max, 2000);
    cr_assert_str_eq(d.interface, "eth7");
    put_file(dir, "40-d.yaml", "flow.mix: 4000\n");
    cr_assert_eq(conf_load_dir(demo_keys, &d, dir, &e), -ENOENT);
    cr_assert(strstr(e.text, "/40-d.yaml:1: unknown setting 'flow.mix'") != NULL);
    cr_assert_eq(conf_load_dir(demo_keys, &d, "/nonexistent/conf.d", &e), 0);

    char command[64];
    (void)snprintf(command, sizeof(command), "rm -r %s", dir);
    cr_assert_eq(system(command), 0);
}

Test(conf, the_environment_sets_sections_and_leaves_other_names_alone)
{
    char path[] = "PATH=/bin", max[] = "WIND_FLOW__MAX=4096", accept[] = "WIND_ACCEPT=1";
    char nets[] = "WIND_HOME_NETS=10.0.0.0/8", maxx[] = "WIND_FLOW__MAXX=4096";
    char *good[] = {path, max, nets, accept, NULL};
    char *typo[] = {maxx, NULL};
    struct demo d = defaults();
    struct err e = {0};

    cr_assert_eq(conf_env(demo_keys, &d, good, &e), 0, "%s", e.text);
    cr_assert_eq(d.flow_max, 4096);
    cr_assert_eq(d.nets.n, 1);
    cr_assert_eq(conf_env(demo_keys, &d, typo, &e), -ENOENT);
    cr_assert_str_eq(e.text, "WIND_FLOW__MAXX: unknown setting 'flow.maxx', did you mean "
                             "'flow.max'?");
}

Test(conf, pairs_from_the_command_line_need_a_name_and_a_value)
{
    struct demo d = defaults();
    struct err e = {0};

    cr_assert_eq(conf_set_pair(demo_keys, &d, "capture.interface=a=b", &e), 0);
    cr_assert_str_eq(d.interface, "a=b");
    cr_assert_eq(conf_set_pair(demo_keys, &d, "flow.max", &e), -EINVAL);
    cr_assert_eq(conf_set_pair(demo_keys, &d, "=5", &e), -EINVAL);
}

Test(conf, print_shows_help_range_and_value)
{
    const struct demo d = defaults();
    char text[2048] = "";

    print(&d, text, sizeof(text));
    cr_assert_str_eq(text, "capture:\n"
                           "  # See all traffic on the link. (yes or no)\n"
                           "  promiscuous: yes\n"
                           "  # Interface to listen on.\n"
                           "  interface: \"eth0\"\n"
                           "\n"
                           "flow:\n"
                           "  # Flows kept per worker. (1024..100000000)\n"
                           "  max: 1000000\n"
                           "  # Silence that ends a flow. (1s..1h)\n"
                           "  idle: 30s\n"
                           "\n"
                           "spool:\n"
                           "  # Disk kept for what is not delivered. (1mb..1tb)\n"
                           "  max: 64mb\n"
                           "\n"
                           "# Networks of our own.\n"
                           "home_nets: [\"10.0.0.0/8\", \"fc00::/7\"]\n"
                           "\n"
                           "log:\n"
                           "  # What is logged. (error, warn, info)\n"
                           "  level: info\n");
}

Test(conf, what_is_printed_reads_back_the_same)
{
    struct demo d = defaults(), again = defaults();
    char text[2048] = "";
    struct err e = {0};

    cr_assert_eq(conf_set(demo_keys, &d, "capture.promiscuous", "no", &e), 0);
    cr_assert_eq(conf_set(demo_keys, &d, "capture.interface", "\xc3\xa9\"\\%: #\xc2\x85", &e), 0);
    cr_assert_eq(conf_set(demo_keys, &d, "home_nets", "", &e), 0);
    cr_assert_eq(conf_set(demo_keys, &d, "flow.idle", "1000000001ns", &e), 0);
    print(&d, text, sizeof(text));
    cr_assert_eq(parse(&again, text, &e), 0, "%s", e.text);
    expect_same(&d, &again);
    cr_assert_str_eq(again.interface, d.interface);
    cr_assert_eq(again.nets.n, 0);
}

Test(conf, what_differs_is_named_and_what_lies_behind_a_text_does_not_count)
{
    struct settings {
        char text[32];
        struct conf_list list;
        int64_t number;
        bool flag;
    };
    static const struct conf_key keys[] = {
        CONF_TEXT(struct settings, text, "a.text", "", "A text."),
        CONF_LIST(struct settings, list, "a.list", "", "A list."),
        CONF_INT(struct settings, number, "a.number", "1", 0, 9, "A number."),
        CONF_BOOL(struct settings, flag, "a.flag", "no", "A flag."),
        {.name = NULL},
    };
    struct settings a = {.text = "one", .list = {1, {"x"}}, .number = 3}, b = a;
    const char *names[CONF_KEYS_MAX];

    memcpy(b.text, "one\0two", 8);
    memcpy(b.list.item[1], "y", 2);
    cr_assert_eq(conf_differ(keys, &a, &b, names), 0);
    b.list.n = 2;
    b.flag = true;
    cr_assert_eq(conf_differ(keys, &a, &b, names), 2);
    cr_assert_str_eq(names[0], "a.list");
    cr_assert_str_eq(names[1], "a.flag");
}
