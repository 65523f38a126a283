#include "collector/ws_client.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <wslay/wslay.h>

#include "collector/schema.h"
#include "collector/session.h"
#include "collector/store.h"
#include "collector/ws.h"
#include "common/buf.h"
#include "common/time.h"

#define READ_BYTES ((size_t)64 * 1024) /* of one client in one turn: the others wait meanwhile */
#define SEND_BYTES ((size_t)32 * 1024) /* by one system call */

struct ws_client {
    wslay_event_context_ptr wslay;
    struct ws_client_state state;
    struct ws_world world;
    int fd;
    uint8_t *early;
    size_t early_n, early_at;
    unsigned messages, frames; /* since the last ping */
    size_t budget;             /* bytes that this turn may still read */
    struct buf *out;           /* frames that are being put together */
    struct buf rest;           /* of those, what the socket did not take */
};

/* ---------------------------------------------------------------- wslay's callbacks */

static ssize_t on_read(wslay_event_context_ptr frames, uint8_t *to, size_t len, int flags,
                       void *user)
{
    struct ws_client *c = user;
    const size_t early = c->early_n - c->early_at;

    (void)flags;
    if (early > 0) {
        const size_t n = early < len ? early : len;
        memcpy(to, c->early + c->early_at, n);
        c->early_at += n;
        return (ssize_t)n;
    }
    if (len > c->budget)
        len = c->budget;
    const bool is_over = len == 0;
    const ssize_t n = c->fd >= 0 && !is_over ? recv(c->fd, to, len, MSG_DONTWAIT) : -1;
    if (n > 0) {
        c->budget -= (size_t)n;
        return n;
    }
    const bool is_later = n < 0 && (is_over || c->fd < 0 || errno == EAGAIN || errno == EINTR);
    wslay_event_set_error(frames, is_later ? WSLAY_ERR_WOULDBLOCK : WSLAY_ERR_CALLBACK_FAILURE);
    return -1;
}

static ssize_t on_write(wslay_event_context_ptr frames, const uint8_t *p, size_t len, int flags,
                        void *user)
{
    struct ws_client *c = user;
    const size_t room = c->out->max - c->out->len, n = len < room ? len : room;

    (void)flags;
    if (n == 0) {
        wslay_event_set_error(frames, WSLAY_ERR_WOULDBLOCK);
        return -1;
    }
    buf_put(c->out, p, n);
    return (ssize_t)n;
}

/* ---------------------------------------------------------------- messages */

static void put_json(struct ws_client *c, json_t *takes)
{
    char *text = takes != NULL ? json_dumps(takes, JSON_COMPACT) : NULL;

    json_decref(takes);
    if (text != NULL)
        (void)ws_client_put(c, text, strlen(text));
    free(text);
}

static void put_error(struct ws_client *c, const char *code, const char *detail)
{
    put_json(c, json_pack("{s:s,s:s,s:s}", "type", "error", "code", code, "detail", detail));
}

static void take_auth(struct ws_client *c, json_t *message)
{
    const char *token = json_string_value(json_object_get(message, "token"));
    struct principal p;
    const int r = token != NULL ? c->world.authenticate(c->world.arg, token, &p) : AUTH_MISSING;

    if (r < 0) {
        put_error(c, "busy", "the server is busy; try again");
    } else if (r > 0) {
        ws_client_close(c, WS_CLOSE_UNAUTHORISED, auth_outcome_code(r));
    } else if (c->state.principal.kind != PRINCIPAL_NONE &&
               (p.kind != c->state.principal.kind || p.id != c->state.principal.id)) {
        ws_client_close(c, WS_CLOSE_POLICY, "a connection stays with its user");
    } else {
        c->state.principal = p;
    }
}

static const enum permission topic_needs[TOPICS] = {
    [TOPIC_ALERTS] = PERMISSION_ALERTS_READ,
    [TOPIC_INCIDENTS] = PERMISSION_INCIDENTS_READ,
};

