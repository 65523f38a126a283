#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "collector/db_backend.h"
#include "support/child.h"
#include "support/db_rows.h"

TestSuite(db, .init = temp_db_init, .fini = temp_db_fini);

Test(db, opens_a_private_file_and_knows_its_schema)
{
    struct stat st;
    struct db_stats stats;

    if (temp_db_url[0] == '\0') {
        cr_assert_eq(stat(temp_db_path, &st), 0);
        cr_assert_eq(st.st_mode & 0777, 0600);
    }
    db_stats(temp_db, &stats);
    cr_assert_geq(stats.schema, 1);
    cr_assert_eq(count_rows(temp_db, "SELECT count(*) FROM schema_migrations"), stats.schema);
}

Test(db, both_databases_have_the_same_migrations)
{
    const struct db_migration *a = db_sqlite_migrations, *b = db_postgres_migrations;

    for (; a->number != 0 && b->number != 0; a++, b++)
        cr_assert_str_eq(a->name, b->name);
    cr_assert_eq(a->number, b->number, "a file is missing in sql/sqlite or sql/postgres");
}

Test(db, what_is_committed_is_there_after_opening_again)
{
    struct err e = {0};
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;

    cr_assert_eq(db_begin_write(temp_db, &tx, &e), 0);
    cr_assert_eq(add_entity(tx, "a", &e), 0);
    cr_assert_eq(db_commit(&tx, &e), 0);
    cr_assert_null(tx);
    temp_db_reopen();
    cr_assert_eq(count_rows(temp_db, "SELECT count(*) FROM entities"), 1);
}

Test(db, what_is_not_committed_is_undone)
{
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;
    struct db_stats stats;

    cr_assert_eq(db_begin_write(temp_db, &tx, NULL), 0);
    cr_assert_eq(add_entity(tx, "a", NULL), 0);
    tx = db_tx_free(tx);
    cr_assert_eq(count_rows(temp_db, "SELECT count(*) FROM entities"), 0);
    db_stats(temp_db, &stats);
    cr_assert_eq(stats.rollbacks, 1);
}

Test(db, numbered_parameters_may_come_in_any_order_and_twice)
{
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;
    struct err e = {0};

    cr_assert_eq(db_begin_read(temp_db, &tx, &e), 0);
    cr_assert_eq(db_query(tx, "SELECT $3, $1, $2, $1, $4",
                          DB_ARGS(db_int(1), db_str("two"), db_f64(3.5), db_null()), &s, &e),
                 0, "%s", e.text);
    cr_assert_eq(db_step(s, &e), DB_ROW);
    cr_assert_eq(db_real(s, 0), 3.5);
    cr_assert_eq(db_i64(s, 1), 1);
    cr_assert_str_eq(db_text(s, 2), "two");
    cr_assert_eq(db_i64(s, 3), 1);
    cr_assert(db_is_null(s, 4));
    cr_assert_eq(db_step(s, &e), 0);
    cr_assert_eq(db_query(tx, "SELECT $1", DB_ARGS(db_int(1), db_int(2)), &s, &e), -EINVAL);
}

Test(db, bytes_and_text_come_back_as_they_went_in)
{
    static const uint8_t bytes[] = {0, 255, 0, 7};
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;
    size_t len = 0;

    cr_assert_eq(db_begin_read(temp_db, &tx, NULL), 0);
    cr_assert_eq(db_query(tx, "SELECT $1, $2", DB_ARGS(db_bytes(bytes, 4), db_str("")), &s, NULL),
                 0);
    cr_assert_eq(db_step(s, NULL), DB_ROW);
    cr_assert_arr_eq(db_blob(s, 0, &len), bytes, 4);
    cr_assert_eq(len, 4);
    cr_assert_str_eq(db_text(s, 1), "");
}

Test(db, a_key_that_is_there_or_missing_is_an_outcome)
{
    struct err e = {0};

    for (int i = 0; i < 2; i++) {
        WIND_AUTO(db_tx) struct db_tx *tx = NULL;
        cr_assert_eq(db_begin_write(temp_db, &tx, &e), 0);
        cr_assert_eq(add_entity(tx, "a", &e), 0);
        cr_assert_eq(i == 0 ? add_entity(tx, "a", &e)
                            : db_run(tx,
                                     "INSERT INTO comments (incident_id, author, text, created_at) "
                                     "VALUES (99, 'x', 'y', 0)",
                                     DB_NONE, NULL, &e),
                     DB_CONFLICT);
        tx = db_tx_free(tx);
        cr_assert_eq(count_rows(temp_db, "SELECT count(*) FROM entities"), 0);
    }
}

