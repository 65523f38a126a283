#include "collector/ws.h"

#include <errno.h>
#include <inttypes.h>
#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "collector/metrics.h"
#include "collector/outbox.h"
#include "collector/session.h"
#include "collector/ws_client.h"
#include "common/buf.h"
#include "common/log.h"
#include "common/time.h"

#define EVENTS     64
#define TICK_MS    1000
#define EVENT_HEAD 100

struct peer {
    struct peer *next;
    struct ws_client *client;
    struct MHD_UpgradeResponseHandle *handle;
    int fd;
    bool is_dead;
    bool waits_for_room; /* EPOLLOUT is asked for */
    bool is_taking;      /* the batch that is being delivered */
    uint64_t checked_ns; /* when its rights were last looked at */
};

struct ws {
    struct ws_conf conf;
    pthread_t thread;
    bool is_running;
    int epoll_fd, wake_fd;
    _Atomic bool stop;      /* pairs with the wake: written before, read after it */
    _Atomic uint64_t count; /* reserved places, relaxed: only a limit */

    pthread_mutex_t lock; /* guards `incoming` */
    struct peer *incoming;

    /* the ws thread's own */
    struct peer *peers;
    int64_t head; /* live peers know everything up to here */
};

/* ---------------------------------------------------------------- from other threads */

void ws_wake(void *ws)
{
    const struct ws *w = ws;
    const uint64_t one = 1;

    if (write(w->wake_fd, &one, sizeof(one)) < 0) { /* full: it is awake already */
    }
}

bool ws_reserve(struct ws *w)
{
    if (atomic_fetch_add_explicit(&w->count, 1, memory_order_relaxed) < (uint64_t)w->conf.clients)
        return true;
    ws_unreserve(w);
    metrics_add(w->conf.metrics, METRICS_WS_REFUSED, 1);
    return false;
}

void ws_unreserve(struct ws *w)
{
    atomic_fetch_sub_explicit(&w->count, 1, memory_order_relaxed);
}

uint64_t ws_count(struct ws *w)
{
    return atomic_load_explicit(&w->count, memory_order_relaxed);
}

static int authenticate(void *arg, const char *token, struct principal *ret)
{
    struct ws *w = arg;
    struct err e = {0};
    const int r = auth_token(w->conf.auth, token, ret, &e);

    if (r < 0)
        log_warn("WebSocket: cannot check a token: %s, asking the client to try again", e.text);
    if (r > 0)
        metrics_add(w->conf.metrics, METRICS_AUTH_FAILED, 1);
    return r;
}

static int64_t head(void *arg)
{
    return ((struct ws *)arg)->head;
}

static void peer_close(struct ws *w, struct peer *p)
{
    ws_client_free(p->client);
    (void)MHD_upgrade_action(p->handle, MHD_UPGRADE_ACTION_CLOSE);
    free(p);
    ws_unreserve(w);
}

void ws_accept(struct ws *w, const struct ws_connection *c)
{
    const struct ws_world world = {.authenticate = authenticate, .head = head, .arg = w};
    struct peer *p = calloc(1, sizeof(*p));
    struct err e = {0};

    if (p == NULL || ws_client_new(&p->client, c->fd, c->early, c->early_n, &world, &e) != 0) {
        log_warn("WebSocket: %s, closing it", e.text);
        free(p);
        (void)MHD_upgrade_action(c->handle, MHD_UPGRADE_ACTION_CLOSE);
        ws_unreserve(w);
        return;
    }
    p->fd = c->fd;
    p->handle = c->handle;
    p->checked_ns = time_mono_ns();
    ws_client_state(p->client)->principal = c->principal;
    /* After stop the thread takes the lock once more: it sees all that came before. */
    (void)pthread_mutex_lock(&w->lock);
    const bool is_late = atomic_load_explicit(&w->stop, memory_order_acquire);
    if (!is_late) {
        p->next = w->incoming;
        w->incoming = p;
    }
    (void)pthread_mutex_unlock(&w->lock);
    if (is_late)
        peer_close(w, p);
    else
        ws_wake(w);
}

/* ---------------------------------------------------------------- the ws thread: sockets */

