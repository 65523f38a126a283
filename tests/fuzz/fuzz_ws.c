/*
 * Any bytes as what a WebSocket client sends: no crash, nobody subscribes without a token, and
 * what waits to be sent stays small.
 */
#include "collector/session.h"
#include "collector/ws.h"
#include "collector/ws_client.h"
#include "support/fuzz.h"

static int authenticate(void *arg, const char *token, struct principal *ret)
{
    (void)arg;
    *ret = (struct principal){
        .kind = PRINCIPAL_USER, .id = 1, .permissions = 1U << PERMISSION_ALERTS_READ};
    return token[0] == 'x' ? AUTH_REVOKED : 0;
}

static int64_t head(void *arg)
{
    (void)arg;
    return 5;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct ws_world world = {.authenticate = authenticate, .head = head};
    struct ws_client *c = NULL;
    struct err e = {0};

    FUZZ_CHECK(ws_client_new(&c, -1, data, size, &world, &e) == 0);
    for (int i = 0; i < 3; i++) {
        if (!ws_client_receive(c))
            break;
        FUZZ_CHECK(ws_client_queued(c) <= (size_t)64 * 1024 + size);
        if (!ws_client_send(c))
            break;
    }
    const struct ws_client_state *s = ws_client_state(c);
    FUZZ_CHECK(!s->is_subscribed || s->principal.kind == PRINCIPAL_USER);
    FUZZ_CHECK(s->topics <= 1 && s->seq >= 0);
    ws_client_free(c);
    return 0;
}