Test(db, a_failure_ends_the_transaction)
{
    ONLY_POSTGRES();
    struct err e = {0};
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;

    cr_assert_eq(db_begin_write(temp_db, &tx, &e), 0);
    cr_assert_eq(add_entity(tx, "a", &e), 0);
    cr_assert_eq(add_entity(tx, "a", &e), DB_CONFLICT);
    const int r = add_entity(tx, "b", &e);
    cr_assert_lt(r, 0, "%d %s", r, e.text);
    cr_assert_lt(db_commit(&tx, &e), 0);
    cr_assert_null(tx);
    cr_assert_eq(count_rows(temp_db, "SELECT count(*) FROM entities"), 0);
    cr_assert_eq(db_begin_write(temp_db, &tx, &e), 0);
    cr_assert_eq(add_entity(tx, "a", &e), 0);
    cr_assert_eq(db_commit(&tx, &e), 0);
}

Test(db, a_unique_key_is_an_outcome_and_the_transaction_goes_on)
{
    ONLY_SQLITE();
    struct err e = {0};
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;
    int64_t changed = -1;

    cr_assert_eq(db_begin_write(temp_db, &tx, &e), 0);
    cr_assert_eq(add_entity(tx, "a", &e), 0);
    cr_assert_eq(add_entity(tx, "a", &e), DB_CONFLICT);
    cr_assert_eq(db_run(tx,
                        "INSERT INTO comments (incident_id, author, text, created_at) "
                        "VALUES (99, 'x', 'y', 0)",
                        DB_NONE, NULL, &e),
                 DB_CONFLICT);
    cr_assert_eq(db_run(tx, "UPDATE entities SET kind = 'user'", DB_NONE, &changed, &e), 0);
    cr_assert_eq(changed, 1);
    cr_assert_eq(db_commit(&tx, &e), 0);
}

Test(db, the_same_query_can_run_inside_itself)
{
    static const char sql[] = "SELECT value FROM entities ORDER BY value";
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;
    WIND_AUTO(db_stmt) struct db_stmt *outer = NULL, *inner = NULL;

    cr_assert_eq(db_begin_write(temp_db, &tx, NULL), 0);
    cr_assert_eq(add_entity(tx, "a", NULL), 0);
    cr_assert_eq(add_entity(tx, "b", NULL), 0);
    cr_assert_eq(db_query(tx, sql, DB_NONE, &outer, NULL), 0);
    cr_assert_eq(db_step(outer, NULL), DB_ROW);
    cr_assert_eq(db_query(tx, sql, DB_NONE, &inner, NULL), 0);
    cr_assert_eq(db_step(inner, NULL), DB_ROW);
    cr_assert_eq(db_step(inner, NULL), DB_ROW);
    cr_assert_str_eq(db_text(outer, 0), "a");
    cr_assert_str_eq(db_text(inner, 0), "b");
    inner = db_stmt_free(inner);
    cr_assert_eq(db_step(outer, NULL), DB_ROW);
    cr_assert_str_eq(db_text(outer, 0), "b");
}

Test(db, queries_made_together_are_read_in_any_order)
{
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;
    WIND_AUTO(db_stmt) struct db_stmt *one = NULL, *two = NULL, *three = NULL;
    struct err e = {0};

    for (int i = 0; i < 3; i++) { /* the second time they are prepared already */
        cr_assert_eq(db_begin_read(temp_db, &tx, &e), 0);
        cr_assert_eq(db_query(tx, "SELECT $1", DB_ARGS(db_str("one")), &one, &e), 0);
        cr_assert_eq(db_query(tx, "SELECT $1", DB_ARGS(db_str("two")), &two, &e), 0);
        cr_assert_eq(db_query(tx, "SELECT $1, 3", DB_ARGS(db_str("three")), &three, &e), 0);
        cr_assert_eq(db_step(two, &e), DB_ROW, "%s", e.text);
        three = db_stmt_free(three); /* nobody wants it any more */
        cr_assert_eq(db_step(one, &e), DB_ROW);
        cr_assert_str_eq(db_text(one, 0), "one");
        cr_assert_str_eq(db_text(two, 0), "two");
        cr_assert_eq(db_step(two, &e), 0);
        one = db_stmt_free(one);
        two = db_stmt_free(two);
        tx = db_tx_free(tx);
    }
}

