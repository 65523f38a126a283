#include "collector/filter_query.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "collector/filter_sql.h"

/* ---------------------------------------------------------------- the query */

/* All rows have the same value of what they are sorted by. */
static bool is_fixed(const struct filter *f)
{
    for (size_t i = 0; i < f->n_terms; i++)
        if (!f->terms[i].is_negated && filter_is_bound(f, &f->terms[i]) &&
            f->values[f->terms[i].first].op == FILTER_EQ)
            return true;
    return false;
}

/* A list that is sorted is not to come from an index of that order, unless its own has it. */
static const char *order_plus(const struct filter_sql *q)
{
    const enum filter_way way = q->plan->way;
    const bool is_by_id = strcmp(q->f->sort->sql, q->f->table->id) == 0;

    if (q->engine == DB_POSTGRES || (way != FILTER_SEEK && way != FILTER_LIST))
        return "";
    return is_by_id && (way == FILTER_LIST || q->f->terms[q->plan->seek].key->select != NULL) ? ""
                                                                                              : "+";
}

/* SQLite has no index of two values for an expression: its bound stands there by itself, too. */
static void put_bound(struct filter_sql *q, const char *op, const char *one, struct db_value value,
                      int64_t id)
{
    const struct filter *f = q->f;
    const char *plus = order_plus(q);
    const size_t n = q->n_args + 1;

    if (is_fixed(f)) {
        buf_printf(&q->text, " AND %s%s %s $%zu", plus, f->table->id, op, n);
        filter_sql_arg(q, db_int(id));
        return;
    }
    if (f->sort->is_real && q->engine == DB_SQLITE)
        buf_printf(&q->text, " AND %s%s %s $%zu", plus, f->sort->sql, one, n);
    buf_printf(&q->text, " AND (%s%s, %s) %s ($%zu, $%zu)", plus, f->sort->sql, f->table->id, op, n,
               n + 1);
    filter_sql_arg(q, value);
    filter_sql_arg(q, db_int(id));
}

static void put_cursor(struct filter_sql *q)
{
    const struct filter *f = q->f;
    const char *op = f->is_descending ? "<" : ">";

    if (q->plan->way == FILTER_DRIVE) {
        buf_printf(&q->text, " AND %s.rowid %s $%zu", f->table->text, op, q->n_args + 1);
        filter_sql_arg(q, db_int(f->cursor_id));
        return;
    }
    put_bound(q, op, f->is_descending ? "<=" : ">=",
              f->sort->is_real ? db_f64(f->cursor_real) : db_int(f->cursor_int), f->cursor_id);
}

static void put_edge(struct filter_sql *q, const struct filter_edge *edge)
{
    const char *op = q->f->is_descending ? ">=" : "<=";

    put_bound(q, op, op, edge->value, edge->id);
}

static void put_where(struct filter_sql *q)
{
    const struct filter *f = q->f;

    if (f->is_picked) {
        buf_printf(&q->text, " AND %s = ANY($1)", f->table->id);
        filter_sql_arg(q, db_ints(f->picked, f->n_picked));
        return;
    }
    /* The nearest bounds first: SQLite goes by the first that it finds. */
    if (f->has_cursor)
        put_cursor(q);
    if (q->plan->edge != NULL)
        put_edge(q, q->plan->edge);
    filter_sql_words(q);
    for (size_t i = 0; i < f->n_terms; i++)
        if (f->terms[i].key != NULL)
            filter_sql_term(q, i);
}

static void put_query(struct filter_sql *q, const char *columns)
{
    const struct filter *f = q->f;
    const struct filter_keys *t = f->table;
    const char *order = f->is_descending ? "DESC" : "ASC";

    buf_printf(&q->text, "%sSELECT %s, %s, %s FROM ", f->n_terms > 0 ? DB_PLANNED : "", columns,
               f->sort->sql, t->id);
    if (q->plan->way == FILTER_DRIVE)
        buf_printf(&q->text, "%s CROSS JOIN %s ON %s = %s.rowid", t->text, t->from, t->id, t->text);
    else
        buf_puts(&q->text, t->from);
    buf_puts(&q->text, " WHERE 1 = 1");
    put_where(q);
    if (q->plan->way == FILTER_DRIVE)
        buf_printf(&q->text, " ORDER BY %s.rowid %s", t->text, order);
    else
        buf_printf(&q->text, " ORDER BY %s%s %s, %s %s", order_plus(q), f->sort->sql, order, t->id,
                   order);
    buf_printf(&q->text, " LIMIT %lld", (long long)f->limit + 1);
}

