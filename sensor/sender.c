#include "sensor/sender.h"

#include <errno.h>
#include <stdlib.h>

#include "common/log.h"
#include "common/time.h"

#define STATS_MAX    65536
#define BACKOFF_MIN  (WIND_NS_PER_S / 4)
#define BACKOFF_MAX  (30 * WIND_NS_PER_S)
#define SAY_LOST_NS  (60 * WIND_NS_PER_S)
#define DROPS_IN_ROW 16 /* alerts refused one by one before we blame the other side */

struct sender {
    struct sender_conf conf;
    struct spool *spool;
    struct sink *sink;
    struct sender_books *books;
    struct buf stats;
    uint64_t end;    /* index behind the batch in flight */
    size_t n, limit; /* alerts in it; allowed in the next one */
    uint64_t backoff_ns, not_before_ns, heartbeat_ns;
    unsigned dropped; /* in a row */
    uint64_t said_lost, said_lost_ns;
    bool is_last_wanted, has_stats;
    bool is_notice;            /* it was the sink's, between answers, */
    enum sink_verdict trouble; /* that said this last; SINK_TAKEN: nothing */
};

uint64_t sender_delivered(const struct sender_books *b)
{
    return b->confirmed > b->base ? b->confirmed - b->base - b->lost - b->rejected : 0;
}

uint64_t sender_waiting(const struct sender_books *b, uint64_t next)
{
    const uint64_t from = b->confirmed > b->base ? b->confirmed : b->base;

    return next > from + b->gone ? next - from - b->gone : 0;
}

int sender_new(struct sender **ret_sender, const struct sender_conf *conf, struct spool *spool,
               struct sink *sink, struct sender_books *books, struct err *e)
{
    struct sender *s = calloc(1, sizeof(*s));

    if (s == NULL)
        return err_set(e, -ENOMEM, "uplink: out of memory");
    *s = (struct sender){.conf = *conf,
                         .spool = spool,
                         .sink = sink,
                         .books = books,
                         .limit = sink->batch_max,
                         .backoff_ns = BACKOFF_MIN};
    s->said_lost = books->lost;
    buf_init(&s->stats, STATS_MAX);
    *ret_sender = s;
    return 0;
}

struct sender *sender_free(struct sender *s)
{
    if (s != NULL) {
        buf_done(&s->stats);
        free(s);
    }
    return NULL;
}

/* ---------------------------------------------------------------- books */

/* Everything before `index` is done; returns how many of this run's alerts that were. */
static uint64_t advance(struct sender_books *b, uint64_t index)
{
    const uint64_t from = b->confirmed > b->base ? b->confirmed : b->base;

    b->confirmed = index;
    return index > from ? index - from : 0;
}

/* What the spool can't give back any more is lost. */
static bool skip_gap(struct sender *s, uint64_t readable)
{
    if (readable <= s->books->confirmed)
        return false;
    s->books->lost += advance(s->books, readable);
    return true;
}

/* ---------------------------------------------------------------- a batch */

static bool put_alerts(struct sender *s)
{
    uint64_t from = s->books->confirmed;
    struct spool_entry entry;
    bool changed = false;

    s->n = 0;
    while (s->n < s->limit && sink_has_room(s->sink)) {
        if (spool_read(s->spool, from, &entry) != 0) {
            if (s->n == 0)
                changed |= skip_gap(s, spool_where(s->spool).next);
            break;
        }
        if (entry.index > from && s->n > 0)
            break; /* a gap ends the batch */
        if (entry.index > from)
            changed |= skip_gap(s, entry.index);
        sink_put(s->sink, &entry, spool_run(s->spool));
        s->n++;
        from = entry.index + 1;
    }
    s->end = from;
    return changed;
}

static void put_stats(struct sender *s)
{
    buf_reset(&s->stats);
    s->conf.put_stats(s->conf.arg, &s->stats);
    if (!s->stats.failed)
        sink_put_stats(s->sink, s->stats.data, s->stats.len);
}

static void wait_for(struct sender *s, uint64_t mono_ns, uint64_t delay_ns)
{
    s->not_before_ns = mono_ns + delay_ns;
}

/* Half of it is sure, half is chance, so that many sensors don't come back in one moment. */
static void back_off(struct sender *s, uint64_t mono_ns)
{
    const uint64_t half = s->backoff_ns / 2;

    wait_for(s, mono_ns,
             half + arc4random_uniform((uint32_t)(half / WIND_NS_PER_US)) * WIND_NS_PER_US);
    s->backoff_ns = s->backoff_ns * 2 > BACKOFF_MAX ? BACKOFF_MAX : s->backoff_ns * 2;
}

static void on_stats_sent(struct sender *s, uint64_t mono_ns)
{
    if (!s->has_stats)
        return;
    s->heartbeat_ns = mono_ns + s->conf.heartbeat_ns;
    s->is_last_wanted = s->is_last_wanted && s->n > 0;
}

static bool start_batch(struct sender *s, uint64_t mono_ns)
{
    const struct spool_mark at = spool_where(s->spool);
    const bool is_over = s->is_last_wanted && s->books->confirmed >= at.next;
    const bool is_due = is_over || mono_ns >= s->heartbeat_ns;
    bool changed = skip_gap(s, spool_oldest(s->spool));

    if (mono_ns < s->not_before_ns || (s->books->confirmed >= at.next && !is_due))
        return changed;
    s->has_stats = is_due;
    sink_begin(s->sink);
    changed |= put_alerts(s);
    if (is_due)
        put_stats(s);
    if (s->n == 0 && !is_due)
        return changed;
    const int r = sink_send(s->sink);
    if (r < 0) {
        back_off(s, mono_ns);
        return changed;
    }
    if (r == SINK_SENT)
        on_stats_sent(s, mono_ns);
    s->books->requests++;
    return true;
}

