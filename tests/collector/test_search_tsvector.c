#include <criterion/criterion.h>

#include "collector/db_bulk.h"
#include "collector/search_token.h"
#include "collector/search_tsvector.h"
#include "support/temp_db.h"

TestSuite(search_tsvector, .init = temp_db_init, .fini = temp_db_fini);

#define ROWS 10

static struct buf vector_of(const char *tokens)
{
    struct buf b;

    buf_init(&b, (size_t)1 << 20);
    search_tsvector(&b, tokens, strlen(tokens));
    cr_assert(!b.failed);
    return b;
}

Test(search_tsvector, lexemes_are_in_the_order_of_their_bytes)
{
    static const char bytes[] = "\0\0\0\3"
                                "c2\0\0\1\0\2"
                                "c2x\0\0\1\0\7"
                                "evil\0\0\2\0\1\0\6";
    struct buf b = vector_of("evil c2 _ _ _ evil c2x");

    cr_assert_eq(b.len, sizeof(bytes) - 1);
    cr_assert_arr_eq(b.data, bytes, sizeof(bytes) - 1);
    buf_done(&b);
}

Test(search_tsvector, nothing_is_an_empty_one)
{
    struct buf b = vector_of("");

    cr_assert_eq(b.len, 4);
    cr_assert_arr_eq(b.data, "\0\0\0", 4);
    buf_done(&b);
}

Test(search_tsvector, what_has_no_room_fails)
{
    char room[8];
    struct buf b = BUF_FIXED(room);

    search_tsvector(&b, "evil c2", 7);
    cr_assert(b.failed);
}

/* ---------------------------------------------------------------- as PostgreSQL reads it */

/* 'evil':1 'c2':2  of the same tokens. */
static void put_as_text(struct buf *out, const char *tokens)
{
    for (unsigned at = 1; *tokens != '\0'; at++) {
        const size_t len = strcspn(tokens, " ");
        if (len != 1 || tokens[0] != SEARCH_GAP[0])
            buf_printf(out, "'%.*s':%u ", (int)len, tokens, at);
        tokens += len + (tokens[len] == ' ');
    }
}

static void expect_as_text(const char *tokens)
{
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;
    WIND_AUTO(db_bulk) struct db_bulk *rows = NULL;
    struct buf binary = vector_of(tokens), text;
    int64_t same = 0;
    struct err e = {0};

    buf_init(&text, (size_t)1 << 20);
    put_as_text(&text, tokens);
    cr_assert_eq(db_begin_write(temp_db, &tx, &e), 0);
    cr_assert_eq(db_bulk_begin(tx, "alert_text", "rowid, tokens", &rows, &e), 0, "%s", e.text);
    for (int i = 1; i <= ROWS; i++) /* the first few are no COPY */
        cr_assert_eq(
            db_bulk_row(rows, DB_ARGS(db_int(i), db_tsvector(binary.data, binary.len)), &e), 0);
    cr_assert_eq(db_bulk_end(&rows, &e), 0, "%s", e.text);
    cr_assert_eq(
        db_query_i64(tx,
                     "SELECT count(*) FROM alert_text WHERE tokens::text = ($1::tsvector)::text",
                     DB_ARGS(db_str(buf_text(&text))), &same, &e),
        0, "%s", e.text);
    cr_assert_eq(same, ROWS, "%.60s", tokens);
    buf_done(&binary);
    buf_done(&text);
}

Test(search_tsvector, postgresql_reads_what_it_would_parse)
{
    struct buf many;

    if (temp_db_url[0] == '\0')
        cr_skip_test("SQLite's index takes the tokens themselves");
    expect_as_text("");
    expect_as_text("evil c2 _ _ com evil 10 0 0 1 10");
    expect_as_text("b a aa ab a_c3 a b");
    buf_init(&many, (size_t)1 << 20);
    for (int i = 0; i < 20000; i++)
        buf_printf(&many, "%s%s%d", i == 0 ? "" : " ", i % 50 == 0 ? "often" : "w",
                   i % 50 == 0 ? 1 : i % 7000);
    expect_as_text(buf_text(&many));
    buf_done(&many);
}
