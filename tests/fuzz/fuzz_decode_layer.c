/* Each layer by itself, reached by nothing but its own header: which one, bytes missing, bytes. */
#include <string.h>

#include "sensor/decode_layer.h"
#include "support/fuzz.h"

static decode_layer_fn *const layers[DECODE_LAYERS] = {
#define LAYER(name, function, meaning) [DECODE_LAYER_##name] = (function),
#include "sensor/decode_layer.def"
#undef LAYER
};

/* Where no IP header was seen, transport layers have nothing to go by but these. */
static const uint8_t protos[] = {6, 17, 1, 58, 132, 47};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct decode_conf conf = {
        .tunnels = true, .vlan_in_key = true, .tunnel_depth = DECODE_TUNNELS_MAX};
    struct packet_view v = {0};

    if (size < 3)
        return 0;
    const size_t len = size - 3;
    uint8_t *const copy = malloc(len > 0 ? len : 1);
    FUZZ_CHECK(copy != NULL);
    memcpy(copy, data + 3, len);
    struct decoding d = {.c = {{copy, len}, len + data[1]}, .v = &v, .conf = &conf};
    v.key.proto = protos[data[2] % sizeof(protos)];

    const enum decode_layer next = layers[data[0] % DECODE_LAYERS](&d);

    FUZZ_CHECK(next <= DECODE_LAYERS && d.verdict < DECODE_VERDICTS);
    FUZZ_CHECK(d.c.bytes.at >= copy && d.c.bytes.at + d.c.bytes.left <= copy + len);
    FUZZ_CHECK(d.c.bytes.left <= d.c.wire && d.c.wire <= len + data[1]);
    FUZZ_CHECK(next == DECODE_LAYERS || d.verdict == DECODE_OK);
    FUZZ_CHECK(d.verdict != DECODE_TRUNCATED || data[1] > 0);
    free(copy);
    return 0;
}
