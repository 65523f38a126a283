/*
 * The seeds of fuzz.eve and fuzz.uplink are records of today's layout: else a fuzzer would begin
 * with nothing that is accepted. WIND_ACCEPT=1 writes them anew.
 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sensor/dns.h"
#include "sensor/eve.h"
#include "support/dns_builder.h"
#include "support/hearing.h"
#include "support/records.h"
#include "support/tls_builder.h"

#define CORPUS WIND_SOURCE_DIR "/tests/fuzz/corpus"

static union {
    struct record_header header;
    struct flow_record flow;
    struct alert_record alert;
    struct anomaly_record anomaly;
    uint8_t bytes[8192];
} slot;

static struct bytes b, seed, flows, alerts;

static void check(const char *fuzzer, const char *name)
{
    static uint8_t found[65536];
    char path[512];

    (void)snprintf(path, sizeof(path), CORPUS "/%s/%s", fuzzer, name);
    if (getenv("WIND_ACCEPT") != NULL) {
        const int out = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
        cr_assert_eq(write(out, seed.data, seed.len), (ssize_t)seed.len);
        (void)close(out);
    }
    const int in = open(path, O_RDONLY);
    cr_assert_geq(in, 0, "%s", path);
    const ssize_t n = read(in, found, sizeof(found));
    (void)close(in);
    cr_assert(n == (ssize_t)seed.len && memcmp(found, seed.data, seed.len) == 0,
              "%s is not of today: WIND_ACCEPT=1 writes it anew", path);
}

/* What fuzz.eve wants: which ring, then the slot. */
static void check_slot(const char *name, enum eve_ring ring, size_t len)
{
    seed.len = 0;
    put8(&seed, ring == EVE_RING_ALERTS);
    put(&seed, &slot, len);
    check("eve", name);
}

/* Give the flow in the slot the facts that the listener has heard. */
static void take_facts(void)
{
    slot.flow.facts_len =
        (uint16_t)fact_copy(ear.heard.facts, slot.bytes + sizeof(struct flow_record));
    slot.header.len = (uint32_t)(sizeof(struct flow_record) + slot.flow.facts_len + 63) & ~63u;
    memset(slot.bytes + sizeof(struct flow_record) + slot.flow.facts_len, 0, 64);
}

static void keep(struct bytes *ring, uint64_t after)
{
    slot.header.after = after;
    put(ring, &slot, slot.header.len);
    slot.header.after = 0;
}

static void add(enum record_fact_type type, const void *p, size_t n)
{
    listener_add(ear.l, &ear.heard, type, p, n);
}

static void make_tls(void)
{
    ear_flow(IPPROTO_TCP, 443);
    put_hello_record(&b, hello_of_chrome());
    ear_says(0, b.data, b.len);
    add(FACT_TLS_CHOICE, (const uint16_t[]){0x0303, 0xc02f}, 4);
    add(FACT_TLS_CHOSEN_ALPN, "\2h2", 3);
    add(FACT_TLS_JA3, "0123456789abcdef0123456789abcdef", 32);
    add(FACT_TLS_ISSUER, "CN=ca", 5);
    add(FACT_TLS_VALIDITY, (const uint32_t[]){1767322800, 1775098800}, 8);
    add(FACT_TLS_FINGERPRINT, "0123456789abcdef0123", 20);
}

static void make_dns(void)
{
    ear_flow(IPPROTO_UDP, 53);
    for (unsigned i = 0; i < 3; i++) {
        b.len = 0;
        dns_head(&b, i, 0x0100, "1000");
        dns_question(&b, "www.example.org", DNS_TYPE_AAAA);
        ear_says(0, b.data, b.len);
    }
    b.len = 0;
    dns_addresses(&b, 1, "www.example.org", 3);
    ear_says(1, b.data, b.len);
    b.len = 0;
    dns_head(&b, 2, 0x8183, "1111");
    dns_question(&b, "nope.example", DNS_TYPE_TXT);
    dns_answer(&b, DNS_TYPE_TXT, 1, "\3abc", 4);
    dns_answer(&b, DNS_TYPE_MX, 1, "\0\1\4mail\0", 8);
    dns_answer(&b, DNS_TYPE_HTTPS, 1, "\0\1\0", 3);
    ear_says(1, b.data, b.len);
}

