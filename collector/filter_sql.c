#include "collector/filter_sql.h"

#include <string.h>

#define SQL_MAX ((size_t)64 * 1024)

void filter_sql_begin(struct filter_sql *q, const struct filter *f, const struct db_tx *tx,
                      const struct filter_plan *p, struct buf match)
{
    q->engine = db_engine(tx);
    q->f = f;
    q->plan = p;
    q->n_args = 0;
    q->match = match;
    buf_init(&q->text, SQL_MAX);
}

void filter_sql_arg(struct filter_sql *q, struct db_value v)
{
    WIND_CHECK(q->n_args < FILTER_SQL_ARGS); /* two for each value of the filter, and a few */
    q->args[q->n_args++] = v;
}

/* ---------------------------------------------------------------- one value */

static const char *const ops[] = {[FILTER_EQ] = "=", [FILTER_LT] = "<",  [FILTER_LE] = "<=",
                                  [FILTER_GT] = ">", [FILTER_GE] = ">=", [FILTER_UNSET] = ""};

bool filter_is_bound(const struct filter *f, const struct filter_term *t)
{
    const size_t len = strlen(f->sort->sql);

    return t->key != NULL && t->n == 1 && t->key->select == NULL &&
           strncmp(t->key->sql, f->sort->sql, len) == 0 && t->key->sql[len] == ' ';
}

bool filter_is_sought_with(const struct filter *f, size_t term, size_t seek)
{
    return term == seek || (f->terms[term].key == f->terms[seek].key &&
                            !f->terms[term].is_negated && f->terms[term].key->select == NULL);
}

/* Columns that no index is to serve have a plus in front of them. */
static bool is_bare(const struct filter_sql *q, size_t term)
{
    const enum filter_way way = q->plan->way;
    const struct filter_term *t = &q->f->terms[term];

    if (q->engine == DB_POSTGRES) /* a list of what is unwanted would have no bounds */
        return term == q->plan->along || (way != FILTER_WALK && !t->is_negated);
    if (way == FILTER_SEEK)
        return filter_is_sought_with(q->f, term, q->plan->seek);
    if (way == FILTER_READ && t->key->select != NULL)
        return true;
    return way == FILTER_PLAIN || ((way == FILTER_WALK || way == FILTER_READ) &&
                                   (term == q->plan->along || filter_is_bound(q->f, t)));
}

/* A template with `?` numbered from the parameter that comes next, and `#` replaced. */
static void put_sql(struct filter_sql *q, const char *sql, const char *op)
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
static bool put_address(struct filter_sql *q, const struct filter_key *k,
                        const struct filter_value *v)
{
    const char *between = strstr(k->sql, " BETWEEN ? AND ?");

    if (memcmp(v->first, v->last, 16) != 0)
        return false;
    buf_printf(&q->text, "%.*s = $%zu", (int)(between - k->sql), k->sql, q->n_args + 1);
    filter_sql_arg(q, db_bytes(v->first, 16));
    return true;
}

static void add_value(struct filter_sql *q, const struct filter_key *k,
                      const struct filter_value *v)
{
    switch (k->kind) {
    case FILTER_REAL:
        filter_sql_arg(q, db_f64(v->real));
        break;
    case FILTER_UID:
        filter_sql_arg(q, db_bytes(v->first, 16));
        break;
    case FILTER_NET:
        filter_sql_arg(q, db_bytes(v->first, 16));
        filter_sql_arg(q, db_bytes(v->last, 16));
        break;
    case FILTER_SEVERITY:
    case FILTER_INT:
    case FILTER_TIME:
        filter_sql_arg(q, db_int(v->i));
        break;
    case FILTER_WORD:
    case FILTER_TEXT:
    case FILTER_LOWER:
    default:
        filter_sql_arg(q, db_str(v->text));
        break;
    }
}

