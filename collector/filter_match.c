/* Words, as the text indexes are asked for them. */
#include <string.h>

#include "collector/filter_sql.h"

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

static const struct filter_words *known_words(const struct filter_sql *q)
{
    const struct filter_words *w = q->plan->words;

    return w != NULL && w->match.len > 0 ? w : NULL;
}

/* All words of one sign, as one question to the text index. */
struct filter_match filter_match_of(struct filter_sql *q, bool is_negated)
{
    static const char *const signs[2][2] = {
        [DB_SQLITE] = {" AND ", " OR "}, [DB_POSTGRES] = {" & ", " | "}};
    const struct filter_words *known = known_words(q);
    const size_t before = q->match.len;

    if (!is_negated && known != NULL)
        return (struct filter_match){known->match.data, known->match.len};
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
    return (struct filter_match){len > 0 ? q->match.data + before : NULL, len};
}

/* A phrase stands in the tokens as it is written there: between spaces. */
static void put_probe(struct filter_sql *q, const struct filter_term *t)
{
    const size_t before = q->match.len;

    buf_printf(&q->match, " %s%s", q->f->values[t->first].text, t->is_prefix ? "" : " ");
    if (q->match.failed)
        return;
    buf_printf(&q->text, "instr(' ' || x.tokens || ' ', $%zu) > 0", q->n_args + 1);
    filter_sql_arg(q, db_text_n(q->match.data + before, q->match.len - before));
}

/* In the rows themselves: all words of one sign, or of those of rows the open ones. */
static void put_probes(struct filter_sql *q, bool is_negated, const struct filter_words *open)
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

static void put_tsquery_of(struct filter_sql *q, bool is_negated)
{
    const char *text = q->f->table->text, *id = q->f->table->id;
    const size_t n = q->n_args + 1;

    if (!is_negated && q->plan->ids != NULL) {
        filter_sql_arg(q, *q->plan->ids);
        buf_printf(&q->text, " AND %s = ANY($%zu)", id, n);
        return;
    }
    const struct filter_match w = filter_match_of(q, is_negated);
    if (w.p == NULL)
        return;
    filter_sql_arg(q, db_text_n(w.p, w.len));
    if (is_negated || q->plan->way == FILTER_WALK)
        buf_printf(&q->text,
                   " AND %sEXISTS (SELECT 1 FROM %s x WHERE x.rowid = %s AND "
                   "x.tokens @@ $%zu::tsquery%s)",
                   is_negated ? "NOT " : "", text, id, n, filter_sql_fence(q));
    else
        buf_printf(&q->text, " AND %s IN (SELECT rowid FROM %s WHERE tokens @@ $%zu::tsquery)", id,
                   text, n);
}

static void put_match(struct filter_sql *q)
{
    const char *text = q->f->table->text, *id = q->f->table->id;
    const struct filter_match w = filter_match_of(q, false);
    const size_t n = q->n_args + 1;

    if (w.p == NULL)
        return;
    filter_sql_arg(q, db_text_n(w.p, w.len));
    if (q->plan->way == FILTER_DRIVE)
        buf_printf(&q->text, " AND %s MATCH $%zu", text, n);
    else
        buf_printf(&q->text, " AND %s IN (SELECT rowid FROM %s WHERE %s MATCH $%zu)", id, text,
                   text, n);
}

void filter_sql_words(struct filter_sql *q)
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
