#include <criterion/criterion.h>
#include <errno.h>

#include "collector/db_bulk.h"
#include "support/temp_db.h"

TestSuite(db_bulk, .init = temp_db_init, .fini = temp_db_fini);

static struct db_tx *write_tx(void)
{
    struct db_tx *tx = NULL;

    cr_assert_eq(db_begin_write(temp_db, &tx, NULL), 0);
    return tx;
}

static int64_t number(struct db_tx *tx, const char *sql)
{
    int64_t n = -1;

    cr_assert_eq(db_query_i64(tx, sql, DB_NONE, &n, NULL), 0);
    return n;
}

/* Entities host-FIRST ... with ids from there. */
static int add_many(struct db_tx *tx, int64_t first, size_t n, struct err *e)
{
    WIND_AUTO(db_bulk) struct db_bulk *b = NULL;
    static const uint8_t addr[16] = {[10] = 255, [11] = 255, [12] = 10};
    char value[32];

    int r = db_bulk_begin(tx, "entities", "id, kind, value, addr", &b, e);
    for (size_t i = 0; r == 0 && i < n; i++) {
        (void)snprintf(value, sizeof(value), "host-%lld", (long long)(first + (int64_t)i));
        r = db_bulk_row(b,
                        DB_ARGS(db_int(first + (int64_t)i), db_str("host"), db_str(value),
                                i % 2 ? db_null() : db_bytes(addr, 16)),
                        e);
    }
    return r == 0 ? db_bulk_end(&b, e) : r;
}

static void commit_many(int64_t first, size_t n)
{
    struct db_tx *tx = write_tx();
    int64_t id = 0;
    struct err e = {0};

    cr_assert_eq(db_reserve(tx, "entities", n, &id, &e), 0, "%s", e.text);
    cr_assert_eq(id, first);
    cr_assert_eq(add_many(tx, id, n, &e), 0, "%s", e.text);
    cr_assert_eq(db_commit(&tx, &e), 0, "%s", e.text);
}

/* A plan that was made for an empty table is made again, long before the server looks at it. */
Test(db_bulk, statistics_follow_a_table_as_it_grows)
{
    static const char rows[] =
        "SELECT CAST(reltuples AS BIGINT) FROM pg_class WHERE relname = 'entities'";

    if (temp_db_url[0] == '\0')
        cr_skip_test("PostgreSQL alone: SQLite plans without statistics");
    commit_many(1, 1000);
    commit_many(1001, 100); /* past 1,024 */
    WIND_AUTO(db_tx) struct db_tx *tx = write_tx();
    cr_assert_eq(number(tx, rows), 1000);
}

Test(db_bulk, rows_of_all_types_arrive_as_they_were)
{
    WIND_AUTO(db_tx) struct db_tx *tx = write_tx();
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;
    struct err e = {0};
    size_t len;

    cr_assert_eq(add_many(tx, 1, 5000, &e), 0, "%s", e.text);
    cr_assert_eq(number(tx, "SELECT count(*) FROM entities"), 5000);
    cr_assert_eq(number(tx, "SELECT count(*) FROM entities WHERE addr IS NULL"), 2500);
    cr_assert_eq(
        db_query_row(tx, "SELECT value, addr FROM entities WHERE id = 4999", DB_NONE, &s, &e),
        DB_ROW);
    cr_assert_str_eq(db_text(s, 0), "host-4999");
    const uint8_t *addr = db_blob(s, 1, &len);
    cr_assert_eq(len, 16);
    cr_assert_eq(addr[12], 10);
}