/* The bits of the list of topics; 0 when one is unknown, or there is none. */
static unsigned read_topics(json_t *list)
{
    unsigned bits = 0;
    size_t i;
    json_t *item;

    json_array_foreach(list, i, item)
    {
        const char *word = json_string_value(item);
        const int topic = word != NULL ? word_find(topic_words, word) : -1;
        if (topic < 0)
            return 0;
        bits |= 1U << topic;
    }
    return bits;
}

static void take_subscribe(struct ws_client *c, json_t *message)
{
    const unsigned topics = read_topics(json_object_get(message, "topics"));
    json_t *since = json_object_get(message, "since");

    if (c->state.principal.kind == PRINCIPAL_NONE) {
        ws_client_close(c, WS_CLOSE_UNAUTHORISED, "token_missing");
        return;
    }
    if (topics == 0 || (since != NULL && !json_is_null(since) &&
                        (!json_is_integer(since) || json_integer_value(since) < 0))) {
        put_error(c, "validation_failed", "topics: alerts, incidents; since: a number or null");
        return;
    }
    for (int t = 0; t < TOPICS; t++) {
        if ((topics & (1U << t)) != 0 && !principal_may(&c->state.principal, topic_needs[t])) {
            ws_client_close(c, WS_CLOSE_FORBIDDEN, permission_name(topic_needs[t]));
            return;
        }
    }
    c->state.topics = topics;
    c->state.seq = json_is_integer(since) ? json_integer_value(since) : c->world.head(c->world.arg);
    c->state.is_subscribed = true;
    put_json(c, json_pack("{s:s,s:I}", "type", "ready", "seq", (json_int_t)c->state.seq));
}

static void take_message(struct ws_client *c, const char *p, size_t n)
{
    json_t *message = json_loadb(p, n, JSON_REJECT_DUPLICATES, NULL);
    const char *type = json_string_value(json_object_get(message, "type"));

    if (type == NULL)
        ws_client_close(c, WS_CLOSE_POLICY, "not a JSON object with a type");
    else if (strcmp(type, "auth") == 0)
        take_auth(c, message);
    else if (strcmp(type, "subscribe") == 0)
        take_subscribe(c, message);
    else if (strcmp(type, "pong") != 0)
        put_error(c, "validation_failed", "type: auth, subscribe, pong");
    json_decref(message);
}

/* Answers to pings, and pieces of messages, cost memory and time too. */
static void on_frame(wslay_event_context_ptr frames,
                     const struct wslay_event_on_frame_recv_start_arg *arg, void *user)
{
    struct ws_client *c = user;

    (void)frames;
    (void)arg;
    if (++c->frames == WS_FRAMES_MAX)
        ws_client_close(c, WS_CLOSE_POLICY, "too many frames");
}

static void on_message(wslay_event_context_ptr frames,
                       const struct wslay_event_on_msg_recv_arg *arg, void *user)
{
    struct ws_client *c = user;

    c->state.heard_ns = time_mono_ns();
    if (wslay_is_ctrl_frame(arg->opcode) || wslay_event_get_close_sent(frames))
        return;
    if (++c->messages > WS_MESSAGES_MAX)
        ws_client_close(c, WS_CLOSE_POLICY, "too many messages");
    else if (arg->opcode != WSLAY_TEXT_FRAME)
        ws_client_close(c, WS_CLOSE_POLICY, "only text is understood");
    else
        take_message(c, (const char *)arg->msg, arg->msg_length);
}

/* ---------------------------------------------------------------- life */

int ws_client_new(struct ws_client **ret, int fd, const void *early, size_t early_n,
                  const struct ws_world *world, struct err *e)
{
    static const struct wslay_event_callbacks callbacks = {
        .recv_callback = on_read,
        .send_callback = on_write,
        .on_frame_recv_start_callback = on_frame,
        .on_msg_recv_callback = on_message,
    };

    WIND_AUTO(ws_client) struct ws_client *c = calloc(1, sizeof(*c));
    if (c == NULL)
        return err_set(e, -ENOMEM, "WebSocket: out of memory");
    c->fd = fd;
    c->world = *world;
    c->state.opened_ns = c->state.heard_ns = c->state.wrote_ns = time_mono_ns();
    c->early = malloc(early_n > 0 ? early_n : 1);
    if (c->early == NULL || wslay_event_context_server_init(&c->wslay, &callbacks, c) != 0)
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): it does not see WIND_AUTO */
        return err_set(e, -ENOMEM, "WebSocket: out of memory");
    if (early_n > 0)
        memcpy(c->early, early, early_n);
    c->early_n = early_n;
    buf_init(&c->rest, SEND_BYTES);
    wslay_event_config_set_max_recv_msg_length(c->wslay, WS_MESSAGE_MAX);
    *ret = WIND_STEAL(c);
    return 0;
}

