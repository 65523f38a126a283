/* A loopback interface of our own, in a network namespace: needs no privilege where users may. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sensor/capture.h"
#include "sensor/decode.h"

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

static void send_datagrams(uint16_t port, int n)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    const int s = socket(AF_INET, SOCK_DGRAM, 0);

    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (int i = 0; i < n; i++)
        cr_assert_eq(sendto(s, "hello", 5, 0, (struct sockaddr *)&to, sizeof(to)), 5);
    (void)close(s);
}

Test(capture_live, packets_of_an_interface_pass_the_filter)
{
    const struct capture_live conf = {.interface = "lo",
                                      .filter = "udp port 7001",
                                      .snaplen = 65535,
                                      .buffer_bytes = 1 << 20,
                                      .promiscuous = true};
    struct capture *c = NULL;
    struct capture_stats stats;
    struct err e = {0};
    size_t found = 0;

    own_loopback();
    const int r = capture_live_new(&c, &conf, &e);
    if (r == -EPERM)
        cr_skip_test("%s", e.text);
    cr_assert_eq(r, 0, "%s", e.text);
    cr_assert(capture_is_live(c));
    send_datagrams(7001, 100);
    send_datagrams(7002, 100);
    for (int i = 0; i < 200; i++) {
        struct packet packets[CAPTURE_BATCH];
        struct packet_view v;
        const size_t n = capture_recv(c, packets, CAPTURE_BATCH, 10);

        for (size_t j = 0; j < n; j++) {
            if (decode_packet(&(struct decode_conf){0}, &packets[j], &v) != DECODE_OK ||
                v.key.proto != IPPROTO_UDP)
                continue;
            cr_assert_eq(v.key.dport, 7001);
            cr_assert_eq(v.payload_len, 5);
            const int64_t age_ns = (int64_t)(capture_now(c) - packets[j].time_ns);
            cr_assert(age_ns > -1000000000 && age_ns < 60000000000, "%ld", (long)age_ns);
            found++;
        }
        capture_release(c);
    }
    cr_assert(found == 100 || found == 200, "%zu: loopback shows each once or twice", found);
    cr_assert_not(capture_ended(c));
    capture_stats(c, &stats);
    cr_assert_eq(stats.kernel_dropped, 0);
    c = capture_free(c);
}

Test(capture_live, what_cannot_be_opened_says_why)
{
    struct capture_live conf = {.interface = "nosuch0", .snaplen = 1000, .buffer_bytes = 1 << 20};
    struct capture *c = NULL;
    struct err e = {0};

    own_loopback();
    int r = capture_live_new(&c, &conf, &e);
    cr_assert(r == -ENODEV || r == -EPERM);
    cr_assert_not_null(strstr(e.text, "'nosuch0'"));
    conf.snaplen = CAPTURE_PACKET_MAX + 1;
    cr_assert_eq(capture_live_new(&c, &conf, &e), -EINVAL);
    conf = (struct capture_live){
        .interface = "lo", .filter = "udp prt 5", .snaplen = 1000, .buffer_bytes = 1 << 20};
    r = capture_live_new(&c, &conf, &e);
    cr_assert(r == -EINVAL || r == -EPERM);
    cr_assert(r == -EPERM || strstr(e.text, "filter 'udp prt 5'") != NULL, "%s", e.text);
    cr_assert_null(c);
}
