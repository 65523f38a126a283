#include "collector/filter_query.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define SQL_MAX  ((size_t)64 * 1024)
#define SQL_ARGS (2 * FILTER_ARGS + FILTER_TERMS + 8)

struct sql {
    enum db_engine engine;
    const struct filter *f;
    const struct filter_plan *plan;
    struct buf text, match;
    struct db_value args[SQL_ARGS];
    size_t n_args;
};

/* What the text index is asked; p == NULL: nothing. */
struct words {
    const char *p;
    size_t len;
};

/* `match` is where args may point into. */
static void begin(struct sql *q, const struct filter *f, const struct db_tx *tx,
                  const struct filter_plan *p, struct buf match)
{
    q->engine = db_engine(tx);
    q->f = f;
    q->plan = p;
    q->n_args = 0;
    q->match = match;
    buf_init(&q->text, SQL_MAX);
}

static void add_arg(struct sql *q, struct db_value v)
{
    WIND_CHECK(q->n_args < SQL_ARGS); /* two for each value of the filter, and a few */
    q->args[q->n_args++] = v;
}

/* ---------------------------------------------------------------- one value */

bool filter_is_bound(const struct filter *f, const struct filter_term *t)
{
    const size_t len = strlen(f->sort->sql);

    return t->key != NULL && t->n == 1 && t->key->select == NULL &&
           strncmp(t->key->sql, f->sort->sql, len) == 0 && t->key->sql[len] == ' ';
}

/* All rows have the same value of what they are sorted by. */
static bool is_fixed(const struct filter *f)
{
    for (size_t i = 0; i < f->n_terms; i++)
        if (!f->terms[i].is_negated && filter_is_bound(f, &f->terms[i]) &&
            f->values[f->terms[i].first].op == FILTER_EQ)
            return true;
    return false;
}

/* The term that is sought, or another bound of the same column. */
static bool is_sought_with(const struct filter *f, size_t term, size_t seek)
{
    return term == seek || (f->terms[term].key == f->terms[seek].key &&
                            !f->terms[term].is_negated && f->terms[term].key->select == NULL);
}

