/* When is sent, how much, and when again; what became of each alert. Spool and books are real. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "common/time.h"
#include "sensor/sender.h"
#include "sensor/spool_note.h"

#define MS WIND_NS_PER_MS

/* A sink whose answers the test gives. */
static struct {
    struct sink base;
    uint64_t first; /* index */
    size_t n, batches, stats, others;
    bool has_event;
    enum sink_event event;
    struct sink_answer answer;
    uint64_t after_ns;
} k;

static void fake_free(struct sink *s)
{
    (void)s;
}

static void fake_begin(struct sink *s)
{
    (void)s;
    k.n = 0;
}

static bool fake_has_room(const struct sink *s)
{
    (void)s;
    return true;
}

static void fake_put(struct sink *s, const struct spool_entry *alert, const char *run)
{
    (void)s;
    cr_assert_eq(strlen(run), SPOOL_RUN_TEXT - 1);
    if (k.n++ == 0)
        k.first = alert->index;
    cr_assert_eq(alert->index, k.first + k.n - 1, "a batch has no gap");
}

static void fake_put_stats(struct sink *s, const char *json, size_t len)
{
    (void)s;
    cr_assert(len == 2 && memcmp(json, "{}", 2) == 0);
    k.stats++;
}

static int fake_send(struct sink *s)
{
    if (k.n == 0)
        return SINK_SENT;
    s->is_busy = true;
    k.batches++;
    return 0;
}

static enum sink_event fake_step(struct sink *s, struct sink_answer *ret_answer,
                                 uint64_t *ret_after_ns)
{
    if (!k.has_event)
        return SINK_NOTHING;
    k.has_event = false;
    *ret_answer = k.answer;
    *ret_after_ns = k.after_ns;
    if (k.event == SINK_ANSWERED)
        s->is_busy = false;
    return k.event;
}

static void fake_wait(struct sink *s, int wait_ms)
{
    (void)s;
    (void)wait_ms;
}

static size_t fake_others(const struct sink *s)
{
    (void)s;
    return k.others;
}

static const struct sink_ops fake_ops = {.free = fake_free,
                                         .begin = fake_begin,
                                         .has_room = fake_has_room,
                                         .put = fake_put,
                                         .put_stats = fake_put_stats,
                                         .send = fake_send,
                                         .step = fake_step,
                                         .wait = fake_wait,
                                         .count_others = fake_others};

static char dir[64];
static struct spool *spool;
static struct sender *s;
static struct sender_books books;
static uint64_t now;

static void put_stats(void *arg, struct buf *out)
{
    (void)arg;
    buf_puts(out, "{}");
}

static void set_up(void)
{
    struct spool_conf conf = {.max_bytes = 1 << 20};
    const struct sender_conf how = {.heartbeat_ns = 10 * WIND_NS_PER_S, .put_stats = put_stats};

    log_init(LOG_TEXT, LOG_LEVEL_ERROR);
    (void)snprintf(dir, sizeof(dir), "/tmp/wind-sender-XXXXXX");
    cr_assert(mkdtemp(dir) != NULL);
    (void)snprintf(conf.dir, sizeof(conf.dir), "%s", dir);
    cr_assert_eq(spool_new(&spool, &conf, NULL, NULL), 0);
    k.base = (struct sink){.ops = &fake_ops,
                           .peer = "the test",
                           .if_refused = "ask it",
                           .if_strange = "know it",
                           .batch_max = 100};
    cr_assert_eq(sender_new(&s, &how, spool, &k.base, &books, NULL), 0);
    now = time_mono_ns();
}

static void tear_down(void)
{
    char command[128];

    s = sender_free(s);
    spool = spool_free(spool);
    (void)snprintf(command, sizeof(command), "rm -rf '%s'", dir);
    cr_assert_eq(system(command), 0);
}
TestSuite(sender, .init = set_up, .fini = tear_down);

static void spool_alerts(size_t n)
{
    while (n-- > 0)
        cr_assert_eq(spool_append(spool, (const uint8_t[16]){1}, 1, "{\"a\":1}", 7), 0);
}

static bool step(uint64_t ns)
{
    now += ns;
    return sender_step(s, now);
}

static void say(enum sink_event event, enum sink_verdict verdict, size_t taken, size_t rejected)
{
    k.has_event = true;
    k.event = event;
    k.answer = (struct sink_answer){.verdict = verdict, .taken = taken, .rejected = rejected};
}

static void answer(enum sink_verdict verdict, size_t taken, size_t rejected)
{
    cr_assert(k.base.is_busy);
    say(SINK_ANSWERED, verdict, taken, rejected);
    cr_assert(step(MS));
}

static void expect_books(uint64_t delivered, uint64_t rejected, uint64_t lost)
{
    const uint64_t next = spool_where(spool).next;

    cr_assert_eq(sender_delivered(&books), delivered, "delivered %zu",
                 (size_t)sender_delivered(&books));
    cr_assert_eq(books.rejected, rejected);
    cr_assert_eq(books.lost, lost);
    cr_assert_eq(sender_waiting(&books, next), next - books.base - delivered - rejected - lost);
}

