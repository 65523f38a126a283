/*
 * bench.flowgen FLOWS PACKETS SECONDS NEW spread|early OUT: a capture of FLOWS flows, all alive at
 * once.
 *
 * Each flow is seen at least once; the other packets go to flow k with probability ~ 1/k (Zipf,
 * s = 1), shuffled. Four of five flows are TCP (handshake, then data both ways with right sequence
 * numbers), the rest UDP. NEW percent of the packets belong to nobody yet: each opens a flow of its
 * own in the place of another one, which says no more.
 * spread: a flow's first packet comes anywhere; early: all of them come before any other packet.
 *
 * Frames have 60 to 120 bytes, and their IP lengths say so: some tools throw away packets that were
 * cut, and then look fast. IPv4 header checksums are right, TCP's and UDP's are zero. The same
 * bytes every time.
 */
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ETH     14u
#define IP      20u
#define TCP     20u
#define UDP     8u
#define CAP_MIN 60u
#define CAP_MAX 120u
#define IDS     (1u << 24) /* as many clients are there: 10.x.y.z */

struct flow {
    uint32_t id;
    uint32_t packets;
    uint32_t seq[2]; /* next byte to be sent by the client, by the server */
};

struct plan {
    uint32_t flows, packets, new_percent;
    double seconds;
    bool is_early;
};

static uint64_t state = UINT64_C(0x9E3779B97F4A7C15);

static uint64_t draw(void) /* xorshift64* */
{
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return state * UINT64_C(0x2545F4914F6CDD1D);
}

static uint32_t below(uint32_t n)
{
    return (uint32_t)(((draw() >> 32) * n) >> 32);
}

