#include "collector/ws_client.h"

#include <criterion/criterion.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "collector/session.h"
#include "collector/store.h"
#include "collector/ws.h"

static int authenticate(void *arg, const char *token, struct principal *ret)
{
    (void)arg;
    *ret = (struct principal){
        .kind = PRINCIPAL_USER, .id = token[0], .permissions = 1U << PERMISSION_ALERTS_READ};
    return token[0] == 'x' ? AUTH_EXPIRED : 0;
}

static int64_t head(void *arg)
{
    (void)arg;
    return 41;
}

static const struct ws_world world = {.authenticate = authenticate, .head = head};
static struct ws_client *c;
static int peer;

static void init(void)
{
    int fds[2];
    struct err e = {0};

    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    peer = fds[0];
    cr_assert_eq(ws_client_new(&c, fds[1], NULL, 0, &world, &e), 0);
}

static void fini(void)
{
    c = ws_client_free(c);
}

TestSuite(ws_client, .init = init, .fini = fini);

/* One masked frame with at most 125 bytes. */
static void send_frame(uint8_t first, const char *text)
{
    const size_t n = strlen(text);
    uint8_t frame[6 + 125] = {first, (uint8_t)(0x80 | n), 1, 2, 3, 4};

    cr_assert_leq(n, 125);
    for (size_t i = 0; i < n; i++)
        frame[6 + i] = (uint8_t)text[i] ^ frame[2 + i % 4];
    cr_assert_eq(write(peer, frame, 6 + n), (ssize_t)(6 + n));
}

#define TEXT  0x81
#define CLOSE 0x88

/* Payload of the next frame from the client object; *ret_op is its opcode. */
static const char *answer(int *ret_op)
{
    static char text[200];
    uint8_t h[2];

    cr_assert_eq(recv(peer, h, 2, MSG_DONTWAIT), 2, "no answer");
    *ret_op = h[0] & 15;
    cr_assert_lt(h[1], 126);
    cr_assert_eq(recv(peer, text, h[1], MSG_DONTWAIT), h[1]);
    text[h[1]] = '\0';
    return text;
}

static bool is_silent(void)
{
    char byte;
    return recv(peer, &byte, 1, MSG_DONTWAIT | MSG_PEEK) < 0;
}

static bool turn(void)
{
    return ws_client_receive(c) && ws_client_send(c);
}

Test(ws_client, after_auth_it_may_subscribe_from_now_on)
{
    int op;

    send_frame(TEXT, "{\"type\":\"auth\",\"token\":\"good\"}");
    send_frame(TEXT, "{\"type\":\"subscribe\",\"topics\":[\"alerts\"],\"since\":null}");
    cr_assert(turn());
    cr_assert_str_eq(answer(&op), "{\"type\":\"ready\",\"seq\":41}");
    cr_assert_eq(ws_client_state(c)->topics, 1U << TOPIC_ALERTS);
    cr_assert_eq(ws_client_state(c)->seq, 41);
}

Test(ws_client, it_goes_on_from_where_it_was)
{
    int op;

    send_frame(TEXT, "{\"type\":\"auth\",\"token\":\"good\"}");
    send_frame(TEXT, "{\"type\":\"subscribe\",\"topics\":[\"alerts\"],\"since\":7}");
    cr_assert(turn());
    cr_assert_str_eq(answer(&op), "{\"type\":\"ready\",\"seq\":7}");
}

static void expect_close(unsigned code, const char *reason)
{
    int op;

    (void)turn();
    const char *text = answer(&op);
    cr_assert_eq(op, 8);
    cr_assert_eq((unsigned)((uint8_t)text[0] << 8 | (uint8_t)text[1]), code);
    cr_assert_str_eq(text + 2, reason);
    cr_assert_not(ws_client_state(c)->is_subscribed);
}

Test(ws_client, subscribing_before_auth_closes_it)
{
    send_frame(TEXT, "{\"type\":\"subscribe\",\"topics\":[\"alerts\"]}");
    expect_close(4401, "token_missing");
}

Test(ws_client, an_expired_token_closes_it_and_says_so)
{
    send_frame(TEXT, "{\"type\":\"auth\",\"token\":\"x\"}");
    expect_close(4401, "token_expired");
}

Test(ws_client, a_topic_without_the_permission_closes_it)
{
    send_frame(TEXT, "{\"type\":\"auth\",\"token\":\"good\"}");
    send_frame(TEXT, "{\"type\":\"subscribe\",\"topics\":[\"incidents\"]}");
    expect_close(4403, "incidents:read");
}

Test(ws_client, a_connection_stays_with_its_user)
{
    send_frame(TEXT, "{\"type\":\"auth\",\"token\":\"good\"}");
    send_frame(TEXT, "{\"type\":\"auth\",\"token\":\"other\"}");
    expect_close(1008, "a connection stays with its user");
}

Test(ws_client, what_is_no_message_closes_it)
{
    send_frame(TEXT, "[1]");
    expect_close(1008, "not a JSON object with a type");
}

Test(ws_client, nothing_is_heard_after_the_close)
{
    int op;

    send_frame(TEXT, "nonsense");
    send_frame(TEXT, "{\"type\":\"auth\",\"token\":\"good\"}");
    (void)turn();
    (void)answer(&op);
    cr_assert_eq(op, 8);
    cr_assert_eq(ws_client_state(c)->principal.kind, PRINCIPAL_NONE);
    cr_assert(is_silent());
}

Test(ws_client, too_many_messages_close_it)
{
    int op, n = 0;

    for (int i = 0; i <= WS_MESSAGES_MAX; i++)
        send_frame(TEXT, "{\"type\":\"pong\"}");
    while (turn() && n++ < 10)
        ;
    (void)answer(&op);
    cr_assert_eq(op, 8);
}

Test(ws_client, the_end_of_the_line_is_the_end)
{
    (void)close(peer);
    cr_assert_not(turn());
}

/* Bytes of text message `i`: its length and content follow from its number. */
static size_t long_text(int i, char text[8192])
{
    const size_t n = (size_t)(i * 7919) % 8000 + 126;

    for (size_t k = 0; k < n; k++)
        text[k] = (char)('a' + ((size_t)i + k) % 26);
    return n;
}

Test(ws_client, a_slow_reader_gets_every_byte_in_order)
{
    enum { MESSAGES = 300 };
    static uint8_t got[MESSAGES * 8192];
    size_t n = 0, at = 0;
    char text[8192];

    for (int i = 0; i < MESSAGES; i++)
        cr_assert(ws_client_put(c, text, long_text(i, text)));
    for (int turns = 0; ws_client_wants_write(c); turns++) {
        cr_assert(ws_client_send(c));
        cr_assert_eq(ws_client_queued(c) > 0, ws_client_wants_write(c));
        const ssize_t some = recv(peer, got + n, turns % 3 == 0 ? 100000 : 777, MSG_DONTWAIT);
        n += some > 0 ? (size_t)some : 0;
    }
    for (ssize_t some = 1; some > 0; n += some > 0 ? (size_t)some : 0)
        some = recv(peer, got + n, sizeof(got) - n, MSG_DONTWAIT);
    for (int i = 0; i < MESSAGES; i++) {
        const size_t len = long_text(i, text);
        cr_assert(got[at] == TEXT && got[at + 1] == 126);
        cr_assert_eq((size_t)got[at + 2] << 8 | got[at + 3], len);
        cr_assert_eq(memcmp(got + at + 4, text, len), 0, "message %d", i);
        at += 4 + len;
    }
    cr_assert_eq(at, n);
}
