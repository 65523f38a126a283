/* A loopback interface of our own, in a network namespace: needs no privilege where users may. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sensor/capture.h"
#include "sensor/decode.h"
#include "support/pcap_builder.h"

#define PORT     7001
#define PATIENCE 1000 /* times 10 ms */
#define SILENCE  20

static const struct capture_live lo = {.interface = {"lo"},
                                       .snaplen = 65535,
                                       .buffer_bytes = 32 << 20,
                                       .promiscuous = true,
                                       .backend = CAPTURE_AFPACKET};

static void own_loopback(void)
{
    struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP};

    if (unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0 && unshare(CLONE_NEWNET) < 0)
        cr_skip_test("no network namespaces here: %s", strerror(errno));
    const int s = socket(AF_INET, SOCK_DGRAM, 0);
    cr_assert_geq(s, 0);
    cr_assert_eq(ioctl(s, SIOCSIFFLAGS, &request), 0);
    (void)close(s);
}

static struct capture *listen_on(const struct capture_live *conf)
{
    struct capture *c = NULL;
    struct err e = {0};
    const int r = capture_live_new(&c, conf, &e);

    if (r == -EPERM)
        cr_skip_test("%s", e.text);
    cr_assert_eq(r, 0, "%s", e.text);
    cr_assert(capture_is_live(c));
    return c;
}

static void send_datagrams(uint16_t port, size_t size, int n)
{
    static const char bytes[32768];
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    const int s = socket(AF_INET, SOCK_DGRAM, 0);

    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (int i = 0; i < n; i++)
        cr_assert_eq(sendto(s, bytes, size, 0, (struct sockaddr *)&to, sizeof(to)), (ssize_t)size);
    (void)close(s);
}

/* A datagram to PORT in a frame with so many tags: numbers 101, 102, ... */
static void send_tagged(unsigned tags, int n)
{
    struct bytes b = {0};
    struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_ifindex = (int)if_nametoindex("lo")};
    const int s = socket(AF_PACKET, SOCK_RAW, 0);

    frame_eth(&b, tags > 0 ? 0x8100 : 0x0800);
    for (unsigned i = 1; i <= tags; i++)
        frame_vlan(&b, 100 + i, i < tags ? 0x8100 : 0x0800);
    frame_ipv4(&b, 17, 1, 2, 8 + 5);
    frame_udp(&b, 5000, PORT, 5);
    put(&b, "hello", 5);
    for (int i = 0; i < n; i++)
        cr_assert_eq(sendto(s, b.data, b.len, 0, (struct sockaddr *)&to, sizeof(to)),
                     (ssize_t)b.len);
    (void)close(s);
    bytes_done(&b);
}

/*
 * Datagrams to PORT in `vlan`, of which `expected` are to come: a busy machine takes its time for
 * them. Then it is seen whether there are more, and `all` waits for a silence in any case.
 */
static size_t count(struct capture *c, unsigned vlan, size_t expected, bool all)
{
    const struct decode_conf conf = {.vlan_in_key = true};
    struct packet packets[CAPTURE_BATCH];
    struct packet_view v;
    size_t found = 0;

    for (int idle = 0; idle < (found < expected ? PATIENCE : all ? SILENCE : 0);) {
        const size_t n = capture_recv(c, packets, CAPTURE_BATCH, 10);

        idle = n > 0 ? 0 : idle + 1;
        for (size_t i = 0; i < n; i++) {
            const int64_t age_ns = (int64_t)(capture_now(c) - packets[i].time_ns);

            cr_assert(age_ns > -1000000000 && age_ns < 60000000000, "%ld", (long)age_ns);
            if (decode_packet(&conf, &packets[i], &v) == DECODE_OK && v.key.proto == IPPROTO_UDP &&
                v.key.dport == PORT && v.key.vlan == vlan)
                found++;
        }
        capture_release(c);
    }
    return found;
}

static const enum capture_backend backends[] = {CAPTURE_AFPACKET, CAPTURE_LIBPCAP};

