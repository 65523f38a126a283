#include <criterion/criterion.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>

#include "sensor/dns.h"
#include "sensor/eve.h"
#include "support/dns_builder.h"
#include "support/hearing.h"
#include "support/records.h"

static const struct eve_source source = {.sensor = "edge-1", .coverage = 1.0f};

static union {
    struct flow_record flow;
    uint8_t bytes[8192];
} slot;

static struct eve_record record;
static json_t *line;

static void set_up(void)
{
    memset(&slot, 0, sizeof(slot));
    record_flow(&slot.flow, 5);
    slot.flow.n_features = 2; /* facts lie behind them */
    slot.flow.header.len = sizeof(slot);
}

static void tear_down(void)
{
    json_decref(line);
    line = NULL;
}

TestSuite(eve_facts, .init = set_up, .fini = tear_down);

static void add(enum record_fact_type type, const void *p, size_t n)
{
    const struct record_fact f = {.type = (uint16_t)type, .len = (uint16_t)n};
    uint8_t *const at = slot.bytes + sizeof(slot.flow) + 2 * sizeof(float) + slot.flow.facts_len;

    memcpy(at, &f, sizeof(f));
    if (n > 0)
        memcpy(at + sizeof(f), p, n);
    slot.flow.facts_len = (uint16_t)(slot.flow.facts_len + sizeof(f) + n);
}

#define ADD(type, text) add(type, text, sizeof(text) - 1)

static int take(void)
{
    return eve_take(&slot, sizeof(slot), EVE_RING_FLOWS, &record);
}

static const char *line_of_slot(void)
{
    static char text[EVE_LINE_MAX];
    struct buf out = BUF_FIXED(text);
    json_error_t error;

    cr_assert_eq(take(), 0);
    eve_line(&out, &source, &record);
    cr_assert_not(out.failed);
    const char *const s = buf_text(&out);
    line = json_loads(s, JSON_REJECT_DUPLICATES, &error);
    cr_assert_not_null(line, "%s in %s", error.text, s);
    return s;
}

static void expect(const char *key, const char *json)
{
    char *const found = json_dumps(json_object_get(line, key), JSON_COMPACT | JSON_ENCODE_ANY);

    cr_assert_str_eq(found, json);
    free(found);
}

Test(eve_facts, tls_has_suricatas_names)
{
    ADD(FACT_TLS_NAME, "www.Example.org");
    ADD(FACT_TLS_JA4, "t13d1516h2_8daaf6152771_e5627efa2ab1");
    ADD(FACT_TLS_ALPN, "\2h2\10http/1.1");
    add(FACT_TLS_VERSIONS, (const uint16_t[]){0x0304, 0x0303}, 4);
    add(FACT_TLS_CHOICE, (const uint16_t[]){0x0303, 0xc02f}, 4);
    ADD(FACT_TLS_CHOSEN_ALPN, "\2h2");
    ADD(FACT_TLS_JA3, "0123456789abcdef0123456789abcdef");
    ADD(FACT_TLS_JA3S, "fedcba9876543210fedcba9876543210");
    ADD(FACT_TLS_ISSUER, "C=XX, O=Some \"CA\"");
    ADD(FACT_TLS_SUBJECT, "CN=www.example.org");
    add(FACT_TLS_VALIDITY, (const uint32_t[]){1767322800, 1775098800}, 8);
    ADD(FACT_TLS_FINGERPRINT, "\x01\x23\x45\x67\x89\xab\xcd\xef\0\x01\x02\x03\x04\x05\x06\x07\x08"
                              "\x09\x0a\xff");
    (void)line_of_slot();
    expect("tls", "{\"subject\":\"CN=www.example.org\",\"issuerdn\":\"C=XX, O=Some \\\"CA\\\"\","
                  "\"fingerprint\":\"01:23:45:67:89:ab:cd:ef:00:01:02:03:04:05:06:07:08:09:0a:ff\","
                  "\"sni\":\"www.Example.org\",\"version\":\"TLS 1.2\","
                  "\"cipher\":\"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256\","
                  "\"notbefore\":\"2026-01-02T03:00:00\",\"notafter\":\"2026-04-02T03:00:00\","
                  "\"ja4\":\"t13d1516h2_8daaf6152771_e5627efa2ab1\","
                  "\"ja3\":{\"hash\":\"0123456789abcdef0123456789abcdef\"},"
                  "\"ja3s\":{\"hash\":\"fedcba9876543210fedcba9876543210\"},"
                  "\"client_versions\":[\"TLS 1.3\",\"TLS 1.2\"],"
                  "\"client_alpns\":[\"h2\",\"http/1.1\"],\"server_alpns\":[\"h2\"]}");
    cr_assert_null(json_object_get(line, "dns"));
    cr_assert_null(json_object_get(line, "http"));
}

