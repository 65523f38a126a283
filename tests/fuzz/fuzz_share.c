/*
 * Link type, bytes missing on the wire, then a packet: if it can be told without decoding whose it
 * is, then it is the flow's, and no fragment or tunnel, of which other workers would have to know.
 */
#include <string.h>

#include "sensor/decode_layer.h"
#include "sensor/share.h"
#include "support/fuzz.h"

static const uint16_t links[] = {1, 1, 1, 1, 1, 1, 1, 113, 101, 0};
static const struct decode_conf confs[] = {
    {.tunnels = true, .vlan_in_key = true, .tunnel_depth = 4},
    {.tunnels = false, .vlan_in_key = false, .tunnel_depth = 1},
};

static void check(const struct packet *p, const struct decode_conf *conf, uint32_t n)
{
    const uint32_t owner = share_of_packet(p, n);
    struct packet_view v;

    if (owner == SHARE_UNSURE)
        return;
    FUZZ_CHECK(owner < n);
    const enum decode_verdict verdict = decode_packet(conf, p, &v);
    FUZZ_CHECK(verdict != DECODE_FRAGMENT && verdict != DECODE_TOO_DEEP);
    if (verdict != DECODE_OK)
        return;
    FUZZ_CHECK(!v.is_fragment && !v.has_inner && !v.is_overlap);
    FUZZ_CHECK(share_of_key(&v.key, n) == owner);
    struct flow_key answer;
    decode_answer_key(&v.key, &answer);
    FUZZ_CHECK(share_of_key(&answer, n) == owner);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    const size_t len = size - 2;
    uint8_t *const copy = malloc(len > 0 ? len : 1); /* reading beyond it is an error under ASan */
    FUZZ_CHECK(copy != NULL);
    memcpy(copy, data + 2, len);
    const struct packet p = {
        .data = copy,
        .len = (uint32_t)len,
        .wire_len = (uint32_t)len + data[1],
        .linktype = links[data[0] % (sizeof(links) / sizeof(links[0]))],
    };
    for (uint32_t n = 1; n <= 5; n++) {
        check(&p, &confs[0], n);
        check(&p, &confs[1], n);
    }
    free(copy);
    return 0;
}