ParameterizedTestParameters(capture_live, packets_of_an_interface_pass_the_filter)
{
    return cr_make_param_array(enum capture_backend, (void *)(uintptr_t)backends,
                               WIND_ARRAY_SIZE(backends));
}

ParameterizedTest(const enum capture_backend *backend, capture_live,
                  packets_of_an_interface_pass_the_filter)
{
    struct capture_live conf = lo;
    struct capture_stats stats;

    own_loopback();
    conf.backend = *backend;
    conf.filter = "udp port 7001";
    struct capture *c = listen_on(&conf);
    cr_assert_str_eq(capture_backend_name(c),
                     *backend == CAPTURE_AFPACKET ? "AF_PACKET" : "libpcap");
    send_datagrams(PORT, 5, 100);
    send_datagrams(PORT + 1, 5, 100);
    cr_assert_eq(count(c, 0, 100, true), 100);
    cr_assert_not(capture_ended(c));
    capture_stats(c, &stats);
    cr_assert_eq(stats.kernel_dropped, 0);
    cr_assert_eq(stats.kernel_seen, 100);
    cr_assert_eq(stats.received, 100);
    c = capture_free(c);
}

/* The kernel takes off the outer tag; both give what was on the wire, and `vlan` finds it. */
ParameterizedTestParameters(capture_live, tags_are_those_of_the_wire)
{
    return cr_make_param_array(enum capture_backend, (void *)(uintptr_t)backends,
                               WIND_ARRAY_SIZE(backends));
}

ParameterizedTest(const enum capture_backend *backend, capture_live, tags_are_those_of_the_wire)
{
    static const char *const filters[] = {"", "vlan 101", "vlan 101 and vlan 102", "vlan 7"};
    static const size_t once[] = {10, 10, 0, 0}, twice[] = {20, 20, 20, 0};

    own_loopback();
    for (size_t i = 0; i < WIND_ARRAY_SIZE(filters); i++) {
        struct capture_live conf = lo;
        conf.backend = *backend;
        conf.filter = filters[i];
        struct capture *c = listen_on(&conf);

        send_tagged(0, 5);
        send_tagged(1, 10);
        cr_assert_eq(count(c, 101, once[i], true), once[i], "%s", filters[i]);
        send_tagged(2, 20);
        cr_assert_eq(count(c, 101, twice[i], true), twice[i], "%s", filters[i]);
        c = capture_free(c);
    }
}

/* A small ring goes round many times, and a batch may span blocks. */
Test(capture_live, every_packet_of_a_ring_that_goes_round_is_lent_once)
{
    struct capture_live conf = lo;
    struct capture_stats stats;

    own_loopback();
    conf.filter = "udp port 7001";
    conf.buffer_bytes = 1 << 20;
    struct capture *c = listen_on(&conf);
    for (int i = 0; i < 200; i++) { /* 60 MB through 1 MB */
        send_datagrams(PORT, 30000, 10);
        cr_assert_eq(count(c, 0, 10, false), 10);
    }
    capture_stats(c, &stats);
    cr_assert_eq(stats.received, 2000);
    cr_assert_eq(stats.kernel_seen, 2000);
    cr_assert_eq(stats.kernel_dropped, 0);
    c = capture_free(c);
}

Test(capture_live, what_a_full_ring_has_no_room_for_is_counted)
{
    struct capture_live conf = lo;
    struct capture_stats stats;

    own_loopback();
    conf.filter = "udp port 7001";
    conf.buffer_bytes = 1 << 20;
    struct capture *c = listen_on(&conf);
    send_datagrams(PORT, 30000, 200);    /* 6 MB at a time into 1 MB, and nobody reads */
    for (int i = 0; i < PATIENCE; i++) { /* they are all in, or lost */
        capture_stats(c, &stats);
        if (stats.kernel_seen == 200)
            break;
        (void)usleep(10000);
    }
    const size_t found = count(c, 0, 4, true);
    cr_assert(found >= 4 && found < 200, "%zu", found);
    capture_stats(c, &stats);
    cr_assert_eq(stats.kernel_seen, 200);
    cr_assert_eq(stats.kernel_dropped, 200 - found);
    cr_assert_geq(stats.kernel_freezes, 1);
    send_datagrams(PORT, 30000, 10); /* and it goes on */
    cr_assert_eq(count(c, 0, 10, false), 10);
    c = capture_free(c);
}