int filter_query(const struct filter *f, struct db_tx *tx, const struct filter_plan *p,
                 const char *columns, struct db_stmt **ret_stmt, struct err *e)
{
    char match[2 * FILTER_TEXTS];
    struct filter_sql q;

    filter_sql_begin(&q, f, tx, p, BUF_FIXED(match));
    put_query(&q, columns);
    const int r = q.text.failed || q.match.failed
                      ? err_set(e, -ENOMEM, "out of memory")
                      : db_query(tx, buf_text(&q.text), q.args, q.n_args, ret_stmt, e);
    buf_done(&q.text);
    return r;
}

/* ---------------------------------------------------------------- how many, and how far */

int filter_find_edge(const struct filter *f, struct db_tx *tx, const struct filter_plan *p,
                     int rows, struct filter_edge *ret_edge, struct err *e)
{
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;
    const char *order = f->is_descending ? "DESC" : "ASC";
    const struct filter_keys *t = f->table;
    struct filter_sql q;

    filter_sql_begin(&q, f, tx, p, (struct buf){.data = NULL});
    buf_printf(&q.text, "SELECT %s, %s FROM %s WHERE 1 = 1", f->sort->sql, t->id, t->from);
    if (f->has_cursor)
        put_cursor(&q);
    for (size_t i = 0; i < f->n_terms; i++)
        if (i == p->along || (!f->terms[i].is_negated && filter_is_bound(f, &f->terms[i])))
            filter_sql_term(&q, i);
    buf_printf(&q.text, " ORDER BY %s %s, %s %s LIMIT 1 OFFSET %d", f->sort->sql, order, t->id,
               order, rows);
    const int r = q.text.failed ? err_set(e, -ENOMEM, "out of memory")
                                : db_query_row(tx, buf_text(&q.text), q.args, q.n_args, &s, e);
    buf_done(&q.text);
    if (r == DB_ROW)
        *ret_edge = (struct filter_edge){
            f->sort->is_real ? db_f64(db_real(s, 0)) : db_int(db_i64(s, 0)), db_i64(s, 1)};
    return r;
}

int filter_find_entity(const struct filter *f, struct db_tx *tx, size_t term, int64_t *ret_entity,
                       struct err *e)
{
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;
    const struct filter_plan plain = {.way = FILTER_PLAIN, .along = FILTER_NO_TERM};
    const struct filter_term *t = &f->terms[term];
    struct filter_sql q;
    int n = 0;

    filter_sql_begin(&q, f, tx, &plain, (struct buf){.data = NULL});
    buf_puts(&q.text, t->key->select->entity);
    filter_sql_value(&q, t->key, &f->values[t->first], true);
    buf_puts(&q.text, " LIMIT 2");
    int r = q.text.failed ? err_set(e, -ENOMEM, "out of memory")
                          : db_query(tx, buf_text(&q.text), q.args, q.n_args, &s, e);
    buf_done(&q.text);
    for (; r == 0 && (r = db_step(s, e)) == DB_ROW; r = 0) {
        *ret_entity = db_i64(s, 0);
        n++;
    }
    return r < 0 ? r : n;
}

static int count(struct filter_sql *q, struct db_tx *tx, int64_t *ret_n, struct err *e)
{
    const int r = q->text.failed || q->match.failed
                      ? err_set(e, -ENOMEM, "out of memory")
                      : db_query_i64(tx, buf_text(&q->text), q->args, q->n_args, ret_n, e);

    buf_done(&q->text);
    return r;
}

int filter_count_term(const struct filter *f, struct db_tx *tx, size_t term, int64_t most,
                      int64_t *ret_n, struct err *e)
{
    const struct filter_plan plan = {.way = FILTER_SEEK, .seek = term, .along = FILTER_NO_TERM};
    const struct filter_select *select = f->terms[term].key->select;
    struct filter_sql q;

    filter_sql_begin(&q, f, tx, &plan, (struct buf){.data = NULL});
    buf_puts(&q.text, "SELECT count(*) FROM (SELECT 1 ");
    if (select != NULL) {
        filter_sql_from(&q, select, &f->terms[term], true);
    } else {
        buf_printf(&q.text, "FROM %s WHERE 1 = 1", f->table->from);
        for (size_t i = 0; i < f->n_terms; i++)
            if (f->terms[i].key != NULL && filter_is_sought_with(f, i, term))
                filter_sql_term(&q, i);
    }
    buf_printf(&q.text, " LIMIT $%zu)", q.n_args + 1);
    filter_sql_arg(&q, db_int(most));
    return count(&q, tx, ret_n, e);
}

