#include "sensor/span_check.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/hash.h"
#include "common/time.h"
#include "features/feature.h"
#include "sensor/decode_layer.h"

#define COPY_NS       (10 * WIND_NS_PER_MS) /* the same packet within this is a copy */
#define JUDGE_SAMPLES 256
#define FLOW_PAYLOADS 4 /* packets with payload of a flow that tells something */

/*
 * A finding: of at least `least` at least one in `one_in`. The window is what came since it began;
 * one that stays good is begun anew after WINDOWS times `least`, so that what goes wrong later
 * shows.
 */
#define WINDOWS    16
#define OF_PACKETS COUNTERS /* of span_check.packets */

static const struct rule {
    enum told what;
    enum counter part, of;
    uint32_t least, one_in;
    const char *event, *text;
} rules[SPAN_FINDINGS] = {
    {TOLD_SPAN_OFFLOAD, COUNTER_span_oversized, OF_PACKETS, 1000, 100, "span_offload",
     "of the packets are larger than a frame can be: they were put together before we saw them "
     "(GRO, LRO, TSO)"},
    {TOLD_SPAN_DUPLICATES, COUNTER_span_duplicates, COUNTER_span_sampled, 128, 20,
     "span_duplicates", "of the packets come twice: the mirror copies both sides of the same path"},
    {TOLD_SPAN_ONE_WAY, COUNTER_span_tcp_one_way, COUNTER_span_tcp_flows, 50, 5, "span_one_way",
     "of the TCP flows with data are seen in one direction only: the other one is not mirrored"},
    {TOLD_SPAN_CHECKSUMS, COUNTER_span_bad_checksums, COUNTER_span_checksums, 64, 10,
     "span_checksums",
     "of the packets have a wrong checksum: taken before the card filled it in, or damaged"},
};

static uint64_t whole(const struct span_check *s, const struct rule *r)
{
    return r->of == OF_PACKETS ? s->packets : counters_get(s->counters, r->of);
}

int span_check_new(struct span_check **ret_check, struct counters *counters, uint32_t frame_max,
                   struct err *e)
{
    struct span_check *const s = calloc(1, sizeof(*s));

    if (s == NULL)
        return err_set(e, -ENOMEM, "out of memory");
    s->counters = counters;
    s->frame_max = frame_max != 0 ? frame_max : SPAN_FRAME_MAX;
    s->due = counters_get(counters, COUNTER_span_sampled) + JUDGE_SAMPLES;
    for (size_t i = 0; i < SPAN_FINDINGS; i++) { /* others may have counted before us */
        s->since[i].part = counters_get(counters, rules[i].part);
        s->since[i].of = whole(s, &rules[i]);
    }
    *ret_check = s;
    return 0;
}

struct span_check *span_check_free(struct span_check *s)
{
    free(s);
    return NULL;
}

void span_check_defragmented(struct span_check *s)
{
    s->not_cards = 1u << DECODE_LAYER_udp | 1u << DECODE_LAYER_icmp | 1u << DECODE_LAYER_sctp |
                   1u << DECODE_LAYER_gre;
}

/* ---------------------------------------------------------------- checksums */

static uint64_t sum16(uint64_t sum, const uint8_t *p, size_t n)
{
    for (; n >= 4; n -= 4, p += 4)
        sum += load_be32(p);
    if (n >= 2) {
        sum += load_be16(p);
        p += 2;
        n -= 2;
    }
    return n == 0 ? sum : sum + ((uint64_t)p[0] << 8);
}

static bool is_right(uint64_t sum)
{
    while (sum >> 16 != 0)
        sum = (sum & 0xffff) + (sum >> 16);
    return sum == 0xffff;
}

/* The addresses, the protocol and the length stand before the segment. */
static bool is_segment_right(const struct packet_view *v, size_t header, size_t addresses,
                             size_t addresses_len)
{
    const size_t n = v->ip_len - header;
    const uint8_t *const segment = v->ip + header;

    if (v->key.proto == PROTO_UDP && n >= 8 && load_be16(segment + 6) == 0)
        return true; /* none */
    return is_right(sum16(sum16(v->key.proto + n, v->ip + addresses, addresses_len), segment, n));
}

/* Only where nothing is missing and nothing stands between IP and the transport. */
static void check_sums(struct span_check *s, const struct packet_view *v)
{
    const bool is_v4 = v->key.ip_version == 4;
    const size_t header = is_v4 ? (size_t)(v->ip[0] & 15) * 4 : 40;
    bool right = true;

    if ((v->key.proto != PROTO_TCP && v->key.proto != PROTO_UDP) || v->is_fragment ||
        v->ip_captured != v->ip_len || v->ip_len > SPAN_CHECKSUM_MAX || v->ip_len < header + 8 ||
        (!is_v4 && v->ip[6] != v->key.proto))
        return;
    if (is_v4)
        right = is_right(sum16(0, v->ip, header)) && is_segment_right(v, header, 12, 8);
    else
        right = is_segment_right(v, header, 8, 32);
    counters_add(s->counters, COUNTER_span_checksums, 1);
    counters_add(s->counters, COUNTER_span_bad_checksums, !right);
}

/* ---------------------------------------------------------------- duplicates */

