#include <criterion/criterion.h>
#include <stdio.h>

#include "sensor/dpi.h"
#include "support/dns_builder.h"
#include "support/pcap_builder.h"

static struct dpi *new_dpi(uint32_t flows_max, uint32_t packets_max)
{
    const struct dpi_conf conf = {.flows_max = flows_max, .packets_max = packets_max};
    struct dpi *d = NULL;
    struct err e = {0};

    cr_assert_eq(dpi_new(&d, &conf, &e), 0, "%s", e.text);
    return d;
}

/* What a flow was: the answer, its names, and what was said. */
struct dpi_result {
    struct dpi_answer answer;
    char app[RECORD_APP_MAX], category[RECORD_APP_MAX], server_name[RECORD_NAME_MAX];
    char said[FACT_TYPES][256];
    size_t said_len[FACT_TYPES];
};

static void note(void *arg, enum record_fact_type type, const void *p, size_t len)
{
    struct dpi_result *r = arg;

    cr_assert(type < FACT_TYPES && len > 0 && len < sizeof(r->said[0]));
    memcpy(r->said[type], p, len);
    r->said_len[type] = len;
}

static void finish(struct dpi *d, struct dpi_flow *f, struct dpi_result *r)
{
    memset(r, 0, sizeof(*r));
    dpi_finish(d, f, &r->answer, note, r);
    dpi_names(d, &r->answer, r->app, r->category);
    (void)snprintf(r->server_name, sizeof(r->server_name), "%.95s", r->said[FACT_NAME]);
}

/* One packet's part: of which service, in which direction. */
struct way {
    unsigned proto, port;
    bool to_server;
    unsigned flags;
};

static uint32_t next_seq[2]; /* to server, to client */

static void set32(uint8_t *at, uint32_t v)
{
    v = __builtin_bswap32(v);
    memcpy(at, &v, sizeof(v));
}

/* One packet of a flow client 10.0.0.1:40000 <-> server 10.0.0.2:port. */
static bool send_one(struct dpi *d, struct dpi_flow *f, struct way w, const void *p, size_t n)
{
    const unsigned src = w.to_server ? 1 : 2, sport = w.to_server ? 40000 : w.port;
    const unsigned dport = w.to_server ? w.port : 40000;
    struct bytes b = {0};
    struct packet_view view;

    frame_eth(&b, 0x0800);
    frame_ipv4(&b, w.proto, src, 3 - src, (w.proto == 6 ? 20 : 8) + n);
    if (w.proto == 6) {
        frame_tcp(&b, sport, dport, w.flags);
        set32(b.data + 14 + 20 + 4, next_seq[!w.to_server]);
        set32(b.data + 14 + 20 + 8, next_seq[w.to_server]);
        next_seq[!w.to_server] += (uint32_t)n + ((w.flags & TCP_SYN) != 0);
    } else {
        frame_udp(&b, sport, dport, n);
    }
    put(&b, p, n);
    const struct packet packet = {
        .data = b.data, .len = (uint32_t)b.len, .wire_len = (uint32_t)b.len, .linktype = 1};
    cr_assert_eq(decode_packet(&(struct decode_conf){0}, &packet, &view), DECODE_OK);
    const bool done = dpi_packet(d, f, &view, 1700000000ULL * 1000000000, w.to_server);
    bytes_done(&b);
    return done;
}

static void handshake(struct dpi *d, struct dpi_flow *f, unsigned port)
{
    cr_assert_not(send_one(d, f, (struct way){6, port, true, TCP_SYN}, "", 0));
    cr_assert_not(send_one(d, f, (struct way){6, port, false, TCP_SYN | TCP_ACK}, "", 0));
    cr_assert_not(send_one(d, f, (struct way){6, port, true, TCP_ACK}, "", 0));
}

static void look_at_http(struct dpi *d, struct dpi_result *r)
{
    static const char get[] = "GET /index.html HTTP/1.1\r\nHost: Intranet.Example.COM\r\n"
                              "User-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\nAccept: */*\r\n\r\n";
    static const char ok[] = "HTTP/1.1 200 OK\r\nServer: nginx\r\nContent-Type: text/html\r\n"
                             "Content-Length: 5\r\n\r\nhello";
    struct dpi_flow *const f = dpi_flow_new(d);

    cr_assert_not_null(f);
    handshake(d, f, 8081);
    if (!send_one(d, f, (struct way){6, 8081, true, TCP_ACK | TCP_PSH}, get, sizeof(get) - 1))
        (void)!send_one(d, f, (struct way){6, 8081, false, TCP_ACK | TCP_PSH}, ok, sizeof(ok) - 1);
    finish(d, f, r);
}

