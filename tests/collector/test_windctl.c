#include <criterion/criterion.h>
#include <locale.h>
#include <stdlib.h>

#include "collector/windctl/capture_report.h"
#include "collector/windctl/command.h"
#include "collector/windctl/delivery_report.h"
#include "collector/windctl/text.h"

static char out[4096];

static const char *safe(const char *s, size_t n)
{
    struct buf b = BUF_FIXED(out);

    text_safe(&b, s, n);
    return buf_text(&b);
}

static const char *csv(const char *s)
{
    struct buf b = BUF_FIXED(out);

    text_csv(&b, s, strlen(s));
    return buf_text(&b);
}

#define SAFE(literal) safe(literal, sizeof(literal) - 1)

Test(windctl_text, a_terminal_never_sees_a_control_character)
{
    cr_expect_str_eq(SAFE("plain text"), "plain text");
    cr_expect_str_eq(SAFE("\033[2Jgone\a"), "\\u{1b}[2Jgone\\u{7}");
    cr_expect_str_eq(SAFE("a\nb\tc\rd"), "a b c d");
    cr_expect_str_eq(SAFE("\xc2\x9b"
                          "2J"),
                     "\\u{9b}2J"); /* CSI in one C1 character */
    cr_expect_str_eq(SAFE("a\0b"), "a\\u{0}b");
    cr_expect_str_eq(SAFE("exe.\xe2\x80\xaegpj"), "exe.\\u{202e}gpj"); /* right to left */
    cr_expect_str_eq(SAFE("\xff\xc3"), "\xef\xbf\xbd\xef\xbf\xbd");
    cr_expect_str_eq(SAFE("Z\xc3\xbcrich \xe6\x9d\xb1"), "Z\xc3\xbcrich \xe6\x9d\xb1");
}

Test(windctl_text, width_counts_columns_and_never_cuts_a_character)
{
    const char text[] = "a\xc3\xbc\xe6\x9d\xb1z"; /* widths 1 1 2 1 */

    cr_assert_not_null(setlocale(LC_CTYPE, "C.UTF-8"));
    cr_expect_eq(text_width(text, strlen(text)), 5);
    cr_expect_eq(text_fit(text, strlen(text), 1), 1);
    cr_expect_eq(text_fit(text, strlen(text), 2), 3);
    cr_expect_eq(text_fit(text, strlen(text), 3), 3);
    cr_expect_eq(text_fit(text, strlen(text), 4), 6);
    cr_expect_eq(text_fit(text, strlen(text), 9), strlen(text));
}

Test(windctl_text, csv_quotes_what_must_be_and_disarms_formulas)
{
    cr_expect_str_eq(csv(""), "");
    cr_expect_str_eq(csv("plain"), "plain");
    cr_expect_str_eq(csv("a,b"), "\"a,b\"");
    cr_expect_str_eq(csv("say \"x\""), "\"say \"\"x\"\"\"");
    cr_expect_str_eq(csv("two\nlines"), "\"two\nlines\"");
    cr_expect_str_eq(csv("=1+2"), "\"'=1+2\"");
    cr_expect_str_eq(csv("@SUM(A1)"), "\"'@SUM(A1)\"");
    cr_expect_str_eq(csv("-2"), "\"'-2\"");
    cr_expect_str_eq(csv("\t=1"), "\"'\t=1\"");
}

/* What screen_rows writes for `rows`, in a buffer of the caller. */
static void print(char *to, size_t size, enum screen_format format, const char *rows)
{
    struct screen s;
    struct err e = {0};
    json_t *list = json_loads(rows, 0, NULL);
    FILE *f = fmemopen(to, size, "w");

    cr_assert_not_null(list);
    cr_assert_not_null(f);
    screen_init(&s, f, format);
    s.has_reasons = true;
    cr_assert_eq(screen_rows(&s, alert_columns, list, &e), 0, "%s", e.text);
    (void)fclose(f);
    json_decref(list);
}