Test(capture_live, packets_are_cut_at_the_snap_length)
{
    struct capture_live conf = lo;
    struct packet packets[CAPTURE_BATCH];

    own_loopback();
    conf.snaplen = 100;
    struct capture *c = listen_on(&conf);
    send_datagrams(PORT, 1000, 1);
    size_t n = 0;
    for (int i = 0; i < 100 && n == 0; i++)
        n = capture_recv(c, packets, CAPTURE_BATCH, 10);
    cr_assert_geq(n, 1);
    cr_assert_eq(packets[0].len, 100);
    cr_assert_eq(packets[0].wire_len, 14 + 20 + 8 + 1000);
    capture_release(c);
    c = capture_free(c);
}

/* What a queue has at the moment, by the number of its flow: PORT + k. */
static size_t take_flows(struct capture *queue, size_t flow[64])
{
    struct packet packets[CAPTURE_BATCH];
    struct packet_view v;
    const size_t n = capture_recv(queue, packets, CAPTURE_BATCH, 10);

    for (size_t i = 0; i < n; i++) {
        cr_assert_eq(decode_packet(&(struct decode_conf){0}, &packets[i], &v), DECODE_OK);
        flow[v.key.dport - PORT]++;
    }
    capture_release(queue);
    return n;
}

/* Two handles share one interface: each packet comes to one of them, a flow always to the same. */
Test(capture_live, the_queues_of_a_group_share_the_flows)
{
    struct capture_live conf = lo;
    struct capture_group group = {.is_made = false};
    struct capture *queue[2];
    size_t flow[2][64] = {{0}}, all[2] = {0, 0};

    own_loopback();
    conf.filter = "udp dst portrange 7001-7064";
    conf.fanout = &group;
    conf.fanout_defrag = true;
    for (int i = 0; i < 2; i++)
        queue[i] = listen_on(&conf);
    for (uint16_t port = PORT; port < PORT + 64; port++)
        send_datagrams(port, 5, 10);
    for (int idle = 0; idle < (all[0] + all[1] < 640 ? PATIENCE : SILENCE); idle++)
        for (int i = 0; i < 2; i++)
            all[i] += take_flows(queue[i], flow[i]);
    cr_assert_eq(all[0] + all[1], 640, "%zu and %zu", all[0], all[1]);
    cr_assert(all[0] > 0 && all[1] > 0);
    for (int k = 0; k < 64; k++)
        cr_assert(flow[0][k] + flow[1][k] == 10 && flow[0][k] * flow[1][k] == 0,
                  "flow %d: %zu and %zu packets", k, flow[0][k], flow[1][k]);
    for (int i = 0; i < 2; i++)
        queue[i] = capture_free(queue[i]);
}

/* Another sensor on the same interface, be it in a container where it has the same process id. */
Test(capture_live, who_makes_a_group_is_alone_in_it)
{
    struct capture_live conf = lo;
    struct capture_group group[2] = {{.is_made = false}};
    struct capture *queue[2][2];
    size_t flow[64] = {0}, all[2] = {0, 0};

    own_loopback();
    conf.filter = "udp dst portrange 7001-7064";
    for (int g = 0; g < 2; g++) {
        conf.fanout = &group[g];
        for (int i = 0; i < 2; i++)
            queue[g][i] = listen_on(&conf);
    }
    cr_assert_neq(group[0].id, group[1].id);
    for (uint16_t port = PORT; port < PORT + 64; port++)
        send_datagrams(port, 5, 2);
    for (int idle = 0; idle < (all[0] < 128 || all[1] < 128 ? PATIENCE : SILENCE); idle++)
        for (int i = 0; i < 4; i++)
            all[i / 2] += take_flows(queue[i / 2][i % 2], flow);
    cr_assert(all[0] == 128 && all[1] == 128, "%zu and %zu", all[0], all[1]);
    for (int i = 0; i < 4; i++)
        queue[i / 2][i % 2] = capture_free(queue[i / 2][i % 2]);
}

