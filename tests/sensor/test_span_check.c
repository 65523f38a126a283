#include <criterion/criterion.h>

#include "features/feature.h"
#include "sensor/span_check.h"
#include "support/oom.h"
#include "support/pcap_builder.h"

#define MS     UINT64_C(1000000)
#define ENOUGH (1 << 14) /* packets: some 512 are chosen, and 64 for their checksums */

static struct {
    struct counters *counters;
    struct span_check *check;
    struct decode_conf conf;
} t;

static void begin(void)
{
    struct err e = {0};

    cr_assert_eq(counters_new(&t.counters, &e), 0);
    cr_assert_eq(span_check_new(&t.check, t.counters, 0, &e), 0);
    t.conf = (struct decode_conf){.tunnels = true, .vlan_in_key = true, .tunnel_depth = 4};
}

static void end(void)
{
    t.check = span_check_free(t.check);
    t.counters = counters_free(t.counters);
}

TestSuite(span_check, .init = begin, .fini = end);

static uint64_t get(enum counter which)
{
    return counters_get(t.counters, which);
}

static void see(const struct bytes *b, uint64_t time_ns)
{
    struct packet_view v;
    const struct packet p = {.data = b->data,
                             .len = (uint32_t)b->len,
                             .wire_len = (uint32_t)b->len,
                             .time_ns = time_ns,
                             .linktype = 1};

    cr_assert_eq(decode_packet(&t.conf, &p, &v), DECODE_OK);
    (void)span_check_packet(t.check, &p, &v);
}

static int judge(uint32_t not, char text[SPAN_TEXT_MAX])
{
    const char *event = NULL;

    return span_check_judge(t.check, not, &event, text);
}

static int judged(void)
{
    char text[SPAN_TEXT_MAX];

    return judge(0, text);
}

/* ---------------------------------------------------------------- packets with true checksums */

