#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/conf.h"

struct demo {
    bool promiscuous;
    int64_t flow_max;
    char interface[16];
};

static const struct conf_key demo_keys[] = {
    CONF_BOOL(struct demo, promiscuous, "capture.promiscuous", "yes",
              "See all traffic on the link."),
    CONF_INT(struct demo, flow_max, "flow.max", "1000000", 1024, 100000000,
             "Flows kept per worker."),
    CONF_TEXT(struct demo, interface, "capture.interface", "eth0", "Interface to listen on."),
    {.name = NULL},
};

Test(conf, defaults_fill_every_field)
{
    struct demo d;

    cr_assert_eq(conf_defaults(demo_keys, &d, NULL), 0);
    cr_assert(d.promiscuous);
    cr_assert_eq(d.flow_max, 1000000);
    cr_assert_str_eq(d.interface, "eth0");
}

Test(conf, bad_values_name_the_key_and_change_nothing)
{
    struct demo d;
    struct err e = {0};

    cr_assert_eq(conf_defaults(demo_keys, &d, &e), 0);
    cr_assert_eq(conf_set(demo_keys, &d, "flow.max", "7", &e), -ERANGE);
    cr_assert_str_eq(e.text, "flow.max: 7 is outside 1024..100000000");
    cr_assert_eq(conf_set(demo_keys, &d, "flow.max", "many", &e), -EINVAL);
    cr_assert_eq(conf_set(demo_keys, &d, "flow.maximum", "7", &e), -ENOENT);
    cr_assert_str_eq(e.text, "unknown setting 'flow.maximum'");
    cr_assert_eq(conf_set(demo_keys, &d, "capture.interface", "a-name-that-is-too-long", &e),
                 -ERANGE);
    cr_assert_eq(d.flow_max, 1000000);
    cr_assert_str_eq(d.interface, "eth0");
}

Test(conf, print_shows_help_range_and_value)
{
    struct demo d;
    char text[512] = "";
    FILE *f = fmemopen(text, sizeof(text), "w");

    cr_assert(f != NULL);
    cr_assert_eq(conf_defaults(demo_keys, &d, NULL), 0);
    conf_print(demo_keys, &d, f);
    fclose(f);
    cr_assert_str_eq(text, "# See all traffic on the link. (yes or no)\n"
                           "capture.promiscuous = yes\n\n"
                           "# Flows kept per worker. (1024..100000000)\n"
                           "flow.max = 1000000\n\n"
                           "# Interface to listen on.\n"
                           "capture.interface = eth0\n\n");
}