/* Write what fits, and ask to be told when more does. */
static void flush(struct ws *w, struct peer *p)
{
    if (p->is_dead)
        return;
    if (!ws_client_send(p->client)) {
        p->is_dead = true;
        return;
    }
    const bool waits = ws_client_wants_write(p->client);
    if (waits == p->waits_for_room)
        return;
    struct epoll_event ev = {.events = EPOLLIN | (waits ? EPOLLOUT : 0), .data = {.ptr = p}};
    if (epoll_ctl(w->epoll_fd, EPOLL_CTL_MOD, p->fd, &ev) != 0)
        p->is_dead = true;
    p->waits_for_room = waits;
}

static void receive(struct ws *w, struct peer *p)
{
    if (!p->is_dead && !ws_client_receive(p->client))
        p->is_dead = true;
    flush(w, p);
}

static void adopt(struct ws *w)
{
    (void)pthread_mutex_lock(&w->lock);
    struct peer *p = w->incoming;
    w->incoming = NULL;
    (void)pthread_mutex_unlock(&w->lock);

    while (p != NULL) {
        struct peer *next = p->next;
        struct epoll_event ev = {.events = EPOLLIN, .data = {.ptr = p}};
        p->next = w->peers;
        w->peers = p;
        metrics_add(w->conf.metrics, METRICS_WS_OPENED, 1);
        if (epoll_ctl(w->epoll_fd, EPOLL_CTL_ADD, p->fd, &ev) != 0)
            p->is_dead = true;
        receive(w, p); /* there may be bytes that came with the handshake */
        p = next;
    }
}

static void reap(struct ws *w)
{
    for (struct peer **at = &w->peers; *at != NULL;) {
        struct peer *p = *at;
        if (!p->is_dead) {
            at = &p->next;
            continue;
        }
        *at = p->next;
        (void)epoll_ctl(w->epoll_fd, EPOLL_CTL_DEL, p->fd, NULL);
        peer_close(w, p);
    }
}

/* ---------------------------------------------------------------- the ws thread: events */

static void write_event(struct buf *out, const struct outbox_item *item)
{
    static const char *const types[TOPICS] = {
        [TOPIC_ALERTS] = "alert",
        [TOPIC_INCIDENTS] = "incident",
    };
    struct jsonw j;

    buf_reset(out);
    jsonw_begin(&j, out);
    jsonw_object(&j, NULL);
    jsonw_str(&j, "type", types[item->topic]);
    jsonw_i64(&j, "seq", item->seq);
    jsonw_str(&j, "op", item->is_new ? "created" : "updated");
    jsonw_raw(&j, "data", item->data.data, item->data.len);
    jsonw_end(&j);
}

/* False: its queue is full, or it is gone; it will be told later, from the outbox. */
static bool tell(struct ws *w, struct peer *p, const struct outbox_item *item,
                 const struct buf *text)
{
    struct ws_client_state *s = ws_client_state(p->client);

    if (p->is_dead || ws_client_queued(p->client) > (size_t)w->conf.queue_bytes)
        return false;
    s->seq = item->seq;
    if ((s->topics & (1U << item->topic)) == 0)
        return true;
    if (!ws_client_put(p->client, text->data, text->len)) {
        p->is_dead = true;
        return false;
    }
    metrics_add(w->conf.metrics, METRICS_WS_SENT, 1);
    return true;
}

static void tell_gap(struct ws *w, struct peer *p, int64_t seq)
{
    char text[64];

    (void)snprintf(text, sizeof(text), "{\"type\":\"gap\",\"seq\":%" PRId64 "}", seq);
    ws_client_state(p->client)->seq = seq;
    if (!ws_client_put(p->client, text, strlen(text)))
        p->is_dead = true;
    flush(w, p);
}

static bool is_at(struct peer *p, int64_t seq)
{
    const struct ws_client_state *s = ws_client_state(p->client);
    return !p->is_dead && s->is_subscribed && s->seq == seq;
}

/* One text for all who are at `from`; `only` NULL: everybody. */
static void deliver(struct ws *w, struct outbox_batch *batch, int64_t from, struct peer *only)
{
    struct buf text;

    buf_init(&text, STORE_JSON_MAX + EVENT_HEAD);
    for (struct peer *p = w->peers; p != NULL; p = p->next)
        p->is_taking = (only == NULL || only == p) && is_at(p, from);
    for (size_t i = 0; i < batch->n; i++) {
        write_event(&text, &batch->items[i]);
        for (struct peer *p = w->peers; p != NULL; p = p->next)
            p->is_taking = p->is_taking && !text.failed && tell(w, p, &batch->items[i], &text);
    }
    buf_done(&text);
    for (struct peer *p = w->peers; p != NULL; p = p->next) {
        if (p->is_taking)
            ws_client_state(p->client)->seq = batch->seq;
        if (!p->is_dead && ws_client_wants_write(p->client))
            flush(w, p); /* the whole batch at once */
    }
}