/* A ClientHello with a server name and two cipher suites. */
static void client_hello(struct bytes *b)
{
    static const char name[] = "www.wind-lab.example";
    const unsigned n = sizeof(name) - 1;

    b->big_endian = true;
    put(b, "\x16\x03\x01", 3);
    put16(b, 4 + 2 + 32 + 1 + 2 + 4 + 2 + 2 + 4 + 5 + n);
    put8(b, 1), put8(b, 0), put16(b, 2 + 32 + 1 + 2 + 4 + 2 + 2 + 4 + 5 + n);
    put16(b, 0x0303);
    put(b, "0123456789abcdef0123456789abcdef", 32);
    put8(b, 0);
    put16(b, 4), put(b, "\xc0\x2f\xc0\x30", 4);
    put8(b, 1), put8(b, 0);
    put16(b, 4 + 5 + n);
    put16(b, 0), put16(b, 5 + n), put16(b, 3 + n), put8(b, 0), put16(b, n);
    put(b, name, n);
}

Test(dpi, http_on_an_odd_port_is_seen_with_its_host)
{
    struct dpi *d = new_dpi(4, 10);
    struct dpi_result r;
    struct dpi_stats s;

    look_at_http(d, &r);
    cr_assert_str_eq(r.app, "http");
    cr_assert_str_eq(r.category, "web");
    cr_assert_str_eq(r.server_name, "intranet.example.com");
    cr_assert_not(r.answer.guessed);
    cr_assert_neq(r.answer.risk & (1ULL << 5), 0, "a known protocol on an odd port: %lx",
                  r.answer.risk);
    cr_assert_str_eq(r.said[FACT_HTTP_METHOD], "GET");
    cr_assert_str_eq(r.said[FACT_HTTP_URL], "/index.html");
    cr_assert_str_eq(r.said[FACT_HTTP_USER_AGENT], "Mozilla/5.0 (X11; Linux x86_64)");
    uint16_t status = 0;
    memcpy(&status, r.said[FACT_HTTP_STATUS], sizeof(status));
    cr_assert_eq(status, 200);
    cr_assert_str_eq(dpi_confidence_name(r.answer.confidence), "dpi");
    dpi_stats(d, &s);
    cr_assert_eq(s.flows, 1);
    cr_assert_eq(s.detected, 1);
    cr_assert_eq(s.flows_now, 0);
    (void)dpi_free(d);
}

Test(dpi, tls_gives_the_server_name)
{
    struct dpi *d = new_dpi(4, 10);
    struct dpi_flow *f = dpi_flow_new(d);
    struct bytes hello = {0};
    struct dpi_result r;

    client_hello(&hello);
    handshake(d, f, 443);
    (void)!send_one(d, f, (struct way){6, 443, true, TCP_ACK | TCP_PSH}, hello.data, hello.len);
    finish(d, f, &r);
    cr_assert_eq(strncmp(r.app, "tls", 3), 0, "%s", r.app);
    cr_assert_str_eq(r.server_name, "www.wind-lab.example");
    cr_assert_eq(r.said_len[FACT_TLS_JA3], 32);
    cr_assert_eq(r.said_len[FACT_HTTP_URL], 0);
    cr_assert_not(r.answer.guessed);
    bytes_done(&hello);
    (void)dpi_free(d);
}

Test(dpi, a_dns_question_is_a_server_name_with_nothing_but_printable_ascii)
{
    static const char query[] = "\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x03"
                                "a\x1b"
                                "b\x07"
                                "example\x03org\0\0\x01\0\x01";
    struct dpi *d = new_dpi(4, 10);
    struct dpi_flow *f = dpi_flow_new(d);
    struct dpi_result r;

    (void)!send_one(d, f, (struct way){17, 53, true, 0}, query, sizeof(query) - 1);
    finish(d, f, &r);
    cr_assert_str_eq(r.app, "dns");
    for (const char *c = r.server_name; *c != '\0'; c++)
        cr_assert(*c > ' ' && *c <= '~');
    cr_assert_not_null(strstr(r.server_name, "example.org"), "%s", r.server_name);
    (void)dpi_free(d);
}

/* Ask for `type`, and get an answer of one record of it: how many of both does nDPI look at? */
static uint64_t looked_at(unsigned type, uint64_t *ret_risk)
{
    static const uint8_t data[16] = {192, 0, 2, 1};
    struct dpi *d = new_dpi(4, 10);
    struct dpi_flow *f = dpi_flow_new(d);
    struct dpi_result r;
    struct dpi_stats s;
    struct bytes question = {0}, answer = {0};

    dns_head(&question, 7, 0x0100, "1000");
    dns_question(&question, "www.example.org", type);
    dns_head(&answer, 7, 0x8180, "1100");
    dns_question(&answer, "www.example.org", type);
    dns_answer(&answer, type, 300, data, type == 1 ? 4 : 16);
    cr_assert_not(
        send_one(d, f, (struct way){17, 53, true, 0}, (char *)question.data, question.len));
    cr_assert(send_one(d, f, (struct way){17, 53, false, 0}, (char *)answer.data, answer.len));
    finish(d, f, &r);
    cr_assert_str_eq(r.app, "dns");
    *ret_risk = r.answer.risk;
    dpi_stats(d, &s);
    bytes_done(&question);
    bytes_done(&answer);
    (void)dpi_free(d);
    return s.packets;
}

