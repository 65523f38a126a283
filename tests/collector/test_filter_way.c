/* Whichever way a database goes to a page, it finds the rows that plain SQL finds. */
#include <errno.h>

#include "collector/alerts.h"
#include "collector/incidents.h"
#include "support/filtering.h"
#include "support/shown.h"

/* ---------------------------------------------------------------- many alerts */

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
 * has one of HOSTS attackers, every 500th a victim, every second has a host in common, which every
 * fourth names twice, and the later ones have a victim that attacks once, named three times.
 */
static void put_many(struct db_tx *tx)
{
    uint8_t addr[16];

    for (int i = 0; i <= HOSTS + 2; i++)
        put(tx, "INSERT INTO entities (id, kind, value, addr) VALUES ($1, 'host', $2, $3)",
            DB_ARGS(db_int(1000 + i), db_int(i), address(addr, i)));
    put(tx, "INSERT INTO entities (id, kind, value) VALUES (1100, 'user', '65')", DB_NONE);
    put(tx, "INSERT INTO entities (id, kind, value, addr) VALUES (1101, 'host', 'again', $1)",
        DB_ARGS(address(addr, 3)));
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
    put(tx,
        "INSERT INTO alert_entities (alert_id, pos, entity_id, role) "
        "SELECT id, p, 1066, CASE WHEN id = 6000 THEN 'attacker' ELSE 'victim' END FROM alerts, "
        "(SELECT 4 AS p UNION SELECT 5 UNION SELECT 6) ps WHERE type = 'many' AND id > 4000",
        DB_NONE);
    put(tx, "INSERT INTO tags SELECT 'alerts', id, 'few' FROM alerts WHERE id % 3000 = 0", DB_NONE);
}

/* The index is to take what was there before it. */
static void rebuild(void)
{
    WIND_AUTO(search) struct search *s = searching_new();
    struct err e = {0};

    cr_assert_eq(search_rebuild(s, &e), 0, "%s", e.text);
}

static void fill_many(void)
{
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;
    struct err e = {0};

    filtering_five();
    cr_assert_eq(db_begin_write(temp_db, &tx, &e), 0);
    put_many(tx);
    cr_assert_eq(db_commit(&tx, &e), 0);
    rebuild();
    filtering_index();
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
        filter_limit(f, 50 + (int64_t)strlen(q) * 7 % 151);
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
        {"10.8.0.65 rare", "id = 8000"},
        {"10.8.0.65 num100", "id % 2 = 0 AND (id = 100 OR id BETWEEN 1000 AND 1009)"},
        {"10.8.0.65 10.8.0.66", "id > 4000 AND id % 2 = 0"},
        {"10.8.0.66 -10.8.0.65", "id > 4000 AND id % 2 = 1"},
        {"10.8.0.65 id:<4000 num", COMMON " AND id % 2 = 0 AND id < 4000"},
        {"-10.8.0.65 third", THIRD " AND id % 2 = 1"},
        {"entity:65", COMMON " AND id % 2 = 0"},
        {"10.8.0.66", "id > 4000"},
        {"victim:10.8.0.66", "id > 4000 AND id <> 6000"},
        {"attacker:10.8.0.66", "id = 6000"},
        {"10.8.0.66 id:>8000", "id > 8000"},
        {"10.8.0.66 id:<5000 id:>=4900 third", "id >= 4900 AND id < 5000 AND " THIRD},
        {"-severity:high 10.8.0.66 status:new status:closed", "FALSE"},
        {"severity:high 10.8.0.66 status:new", "id > 4000 AND severity = 3 AND status = 'new'"},
        {"host:10.8.0.3", COMMON " AND id % 64 = 3"}, /* two have that address */
        {"host:10.8.0.67", "FALSE"},
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
    filtering_index();
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
