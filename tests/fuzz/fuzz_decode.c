/* Link type, bytes missing on the wire, then a packet: nothing in the view leaves the packet. */
#include <string.h>

#include "sensor/decode_layer.h"
#include "support/fuzz.h"

static const uint16_t links[] = {1, 113, 276, 101, 12, 228, 229, 0, 108, 105};
static const struct decode_conf conf = {.tunnels = true, .vlan_in_key = true, .tunnel_depth = 4};

static void check_view(const struct packet *p, const struct packet_view *v)
{
    const uint8_t *const end = p->data + p->len;

    FUZZ_CHECK(v->ip >= p->data && v->ip + v->ip_captured <= end);
    FUZZ_CHECK(v->ip_captured <= v->ip_len && v->ip_len <= p->wire_len);
    FUZZ_CHECK(v->payload >= v->ip && v->payload + v->payload_len <= v->ip + v->ip_captured);
    FUZZ_CHECK(v->payload_len <= v->payload_wire_len && v->payload_wire_len < v->ip_len);
    FUZZ_CHECK(v->key.vlan < 4096);
    FUZZ_CHECK(v->key.ip_version == 4 || v->key.ip_version == 6);
    FUZZ_CHECK(!v->has_inner || v->inner.ip_version == v->key.ip_version || v->key.proto == 1 ||
               v->key.proto == 58);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct packet_view v, by_layers;

    if (size < 2)
        return 0;
    const size_t len = size - 2;
    uint8_t *const copy = malloc(len > 0 ? len : 1);
    FUZZ_CHECK(copy != NULL);
    memcpy(copy, data + 2, len);
    const struct packet p = {
        .data = copy,
        .len = (uint32_t)len,
        .wire_len = (uint32_t)len + data[1],
        .linktype = links[data[0] % (sizeof(links) / sizeof(links[0]))],
    };
    const enum decode_verdict verdict = decode_packet(&conf, &p, &v);

    FUZZ_CHECK(decode_by_layers(&conf, &p, &by_layers) == verdict);
    FUZZ_CHECK(verdict != DECODE_OK || memcmp(&by_layers, &v, sizeof(v)) == 0);
    FUZZ_CHECK(verdict < DECODE_VERDICTS);
    FUZZ_CHECK(decode_verdict_name(verdict) != NULL);
    FUZZ_CHECK(verdict != DECODE_TRUNCATED || p.wire_len > p.len);
    if (verdict == DECODE_OK || verdict == DECODE_FRAGMENT)
        check_view(&p, &v);
    if (verdict == DECODE_OK) {
        struct flow_key answer, back;

        decode_answer_key(&v.key, &answer);
        decode_answer_key(&answer, &back);
        if (v.key.proto != 1 && v.key.proto != 58)
            FUZZ_CHECK(memcmp(&back, &v.key, sizeof(back)) == 0);
    }
    free(copy);
    return 0;
}
