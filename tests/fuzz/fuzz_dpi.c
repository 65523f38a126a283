/*
 * Packets of up to four flows, each "flow and direction, length (2 bytes), payload" on made-up
 * headers, go through decode and nDPI. The books of the flow states must balance.
 */
#include <string.h>

#include "sensor/dpi.h"
#include "support/fuzz.h"
#include "support/pcap_builder.h"

#define FLOWS 4

static const struct {
    uint8_t proto;
    uint16_t port;
} kinds[FLOWS] = {{6, 443}, {17, 53}, {6, 80}, {17, 443}};

static struct dpi *d;

static void said(void *arg, enum record_fact_type type, const void *p, size_t len)
{
    volatile uint8_t sum = 0;

    (void)arg;
    FUZZ_CHECK(type > FACT_NONE && type < FACT_TYPES && len > 0 && len <= 512);
    for (size_t i = 0; i < len; i++) /* each byte is there: ASan looks on */
        sum = (uint8_t)(sum + ((const uint8_t *)p)[i]);
}

static void finish(struct dpi_flow *f)
{
    char app[RECORD_APP_MAX], category[RECORD_APP_MAX];
    struct dpi_answer answer;

    dpi_finish(d, f, &answer, said, NULL);
    dpi_names(d, &answer, app, category);
    FUZZ_CHECK(memchr(app, 0, sizeof(app)) != NULL);
    FUZZ_CHECK(memchr(category, 0, sizeof(category)) != NULL);
    FUZZ_CHECK(answer.confidence == 0 || dpi_confidence_name(answer.confidence) != NULL);
}

static void send_packet(struct dpi_flow **f, unsigned kind, bool to_server, const uint8_t *p,
                        size_t n)
{
    static struct bytes b;
    struct packet_view view;
    const unsigned sport = to_server ? 40000 : kinds[kind].port;
    const unsigned dport = to_server ? kinds[kind].port : 40000;
    const bool is_tcp = kinds[kind].proto == 6;

    b.len = 0;
    frame_ipv4(&b, kinds[kind].proto, 2 - to_server, 1 + to_server, (is_tcp ? 20 : 8) + n);
    if (is_tcp)
        frame_tcp(&b, sport, dport, n == 0 ? TCP_SYN : TCP_ACK | TCP_PSH);
    else
        frame_udp(&b, sport, dport, n);
    put(&b, p, n);
    uint8_t *const copy = malloc(b.len); /* so that ASan knows its end */
    FUZZ_CHECK(copy != NULL);
    memcpy(copy, b.data, b.len);
    const struct packet packet = {
        .data = copy, .len = (uint32_t)b.len, .wire_len = (uint32_t)b.len, .linktype = 101};
    FUZZ_CHECK(decode_packet(&(struct decode_conf){0}, &packet, &view) == DECODE_OK);
    if (dpi_packet(d, *f, &view, 1700000000000000000, to_server)) {
        finish(*f);
        *f = NULL;
    }
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct dpi_conf conf = {.flows_max = FLOWS, .packets_max = 16};
    struct dpi_flow *flow[FLOWS] = {NULL};
    struct dpi_stats s;

    if (d == NULL)
        FUZZ_CHECK(dpi_new(&d, &conf, NULL) == 0);
    for (size_t at = 0; at + 3 <= size;) {
        const unsigned head = data[at], kind = head % FLOWS;
        size_t n = (size_t)data[at + 1] | (size_t)(data[at + 2] & 7) << 8;

        at += 3;
        n = n < size - at ? n : size - at;
        if (flow[kind] == NULL)
            flow[kind] = dpi_flow_new(d);
        FUZZ_CHECK(flow[kind] != NULL);
        send_packet(&flow[kind], kind, (head & 4) == 0, data + at, n);
        at += n;
    }
    for (size_t i = 0; i < FLOWS; i++) {
        if (flow[i] != NULL)
            finish(flow[i]);
    }
    dpi_stats(d, &s);
    FUZZ_CHECK(s.flows_now == 0);
    FUZZ_CHECK(s.flows == s.detected + s.guessed + s.unknown);
    return 0;
}