static void make_http(void)
{
    ear_flow(IPPROTO_TCP, 80);
    add(FACT_NAME, "intranet.example", 16);
    add(FACT_HTTP_METHOD, "GET", 3);
    add(FACT_HTTP_URL, "/\xff", 2);
    add(FACT_HTTP_STATUS, (const uint16_t[]){200}, 2);
}

static void done(void)
{
    struct bytes *const all[] = {&b, &seed, &flows, &alerts};

    ear_close();
    for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
        bytes_done(all[i]);
}

static void begin(void)
{
    ear_open(1 << 16, 2);
    memset(&slot, 0, sizeof(slot));
}

TestSuite(seeds, .init = begin, .fini = done);

Test(seeds, flows)
{
    static const struct {
        const char *name;
        void (*make)(void);
    } kinds[] = {{"flow-tls", make_tls}, {"flow-dns", make_dns}, {"flow-http", make_http}};

    record_flow(&slot.flow, 5);
    check_slot("flow", EVE_RING_FLOWS, slot.header.len);
    check_slot("short", EVE_RING_FLOWS, 20);
    slot.flow.n_features = UINT16_MAX;
    check_slot("flow-too-many-features", EVE_RING_FLOWS, slot.header.len);
    record_flow(&slot.flow, 5);
    slot.flow.pkts[0] = slot.flow.dpi_risk = UINT64_MAX;
    slot.flow.names = FLOW_NAME_DST | FLOW_NAME_SRC;
    memcpy(slot.flow.dst_name, "mail.example", 13);
    memcpy(slot.flow.src_name, "pc.local", 9);
    slot.flow.dpi_confidence = 4;
    check_slot("count-beyond-int64", EVE_RING_FLOWS, slot.header.len);
    for (unsigned i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
        record_flow(&slot.flow, i);
        b.len = 0;
        kinds[i].make();
        take_facts();
        check_slot(kinds[i].name, EVE_RING_FLOWS, slot.header.len);
    }
}

Test(seeds, alerts)
{
    record_alert(&slot.alert, 5);
    check_slot("alert", EVE_RING_ALERTS, slot.header.len);
    memset(slot.alert.signature, 0xff, sizeof(slot.alert.signature));
    memset(slot.alert.entity[0].value, 0xc3, sizeof(slot.alert.entity[0].value));
    check_slot("alert-full-of-bad-utf8", EVE_RING_ALERTS, slot.header.len);
    record_alert(&slot.alert, 5);
    slot.alert.n_reasons = 200;
    check_slot("alert-too-many-reasons", EVE_RING_ALERTS, slot.header.len);
    memset(&slot, 0, sizeof(slot));
    record_anomaly(&slot.anomaly, 5);
    check_slot("anomaly", EVE_RING_ALERTS, slot.header.len);
}

/* Five cursors, then what lies in the alert ring, and in the flow rings, half each. */
static void check_rings(const char *name, const uint64_t cursors[5])
{
    const size_t half = flows.len > alerts.len ? flows.len : alerts.len;
    static const uint8_t nothing[16384];

    seed.len = 0;
    put(&seed, cursors, 5 * sizeof(cursors[0]));
    put(&seed, alerts.data, alerts.len);
    put(&seed, nothing, half - alerts.len);
    put(&seed, flows.data, flows.len);
    put(&seed, nothing, half - flows.len);
    check("uplink", name);
}

Test(seeds, rings)
{
    record_flow(&slot.flow, 5);
    keep(&flows, 0);
    make_dns();
    record_flow(&slot.flow, 6);
    take_facts();
    keep(&flows, 1);
    memset(&slot, 0, sizeof(slot));
    record_alert(&slot.alert, 5);
    keep(&alerts, 1);
    memset(&slot, 0, sizeof(slot));
    record_anomaly(&slot.anomaly, 5);
    keep(&alerts, 2);
    const uint64_t f = flows.len, a = alerts.len;

    check_rings("one-of-each", (const uint64_t[]){f, f, 0, a, 0});
    check_rings("cursor-far-ahead", (const uint64_t[]){f + (1ull << 40), f, 0, a, 0});
    check_rings("unaligned-cursor", (const uint64_t[]){f, f - 13, 5, a, 0});
    memset(flows.data, 0, 4);
    check_rings("len-zero", (const uint64_t[]){f, f, 0, a, 0});
    memcpy(flows.data, "\xc0\xff\xff\xff", 4);
    check_rings("len-huge", (const uint64_t[]){f, f, 0, a, 0});
}
