/* The printer of a search as SQL, and the page of rows that it finds. */
#include <errno.h>
#include <stdio.h>

#include "collector/filter_tree.h"
#include "collector/search_token.h"

#define SQL_MAX  ((size_t)64 * 1024)
#define PROBED   4000 /* rows, at 2 us each */
#define FEW      3000 /* rows that have the words are listed and sorted, at 1.4 us each */
#define SQL_ARGS (2 * FILTER_ARGS + FILTER_TERMS + 8)

/* How rows and words come together in SQLite, which would always list all that have the words. */
enum way {
    WAY_LIST,  /* a list */
    WAY_DRIVE, /* the index gives them in the order of ids, and stops at the end of the page */
    WAY_PROBE, /* rows in the order that was asked for, and in each of them the words are sought */
};

struct words {
    const char *p; /* what the text index is asked; NULL: nothing */
    size_t len;
};

/* The last row that is wanted: its value in the order, and its id. */
struct edge {
    struct db_value value;
    int64_t id;
};

struct sql {
    enum db_engine engine;
    enum way way;
    struct words words, no_words; /* that a row has, and has not */
    const struct edge *edge;      /* NULL: none */
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
static struct words words_of(struct sql *q, const struct filter *f, bool is_negated)
{
    static const char *const signs[2][2] = {
        [DB_SQLITE] = {" AND ", " OR "}, [DB_POSTGRES] = {" & ", " | "}};
    const size_t before = q->match.len;