struct ws_client *ws_client_free(struct ws_client *c)
{
    if (c == NULL)
        return NULL;
    if (c->wslay != NULL)
        wslay_event_context_free(c->wslay);
    buf_done(&c->rest);
    free(c->early);
    free(c);
    return NULL;
}

struct ws_client_state *ws_client_state(struct ws_client *c)
{
    return &c->state;
}

static bool is_open(struct ws_client *c)
{
    return wslay_event_want_read(c->wslay) || ws_client_wants_write(c);
}

bool ws_client_receive(struct ws_client *c)
{
    c->budget = READ_BYTES;
    return wslay_event_recv(c->wslay) == 0 && is_open(c);
}

/* What the socket does not take of `n` bytes becomes the rest. False: it is broken. */
static bool send_out(struct ws_client *c, const char *p, size_t n)
{
    ssize_t sent = c->fd < 0 ? (ssize_t)n : send(c->fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL);

    if (sent < 0 && errno != EAGAIN && errno != EINTR)
        return false;
    if (sent > 0)
        c->state.wrote_ns = time_mono_ns();
    sent = sent < 0 ? 0 : sent;
    if ((size_t)sent < n)
        buf_put(&c->rest, p + sent, n - (size_t)sent);
    return !c->rest.failed;
}

static bool send_rest(struct ws_client *c)
{
    struct buf rest = c->rest;

    if (rest.len == 0)
        return true;
    buf_init(&c->rest, SEND_BYTES);
    const bool is_good = send_out(c, rest.data, rest.len);
    buf_done(&rest);
    return is_good;
}

/* All frames that are queued, or as many as fit. */
static bool put_together(struct ws_client *c, struct buf *out)
{
    c->out = out;
    const int r = wslay_event_send(c->wslay);
    c->out = NULL;
    return r == 0;
}

bool ws_client_send(struct ws_client *c)
{
    char room[SEND_BYTES];

    for (;;) {
        struct buf out = BUF_FIXED(room);
        if (!send_rest(c) || (c->rest.len == 0 && !put_together(c, &out)))
            return false;
        if (c->rest.len > 0 || out.len == 0)
            return is_open(c);
        if (!send_out(c, out.data, out.len))
            return false;
    }
}

bool ws_client_put(struct ws_client *c, const char *text, size_t n)
{
    const struct wslay_event_msg m = {WSLAY_TEXT_FRAME, (const uint8_t *)text, n};
    return wslay_event_queue_msg(c->wslay, &m) == 0;
}

void ws_client_ping(struct ws_client *c)
{
    static const char text[] = "{\"type\":\"ping\"}";
    const struct wslay_event_msg m = {WSLAY_PING, NULL, 0};

    c->messages = c->frames = 0;
    (void)wslay_event_queue_msg(c->wslay, &m);
    (void)ws_client_put(c, text, sizeof(text) - 1);
}

void ws_client_close(struct ws_client *c, uint16_t code, const char *reason)
{
    (void)wslay_event_queue_close(c->wslay, code, (const uint8_t *)reason, strlen(reason));
    wslay_event_shutdown_read(c->wslay);
}

size_t ws_client_queued(struct ws_client *c)
{
    return wslay_event_get_queued_msg_length(c->wslay) + c->rest.len;
}

bool ws_client_wants_write(struct ws_client *c)
{
    return c->rest.len > 0 || wslay_event_want_write(c->wslay) != 0;
}
