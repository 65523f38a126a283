#include "sensor/uplink.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/log.h"
#include "common/time.h"

#define FLOW_STAGE    1
#define ALERT_STAGE   0
#define BATCH_BYTES   (1u << 20)
#define BATCH_RECORDS 8192
#define OUT_MAX       ((size_t)2 * BATCH_BYTES)
#define TORN_MAX      (1u << 20) /* how far back a torn last line may begin */
#define STOP_DRAIN_NS (2 * WIND_NS_PER_S)

/* A record that was peeked; the copy is what counts. */
struct taken {
    bool is_there;
    int verdict;    /* of eve_take */
    uint64_t start; /* its position in the ring */
    union eve_record record;
};

struct uplink {
    const struct uplink_conf *conf;
    struct uplink_state *state;
    struct ring *flows, *alerts;
    struct counters *counters;
    struct eve_source source;
    struct uplink_commit now; /* what the next commit will say */
    int eve;
    struct buf out; /* lines that aren't written yet */
    struct spool *spool;
    struct sink_http *sink;
    struct sender *sender;
    struct taken *flow, *alert;
    uint64_t started_ns, stats_at_ns;
    bool has_said_write_error;
};

int uplink_state_new(struct uplink_state **ret_state, struct err *e)
{
    void *map = mmap(NULL, sizeof(struct uplink_state), PROT_READ | PROT_WRITE,
                     MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (map == MAP_FAILED)
        return err_set(e, -errno, "uplink: no shared memory: %s", strerror(errno));
    *ret_state = map;
    return 0;
}

struct uplink_state *uplink_state_free(struct uplink_state *s)
{
    if (s != NULL)
        (void)munmap(s, sizeof(*s));
    return NULL;
}

/* ---------------------------------------------------------------- commit */

static void publish(struct uplink *u)
{
    const struct uplink_commit *c = &u->now;

    counters_set(u->counters, COUNTER_uplink_records, c->records);
    counters_set(u->counters, COUNTER_uplink_bad_records, c->bad_records);
    counters_set(u->counters, COUNTER_uplink_lines, c->lines);
    counters_set(u->counters, COUNTER_uplink_write_errors, c->write_errors);
    counters_set(u->counters, COUNTER_alert_logged, c->logged);
    if (u->spool == NULL)
        return;
    counters_set(u->counters, COUNTER_uplink_requests, c->books.requests);
    counters_set(u->counters, COUNTER_uplink_failures, c->books.failures);
    counters_set(u->counters, COUNTER_alert_delivered, sender_delivered(&c->books));
    counters_set(u->counters, COUNTER_alert_rejected, c->books.rejected);
    counters_set(u->counters, COUNTER_alert_lost_spool, c->books.lost);
    counters_set(u->counters, COUNTER_alert_spooled, sender_waiting(&c->books, c->spool_next));
    counters_set(u->counters, COUNTER_spool_bytes, spool_bytes(u->spool));
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
static void settle(struct ring *r, unsigned stage, uint64_t pos, struct taken *t)
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

/* ---------------------------------------------------------------- eve.json */

/* A power cut may have torn the last line: cut it off. Returns the size that is left. */
static uint64_t cut_torn_line(int fd, uint64_t size)
{
    char text[4096];
    uint64_t at = size;

    while (at > 0 && size - at < TORN_MAX) {
        const size_t n = at < sizeof(text) ? (size_t)at : sizeof(text);

        if (pread(fd, text, n, (off_t)(at - n)) != (ssize_t)n)
            return size;
        const char *newline = memrchr(text, '\n', n);
        if (newline != NULL) {
            at = at - n + (uint64_t)(newline - text) + 1;
            return ftruncate(fd, (off_t)at) == 0 ? at : size;
        }
        at -= n;
    }
    return at == 0 && ftruncate(fd, 0) == 0 ? 0 : size;
}

/* The regular file at the path, locked. The one before is closed only then: it may be the same. */
static int replace_eve(struct uplink *u, struct stat *ret_st, struct err *e)
{
    const char *path = u->conf->eve_path;
    const int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0640);

    if (fd < 0)
        return err_set(e, -errno, "cannot write '%s': %s", path, strerror(errno));
    if (fstat(fd, ret_st) != 0 || !S_ISREG(ret_st->st_mode)) {
        (void)close(fd);
        return err_set(e, -EINVAL, "'%s' is not a regular file", path);
    }
    if (u->eve >= 0)
        (void)close(u->eve);
    u->eve = fd;
    if (flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
        return err_set(e, -EBUSY,
                       "'%s': another sensor writes there; give each its own folder (-l)", path);
    return 0;
}

static int open_eve(struct uplink *u, struct err *e)
{
    struct uplink_commit *c = &u->now;
    struct stat st = {0};
    const int r = replace_eve(u, &st, e);

    if (r < 0)
        return r;
    const bool is_ours = c->is_started && c->eve_dev == st.st_dev && c->eve_ino == st.st_ino;
    const uint64_t size = (uint64_t)st.st_size;
    if (is_ours)
        c->eve_offset = size < c->eve_offset ? size : c->eve_offset;
    else if (u->conf->is_replay)
        c->eve_offset = 0;
    else
        c->eve_offset = cut_torn_line(u->eve, size);
    if (ftruncate(u->eve, (off_t)c->eve_offset) != 0)
        return err_set(e, -errno, "cannot write '%s': %s", u->conf->eve_path, strerror(errno));
    c->eve_dev = st.st_dev;
    c->eve_ino = st.st_ino;
    return 0;
}

/* Somebody else cut the file (logrotate's copytruncate): go on at its end, not behind a hole. */
static void follow_truncation(struct uplink *u)
{
    struct stat st;

    if (fstat(u->eve, &st) == 0 && (uint64_t)st.st_size < u->now.eve_offset)
        u->now.eve_offset = (uint64_t)st.st_size;
}

static int write_out(struct uplink *u)
{
    size_t done = 0;

    follow_truncation(u);
    while (done < u->out.len) {
        const ssize_t n = pwrite(u->eve, u->out.data + done, u->out.len - done,
                                 (off_t)(u->now.eve_offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -ENOSPC;
        done += (size_t)n;
    }
    u->now.eve_offset += done;
    buf_reset(&u->out);
    return 0;
}

/* ---------------------------------------------------------------- records */

static void peek(struct uplink *u, struct ring *r, unsigned stage, enum eve_ring which,
                 struct taken *t)
{
    bool is_bad = false;

    if (t->is_there)
        return;
    const void *slot = ring_peek(r, stage, &is_bad);
    if (is_bad) {
        u->now.bad_records++;
        *(which == EVE_RING_FLOWS ? &u->now.flow_pos : &u->now.alert_pos) = ring_peeked(r, stage);
    }
    if (slot == NULL)
        return;
    const size_t len = ring_peeked_len(r, stage);
    t->verdict = eve_take(slot, len, which, &t->record);
    t->start = ring_peeked(r, stage) - len;
    t->is_there = true;
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
    if (t->record.header.kind != RECORD_ALERT)
        return;
    if (u->spool == NULL) {
        u->now.logged++;
        return;
    }
    const struct alert_record *a = &t->record.alert;
    if (spool_append(u->spool, a->uid, a->rev, u->out.data + start, u->out.len - start - 1) < 0)
        u->now.write_errors++; /* its index is spent: the reader will count it as lost */
    u->now.spool_next = spool_where(u->spool).next;
}

/* A flow is looked for first: what it waits for is in the alert ring by then. */
static bool take_one(struct uplink *u, bool is_done)
{
    const uint64_t analysed = ring_released(u->flows, FLOW_STAGE - 1);

    peek(u, u->flows, FLOW_STAGE, EVE_RING_FLOWS, u->flow);
    peek(u, u->alerts, ALERT_STAGE, EVE_RING_ALERTS, u->alert);
    if (u->alert->is_there) {
        const uint64_t after = u->alert->record.header.after;
        uint64_t upto = u->flow->is_there ? u->flow->start : analysed;

        if (after > ring_produced(u->flows) || (is_done && !u->flow->is_there))
            upto = UINT64_MAX; /* waits for what can't come */
        if (u->alert->verdict < 0 || after <= upto) {
            write_record(u, u->alert);
            u->now.alert_pos = ring_peeked(u->alerts, ALERT_STAGE);
            return true;
        }
    }
    if (!u->flow->is_there)
        return false;
    write_record(u, u->flow);
    u->now.flow_pos = ring_peeked(u->flows, FLOW_STAGE);
    return true;
}

static void put_stats_line(struct uplink *u, uint64_t mono_ns)
{
    const struct eve_stats st = {
        .counters = u->counters,
        .time_ns = u->conf->is_replay ? atomic_load(&u->counters->clock_ns) : time_wall_ns(),
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
    const uint64_t seen = counters_get(u->counters, COUNTER_capture_kernel_packets);
    const uint64_t drops = counters_get(u->counters, COUNTER_capture_kernel_drops);

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

static bool has_moved(const struct uplink *u)
{
    const struct uplink_commit *c =
        &u->state->slot[atomic_load_explicit(&u->state->current, memory_order_relaxed)];

    return c->flow_pos != u->now.flow_pos || c->alert_pos != u->now.alert_pos;
}

/* Write what is in hand, commit it, give the slots back. > 0: the disk refuses, try again later. */
static int flush_batch(struct uplink *u, struct err *e)
{
    const int r = write_out(u);

    if (r < 0) {
        u->now.write_errors++;
        publish(u);
        if (u->conf->is_replay)
            return err_set(e, r, "cannot write '%s': %s", u->conf->eve_path, strerror(-r));
        if (!u->has_said_write_error)
            log_error("uplink: cannot write '%s': %s, trying again", u->conf->eve_path,
                      strerror(-r));
        u->has_said_write_error = true;
        return 1;
    }
    u->has_said_write_error = false;
    commit(u);
    settle(u->flows, FLOW_STAGE, u->now.flow_pos, u->flow);
    settle(u->alerts, ALERT_STAGE, u->now.alert_pos, u->alert);
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
    if (u->sink != NULL && sink_http_is_busy(u->sink))
        sink_http_wait(u->sink, wait_ms < 10 ? wait_ms : 10);
    else
        ring_wait_data(u->flows, FLOW_STAGE, wait_ms);
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

static int finish(struct uplink *u, struct err *e)
{
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

    if (u->conf->sink.url[0] == '\0')
        return 0;
    memcpy(conf.sensor, u->conf->source.sensor, sizeof(conf.sensor));
    memcpy(conf.version, u->conf->version, sizeof(conf.version));
    int r = sink_http_new(&u->sink, &u->conf->sink, e);
    if (r == 0)
        r = spool_new(&u->spool, &u->conf->spool, u->now.is_started ? &mark : NULL, e);
    if (r == 0)
        r = sender_new(&u->sender, &conf, u->spool, u->sink, &u->now.books, e);
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

static int start(struct uplink *u, struct err *e)
{
    u->now = u->state->slot[atomic_load_explicit(&u->state->current, memory_order_acquire)];
    u->flow = calloc(1, sizeof(*u->flow));
    u->alert = calloc(1, sizeof(*u->alert));
    if (u->flow == NULL || u->alert == NULL)
        return err_set(e, -ENOMEM, "uplink: out of memory");
    u->started_ns = time_mono_ns();
    u->stats_at_ns = u->started_ns + u->conf->stats_ns;
    if (!u->now.is_started) {
        u->now.flow_pos = ring_released(u->flows, FLOW_STAGE);
        u->now.alert_pos = ring_released(u->alerts, ALERT_STAGE);
    }
    int r = open_spool(u, e);
    if (r == 0)
        r = open_eve(u, e);
    if (r < 0)
        return r;
    u->now.is_started = true;
    commit(u);
    settle(u->flows, FLOW_STAGE, u->now.flow_pos, u->flow);
    settle(u->alerts, ALERT_STAGE, u->now.alert_pos, u->alert);
    return 0;
}

static struct uplink *uplink_free(struct uplink *u)
{
    if (u != NULL) {
        sender_free(u->sender);
        sink_http_free(u->sink);
        spool_free(u->spool);
        buf_done(&u->out);
        free(u->flow);
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
    const uint64_t left = u->spool == NULL ? 0 : u->now.spool_next - u->now.books.confirmed;

    if (left == 0)
        return 0;
    log_warn("uplink: %llu alerts are left in the spool '%s'; the next run sends them first",
             (unsigned long long)left, u->conf->spool.dir);
    return UPLINK_UNDELIVERED;
}

int uplink_run(const struct uplink_conf *conf, struct uplink_state *state, struct ring *flows,
               struct ring *alerts, struct counters *counters, struct err *e)
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