Test(sender, what_the_batch_begins_with_and_is_done_is_not_sent_again)
{
    spool_alerts(50);
    cr_assert(step(0));
    cr_assert(k.first == 0 && k.n == 50);
    answer(SINK_LATER, 20, 0);
    expect_books(20, 0, 0);
    cr_assert_not(step(MS), "it waits a while");
    cr_assert(step(WIND_NS_PER_S));
    cr_assert(k.first == 20 && k.n == 30);
    answer(SINK_TAKEN, 0, 2);
    expect_books(48, 2, 0);
    cr_assert_eq(books.failures, 1);
}

Test(sender, a_refused_batch_is_halved_until_the_one_alert_is_found)
{
    spool_alerts(8);
    cr_assert(step(0));
    answer(SINK_SPLIT, 3, 0); /* the fourth is bad */
    expect_books(3, 0, 0);
    cr_assert(step(0));
    cr_assert(k.first == 3 && k.n == 2);
    answer(SINK_SPLIT, 0, 0);
    cr_assert(step(0));
    cr_assert(k.first == 3 && k.n == 1);
    answer(SINK_SPLIT, 0, 0);
    expect_books(3, 1, 0);
    cr_assert(step(0));
    answer(SINK_TAKEN, 0, 0);
    cr_assert(step(0));
    cr_assert(k.first == 5 && k.n == 2, "twice as many with each success");
    answer(SINK_TAKEN, 0, 0);
    cr_assert(step(0));
    answer(SINK_TAKEN, 0, 0);
    expect_books(7, 1, 0);
}

Test(sender, one_refused_after_the_other_is_blamed_on_the_other_side)
{
    spool_alerts(20);
    for (size_t i = 0; i < 20; i++) { /* 20, 10, 5, 2, then one by one */
        cr_assert(step(0));
        answer(SINK_SPLIT, 0, 0);
    }
    expect_books(0, 16, 0);
    cr_assert(step(0));
    answer(SINK_SPLIT, 0, 0);
    expect_books(0, 16, 0);
    cr_assert(sender_is_stuck(s));
    cr_assert_not(step(29 * WIND_NS_PER_S));
    cr_assert(step(2 * WIND_NS_PER_S), "it tries again, seldom");
}

Test(sender, what_the_other_side_asks_for_is_waited)
{
    spool_alerts(1);
    cr_assert(step(0));
    k.after_ns = 60 * WIND_NS_PER_S;
    answer(SINK_LATER, 0, 0);
    cr_assert_not(step(59 * WIND_NS_PER_S));
    cr_assert(step(2 * WIND_NS_PER_S));
}

Test(sender, a_notice_ends_the_wait_at_the_end_only_when_an_operator_has_to_act)
{
    spool_alerts(1);
    cr_assert(step(0));
    say(SINK_NOTICE, SINK_LATER, 0, 0);
    (void)step(MS);
    cr_assert_not(sender_is_stuck(s));
    say(SINK_NOTICE, SINK_REFUSED, 0, 0);
    (void)step(MS);
    cr_assert(sender_is_stuck(s));
    cr_assert(k.base.is_busy, "the batch is still on its way");
    say(SINK_NOTICE, SINK_TAKEN, 0, 0);
    (void)step(MS);
    cr_assert_not(sender_is_stuck(s));
    answer(SINK_TAKEN, 0, 0);
    expect_books(1, 0, 0);
}

Test(sender, what_an_answer_said_a_notice_does_not_take_back)
{
    spool_alerts(1);
    cr_assert(step(0));
    answer(SINK_REFUSED, 0, 0);
    cr_assert(sender_is_stuck(s));
    say(SINK_NOTICE, SINK_TAKEN, 0, 0);
    (void)step(MS);
    cr_assert(sender_is_stuck(s));
}

Test(sender, the_last_sign_of_life_comes_after_the_last_alert)
{
    spool_alerts(150);
    cr_assert(step(0));
    cr_assert_eq(k.stats, 1); /* the first is due at once */
    sender_finish(s);
    answer(SINK_TAKEN, 0, 0);
    cr_assert(step(0));
    cr_assert(k.n == 50 && k.stats == 1);
    answer(SINK_TAKEN, 0, 0);
    cr_assert_not(sender_is_done(s));
    (void)step(0);
    cr_assert(k.n == 0 && k.stats == 2);
    k.others = 1; /* it is on its way */
    cr_assert_not(sender_is_done(s));
    k.others = 0;
    cr_assert(sender_is_done(s));
}

Test(sender, a_gap_is_lost_once_and_ends_the_batch)
{
    static char big[SPOOL_ENTRY_MAX + 1];

    spool_alerts(3);
    cr_assert_lt(spool_append(spool, (const uint8_t[16]){1}, 1, big, sizeof(big)), 0);
    spool_alerts(2);
    cr_assert(step(0));
    cr_assert(k.first == 0 && k.n == 3);
    answer(SINK_TAKEN, 0, 0);
    cr_assert(step(0));
    cr_assert(k.first == 4 && k.n == 2);
    answer(SINK_TAKEN, 0, 0);
    expect_books(5, 0, 1);
}
