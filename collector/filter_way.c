#include "collector/filter_way.h"

#include <string.h>

#define NEAR 600  /* rows that are looked at first, at 2 us each */
#define FAR  4000 /* then, when no index has few */
#define FEW  FILTER_FEW
#define MANY 1000000 /* rows are better than all there are */

/* ---------------------------------------------------------------- rows in their order */

enum walked { WALK_PICKED, WALK_SHORT, WALK_ON };

/*
 * A page from the next `rows`, when they have so many: it is picked. WALK_SHORT: there are no
 * more rows than that.
 */
static int walk(struct filter *f, struct db_tx *tx, const struct filter_plan *p, int rows,
                struct err *e)
{
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;
    struct filter_edge edge = {.id = 0};
    struct filter_plan plan = *p;
    int64_t value = 0;
    double real = 0;
    size_t n = 0;

    int r = filter_find_edge(f, tx, p, rows, &edge, e);
    if (r != DB_ROW)
        return r < 0 ? r : WALK_SHORT;
    plan.edge = &edge;
    r = filter_query(f, tx, &plan, f->table->id, &s, e);
    while (r == 0 && (r = db_step(s, e)) == DB_ROW) {
        r = 0;
        if (n == (size_t)f->limit) { /* one more: the page is full, and it is not the last */
            f->is_picked = true;
            f->n_picked = n;
            filter_cursor_of(f, value, real, f->picked[n - 1], f->picked_cursor);
            return WALK_PICKED;
        }
        f->picked[n++] = db_i64(s, 0);
        value = db_i64(s, 1);
        real = db_real(s, 1);
    }
    return r < 0 ? r : WALK_ON;
}

/* ---------------------------------------------------------------- rows that an index has */

static bool is_by_id(const struct filter *f)
{
    return strcmp(f->sort->sql, f->table->id) == 0;
}

/* One value of a column whose index has its rows in the order of ids. */
static bool is_in_order(const struct filter *f, const struct filter_term *t)
{
    const struct filter_value *v = &f->values[t->first];

    return t->key != NULL && t->key->is_indexed && !t->is_negated && t->n == 1 &&
           v->op == FILTER_EQ && t->key->select == NULL &&
           (t->key->kind != FILTER_NET || memcmp(v->first, v->last, 16) == 0);
}

bool filter_is_sought(const struct filter *f, const struct filter_term *t)
{
    if (t->key == NULL || !t->key->is_indexed || t->is_negated)
        return false;
    for (size_t i = 0; i < t->n; i++)
        if (f->values[t->first + i].op == FILTER_UNSET)
            return false;
    return true;
}

/* Is it counted with an earlier one? */
static bool is_counted(const struct filter *f, size_t term)
{
    for (size_t i = 0; i < term; i++)
        if (f->terms[i].key == f->terms[term].key && filter_is_sought(f, &f->terms[i]) &&
            f->terms[i].key->select == NULL)
            return true;
    return false;
}

/*
 * The term that the fewest rows have, when they are fewer than `most`, or the first below `enough`;
 * not `but`. Else *ret_term stays.
 */
static int find_rare(const struct filter *f, struct db_tx *tx, int64_t most, int64_t enough,
                     size_t but, size_t *ret_term, struct err *e)
{
    int64_t least = most;

    for (size_t i = 0; i < f->n_terms && least >= enough; i++) {
        int64_t n = most;
        if (i == but || !filter_is_sought(f, &f->terms[i]) || is_counted(f, i))
            continue;
        const int r = filter_count_term(f, tx, i, least, &n, e);
        if (r < 0)
            return r;
        if (n < least) {
            least = n;
            *ret_term = i;
        }
    }
    return 0;
}

static bool has_positive_words(const struct filter *f)
{
    for (size_t i = 0; i < f->n_terms; i++)
        if (f->terms[i].key == NULL && !f->terms[i].is_negated)
            return true;
    return false;
}

/* Few rows have a term, or the words. */
static int plan_few(const struct filter *f, struct db_tx *tx, struct filter_words *w,
                    struct filter_plan *p, struct err *e)
{
    int64_t n = FEW;