static void put16(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

static void put32(uint8_t *p, uint32_t v)
{
    put16(p, v >> 16);
    put16(p + 2, v);
}

static void shuffle(uint32_t *list, uint32_t n)
{
    for (uint32_t i = n - 1; i > 0; i--) {
        const uint32_t j = below(i + 1), t = list[i];
        list[i] = list[j];
        list[j] = t;
    }
}

/* Which flow each packet belongs to: each flow once, the rest by Zipf. */
static uint32_t *schedule(const struct plan *p)
{
    uint32_t *order = malloc(sizeof(*order) * p->packets);
    const double log_n = log((double)p->flows + 1);

    if (order == NULL)
        return NULL;
    for (uint32_t i = 0; i < p->packets; i++) {
        const double u = (double)(draw() >> 11) / 9007199254740992.0;
        const uint32_t zipf = (uint32_t)exp(u * log_n) - 1; /* inverse of the continuous 1/x law */
        order[i] = i < p->flows ? i : zipf < p->flows ? zipf : p->flows - 1;
    }
    if (p->is_early) {
        shuffle(order, p->flows);
        if (p->packets > p->flows)
            shuffle(order + p->flows, p->packets - p->flows);
    } else {
        shuffle(order, p->packets);
    }
    return order;
}

static void ip_checksum(uint8_t *ip)
{
    uint32_t sum = 0;

    for (uint32_t i = 0; i < IP; i += 2)
        sum += (uint32_t)ip[i] << 8 | ip[i + 1];
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    put16(ip + 10, ~sum);
}

/* Begins like what runs on the port. */
static void fill(uint8_t *p, uint32_t n, uint16_t port)
{
    static const uint8_t tls[] = {0x17, 3, 3, 4, 0},
                         dns[] = {0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0};
    uint32_t i = 0;

    if (port == 443 && n >= sizeof(tls))
        memcpy(p, tls, i = sizeof(tls));
    if (port == 53 && n >= sizeof(dns))
        memcpy(p, dns, i = sizeof(dns));
    for (; i < n; i++)
        p[i] = (uint8_t)(i * 37 + n);
}

static uint32_t frame_size(bool is_handshake)
{
    static const uint32_t imix[12] = {60, 60, 60, 60, 60, 60, 60, 590, 590, 590, 590, 1514};
    const uint32_t wire = is_handshake ? CAP_MIN : imix[below(12)];
    const uint32_t cap = CAP_MIN + below(CAP_MAX - CAP_MIN + 1);

    return cap < wire ? cap : wire;
}

static void put_tcp(uint8_t *tcp, struct flow *f, uint32_t n, bool is_reply, uint32_t payload)
{
    static const uint8_t flags[] = {0x02, 0x12, 0x10, 0x18}; /* SYN, SYN ACK, ACK, then PSH ACK */

    put32(tcp + 4, f->seq[is_reply]);
    put32(tcp + 8, n > 0 ? f->seq[!is_reply] : 0);
    tcp[12] = 0x50;
    tcp[13] = flags[n < 3 ? n : 3];
    put16(tcp + 14, 64240);
    f->seq[is_reply] += n < 2 ? 1 : payload;
}

/* The flow's next packet; returns its length. */
static uint32_t build(uint8_t *frame, struct flow *f)
{
    static const uint16_t ports[] = {443, 443, 443, 80, 22, 445, 8080, 3389};
    const bool is_tcp = f->id % 5 != 0;
    const uint16_t port = is_tcp ? ports[(f->id >> 3) % 8] : f->id % 2 ? 53 : 443;
    const uint32_t n = f->packets++, header = is_tcp ? TCP : UDP;
    const bool is_reply = n == 1 || (n > 2 && below(2) == 1);
    const bool is_handshake = is_tcp && n < 3;
    const uint32_t size = frame_size(is_handshake);
    const uint32_t payload = is_handshake ? 0 : size - ETH - IP - header;
    const uint32_t client = 0x0A000000u | f->id,
                   server = 0xAC100000u | (f->id * UINT32_C(2654435761) >> 16);
    const uint32_t client_port = 1024 + f->id % 60000;
    uint8_t *const ip = frame + ETH, *const l4 = ip + IP;

    memset(frame, 0, ETH + IP + TCP);
    frame[0] = frame[6] = 2;
    frame[5] = is_reply ? 1 : 2;
    frame[11] = is_reply ? 2 : 1;
    put16(frame + 12, 0x0800);
    ip[0] = 0x45;
    put16(ip + 2, IP + header + payload);
    put16(ip + 4, n);
    ip[6] = 0x40;
    ip[8] = 64;
    ip[9] = is_tcp ? 6 : 17;
    put32(ip + 12, is_reply ? server : client);
    put32(ip + 16, is_reply ? client : server);
    ip_checksum(ip);
    put16(l4, is_reply ? port : client_port);
    put16(l4 + 2, is_reply ? client_port : port);
    if (is_tcp)
        put_tcp(l4, f, n, is_reply, payload);
    else
        put16(l4 + 4, UDP + payload);
    fill(l4 + header, size - ETH - IP - header, port);
    return size;
}

static struct flow flow_with(uint32_t id)
{
    return (struct flow){.id = id, .seq = {id * 7919, id * 104729}};
}

static int write_all(const struct plan *p, struct flow *flow, const uint32_t *order, FILE *out)
{
    const uint32_t head[6] = {0xA1B2C3D4u, 2 | 4 << 16, 0, 0, 65535, 1};
    const double step_us = p->seconds * 1e6 / p->packets;
    uint32_t next_id = p->flows;

    (void)fwrite(head, sizeof(head), 1, out);
    for (uint32_t i = 0; i < p->packets; i++) {
        struct flow *const f = &flow[order[i]];
        uint8_t frame[CAP_MAX];
        const bool is_due = !p->is_early || i >= p->flows;

        if (is_due && f->packets > 0 && below(100) < p->new_percent && next_id < IDS)
            *f = flow_with(next_id++);
        const uint32_t len = build(frame, f);
        const uint64_t us = (uint64_t)(i * step_us);
        const uint32_t record[4] = {1700000000u + (uint32_t)(us / 1000000),
                                    (uint32_t)(us % 1000000), len, len};
        (void)fwrite(record, sizeof(record), 1, out);
        (void)fwrite(frame, len, 1, out);
    }
    printf("{\"packets\": %u, \"flows\": %u}\n", p->packets, next_id);
    return ferror(out) != 0 ? 1 : 0;
}

int main(int argc, char **argv)
{
    if (argc != 7) {
        fprintf(stderr, "usage: bench.flowgen FLOWS PACKETS SECONDS NEW spread|early OUT\n");
        return 2;
    }
    const struct plan p = {.flows = (uint32_t)strtoul(argv[1], NULL, 10),
                           .packets = (uint32_t)strtoul(argv[2], NULL, 10),
                           .seconds = strtod(argv[3], NULL),
                           .new_percent = (uint32_t)strtoul(argv[4], NULL, 10),
                           .is_early = strcmp(argv[5], "early") == 0};
    FILE *out = fopen(argv[6], "wb");
    uint32_t *order = NULL;
    struct flow *flow = NULL;

    if (out == NULL || p.flows == 0 || p.flows >= IDS || p.packets < p.flows ||
        (order = schedule(&p)) == NULL || (flow = calloc(p.flows, sizeof(*flow))) == NULL) {
        fprintf(stderr, "flowgen: cannot write '%s', or not that many flows and packets\n",
                argv[6]);
        return 1;
    }
    for (uint32_t i = 0; i < p.flows; i++)
        flow[i] = flow_with(i);
    const int r = write_all(&p, flow, order, out);
    free(order);
    free(flow);
    return fclose(out) != 0 || r != 0;
}
