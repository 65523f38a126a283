#include <errno.h>

#include "collector/alerts.h"
#include "collector/incidents.h"
#include "collector/search.h"
#include "support/batch.h"
#include "support/shown.h"

static void fill(void);

TestSuite(filter, .init = fill, .fini = batch_fini);

/* The text index takes what is there. */
static void fill_index(void)
{
    WIND_AUTO(search) struct search *s = NULL;
    const struct search_conf conf = {.db = temp_db};
    struct err e = {0};
    int r;

    cr_assert_eq(search_new(&s, &conf, &e), 0);
    while ((r = search_step(s, &e)) == 1)
        ;
    cr_assert_eq(r, 0, "%s", e.text);
}

/* Five alerts: ids 1..5. */
static void fill(void)
{
    static const struct batch_alert alerts[] = {
        {.n = 1, .at_s = 100, .severity = "low"},
        {.n = 2, .at_s = 200, .severity = "medium", .detector = "brute_force"},
        {.n = 3, .at_s = 300, .severity = "high", .attacker = "fd00::1", .victim = "fd00:1::2"},
        {.n = 4, .at_s = 400, .severity = "critical", .attacker = "192.0.2.9"},
        {.n = 5, .at_s = 500, .severity = "high", .victim = "10.255.255.255"},
    };
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;

    batch_init();
    batch_post(alerts, WIND_ARRAY_SIZE(alerts));
    cr_assert_eq(db_begin_write(temp_db, &tx, NULL), 0);
    cr_assert_eq(db_run(tx,
                        "UPDATE alerts SET status = 'closed', verdict = 'duplicate' "
                        "WHERE id = 1",
                        DB_NONE, NULL, NULL),
                 0);
    cr_assert_eq(db_run(tx, "UPDATE alerts SET score = NULL WHERE id = 2", DB_NONE, NULL, NULL), 0);
    cr_assert_eq(db_run(tx,
                        "UPDATE alerts SET score = 0.5, description = '100% A_b\\' "
                        "WHERE id = 3",
                        DB_NONE, NULL, NULL),
                 0);
    cr_assert_eq(db_run(tx, "INSERT INTO tags VALUES ('alerts', 4, 'vip')", DB_NONE, NULL, NULL),
                 0);
    cr_assert_eq(db_commit(&tx, NULL), 0);
    fill_index();
}

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

/* ---------------------------------------------------------------- many rows */

#define MANY  9000
#define HOSTS 64

static void put(struct db_tx *tx, const char *sql, const struct db_value *args, size_t n)
{
    struct err e = {0};

    cr_assert_eq(db_run(tx, sql, args, n, NULL, &e), 0, "%s: %s", sql, e.text);
}

/* 10.8.0.0 and so on. */
static struct db_value address(uint8_t bytes[16], int n)
{
    const uint8_t mapped[16] = {[10] = 255, [11] = 255, [12] = 10, [13] = 8};

    memcpy(bytes, mapped, 16);
    bytes[14] = (uint8_t)(n / 256);
    bytes[15] = (uint8_t)n;
    return db_bytes(bytes, 16);
}

/*
 * Every row has "common", every third "third", two have "rare", and each a word of its own. Each
 * has one of HOSTS attackers, every 500th a victim, and every second has a host in common, which
 * every fourth names twice.
 */
