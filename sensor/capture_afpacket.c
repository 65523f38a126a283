#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/time.h"
#include "sensor/capture_interface.h"

/*
 * A ring of blocks (TPACKET_V3) that the kernel fills and we read in place. A block is ours when
 * it is full or BLOCK_WAIT_MS old, and the kernel's again when its last packet was released:
 *
 *     kernel's -> ours: being read (`left` packets) -> read, lent (`done` of them) -> kernel's
 *
 * When no block is the kernel's, it drops and counts. A tag that the kernel took off a frame is
 * handed on beside it (packet.vlan_tpid): no byte is moved.
 */
/*
 * Small, so that it stays in the cache that it was written to; and so that there are many: where
 * little comes, each holds what came in BLOCK_WAIT_MS, however small. 512 of 64 MiB are 5 s.
 */
#define BLOCK_BYTES    (128u << 10)
#define BLOCK_OVERHEAD 1024u /* headers before the first packet's bytes, at most */
#define BLOCK_WAIT_MS  10
#define FRAME_BYTES    2048u /* means nothing in this version, but must divide a block */
#define LINKTYPE_RAW   12    /* as libpcap numbers it here */
#define GONE_WAIT_NS   (100 * WIND_NS_PER_MS) /* then the last block was handed over */

struct capture_afpacket {
    struct capture base;
    uint16_t linktype;
    bool is_loopback;
    char interface[IFNAMSIZ];
    uint8_t *ring;
    size_t ring_bytes;
    uint32_t block_bytes, blocks;
    uint32_t block;      /* being read, or the next one to come */
    uint32_t done;       /* so many before it were read, and are lent */
    uint32_t left;       /* packets of it that were not handed out */
    const uint8_t *next; /* the first of them */
    uint64_t gone_ns;    /* when it was seen that the interface is gone; 0: it is there */
};

/* ---------------------------------------------------------------- blocks */

static struct tpacket_hdr_v1 *block_header(const struct capture_afpacket *a, uint32_t block)
{
    struct tpacket_block_desc *const b =
        (struct tpacket_block_desc *)(void *)(a->ring + (size_t)block * a->block_bytes);

    return &b->hdr.bh1;
}

/* The next block, if it is ours. Those that are lent look the same: not beyond them. */
static bool open_block(struct capture_afpacket *a)
{
    const struct tpacket_hdr_v1 *const h = block_header(a, a->block);

    /* acquire: pairs with the kernel's write of the status after the packets */
    if (a->done == a->blocks ||
        (__atomic_load_n(&h->block_status, __ATOMIC_ACQUIRE) & TP_STATUS_USER) == 0)
        return false;
    a->left = h->num_pkts;
    a->next =
        (const uint8_t *)h - offsetof(struct tpacket_block_desc, hdr) + h->offset_to_first_pkt;
    return true;
}

static void close_block(struct capture_afpacket *a)
{
    a->block = a->block + 1 == a->blocks ? 0 : a->block + 1;
    a->done++;
}