Test(eve_facts, over_udp_it_is_quic)
{
    slot.flow.key.proto = IPPROTO_UDP;
    slot.flow.app[0] = '\0';
    ADD(FACT_NAME, "quic.example");
    ADD(FACT_TLS_ALPN, "\2h3");
    (void)line_of_slot();
    expect("quic", "{\"sni\":\"quic.example\",\"client_alpns\":[\"h3\"]}");
    cr_assert_null(json_object_get(line, "tls"));
    expect("app_proto", "\"quic\"");
    cr_assert_null(json_object_get(line, "ndpi"));
}

Test(eve_facts, http)
{
    (void)snprintf(slot.flow.server_name, RECORD_NAME_MAX, "intranet.example.com");
    ADD(FACT_HTTP_METHOD, "GET");
    ADD(FACT_HTTP_URL, "/index.html?q=\xff");
    ADD(FACT_HTTP_USER_AGENT, "Mozilla/5.0");
    ADD(FACT_HTTP_CONTENT_TYPE, "text/html");
    add(FACT_HTTP_STATUS, &(const uint16_t){404}, 2);
    (void)line_of_slot();
    expect("http", "{\"hostname\":\"intranet.example.com\",\"url\":\"/index.html?q=\xef\xbf\xbd\","
                   "\"http_user_agent\":\"Mozilla/5.0\",\"http_content_type\":\"text/html\","
                   "\"http_method\":\"GET\",\"status\":404}");
}

/* Facts as the listener makes them. */
static void hear(unsigned port, void (*say)(void))
{
    ear_open(1 << 16, 4);
    ear_flow(IPPROTO_UDP, port);
    say();
    slot.flow.facts_len =
        (uint16_t)fact_copy(ear.heard.facts, slot.bytes + sizeof(slot.flow) + 2 * sizeof(float));
    slot.flow.app[0] = '\0';
    ear_close();
}

static struct bytes b;

static void one_answer(void)
{
    dns_head(&b, 7, 0x8583, "1211");
    dns_question(&b, "www.example.org", DNS_TYPE_A);
    dns_answer(&b, DNS_TYPE_CNAME, 60, "\3cdn\xc0\x10", 6);
    dns_answer(&b, DNS_TYPE_A, 30, "\xc0\0\2\1", 4);
    dns_answer(&b, DNS_TYPE_NS, 30, "\2ns\xc0\x10", 5);
    dns_name(&b, "");
    dns_record(&b, DNS_TYPE_OPT, 0, 0);
    ear_says(1, b.data, b.len);
    bytes_done(&b);
}

Test(eve_facts, an_answer_of_dns_has_suricatas_names)
{
    hear(53, one_answer);
    (void)line_of_slot();
    expect("dns",
           "{\"version\":2,\"type\":\"answer\",\"id\":7,\"flags\":\"8583\",\"qr\":true,\"aa\":true,"
           "\"rd\":true,\"ra\":true,\"opcode\":0,\"rrname\":\"www.example.org\",\"rrtype\":\"A\","
           "\"rcode\":\"NXDOMAIN\",\"answers\":["
           "{\"rrname\":\"www.example.org\",\"rrtype\":\"CNAME\",\"ttl\":60,"
           "\"rdata\":\"cdn.example.org\"},"
           "{\"rrname\":\"www.example.org\",\"rrtype\":\"A\",\"ttl\":30,\"rdata\":\"192.0.2.1\"}],"
           "\"grouped\":{\"CNAME\":[\"cdn.example.org\"],\"A\":[\"192.0.2.1\"]},"
           "\"authorities\":[{\"rrname\":\"www.example.org\",\"rrtype\":\"NS\",\"ttl\":30,"
           "\"rdata\":\"ns.example.org\"}]}");
    expect("app_proto", "\"dns\"");
}

static void two_questions(void)
{
    for (unsigned i = 0; i < 2; i++) {
        dns_head(&b, 7 + i, 0x0100, "1000");
        dns_question(&b, "a.example", i == 0 ? DNS_TYPE_A : DNS_TYPE_AAAA);
        ear_says(0, b.data, b.len);
        b.len = 0;
    }
    dns_head(&b, 7, 0x8180, "1100");
    dns_question(&b, "a.example", DNS_TYPE_A);
    dns_answer(&b, DNS_TYPE_A, 30, "\xc0\0\2\1", 4);
    ear_says(1, b.data, b.len);
    bytes_done(&b);
}

/* The first stands where those look who expect one; all of them are in the list. */
Test(eve_facts, several_messages_are_a_list_as_well)
{
    hear(53, two_questions);
    (void)line_of_slot();
    json_t *const dns = json_object_get(line, "dns");
    json_t *const all = json_object_get(dns, "transactions");
    cr_assert_eq(json_array_size(all), 2);
    cr_assert_str_eq(json_string_value(json_object_get(dns, "rrtype")), "AAAA");
    cr_assert_str_eq(json_string_value(json_object_get(dns, "type")), "query");
    cr_assert_str_eq(json_string_value(json_object_get(json_array_get(all, 1), "type")), "answer");
    cr_assert_eq(json_integer_value(json_object_get(json_array_get(all, 1), "id")), 7);
    cr_assert_null(json_object_get(dns, "more"));
}

