#include "sensor/sender.h"

#include <errno.h>
#include <stdlib.h>

#include "common/jsonw.h"
#include "common/log.h"
#include "common/time.h"

#define BODY_MAX     (SENDER_BATCH_BYTES + 2 * SPOOL_ENTRY_MAX + 65536)
#define BACKOFF_MIN  (WIND_NS_PER_S / 4)
#define BACKOFF_MAX  (30 * WIND_NS_PER_S)
#define DROPS_IN_ROW 16 /* alerts refused one by one before we blame the other side */

struct sender {
    struct sender_conf conf;
    struct spool *spool;
    struct sink_http *sink;
    struct sender_books *books;
    struct buf body;
    uint64_t end;    /* index behind the batch in flight */
    size_t n, limit; /* alerts in it; allowed in the next one */
    uint64_t backoff_ns, not_before_ns, heartbeat_ns;
    unsigned dropped; /* in a row */
    bool is_last_wanted, has_stats;
    enum sink_verdict trouble; /* what was said last; SINK_TAKEN: nothing */
};

uint64_t sender_delivered(const struct sender_books *b)
{
    return b->confirmed > b->base ? b->confirmed - b->base - b->lost - b->rejected : 0;
}

uint64_t sender_waiting(const struct sender_books *b, uint64_t next)
{
    const uint64_t from = b->confirmed > b->base ? b->confirmed : b->base;

    return next > from ? next - from : 0;
}

int sender_new(struct sender **ret_sender, const struct sender_conf *conf, struct spool *spool,
               struct sink_http *sink, struct sender_books *books, struct err *e)
{
    struct sender *s = calloc(1, sizeof(*s));

    if (s == NULL)
        return err_set(e, -ENOMEM, "uplink: out of memory");
    *s = (struct sender){.conf = *conf,
                         .spool = spool,
                         .sink = sink,
                         .books = books,
                         .limit = SENDER_BATCH_ALERTS,
                         .backoff_ns = BACKOFF_MIN};
    buf_init(&s->body, BODY_MAX);
    *ret_sender = s;
    return 0;
}