static void afpacket_release(struct capture *c)
{
    struct capture_afpacket *const a = (struct capture_afpacket *)c;

    for (; a->done > 0; a->done--) {
        const uint32_t block = (a->block + a->blocks - a->done) % a->blocks;

        /* release: our reads are done before the kernel writes there again */
        __atomic_store_n(&block_header(a, block)->block_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
    }
}

static inline uint8_t whose(const struct tpacket3_hdr *h)
{
    static const uint8_t by_type[] = {[PACKET_HOST] = WHOSE_OURS,
                                      [PACKET_BROADCAST] = WHOSE_EVERYBODYS,
                                      [PACKET_MULTICAST] = WHOSE_EVERYBODYS,
                                      [PACKET_OTHERHOST] = WHOSE_OTHERS,
                                      [PACKET_OUTGOING] = WHOSE_OURS};
    const struct sockaddr_ll *const from =
        (const void *)((const uint8_t *)h + TPACKET_ALIGN(sizeof(*h)));

    return from->sll_pkttype < sizeof(by_type) ? by_type[from->sll_pkttype] : WHOSE_UNKNOWN;
}

static inline struct packet packet_of(const struct capture_afpacket *a,
                                      const struct tpacket3_hdr *h)
{
    const uint32_t wire = h->tp_len < CAPTURE_PACKET_MAX ? h->tp_len : CAPTURE_PACKET_MAX;
    struct packet p = {
        .data = (const uint8_t *)h + h->tp_mac,
        .len = h->tp_snaplen,
        .wire_len = wire > h->tp_snaplen ? wire : h->tp_snaplen,
        .time_ns = (uint64_t)h->tp_sec * WIND_NS_PER_S + h->tp_nsec,
        .linktype = a->linktype,
        .whose = whose(h),
    };

    if ((h->tp_status & TP_STATUS_VLAN_VALID) != 0) {
        p.vlan_tci = (uint16_t)h->hv1.tp_vlan_tci;
        p.vlan_tpid =
            (h->tp_status & TP_STATUS_VLAN_TPID_VALID) != 0 ? h->hv1.tp_vlan_tpid : ETH_P_8021Q;
    }
    return p;
}

static size_t take_packets(struct capture_afpacket *a, struct packet *ret_packets, size_t max)
{
    const size_t n = a->left < max ? a->left : max;

    for (size_t i = 0; i < n; i++) {
        const struct tpacket3_hdr *const h = (const struct tpacket3_hdr *)(const void *)a->next;

        ret_packets[i] = packet_of(a, h);
        __builtin_prefetch(ret_packets[i].data);
        a->next += h->tp_next_offset;
    }
    a->left -= (uint32_t)n;
    if (a->left == 0)
        close_block(a);
    return n;
}

/* ---------------------------------------------------------------- the backend */

/* What the kernel has of an interface that went away is still handed over, in time. */
static void check_gone(struct capture_afpacket *a)
{
    const uint64_t now_ns = time_mono_ns();

    if (a->gone_ns == 0)
        a->gone_ns = now_ns;
    else if (now_ns - a->gone_ns > GONE_WAIT_NS)
        capture_lose(&a->base, a->interface, "the interface is gone");
}

static bool wait_for_block(struct capture_afpacket *a, int wait_ms)
{
    struct pollfd p = {.fd = a->base.fd, .events = POLLIN};

    if (open_block(a))
        return true;
    if (a->gone_ns != 0)
        check_gone(a);
    if (a->base.ended || poll(&p, 1, wait_ms) <= 0)
        return false;
    if ((p.revents & POLLERR) != 0) {
        const int r = capture_socket_error(a->base.fd);
        if (r == -ENODEV)
            check_gone(a);
        else if (r < 0)
            capture_lose(&a->base, a->interface, strerror(-r));
    }
    return open_block(a);
}

static size_t afpacket_recv(struct capture *c, struct packet *ret_packets, size_t max, int wait_ms)
{
    struct capture_afpacket *const a = (struct capture_afpacket *)c;
    size_t n = 0;

    if (a->left == 0 && !wait_for_block(a, wait_ms))
        return 0;
    do
        n += take_packets(a, ret_packets + n, max - n);
    while (n < max && open_block(a));
    return n;
}

static void afpacket_update_stats(struct capture *c)
{
    struct capture_afpacket *const a = (struct capture_afpacket *)c;

    capture_socket_count(c->fd, &c->stats);
    if (a->gone_ns == 0 && capture_socket_is_gone(c->fd))
        check_gone(a);
}

static void afpacket_free(struct capture *c)
{
    struct capture_afpacket *const a = (struct capture_afpacket *)c;

    if (a->ring != NULL)
        (void)munmap(a->ring, a->ring_bytes);
    if (c->fd >= 0)
        (void)close(c->fd);
    free(a);
}

static const struct capture_ops afpacket_ops = {
    .is_live = true,
    .recv = afpacket_recv,
    .release = afpacket_release,
    .digest = capture_no_digest,
    .update_stats = afpacket_update_stats,
    .free = afpacket_free,
};

/* ---------------------------------------------------------------- opening */

/* What a raw socket gives on such an interface: a frame, or an IP packet. */
static int find_link(struct capture_afpacket *a, struct err *e)
{
    struct ifreq r = {.ifr_flags = 0};

    (void)snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", a->interface);
    if (ioctl(a->base.fd, SIOCGIFHWADDR, &r) != 0)
        return err_set(e, -errno, "interface '%s': %s", a->interface, strerror(errno));
    a->is_loopback = r.ifr_hwaddr.sa_family == ARPHRD_LOOPBACK;
    switch (r.ifr_hwaddr.sa_family) {
    case ARPHRD_ETHER:
    case ARPHRD_LOOPBACK:
        a->linktype = 1;
        return 0;
    case ARPHRD_NONE:
    case ARPHRD_RAWIP:
    case ARPHRD_TUNNEL:
    case ARPHRD_SIT:
        a->linktype = LINKTYPE_RAW;
        return 0;
    default:
        return err_set(e, -EOPNOTSUPP, "interface '%s': a link of type %u is left to libpcap",
                       a->interface, r.ifr_hwaddr.sa_family);
    }
}

static int make_ring(struct capture_afpacket *a, const struct capture_live *conf, struct err *e)
{
    const int fd = a->base.fd, version = TPACKET_V3;
    uint32_t block = BLOCK_BYTES;

    while (block < conf->snaplen + BLOCK_OVERHEAD)
        block *= 2;
    const uint32_t blocks = conf->buffer_bytes / block < 2 ? 2 : conf->buffer_bytes / block;
    const struct tpacket_req3 want = {.tp_block_size = block,
                                      .tp_block_nr = blocks,
                                      .tp_frame_size = FRAME_BYTES,
                                      .tp_frame_nr = block / FRAME_BYTES * blocks,
                                      .tp_retire_blk_tov = BLOCK_WAIT_MS};

    if (setsockopt(fd, SOL_PACKET, PACKET_VERSION, &version, sizeof(version)) != 0)
        return err_set(e, -EOPNOTSUPP, "this kernel has no TPACKET_V3: %s", strerror(errno));
    if (setsockopt(fd, SOL_PACKET, PACKET_RX_RING, &want, sizeof(want)) != 0)
        return err_set(e, errno == ENOMEM ? -ENOMEM : -EOPNOTSUPP,
                       "capture.buffer: no ring of %u bytes for '%s': %s", conf->buffer_bytes,
                       a->interface, strerror(errno));
    a->block_bytes = block;
    a->blocks = blocks;
    a->ring_bytes = (size_t)block * blocks;
    void *const ring =
        mmap(NULL, a->ring_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
    if (ring == MAP_FAILED)
        return err_set(e, -errno, "capture.buffer: can't map the ring of '%s': %s", a->interface,
                       strerror(errno));
    a->ring = ring;
    return 0;
}

static int set_program(int fd, const struct sock_fprog *program, struct err *e)
{
    if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, program, sizeof(*program)) == 0)
        return 0;
    return err_set(e, errno == EPERM ? -EPERM : -EOPNOTSUPP, "filter: the kernel refuses it: %s",
                   strerror(errno));
}

