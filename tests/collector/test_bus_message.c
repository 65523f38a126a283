#include "collector/bus_message.h"

#include <criterion/criterion.h>
#include <stdlib.h>

struct header {
    const char *name, *value;
};

static void read_headers(struct bus_message *m, const struct header *h)
{
    *m = (struct bus_message){.seq = -1, .value = "{}", .len = 2};
    for (; h->name != NULL; h++)
        bus_message_header(m, h->name, h->value, h->value == NULL ? 0 : strlen(h->value));
    bus_message_check(m);
}

Test(bus_message, headers_say_who_sent_it_and_which_one_it_is)
{
    const struct header h[] = {{"schema", "1"}, {"other", "x"}, {"sensor", "edge"},
                               {"run", "r1"},   {"seq", "42"},  {NULL, NULL}};
    struct bus_message m;

    read_headers(&m, h);
    cr_assert_null(m.reason);
    cr_assert_str_eq(m.sensor, "edge");
    cr_assert_str_eq(m.run, "r1");
    cr_assert_eq(m.seq, 42);
}

Test(bus_message, numbers_may_be_missing_and_the_rest_may_not)
{
    const struct header h[] = {{"schema", "1"}, {"sensor", "edge"}, {"run", "r1"}, {NULL, NULL}};
    struct bus_message m;

    read_headers(&m, h);
    cr_assert_null(m.reason);
    cr_assert_null(m.run);
}

static char long_name[SOURCE_MAX + 2];

static const struct {
    struct header h[5];
    const char *said;
} bad[] = {
    {{{NULL, NULL}}, "header sensor is missing"},
    {{{"sensor", "edge"}}, "header schema"},
    {{{"sensor", "edge"}, {"schema", "2"}}, "header schema"},
    {{{"sensor", "edge"}, {"schema", "1"}, {"schema", NULL}}, "header schema"},
    {{{"schema", "1"}, {"sensor", ""}}, "header sensor"},
    {{{"schema", "1"}, {"sensor", NULL}}, "header sensor"},
    {{{"schema", "1"}, {"sensor", "a\nb"}}, "header sensor"},
    {{{"schema", "1"}, {"sensor", "\xff"}}, "header sensor"},
    {{{"schema", "1"}, {"sensor", long_name}}, "header sensor"},
    {{{"schema", "1"}, {"sensor", "edge"}, {"seq", "1"}}, "header run is missing"},
    {{{"schema", "1"}, {"sensor", "edge"}, {"seq", "-1"}, {"run", "r"}}, "header seq"},
    {{{"schema", "1"}, {"sensor", "edge"}, {"seq", ""}, {"run", "r"}}, "header seq"},
    {{{"schema", "1"}, {"sensor", "edge"}, {"seq", "1x"}, {"run", "r"}}, "header seq"},
    {{{"schema", "1"}, {"sensor", "edge"}, {"seq", "4503599627370497"}, {"run", "r"}},
     "header seq"},
    {{{"schema", "1"}, {"sensor", "edge"}, {"seq", "99999999999999999999"}, {"run", "r"}},
     "header seq"},
};

Test(bus_message, each_bad_header_is_named)
{
    memset(long_name, 'x', sizeof(long_name) - 1);
    for (size_t i = 0; i < WIND_ARRAY_SIZE(bad); i++) {
        struct bus_message m;
        read_headers(&m, bad[i].h);
        cr_assert_not_null(m.reason, "%zu", i);
        cr_assert_not_null(strstr(m.reason, bad[i].said), "%zu: %s", i, m.reason);
        free(m.reason);
    }
}

Test(bus_message, the_first_reason_stays_and_is_cut_at_a_character)
{
    char text[400];
    struct bus_message m = {0};

    memset(text, 'x', 254);
    memcpy(text + 254, "\xc3\xa9", 3);
    bus_message_reject(&m, "%s", text);
    bus_message_reject(&m, "another");
    cr_assert_eq(strlen(m.reason), 254);
    free(m.reason);
}

Test(bus_message, empty_and_huge_values_are_nothing_to_look_at)
{
    struct bus_message m = {.sensor = "edge", .has_schema = true, .seq = -1};

    bus_message_check(&m);
    cr_assert_str_eq(m.reason, "it is empty");
    free(m.reason);
    m.reason = NULL;
    m.len = BUS_VALUE_MAX + 1;
    bus_message_check(&m);
    cr_assert_not_null(strstr(m.reason, "more than"));
    free(m.reason);
}
