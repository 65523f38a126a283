/* The page of rows that a search finds. */
#include "collector/filter_way.h"

/* The statement that gives the rows. NULL: there are none. */
static int find(struct filter *f, struct db_tx *tx, const struct filter_rows *rows,
                struct db_stmt **ret_stmt, struct err *e)
{
    char match[FILTER_WORDS_BYTES];
    struct filter_words words;
    struct filter_plan p;

    words.match = BUF_FIXED(match);
    int r = filter_way(f, tx, &words, &p, e);
    if (r != 0 || (f->is_picked && f->n_picked == 0))
        return r;
    r = filter_query(f, tx, &p, rows->columns, ret_stmt, e);
    if (r == 0 && rows->look != NULL && db_engine(tx) == DB_POSTGRES) {
        r = rows->look(tx, *ret_stmt, rows->arg, e);
        db_rewind(*ret_stmt);
    }
    return r;
}

int filter_page(struct filter *f, struct db_tx *tx, const struct filter_rows *rows, struct jsonw *j,
                char ret_cursor[FILTER_CURSOR], struct err *e)
{
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;
    const int value = rows->n_columns;
    char last[FILTER_CURSOR] = "";
    int64_t n = 0;

    int r = find(f, tx, rows, &s, e);
    if (r != 0)
        return r;
    memcpy(ret_cursor, f->is_picked ? f->picked_cursor : last, sizeof(last));
    while (s != NULL && (r = db_step(s, e)) == DB_ROW) {
        if (n++ == f->limit) {
            memcpy(ret_cursor, last, sizeof(last));
            return 0;
        }
        if (n == f->limit)
            filter_cursor_of(f, db_i64(s, value), db_real(s, value), db_i64(s, value + 1), last);
        r = rows->row(tx, s, j, rows->arg, e);
        if (r != 0)
            return r;
    }
    return r;
}