/* Pair k of hosts, this way or back, each way with ports of its own as a tunnel has them. */
static void send_pair(int s, struct bytes *b, unsigned k, bool is_back, bool is_v4, unsigned port)
{
    struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_ifindex = (int)if_nametoindex("lo")};
    const unsigned a = is_back ? 200 : k, z = is_back ? k : 200;

    b->len = 0;
    frame_eth(b, is_v4 ? 0x0800 : 0x86dd);
    if (is_v4)
        frame_ipv4(b, 17, a, z, 8 + 5);
    else
        frame_ipv6(b, 17, a, z, 8 + 5);
    frame_udp(b, port, PORT + k, 5);
    put(b, "hello", 5);
    cr_assert_eq(sendto(s, b->data, b->len, 0, (struct sockaddr *)&to, sizeof(to)),
                 (ssize_t)b->len);
}

Test(capture_live, what_two_hosts_exchange_is_one_queues)
{
    for (unsigned is_v4 = 0; is_v4 < 2; is_v4++) {
        struct capture_live conf = lo;
        struct capture_group group = {.is_made = false};
        struct capture *queue[2];
        size_t flow[2][64] = {{0}}, all[2] = {0, 0};

        own_loopback(); /* anew */
        conf.filter = "udp dst portrange 7001-7064";
        conf.fanout = &group;
        conf.fanout_hosts = true;
        for (int i = 0; i < 2; i++)
            queue[i] = listen_on(&conf);
        struct bytes b = {0};
        const int s = socket(AF_PACKET, SOCK_RAW, 0);
        for (unsigned k = 0; k < 64; k++)
            for (unsigned n = 0; n < 10; n++)
                send_pair(s, &b, k, n % 2 != 0, is_v4 != 0, 10000 + 100 * k + n);
        for (int idle = 0; idle < (all[0] + all[1] < 640 ? PATIENCE : SILENCE); idle++)
            for (int i = 0; i < 2; i++)
                all[i] += take_flows(queue[i], flow[i]);
        cr_assert_eq(all[0] + all[1], 640, "%zu and %zu", all[0], all[1]);
        (void)close(s);
        bytes_done(&b);
        cr_assert(all[0] > 100 && all[1] > 100, "%zu and %zu", all[0], all[1]);
        for (int k = 0; k < 64; k++)
            cr_assert(flow[0][k] + flow[1][k] == 10 && flow[0][k] * flow[1][k] == 0,
                      "pair %d: %zu and %zu packets", k, flow[0][k], flow[1][k]);
        for (int i = 0; i < 2; i++)
            queue[i] = capture_free(queue[i]);
    }
}

Test(capture_live, what_cannot_be_opened_says_why)
{
    struct capture_live conf = lo;
    struct capture *c = NULL;
    struct err e = {0};

    own_loopback();
    conf.interface[0] = "nosuch0";
    for (size_t i = 0; i < WIND_ARRAY_SIZE(backends); i++) {
        conf.backend = backends[i];
        const int r = capture_live_new(&c, &conf, &e);
        cr_assert(r == -ENODEV || r == -EPERM);
        cr_assert_not_null(strstr(e.text, "'nosuch0'"));
    }
    conf.snaplen = CAPTURE_PACKET_MAX + 1;
    cr_assert_eq(capture_live_new(&c, &conf, &e), -EINVAL);
    conf = lo;
    conf.filter = "udp prt 5";
    for (size_t i = 0; i < WIND_ARRAY_SIZE(backends); i++) {
        conf.backend = backends[i];
        const int r = capture_live_new(&c, &conf, &e);
        cr_assert(r == -EINVAL || r == -EPERM);
        cr_assert(r == -EPERM || strstr(e.text, "filter 'udp prt 5'") != NULL, "%s", e.text);
    }
    conf = lo;
    conf.interface[1] = "nosuch1"; /* the first one was open by then */
    conf.backend = CAPTURE_AUTO;
    const int r = capture_live_new(&c, &conf, &e);
    cr_assert(r == -ENODEV || r == -EPERM);
    cr_assert_null(c);
}