static void put_many(struct db_tx *tx)
{
    uint8_t addr[16];

    for (int i = 0; i <= HOSTS + 1; i++)
        put(tx, "INSERT INTO entities (id, kind, value, addr) VALUES ($1, 'host', $2, $3)",
            DB_ARGS(db_int(1000 + i), db_int(i), address(addr, i)));
    put(tx, "INSERT INTO entities (id, kind, value) VALUES (1100, 'user', '65')", DB_NONE);
    for (int i = 6; i <= MANY; i++) {
        const uint8_t uid[16] = {1, [14] = (uint8_t)(i >> 8), [15] = (uint8_t)i};
        put(tx,
            "INSERT INTO alerts (id, uid, rev, detected_at, severity, score, type, source, "
            "description, first_seen, last_seen, created_at, updated_at, src, dst_port, status, "
            "verdict) VALUES ($1, $3, 1, ($1 * 7919 % 100) * 1000, 1 + $1 % 4, "
            "CASE WHEN $1 % 9 > 0 THEN $1 % 7 / 7.0 END, 'many', 'lab', 'common ' || "
            "CASE WHEN $1 % 3 = 0 THEN 'third' ELSE 'other' END || "
            "CASE WHEN $1 IN (7, 8000) THEN ' rare' ELSE '' END || ' num' || $1, 1, 1, $1, 1, "
            "$2, $1 % 500, CASE WHEN $1 % 5 = 0 THEN 'closed' ELSE 'new' END, "
            "CASE WHEN $1 % 2000 = 0 THEN 'duplicate' END)",
            DB_ARGS(db_int(i), address(addr, i % HOSTS), db_bytes(uid, 16)));
    }
    put(tx,
        "INSERT INTO alert_entities (alert_id, pos, entity_id, role) "
        "SELECT id, 0, 1000 + id % 64, 'attacker' FROM alerts WHERE type = 'many'",
        DB_NONE);
    put(tx,
        "INSERT INTO alert_entities (alert_id, pos, entity_id, role) "
        "SELECT id, 1, 1064, 'victim' FROM alerts WHERE type = 'many' AND id % 500 = 0",
        DB_NONE);
    put(tx,
        "INSERT INTO alert_entities (alert_id, pos, entity_id, role) "
        "SELECT id, 2, 1065, 'related' FROM alerts WHERE type = 'many' AND id % 2 = 0",
        DB_NONE);
    put(tx,
        "INSERT INTO alert_entities (alert_id, pos, entity_id, role) "
        "SELECT id, 3, 1065, 'attacker' FROM alerts WHERE type = 'many' AND id % 4 = 0",
        DB_NONE);
    put(tx, "INSERT INTO tags SELECT 'alerts', id, 'few' FROM alerts WHERE id % 3000 = 0", DB_NONE);
}

/* The index is to take what was there before it. */
static void rebuild(void)
{
    WIND_AUTO(search) struct search *s = NULL;
    const struct search_conf conf = {.db = temp_db};
    struct err e = {0};

    cr_assert_eq(search_new(&s, &conf, &e), 0);
    cr_assert_eq(search_rebuild(s, &e), 0, "%s", e.text);
}

static void fill_many(void)
{
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;
    struct err e = {0};

    fill();
    cr_assert_eq(db_begin_write(temp_db, &tx, &e), 0);
    put_many(tx);
    cr_assert_eq(db_commit(&tx, &e), 0);
    rebuild();
    fill_index();
}

struct order {
    const char *sort, *sql;
};

static const struct table {
    enum filter_table what;
    const char *name;
    shown_list_fn *list;
} the_alerts = {FILTER_ALERTS, "alerts", alert_list},
  the_incidents = {FILTER_INCIDENTS, "incidents", incident_list};

/* At most `pages` of `q`: just the rows that `where` finds, in their order. */
static void expect_rows(const struct table *t, const char *q, const struct order *order,
                        const char *where, int pages)
{
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;
    char cursor[FILTER_CURSOR] = "", sql[512];
    struct err e = {0};

    (void)snprintf(sql, sizeof(sql), "SELECT id FROM %s WHERE %s ORDER BY %s", t->name, where,
                   order->sql);
    cr_assert_eq(db_begin_read(temp_db, &tx, &e), 0);
    cr_assert_eq(db_query(tx, sql, DB_NONE, &s, &e), 0, "%s", e.text);
    do {
        WIND_AUTO(filter) struct filter *f = NULL;
        json_t *list = NULL, *row;
        size_t i;
        cr_assert_eq(filter_new(&f, t->what, &e), 0);
        cr_assert_eq(filter_search(f, q, &e), 0, "%s", e.text);
        cr_assert_eq(filter_sort(f, order->sort, &e), 0);
        cr_assert_eq(filter_cursor(f, cursor[0] == '\0' ? NULL : cursor, &e), 0);
        filter_limit(f, 150);
        list = shown_list(t->list, tx, f, cursor);
        json_array_foreach(list, i, row)
        {
            const json_int_t id = json_integer_value(json_object_get(row, "id"));
            cr_assert_eq(db_step(s, &e), DB_ROW, "%s %s: %lld is too much", q, order->sort, id);
            cr_assert_eq(db_i64(s, 0), id, "%s %s: %lld instead of %lld", q, order->sort, id,
                         (long long)db_i64(s, 0));
        }
        json_decref(list);
    } while (cursor[0] != '\0' && --pages > 0);
    if (cursor[0] == '\0')
        cr_assert_eq(db_step(s, &e), 0, "%s %s: %lld is missing", q, order->sort,
                     (long long)db_i64(s, 0));
}