Test(db, a_failure_among_queries_made_together_is_told_and_over)
{
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;
    WIND_AUTO(db_stmt) struct db_stmt *one = NULL, *two = NULL;
    struct err e = {0};

    for (int i = 0; i < 2; i++) {
        cr_assert_eq(i == 0 ? db_begin_read(temp_db, &tx, &e) : db_begin_single(temp_db, &tx, &e),
                     0);
        int r = db_query(tx, "SELECT 1 FROM nowhere", DB_NONE, &one, &e);
        if (r == 0) {
            cr_assert_eq(db_query(tx, "SELECT 7", DB_NONE, &two, &e), 0);
            r = db_step(two, &e); /* skipped for the failure before it */
            cr_assert_lt(r, 0);
            r = db_step(one, &e);
        }
        cr_assert_lt(r, 0);
        cr_assert_not_null(strstr(e.text, "nowhere"), "%s", e.text);
        one = db_stmt_free(one);
        two = db_stmt_free(two);
        tx = db_tx_free(tx);
        cr_assert_eq(count_rows(temp_db, "SELECT 7"), 7); /* the connection is well */
    }
}

Test(db, values_that_come_after_a_null_are_taken)
{
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;
    struct err e = {0};
    static const uint8_t addr[16] = {7, 0, 255};
    static const char sql[] = "INSERT INTO entities (kind, value, addr) VALUES ($1, $2, $3)";

    cr_assert_eq(db_begin_write(temp_db, &tx, &e), 0);
    cr_assert_eq(db_run(tx, sql, DB_ARGS(db_str("host"), db_str("a"), db_null()), NULL, &e), 0);
    cr_assert_eq(
        db_run(tx, sql, DB_ARGS(db_str("host"), db_str("b"), db_bytes(addr, 16)), NULL, &e), 0,
        "%s", e.text);
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;
    size_t len = 0;
    cr_assert_eq(db_query_row(tx, "SELECT addr FROM entities WHERE value = 'b'", DB_NONE, &s, &e),
                 DB_ROW);
    cr_assert_arr_eq(db_blob(s, 0, &len), addr, 16);
}

Test(db, a_statement_that_outlives_its_transaction_has_no_rows)
{
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;

    cr_assert_eq(db_begin_read(temp_db, &tx, NULL), 0);
    cr_assert_eq(db_query(tx, "SELECT 'x'", DB_NONE, &s, NULL), 0);
    cr_assert_eq(db_step(s, NULL), DB_ROW);
    tx = db_tx_free(tx);
    cr_assert_null(db_text(s, 0));
    cr_assert_eq(db_step(s, NULL), -EINVAL);
    cr_assert_eq(db_again(s, DB_NONE, NULL), -EINVAL);
}

Test(db, more_statements_than_the_cache_holds_work)
{
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;
    char sql[64];

    cr_assert_eq(db_begin_read(temp_db, &tx, NULL), 0);
    for (int i = 0; i < 3 * DB_CACHED; i++) {
        WIND_AUTO(db_stmt) struct db_stmt *s = NULL;
        (void)snprintf(sql, sizeof(sql), "SELECT %d", i % (2 * DB_CACHED));
        cr_assert_eq(db_query(tx, sql, DB_NONE, &s, NULL), 0);
        cr_assert_eq(db_step(s, NULL), DB_ROW);
        cr_assert_eq(db_i64(s, 0), i % (2 * DB_CACHED));
    }
}

Test(db, a_read_keeps_its_state_while_others_write)
{
    WIND_AUTO(db_tx) struct db_tx *reader = NULL, *writer = NULL;
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;

    cr_assert_eq(db_begin_read(temp_db, &reader, NULL), 0);
    cr_assert_eq(db_query(reader, "SELECT count(*) FROM entities", DB_NONE, &s, NULL), 0);
    cr_assert_eq(db_step(s, NULL), DB_ROW);
    cr_assert_eq(db_begin_write(temp_db, &writer, NULL), 0);
    cr_assert_eq(add_entity(writer, "a", NULL), 0);
    cr_assert_eq(db_commit(&writer, NULL), 0);
    cr_assert_eq(db_again(s, DB_NONE, NULL), 0);
    cr_assert_eq(db_step(s, NULL), DB_ROW);
    cr_assert_eq(db_i64(s, 0), 0);
    reader = db_tx_free(reader);
    cr_assert_eq(count_rows(temp_db, "SELECT count(*) FROM entities"), 1);
}

Test(db, a_read_cannot_write)
{
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;

    cr_assert_eq(db_begin_read(temp_db, &tx, NULL), 0);
    cr_assert_lt(add_entity(tx, "a", NULL), 0);
}