    int r = find_rare(f, tx, FEW, FEW, FILTER_NO_TERM, &p->seek, e);
    if (r == 0 && p->seek != FILTER_NO_TERM)
        p->way = FILTER_SEEK;
    if (r < 0 || p->way == FILTER_SEEK || !has_positive_words(f))
        return r;
    r = filter_words_look(f, tx, w, e);
    p->words = w;
    if (r == 0 && w->match.len > 0)
        r = filter_count_words(f, tx, w, FEW, &n, e);
    if (n < FEW)
        p->way = FILTER_LIST;
    return r;
}

/* Nothing is rare, and still a page is not soon full. */
static int plan_many(const struct filter *f, struct db_tx *tx, struct filter_plan *p, struct err *e)
{
    if (has_positive_words(f)) {
        p->way = is_by_id(f) ? FILTER_DRIVE : FILTER_LIST;
        return 0;
    }
    const int r = find_rare(f, tx, MANY, FEW, p->along, &p->seek, e);
    p->way = p->seek != FILTER_NO_TERM ? FILTER_SEEK : FILTER_READ;
    return r;
}

static int sqlite_way(struct filter *f, struct db_tx *tx, struct filter_words *w,
                      struct filter_plan *p, struct err *e)
{
    p->way = FILTER_WALK;
    for (size_t i = 0; i < f->n_terms && p->along == FILTER_NO_TERM; i++)
        if (is_by_id(f) && is_in_order(f, &f->terms[i]))
            p->along = i;
    int r = walk(f, tx, p, NEAR, e);
    if (r == WALK_ON)
        r = plan_few(f, tx, w, p, e);
    else
        return r < 0 ? r : 0;
    if (r == 0 && p->way == FILTER_WALK && (r = walk(f, tx, p, FAR, e)) == WALK_ON)
        r = plan_many(f, tx, p, e);
    return r < 0 ? r : 0;
}

/* ---------------------------------------------------------------- PostgreSQL */

/* Words, or another order than that of the column which is asked for. */
static bool is_guess(const struct filter *f)
{
    for (size_t i = 0; i < f->n_terms; i++)
        if (f->terms[i].key == NULL || (!is_by_id(f) && f->terms[i].key->is_indexed))
            return true;
    return false;
}

/* Words, and nothing that the statistics know better. */
static bool is_words_alone(const struct filter *f)
{
    for (size_t i = 0; i < f->n_terms; i++)
        if (filter_is_sought(f, &f->terms[i]))
            return false;
    return has_positive_words(f);
}

/* A table is not to be read for what its index knows, even if that should be much. */
static int list_by_index(const struct filter *f, struct db_tx *tx, struct filter_words *w,
                         size_t *ret_n, struct err *e)
{
    int r = db_run(tx, "SET LOCAL enable_seqscan = off", DB_NONE, NULL, e);

    if (r == 0)
        r = filter_list_words(f, tx, FEW, w->ids, ret_n, e);
    return r < 0 ? r : db_run(tx, "SET LOCAL enable_seqscan = on", DB_NONE, NULL, e);
}

static int postgres_way(struct filter *f, struct db_tx *tx, struct filter_words *w,
                        struct filter_plan *p, struct err *e)
{
    const struct filter_plan near = {
        .way = FILTER_WALK, .seek = FILTER_NO_TERM, .along = FILTER_NO_TERM};
    size_t n = 0;

    if (!is_guess(f))
        return 0;
    int r = walk(f, tx, &near, NEAR, e);
    if (r != WALK_ON || !is_words_alone(f))
        return r < 0 ? r : 0;
    r = list_by_index(f, tx, w, &n, e);
    if (n < FEW) {
        w->list = db_ints(w->ids, n);
        p->ids = &w->list;
    }
    return r;
}

int filter_way(struct filter *f, struct db_tx *tx, struct filter_words *ret_words,
               struct filter_plan *ret_plan, struct err *e)
{
    *ret_plan =
        (struct filter_plan){.way = FILTER_PLAIN, .seek = FILTER_NO_TERM, .along = FILTER_NO_TERM};
    if (f->n_terms == 0 || f->is_picked)
        return 0;
    return db_engine(tx) == DB_SQLITE ? sqlite_way(f, tx, ret_words, ret_plan, e)
                                      : postgres_way(f, tx, ret_words, ret_plan, e);
}
