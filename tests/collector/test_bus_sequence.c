#include "collector/bus_sequence.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>

#include "collector/sensors.h"
#include "support/batch.h"

#define S    INT64_C(1000000000)
#define WAIT (60 * S)

static const struct sequence_key key = {"edge", "alerts", "run-1"};

static struct sequence_events take(struct sequence *s, int64_t from, int64_t to)
{
    struct sequence_events ev = {0};

    for (int64_t i = from; i <= to; i++)
        (void)sequence_take(s, i, &ev);
    return ev;
}

static struct sequence_events settle(struct sequence *s, int64_t at_s, size_t *ret_n,
                                     struct sequence_range *lost)
{
    struct sequence_events ev = {0};

    *ret_n = sequence_settle(s, at_s * S, WAIT, &ev, lost);
    return ev;
}

Test(bus_sequence, what_is_in_order_leaves_nothing)
{
    struct sequence s = {0};
    struct sequence_range lost[SEQUENCE_TOLD];
    size_t n;

    const struct sequence_events ev = take(&s, 5000, 9000);
    cr_assert_eq(ev.duplicates + ev.reordered + ev.found + ev.gaps, 0);
    cr_assert_eq(s.n, 1); /* the one that is not full yet */
    cr_assert_eq(settle(&s, 1, &n, lost).gaps, 0);
    cr_assert_eq(sequence_due(&s, WAIT), 0);
    cr_assert_eq(settle(&s, 1000, &n, lost).gaps, 0);
    sequence_done(&s);
}

Test(bus_sequence, what_is_missing_is_lost_after_a_while_and_told_once)
{
    struct sequence s = {0};
    struct sequence_range lost[SEQUENCE_TOLD];
    size_t n;

    (void)take(&s, 1, 10);
    (void)take(&s, 14, 1019);
    (void)take(&s, 1030, 1100);
    cr_assert_eq(settle(&s, 100, &n, lost).gaps, 0);
    cr_assert_eq(sequence_due(&s, WAIT), 160 * S);
    cr_assert_eq(settle(&s, 159, &n, lost).gaps, 0);
    const struct sequence_events ev = settle(&s, 160, &n, lost);
    cr_assert_eq(ev.gaps, 2);
    cr_assert_eq(ev.missing, 3 + 10);
    cr_assert_eq(n, 2);
    cr_assert_eq(lost[0].from, 11);
    cr_assert_eq(lost[0].to, 13);
    cr_assert_eq(lost[1].from, 1020); /* across two blocks */
    cr_assert_eq(lost[1].to, 1029);
    cr_assert_eq(sequence_due(&s, WAIT), 0);
    cr_assert_eq(settle(&s, 1000, &n, lost).gaps, 0);
    sequence_done(&s);
}

Test(bus_sequence, a_loss_that_comes_after_all_is_taken_off)
{
    struct sequence s = {0};
    struct sequence_range lost[SEQUENCE_TOLD];
    size_t n;

    (void)take(&s, 1, 1);
    (void)take(&s, 5, 5);
    (void)settle(&s, 1, &n, lost);
    cr_assert_eq(settle(&s, 100, &n, lost).missing, 3);
    struct sequence_events ev = take(&s, 3, 3);
    cr_assert_eq(ev.missing, -1);
    cr_assert_eq(ev.found, 1);
    ev = take(&s, 3, 3);
    cr_assert_eq(ev.missing, 0);
    cr_assert_eq(ev.duplicates, 1);
    sequence_done(&s);
}

Test(bus_sequence, what_is_missing_since_just_now_waits_longer)
{
    struct sequence s = {0};
    struct sequence_range lost[SEQUENCE_TOLD];
    size_t n;

    (void)take(&s, 1, 1);
    (void)take(&s, 3, 3);
    (void)settle(&s, 0, &n, lost);
    (void)settle(&s, 1, &n, lost);
    (void)take(&s, 5, 5); /* 4 is missing since second 61 */
    (void)settle(&s, 61, &n, lost);
    cr_assert_eq(n, 1);
    cr_assert_eq(lost[0].from, 2);
    cr_assert_eq(lost[0].to, 2);
    cr_assert_eq(settle(&s, 120, &n, lost).gaps, 0);
    cr_assert_eq(settle(&s, 121, &n, lost).gaps, 1);
    cr_assert_eq(lost[0].from, 4);
    sequence_done(&s);
}