Test(db, each_statement_of_a_single_read_sees_the_newest_state)
{
    WIND_AUTO(db_tx) struct db_tx *reader = NULL, *writer = NULL;
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;

    cr_assert_eq(db_begin_single(temp_db, &reader, NULL), 0);
    cr_assert_eq(db_query(reader, "SELECT count(*) FROM entities", DB_NONE, &s, NULL), 0);
    cr_assert_eq(db_step(s, NULL), DB_ROW);
    cr_assert_eq(db_i64(s, 0), 0);
    cr_assert_eq(db_begin_write(temp_db, &writer, NULL), 0);
    cr_assert_eq(add_entity(writer, "a", NULL), 0);
    cr_assert_eq(db_commit(&writer, NULL), 0);
    cr_assert_eq(db_again(s, DB_NONE, NULL), 0);
    cr_assert_eq(db_step(s, NULL), DB_ROW);
    cr_assert_eq(db_i64(s, 0), 1);
    cr_assert_lt(add_entity(reader, "b", NULL), 0);
}

Test(db, a_deferred_statement_is_told_at_the_commit_at_the_latest)
{
    struct err e = {0};
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;

    cr_assert_eq(db_begin_write(temp_db, &tx, &e), 0);
    cr_assert_eq(db_defer(tx, "INSERT INTO entities (kind, value) VALUES ($1, 'a')",
                          DB_ARGS(db_str("host")), &e),
                 0);
    cr_assert_eq(db_commit(&tx, &e), 0);
    cr_assert_eq(count_rows(temp_db, "SELECT count(*) FROM entities"), 1);
    cr_assert_eq(db_begin_write(temp_db, &tx, &e), 0);
    int r = db_defer(tx, "INSERT INTO entities (kind, value) VALUES ($1, 'a')",
                     DB_ARGS(db_str("host")), &e);
    if (r == 0)
        r = db_commit(&tx, &e);
    cr_assert_lt(r, 0);
}

Test(db, waiting_has_an_end)
{
    struct err e = {0};
    WIND_AUTO(db_tx) struct db_tx *w = NULL, *again = NULL;
    struct db_tx *readers[TEMP_DB_READERS + 1] = {NULL};
    struct db_stats stats;

    cr_assert_eq(db_begin_write(temp_db, &w, &e), 0);
    cr_assert_eq(db_begin_write(temp_db, &again, &e), -EDEADLK);
    for (int i = 0; i < TEMP_DB_READERS; i++)
        cr_assert_eq(db_begin_read(temp_db, &readers[i], &e), 0);
    cr_assert_eq(db_begin_read(temp_db, &readers[TEMP_DB_READERS], &e), -EBUSY);
    db_stats(temp_db, &stats);
    cr_assert_eq(stats.waits_failed, 1);
    for (int i = 0; i < TEMP_DB_READERS; i++)
        (void)db_tx_free(readers[i]);
}

Test(db, another_process_writing_makes_us_wait_then_say_busy)
{
    struct err e = {0};
    struct db_conf conf = temp_db_conf();
    WIND_AUTO(db) struct db *other = NULL;
    WIND_AUTO(db_tx) struct db_tx *theirs = NULL, *ours = NULL;

    conf.busy_ms = 500;
    cr_assert_eq(db_open(&other, &conf, &e), 0, "%s", e.text);
    cr_assert_eq(db_begin_write(temp_db, &theirs, &e), 0);
    cr_assert_eq(add_entity(theirs, "a", &e), 0);
    int r = db_begin_write(other, &ours, &e);
    if (r == 0) /* PostgreSQL says nothing before there is something to do */
        r = add_entity(ours, "b", &e);
    cr_assert_eq(r, -EBUSY);
    ours = db_tx_free(ours);
    theirs = db_tx_free(theirs);
    cr_assert_eq(db_begin_write(other, &ours, &e), 0, "%s", e.text);
    cr_assert_eq(add_entity(ours, "b", &e), 0);
}

/* A search that would read for ever; then the connection is as good as before. */
Test(db, a_read_ends_when_it_takes_too_long)
{
    static const char endless[] = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n "
                                  "WHERE i > 0) SELECT count(*) FROM n";
    struct err e = {0};
    struct db_conf conf = temp_db_conf();
    WIND_AUTO(db) struct db *db = NULL;
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;
    int64_t n = 0;

    conf.read_ms = 100;
    conf.readers = 1;
    cr_assert_eq(db_open(&db, &conf, &e), 0, "%s", e.text);
    cr_assert_eq(db_begin_read(db, &tx, &e), 0);
    cr_assert_eq(db_query_i64(tx, endless, DB_NONE, &n, &e), -EBUSY);
    tx = db_tx_free(tx);
    cr_assert_eq(db_begin_single(db, &tx, &e), 0);
    cr_assert_eq(db_query_i64(tx, "SELECT 7", DB_NONE, &n, &e), 0, "%s", e.text);
    cr_assert_eq(n, 7);
}