Test(db_bulk, large_texts_and_reals_arrive)
{
    WIND_AUTO(db_tx) struct db_tx *tx = write_tx();
    WIND_AUTO(db_bulk) struct db_bulk *b = NULL;
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;
    struct err e = {0};
    char *text = malloc(1000001);
    uint8_t uid[16] = {7};

    memset(text, 'x', 1000000);
    text[1000000] = '\0';
    int64_t first = 0;
    int r = db_reserve(tx, "alerts", 10, &first, &e);
    if (r == 0)
        r = db_bulk_begin(tx, "alerts",
                          "id, uid, rev, detected_at, severity, type, source, description, score, "
                          "first_seen, last_seen, created_at, updated_at",
                          &b, &e);
    for (int i = 0; r == 0 && i < 10; i++) {
        uid[15] = (uint8_t)i;
        r = db_bulk_row(b,
                        DB_ARGS(db_int(first + i), db_bytes(uid, 16), db_int(1), db_int(-5),
                                db_int(3), db_str(""), db_str("s"), db_text_n(text, 1000000),
                                db_f64(-0.125), db_int(1), db_int(INT64_MAX), db_int(INT64_MIN),
                                db_int(0)),
                        &e);
    }
    cr_assert_eq(r, 0, "%s", e.text);
    cr_assert_eq(db_bulk_end(&b, &e), 0, "%s", e.text);
    cr_assert_null(b);
    cr_assert_eq(db_query_row(tx,
                              "SELECT description, score, type, last_seen, created_at, status "
                              "FROM alerts ORDER BY id DESC",
                              DB_NONE, &s, &e),
                 DB_ROW);
    cr_assert_str_eq(db_text(s, 0), text);
    cr_assert_eq(db_real(s, 1), -0.125);
    cr_assert_str_eq(db_text(s, 2), "");
    cr_assert_eq(db_i64(s, 3), INT64_MAX);
    cr_assert_eq(db_i64(s, 4), INT64_MIN);
    cr_assert_str_eq(db_text(s, 5), "new");
    free(text);
}

Test(db_bulk, a_key_that_is_there_is_an_outcome)
{
    WIND_AUTO(db_tx) struct db_tx *tx = write_tx();
    struct err e = {0};

    cr_assert_eq(add_many(tx, 1, 10, &e), 0);
    cr_assert_eq(add_many(tx, 10, 10, &e), DB_CONFLICT);
}

Test(db_bulk, the_number_of_values_is_checked)
{
    WIND_AUTO(db_tx) struct db_tx *tx = write_tx();
    WIND_AUTO(db_bulk) struct db_bulk *b = NULL;
    struct err e = {0};

    cr_assert_eq(db_bulk_begin(tx, "entities", "kind, value", &b, &e), 0);
    cr_assert_eq(db_bulk_row(b, DB_ARGS(db_str("host")), &e), -EINVAL);
}

Test(db_bulk, one_left_without_an_end_leaves_nothing_behind)
{
    WIND_AUTO(db_tx) struct db_tx *tx = write_tx();
    struct db_bulk *b = NULL;

    cr_assert_eq(db_bulk_begin(tx, "entities", "kind, value", &b, NULL), 0);
    cr_assert_eq(db_bulk_row(b, DB_ARGS(db_str("host"), db_str("a")), NULL), 0);
    cr_assert_null(db_bulk_free(b));
    tx = db_tx_free(tx);
    tx = write_tx();
    cr_assert_eq(number(tx, "SELECT count(*) FROM entities"), 0);
}

Test(db_bulk, blocks_of_ids_follow_each_other_and_what_is_there)
{
    static const char *const tables[] = {"entities", "alerts"}; /* without and with a counter */

    for (size_t i = 0; i < 2; i++) {
        WIND_AUTO(db_tx) struct db_tx *tx = write_tx();
        int64_t a = 0, b = 0;
        cr_assert_eq(db_reserve(tx, tables[i], 1000, &a, NULL), 0);
        cr_assert_eq(db_reserve(tx, tables[i], 1, &b, NULL), 0);
        cr_assert_eq(b, a + 1000);
        cr_assert_eq(db_commit(&tx, NULL), 0);
    }
    WIND_AUTO(db_tx) struct db_tx *tx = write_tx();
    int64_t first = 0;
    cr_assert_eq(add_many(tx, 5000, 1, NULL), 0);
    cr_assert_eq(db_reserve(tx, "entities", 1, &first, NULL), 0);
    cr_assert_geq(first, 1002);
    cr_assert_neq(first, 5000);
}

Test(db_bulk, a_row_without_an_id_comes_after_a_block)
{
    WIND_AUTO(db_tx) struct db_tx *tx = write_tx();
    int64_t first = 0, id = 0;

    cr_assert_eq(db_reserve(tx, "entities", 10, &first, NULL), 0);
    cr_assert_eq(add_many(tx, first, 10, NULL), 0);
    cr_assert_eq(db_query_i64(tx,
                              "INSERT INTO entities (kind, value) VALUES ('user', 'x') "
                              "RETURNING id",
                              DB_NONE, &id, NULL),
                 0);
    cr_assert_geq(id, first + 10);
}