static void many_answers(void)
{
    for (unsigned i = 0; i < 100; i++) {
        b.len = 0;
        dns_addresses(&b, i, "a-rather-long-name-of-a-host.in-a-domain.example.org", 9);
        ear_says(1, b.data, b.len);
    }
    bytes_done(&b);
}

Test(eve_facts, more_than_a_record_holds_says_so)
{
    hear(53, many_answers);
    cr_assert_lt(strlen(line_of_slot()), EVE_LINE_MAX);
    cr_assert(json_is_true(json_object_get(json_object_get(line, "dns"), "more")));
}

/* A little that says much: a long name, many times. */
Test(eve_facts, the_worst_message_stays_below_the_limit)
{
    uint8_t fact[RECORD_FACTS_MAX - 4];
    struct fact_dns head = {.flags = 0x8000, .n_items = 255};
    size_t n = sizeof(head);

    memset(fact, 1, sizeof(fact)); /* six characters each */
    for (unsigned i = 0; i < 255; i++) {
        const struct fact_dns_item item = {
            .section = DNS_ANSWER, .type = (uint16_t)(1000 + i), .name_len = i == 0 ? 255 : 0};
        memcpy(fact + n, &item, sizeof(item));
        n += sizeof(item) + item.name_len;
    }
    memcpy(fact, &head, sizeof(head));
    add(FACT_DNS, fact, n);
    cr_assert_lt(strlen(line_of_slot()), EVE_LINE_MAX);
    cr_assert(json_is_true(json_object_get(json_object_get(line, "dns"), "truncated")));
}

Test(eve_facts, the_worst_texts_stay_below_the_limit)
{
    static uint8_t text[4000];

    memset(text, 1, sizeof(text));
    memset(slot.flow.app, 1, sizeof(slot.flow.app));
    memset(slot.flow.category, 1, sizeof(slot.flow.category));
    memset(slot.flow.server_name, 1, sizeof(slot.flow.server_name));
    memset(slot.flow.dst_name, 1, 2 * sizeof(slot.flow.dst_name));
    slot.flow.names = 3;
    slot.flow.dpi_risk = UINT64_MAX;
    add(FACT_TLS_SUBJECT, text, sizeof(text));
    cr_assert_lt(strlen(line_of_slot()), EVE_LINE_MAX);
}

Test(eve_facts, names_that_dns_told)
{
    slot.flow.names = FLOW_NAME_DST | FLOW_NAME_SRC;
    (void)snprintf(slot.flow.dst_name, RECORD_NAME_MAX, "mail.example");
    (void)snprintf(slot.flow.src_name, RECORD_NAME_MAX, "laptop.local");
    (void)line_of_slot();
    json_t *const wind = json_object_get(line, "wind");
    cr_assert_str_eq(json_string_value(json_object_get(wind, "dest_name")), "mail.example");
    cr_assert_str_eq(json_string_value(json_object_get(wind, "src_name")), "laptop.local");
}

/* Every kind of fact that lies about its length. */
Test(eve_facts, facts_that_make_no_sense_are_refused)
{
    static const struct {
        enum record_fact_type type;
        size_t len;
        uint8_t bytes[40];
    } bad[] = {{FACT_TYPES, 0, {0}},
               {FACT_TLS_ALPN, 2, {2, 'h'}},
               {FACT_TLS_CHOSEN_ALPN, 4, {1, 'h', 2, 'h'}},
               {FACT_TLS_VERSIONS, 3, {0}},
               {FACT_TLS_CHOICE, 3, {0}},
               {FACT_TLS_VALIDITY, 4, {0}},
               {FACT_TLS_FINGERPRINT, 19, {0}},
               {FACT_HTTP_STATUS, 1, {0}},
               {FACT_DNS, 7, {0}},
               {FACT_DNS, 8, {0, 0, 0, 0, 0, 0, 1}},
               {FACT_DNS, 20, {0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}},
               {FACT_DNS, 20, {0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, DNS_SECTIONS}},
               {FACT_DNS, 21, {0, 0, 0, 0, 0, 0, 1}}};

    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        slot.flow.facts_len = 0;
        add(bad[i].type, bad[i].bytes, bad[i].len);
        cr_assert_eq(take(), -EBADMSG, "%zu", i);
    }
    slot.flow.facts_len = 0;
    ADD(FACT_NAME, "x");
    slot.flow.facts_len++;
    cr_assert_eq(take(), -EBADMSG, "a byte too many");
    slot.flow.facts_len = RECORD_FACTS_MAX + 1;
    cr_assert_eq(take(), -EBADMSG);
    slot.flow.facts_len = 0;
    slot.flow.header.len = (uint32_t)sizeof(slot.flow) + 8;
    cr_assert_eq(take(), 0);
    slot.flow.facts_len = 5;
    cr_assert_eq(take(), -EBADMSG, "longer than the record");
}
