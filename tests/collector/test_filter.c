#include <errno.h>

#include "collector/alerts.h"
#include "collector/incidents.h"
#include "support/filtering.h"
#include "support/shown.h"

TestSuite(filter, .init = filtering_five, .fini = batch_fini);

/* The ids that `q` finds, as "1 2 3 ", in the order of the list. */
static const char *found(const char *q, const char *sort)
{
    static char ids[64];
    WIND_AUTO(filter) struct filter *f = NULL;
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;
    char cursor[FILTER_CURSOR];
    json_t *row;
    struct err e = {0};
    size_t i;

    cr_assert_eq(filter_new(&f, FILTER_ALERTS, &e), 0);
    cr_assert_eq(filter_search(f, q, &e), 0, "%s: %s", q, e.text);
    cr_assert_eq(filter_sort(f, sort, &e), 0, "%s", e.text);
    cr_assert_eq(db_begin_read(temp_db, &tx, &e), 0);
    json_t *list = shown_list(alert_list, tx, f, cursor);
    ids[0] = '\0';
    json_array_foreach(list, i, row)(void)
        snprintf(ids + strlen(ids), sizeof(ids) - strlen(ids), "%lld ",
                 (long long)json_integer_value(json_object_get(row, "id")));
    json_decref(list);
    return ids;
}

static const struct {
    const char *q, *ids;
} searches[] = {
    {"", "1 2 3 4 5 "},
    {"   ", "1 2 3 4 5 "},
    {"id:3", "3 "},
    {"id:>=4", "4 5 "},
    {"uid:0198f2c4-7a31-7c5e-9d2b-000000000002", "2 "},
    {"status:closed", "1 "},
    {"-status:closed", "2 3 4 5 "},
    {"status:new,closed", "1 2 3 4 5 "},
    {"verdict:none", "2 3 4 5 "},
    {"-verdict:none", "1 "},
    {"-verdict:duplicate", "2 3 4 5 "}, /* those without a verdict, too */
    {"assigned:none", "1 2 3 4 5 "},
    {"severity:high", "3 5 "},
    {"severity:>=high", "3 4 5 "},
    {"severity:<medium", "1 "},
    {"severity:low,critical", "1 4 "},
    {"type:brute_force", "2 "},
    {"source:lab type:port_scan severity:low", "1 "},
    {"score:>0.9", "1 4 5 "},
    {"score:<=0.5", "3 "},
    {"score:none", "2 "},
    {"-score:>0.9", "2 3 "},
    {"src:10.9.0.66", "1 2 5 "},
    {"src:10.0.0.0/8", "1 2 5 "},
    {"-src:10.0.0.0/8", "3 4 "},
    {"src:fd00::/16", "3 "},
    {"src:0.0.0.0/0", "1 2 4 5 "},
    {"src:::/0", "1 2 3 4 5 "},
    {"dst:10.0.0.0/8", "1 2 4 5 "},
    {"dst:10.255.255.255", "5 "},
    {"dst:10.0.0.0/9", "1 2 4 "},
    {"host:192.0.2.9", "4 "},
    {"attacker:192.0.2.9,fd00::1", "3 4 "},
    {"victim:192.0.2.9", ""},
    {"192.0.2.0/24", "4 "},
    {"fd00::1", "3 "},
    {"-fd00::1", "1 2 4 5 "},
    {"entity:192.0.2.9", "4 "},
    {"port:22", "1 2 3 4 5 "},
    {"proto:tcp", "1 2 3 4 5 "},
    {"time:>2026-01-02T00:05:00Z", "4 5 "},
    {"time:<2026-01-02", ""},
    {"created:>2020-01-01", "1 2 3 4 5 "},
    {"tag:vip", "4 "},
    {"-tag:vip", "1 2 3 5 "},
    {"tag:none", "1 2 3 5 "},
    {"brute", "2 "},
    {"BRUTE", "2 "},
    {"-somebody", "3 "},
    {"\"did something\"", "1 2 4 5 "},
    {"\"did some\"", ""}, /* in quotes: whole words */
    {"\"something did\"", ""},
    {"did-some", "1 2 4 5 "},
    {"some", "1 2 4 5 "},
    {"some*", "1 2 4 5 "},
    {"some.", ""},
    {"omething", ""},
    {"something-brute", ""}, /* no phrase reaches into another text */
    {"did -brute", "1 4 5 "},
    {"did force", "2 "},
    {"-did -100", ""},
    {"10.9.0.", "1 2 4 5 "},
    {"\"10.9.0.66\"", "1 2 5 "},
    {"\"9.0.66\" severity:high", "5 "},
    {"100%", "3 "},
    {"a_b\\", "3 "},
    {"incident:1", "1 2 4 5 "},
    {"x' OR '1'='1", ""},
    {"type:\"x' OR 1=1 --\"", ""},
    {"\"$1\"", "3 "},
    {"sort:-id severity:high", "5 3 "},
};