Test(bus_sequence, what_was_before_the_first_is_not_missed_but_joins)
{
    struct sequence s = {0};
    struct sequence_range lost[SEQUENCE_TOLD];
    size_t n;

    (void)take(&s, 3000, 4095); /* the first block of it is complete, and gone */
    cr_assert_eq(s.n, 0);
    const struct sequence_events ev = take(&s, 2000, 2997);
    cr_assert_eq(ev.duplicates, 0);
    cr_assert_eq(s.first, 2000);
    (void)settle(&s, 1, &n, lost);
    cr_assert_eq(settle(&s, 100, &n, lost).missing, 2);
    cr_assert_eq(lost[0].from, 2998);
    cr_assert_eq(take(&s, 2998, 2999).found, 2);
    cr_assert_eq(take(&s, 3000, 4095).duplicates, 1096);
    sequence_done(&s);
}

Test(bus_sequence, blocks_are_bounded_however_far_the_numbers_jump)
{
    struct sequence s = {0};
    struct sequence_events ev = {0};

    for (int64_t i = 0; i < INT64_C(3) * SEQUENCE_BLOCKS; i++)
        (void)sequence_take(&s, i * SEQUENCE_BLOCK + 1, &ev);
    cr_assert_leq(s.n, SEQUENCE_BLOCKS);
    cr_assert_eq(ev.duplicates, 0);
    cr_assert_eq(ev.missing,
                 2 * SEQUENCE_BLOCKS * (SEQUENCE_BLOCK - 1) - 1); /* 0 is before the first */
    ev = (struct sequence_events){0};
    (void)sequence_take(&s, INT64_C(1) << 50, &ev);
    cr_assert_leq(s.n, SEQUENCE_BLOCKS);
    cr_assert_gt(ev.missing, INT64_C(1) << 49);
    (void)sequence_take(&s, 0, &ev); /* too far below: it is taken for an old one */
    cr_assert_eq(ev.duplicates, 1);
    sequence_done(&s);
}

/* Beside a table of all numbers: in any order, with losses, written and read back on the way. */
Test(bus_sequence, any_order_gives_the_same_as_a_table_of_all_numbers)
{
    enum { N = 20000 };
    static bool seen[N];
    int64_t duplicates = 0, missing = 0;
    struct sequence s = {0};
    struct sequence_events sum = {0};

    srand(7);
    for (int64_t from = 0; from < N; from += 500) {
        for (int i = 0; i < 700; i++) {
            const int64_t seq = from + rand() % 1500;
            if (seq >= N || seq % 97 == 0)
                continue;
            duplicates += seen[seq];
            struct sequence_events ev = {0};
            cr_assert_eq(sequence_take(&s, seq, &ev), !seen[seq], "%lld", (long long)seq);
            seen[seq] = true;
            sum.duplicates += ev.duplicates;
        }
        uint8_t *bytes = malloc(s.n * SEQUENCE_BLOCK_BYTES + 1);
        struct sequence again;
        sequence_write(&s, bytes);
        cr_assert_eq(sequence_read(&again, s.first, s.next, bytes, s.n * SEQUENCE_BLOCK_BYTES), 0);
        free(bytes);
        sequence_done(&s);
        s = again;
    }
    struct sequence_range lost[SEQUENCE_TOLD];
    size_t n;
    (void)settle(&s, 1, &n, lost);
    sum.missing = settle(&s, 1000, &n, lost).missing;
    for (int64_t i = s.first; i < s.next; i++)
        missing += !seen[i];
    cr_assert_eq(sum.duplicates, duplicates);
    cr_assert_eq(sum.missing, missing);
    sequence_done(&s);
}

Test(bus_sequence, bytes_that_nobody_wrote_are_refused)
{
    uint8_t bytes[2 * SEQUENCE_BLOCK_BYTES] = {0};
    struct sequence s;

    cr_assert_eq(sequence_read(&s, 0, 1, bytes, 1), -EINVAL);
    cr_assert_eq(sequence_read(&s, 1, 1, bytes, 0), -EINVAL);
    cr_assert_eq(sequence_read(&s, -1, 1, bytes, 0), -EINVAL);
    cr_assert_eq(sequence_read(&s, 0, 1, bytes, sizeof(bytes)), -EINVAL); /* twice the same */
    bytes[SEQUENCE_BLOCK_BYTES + 1] = 4;
    cr_assert_eq(sequence_read(&s, 0, 1, bytes, sizeof(bytes)), 0);
    sequence_done(&s);
    bytes[SEQUENCE_BLOCK_BYTES] = 1;
    cr_assert_eq(sequence_read(&s, 0, 1, bytes, sizeof(bytes)), -EINVAL);
}