struct sender *sender_free(struct sender *s)
{
    if (s != NULL) {
        buf_done(&s->body);
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

static bool put_alerts(struct sender *s, struct jsonw *j)
{
    uint64_t from = s->books->confirmed;
    struct spool_entry entry;
    bool changed = false;

    s->n = 0;
    while (s->n < s->limit && s->body.len < SENDER_BATCH_BYTES) {
        if (spool_read(s->spool, from, &entry) != 0) {
            if (s->n == 0)
                changed |= skip_gap(s, spool_where(s->spool).next);
            break;
        }
        if (entry.index > from && s->n > 0)
            break; /* a gap ends the batch */
        if (entry.index > from)
            changed |= skip_gap(s, entry.index);
        jsonw_raw(j, NULL, entry.json, entry.len);
        s->n++;
        from = entry.index + 1;
    }
    s->end = from;
    return changed;
}

static bool build_body(struct sender *s, bool with_stats)
{
    struct jsonw j;

    buf_reset(&s->body);
    jsonw_begin(&j, &s->body);
    jsonw_object(&j, NULL);
    jsonw_strn(&j, "sensor", s->conf.sensor, strnlen(s->conf.sensor, sizeof(s->conf.sensor)));
    jsonw_strn(&j, "version", s->conf.version, strnlen(s->conf.version, sizeof(s->conf.version)));
    jsonw_array(&j, "alerts");
    const bool changed = put_alerts(s, &j);
    jsonw_end(&j);
    if (with_stats) {
        buf_puts(&s->body, ",\"stats\":");
        s->conf.put_stats(s->conf.arg, &s->body);
    }
    jsonw_end(&j);
    return changed;
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

static bool start_batch(struct sender *s, uint64_t mono_ns)
{
    const struct spool_mark at = spool_where(s->spool);
    const bool is_due = s->is_last_wanted || mono_ns >= s->heartbeat_ns;
    bool changed = skip_gap(s, spool_oldest(s->spool));

    if (mono_ns < s->not_before_ns || (s->books->confirmed >= at.next && !is_due))
        return changed;
    s->has_stats = is_due;
    changed |= build_body(s, is_due);
    if (s->n == 0 && !is_due)
        return changed;
    if (s->body.failed || sink_http_post(s->sink, s->body.data, s->body.len, s->n) != 0) {
        back_off(s, mono_ns);
        return changed;
    }
    s->books->requests++;
    return true;
}

/* ---------------------------------------------------------------- its answer */

/* Once a trouble, not once an attempt. */
static void say(struct sender *s, const struct sink_answer *a)
{
    if (a->verdict == s->trouble)
        return;
    s->trouble = a->verdict;
    if (a->verdict == SINK_LATER)
        log_warn("uplink: the collector %s; alerts wait in the spool, trying again", a->text);
    else if (a->verdict == SINK_REFUSED)
        log_error("uplink: the collector refuses this sensor's key (it %s): make one with "
                  "'wind-collector --create-key NAME --scope ingest' and put it into "
                  "uplink.key_file; alerts wait in the spool",
                  a->text);
    else if (a->verdict == SINK_STRANGE)
        log_error("uplink: uplink.url doesn't lead to a collector of this version: it %s; alerts "
                  "wait in the spool",
                  a->text);
}

static void on_taken(struct sender *s, const struct sink_answer *a, uint64_t mono_ns)
{
    const uint64_t ours = advance(s->books, s->end);

    s->books->rejected += a->rejected > ours ? ours : a->rejected;
    if (a->rejected > 0)
        log_warn(
            "uplink: the collector rejected %zu of %zu alerts for good, dropped; the first: %s",
            a->rejected, s->n, a->text);
    if (s->trouble != SINK_TAKEN)
        log_info("uplink: the collector takes alerts again");
    s->trouble = SINK_TAKEN;
    s->dropped = 0;
    s->backoff_ns = BACKOFF_MIN;
    s->limit = s->limit * 2 > SENDER_BATCH_ALERTS ? SENDER_BATCH_ALERTS : s->limit * 2;
    if (s->has_stats) {
        s->heartbeat_ns = mono_ns + s->conf.heartbeat_ns;
        s->is_last_wanted = false;
    }
}

static void on_split(struct sender *s, struct sink_answer *a, uint64_t mono_ns)
{
    s->books->failures++;
    if (s->n > 1) {
        s->limit = s->n / 2;
        return;
    }
    if (s->n == 1 && s->dropped < DROPS_IN_ROW) {
        s->dropped++;
        s->books->rejected += advance(s->books, s->end);
        log_warn("uplink: the collector refused an alert (it %s), dropped", a->text);
        return;
    }
    a->verdict = SINK_STRANGE;
    say(s, a);
    wait_for(s, mono_ns, BACKOFF_MAX);
}

static void on_answer(struct sender *s, struct sink_answer *a, uint64_t after_ns, uint64_t mono_ns)
{
    if (a->verdict == SINK_TAKEN) {
        on_taken(s, a, mono_ns);
        return;
    }
    if (a->verdict == SINK_SPLIT) {
        on_split(s, a, mono_ns);
        return;
    }
    s->books->failures++;
    say(s, a);
    if (a->verdict != SINK_LATER)
        wait_for(s, mono_ns, BACKOFF_MAX);
    else if (after_ns > 0)
        wait_for(s, mono_ns, after_ns);
    else
        back_off(s, mono_ns);
}

bool sender_step(struct sender *s, uint64_t mono_ns)
{
    struct sink_answer answer;
    uint64_t after_ns;

    if (!sink_http_is_busy(s->sink))
        return start_batch(s, mono_ns);
    if (!sink_http_step(s->sink, &answer, &after_ns))
        return false;
    on_answer(s, &answer, after_ns, mono_ns);
    return true;
}

void sender_finish(struct sender *s)
{
    s->is_last_wanted = true;
}

bool sender_is_done(const struct sender *s)
{
    return !sink_http_is_busy(s->sink) && !s->is_last_wanted &&
           s->books->confirmed >= spool_where(s->spool).next;
}

bool sender_is_stuck(const struct sender *s)
{
    return !sink_http_is_busy(s->sink) &&
           (s->trouble == SINK_REFUSED || s->trouble == SINK_STRANGE);
}