Test(dpi, an_ordinary_dns_answer_is_left_out_an_odd_one_has_its_risk)
{
    uint64_t risk = 0;

    cr_assert_eq(looked_at(1, &risk), 1);
    cr_assert_eq(risk, 0);
    cr_assert_eq(looked_at(33, &risk), 2); /* SRV: nDPI calls it suspicious */
    cr_assert_neq(risk, 0);
}

Test(dpi, what_only_the_port_tells_is_a_guess)
{
    struct dpi *d = new_dpi(4, 10);
    struct dpi_flow *f = dpi_flow_new(d);
    struct dpi_result r;

    (void)!send_one(d, f, (struct way){6, 22, true, TCP_SYN}, "", 0);
    finish(d, f, &r);
    cr_assert_str_eq(r.app, "ssh");
    cr_assert(r.answer.guessed);
    (void)dpi_free(d);
}

Test(dpi, noise_is_unknown_and_given_up_after_the_limit)
{
    struct dpi *d = new_dpi(4, 6);
    struct dpi_flow *f = dpi_flow_new(d);
    struct dpi_result r;
    struct dpi_stats s;
    int n = 1;

    while (!send_one(d, f, (struct way){17, 47311, n % 2 == 0, 0},
                     "\x7b\x93\xb1\x8e\xa4\xc3\x9d\xd2\xe5", 9))
        n++;
    finish(d, f, &r);
    cr_assert_eq(n, 6, "%d %s", n, r.app);
    cr_assert_str_eq(r.app, "");
    cr_assert_str_eq(r.category, "");
    dpi_stats(d, &s);
    cr_assert_eq(s.packets, 6);
    cr_assert_eq(s.unknown, 1);
    (void)dpi_free(d);
}

Test(dpi, at_the_limit_a_flow_goes_without_and_is_counted)
{
    struct dpi *d = new_dpi(2, 10);
    struct dpi_flow *a = dpi_flow_new(d), *b = dpi_flow_new(d);
    struct dpi_stats s;
    struct dpi_result r;

    cr_assert(a != NULL && b != NULL);
    cr_assert_null(dpi_flow_new(d));
    dpi_stats(d, &s);
    cr_assert_eq(s.refused, 1);
    cr_assert_eq(s.flows_now, 2);
    dpi_flow_drop(d, a);
    a = dpi_flow_new(d);
    cr_assert_not_null(a);
    (void)!send_one(d, a, (struct way){6, 80, true, TCP_SYN}, "", 0);
    finish(d, a, &r);
    dpi_flow_drop(d, b);
    dpi_flow_drop(d, NULL);
    dpi_stats(d, &s);
    cr_assert_eq(s.flows, s.detected + s.guessed + s.unknown + s.flows_now);
    cr_assert_eq(s.flows, 3);
    (void)dpi_free(d);
}

Test(dpi, the_same_packets_give_the_same_answer_again)
{
    struct dpi_result first, again;

    for (int i = 0; i < 2; i++) {
        struct dpi *d = new_dpi(4, 10);

        look_at_http(d, i == 0 ? &first : &again);
        (void)dpi_free(d);
    }
    cr_assert_arr_eq(&first, &again, sizeof(first));
}

Test(dpi, risks_have_words_and_a_score)
{
    struct dpi_risk r;

    cr_assert(dpi_risk(5, &r));
    cr_assert_str_eq(r.name, "Known Protocol on Non Standard Port");
    cr_assert_str_eq(r.severity, "medium");
    cr_assert_eq(r.score, 50);
    cr_assert_not(dpi_risk(0, &r));
    cr_assert_not(dpi_risk(63, &r));
    cr_assert_not(dpi_risk(64, &r));
    cr_assert_eq(dpi_risk_score(1u << 5 | 1u << 1), 300);
    cr_assert_eq(dpi_risk_score(1ull << 63), 0);
    cr_assert_null(dpi_confidence_name(0));
    cr_assert_null(dpi_confidence_name(255));
    cr_assert_str_eq(dpi_cipher_name(0x1301), "TLS_AES_128_GCM_SHA256");
}