int filter_count_words(const struct filter *f, struct db_tx *tx, const struct filter_words *w,
                       int64_t most, int64_t *ret_n, struct err *e)
{
    const struct filter_plan plan = {.way = FILTER_LIST, .along = FILTER_NO_TERM, .words = w};
    const char *text = f->table->text;
    char match[2 * FILTER_TEXTS];
    struct filter_sql q;

    filter_sql_begin(&q, f, tx, &plan, BUF_FIXED(match));
    const struct filter_match words = filter_match_of(&q, false);
    filter_sql_arg(&q, db_text_n(words.p, words.len));
    filter_sql_arg(&q, db_int(most));
    buf_printf(&q.text, "SELECT count(*) FROM (SELECT 1 FROM %s WHERE %s MATCH $1 LIMIT $2)", text,
               text);
    return count(&q, tx, ret_n, e);
}

static int list(struct filter_sql *q, struct db_tx *tx, struct filter_ids *ret_ids, struct err *e)
{
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;
    int r = q->text.failed || q->match.failed
                ? err_set(e, -ENOMEM, "out of memory")
                : db_query(tx, buf_text(&q->text), q->args, q->n_args, &s, e);

    buf_done(&q->text);
    ret_ids->n = 0;
    for (; r == 0 && (r = db_step(s, e)) == DB_ROW; r = 0)
        ret_ids->id[ret_ids->n++] = db_i64(s, 0);
    return r;
}

int filter_list_along(const struct filter *f, struct db_tx *tx, const struct filter_plan *p,
                      size_t most, struct filter_ids *ret_ids, struct err *e)
{
    const char *order = f->is_descending ? "DESC" : "ASC";
    struct filter_sql q;

    WIND_CHECK(most <= FILTER_FAR);
    filter_sql_begin(&q, f, tx, p, (struct buf){.data = NULL});
    buf_puts(&q.text, "SELECT x.id FROM (");
    filter_sql_along(&q, f->terms[p->along].key->select, order, most);
    buf_printf(&q.text, ") x ORDER BY x.id %s LIMIT %zu", order, most);
    return list(&q, tx, ret_ids, e);
}

int filter_list_words(const struct filter *f, struct db_tx *tx, size_t most,
                      struct filter_ids *ret_ids, struct err *e)
{
    const struct filter_plan plan = {.way = FILTER_LIST, .along = FILTER_NO_TERM};
    char match[2 * FILTER_TEXTS];
    struct filter_sql q;

    WIND_CHECK(most <= FILTER_FAR);
    filter_sql_begin(&q, f, tx, &plan, BUF_FIXED(match));
    const struct filter_match words = filter_match_of(&q, false);
    filter_sql_arg(&q, db_text_n(words.p, words.len));
    buf_printf(&q.text, DB_PLANNED "SELECT rowid FROM %s WHERE tokens @@ $1::tsquery LIMIT %zu",
               f->table->text, most);
    return list(&q, tx, ret_ids, e);
}

/* As a truth the match is none that the index of words would serve: the rows are known. */
int filter_narrow_words(const struct filter *f, struct db_tx *tx, struct filter_ids *ids,
                        struct err *e)
{
    const struct filter_plan plan = {.way = FILTER_LIST, .along = FILTER_NO_TERM};
    char match[2 * FILTER_TEXTS];
    struct filter_ids found;
    struct filter_sql q;

    filter_sql_begin(&q, f, tx, &plan, BUF_FIXED(match));
    const struct filter_match words = filter_match_of(&q, false);
    filter_sql_arg(&q, db_ints(ids->id, ids->n));
    filter_sql_arg(&q, db_text_n(words.p, words.len));
    buf_printf(&q.text,
               "SELECT rowid FROM %s WHERE rowid = ANY($1) AND (tokens @@ $2::tsquery) IS TRUE",
               f->table->text);
    const int r = list(&q, tx, &found, e);
    *ids = found;
    return r;
}