static void *write_many(void *arg)
{
    (void)arg;
    for (int i = 0; i < 50; i++) {
        WIND_AUTO(db_tx) struct db_tx *tx = NULL;
        char value[64];
        (void)snprintf(value, sizeof(value), "%lx-%d", (unsigned long)pthread_self(), i);
        if (db_begin_write(temp_db, &tx, NULL) != 0 || add_entity(tx, value, NULL) != 0 ||
            db_commit(&tx, NULL) != 0)
            return arg;
        (void)count_rows(temp_db, "SELECT count(*) FROM entities");
    }
    return NULL;
}

static void count_commit(void *arg)
{
    (void)__atomic_fetch_add((int *)arg, 1, __ATOMIC_RELAXED);
}

Test(db, writers_on_many_threads_lose_nothing_and_each_commit_is_told)
{
    pthread_t threads[4];
    int told = 0;

    db_on_commit(temp_db, count_commit, &told);
    for (size_t i = 0; i < 4; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, write_many, temp_db), 0);
    for (size_t i = 0; i < 4; i++) {
        void *failed = NULL;
        cr_assert_eq(pthread_join(threads[i], &failed), 0);
        cr_assert_null(failed);
    }
    cr_assert_eq(count_rows(temp_db, "SELECT count(*) FROM entities"), 200);
    cr_assert_eq(told, 200);
}

static void change(const char *sql)
{
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;

    cr_assert_eq(db_begin_write(temp_db, &tx, NULL), 0);
    cr_assert_eq(db_run(tx, sql, DB_NONE, NULL, NULL), 0);
    cr_assert_eq(db_commit(&tx, NULL), 0);
}

Test(db, a_changed_migration_and_a_newer_schema_are_refused_with_a_sentence)
{
    const struct db_conf conf = temp_db_conf();
    WIND_AUTO(db) struct db *db = NULL;
    struct err e = {0};

    change("INSERT INTO schema_migrations VALUES (9999, '9999_later', '', 0)");
    cr_assert_eq(db_open(&db, &conf, &e), -EINVAL);
    cr_assert_not_null(strstr(e.text, "its schema 9999 is newer than this program's"));
    change("UPDATE schema_migrations SET sha256 = 'other' WHERE number = 1");
    cr_assert_eq(db_open(&db, &conf, &e), -EINVAL);
    cr_assert_not_null(strstr(e.text, "0001_core was changed after it ran"));
}

Test(db, a_file_that_is_no_database_is_refused_and_left_alone)
{
    ONLY_SQLITE();
    char path[PATH_MAX + 8];
    struct err e = {0};
    WIND_AUTO(db) struct db *db = NULL;

    (void)snprintf(path, sizeof(path), "%s.txt", temp_db_path);
    const struct db_conf conf = {.path = path};
    FILE *f = fopen(path, "w");
    for (int i = 0; i < 1000; i++)
        (void)fputs("not a database\n", f);
    (void)fclose(f);
    cr_assert_eq(db_open(&db, &conf, &e), -EBADMSG, "%s", e.text);
    cr_assert_not_null(strstr(e.text, "file is not a database"));
    struct stat st;
    cr_assert_eq(stat(path, &st), 0);
    cr_assert_eq(st.st_size, 15000);
    (void)unlink(path);
}

/* What another program sees of our lock on SQLite's shared bytes; the child opens no database. */
static bool is_in_use(void)
{
    const pid_t child = child_fork();
    int status = 0;

    cr_assert_geq(child, 0);
    if (child == 0) {
        struct flock lock = {
            .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0x40000002, .l_len = 510};
        const int fd = open(temp_db_path, O_RDWR);
        _exit(fd >= 0 && fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK ? 1 : 0);
    }
    cr_assert_eq(waitpid(child, &status, 0), child);
    return WIFEXITED(status) && WEXITSTATUS(status) == 1;
}

Test(db, other_programs_see_that_it_is_in_use)
{
    ONLY_SQLITE();
    WIND_AUTO(db_tx) struct db_tx *one = NULL;
    WIND_AUTO(db_tx) struct db_tx *two = NULL;
    struct err e = {0};

    cr_assert(is_in_use());
    cr_assert_eq(db_begin_read(temp_db, &one, &e), 0); /* makes further connections */
    cr_assert_eq(db_begin_read(temp_db, &two, &e), 0);
    cr_assert(is_in_use());
}