/* ---------------------------------------------------------------- in the table */

TestSuite(bus_sequence_table, .init = temp_db_init, .fini = temp_db_fini);

/* What one batch of the bus does. */
static void take_in_db(const struct sequence_key *k, int64_t from, int64_t to, int64_t at_s)
{
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;
    WIND_AUTO(db_stmt) struct db_stmt *stmt = NULL;
    const struct sensor_report report = {.name = k->sensor};
    struct sequence_range lost[SEQUENCE_TOLD];
    struct sequence s;
    struct err e = {0};

    cr_assert_eq(db_begin_write(temp_db, &tx, &e), 0);
    cr_assert_eq(sensor_seen(tx, &report, &e), 0, "%s", e.text);
    cr_assert_eq(sequence_ask(tx, k, &stmt, &e), 0, "%s", e.text);
    cr_assert_eq(sequence_load(stmt, &s, &e), 0, "%s", e.text);
    struct sequence_events ev = take(&s, from, to);
    (void)sequence_settle(&s, at_s * S, WAIT, &ev, lost);
    cr_assert_eq(sequence_save(tx, k, &s, WAIT, &ev, &e), 0, "%s", e.text);
    cr_assert_eq(db_commit(&tx, &e), 0, "%s", e.text);
    sequence_done(&s);
}

static size_t n_lost;

static void note_lost(const struct sequence_key *k, const struct sequence_range *range)
{
    cr_assert_str_eq(k->sensor, "edge");
    cr_assert_eq(range->from, 11);
    cr_assert_eq(range->to, 19);
    n_lost++;
}

static struct sequence_events sweep(int64_t at_s)
{
    struct sequence_events ev = {0};
    struct err e = {0};

    cr_assert_eq(sequence_sweep(temp_db, at_s * S, WAIT, note_lost, &ev, &e), 0, "%s", e.text);
    return ev;
}

Test(bus_sequence_table, a_silent_sensor_s_loss_is_noticed_too)
{
    take_in_db(&key, 1, 10, 1);
    take_in_db(&key, 20, 30, 100);
    cr_assert_eq(sweep(159).gaps, 0);
    cr_assert_eq(ask("SELECT gaps FROM sensors"), 0);
    cr_assert_eq(sweep(160).gaps, 1);
    cr_assert_eq(sweep(1000).gaps, 0);
    cr_assert_eq(n_lost, 1);
    cr_assert_eq(ask("SELECT gaps * 1000 + missing FROM sensors"), 1009);
    take_in_db(&key, 15, 15, 2000);
    cr_assert_eq(ask("SELECT gaps * 1000 + missing FROM sensors"), 1008);
    temp_db_reopen();
    take_in_db(&key, 11, 14, 2000);
    take_in_db(&key, 16, 19, 2000);
    cr_assert_eq(ask("SELECT missing FROM sensors"), 0);
    cr_assert_eq(ask("SELECT length(blocks) FROM bus_sequences"), SEQUENCE_BLOCK_BYTES);
}

Test(bus_sequence_table, old_runs_are_forgotten)
{
    char run[16];

    for (int i = 0; i < 3 * SEQUENCE_RUNS; i++) {
        (void)snprintf(run, sizeof(run), "run-%d", i);
        take_in_db(&(struct sequence_key){"edge", "alerts", run}, 1, 10, 1);
    }
    take_in_db(&(struct sequence_key){"edge", "health", "x"}, 1, 10, 1);
    take_in_db(&(struct sequence_key){"other", "alerts", "x"}, 1, 10, 1);
    cr_assert_eq(ask("SELECT count(*) FROM bus_sequences WHERE topic = 'alerts' "
                     "AND sensor = 'edge'"),
                 SEQUENCE_RUNS);
    cr_assert_eq(ask("SELECT count(*) FROM bus_sequences"), SEQUENCE_RUNS + 2);
    cr_assert_eq(ask("SELECT count(*) FROM bus_sequences WHERE run = 'run-11'"), 1);
}