Test(windctl_screen, a_table_is_aligned_and_shows_what_is_missing)
{
    char text[4096];

    print(text, sizeof(text), SCREEN_TABLE,
          "[{\"id\":7,\"detected_at\":\"2026-01-02T03:04:05.678901Z\",\"severity\":\"high\","
          "\"type\":\"port_scan\",\"description\":\"x\\u001b[31m\","
          "\"metadata\":{\"explain\":[{\"text\":\"it did\"},7,{\"text\":null}]}},"
          "{\"id\":123,\"severity\":null}]");
    cr_assert_str_eq(
        text,
        " ID  TIME (UTC)           SEVERITY  TYPE       STATUS  SOURCE  INCIDENT  WHAT\n"
        "  7  2026-01-02 03:04:05  high      port_scan  -       -              -  x\\u{1b}[31m\n"
        "      because it did\n"
        "      because -\n"
        "      because -\n"
        "123  -                    -         -          -       -              -  -\n");
}

Test(windctl_screen, numbers_in_csv_stay_numbers)
{
    char text[4096];

    print(text, sizeof(text), SCREEN_CSV,
          "[{\"id\":-7,\"severity\":\"-7\",\"metadata\":{\"score\":-0.5}}]");
    cr_assert_not_null(strstr(text, "\n-7,"));
    cr_assert_not_null(strstr(text, ",\"'-7\","));
    cr_assert_not_null(strstr(text, ",-0.5,"));
}

Test(windctl_screen, every_cell_takes_any_kind_of_value)
{
    static const char *const values[] = {"null", "7", "\"s\"", "[]", "{}", "[[]]", "[{}]", "true"};
    char text[4096], rows[256];

    for (size_t i = 0; i < WIND_ARRAY_SIZE(values); i++) {
        (void)snprintf(rows, sizeof(rows),
                       "[{\"id\":%s,\"related_entities\":%s,\"metadata\":{\"explain\":%s,"
                       "\"technique\":%s,\"flow\":%s,\"community_ids\":%s}},%s]",
                       values[i], values[i], values[i], values[i], values[i], values[i], values[i]);
        print(text, sizeof(text), SCREEN_TABLE, rows);
        print(text, sizeof(text), SCREEN_CSV, rows);
    }
}

static int find(const char *words, const struct verb **ret_verb, struct err *e)
{
    static char copy[128];
    char *argv[8] = {(char[]){"windctl"}}, *save = NULL;
    int argc = 1;
    struct options o;
    const struct noun *noun;
    const char *arg;

    (void)snprintf(copy, sizeof(copy), "%s", words);
    for (char *w = strtok_r(copy, " ", &save); w != NULL && argc < 7;
         w = strtok_r(NULL, " ", &save))
        argv[argc++] = w;
    const int r = options_parse(argc, argv, &o, e);
    return r < 0 ? r : command_find(&o, &noun, ret_verb, &arg, e);
}

Test(windctl_command, words_find_their_command)
{
    const struct verb *v = NULL;
    struct err e = {0};

    cr_expect_eq(find("alerts list -o csv --limit 5", &v, &e), 0);
    cr_expect_eq(v->run, command_list);
    cr_expect_eq(find("-o json incidents show 17", &v, &e), 0);
    cr_expect_eq(v->run, command_show);
    cr_expect_eq(find("login https://x", &v, &e), 0);
    cr_expect_eq(find("login", &v, &e), 0);
    cr_expect_eq(v->run, command_login);
}

Test(windctl_command, a_wrong_call_says_what_there_is)
{
    static const struct {
        const char *words, *says;
    } wrong[] = {
        {"", "alerts, incidents"},
        {"alrts list", "there is no command 'alrts'"},
        {"alerts", "windctl alerts list and show"},
        {"sensors show", "windctl sensors list"},
        {"alerts show", "needs ID"},
        {"alerts list 7", "'7' is one word too many"},
        {"alerts show 7 8", "'8' is one word too many"},
        {"doctor now", "'now' is one word too many"},
        {"alerts list --limit 0", "1 to 100000"},
        {"alerts list -o xml", "table, json and csv"},
        {"alerts list --frob", "no such option '--frob'"},
        {"alerts list -q", "'-q' needs a value"},
    };

    for (size_t i = 0; i < WIND_ARRAY_SIZE(wrong); i++) {
        const struct verb *v = NULL;
        struct err e = {0};
        cr_expect_eq(find(wrong[i].words, &v, &e), CLI_USAGE, "%s", wrong[i].words);
        cr_expect_not_null(strstr(e.text, wrong[i].says), "%s: %s", wrong[i].words, e.text);
    }
}