/* Read the next events after `seq`. 0, OUTBOX_GAP (*ret_last is set), < 0 (was logged). */
static int read_events(struct ws *w, int64_t seq, struct outbox_batch *batch, int64_t *ret_last)
{
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;
    struct err e = {0};
    int r = db_begin_read(w->conf.db, &tx, &e);

    batch->n = 0;
    batch->seq = seq;
    if (r == 0)
        r = outbox_read(tx, seq, batch, &e);
    if (r == OUTBOX_GAP) {
        const int last = outbox_last(tx, ret_last, &e);
        r = last < 0 ? last : r;
    }
    if (r < 0)
        log_warn("WebSocket: cannot read events: %s, trying again", e.text);
    return r;
}

/* Nobody is at the head: those behind read for themselves, so nothing need be rendered here. */
static bool skip_events(struct ws *w)
{
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;
    struct err e = {0};

    for (struct peer *p = w->peers; p != NULL; p = p->next)
        if (is_at(p, w->head))
            return false;
    int r = db_begin_read(w->conf.db, &tx, &e);
    if (r == 0)
        r = outbox_last(tx, &w->head, &e);
    if (r < 0)
        log_warn("WebSocket: cannot read events: %s, trying again", e.text);
    return true;
}

/* New events to all live peers. */
static void pump(struct ws *w)
{
    struct outbox_batch batch;
    int64_t last = 0;

    if (skip_events(w))
        return;
    for (;;) {
        const int64_t from = w->head;
        const int r = read_events(w, from, &batch, &last);
        if (r < 0)
            return;
        if (r == OUTBOX_GAP) {
            for (struct peer *p = w->peers; p != NULL; p = p->next)
                if (is_at(p, from))
                    tell_gap(w, p, last);
            w->head = last;
            return;
        }
        deliver(w, &batch, from, NULL);
        w->head = batch.seq;
        outbox_done(&batch);
        if (w->head == from)
            return;
    }
}

/* A peer that is behind gets its own batch each time its queue is empty. True: call again soon. */
static bool catch_up(struct ws *w, struct peer *p)
{
    struct ws_client_state *s = ws_client_state(p->client);
    struct outbox_batch batch;
    int64_t last = 0;

    if (p->is_dead || !s->is_subscribed || s->seq == w->head || ws_client_queued(p->client) > 0)
        return false;
    const int r = read_events(w, s->seq, &batch, &last);
    if (r < 0)
        return false;
    if (r == OUTBOX_GAP) {
        tell_gap(w, p, last);
        return false;
    }
    const bool has_moved = batch.seq != s->seq;
    deliver(w, &batch, s->seq, p);
    outbox_done(&batch);
    return has_moved;
}

/* ---------------------------------------------------------------- the ws thread: time */

static void say_goodbye(struct ws *w, struct peer *p, uint16_t code, const char *reason)
{
    ws_client_close(p->client, code, reason);
    flush(w, p);
    p->is_dead = true; /* what could be written at once was */
}

/* Once every ping_s: is the line alive, and does the peer still have its rights? */
static void check(struct ws *w, struct peer *p, uint64_t now_ns)
{
    const uint64_t ping_ns = (uint64_t)w->conf.ping_s * WIND_NS_PER_S;
    const struct ws_client_state *s = ws_client_state(p->client);
    struct err e = {0};

    if (s->principal.kind == PRINCIPAL_NONE) {
        if (now_ns - s->opened_ns > WS_AUTH_S * WIND_NS_PER_S)
            say_goodbye(w, p, WS_CLOSE_UNAUTHORISED, "token_missing");
        return;
    }
    if (s->principal.expires_s > 0 &&
        (uint64_t)s->principal.expires_s * WIND_NS_PER_S <= time_wall_ns()) {
        say_goodbye(w, p, WS_CLOSE_UNAUTHORISED, "token_expired");
        return;
    }
    const bool is_stuck = ws_client_queued(p->client) > 0 && now_ns - s->wrote_ns > ping_ns;
    if (is_stuck || now_ns - s->heard_ns > 3 * ping_ns) {
        metrics_add(w->conf.metrics, METRICS_WS_DROPPED, 1);
        p->is_dead = true;
        return;
    }
    if (now_ns - p->checked_ns < ping_ns)
        return;
    p->checked_ns = now_ns;
    const int r = auth_still(w->conf.auth, &s->principal, &e);
    if (r > 0) {
        say_goodbye(w, p, WS_CLOSE_UNAUTHORISED, auth_outcome_code(r));
        return;
    }
    ws_client_ping(p->client);
    flush(w, p);
}

