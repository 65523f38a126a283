/*
 * The whole stack, by structure: the input is a list of headers to write, sound but for a byte
 * here and there, so that the fuzzer spends its time deep inside and not at the first magic.
 */
#include <string.h>

#include "sensor/decode_layer.h"
#include "support/fuzz.h"
#include "support/pcap_builder.h"

struct part {
    const char *bytes;
    size_t len;
};

#define PART(literal)                                                                              \
    {                                                                                              \
        (literal), sizeof(literal) - 1                                                             \
    }
#define ETHERNET    "\2\0\0\0\0\2\2\0\0\0\0\1"
#define IPV4(proto) "\x45\0\0\0\0\1\0\0\x40" proto "\0\0\x0a\0\0\1\x0a\0\0\2"
#define IPV6(next)                                                                                 \
    "\x60\0\0\0\0\0" next "\x40\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0" \
    "\2"
#define UDP(port) "\x30\x39" port "\0\0\0\0"

static const struct part parts[] = {
    PART(ETHERNET "\x08\0"),
    PART(ETHERNET "\x86\xdd"),
    PART(ETHERNET "\x81\0"),
    PART(ETHERNET "\x88\x47"),
    PART(ETHERNET "\x88\x64"),
    PART(ETHERNET "\0\x40"),
    PART("\0\x05\x08\0"),             /* VLAN -> IPv4 */
    PART("\0\x05\x81\0"),             /* VLAN -> VLAN */
    PART("\0\x05\x86\xdd"),           /* VLAN -> IPv6 */
    PART("\0\1\1\x40"),               /* MPLS, the last label */
    PART("\0\1\0\x40"),               /* MPLS */
    PART("\0\0\0\0"),                 /* control word */
    PART("\x11\0\0\1\xff\xff\0\x21"), /* PPPoE -> IPv4 */
    PART("\xaa\xaa\x03\0\0\0\x08\0"), /* SNAP -> IPv4 */
    PART(IPV4("\x06")),
    PART(IPV4("\x11")),
    PART(IPV4("\x2f")),
    PART(IPV4("\x04")),
    PART(IPV4("\x29")),
    PART(IPV4("\x01")),
    PART(IPV4("\x84")),
    PART(IPV6("\x06")),
    PART(IPV6("\x11")),
    PART(IPV6("\x2c")),
    PART(IPV6("\x3c")),
    PART(IPV6("\x29")),
    PART(IPV6("\x04")),
    PART(IPV6("\x3a")),
    PART("\x2c\0\0\0\0\0\0\0"), /* options -> fragment */
    PART("\x11\0\0\1\0\0\0\7"), /* fragment -> UDP */
    PART("\x3c\0\0\0\0\0\0\0"), /* options -> options */
    PART("\x30\x39\0\x50\0\0\0\1\0\0\0\2\x50\x02\xff\xff\0\0\0\0"),
    PART("\x30\x39\0\x50\0\0\0\1\0\0\0\2\x80\x02\xff\xff\0\0\0\0\2\4\5\xb4\1\3\3\7\4\2\0\0"),
    PART(UDP("\x12\xb5")),
    PART(UDP("\x17\xc1")),
    PART(UDP("\0\x35")),
    PART("\x08\0\0\0\0\0\x2a\0"),       /* VXLAN */
    PART("\1\0\x65\x58\0\0\x2a\0opt."), /* GENEVE */
    PART("\0\0\x08\0"),
    PART("\x20\0\x65\x58key."),
    PART("\x10\0\x88\xbeseq."),
    PART("\x10\0\x22\xebseq."),     /* GRE */
    PART("\x10\1\0\1\0\0\0\0"),     /* ERSPAN II */
    PART("\x20\1\0\1time\0\0\0\0"), /* ERSPAN III */
    PART("\3\1\0\0\0\0\0\0"),       /* unreachable */
    PART("payload"),
};

static const uint16_t links[] = {1, 113, 276, 101, 228, 229, 0, 9, 1, 1};

static void check_view(const struct packet *p, const struct packet_view *v)
{
    const uint8_t *const end = p->data + p->len;

    FUZZ_CHECK(v->ip >= p->data && v->ip + v->ip_captured <= end);
    FUZZ_CHECK(v->ip_captured <= v->ip_len && v->ip_len <= p->wire_len);
    FUZZ_CHECK(v->payload >= v->ip && v->payload + v->payload_len <= v->ip + v->ip_captured);
    FUZZ_CHECK(v->payload_len <= v->payload_wire_len && v->payload_wire_len < v->ip_len);
    FUZZ_CHECK(v->key.ip_version == 4 || v->key.ip_version == 6);
}

/* Pairs of bytes: which part; 0 or, once in eight, what to add to which of its bytes. */
static size_t build(uint8_t *out, size_t max, const uint8_t *data, size_t size)
{
    size_t len = 0;

    for (size_t i = 0; i + 1 < size; i += 2) {
        const struct part *const part = &parts[data[i] % (sizeof(parts) / sizeof(parts[0]))];

        if (len + part->len > max)
            break;
        memcpy(out + len, part->bytes, part->len);
        if (data[i + 1] % 8 == 7)
            out[len + (data[i + 1] / 8) % part->len] += (uint8_t)(1 + data[i] + data[i + 1]);
        len += part->len;
    }
    return len;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t frame[2048];
    struct packet_view v, by_layers;

    if (size < 3)
        return 0;
    const struct decode_conf conf = {.tunnels = data[1] % 8 != 0,
                                     .vlan_in_key = data[1] % 16 < 8,
                                     .tunnel_depth = data[1] / 16 % (DECODE_TUNNELS_MAX + 1)};
    const size_t len = build(frame, sizeof(frame), data + 3, size - 3);
    uint8_t *const copy = malloc(len > 0 ? len : 1);
    FUZZ_CHECK(copy != NULL);
    memcpy(copy, frame, len);
    const struct packet p = {.data = copy,
                             .len = (uint32_t)len,
                             .wire_len = (uint32_t)len + data[2],
                             .linktype = links[data[0] % (sizeof(links) / sizeof(links[0]))]};
    const enum decode_verdict verdict = decode_packet(&conf, &p, &v);

    FUZZ_CHECK(verdict < DECODE_VERDICTS);
    FUZZ_CHECK(decode_by_layers(&conf, &p, &by_layers) == verdict);
    FUZZ_CHECK(verdict != DECODE_OK || memcmp(&by_layers, &v, sizeof(v)) == 0);
    FUZZ_CHECK(verdict != DECODE_TRUNCATED || p.wire_len > p.len);
    if (verdict == DECODE_OK || verdict == DECODE_FRAGMENT)
        check_view(&p, &v);
    free(copy);
    return 0;
}