Test(filter, every_key_finds_what_it_says)
{
    for (size_t i = 0; i < WIND_ARRAY_SIZE(searches); i++)
        cr_expect_str_eq(found(searches[i].q, strstr(searches[i].q, "sort:") ? NULL : "id"),
                         searches[i].ids, "%s: found %s", searches[i].q,
                         found(searches[i].q, strstr(searches[i].q, "sort:") ? NULL : "id"));
}

Test(filter, lists_are_sorted_by_what_was_asked)
{
    cr_assert_str_eq(found("", NULL), "5 4 3 2 1 ");
    cr_assert_str_eq(found("", "time"), "1 2 3 4 5 ");
    cr_assert_str_eq(found("", "-severity"), "4 5 3 2 1 ");
    cr_assert_str_eq(found("", "score"), "2 3 1 4 5 ");
}

static const struct {
    const char *q, *said;
} faults[] = {
    {"sevrity:high", "unknown key 'sevrity'; known: id uid"},
    {"severity:terrible", "severity: 'terrible' is not low"},
    {"status:open", "status: 'open' is not one of its words"},
    {"score:>high", "score: 'high' is not a number"},
    {"score:nan", "score: 'nan' is not a number"},
    {"id:99999999999999999999", "not a whole number"},
    {"src:10.0.0.0/33", "src: '10.0.0.0/33' is not an address or a network"},
    {"time:yesterday", "time: 'yesterday' is not a time"},
    {"uid:7", "uid: '7' is not a UUID"},
    {"status:", "status: nothing behind the colon"},
    {"status:new,", "status: '' is not one"},
    {"-", "nothing to search for"},
    {"\"open", "quotation mark is not closed"},
    {"\"\"", "nothing to search for"},
    {"%", "'%' has no letter or digit"},
    {"-\"__\"", "'__' has no letter or digit"},
    {"type:none,none x:y", "unknown key 'x'"},
    {"sort:color", "cannot sort by 'color'"},
};

Test(filter, what_it_does_not_understand_gets_a_sentence)
{
    for (size_t i = 0; i < WIND_ARRAY_SIZE(faults); i++) {
        WIND_AUTO(filter) struct filter *f = NULL;
        struct err e = {0};
        cr_assert_eq(filter_new(&f, FILTER_ALERTS, &e), 0);
        cr_expect_eq(filter_search(f, faults[i].q, &e), -EINVAL, "%s", faults[i].q);
        cr_expect_not_null(strstr(e.text, faults[i].said), "%s: %s", faults[i].q, e.text);
    }
}

Test(filter, too_much_is_refused)
{
    char text[FILTER_TEXT_MAX + 2] = "";
    struct err e = {0};
    WIND_AUTO(filter) struct filter *f = NULL, *values = NULL, *terms = NULL, *word = NULL;

    memset(text, ' ', FILTER_TEXT_MAX + 1);
    cr_assert_eq(filter_new(&f, FILTER_ALERTS, &e), 0);
    cr_assert_eq(filter_search(f, text, &e), -EINVAL);

    text[0] = '\0';
    for (int i = 0; i <= FILTER_TERMS; i++)
        (void)strncat(text, "id:1 ", sizeof(text) - strlen(text) - 1);
    cr_assert_eq(filter_new(&terms, FILTER_ALERTS, &e), 0);
    cr_assert_eq(filter_search(terms, text, &e), -EINVAL);
    cr_assert_not_null(strstr(e.text, "at most"));

    (void)snprintf(text, sizeof(text), "id:1");
    for (int i = 0; i < 120; i++)
        (void)strncat(text, i % 60 == 59 ? " id:1" : ",1", sizeof(text) - strlen(text) - 1);
    for (int i = 0; i < 120; i++)
        (void)strncat(text, i % 60 == 59 ? " id:1" : ",1", sizeof(text) - strlen(text) - 1);
    cr_assert_eq(filter_new(&values, FILTER_ALERTS, &e), 0);
    cr_assert_eq(filter_search(values, text, &e), -EINVAL);

    memset(text, 'x', FILTER_TEXT_MAX);
    text[FILTER_TEXT_MAX] = '\0';
    cr_assert_eq(filter_new(&word, FILTER_ALERTS, &e), 0);
    cr_assert_eq(filter_search(word, text, &e), -EINVAL);
    cr_assert_not_null(strstr(e.text, "a word is longer"));
}