/* True: something was committed, or somebody came. */
static bool take_events(struct ws *w, const struct epoll_event *events, int n)
{
    bool is_woken = false;

    for (int i = 0; i < n; i++) {
        struct peer *p = events[i].data.ptr;
        uint64_t count;
        if (p == NULL) {
            is_woken = true;
            if (read(w->wake_fd, &count, sizeof(count)) < 0) { /* nothing there: fine */
            }
        } else if ((events[i].events & (EPOLLIN | EPOLLERR | EPOLLHUP)) != 0) {
            receive(w, p);
        } else {
            flush(w, p);
        }
    }
    return is_woken;
}

static void *ws_run(void *arg)
{
    struct ws *w = arg;
    struct epoll_event events[EVENTS];
    uint64_t ticked_ns = 0;
    bool is_behind = false;

    while (!atomic_load_explicit(&w->stop, memory_order_acquire)) {
        const int n = epoll_wait(w->epoll_fd, events, EVENTS, is_behind ? 0 : TICK_MS);
        const uint64_t now_ns = time_mono_ns();

        const bool is_due = now_ns - ticked_ns >= TICK_MS * WIND_NS_PER_MS;
        const bool is_woken = take_events(w, events, n);
        adopt(w);
        if (is_woken || is_due)
            pump(w);
        is_behind = false;
        for (struct peer *p = w->peers; p != NULL; p = p->next)
            is_behind = catch_up(w, p) || is_behind;
        if (is_due) {
            for (struct peer *p = w->peers; p != NULL; p = p->next)
                if (!p->is_dead)
                    check(w, p, time_mono_ns()); /* not now_ns: it has been heard since */
            ticked_ns = now_ns;
        }
        reap(w);
    }
    adopt(w);
    for (struct peer *p = w->peers; p != NULL; p = p->next)
        if (!p->is_dead)
            say_goodbye(w, p, WS_CLOSE_GOING_AWAY, "the server stops");
    reap(w);
    return NULL;
}

/* ---------------------------------------------------------------- life */

int ws_new(struct ws **ret, const struct ws_conf *conf, struct err *e)
{
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;
    WIND_AUTO(ws) struct ws *w = calloc(1, sizeof(*w));
    if (w == NULL)
        return err_set(e, -ENOMEM, "WebSocket: out of memory");
    w->conf = *conf;
    (void)pthread_mutex_init(&w->lock, NULL);
    w->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    w->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct epoll_event ev = {.events = EPOLLIN, .data = {.ptr = NULL}};
    if (w->epoll_fd < 0 || w->wake_fd < 0 ||
        epoll_ctl(w->epoll_fd, EPOLL_CTL_ADD, w->wake_fd, &ev) != 0)
        return err_set(e, -errno, "WebSocket: %s", strerror(errno));
    int r = db_begin_read(conf->db, &tx, e);
    if (r == 0)
        r = outbox_last(tx, &w->head, e);
    if (r < 0)
        return r;
    *ret = WIND_STEAL(w);
    return 0;
}

int ws_start(struct ws *w, struct err *e)
{
    const int r = pthread_create(&w->thread, NULL, ws_run, w);
    if (r != 0)
        return err_set(e, -r, "WebSocket: no thread: %s", strerror(r));
    w->is_running = true;
    return 0;
}

void ws_stop(struct ws *w)
{
    if (w == NULL || !w->is_running)
        return;
    atomic_store_explicit(&w->stop, true, memory_order_release);
    ws_wake(w);
    (void)pthread_join(w->thread, NULL);
    w->is_running = false;
}

struct ws *ws_free(struct ws *w)
{
    if (w == NULL)
        return NULL;
    ws_stop(w);
    if (w->epoll_fd > 0)
        (void)close(w->epoll_fd);
    if (w->wake_fd > 0)
        (void)close(w->wake_fd);
    (void)pthread_mutex_destroy(&w->lock);
    free(w);
    return NULL;
}
