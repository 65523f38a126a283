#include "sensor/uplink.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "common/time.h"
#include "sensor/spool_held.h"

#define FLOW_STAGE    1
#define ALERT_STAGE   0
#define BATCH_BYTES   (1u << 20)
#define BATCH_RECORDS 8192
#define OUT_MAX       ((size_t)2 * BATCH_BYTES)
#define STOP_DRAIN_NS (2 * WIND_NS_PER_S)
#define PATIENCE_NS   (10 * WIND_NS_PER_S)

/* A record that was peeked; the copy is what counts. */
struct taken {
    bool is_there;
    int verdict; /* of eve_take */
    uint64_t
        after; /* header.after; 0 where it makes no sense: such a one is out of the way first */
    struct eve_record record;
};

struct uplink {
    const struct uplink_conf *conf;
    struct uplink_state *state;
    const struct rings *flows;
    struct ring *alerts;
    struct counters *counters;
    struct eve_source source;
    struct uplink_commit now; /* what the next commit will say */
    int eve;
    struct buf out; /* lines that aren't written yet */
    struct spool *spool;
    struct sink *sink;
    struct sender *sender;
    struct flow_feed feed;
    struct taken *flow[RINGS_MAX], *alert;
    uint64_t started_ns, stats_at_ns;
    uint64_t failing_ns; /* since then eve.json can't be written; 0: it can */
    bool has_said_spool_error;
};

/* ---------------------------------------------------------------- commit */

static void publish(struct uplink *u)
{
    uplink_state_publish(&u->now, u->spool, u->counters);
}

/* A kill before the store leaves the old commit, after it the new one; never half of one. */
static void commit(struct uplink *u)
{
    const uint32_t next = !atomic_load_explicit(&u->state->current, memory_order_relaxed);

    u->state->slot[next] = u->now;
    atomic_store_explicit(&u->state->current, next, memory_order_release);
    publish(u);
}

/* Release a ring up to `pos`; what was peeked behind that will be peeked again. */
static void settle_ring(struct ring *r, unsigned stage, uint64_t pos, struct taken *t)
{
    bool is_bad = false;

    if (ring_peeked(r, stage) != pos) {
        ring_rewind(r, stage);
        t->is_there = false;
        while (ring_peeked(r, stage) < pos && ring_peek(r, stage, &is_bad) != NULL)
            ;
    }
    ring_release(r, stage);
}

/* What is committed goes back to its producers. */
static void settle(struct uplink *u)
{
    for (unsigned i = 0; i < u->flows->n; i++)
        settle_ring(u->flows->ring[i], FLOW_STAGE, u->now.flow_pos[i], u->flow[i]);
    settle_ring(u->alerts, ALERT_STAGE, u->now.alert_pos, u->alert);
}

static int open_eve(struct uplink *u, struct err *e)
{
    return eve_file_open(&u->eve, u->conf->eve_path, u->conf->is_replay, u->now.is_started,
                         &u->now.eve, e);
}

/* ---------------------------------------------------------------- records */

static void peek(struct uplink *u, struct ring *r, unsigned stage, uint64_t *pos, struct taken *t)
{
    bool is_bad = false;

    if (t->is_there)
        return;
    const void *slot = ring_peek(r, stage, &is_bad);
    if (is_bad) {
        u->now.bad_records++;
        *pos = ring_peeked(r, stage);
    }
    if (slot == NULL)
        return;
    t->verdict = eve_take(slot, ring_peeked_len(r, stage),
                          stage == FLOW_STAGE ? EVE_RING_FLOWS : EVE_RING_ALERTS, &t->record);
    t->after = t->verdict < 0 ? 0 : t->record.header.after;
    t->is_there = true;
}

static bool peek_flows(struct uplink *u)
{
    bool any = false;

    for (unsigned i = 0; i < u->flows->n; i++) {
        peek(u, u->flows->ring[i], FLOW_STAGE, &u->now.flow_pos[i], u->flow[i]);
        any |= u->flow[i]->is_there;
    }
    return any;
}