static void store16(uint8_t *p, unsigned v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

/* One byte after the other, as unlike the code under test as can be. */
static unsigned checksum(const uint8_t *a, size_t n_a, const uint8_t *b, size_t n_b, unsigned more)
{
    unsigned sum = more;

    for (size_t i = 0; i < n_a; i++)
        sum += (unsigned)a[i] << (i % 2 == 0 ? 8 : 0);
    for (size_t i = 0; i < n_b; i++)
        sum += (unsigned)b[i] << (i % 2 == 0 ? 8 : 0);
    while (sum > 0xffff)
        sum = (sum & 0xffff) + (sum >> 16);
    return ~sum & 0xffff;
}

enum kind { TCP4, UDP4, TCP6, UDP6, KINDS };

/* Number n of its kind; `payload` bytes of it. */
static void make(struct bytes *b, enum kind kind, unsigned n, size_t payload)
{
    const bool is_tcp = kind == TCP4 || kind == TCP6, is_v4 = kind == TCP4 || kind == UDP4;
    const size_t header = is_v4 ? 20 : 40, l4 = (is_tcp ? 20 : 8) + payload;
    const unsigned proto = is_tcp ? 6 : 17;

    b->len = 0;
    frame_eth(b, is_v4 ? 0x0800 : 0x86dd);
    if (is_v4)
        frame_ipv4(b, proto, 1, 2, l4);
    else
        frame_ipv6(b, proto, 1, 2, l4);
    if (is_tcp)
        frame_tcp(b, 1024 + n % 7, 443, TCP_ACK);
    else
        frame_udp(b, 1024 + n % 7, 53, payload);
    for (size_t i = 0; i < payload; i++)
        put8(b, (n * 31 + (unsigned)i * 7) & 0xff);
    uint8_t *const ip = b->data + 14, *const segment = ip + header;
    if (is_tcp)
        for (int i = 0; i < 4; i++) /* the sequence number */
            segment[4 + i] = (uint8_t)(n * 1448 >> 8 * (3 - i));
    if (is_v4) {
        store16(ip + 4, (n + 1) & 0xffff);
        store16(ip + 10, 0);
        store16(ip + 10, checksum(ip, 20, NULL, 0, 0));
    }
    uint8_t *const sum = segment + (is_tcp ? 16 : 6);
    store16(sum, 0);
    store16(sum,
            checksum(is_v4 ? ip + 12 : ip + 8, is_v4 ? 8 : 32, segment, l4, proto + (unsigned)l4));
}

/* ---------------------------------------------------------------- tests */

Test(span_check, good_traffic_has_no_finding_and_one_packet_in_thirty_two_is_looked_at)
{
    struct bytes b = {0};

    for (unsigned n = 0; n < ENOUGH; n++) {
        make(&b, (enum kind)(n % KINDS), n, 1 + n % 300); /* odd lengths too */
        see(&b, n * MS);
    }
    /* UDP over IPv6 has no number of its own, and is not compared */
    const double chosen = (double)get(COUNTER_span_sampled) / (ENOUGH * 3 / 4);
    cr_assert(chosen > 1.0 / 48 && chosen < 1.0 / 24, "%f", chosen);
    cr_assert_eq(get(COUNTER_span_duplicates), 0);
    cr_assert(get(COUNTER_span_checksums) > 20 && get(COUNTER_span_checksums) < 200);
    cr_assert_eq(get(COUNTER_span_bad_checksums), 0);
    cr_assert_eq(get(COUNTER_span_oversized), 0);
    cr_assert_eq(judged(), -1);
    bytes_done(&b);
}

Test(span_check, a_copy_of_each_packet_is_found_whatever_a_router_changed)
{
    struct bytes b = {0}, copy = {0};
    char text[SPAN_TEXT_MAX];

    for (unsigned n = 0; n < ENOUGH; n++) {
        make(&b, TCP4, n, 100);
        see(&b, n * MS);
        copy.len = 0; /* another VLAN, other cards, one hop further */
        frame_eth(&copy, 0x8100);
        frame_vlan(&copy, 7, 0x0800);
        copy.data[0] ^= 4;
        put(&copy, b.data + 14, b.len - 14);
        copy.data[18 + 8]--;
        see(&copy, n * MS + 9 * MS);
    }
    cr_assert_eq(get(COUNTER_span_sampled), 2 * get(COUNTER_span_duplicates));
    cr_assert_eq(judge(0, text), TOLD_SPAN_DUPLICATES);
    cr_assert_str_eq(text, "50 % of the packets come twice: the mirror copies both sides of the "
                           "same path");
    cr_assert_eq(judge(1u << TOLD_SPAN_DUPLICATES, text), TOLD_SPAN_CHECKSUMS); /* the TTL's */
    cr_assert_eq(judge(1u << TOLD_SPAN_DUPLICATES | 1u << TOLD_SPAN_CHECKSUMS, text), -1);
    bytes_done(&b);
    bytes_done(&copy);
}

Test(span_check, what_is_sent_again_is_no_copy)
{
    struct bytes b = {0};

    for (unsigned n = 0; n < ENOUGH; n++) {
        make(&b, TCP4, n, 100);
        see(&b, n * MS);
        see(&b, n * MS + 11 * MS); /* too late */
        store16(b.data + 14 + 4, (n + 5000) & 0xffff);
        see(&b, n * MS + MS); /* a number of its own */
        make(&b, UDP4, 1, 100);
        store16(b.data + 14 + 4, 0);
        see(&b, n * MS); /* without a number */
        make(&b, UDP6, 1, 100);
        see(&b, n * MS);
    }
    cr_assert_eq(get(COUNTER_span_duplicates), 0);
    bytes_done(&b);
}

Test(span_check, packets_larger_than_a_frame_are_told)
{
    struct bytes b = {0};
    char text[SPAN_TEXT_MAX];

    for (unsigned n = 0; n < ENOUGH; n++) {
        make(&b, TCP4, n, n % 50 == 0 ? 4000 : SPAN_FRAME_MAX - 54);
        see(&b, n * MS);
    }
    cr_assert_eq(get(COUNTER_span_oversized), (ENOUGH + 49) / 50);
    cr_assert_eq(judge(0, text), TOLD_SPAN_OFFLOAD);
    cr_assert_not_null(strstr(text, "2 % of the packets are larger"));
    bytes_done(&b);
}

Test(span_check, what_the_kernel_put_together_is_told_from_what_the_card_did)
{
    struct bytes b = {0};

    span_check_defragmented(t.check);
    for (unsigned n = 0; n < ENOUGH; n++) {
        make(&b, UDP4, n, 4000);
        see(&b, n * MS);
    }
    cr_assert_eq(get(COUNTER_span_oversized), 0);
    make(&b, TCP4, 1, 4000);
    see(&b, ENOUGH * MS);
    cr_assert_eq(get(COUNTER_span_oversized), 1);
    bytes_done(&b);
}

Test(span_check, wrong_checksums_are_found_in_each_kind_of_packet)
{
    struct bytes b = {0};

    for (enum kind kind = 0; kind < KINDS; kind++) {
        const uint64_t checked = get(COUNTER_span_checksums), bad = get(COUNTER_span_bad_checksums);

        for (unsigned n = 0; n < ENOUGH; n++) {
            make(&b, kind, n, 100);
            b.data[b.len - 1] ^= 1;
            see(&b, n * MS);
        }
        cr_assert_gt(get(COUNTER_span_checksums), checked + 20, "kind %d", (int)kind);
        cr_assert_eq(get(COUNTER_span_bad_checksums) - bad, get(COUNTER_span_checksums) - checked);
    }
    cr_assert_eq(judged(), TOLD_SPAN_CHECKSUMS);
    bytes_done(&b);
}

Test(span_check, a_datagram_without_a_checksum_is_right)
{
    struct bytes b = {0};

    for (unsigned n = 0; n < ENOUGH; n++) {
        make(&b, UDP4, n, 100);
        store16(b.data + 14 + 20 + 6, 0);
        see(&b, n * MS);
    }
    cr_assert_gt(get(COUNTER_span_checksums), 20);
    cr_assert_eq(get(COUNTER_span_bad_checksums), 0);
    bytes_done(&b);
}

Test(span_check, flows_with_data_in_one_direction_are_told_and_scans_are_not)
{
    for (int i = 0; i < 1000; i++) /* a scan: no data */
        span_check_flow(t.check, (const uint32_t[]){1, 0}, (const uint32_t[]){0, 0});
    cr_assert_eq(get(COUNTER_span_tcp_flows), 0);
    for (int i = 0; i < 80; i++) /* data one way, but it is acknowledged */
        span_check_flow(t.check, (const uint32_t[]){9, 4}, (const uint32_t[]){8, 0});
    cr_assert_eq(judged(), -1);
    for (int i = 0; i < 20; i++)
        span_check_flow(t.check, (const uint32_t[]){0, 9}, (const uint32_t[]){0, 8});
    cr_assert_eq(get(COUNTER_span_tcp_flows), 100);
    cr_assert_eq(get(COUNTER_span_tcp_one_way), 20);
    cr_assert_eq(judged(), TOLD_SPAN_ONE_WAY);
}

Test(span_check, what_goes_wrong_after_a_good_week_is_told_soon)
{
    uint32_t good = 0, wrong = 0;

    for (; good < 100000; good++) {
        span_check_flow(t.check, (const uint32_t[]){9, 9}, (const uint32_t[]){8, 8});
        if (good % 10 == 0)
            cr_assert_eq(judged(), -1);
    }
    for (; wrong < 10000 && judged() == -1; wrong++)
        span_check_flow(t.check, (const uint32_t[]){9, 0}, (const uint32_t[]){8, 0});
    cr_assert_lt(wrong, 500, "%u", wrong);
}

Test(span_check, it_is_time_to_judge_every_so_many_samples)
{
    struct bytes b = {0};
    struct packet_view v;
    unsigned times = 0;

    for (unsigned n = 0; n < 4 * ENOUGH; n++) {
        make(&b, TCP4, n, 10);
        const struct packet p = {
            .data = b.data, .len = (uint32_t)b.len, .wire_len = (uint32_t)b.len, .linktype = 1};
        cr_assert_eq(decode_packet(&t.conf, &p, &v), DECODE_OK);
        if (span_check_packet(t.check, &p, &v)) {
            times++;
            (void)judged();
        }
    }
    cr_assert_eq(times, get(COUNTER_span_sampled) / 256);
    cr_assert_geq(times, 5);
    cr_assert_not(span_check_packet(NULL, NULL, NULL)); /* nobody asked */
    bytes_done(&b);
}

static bool hides(uint32_t told, enum feature f)
{
    return (span_check_hidden(told) >> f & 1) != 0;
}

Test(span_check, a_finding_hides_the_features_that_it_makes_worthless)
{
    const uint32_t copies = 1u << TOLD_SPAN_DUPLICATES, half = 1u << TOLD_SPAN_ONE_WAY;

    cr_assert_eq(span_check_hidden(0), 0);
    cr_assert_eq(span_check_hidden(1u << TOLD_INTERFACE_LOST | 1u << TOLD_SPAN_CHECKSUMS), 0);
    cr_assert(hides(copies, FEATURE_pkts_fwd) && !hides(copies, FEATURE_payload_mean_fwd));
    cr_assert(hides(half, FEATURE_bytes_rev) && !hides(half, FEATURE_bytes_fwd));
    cr_assert(hides(1u << TOLD_SPAN_OFFLOAD, FEATURE_payload_mean_fwd));
    cr_assert_eq(span_check_hidden(copies | half),
                 span_check_hidden(copies) | span_check_hidden(half));
    cr_assert_eq(span_check_hidden(UINT32_MAX) >> FEATURE_COUNT, 0);
}

static int attempt(void)
{
    struct span_check *s = NULL;
    struct err e = {0};
    const int r = span_check_new(&s, t.counters, 0, &e);

    s = span_check_free(s);
    return r;
}

Test(span_check, without_memory_there_is_none)
{
    cr_assert_eq(oom_each(attempt), 1);
}