/* What a router does not change: neither TTL nor link nor tags are in it. */
static uint64_t signature_of(const struct packet_view *v)
{
    struct {
        uint8_t ends[offsetof(struct flow_key, vlan)];
        uint32_t seq, ack, ip_len;
        uint8_t id[2], proto, flags, last[8]; /* before the payload */
    } of = {.seq = v->tcp_seq, .ack = v->tcp_ack, .ip_len = v->ip_len, .proto = v->key.proto};

    _Static_assert(sizeof(of) == 60, "no holes: all of it is hashed");
    memcpy(of.ends, &v->key, sizeof(of.ends));
    memcpy(of.id, v->ip + 4, sizeof(of.id));
    of.flags = v->tcp_flags;
    memcpy(of.last, v->payload - sizeof(of.last), sizeof(of.last));
    return hash64(&of, sizeof(of), HASH_K2);
}

/* Somebody may send the same datagram twice; only a number of its own tells a copy from that. */
static bool is_numbered(const struct packet_view *v)
{
    return v->key.proto == PROTO_TCP || v->key.proto == PROTO_ICMP ||
           (v->key.ip_version == 4 && load_be16(v->ip + 4) != 0);
}

bool span_check_sample(struct span_check *s, const struct packet *p, const struct packet_view *v,
                       uint32_t hash)
{
    counters_add(s->counters, COUNTER_span_own, p->whose == WHOSE_OURS);
    counters_add(s->counters, COUNTER_span_others, p->whose == WHOSE_OTHERS);
    if (is_numbered(v)) {
        const uint64_t signature = signature_of(v);
        const size_t i = signature % SPAN_TABLE;
        const uint64_t last_ns = s->seen[i].time_ns;
        const uint64_t apart = p->time_ns > last_ns ? p->time_ns - last_ns : last_ns - p->time_ns;

        counters_add(s->counters, COUNTER_span_sampled, 1);
        if (s->seen[i].signature == signature && apart <= COPY_NS)
            counters_add(s->counters, COUNTER_span_duplicates, 1);
        s->seen[i].signature = signature;
        s->seen[i].time_ns = p->time_ns;
    }
    if ((hash >> 24 & 7) == 0)
        check_sums(s, v);
    return counters_get(s->counters, COUNTER_span_sampled) >= s->due;
}

/* ---------------------------------------------------------------- flows and findings */

void span_check_flow(struct span_check *s, const uint32_t pkts[2], const uint32_t payload_pkts[2])
{
    if (s == NULL || payload_pkts[0] + payload_pkts[1] < FLOW_PAYLOADS)
        return;
    counters_add(s->counters, COUNTER_span_tcp_flows, 1);
    counters_add(s->counters, COUNTER_span_tcp_one_way, pkts[0] == 0 || pkts[1] == 0);
}

int span_check_judge(struct span_check *s, uint32_t not, const char **ret_event,
                     char ret_text[SPAN_TEXT_MAX])
{
    s->due = counters_get(s->counters, COUNTER_span_sampled) + JUDGE_SAMPLES;
    for (size_t i = 0; i < WIND_ARRAY_SIZE(rules); i++) {
        const struct rule *const r = &rules[i];
        const uint64_t part = counters_get(s->counters, r->part) - s->since[i].part;
        const uint64_t of = whole(s, r) - s->since[i].of;
        const bool is_bad = of >= r->least && part * r->one_in >= of;

        if (!is_bad && of >= (uint64_t)WINDOWS * r->least) {
            s->since[i].part += part;
            s->since[i].of += of;
        }
        if (!is_bad || (not >> r->what & 1) != 0)
            continue;
        *ret_event = r->event;
        (void)snprintf(ret_text, SPAN_TEXT_MAX, "%" PRIu64 " %% %s", part * 100 / of, r->text);
        return (int)r->what;
    }
    return -1;
}

/* ---------------------------------------------------------------- features */

#define BIT(name) (UINT64_C(1) << FEATURE_##name)

uint64_t span_check_hidden(uint32_t told)
{
    static const uint64_t counts = BIT(pkts_fwd) | BIT(pkts_rev) | BIT(pkt_rate) |
                                   BIT(gap_mean_fwd) | BIT(gap_sd_fwd) | BIT(gap_mean_rev);
    static const struct {
        enum told what;
        uint64_t hidden;
    } rows[] = {
        {TOLD_SPAN_OFFLOAD, counts | BIT(payload_mean_fwd) | BIT(payload_sd_fwd) |
                                BIT(payload_mean_rev) | BIT(payload_sd_rev) |
                                BIT(first_payload_fwd) | BIT(first_payload_rev)},
        {TOLD_SPAN_DUPLICATES,
         counts | BIT(bytes_fwd) | BIT(bytes_rev) | BIT(tcp_syn) | BIT(tcp_rst)},
        {TOLD_SPAN_ONE_WAY, BIT(pkts_rev) | BIT(bytes_rev) | BIT(payload_mean_rev) |
                                BIT(payload_sd_rev) | BIT(first_payload_rev) |
                                BIT(payload_out_share) | BIT(gap_mean_rev) | BIT(answer_time)},
    };
    uint64_t hidden = 0;

    for (size_t i = 0; i < WIND_ARRAY_SIZE(rows); i++)
        hidden |= (told >> rows[i].what & 1) != 0 ? rows[i].hidden : 0;
    return hidden;
}