/*
 * Bound last, with the filter in place: so nothing gets into the ring that it would have kept out.
 * A member of a group is bound before it joins: until then a filter keeps out everything, or its
 * packets would come to two queues.
 */
static int bind_to(const struct capture_afpacket *a, int index, const struct capture_live *conf,
                   const struct sock_fprog *filter, struct err *e)
{
    struct sock_filter none = BPF_STMT(BPF_RET | BPF_K, 0);
    const struct sock_fprog closed = {.len = 1, .filter = &none};
    const struct sockaddr_ll to = {
        .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL), .sll_ifindex = index};

    int r = set_program(a->base.fd, conf->fanout != NULL ? &closed : filter, e);
    if (r < 0)
        return r;
    if (bind(a->base.fd, (const struct sockaddr *)&to, sizeof(to)) != 0)
        return err_set(e, -errno, "interface '%s': %s", a->interface, strerror(errno));
    r = capture_fanout_join(a->base.fd, conf, a->interface, e);
    if (r == 0 && conf->fanout != NULL)
        r = set_program(a->base.fd, filter, e);
    return r;
}

static int see_all(const struct capture_afpacket *a, int index, struct err *e)
{
    const struct packet_mreq all = {.mr_ifindex = index, .mr_type = PACKET_MR_PROMISC};

    return setsockopt(a->base.fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &all, sizeof(all)) == 0
               ? 0
               : err_set(e, -errno, "interface '%s': no promiscuous mode: %s", a->interface,
                         strerror(errno));
}

static int prepare(struct capture_afpacket *a, const struct capture_live *conf, struct err *e)
{
    struct sock_fprog filter = {.filter = NULL};

    a->base.fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0); /* 0: nothing comes before bind */
    if (a->base.fd < 0 && errno == EPERM)
        return err_set(e, -EPERM, "interface '%s': no right to listen (CAP_NET_RAW)", a->interface);
    if (a->base.fd < 0)
        return err_set(e, -EOPNOTSUPP, "interface '%s': %s", a->interface, strerror(errno));
    const int index = (int)if_nametoindex(a->interface);
    if (index == 0)
        return err_set(e, -ENODEV, "interface '%s' does not exist", a->interface);

    int r = find_link(a, e);
    if (r == 0)
        r = make_ring(a, conf, e);
    if (r == 0 && conf->promiscuous)
        r = see_all(a, index, e);
    if (r == 0)
        r = capture_filter_new(&filter, conf, a->interface, a->linktype, a->is_loopback, e);
    if (r == 0)
        r = bind_to(a, index, conf, &filter, e);
    free(filter.filter);
    return r;
}

int capture_afpacket_new(struct capture **ret_capture, const struct capture_live *conf,
                         const char *interface, struct err *e)
{
    WIND_AUTO(capture) struct capture *c = NULL;

    if (strlen(interface) >= IFNAMSIZ || strcmp(interface, "any") == 0)
        return err_set(e, -EOPNOTSUPP, "interface '%s' is left to libpcap", interface);
    struct capture_afpacket *const a = calloc(1, sizeof(*a));
    if (a == NULL)
        return err_set(e, -ENOMEM, "interface '%s': out of memory", interface);
    a->base.ops = &afpacket_ops;
    a->base.name = "AF_PACKET";
    (void)snprintf(a->interface, sizeof(a->interface), "%s", interface);
    c = &a->base;
    const int r = prepare(a, conf, e);
    if (r < 0)
        return r;
    *ret_capture = WIND_STEAL(c);
    return 0;
}