static void expect_pages(const char *q, const struct order *order, const char *where, int pages)
{
    expect_rows(&the_alerts, q, order, where, pages);
}

static const struct order orders[] = {
    {"-id", "id DESC"},
    {"id", "id"},
    {"-time", "detected_at DESC, id DESC"},
    {"time", "detected_at, id"},
    {"-severity", "severity DESC, id DESC"},
    {"score", "coalesce(score, -1), id"},
    {"-score", "coalesce(score, -1) DESC, id DESC"},
    {"updated", "updated_at, id"},
};

#define THIRD  "description LIKE '%third%'"
#define COMMON "type = 'many'"

Test(filter_many, what_is_searched_by_time_is_in_its_order, .init = fill_many, .fini = batch_fini)
{
    static const char q[] =
        "time:>1970-01-01T00:00:00.000010Z other -time:>1970-01-01T00:00:00.00009Z";
    static const char where[] =
        "detected_at > 10000 AND detected_at <= 90000 AND id > 5 AND NOT " THIRD;
    static const struct order by_time = {NULL, "detected_at DESC, id DESC"}, by_id = {"id", "id"};

    expect_pages(q, &by_time, where, 99);
    expect_pages(q, &by_id, where, 3);
    expect_pages("sort:-id created:>1970-01-01 num7000", &(struct order){NULL, "id DESC"},
                 "id = 7000", 3);
    expect_pages("-time:>1970-01-01T00:00:00.00009Z", &(struct order){NULL, "id DESC"},
                 "detected_at <= 90000", 3);
}