/* Read the whole list in pages of two; the ids in order. */
static const char *paged(const char *sort)
{
    static char ids[64];
    char cursor[FILTER_CURSOR] = "";
    struct err e = {0};

    ids[0] = '\0';
    for (int page = 0; page < 5; page++) {
        WIND_AUTO(filter) struct filter *f = NULL;
        WIND_AUTO(db_tx) struct db_tx *tx = NULL;
        json_t *row;
        size_t i;
        cr_assert_eq(filter_new(&f, FILTER_ALERTS, &e), 0);
        cr_assert_eq(filter_sort(f, sort, &e), 0);
        cr_assert_eq(filter_cursor(f, page == 0 ? NULL : cursor, &e), 0, "%s", e.text);
        filter_limit(f, 2);
        cr_assert_eq(db_begin_read(temp_db, &tx, &e), 0);
        json_t *list = shown_list(alert_list, tx, f, cursor);
        json_array_foreach(list, i, row)(void)
            snprintf(ids + strlen(ids), sizeof(ids) - strlen(ids), "%lld ",
                     (long long)json_integer_value(json_object_get(row, "id")));
        json_decref(list);
        if (cursor[0] == '\0')
            return ids;
    }
    return "no end";
}

Test(filter, pages_give_every_row_once_in_any_order)
{
    cr_assert_str_eq(paged("id"), "1 2 3 4 5 ");
    cr_assert_str_eq(paged("-id"), "5 4 3 2 1 ");
    cr_assert_str_eq(paged("-severity"), "4 5 3 2 1 ");
    cr_assert_str_eq(paged("score"), "2 3 1 4 5 ");
    cr_assert_str_eq(paged("-score"), "5 4 1 3 2 ");
    cr_assert_str_eq(paged("created"), "1 2 3 4 5 ");
}

Test(filter, a_cursor_of_another_order_or_of_nobody_is_refused)
{
    static const char *const cursors[] = {"", "x", "!!!!", "aWR8MXwx", "LWlkfHh8MQ", "LWlkfDF8"};
    struct err e = {0};

    for (size_t i = 0; i < WIND_ARRAY_SIZE(cursors); i++) {
        WIND_AUTO(filter) struct filter *f = NULL;
        cr_assert_eq(filter_new(&f, FILTER_ALERTS, &e), 0);
        cr_expect_eq(filter_cursor(f, cursors[i], &e), -EINVAL, "%s", cursors[i]);
    }
}

Test(filter, incidents_have_their_own_keys)
{
    static const struct {
        const char *q;
        size_t n;
    } rows[] = {
        {"status:open", 2},         {"type:recon", 1},    {"alerts:>1", 1},
        {"severity:>=high", 2},     {"dst:fd00:1::2", 1}, {"attacker:10.9.0.66", 1},
        {"host:10.9.0.5", 1},       {"scanned", 1},       {"-status:open,resolved", 0},
        {"192.0.2.9", 1},           {"tag:none", 2},      {"assigned:none time:>2026-01-01", 2},
        {"type:intrusion,other", 1}};

    for (size_t i = 0; i < WIND_ARRAY_SIZE(rows); i++) {
        WIND_AUTO(filter) struct filter *f = NULL;
        WIND_AUTO(db_tx) struct db_tx *tx = NULL;
        char cursor[FILTER_CURSOR];
        struct err e = {0};
        cr_assert_eq(filter_new(&f, FILTER_INCIDENTS, &e), 0);
        cr_assert_eq(filter_search(f, rows[i].q, &e), 0, "%s: %s", rows[i].q, e.text);
        cr_assert_eq(db_begin_read(temp_db, &tx, &e), 0);
        json_t *list = shown_list(incident_list, tx, f, cursor);
        cr_expect_eq(json_array_size(list), rows[i].n, "%s: %zu", rows[i].q, json_array_size(list));
        json_decref(list);
    }
}