/*
 * The ring whose record was analysed first. Who finds one record looks into the empty rings once
 * more: what was analysed before it is there by then. So a number that is missing (a bad record, an
 * analyser that died) holds up nothing.
 */
static bool first_flow(struct uplink *u, unsigned *ret_ring)
{
    if (!peek_flows(u))
        return false;
    *ret_ring = 0;
    if (u->flows->n > 1)
        (void)peek_flows(u);
    for (unsigned i = 1; i < u->flows->n; i++) {
        const struct taken *best = u->flow[*ret_ring], *t = u->flow[i];
        if (t->is_there && (!best->is_there || t->after < best->after))
            *ret_ring = i;
    }
    return true;
}

/* Its index is spent in any case: one that can't be read back is counted as lost by the reader. */
static void spool_alert(struct uplink *u, const struct alert_record *a, const char *json,
                        size_t len)
{
    const int r = spool_append(u->spool, a->uid, a->rev, json, len);

    u->now.spool_next = spool_where(u->spool).next;
    if (r < 0)
        u->now.write_errors++;
    if (r < 0 && !u->has_said_spool_error)
        log_error("uplink: the spool '%s' can't be written: %s; alerts are kept in memory, the "
                  "newest %zu MiB",
                  u->conf->spool.dir, strerror(-r), HELD_MAX >> 20);
    u->has_said_spool_error = r < 0;
}

static void write_record(struct uplink *u, struct taken *t)
{
    const size_t start = u->out.len;

    t->is_there = false;
    u->now.records++;
    if (t->verdict < 0)
        u->now.bad_records++;
    if (t->verdict != 0)
        return;
    eve_line(&u->out, &u->source, &t->record);
    u->now.lines++;
    if (t->record.header.kind == RECORD_FLOW_ENDED)
        flow_feed_put(&u->feed, &t->record, u->out.data + start, u->out.len - start - 1);
    if (t->record.header.kind != RECORD_ALERT)
        return;
    if (u->now.alert_lines < COUNTERS_ALERTS)
        atomic_store_explicit(&u->counters->alert_at[u->now.alert_lines], u->now.eve.offset + start,
                              memory_order_relaxed);
    u->now.alert_lines++;
    if (u->spool == NULL) {
        u->now.logged++;
        return;
    }
    spool_alert(u, &t->record.alert, u->out.data + start, u->out.len - start - 1);
}

/* Pairs with merge_release: so many are in the rings. */
static uint64_t count_analysed(const struct uplink *u)
{
    return atomic_load_explicit(&u->counters->record_sequence, memory_order_acquire);
}

/* A flow is looked for first: what it waits for is in the alert ring by then. */
static bool take_one(struct uplink *u, bool is_done)
{
    const uint64_t analysed = count_analysed(u);
    unsigned ring = 0;
    const bool has_flow = first_flow(u, &ring);

    peek(u, u->alerts, ALERT_STAGE, &u->now.alert_pos, u->alert);
    if (u->alert->is_there) {
        uint64_t upto = has_flow ? u->flow[ring]->after : analysed;

        /* An alert may be told while its last record is in hand, and waits for no more than that.
         */
        if (u->alert->after > count_analysed(u) + 1 || (is_done && !has_flow))
            upto = UINT64_MAX; /* waits for what can't come */
        if (u->alert->after <= upto) {
            write_record(u, u->alert);
            u->now.alert_pos = ring_peeked(u->alerts, ALERT_STAGE);
            return true;
        }
    }
    if (!has_flow)
        return false;
    write_record(u, u->flow[ring]);
    u->now.flow_pos[ring] = ring_peeked(u->flows->ring[ring], FLOW_STAGE);
    return true;
}

static void put_stats_line(struct uplink *u, uint64_t mono_ns)
{
    const struct eve_stats st = {
        .counters = u->counters,
        .time_ns = u->conf->is_replay ? counters_clock(u->counters) : time_wall_ns(),
        .uptime_s = (mono_ns - u->started_ns) / WIND_NS_PER_S,
        .is_replay = u->conf->is_replay,
    };

    eve_stats_line(&u->out, &u->source, &st);
    u->now.lines++;
}