Test(filter_many, every_way_finds_the_same_rows, .init = fill_many, .fini = batch_fini)
{
    static const struct {
        const char *q, *where;
    } rows[] = {
        {"common", COMMON},
        {"comm third severity:high", THIRD " AND severity = 3"},
        {"rare", "id IN (7, 8000)"},
        {"\"common third rare\"", "description LIKE 'common third rare%'"},
        {"-third", "NOT " THIRD},
        {"-common", "id <= 5"},
        {"common -other -rare", THIRD " AND id <> 8000"},
        {"ommon", "FALSE"},
        {"num", COMMON},
        {"num7", "id = 7 OR id BETWEEN 70 AND 79 OR id BETWEEN 700 AND 799 OR "
                 "id BETWEEN 7000 AND 7999"},
        {"num7 third", "id % 3 = 0 AND (id BETWEEN 70 AND 79 OR id BETWEEN 700 AND 799 OR "
                       "id BETWEEN 7000 AND 7999)"},
        {"num80 third", "id % 3 = 0 AND (id BETWEEN 800 AND 809 OR id BETWEEN 8000 AND 8099)"},
        {"num8000 other", "id = 8000"},
        {"num77 -third", "id % 3 > 0 AND (id = 77 OR id BETWEEN 770 AND 779 OR "
                         "id BETWEEN 7700 AND 7799)"},
        {"host:10.8.0.0/16", COMMON},
        {"10.8.0.7", COMMON " AND id % 64 = 7"},
        {"host:10.8.0.7,10.8.0.8", COMMON " AND id % 64 IN (7, 8)"},
        {"attacker:10.8.0.0/28 severity:high", COMMON " AND id % 64 < 16 AND severity = 3"},
        {"victim:10.8.0.64", COMMON " AND id % 500 = 0"},
        {"victim:10.8.0.64 third", THIRD " AND id % 500 = 0"},
        {"attacker:10.8.0.64", "FALSE"},
        {"10.8.0.65", COMMON " AND id % 2 = 0"},
        {"10.8.0.65 third", THIRD " AND id % 2 = 0"},
        {"attacker:10.8.0.65 severity:low", COMMON " AND id % 4 = 0"},
        {"host:10.8.0.65 victim:10.8.0.64", COMMON " AND id % 500 = 0"},
        {"10.8.0.65 port:78", "dst_port = 78"},
        {"10.8.0.65 id:<4000 num", COMMON " AND id % 2 = 0 AND id < 4000"},
        {"-10.8.0.65 third", THIRD " AND id % 2 = 1"},
        {"entity:65", COMMON " AND id % 2 = 0"},
        {"host:10.8.0.66", "FALSE"},
        {"tag:few 10.8.0.65", "id IN (3000, 6000, 9000)"},
        {"-host:10.8.0.0/16", "id <= 5"},
        {"-host:10.8.0.7 third", THIRD " AND id % 64 <> 7"},
        {"src:10.8.0.7", COMMON " AND id % 64 = 7"},
        {"src:10.8.0.0/30 third", THIRD " AND id % 64 < 4"},
        {"src:10.8.0.7 dst:none status:closed", COMMON " AND id % 64 = 7 AND status = 'closed'"},
        {"src:none", "src IS NULL"},
        {"status:closed", "status = 'closed'"},
        {"status:closed third severity:high", "status = 'closed' AND severity = 3 AND " THIRD},
        {"status:new,closed -severity:high", "severity <> 3"},
        {"tag:few", "id IN (3000, 6000, 9000)"},
        {"-tag:few third", THIRD " AND id % 3000 > 0"},
        {"tag:none num9", COMMON " AND id % 3000 > 0 AND CAST(id AS TEXT) LIKE '9%'"},
        {"verdict:duplicate", "id = 1 OR id % 2000 = 0"},
        {"verdict:none third", THIRD " AND id % 2000 > 0"},
        {"id:>8990", "id > 8990"},
        {"id:<50 common", "id < 50 AND " COMMON},
        {"id:>100 id:<=300 third", "id > 100 AND id <= 300 AND " THIRD},
        {"time:>1970-01-01T00:00:00.000010Z time:<1970-01-01T00:00:00.000012Z",
         "detected_at = 11000"},
        {"time:<1970-01-01T00:00:00.000050Z other",
         "detected_at < 50000 AND id > 5 AND NOT " THIRD},
        {"port:77", "dst_port = 77"},
        {"port:77 host:10.8.0.0/16 status:new", "dst_port = 77 AND status = 'new' AND " COMMON},
        {"common port:>=485", "dst_port >= 485"},
        {"common num port:>=485", "dst_port >= 485"},
        {"port:4000", "FALSE"},
        {"time:>1970-01-01T00:00:00.000010Z port:77", "dst_port = 77 AND detected_at > 10000"},
        {"severity:high port:77", "dst_port = 77 AND severity = 3"},
        {"severity:>=high port:77", "dst_port = 77 AND severity >= 3"},
        {"severity:high third", "severity = 3 AND " THIRD},
        {"time:<1970-01-01T00:00:00.000010Z,>1970-01-01T00:00:00.00009Z",
         "detected_at < 10000 OR detected_at > 90000"},
        {"id:>3000 severity:>=high port:77,78", "id > 3000 AND severity >= 3 AND "
                                                "dst_port IN (77, 78)"},
        {"tag:none,few", COMMON " OR id <= 5 AND id <> 4"},
        {"-tag:none,few", "id = 4"},
        {"-tag:none", "id IN (4, 3000, 6000, 9000)"},
        {"verdict:none,duplicate third", THIRD},
        {"-verdict:none", "id = 1 OR id % 2000 = 0"},
        {"\"common third\" num7 severity:high",
         "severity = 3 AND id % 3 = 0 AND "
         "(id BETWEEN 70 AND 79 OR id BETWEEN 700 AND 799 OR id BETWEEN 7000 AND 7999)"},
        {"num7 com severity:high", "severity = 3 AND (id = 7 OR id BETWEEN 70 AND 79 OR "
                                   "id BETWEEN 700 AND 799 OR id BETWEEN 7000 AND 7999)"},
        {"score:>0.8 severity:high", "score > 0.8 AND severity = 3"},
        {"severity:>=high third src:10.8.0.0/26", THIRD " AND severity >= 3"},
        {"type:many source:lab port:499", COMMON " AND dst_port = 499"},
        {"entity:64", COMMON " AND id % 500 = 0"},
        {"entity:1", COMMON " AND id % 64 = 1"},
    };

    for (size_t i = 0; i < WIND_ARRAY_SIZE(rows); i++)
        for (size_t k = 0; k < WIND_ARRAY_SIZE(orders); k++)
            expect_pages(rows[i].q, &orders[k], rows[i].where, i % 8 == k ? 99 : 3);
}

/* ---------------------------------------------------------------- many incidents */

#define CASES 5000