/* ---------------------------------------------------------------- what a sensor sees */

static const char *reported(const char *stats, struct capture_report *r)
{
    json_t *const o = json_loads(stats, JSON_DECODE_ANY, NULL);

    capture_report_make(o, r);
    json_decref(o);
    return r->text;
}

Test(windctl_capture, shares_that_should_not_be_are_named_with_what_mends_them)
{
    struct capture_report r;

    cr_assert_str_eq(reported("{\"span\":{\"sampled\":1000,\"duplicates\":49,\"tcp_flows\":49,"
                              "\"tcp_one_way\":49},\"capture\":{\"packets\":1000,"
                              "\"kernel_packets\":100000,\"kernel_drops\":99}}",
                              &r),
                     "");
    cr_assert_null(r.fix);
    cr_assert_str_eq(reported("{\"span\":{\"sampled\":1000,\"duplicates\":50,\"tcp_flows\":50,"
                              "\"tcp_one_way\":25}}",
                              &r),
                     "5.0 % of its packets come twice; 50.0 % of its TCP flows are seen in one "
                     "direction only");
    cr_assert_not_null(strstr(r.fix, "mirror each packet once"));
    cr_assert_str_eq(reported("{\"span\":{\"offloads\":2}}", &r),
                     "2 of its interfaces put packets together before they are seen (GRO, LRO)");
    cr_assert_not_null(strstr(r.fix, "gro off"));
    cr_assert_not(r.is_alone);
    cr_assert_str_eq(reported("{\"span\":{\"own\":100,\"others\":0}}", &r), "");
    cr_assert(r.is_alone);
    (void)reported("{\"span\":{\"own\":100,\"others\":1}}", &r);
    cr_assert_not(r.is_alone);
    cr_assert_str_eq(
        reported("{\"capture\":{\"kernel_packets\":100000,\"kernel_drops\":2000}}", &r),
        "2.0 % of its packets are dropped by the kernel");
}

Test(windctl_delivery, what_is_lost_is_named_with_what_mends_the_worst)
{
    json_t *const fine = json_loads("{\"alert\":{\"lost_spool\":0,\"spooled\":7}}", 0, NULL);
    json_t *const bad = json_loads("{\"alert\":{\"lost_spool\":3,\"rejected\":\"x\"},\"kafka\":"
                                   "{\"flows_dropped\":20},\"spool\":[]}",
                                   0, NULL);
    struct delivery_report r;

    delivery_report_make(fine, &r);
    cr_assert(r.text[0] == '\0' && r.fix == NULL);
    delivery_report_make(NULL, &r);
    cr_assert_str_eq(r.text, "");
    delivery_report_make(bad, &r);
    cr_assert_str_eq(r.text, "3 alerts were lost before they were delivered; 20 flows were dropped "
                             "on their way to Kafka");
    cr_assert_not_null(strstr(r.fix, "spool.max"));
    json_decref(fine);
    json_decref(bad);
}

Test(windctl_capture, anything_may_be_in_a_heartbeat)
{
    static const char *const strange[] = {"null",
                                          "[]",
                                          "7",
                                          "{\"span\":7}",
                                          "{\"span\":{\"sampled\":\"x\",\"duplicates\":[]}}",
                                          "{\"span\":{\"sampled\":-5,\"duplicates\":-1}}",
                                          "{\"span\":{\"sampled\":0,\"duplicates\":9}}"};
    struct capture_report r;

    for (size_t i = 0; i < WIND_ARRAY_SIZE(strange); i++)
        cr_assert_str_eq(reported(strange[i], &r), "", "%s", strange[i]);
    (void)reported("{\"span\":{\"sampled\":9000000000000000000,\"duplicates\":9000000000000000000,"
                   "\"tcp_flows\":50,\"tcp_one_way\":9000000000000000000,\"checksums\":64,"
                   "\"bad_checksums\":9000000000000000000,\"oversized\":9000000000000000000,"
                   "\"offloads\":9000000000000000000},\"capture\":{\"packets\":1000,"
                   "\"kernel_packets\":1000,\"kernel_drops\":9000000000000000000}}",
                   &r);
    cr_assert_lt(strlen(r.text), sizeof(r.text));
}
