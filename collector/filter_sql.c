/* The printer of a search as SQL, and the page of rows that it finds. */
#include <errno.h>

#include "collector/filter_tree.h"
#include "collector/search_token.h"

#define SQL_MAX  ((size_t)64 * 1024)
#define SQL_ARGS (2 * FILTER_ARGS + 8)

struct sql {
    enum db_engine engine;
    struct buf text, match;
    struct db_value args[SQL_ARGS];
    size_t n_args;
};

static void add_arg(struct sql *q, struct db_value v)
{
    WIND_CHECK(q->n_args < SQL_ARGS); /* two for each value of the filter, and a few */
    q->args[q->n_args++] = v;
}

/* A template with `?` numbered from the parameter that comes next, and `#` replaced. */
static void put_sql(struct sql *q, const char *sql, const char *op)
{
    size_t next = q->n_args + 1;

    for (const char *p = sql; *p != '\0'; p++) {
        if (*p == '?')
            buf_printf(&q->text, "$%zu", next++);
        else if (*p == '#')
            buf_puts(&q->text, op);
        else
            buf_putc(&q->text, *p);
    }
}

static void put_value(struct sql *q, const struct filter_key *k, const struct filter_value *v)
{
    static const char *const ops[] = {[FILTER_EQ] = "=", [FILTER_LT] = "<",  [FILTER_LE] = "<=",
                                      [FILTER_GT] = ">", [FILTER_GE] = ">=", [FILTER_UNSET] = ""};

    if (v->op == FILTER_UNSET) {
        buf_puts(&q->text, k->none);
        return;
    }
    put_sql(q, k->sql, ops[v->op]);
    switch (k->kind) {
    case FILTER_REAL:
        add_arg(q, db_f64(v->real));
        break;
    case FILTER_UID:
        add_arg(q, db_bytes(v->first, 16));
        break;
    case FILTER_NET:
        add_arg(q, db_bytes(v->first, 16));
        add_arg(q, db_bytes(v->last, 16));
        break;
    case FILTER_SEVERITY:
    case FILTER_INT:
    case FILTER_TIME:
        add_arg(q, db_int(v->i));
        break;
    case FILTER_WORD:
    case FILTER_TEXT:
    case FILTER_LOWER:
    default:
        add_arg(q, db_str(v->text));
        break;
    }
}

/* ---------------------------------------------------------------- words */

/* "evil c2 com" *  of FTS5: tokens have no signs that would mean something there. */
static void put_fts5(struct buf *b, const struct filter *f, const struct filter_term *t)
{
    buf_printf(b, "\"%s\"%s", f->values[t->first].text, t->is_prefix ? " *" : "");
}

/* 'evil' <-> 'c2' <-> 'com':*  of PostgreSQL. */
static void put_tsquery(struct buf *b, const struct filter *f, const struct filter_term *t)
{
    const char *token = f->values[t->first].text;

    buf_putc(b, '(');
    for (size_t len = 0; *token != '\0'; token += len + (token[len] != '\0')) {
        len = strcspn(token, " ");
        buf_printf(b, "'%.*s'%s", (int)len, token,
                   token[len] != '\0' ? " <-> "
                   : t->is_prefix     ? ":*"
                                      : "");
    }
    buf_putc(b, ')');
}

/* All words of one sign, as one question to the text index. */
static void put_words(struct sql *q, const struct filter *f, bool is_negated)
{
    static const char *const signs[2][2] = {
        [DB_SQLITE] = {" AND ", " OR "}, [DB_POSTGRES] = {" & ", " | "}};
    const size_t before = q->match.len;
    size_t n = 0;

    for (size_t i = 0; i < f->n_terms; i++) {
        const struct filter_term *t = &f->terms[i];
        if (t->key != NULL || t->is_negated != is_negated)
            continue;
        if (n++ > 0)
            buf_puts(&q->match, signs[q->engine][is_negated]);
        if (q->engine == DB_SQLITE)
            put_fts5(&q->match, f, t);
        else
            put_tsquery(&q->match, f, t);
    }
    if (n == 0)
        return;
    buf_printf(&q->text, " AND %s%s", f->table->id, is_negated ? " NOT" : "");
    put_sql(q, f->table->match[q->engine], "");
    add_arg(q, db_text_n(q->match.data + before, q->match.len - before));
}

/* ---------------------------------------------------------------- the query */

static void put_term(struct sql *q, const struct filter *f, const struct filter_term *t)
{
    /* NOT of an unset value is true here: "-verdict:duplicate" also finds those without one. */
    buf_puts(&q->text, t->is_negated ? " AND NOT coalesce((" : " AND (");
    for (size_t i = 0; i < t->n; i++) {
        if (i > 0)
            buf_puts(&q->text, " OR ");
        put_value(q, t->key, &f->values[t->first + i]);
    }
    buf_puts(&q->text, t->is_negated ? "), FALSE)" : ")");
}

static void put_where(struct sql *q, const struct filter *f)
{
    if (f->is_picked) {
        buf_printf(&q->text, " AND %s = ANY($1)", f->table->id);
        add_arg(q, db_ints(f->picked, f->n_picked));
        return;
    }
    for (size_t i = 0; i < f->n_terms; i++)
        if (f->terms[i].key != NULL)
            put_term(q, f, &f->terms[i]);
    put_words(q, f, false);
    put_words(q, f, true);
    if (!f->has_cursor)
        return;
    buf_printf(&q->text, " AND (%s, %s) %s ($%zu, $%zu)", f->sort->sql, f->table->id,
               f->is_descending ? "<" : ">", q->n_args + 1, q->n_args + 2);
    add_arg(q, f->sort->is_real ? db_f64(f->cursor_real) : db_int(f->cursor_int));
    add_arg(q, db_int(f->cursor_id));
}

static int query(const struct filter *f, struct db_tx *tx, const char *columns,
                 struct db_stmt **ret_stmt, struct err *e)
{
    const char *way = f->is_descending ? "DESC" : "ASC";
    struct sql q;

    q.engine = db_engine(tx);
    q.n_args = 0;
    buf_init(&q.text, SQL_MAX);
    buf_init(&q.match, SQL_MAX);
    (void)buf_grow(&q.match, FILTER_TEXTS * 2); /* args point into it */
    buf_printf(&q.text, "%sSELECT %s, %s, %s FROM %s WHERE 1 = 1", f->n_terms > 0 ? DB_PLANNED : "",
               columns, f->sort->sql, f->table->id, f->table->from);
    put_where(&q, f);
    buf_printf(&q.text, " ORDER BY %s %s, %s %s LIMIT %lld", f->sort->sql, way, f->table->id, way,
               (long long)f->limit + 1);
    const int r = q.text.failed || q.match.failed
                      ? err_set(e, -ENOMEM, "out of memory")
                      : db_query(tx, buf_text(&q.text), q.args, q.n_args, ret_stmt, e);
    buf_done(&q.text);
    buf_done(&q.match);
    return r;
}

int filter_page(struct filter *f, struct db_tx *tx, const struct filter_rows *rows, struct jsonw *j,
                char ret_cursor[FILTER_CURSOR], struct err *e)
{
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;
    const int value = rows->n_columns;
    char last[FILTER_CURSOR] = "";
    int64_t n = 0;

    memcpy(ret_cursor, f->is_picked ? f->picked_cursor : last, sizeof(last));
    if (f->is_picked && f->n_picked == 0)
        return 0;
    int r = query(f, tx, rows->columns, &s, e);
    if (r != 0)
        return r;
    while ((r = db_step(s, e)) == DB_ROW) {
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
