/* Search texts and cursors: never a crash, and what is accepted is SQL that SQLite prepares. */
#include <errno.h>

#include "collector/alerts.h"
#include "collector/search_dsl.h"
#include "support/fuzz.h"
#include "support/temp_db.h"

static int no_row(struct db_tx *tx, struct db_stmt *s, struct jsonw *j, void *arg, struct err *e)
{
    (void)tx, (void)s, (void)j, (void)arg, (void)e;
    return 0;
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
