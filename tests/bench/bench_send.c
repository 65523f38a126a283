/*
 * bench.send INTERFACE PCAP RATE SECONDS: put the frames of a capture on an interface, again and
 * again, RATE packets a second (0: as many as it can), for so long. Needs CAP_NET_RAW.
 *
 * Without a queue between (PACKET_QDISC_BYPASS): on a veth pair the receiver's work, up to its
 * ring, is done by us. Prints {"sent": N, "refused": N, "seconds": S, "cpu_s": S}; refused ones
 * were tried again.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define BATCH     32
#define FRAME_MAX 1514 /* larger ones are left out */
#define FRAME_MIN 14
#define MS        (10 * INT64_C(100000))
#define S         (1000 * MS)

struct frames {
    struct iovec *frame;
    size_t n;
};

static _Noreturn void fail(const char *what)
{
    fprintf(stderr, "bench.send: %s: %s\n", what, strerror(errno));
    exit(EXIT_FAILURE);
}

static int64_t now_ns(clockid_t clock)
{
    struct timespec t;

    (void)clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * S + t.tv_nsec;
}

static uint32_t word(const uint8_t *p)
{
    uint32_t v;

    memcpy(&v, p, sizeof(v));
    return v;
}

/* Classic pcap of this machine's byte order. */
static void load(struct frames *f, const char *path)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0 || st.st_size < 24)
        fail(path);
    const size_t size = (size_t)st.st_size;
    uint8_t *const data =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_POPULATE, fd, 0);
    if (data == MAP_FAILED)
        fail(path);
    f->frame = malloc(size / (16 + FRAME_MIN) * sizeof(*f->frame));
    if (f->frame == NULL)
        fail(path);
    for (size_t at = 24; size - at >= 16;) {
        const uint32_t len = word(data + at + 8);
        if (len > size - at - 16)
            break;
        if (len >= FRAME_MIN && len <= FRAME_MAX)
            f->frame[f->n++] = (struct iovec){.iov_base = data + at + 16, .iov_len = len};
        at += 16 + len;
    }
    if (f->n < BATCH)
        fail("too few frames");
}

static int open_sender(const char *interface)
{
    const struct sockaddr_ll to = {.sll_family = AF_PACKET,
                                   .sll_ifindex = (int)if_nametoindex(interface)};
    const int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0), yes = 1, buffer = 1 << 24;

    if (fd < 0 || to.sll_ifindex == 0 || bind(fd, (const struct sockaddr *)&to, sizeof(to)) != 0)
        fail(interface);
    if (setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &yes, sizeof(yes)) != 0)
        fail("PACKET_QDISC_BYPASS");
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &buffer, sizeof(buffer));
    return fd;
}

int main(int argc, char **argv)
{
    struct mmsghdr batch[BATCH] = {{.msg_len = 0}};
    struct frames f = {.frame = NULL};
    uint64_t sent = 0, refused = 0;
    size_t next = 0;

    if (argc != 5) {
        fprintf(stderr, "bench.send INTERFACE PCAP RATE SECONDS\n");
        return EXIT_FAILURE;
    }
    load(&f, argv[2]);
    const int fd = open_sender(argv[1]);
    const double rate = strtod(argv[3], NULL), seconds = strtod(argv[4], NULL);
    const int64_t cpu = now_ns(CLOCK_PROCESS_CPUTIME_ID);
    const int64_t start = now_ns(CLOCK_MONOTONIC), end = start + (int64_t)(seconds * (double)S);

    for (int64_t now = start; now < end; now = now_ns(CLOCK_MONOTONIC)) {
        if (rate > 0 && (double)(now - start) * rate < (double)sent * (double)S)
            continue; /* not yet due */
        for (size_t i = 0; i < BATCH; i++) {
            batch[i].msg_hdr.msg_iov = &f.frame[(next + i) % f.n];
            batch[i].msg_hdr.msg_iovlen = 1;
        }
        const int n = sendmmsg(fd, batch, BATCH, 0);
        if (n < 0 && errno != ENOBUFS && errno != EAGAIN && errno != EINTR)
            fail("sendmmsg");
        const size_t done = n < 0 ? 0 : (size_t)n;
        sent += done;
        refused += BATCH - done;
        next = (next + done) % f.n;
    }
    printf("{\"sent\": %llu, \"refused\": %llu, \"seconds\": %.3f, \"cpu_s\": %.3f}\n",
           (unsigned long long)sent, (unsigned long long)refused,
           (double)(now_ns(CLOCK_MONOTONIC) - start) / (double)S,
           (double)(now_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu) / (double)S);
    free(f.frame);
    return 0;
}