/* ---------------------------------------------------------------- its answer */

/* Once a trouble, not once an attempt. */
static void say(struct sender *s, const struct sink_answer *a, bool is_notice)
{
    if (a->verdict == s->trouble)
        return;
    s->trouble = a->verdict;
    s->is_notice = is_notice;
    if (a->verdict == SINK_LATER)
        log_warn("uplink: %s %s; alerts wait in the spool, trying again", s->sink->peer, a->text);
    else if (a->verdict == SINK_REFUSED)
        log_error("uplink: %s %s; %s; alerts wait in the spool", s->sink->peer, a->text,
                  s->sink->if_refused);
    else if (a->verdict == SINK_STRANGE)
        log_error("uplink: %s %s; %s; alerts wait in the spool", s->sink->peer, a->text,
                  s->sink->if_strange);
    else if (a->verdict == SINK_TAKEN)
        log_info("uplink: %s takes alerts again", s->sink->peer);
}

static void on_taken(struct sender *s, struct sink_answer *a, uint64_t mono_ns)
{
    const uint64_t ours = advance(s->books, s->end);

    s->books->rejected += a->rejected > ours ? ours : a->rejected;
    if (a->rejected > 0)
        log_warn("uplink: %s rejected %zu of %zu alerts for good, dropped; the first: %s",
                 s->sink->peer, a->rejected, s->n, a->text);
    say(s, a, false);
    s->dropped = 0;
    s->backoff_ns = BACKOFF_MIN;
    s->limit = s->limit * 2 > s->sink->batch_max ? s->sink->batch_max : s->limit * 2;
    on_stats_sent(s, mono_ns);
}

/* `n`: of the batch, without those that are done. */
static void on_split(struct sender *s, struct sink_answer *a, size_t n, uint64_t mono_ns)
{
    s->books->failures++;
    if (s->n > 1) {
        s->limit = n > 1 ? n / 2 : 1;
        return;
    }
    if (n == 1 && s->dropped < DROPS_IN_ROW) {
        s->dropped++;
        s->books->rejected += advance(s->books, s->end);
        log_warn("uplink: %s refused an alert (it %s), dropped", s->sink->peer, a->text);
        return;
    }
    a->verdict = SINK_STRANGE;
    say(s, a, false);
    wait_for(s, mono_ns, BACKOFF_MAX);
}

static void on_answer(struct sender *s, struct sink_answer *a, uint64_t after_ns, uint64_t mono_ns)
{
    if (a->verdict == SINK_TAKEN) {
        on_taken(s, a, mono_ns);
        return;
    }
    if (a->taken > 0)
        (void)advance(s->books, s->end - s->n + a->taken);
    if (a->verdict == SINK_SPLIT) {
        on_split(s, a, s->n - a->taken, mono_ns);
        return;
    }
    s->books->failures++;
    say(s, a, false);
    if (a->verdict != SINK_LATER)
        wait_for(s, mono_ns, BACKOFF_MAX);
    else if (after_ns > 0)
        wait_for(s, mono_ns, after_ns);
    else
        back_off(s, mono_ns);
}

/* Between answers: what is wrong, or that it is over. What an answer said is an answer's to undo.
 */
static void on_notice(struct sender *s, const struct sink_answer *a)
{
    if (a->verdict != SINK_TAKEN || s->is_notice)
        say(s, a, true);
}

/* At once, then once a minute. */
static void say_lost(struct sender *s, uint64_t mono_ns)
{
    if (s->books->lost == s->said_lost || mono_ns < s->said_lost_ns)
        return;
    log_error("uplink: %llu alerts were lost before %s took them: the oldest in the spool go first "
              "at spool.max and spool.age, or the disk refused them",
              (unsigned long long)(s->books->lost - s->said_lost), s->sink->peer);
    s->said_lost = s->books->lost;
    s->said_lost_ns = mono_ns + SAY_LOST_NS;
}

bool sender_step(struct sender *s, uint64_t mono_ns)
{
    struct sink_answer answer;
    uint64_t after_ns = 0;

    say_lost(s, mono_ns);
    switch (sink_step(s->sink, &answer, &after_ns)) {
    case SINK_ANSWERED:
        on_answer(s, &answer, after_ns, mono_ns);
        return true;
    case SINK_NOTICE:
        on_notice(s, &answer);
        break;
    case SINK_NOTHING:
        break;
    }
    return s->sink->is_busy ? false : start_batch(s, mono_ns);
}

void sender_finish(struct sender *s)
{
    s->is_last_wanted = true;
}

bool sender_is_done(const struct sender *s)
{
    return !s->sink->is_busy && sink_others(s->sink) == 0 && !s->is_last_wanted &&
           s->books->confirmed >= spool_where(s->spool).next;
}

bool sender_is_stuck(const struct sender *s)
{
    return (!s->sink->is_busy || s->is_notice) &&
           (s->trouble == SINK_REFUSED || s->trouble == SINK_STRANGE);
}