/* ---------------------------------------------------------------- arrays */

Test(db_bulk, any_of_an_array_finds_its_rows)
{
    WIND_AUTO(db_tx) struct db_tx *tx = write_tx();
    const int64_t ids[] = {2, 4, 400, 6};
    struct err e = {0};
    const struct db_value words[] = {db_str("host-2"), db_str("nobody"), db_null()};
    int64_t n = -1;

    cr_assert_eq(add_many(tx, 1, 10, NULL), 0);
    cr_assert_eq(db_query_i64(tx, "SELECT count(*) FROM entities WHERE id = ANY($1) AND id <> $2",
                              DB_ARGS(db_ints(ids, 4), db_int(6)), &n, &e),
                 0, "%s", e.text);
    cr_assert_eq(n, 2);
    cr_assert_eq(db_query_i64(tx, "SELECT count(*) FROM entities WHERE value = ANY($1)",
                              DB_ARGS(db_array(DB_TYPE_TEXT, words, 3)), &n, NULL),
                 0);
    cr_assert_eq(n, 1);
    cr_assert_eq(db_query_i64(tx, "SELECT count(*) FROM entities WHERE id = ANY($1)",
                              DB_ARGS(db_ints(NULL, 0)), &n, NULL),
                 0);
    cr_assert_eq(n, 0);
}

Test(db_bulk, arrays_of_one_length_are_rows)
{
    static const char sql[] =
        "INSERT INTO entities (kind, value, addr) SELECT t.k, t.v, t.a "
        "FROM unnest($1, $2, $3) AS t(k, v, a) WHERE true ON CONFLICT (kind, value) DO NOTHING "
        "RETURNING value";
    static const uint8_t addr[16] = {1};
    WIND_AUTO(db_tx) struct db_tx *tx = write_tx();
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;
    const struct db_value kinds[] = {db_str("host"), db_str("user"), db_str("host")};
    const struct db_value values[] = {db_str("a"), db_str("b"), db_str("a")};
    const struct db_value addrs[] = {db_bytes(addr, 16), db_null(), db_null()};
    struct err e = {0};
    int rows = 0;

    cr_assert_eq(
        db_query(tx, sql,
                 DB_ARGS(db_array(DB_TYPE_TEXT, kinds, 3), db_array(DB_TYPE_TEXT, values, 3),
                         db_array(DB_TYPE_BLOB, addrs, 3)),
                 &s, &e),
        0, "%s", e.text);
    while (db_step(s, &e) == DB_ROW)
        rows++;
    cr_assert_eq(rows, 2, "%s", e.text);
    cr_assert_eq(number(tx, "SELECT count(*) FROM entities WHERE addr IS NOT NULL"), 1);
    cr_assert_eq(
        db_again(s,
                 DB_ARGS(db_array(DB_TYPE_TEXT, kinds, 0), db_array(DB_TYPE_TEXT, values, 0),
                         db_array(DB_TYPE_BLOB, addrs, 0)),
                 &e),
        0);
    cr_assert_eq(db_step(s, &e), 0);
}

Test(db_bulk, numbers_reals_and_nulls_come_out_of_arrays)
{
    WIND_AUTO(db_tx) struct db_tx *tx = write_tx();
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;
    const struct db_value reals[] = {db_f64(0.5), db_null()};
    const int64_t numbers[] = {7, 8};
    struct err e = {0};

    cr_assert_eq(
        db_query_row(tx, "SELECT t.n, t.r FROM unnest($2, $1) AS t(r, n) ORDER BY t.n DESC",
                     DB_ARGS(db_ints(numbers, 2), db_array(DB_TYPE_F64, reals, 2)), &s, &e),
        DB_ROW, "%s", e.text);
    cr_assert_eq(db_i64(s, 0), 8);
    cr_assert(db_is_null(s, 1));
    cr_assert_eq(db_step(s, &e), DB_ROW);
    cr_assert_eq(db_real(s, 1), 0.5);
}
