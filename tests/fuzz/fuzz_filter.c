/* Search texts and cursors: never a crash, and what is accepted is SQL that SQLite prepares. */
#include <errno.h>

#include "collector/alerts.h"
#include "collector/filter_way.h"
#include "collector/search_dsl.h"
#include "support/fuzz.h"
#include "support/temp_db.h"

static int no_row(struct db_tx *tx, struct db_stmt *s, struct jsonw *j, void *arg, struct err *e)
{
    (void)tx, (void)s, (void)j, (void)arg, (void)e;
    return 0;
}

static void ask(const struct filter *f, struct db_tx *tx, const struct filter_plan *p)
{
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;
    struct filter_edge edge;
    struct err e = {0};

    FUZZ_CHECK(filter_query(f, tx, p, "1", &s, &e) == 0 && db_step(s, &e) == 0);
    FUZZ_CHECK(p->way != FILTER_WALK || filter_find_edge(f, tx, p, 10, &edge, &e) == 0);
}

/* Along an entity, whoever it is: all its rows, some of them, or not by them. */
static void go_along(const struct filter *f, struct db_tx *tx, size_t term)
{
    struct filter_plan p = {.way = FILTER_READ, .seek = FILTER_NO_TERM, .along = term, .entity = 1};
    const int64_t id = 1;
    const struct db_value one = db_ints(&id, 1);
    struct filter_ids ids;
    struct err e = {0};

    if (f->terms[term].key->select->entity == NULL || strcmp(f->sort->sql, f->table->id) != 0)
        return;
    FUZZ_CHECK(filter_list_along(f, tx, &p, 10, &ids, &e) == 0 && ids.n == 0);
    ask(f, tx, &p);
    p.along_ids = &one;
    ask(f, tx, &p);
    p.way = FILTER_WALK;
    ask(f, tx, &p);
    p.way = FILTER_LIST;
    ask(f, tx, &p);
}

/* There are no rows, so that a page goes one way alone; each has to be SQL. */
static void go_every_way(const struct filter *f, struct db_tx *tx)
{
    const struct filter_edge edge = {.value = f->sort->is_real ? db_f64(0.5) : db_int(1), .id = 1};
    char match[FILTER_WORDS_BYTES];
    struct filter_words words = {.match = BUF_FIXED(match)};
    struct filter_plan p = {
        .way = FILTER_WALK, .seek = FILTER_NO_TERM, .along = FILTER_NO_TERM, .edge = &edge};
    bool has_words = false;
    struct err e = {0};
    int64_t n = 0;

    ask(f, tx, &p);
    p.edge = NULL;
    p.way = FILTER_READ;
    ask(f, tx, &p);
    FUZZ_CHECK(filter_words_look(f, tx, &words, &e) == 0);
    p.words = &words;
    for (size_t i = 0; i < f->n_terms; i++) {
        has_words |= f->terms[i].key == NULL && !f->terms[i].is_negated;
        if (!filter_is_sought(f, &f->terms[i]))
            continue;
        p.way = FILTER_SEEK;
        p.seek = i;
        ask(f, tx, &p);
        FUZZ_CHECK(filter_count_term(f, tx, i, 10, &n, &e) >= 0 && n == 0);
        p.way = FILTER_WALK;
        p.along = f->terms[i].key->select != NULL ? FILTER_NO_TERM : i;
        ask(f, tx, &p);
        if (f->terms[i].key->select != NULL)
            go_along(f, tx, i);
    }
    p.along = FILTER_NO_TERM;
    for (p.way = FILTER_LIST; has_words && p.way <= FILTER_DRIVE; p.way++)
        if (p.way == FILTER_LIST || strcmp(f->sort->sql, f->table->id) == 0)
            ask(f, tx, &p);
}

static void run(enum filter_table t, const char *columns, const char *text, bool is_cursor)
{
    WIND_AUTO(filter) struct filter *f = NULL;
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;
    const struct filter_rows rows = {columns, 1, no_row, NULL, NULL};
    char cursor[FILTER_CURSOR];
    struct err e = {0};

    FUZZ_CHECK(filter_new(&f, t, &e) == 0);
    const int r = is_cursor ? filter_cursor(f, text, &e) : filter_search(f, text, &e);
    if (r != 0) {
        FUZZ_CHECK(r == -EINVAL && e.text[0] != '\0');
        return;
    }
    json_t *dsl = search_dsl(f);
    FUZZ_CHECK(json_is_object(dsl)); /* what is accepted is a query of a search server, too */
    json_decref(dsl);
    FUZZ_CHECK(db_begin_read(temp_db, &tx, &e) == 0);
    FUZZ_CHECK(filter_page(f, tx, &rows, NULL, cursor, &e) == 0);
    f->is_picked = false; /* the empty page of a host that nobody knows */
    go_every_way(f, tx);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char text[2 * FILTER_TEXT_MAX];

    if (size == 0 || size > sizeof(text))
        return 0;
    if (temp_db == NULL) {
        temp_db_init();
        (void)atexit(temp_db_fini);
    }
    memcpy(text, data + 1, size - 1);
    text[size - 1] = '\0';
    if (data[0] & 1)
        run(FILTER_ALERTS, "a.id", text, data[0] & 2);
    else
        run(FILTER_INCIDENTS, "i.id", text, data[0] & 2);
    return 0;
}