static void put_cases(struct db_tx *tx)
{
    uint8_t addr[16];

    for (int i = 0; i < HOSTS; i++)
        put(tx, "INSERT INTO entities (id, kind, value, addr) VALUES ($1, 'host', $2, $3)",
            DB_ARGS(db_int(1000 + i), db_int(i), address(addr, i)));
    for (int i = 100; i < 100 + CASES; i++) {
        const uint8_t uid[16] = {2, [14] = (uint8_t)(i >> 8), [15] = (uint8_t)i};
        put(tx,
            "INSERT INTO incidents (id, uid, title, type, status, severity, created_at, "
            "updated_at, created_by, first_seen, last_seen, alert_count) VALUES ($1, $2, "
            "'case ' || CASE WHEN $1 % 3 = 0 THEN 'third' ELSE 'other' END || ' num' || $1, "
            "CASE WHEN $1 % 400 = 0 THEN 'dos' ELSE 'recon' END, "
            "CASE WHEN $1 % 5 = 0 THEN 'resolved' ELSE 'open' END, "
            "1 + $1 % 4, $1, $1 * 7919 % 100, 'wind', 1, $1 * 7919 % 1000, $1 % 50)",
            DB_ARGS(db_int(i), db_bytes(uid, 16)));
    }
    put(tx,
        "INSERT INTO incident_entities (entity_id, role, alert_type, incident_id) "
        "SELECT 1000 + id % 64, CASE WHEN id % 2 = 0 THEN 'attacker' ELSE 'victim' END, 'x', id "
        "FROM incidents WHERE id >= 100",
        DB_NONE);
    put(tx, "INSERT INTO tags SELECT 'incidents', id, 'few' FROM incidents WHERE id % 1000 = 0",
        DB_NONE);
}

static void fill_cases(void)
{
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;
    struct err e = {0};

    batch_init();
    cr_assert_eq(db_begin_write(temp_db, &tx, &e), 0);
    put_cases(tx);
    cr_assert_eq(db_commit(&tx, &e), 0);
    rebuild();
    fill_index();
}

Test(filter_cases, every_way_finds_the_same_incidents, .init = fill_cases, .fini = batch_fini)
{
    static const struct order by[] = {
        {"-id", "id DESC"},
        {"id", "id"},
        {"-time", "last_seen DESC, id DESC"},
        {"-severity", "severity DESC, id DESC"},
        {"alerts", "alert_count, id"},
        {"-updated", "updated_at DESC, id DESC"},
    };
    static const struct {
        const char *q, *where;
    } rows[] = {
        {"case", "id >= 100"},
        {"third", "title LIKE '%third%'"},
        {"-third", "title NOT LIKE '%third%'"},
        {"num5 type:dos", "id % 400 = 0 AND CAST(id AS TEXT) LIKE '5%'"},
        {"num5099", "id = 5099"},
        {"type:dos", "id % 400 = 0"},
        {"type:dos status:open,resolved case", "id % 400 = 0"},
        {"status:resolved", "id % 5 = 0"},
        {"status:open severity:critical type:dos", "FALSE"},
        {"severity:low type:dos", "id % 400 = 0"},
        {"severity:>=high", "severity >= 3"},
        {"alerts:>48 -status:open", "id % 50 = 49 AND status <> 'open'"},
        {"alerts:0 third", "id % 50 = 0 AND id % 3 = 0"},
        {"host:10.8.0.7", "id % 64 = 7"},
        {"host:10.8.0.0/16 type:dos", "id % 400 = 0"},
        {"attacker:10.8.0.0/28", "id % 64 < 16 AND id % 2 = 0"},
        {"victim:10.8.0.7,10.8.0.8", "id % 64 = 7"},
        {"-host:10.8.0.0/27 third", "id % 64 >= 32 AND id % 3 = 0"},
        {"tag:few", "id % 1000 = 0"},
        {"tag:none,few", "TRUE"},
        {"-tag:few status:resolved", "id % 1000 > 0 AND id % 5 = 0"},
        {"id:>5000 third", "id > 5000 AND id % 3 = 0"},
        {"time:>1970-01-01T00:00:00.0000005Z type:dos", "last_seen > 500 AND id % 400 = 0"},
        {"updated:<1970-01-01T00:00:00.00000001Z", "updated_at < 10"},
    };

    for (size_t i = 0; i < WIND_ARRAY_SIZE(rows); i++)
        for (size_t k = 0; k < WIND_ARRAY_SIZE(by); k++)
            expect_rows(&the_incidents, rows[i].q, &by[k], rows[i].where, i % 6 == k ? 99 : 3);
    expect_rows(&the_incidents, "time:>1970-01-01T00:00:00.0000005Z",
                &(struct order){NULL, "id DESC"}, "last_seen > 500", 3);
    expect_rows(&the_incidents, "created:<1970-01-01T00:00:00.0000015Z",
                &(struct order){NULL, "created_at DESC, id DESC"}, "created_at < 1500", 3);
}