    for (size_t i = 0; i < f->n_terms; i++) {
        const struct filter_term *t = &f->terms[i];
        if (t->key != NULL || t->is_negated != is_negated)
            continue;
        if (q->match.len > before)
            buf_puts(&q->match, signs[q->engine][is_negated]);
        if (q->engine == DB_SQLITE)
            put_fts5(&q->match, f, t);
        else
            put_tsquery(&q->match, f, t);
    }
    const size_t len = q->match.len - before;
    return (struct words){len > 0 ? q->match.data + before : NULL, len};
}

/* A phrase stands in the tokens as it is written there: between spaces. */
static void put_probe(struct sql *q, const struct filter *f, const struct filter_term *t)
{
    const size_t before = q->match.len;

    buf_printf(&q->match, " %s%s", f->values[t->first].text, t->is_prefix ? "" : " ");
    if (q->match.failed)
        return;
    buf_printf(&q->text, "instr(' ' || x.tokens || ' ', $%zu) > 0", q->n_args + 1);
    add_arg(q, db_text_n(q->match.data + before, q->match.len - before));
}

static void put_probes(struct sql *q, const struct filter *f, bool is_negated)
{
    size_t n = 0;

    buf_printf(&q->text, " AND %sEXISTS (SELECT 1 FROM %s x WHERE x.rowid = %s AND (",
               is_negated ? "NOT " : "", f->table->text, f->table->id);
    for (size_t i = 0; i < f->n_terms; i++) {
        if (f->terms[i].key != NULL || f->terms[i].is_negated != is_negated)
            continue;
        if (n++ > 0)
            buf_puts(&q->text, is_negated ? " OR " : " AND ");
        put_probe(q, f, &f->terms[i]);
    }
    buf_puts(&q->text, "))");
}

static void put_words(struct sql *q, const struct filter *f, const struct words *w, bool is_negated)
{
    const char *text = f->table->text, *id = f->table->id, *no = is_negated ? "NOT " : "";
    const size_t n = q->n_args + 1;

    if (w->p == NULL)
        return;
    if (q->way == WAY_PROBE) {
        put_probes(q, f, is_negated);
        return;
    }
    add_arg(q, db_text_n(w->p, w->len));
    if (q->engine == DB_POSTGRES)
        buf_printf(&q->text, " AND %s %sIN (SELECT rowid FROM %s WHERE tokens @@ $%zu::tsquery)",
                   id, no, text, n);
    else if (is_negated || q->way == WAY_LIST)
        buf_printf(&q->text, " AND %s %sIN (SELECT rowid FROM %s WHERE %s MATCH $%zu)", id, no,
                   text, text, n);
    else
        buf_printf(&q->text, " AND %s MATCH $%zu", text, n);
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

static void put_cursor(struct sql *q, const struct filter *f)
{
    const char *op = f->is_descending ? "<" : ">";

    if (q->way == WAY_DRIVE) {
        buf_printf(&q->text, " AND %s.rowid %s $%zu", f->table->text, op, q->n_args + 1);
        add_arg(q, db_int(f->cursor_id));
        return;
    }
    buf_printf(&q->text, " AND (%s, %s) %s ($%zu, $%zu)", f->sort->sql, f->table->id, op,
               q->n_args + 1, q->n_args + 2);
    add_arg(q, f->sort->is_real ? db_f64(f->cursor_real) : db_int(f->cursor_int));
    add_arg(q, db_int(f->cursor_id));
}

static void put_where(struct sql *q, const struct filter *f)
{
    if (f->is_picked) {
        buf_printf(&q->text, " AND %s = ANY($1)", f->table->id);
        add_arg(q, db_ints(f->picked, f->n_picked));
        return;
    }
    put_words(q, f, &q->words, false);
    put_words(q, f, &q->no_words, true);
    for (size_t i = 0; i < f->n_terms; i++)
        if (f->terms[i].key != NULL)
            put_term(q, f, &f->terms[i]);
    if (f->has_cursor)
        put_cursor(q, f);
    if (q->edge == NULL)
        return;
    buf_printf(&q->text, " AND (%s, %s) %s ($%zu, $%zu)", f->sort->sql, f->table->id,
               f->is_descending ? ">=" : "<=", q->n_args + 1, q->n_args + 2);
    add_arg(q, q->edge->value);
    add_arg(q, db_int(q->edge->id));
}

static void put_query(struct sql *q, const struct filter *f, const char *columns)
{
    const char *order = f->is_descending ? "DESC" : "ASC";
    const struct filter_keys *t = f->table;

    buf_printf(&q->text, "%sSELECT %s, %s, %s FROM ", f->n_terms > 0 ? DB_PLANNED : "", columns,
               f->sort->sql, t->id);
    if (q->way == WAY_DRIVE)
        buf_printf(&q->text, "%s CROSS JOIN %s ON %s = %s.rowid", t->text, t->from, t->id, t->text);
    else
        buf_puts(&q->text, t->from);
    buf_puts(&q->text, " WHERE 1 = 1");
    put_where(q, f);
    if (q->way == WAY_DRIVE)
        buf_printf(&q->text, " ORDER BY %s.rowid %s", t->text, order);
    else
        buf_printf(&q->text, " ORDER BY %s %s, %s %s", f->sort->sql, order, t->id, order);
    buf_printf(&q->text, " LIMIT %lld", (long long)f->limit + 1);
}

/* How one query goes; `edge` (may be NULL): rows beyond it are not wanted. */
struct plan {
    enum way way;
    const struct edge *edge;
    const char *columns;
};

static int query(const struct filter *f, struct db_tx *tx, const struct plan *p,
                 struct db_stmt **ret_stmt, struct err *e)
{
    char match[2 * FILTER_TEXTS];
    struct sql q;

    q.engine = db_engine(tx);
    q.way = p->way;
    q.edge = p->edge;
    q.n_args = 0;
    buf_init(&q.text, SQL_MAX);
    q.match = BUF_FIXED(match); /* args point into it */
    q.words = words_of(&q, f, false);
    q.no_words = words_of(&q, f, true);
    put_query(&q, f, p->columns);
    const int r = q.text.failed || q.match.failed
                      ? err_set(e, -ENOMEM, "out of memory")
                      : db_query(tx, buf_text(&q.text), q.args, q.n_args, ret_stmt, e);
    buf_done(&q.text);
    return r;
}

/* ---------------------------------------------------------------- words that many rows have */

/* Counting stops there: whether a row or a million more have them is all the same. */
static int has_few(const struct filter *f, struct db_tx *tx, bool *ret_few, struct err *e)
{
    char match[2 * FILTER_TEXTS], text[256];
    struct sql q = {.engine = DB_SQLITE, .match = BUF_FIXED(match)};
    const struct words w = words_of(&q, f, false);
    int64_t n = FEW;
    int r = 0;

    (void)snprintf(text, sizeof(text),
                   "SELECT count(*) FROM (SELECT rowid FROM %s WHERE %s MATCH $1 LIMIT %d)",
                   f->table->text, f->table->text, FEW);
    if (w.p != NULL && !q.match.failed)
        r = db_query_i64(tx, text, DB_ARGS(db_text_n(w.p, w.len)), &n, e);
    *ret_few = n < FEW;
    return r;
}

/* The row that is PROBED rows from here. 0: there are no more than that. */
static int find_edge(const struct filter *f, struct db_tx *tx, struct edge *ret_edge, struct err *e)
{
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;
    const char *order = f->is_descending ? "DESC" : "ASC";
    const struct filter_keys *t = f->table;
    struct sql q = {.way = WAY_PROBE};
    char text[512];

    q.text = BUF_FIXED(text);
    buf_printf(&q.text, "SELECT %s, %s FROM %s WHERE 1 = 1", f->sort->sql, t->id, t->from);
    if (f->has_cursor)
        put_cursor(&q, f);
    buf_printf(&q.text, " ORDER BY %s %s, %s %s LIMIT 1 OFFSET %d", f->sort->sql, order, t->id,
               order, PROBED);
    const int r = db_query_row(tx, buf_text(&q.text), q.args, q.n_args, &s, e);
    if (r == DB_ROW)
        *ret_edge = (struct edge){f->sort->is_real ? db_f64(db_real(s, 0)) : db_int(db_i64(s, 0)),
                                  db_i64(s, 1)};
    return r;
}

/*
 * Words that many rows have (or have not) fill a page from the next PROBED rows; then those are
 * picked. FTS5 would read the whole list of the word first, a row or a million.
 */
static int probe(struct filter *f, struct db_tx *tx, struct err *e)
{
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;
    struct edge edge = {.id = 0};
    int64_t value = 0;
    double real = 0;
    const struct plan plan = {WAY_PROBE, &edge, f->table->id};
    size_t n = 0;

    int r = find_edge(f, tx, &edge, e);
    if (r == DB_ROW)
        r = query(f, tx, &plan, &s, e);
    else
        return r;
    while (r == 0 && (r = db_step(s, e)) == DB_ROW) {
        r = 0;
        if (n == (size_t)f->limit) { /* one more: the page is full, and it is not the last */
            f->is_picked = true;
            f->n_picked = n;
            filter_cursor_of(f, value, real, f->picked[n - 1], f->picked_cursor);
            break;
        }
        f->picked[n++] = db_i64(s, 0);
        value = db_i64(s, 1);
        real = db_real(s, 1);
    }
    return r;
}

/* Words, in SQLite. */
static bool is_walk(const struct filter *f, const struct db_tx *tx)
{
    return filter_has_words(f) && db_engine(tx) == DB_SQLITE && !f->is_picked;
}

static bool has_positive_words(const struct filter *f)
{
    for (size_t i = 0; i < f->n_terms; i++)
        if (f->terms[i].key == NULL && !f->terms[i].is_negated)
            return true;
    return false;
}

/* ---------------------------------------------------------------- the page */

int filter_page(struct filter *f, struct db_tx *tx, const struct filter_rows *rows, struct jsonw *j,
                char ret_cursor[FILTER_CURSOR], struct err *e)
{
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;
    const int value = rows->n_columns;
    char last[FILTER_CURSOR] = "";
    int64_t n = 0;

    struct plan plan = {WAY_LIST, NULL, rows->columns};
    bool has_words_of_few = false;
    int r = is_walk(f, tx) ? has_few(f, tx, &has_words_of_few, e) : 0;
    if (r == 0 && is_walk(f, tx) && !has_words_of_few)
        r = probe(f, tx, e);
    if (r != 0)
        return r;
    if (is_walk(f, tx) && !has_words_of_few && has_positive_words(f) &&
        strcmp(f->sort->sql, f->table->id) == 0)
        plan.way = WAY_DRIVE;
    memcpy(ret_cursor, f->is_picked ? f->picked_cursor : last, sizeof(last));
    if (f->is_picked && f->n_picked == 0)
        return 0;
    r = query(f, tx, &plan, &s, e);
    if (r == 0 && rows->look != NULL && db_engine(tx) == DB_POSTGRES) {
        r = rows->look(tx, s, rows->arg, e);
        db_rewind(s);
    }
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