static void put_heartbeat(void *arg, struct buf *out)
{
    struct uplink *u = arg;
    const struct eve_stats st = {
        .counters = u->counters,
        .uptime_s = (time_mono_ns() - u->started_ns) / WIND_NS_PER_S,
        .is_replay = false,
    };

    eve_stats_object(out, &st);
}

static void update_coverage(struct uplink *u)
{
    const uint64_t seen = counters_sum(u->counters, COUNTER_capture_kernel_packets);
    const uint64_t drops = counters_sum(u->counters, COUNTER_capture_kernel_drops);

    if (!u->conf->is_replay && seen > 0)
        u->source.coverage = drops < seen ? (float)(seen - drops) / (float)seen : 0.0f;
}

/* ---------------------------------------------------------------- turns */

static void take_batch(struct uplink *u, bool is_done, uint64_t mono_ns)
{
    update_coverage(u);
    for (size_t n = 0; n < BATCH_RECORDS && u->out.len < BATCH_BYTES; n++)
        if (!take_one(u, is_done))
            break;
    if (!u->conf->is_replay && mono_ns >= u->stats_at_ns) {
        put_stats_line(u, mono_ns);
        u->stats_at_ns = mono_ns + u->conf->stats_ns;
    }
}

static const struct uplink_commit *committed(const struct uplink *u)
{
    return &u->state->slot[atomic_load_explicit(&u->state->current, memory_order_relaxed)];
}

static bool has_moved(const struct uplink *u)
{
    const struct uplink_commit *c = committed(u);

    return c->alert_pos != u->now.alert_pos ||
           memcmp(c->flow_pos, u->now.flow_pos, sizeof(c->flow_pos)) != 0;
}

/*
 * Live: wait for the disk (false), or go on without these lines, for the alerts' sake, who have
 * another place to go to.
 */
static bool give_lines_up(struct uplink *u, int error)
{
    const struct uplink_commit *const last = committed(u);
    const uint64_t now_ns = time_mono_ns();

    if (u->failing_ns == 0) {
        log_error("uplink: cannot write '%s': %s, trying again", u->conf->eve_path,
                  strerror(-error));
        u->failing_ns = now_ns;
    }
    if (u->spool == NULL || now_ns - u->failing_ns < PATIENCE_NS)
        return false;
    if (u->now.lines_lost == 0)
        log_error("uplink: lines of eve.json are lost from now on, and counted, so that alerts can "
                  "go on to %s",
                  u->sink->peer);
    (void)ftruncate(u->eve, (off_t)u->now.eve.offset);
    buf_reset(&u->out);
    u->now.lines_lost += u->now.lines - last->lines;
    u->now.lines = last->lines;
    u->now.alert_lines = last->alert_lines;
    return true;
}

/* Write what is in hand, commit it, give the slots back. > 0: the disk refuses, try again later. */
static int flush_batch(struct uplink *u, struct err *e)
{
    const bool has_lines = u->out.len > 0;
    const int r = eve_file_write(u->eve, &u->out, &u->now.eve);

    if (r < 0) {
        u->now.write_errors++;
        publish(u);
        if (u->conf->is_replay)
            return err_set(e, r, "cannot write '%s': %s", u->conf->eve_path, strerror(-r));
        if (!give_lines_up(u, r))
            return 1;
    } else if (has_lines) {
        u->failing_ns = 0;
    }
    commit(u);
    settle(u);
    return 0;
}

static void step_sender(struct uplink *u, uint64_t mono_ns)
{
    if (u->sender == NULL || !sender_step(u->sender, mono_ns))
        return;
    /*
     * Lines in hand mean a write that failed: then the spool and the rings are ahead of
     * eve.json, and a commit must not say otherwise. The next flush brings the books along.
     */
    if (u->out.len > 0)
        return;
    commit(u);
    (void)spool_confirm(u->spool, u->now.books.confirmed);
    publish(u);
}