/* Columns that no index is to serve have a plus in front of them. */
static bool is_bare(const struct sql *q, size_t term)
{
    const enum filter_way way = q->plan->way;
    const struct filter_term *t = &q->f->terms[term];

    if (q->engine == DB_POSTGRES) /* a list of what is unwanted would have no bounds */
        return term == q->plan->along || (way != FILTER_WALK && !t->is_negated);
    if (way == FILTER_SEEK)
        return is_sought_with(q->f, term, q->plan->seek);
    if (way == FILTER_READ && t->key->select != NULL)
        return true;
    return way == FILTER_PLAIN || ((way == FILTER_WALK || way == FILTER_READ) &&
                                   (term == q->plan->along || filter_is_bound(q->f, t)));
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

/* a.src BETWEEN ? AND ?  of one address: an index on it has its rows in the order of ids. */
static bool put_address(struct sql *q, const struct filter_key *k, const struct filter_value *v)
{
    const char *between = strstr(k->sql, " BETWEEN ? AND ?");

    if (memcmp(v->first, v->last, 16) != 0)
        return false;
    buf_printf(&q->text, "%.*s = $%zu", (int)(between - k->sql), k->sql, q->n_args + 1);
    add_arg(q, db_bytes(v->first, 16));
    return true;
}

static void add_value(struct sql *q, const struct filter_key *k, const struct filter_value *v)
{
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

static void put_value(struct sql *q, const struct filter_key *k, const struct filter_value *v,
                      bool is_bare)
{
    static const char *const ops[] = {[FILTER_EQ] = "=", [FILTER_LT] = "<",  [FILTER_LE] = "<=",
                                      [FILTER_GT] = ">", [FILTER_GE] = ">=", [FILTER_UNSET] = ""};

    if (!is_bare && q->engine == DB_SQLITE)
        buf_putc(&q->text, '+');
    if (v->op == FILTER_UNSET) {
        buf_puts(&q->text, k->none);
    } else if (k->kind != FILTER_NET || !put_address(q, k, v)) {
        put_sql(q, k->sql, ops[v->op]);
        add_value(q, k, v);
    }
}

/* Values are joined by OR; without `unset`, those that are not set are left out. */
static size_t put_values(struct sql *q, const struct filter_term *t, bool is_bare, bool unset)
{
    size_t n = 0;

    for (size_t i = 0; i < t->n; i++) {
        const struct filter_value *v = &q->f->values[t->first + i];
        if (v->op == FILTER_UNSET && !unset)
            continue;
        if (n++ > 0)
            buf_puts(&q->text, " OR ");
        put_value(q, t->key, v, is_bare);
    }
    return n;
}

/* Of which other rows: FROM ... WHERE, and any of the values (`t` NULL: whichever). */
static void put_from(struct sql *q, const struct filter_select *s, const struct filter_term *t,
                     bool is_bare)
{
    buf_printf(&q->text, "FROM %s WHERE %s", s->from, s->also != NULL ? s->also : "1 = 1");
    if (t == NULL)
        return;
    buf_puts(&q->text, " AND (");
    (void)put_values(q, t, is_bare, false);
    buf_putc(&q->text, ')');
}

/* By an index: a list of all there are. Else each row is asked for by itself. */
static void put_select(struct sql *q, const struct filter_select *s, const struct filter_term *t,
                       bool is_bare)
{
    const char *id = q->f->table->id;

    if (is_bare)
        buf_printf(&q->text, "%s IN (SELECT %s ", id, s->id);
    else
        buf_puts(&q->text, "EXISTS (SELECT 1 ");
    put_from(q, s, t, is_bare);
    if (is_bare)
        buf_putc(&q->text, ')');
    else
        buf_printf(&q->text, " AND %s = %s)", s->id, id);
}

static void put_ids(struct sql *q, const char *id, const char *op, int64_t value)
{
    buf_printf(&q->text, " AND %s %s $%zu", id, op, q->n_args + 1);
    add_arg(q, db_int(value));
}

static void put_entity(struct sql *q, const struct filter_select *s)
{
    buf_printf(&q->text, "%s$%zu", s->rows, q->n_args + 1);
    add_arg(q, db_int(q->plan->entity));
}

/* The rows of one entity, in whose order the page is. */
static void put_along(struct sql *q, const struct filter_select *s)
{
    const struct filter *f = q->f;

    put_entity(q, s);
    if (f->has_cursor)
        put_ids(q, s->id, f->is_descending ? "<" : ">", f->cursor_id);
    if (q->plan->edge != NULL)
        put_ids(q, s->id, f->is_descending ? ">=" : "<=", q->plan->edge->id);
}

static void put_along_term(struct sql *q, const struct filter_select *s, bool is_bare)
{
    const char *id = q->f->table->id;

    if (is_bare) {
        buf_printf(&q->text, " AND %s IN (SELECT %s ", id, s->id);
        put_along(q, s);
        buf_putc(&q->text, ')');
    } else {
        buf_puts(&q->text, " AND EXISTS (SELECT 1 ");
        put_entity(q, s);
        buf_printf(&q->text, " AND %s = %s)", s->id, id);
    }
}

static void put_selects(struct sql *q, const struct filter_term *t, bool is_bare)
{
    size_t set = 0;

    for (size_t i = 0; i < t->n; i++)
        set += q->f->values[t->first + i].op != FILTER_UNSET;
    if (set > 0)
        put_select(q, t->key->select, t, is_bare);
    if (set == t->n)
        return;
    buf_puts(&q->text, set > 0 ? " OR NOT " : "NOT ");
    put_select(q, t->key->select, NULL, is_bare);
}

static void put_term(struct sql *q, size_t term)
{
    const struct filter_term *t = &q->f->terms[term];

    if (term == q->plan->along && t->key->select != NULL) {
        put_along_term(q, t->key->select, is_bare(q, term));
        return;
    }
    if (t->key->select != NULL) {
        buf_puts(&q->text, t->is_negated ? " AND NOT (" : " AND (");
        put_selects(q, t, is_bare(q, term));
        buf_putc(&q->text, ')');
        return;
    }
    /* NOT of an unset value is true here: "-verdict:duplicate" also finds those without one. */
    buf_puts(&q->text, t->is_negated ? " AND NOT coalesce((" : " AND (");
    (void)put_values(q, t, is_bare(q, term), true);
    buf_puts(&q->text, t->is_negated ? "), FALSE)" : ")");
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

static const struct filter_words *known_words(const struct sql *q)
{
    const struct filter_words *w = q->plan->words;

    return w != NULL && w->match.len > 0 ? w : NULL;
}

/* All words of one sign, as one question to the text index. */
static struct words words_of(struct sql *q, bool is_negated)
{
    static const char *const signs[2][2] = {
        [DB_SQLITE] = {" AND ", " OR "}, [DB_POSTGRES] = {" & ", " | "}};
    const struct filter_words *known = known_words(q);
    const size_t before = q->match.len;

    if (!is_negated && known != NULL)
        return (struct words){known->match.data, known->match.len};
    for (size_t i = 0; i < q->f->n_terms; i++) {
        const struct filter_term *t = &q->f->terms[i];
        if (t->key != NULL || t->is_negated != is_negated)
            continue;
        if (q->match.len > before)
            buf_puts(&q->match, signs[q->engine][is_negated]);
        if (q->engine == DB_SQLITE)
            put_fts5(&q->match, q->f, t);
        else
            put_tsquery(&q->match, q->f, t);
    }
    const size_t len = q->match.len - before;
    return (struct words){len > 0 ? q->match.data + before : NULL, len};
}

/* A phrase stands in the tokens as it is written there: between spaces. */
static void put_probe(struct sql *q, const struct filter_term *t)
{
    const size_t before = q->match.len;

    buf_printf(&q->match, " %s%s", q->f->values[t->first].text, t->is_prefix ? "" : " ");
    if (q->match.failed)
        return;
    buf_printf(&q->text, "instr(' ' || x.tokens || ' ', $%zu) > 0", q->n_args + 1);
    add_arg(q, db_text_n(q->match.data + before, q->match.len - before));
}

/* In the rows themselves: all words of one sign, or of those of rows the open ones. */
static void put_probes(struct sql *q, bool is_negated, const struct filter_words *open)
{
    const struct filter *f = q->f;
    size_t n = 0;

    for (size_t i = 0; i < f->n_terms; i++) {
        if (f->terms[i].key != NULL || f->terms[i].is_negated != is_negated ||
            (open != NULL && !open->is_open[i]))
            continue;
        if (n++ == 0)
            buf_printf(&q->text, " AND %sEXISTS (SELECT 1 FROM %s x WHERE x.rowid = %s AND (",
                       is_negated ? "NOT " : "", f->table->text, f->table->id);
        else
            buf_puts(&q->text, is_negated ? " OR " : " AND ");
        put_probe(q, &f->terms[i]);
    }
    if (n > 0)
        buf_puts(&q->text, "))");
}

static void put_tsquery_of(struct sql *q, bool is_negated)
{
    const char *text = q->f->table->text, *id = q->f->table->id;
    const size_t n = q->n_args + 1;

    if (!is_negated && q->plan->ids != NULL) {
        add_arg(q, *q->plan->ids);
        buf_printf(&q->text, " AND %s = ANY($%zu)", id, n);
        return;
    }
    const struct words w = words_of(q, is_negated);
    if (w.p == NULL)
        return;
    add_arg(q, db_text_n(w.p, w.len));
    if (is_negated || q->plan->way == FILTER_WALK)
        buf_printf(&q->text,
                   " AND %sEXISTS (SELECT 1 FROM %s x WHERE x.rowid = %s AND "
                   "x.tokens @@ $%zu::tsquery)",
                   is_negated ? "NOT " : "", text, id, n);
    else
        buf_printf(&q->text, " AND %s IN (SELECT rowid FROM %s WHERE tokens @@ $%zu::tsquery)", id,
                   text, n);
}

static void put_match(struct sql *q)
{
    const char *text = q->f->table->text, *id = q->f->table->id;
    const struct words w = words_of(q, false);
    const size_t n = q->n_args + 1;

    if (w.p == NULL)
        return;
    add_arg(q, db_text_n(w.p, w.len));
    if (q->plan->way == FILTER_DRIVE)
        buf_printf(&q->text, " AND %s MATCH $%zu", text, n);
    else
        buf_printf(&q->text, " AND %s IN (SELECT rowid FROM %s WHERE %s MATCH $%zu)", id, text,
                   text, n);
}

static void put_words(struct sql *q)
{
    const enum filter_way way = q->plan->way;

    if (q->engine == DB_POSTGRES) {
        put_tsquery_of(q, false);
        put_tsquery_of(q, true);
        return;
    }
    if (way == FILTER_LIST || way == FILTER_DRIVE) {
        put_match(q);
        if (known_words(q) != NULL)
            put_probes(q, false, known_words(q));
    } else {
        put_probes(q, false, NULL);
    }
    put_probes(q, true, NULL);
}

/* ---------------------------------------------------------------- the query */

/* A list that is sorted is not to come from an index of that order, unless its own has it. */
static const char *order_plus(const struct sql *q)
{
    const enum filter_way way = q->plan->way;
    const bool is_by_id = strcmp(q->f->sort->sql, q->f->table->id) == 0;

    if (q->engine == DB_POSTGRES || (way != FILTER_SEEK && way != FILTER_LIST))
        return "";
    return is_by_id && (way == FILTER_LIST || q->f->terms[q->plan->seek].key->select != NULL) ? ""
                                                                                              : "+";
}

/* SQLite has no index of two values for an expression: its bound stands there by itself, too. */
static void put_bound(struct sql *q, const char *op, const char *one, struct db_value value,
                      int64_t id)
{
    const struct filter *f = q->f;
    const char *plus = order_plus(q);
    const size_t n = q->n_args + 1;

    if (is_fixed(f)) {
        buf_printf(&q->text, " AND %s%s %s $%zu", plus, f->table->id, op, n);
        add_arg(q, db_int(id));
        return;
    }
    if (f->sort->is_real && q->engine == DB_SQLITE)
        buf_printf(&q->text, " AND %s%s %s $%zu", plus, f->sort->sql, one, n);
    buf_printf(&q->text, " AND (%s%s, %s) %s ($%zu, $%zu)", plus, f->sort->sql, f->table->id, op, n,
               n + 1);
    add_arg(q, value);
    add_arg(q, db_int(id));
}

static void put_cursor(struct sql *q)
{
    const struct filter *f = q->f;
    const char *op = f->is_descending ? "<" : ">";

    if (q->plan->way == FILTER_DRIVE) {
        buf_printf(&q->text, " AND %s.rowid %s $%zu", f->table->text, op, q->n_args + 1);
        add_arg(q, db_int(f->cursor_id));
        return;
    }
    put_bound(q, op, f->is_descending ? "<=" : ">=",
              f->sort->is_real ? db_f64(f->cursor_real) : db_int(f->cursor_int), f->cursor_id);
}

static void put_edge(struct sql *q, const struct filter_edge *edge)
{
    const char *op = q->f->is_descending ? ">=" : "<=";

    put_bound(q, op, op, edge->value, edge->id);
}

static void put_where(struct sql *q)
{
    const struct filter *f = q->f;

    if (f->is_picked) {
        buf_printf(&q->text, " AND %s = ANY($1)", f->table->id);
        add_arg(q, db_ints(f->picked, f->n_picked));
        return;
    }
    /* The nearest bounds first: SQLite goes by the first that it finds. */
    if (f->has_cursor)
        put_cursor(q);
    if (q->plan->edge != NULL)
        put_edge(q, q->plan->edge);
    put_words(q);
    for (size_t i = 0; i < f->n_terms; i++)
        if (f->terms[i].key != NULL)
            put_term(q, i);
}

static void put_query(struct sql *q, const char *columns)
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
    struct sql q;

    begin(&q, f, tx, p, BUF_FIXED(match));
    put_query(&q, columns);
    const int r = q.text.failed || q.match.failed
                      ? err_set(e, -ENOMEM, "out of memory")
                      : db_query(tx, buf_text(&q.text), q.args, q.n_args, ret_stmt, e);
    buf_done(&q.text);
    return r;
}

/* ---------------------------------------------------------------- how many, and how far */

static void put_edge_query(struct sql *q)
{
    const struct filter *f = q->f;
    const struct filter_keys *t = f->table;

    buf_printf(&q->text, "SELECT %s, %s FROM %s WHERE 1 = 1", f->sort->sql, t->id, t->from);
    if (f->has_cursor)
        put_cursor(q);
    for (size_t i = 0; i < f->n_terms; i++)
        if (i == q->plan->along || (!f->terms[i].is_negated && filter_is_bound(f, &f->terms[i])))
            put_term(q, i);
    buf_printf(&q->text, " ORDER BY %s %s, %s", f->sort->sql, f->is_descending ? "DESC" : "ASC",
               t->id);
}

int filter_find_edge(const struct filter *f, struct db_tx *tx, const struct filter_plan *p,
                     int rows, struct filter_edge *ret_edge, struct err *e)
{
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;
    const struct filter_select *along =
        p->along == FILTER_NO_TERM ? NULL : f->terms[p->along].key->select;
    struct sql q;

    begin(&q, f, tx, p, (struct buf){.data = NULL});
    if (along != NULL) {
        buf_printf(&q.text, "SELECT %s, %s ", along->id, along->id);
        put_along(&q, along);
        buf_printf(&q.text, " ORDER BY %s", along->id);
    } else {
        put_edge_query(&q);
    }
    buf_printf(&q.text, " %s LIMIT 1 OFFSET %d", f->is_descending ? "DESC" : "ASC", rows);
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
    struct sql q;
    int n = 0;

    begin(&q, f, tx, &plain, (struct buf){.data = NULL});
    buf_puts(&q.text, t->key->select->entity);
    put_value(&q, t->key, &f->values[t->first], true);
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

static int count(struct sql *q, struct db_tx *tx, int64_t *ret_n, struct err *e)
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
    struct sql q;

    begin(&q, f, tx, &plan, (struct buf){.data = NULL});
    buf_puts(&q.text, "SELECT count(*) FROM (SELECT 1 ");
    if (select != NULL) {
        put_from(&q, select, &f->terms[term], true);
    } else {
        buf_printf(&q.text, "FROM %s WHERE 1 = 1", f->table->from);
        for (size_t i = 0; i < f->n_terms; i++)
            if (f->terms[i].key != NULL && is_sought_with(f, i, term))
                put_term(&q, i);
    }
    buf_printf(&q.text, " LIMIT $%zu)", q.n_args + 1);
    add_arg(&q, db_int(most));
    return count(&q, tx, ret_n, e);
}

int filter_count_words(const struct filter *f, struct db_tx *tx, const struct filter_words *w,
                       int64_t most, int64_t *ret_n, struct err *e)
{
    const struct filter_plan plan = {.way = FILTER_LIST, .words = w};
    const char *text = f->table->text;
    char match[2 * FILTER_TEXTS];
    struct sql q;

    begin(&q, f, tx, &plan, BUF_FIXED(match));
    const struct words words = words_of(&q, false);
    add_arg(&q, db_text_n(words.p, words.len));
    add_arg(&q, db_int(most));
    buf_printf(&q.text, "SELECT count(*) FROM (SELECT 1 FROM %s WHERE %s MATCH $1 LIMIT $2)", text,
               text);
    return count(&q, tx, ret_n, e);
}

int filter_list_words(const struct filter *f, struct db_tx *tx, int64_t most, int64_t *ret_ids,
                      size_t *ret_n, struct err *e)
{
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;
    const struct filter_plan plan = {.way = FILTER_LIST};
    char match[2 * FILTER_TEXTS];
    struct sql q;

    *ret_n = 0;
    begin(&q, f, tx, &plan, BUF_FIXED(match));
    const struct words words = words_of(&q, false);
    add_arg(&q, db_text_n(words.p, words.len));
    buf_printf(&q.text, DB_PLANNED "SELECT rowid FROM %s WHERE tokens @@ $1::tsquery LIMIT %lld",
               f->table->text, (long long)most);
    int r = q.text.failed || q.match.failed
                ? err_set(e, -ENOMEM, "out of memory")
                : db_query(tx, buf_text(&q.text), q.args, q.n_args, &s, e);
    buf_done(&q.text);
    while (r == 0 && (r = db_step(s, e)) == DB_ROW) {
        r = 0;
        ret_ids[(*ret_n)++] = db_i64(s, 0);
    }
    return r;
}
