#include "collector/filter_way.h"

#include <stdio.h>
#include <string.h>

#define NEAR 600 /* rows that are looked at first, at 2 us each */
#define FAR  FILTER_FAR
#define FEW  FILTER_FEW

#define PAGE   50  /* as most ask for: few statements differ in the number of rows */
#define SOUGHT 8   /* terms of which rows are counted */
#define ONCE   300 /* rows of one value are sorted without a look around */

/* ---------------------------------------------------------------- rows in their order */

enum walked { WALK_PICKED, WALK_SHORT, WALK_ON = 3 };

/* The page, when these rows fill it; WALK_ON: they don't. */
static int pick(struct filter *f, struct db_tx *tx, const struct filter_plan *p, struct err *e)
{
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;
    int64_t value = 0;
    double real = 0;
    size_t n = 0;

    int r = filter_query(f, tx, p, f->table->id, &s, e);
    for (; r == 0 && (r = db_step(s, e)) == DB_ROW; r = 0) {
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

/*
 * A page from the next `rows`, when they have so many: it is picked. WALK_SHORT: there are no
 * more rows than that.
 */
static int walk_rows(struct filter *f, struct db_tx *tx, const struct filter_plan *p, int rows,
                     struct err *e)
{
    struct filter_edge edge = {.id = 0};
    struct filter_plan plan = *p;

    const int r = filter_find_edge(f, tx, p, rows, &edge, e);
    if (r != DB_ROW)
        return r < 0 ? r : WALK_SHORT;
    plan.edge = &edge;
    return pick(f, tx, &plan, e);
}

static void pick_none(struct filter *f)
{
    f->is_picked = true;
    f->n_picked = 0;
    f->picked_cursor[0] = '\0';
}

/* Nothing else is asked for: these are the page. */
static int pick_ids(struct filter *f, const struct filter_ids *ids)
{
    size_t picked = 0;

    for (size_t i = 0; i < ids->n; i++) {
        if (picked > 0 && ids->id[i] == f->picked[picked - 1])
            continue;
        if (picked == (size_t)f->limit) {
            const int64_t last = f->picked[picked - 1];
            f->is_picked = true;
            f->n_picked = picked;
            filter_cursor_of(f, last, 0, last, f->picked_cursor);
            return WALK_PICKED;
        }
        f->picked[picked++] = ids->id[i];
    }
    return WALK_ON;
}

static bool has_positive_words(const struct filter *f)
{
    for (size_t i = 0; i < f->n_terms; i++)
        if (f->terms[i].key == NULL && !f->terms[i].is_negated)
            return true;
    return false;
}

/* The same along an entity, whose rows are listed: with WALK_SHORT `p` is of all that are left. */
static int walk_entity(struct filter *f, struct db_tx *tx, struct filter_words *w,
                       struct filter_plan *p, int rows, struct err *e)
{
    const bool is_all = f->n_terms == 1; /* an alert may name a host twice, or more often */
    const int page = f->limit <= PAGE ? PAGE : FILTER_PAGE_MAX;
    const size_t most = (size_t)(is_all && rows == NEAR ? 2 * (page + 1) : rows);

    int r = filter_list_along(f, tx, p, most, &w->ids, e);
    const bool is_short = w->ids.n < most;
    if (r == 0 && w->ids.n > 0 && db_engine(tx) == DB_POSTGRES && has_positive_words(f))
        r = filter_narrow_words(f, tx, &w->ids, e);
    if (r != 0)
        return r;
    if (w->ids.n == 0 && is_short)
        pick_none(f);
    if (w->ids.n == 0)
        return is_short ? WALK_PICKED : WALK_ON;
    w->list = db_ints(w->ids.id, w->ids.n);
    p->along_ids = &w->list;
    if (is_short)
        return WALK_SHORT;
    r = is_all ? pick_ids(f, &w->ids) : pick(f, tx, p, e);
    if (r == WALK_ON)
        p->along_ids = NULL;
    return r;
}

static int walk(struct filter *f, struct db_tx *tx, struct filter_words *w, struct filter_plan *p,
                int rows, struct err *e)
{
    return p->along != FILTER_NO_TERM && f->terms[p->along].key->select != NULL
               ? walk_entity(f, tx, w, p, rows, e)
               : walk_rows(f, tx, p, rows, e);
}

/* ---------------------------------------------------------------- rows that an index has */

static bool is_by_id(const struct filter *f)
{
    return strcmp(f->sort->sql, f->table->id) == 0;
}

/* One value that an index has. */
static bool is_point(const struct filter *f, const struct filter_term *t)
{
    const struct filter_value *v = &f->values[t->first];

    return t->key != NULL && t->key->index != FILTER_NO_INDEX && !t->is_negated && t->n == 1 &&
           v->op == FILTER_EQ && (t->key->kind != FILTER_NET || memcmp(v->first, v->last, 16) == 0);
}

/* A term of one value whose rows an index has in the order of ids. FILTER_NO_TERM: there is none.
 */
static size_t find_ordered(const struct filter *f, bool is_entity)
{
    for (size_t i = 0; i < f->n_terms; i++) {
        const struct filter_term *t = &f->terms[i];
        if (is_point(f, t) && t->key->index == FILTER_INDEX_IDS &&
            (t->key->select != NULL) == is_entity)
            return i;
    }
    return FILTER_NO_TERM;
}

/*
 * In the order of ids a page comes out of the rows that have one value. Of a host there are fewer
 * than of a status; PostgreSQL knows by itself of columns, but not of another table's rows.
 */
static int find_along(struct filter *f, struct db_tx *tx, struct filter_plan *p, struct err *e)
{
    const size_t term = is_by_id(f) ? find_ordered(f, true) : FILTER_NO_TERM;
    int n = 2;

    if (term != FILTER_NO_TERM)
        n = filter_find_entity(f, tx, term, &p->entity, e);
    if (n < 0)
        return n;
    if (n == 0) /* nobody has it */
        pick_none(f);
    if (n < 2)
        p->along = term;
    else if (is_by_id(f) && db_engine(tx) == DB_SQLITE)
        p->along = find_ordered(f, false);
    return 0;
}

bool filter_is_sought(const struct filter *f, const struct filter_term *t)
{
    if (t->key == NULL || t->key->index == FILTER_NO_INDEX || t->is_negated)
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
        if (f->terms[i].key == f->terms[term].key && f->terms[i].key->select == NULL &&
            filter_is_sought(f, &f->terms[i]))
            return true;
    return false;
}

/* Which terms may be rare: not where the walk goes anyway, and no more than some. */
static size_t list_sought(const struct filter *f, const struct filter_plan *p, bool is_point_alone,
                          size_t ret_terms[SOUGHT])
{
    size_t n = 0;

    for (size_t i = 0; i < f->n_terms && n < SOUGHT; i++)
        if (i != p->along && filter_is_sought(f, &f->terms[i]) && !is_counted(f, i) &&
            (!is_point_alone || is_point(f, &f->terms[i])))
            ret_terms[n++] = i;
    return n;
}

/* A list of that many and more takes longer than to read on. */
static int many(const struct filter *f, struct db_tx *tx, int64_t *ret_n, struct err *e)
{
    int64_t last = 0;
    char sql[64];

    (void)snprintf(sql, sizeof(sql), "SELECT max(%s) FROM %s", f->table->id, f->table->from);
    const int r = db_query_i64(tx, sql, DB_NONE, &last, e);
    *ret_n = last / 8 > FEW ? last / 8 : FEW;
    return r < 0 ? r : 0;
}

/* The first term that fewer rows have than `most` is sought. */
static int plan_rare(const struct filter *f, struct db_tx *tx, struct filter_plan *p, int64_t most,
                     bool is_point_alone, struct err *e)
{
    size_t terms[SOUGHT];
    const size_t n_terms = list_sought(f, p, is_point_alone, terms);

    for (size_t i = 0; i < n_terms; i++) {
        int64_t n = most;
        const int r = filter_count_term(f, tx, terms[i], most, &n, e);
        if (r < 0)
            return r;
        if (n < most) {
            p->way = FILTER_SEEK;
            p->seek = terms[i];
            return 0;
        }
    }
    return 0;
}

/* Few rows have the words. */
static int plan_words(const struct filter *f, struct db_tx *tx, struct filter_words *w,
                      struct filter_plan *p, struct err *e)
{
    int64_t n = FEW;

    if (!has_positive_words(f))
        return 0;
    int r = filter_words_look(f, tx, w, e);
    p->words = w;
    if (r == 0 && w->match.len > 0)
        r = filter_count_words(f, tx, w, FEW, &n, e);
    if (n < FEW)
        p->way = FILTER_LIST;
    return r < 0 ? r : 0;
}

/* Nothing is rare, and still a page is not soon full. */
static int plan_many(const struct filter *f, struct db_tx *tx, struct filter_plan *p, struct err *e)
{
    int64_t most = FEW, n = 0;

    int r = many(f, tx, &most, e);
    if (r != 0)
        return r;
    if (!has_positive_words(f)) {
        r = plan_rare(f, tx, p, most, false, e);
        if (p->way == FILTER_WALK)
            p->way = FILTER_READ;
        return r;
    }
    if (is_by_id(f)) {
        p->way = FILTER_DRIVE;
        return 0;
    }
    r = filter_count_words(f, tx, p->words, most, &n, e);
    p->way = n < most ? FILTER_LIST : FILTER_READ;
    return r;
}

static int sqlite_way(struct filter *f, struct db_tx *tx, struct filter_words *w,
                      struct filter_plan *p, struct err *e)
{
    int r;

    p->way = FILTER_WALK;
    r = find_along(f, tx, p, e);
    if (r < 0 || f->is_picked)
        return r;
    /* An incident may have a thousand entities to look at. */
    const bool is_case = f->what == FILTER_INCIDENTS;
    r = plan_rare(f, tx, p, is_case || is_by_id(f) ? FEW : ONCE, !is_case, e);
    if (r == 0 && p->way == FILTER_WALK)
        r = walk(f, tx, w, p, NEAR, e);
    if (r != WALK_ON || p->way != FILTER_WALK)
        return r < 0 ? r : 0;
    r = plan_rare(f, tx, p, FEW, false, e);
    if (r == 0 && p->way == FILTER_WALK)
        r = plan_words(f, tx, w, p, e);
    if (r == 0 && p->way == FILTER_WALK && (r = walk(f, tx, w, p, FAR, e)) == WALK_ON)
        r = plan_many(f, tx, p, e);
    return r < 0 ? r : 0;
}

/* ---------------------------------------------------------------- PostgreSQL */

/* A host, a tag, an incident: few rows have it, and the statistics know that. */
static bool has_narrow(const struct filter *f)
{
    for (size_t i = 0; i < f->n_terms; i++) {
        const struct filter_key *k = f->terms[i].key;
        if (k != NULL && is_point(f, &f->terms[i]) &&
            (k->select != NULL || k->kind == FILTER_NET || k->kind == FILTER_INT))
            return true;
    }
    return false;
}

/* Words, or another order than that of the column which is asked for. */
static bool is_guess(const struct filter *f)
{
    for (size_t i = 0; i < f->n_terms; i++)
        if (f->terms[i].key == NULL || (!is_by_id(f) && f->terms[i].key->index != FILTER_NO_INDEX))
            return !has_narrow(f);
    return false;
}

static int postgres_way(struct filter *f, struct db_tx *tx, struct filter_words *w,
                        struct filter_plan *p, struct err *e)
{
    int r = find_along(f, tx, p, e);
    if (r < 0 || f->is_picked || (p->along == FILTER_NO_TERM && !is_guess(f)))
        return r;
    p->way = FILTER_WALK;
    r = walk(f, tx, w, p, NEAR, e);
    if (r == WALK_ON && p->along != FILTER_NO_TERM)
        r = walk(f, tx, w, p, FAR, e);
    if (r == WALK_SHORT && p->along != FILTER_NO_TERM)
        return 0; /* all that are left of it */
    p->way = FILTER_PLAIN;
    if (r != WALK_ON || p->along != FILTER_NO_TERM || !has_positive_words(f))
        return r < 0 ? r : 0;
    r = filter_list_words(f, tx, FEW, &w->ids, e);
    if (r == 0 && w->ids.n < FEW) {
        w->list = db_ints(w->ids.id, w->ids.n);
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