static void rest(struct uplink *u, int wait_ms)
{
    if (u->sink != NULL && u->sink->is_busy)
        sink_wait(u->sink, wait_ms < 10 ? wait_ms : 10);
    else
        rings_wait_data(u->flows, FLOW_STAGE, wait_ms);
}

static int reopen_if_asked(struct uplink *u, struct err *e)
{
    const uint32_t asked = atomic_load(&u->state->reopen);

    if (asked == u->now.reopened || u->out.len > 0)
        return 0;
    const int r = open_eve(u, e);
    if (r == -EBUSY)
        return r; /* the old file is closed by then */
    if (r < 0)
        log_error("uplink: %s, going on with the old file", e->text);
    u->now.reopened = asked;
    commit(u);
    return 0;
}

/* Until everything the analyser made is written. */
static int run_rings(struct uplink *u, struct err *e)
{
    for (;;) {
        const bool is_done = atomic_load(&u->counters->producer_done) != 0;
        const uint64_t mono_ns = time_mono_ns();

        int r = reopen_if_asked(u, e);
        if (r < 0)
            return r;
        if (u->out.len == 0)
            take_batch(u, is_done, mono_ns);
        const bool has_work = u->out.len > 0 || has_moved(u);
        if (has_work && (r = flush_batch(u, e)) < 0)
            return r;
        step_sender(u, mono_ns);
        if (u->spool != NULL)
            spool_sync(u->spool, mono_ns, false);
        if (r > 0 && atomic_load(&u->counters->stop) != 0)
            return err_set(e, -EIO,
                           "cannot write '%s', and asked to stop: what was in hand is lost",
                           u->conf->eve_path);
        if (r > 0)
            (void)usleep(100000);
        else if (!has_work && is_done)
            return 0;
        else if (!has_work)
            rest(u, 20);
    }
}

/* Until the spool is empty, or it has taken long enough. */
static void run_drain(struct uplink *u)
{
    const uint64_t from = time_mono_ns();

    if (u->sender == NULL)
        return;
    spool_sync(u->spool, from, true);
    sender_finish(u->sender);
    while (!sender_is_done(u->sender) && !sender_is_stuck(u->sender)) {
        const uint64_t mono_ns = time_mono_ns();
        const bool is_stopped = atomic_load(&u->counters->stop) != 0;
        const uint64_t limit =
            is_stopped && u->conf->drain_ns > STOP_DRAIN_NS ? STOP_DRAIN_NS : u->conf->drain_ns;

        if (mono_ns - from > limit)
            break;
        step_sender(u, mono_ns);
        rest(u, 20);
    }
}

/* What the disk has refused to the end goes with us. */
static void leave_spool(struct uplink *u)
{
    if (u->spool == NULL)
        return;
    spool_sync(u->spool, time_mono_ns(), true);
    u->now.books.gone = spool_held(u->spool);
    if (u->now.books.gone > 0)
        log_error("uplink: %llu alerts are lost: the spool can't be written, and nobody took them",
                  (unsigned long long)u->now.books.gone);
}

static int finish(struct uplink *u, struct err *e)
{
    leave_spool(u);
    publish(u);
    put_stats_line(u, time_mono_ns());
    u->now.is_finished = true;
    const int r = flush_batch(u, e);
    return r > 0 ? err_set(e, -EIO, "cannot write '%s'", u->conf->eve_path) : r;
}

/* ---------------------------------------------------------------- start and end */