void filter_sql_value(struct filter_sql *q, const struct filter_key *k,
                      const struct filter_value *v, bool is_bare)
{
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
static size_t put_values(struct filter_sql *q, const struct filter_term *t, bool is_bare,
                         bool unset)
{
    size_t n = 0;

    for (size_t i = 0; i < t->n; i++) {
        const struct filter_value *v = &q->f->values[t->first + i];
        if (v->op == FILTER_UNSET && !unset)
            continue;
        if (n++ > 0)
            buf_puts(&q->text, " OR ");
        filter_sql_value(q, t->key, v, is_bare);
    }
    return n;
}

void filter_sql_from(struct filter_sql *q, const struct filter_select *s,
                     const struct filter_term *t, bool is_bare)
{
    buf_printf(&q->text, "FROM %s WHERE %s", s->from, s->also != NULL ? s->also : "1 = 1");
    if (t == NULL)
        return;
    buf_puts(&q->text, " AND (");
    (void)put_values(q, t, is_bare, false);
    buf_putc(&q->text, ')');
}

/*
 * A walk asks for each of its few rows by itself. Without this PostgreSQL may make a join of it,
 * and list all that have what is asked for.
 */
const char *filter_sql_fence(const struct filter_sql *q)
{
    return q->engine == DB_POSTGRES && q->plan->way == FILTER_WALK ? " OFFSET 0" : "";
}

/* By an index: a list of all there are. Else each row is asked for by itself. */
static void put_select(struct filter_sql *q, const struct filter_select *s,
                       const struct filter_term *t, bool is_bare)
{
    const char *id = q->f->table->id;

    if (is_bare)
        buf_printf(&q->text, "%s IN (SELECT %s ", id, s->id);
    else
        buf_puts(&q->text, "EXISTS (SELECT 1 ");
    filter_sql_from(q, s, t, is_bare);
    if (is_bare)
        buf_putc(&q->text, ')');
    else
        buf_printf(&q->text, " AND %s = %s%s)", s->id, id, filter_sql_fence(q));
}

static void put_id(struct filter_sql *q, const char *id, const char *op, int64_t value)
{
    buf_printf(&q->text, " AND %s %s $%zu", id, op, q->n_args + 1);
    filter_sql_arg(q, db_int(value));
}

/* Where the page begins, and what is said of ids. */
static void put_id_bounds(struct filter_sql *q, const char *id)
{
    const struct filter *f = q->f;

    if (f->has_cursor)
        put_id(q, id, f->is_descending ? "<" : ">", f->cursor_id);
    for (size_t i = 0; i < f->n_terms; i++) {
        const struct filter_value *v = &f->values[f->terms[i].first];
        if (!f->terms[i].is_negated && filter_is_bound(f, &f->terms[i]))
            put_id(q, id, ops[v->op], v->i);
    }
}

/* The plan's entity in any of the roles. */
static void put_entity(struct filter_sql *q, const struct filter_select *s)
{
    buf_printf(&q->text, "FROM alert_entities ae WHERE ae.entity_id = $%zu AND ae.role IN (",
               q->n_args + 1);
    filter_sql_arg(q, db_int(q->plan->entity));
    for (size_t i = 0; s->roles[i] != NULL; i++)
        buf_printf(&q->text, "%s'%s'", i == 0 ? "" : ", ", s->roles[i]);
    buf_putc(&q->text, ')');
}

void filter_sql_along(struct filter_sql *q, const struct filter_select *s, const char *order,
                      size_t rows)
{
    for (size_t i = 0; s->roles[i] != NULL; i++) {
        buf_printf(&q->text,
                   "%sSELECT r%zu.id FROM (SELECT %s AS id FROM alert_entities ae "
                   "WHERE ae.entity_id = $%zu AND ae.role = '%s'",
                   i == 0 ? "" : " UNION ALL ", i, s->id, q->n_args + 1, s->roles[i]);
        filter_sql_arg(q, db_int(q->plan->entity));
        put_id_bounds(q, s->id);
        buf_printf(&q->text, " ORDER BY %s %s LIMIT %zu) r%zu", s->id, order, rows, i);
    }
}

static void put_along_term(struct filter_sql *q, const struct filter_select *s, bool is_bare)
{
    const char *id = q->f->table->id;

    if (is_bare && q->plan->along_ids != NULL) {
        buf_printf(&q->text, " AND %s = ANY($%zu)", id, q->n_args + 1);
        filter_sql_arg(q, *q->plan->along_ids);
    } else if (is_bare) {
        buf_printf(&q->text, " AND %s IN (SELECT %s ", id, s->id);
        put_entity(q, s);
        put_id_bounds(q, s->id);
        buf_putc(&q->text, ')');
    } else {
        buf_puts(&q->text, " AND EXISTS (SELECT 1 ");
        put_entity(q, s);
        buf_printf(&q->text, " AND %s = %s)", s->id, id);
    }
}

static void put_selects(struct filter_sql *q, const struct filter_term *t, bool is_bare)
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

void filter_sql_term(struct filter_sql *q, size_t term)
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