static int open_spool(struct uplink *u, struct err *e)
{
    const struct spool_mark mark = {.next = u->now.spool_next, .confirmed = u->now.books.confirmed};
    struct sender_conf conf = {
        .heartbeat_ns = u->conf->heartbeat_ns, .put_stats = put_heartbeat, .arg = u};

    flow_feed_init(&u->feed, FLOW_FEED_NONE, 0, NULL, NULL);
    if (!sink_conf_is_set(&u->conf->sink))
        return 0;
    u->now.others.flows_dropped = u->now.others.flows - u->now.others.flows_delivered;
    int r = sink_new(&u->sink, &u->conf->sink, &u->now.others, e);
    if (r == 0)
        r = spool_new(&u->spool, &u->conf->spool, u->now.is_started ? &mark : NULL, e);
    if (r == 0)
        r = sender_new(&u->sender, &conf, u->spool, u->sink, &u->now.books, e);
    if (r == 0)
        flow_feed_init(&u->feed, u->conf->flows, u->conf->flow_sample, u->sink, &u->now.others);
    if (r == 0 && !u->now.is_started) {
        const struct spool_mark found = spool_where(u->spool);

        u->now.spool_next = u->now.books.base = found.next;
        u->now.books.confirmed = found.confirmed;
        if (found.next > found.confirmed)
            log_info("uplink: %llu alerts of an earlier run are in the spool, sending them first",
                     (unsigned long long)(found.next - found.confirmed));
    }
    return r;
}

static int make_room(struct uplink *u, struct err *e)
{
    bool is_short = (u->alert = calloc(1, sizeof(*u->alert))) == NULL;

    for (unsigned i = 0; i < u->flows->n; i++)
        is_short |= (u->flow[i] = calloc(1, sizeof(*u->flow[i]))) == NULL;
    return is_short ? err_set(e, -ENOMEM, "uplink: out of memory") : 0;
}

static int start(struct uplink *u, struct err *e)
{
    int r = make_room(u, e);

    if (r < 0)
        return r;
    u->now = u->state->slot[atomic_load_explicit(&u->state->current, memory_order_acquire)];
    u->started_ns = time_mono_ns();
    u->stats_at_ns = u->started_ns + u->conf->stats_ns;
    if (!u->now.is_started) {
        for (unsigned i = 0; i < u->flows->n; i++)
            u->now.flow_pos[i] = ring_released(u->flows->ring[i], FLOW_STAGE);
        u->now.alert_pos = ring_released(u->alerts, ALERT_STAGE);
    }
    r = open_spool(u, e);
    if (r == 0)
        r = open_eve(u, e);
    if (r < 0)
        return r;
    u->now.is_started = true;
    commit(u);
    settle(u);
    return 0;
}

static struct uplink *uplink_free(struct uplink *u)
{
    if (u != NULL) {
        sender_free(u->sender);
        sink_free(u->sink);
        spool_free(u->spool);
        buf_done(&u->out);
        flow_feed_done(&u->feed);
        for (unsigned i = 0; i < RINGS_MAX; i++)
            free(u->flow[i]);
        free(u->alert);
        if (u->eve >= 0)
            (void)close(u->eve);
        free(u);
    }
    return NULL;
}
WIND_DEFINE_FREE(uplink)

static int outcome(const struct uplink *u)
{
    const struct sender_books *b = &u->now.books;
    const uint64_t left = u->spool == NULL ? 0 : u->now.spool_next - b->confirmed - b->gone;

    if (left == 0)
        return 0;
    log_warn("uplink: %llu alerts are left in the spool '%s'; the next run sends them first",
             (unsigned long long)left, u->conf->spool.dir);
    return UPLINK_UNDELIVERED;
}

int uplink_run(const struct uplink_conf *conf, struct uplink_state *state,
               const struct rings *flows, struct ring *alerts, struct counters *counters,
               struct err *e)
{
    WIND_AUTO(uplink) struct uplink *u = calloc(1, sizeof(*u));

    if (u == NULL)
        return err_set(e, -ENOMEM, "uplink: out of memory");
    *u = (struct uplink){.conf = conf,
                         .state = state,
                         .flows = flows,
                         .alerts = alerts,
                         .counters = counters,
                         .source = conf->source,
                         .eve = -1};
    u->source.coverage = 1.0f;
    buf_init(&u->out, OUT_MAX);
    (void)signal(SIGPIPE, SIG_IGN);

    int r = start(u, e);
    if (r == 0 && !u->now.is_finished) {
        r = run_rings(u, e);
        if (r == 0)
            run_drain(u);
        if (r == 0)
            r = finish(u, e);
    }
    return r == 0 ? outcome(u) : r;
}
