#include <errno.h>
#include <linux/if_packet.h>
#include <pcap/pcap.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "common/crypto.h"
#include "sensor/capture_backend.h"

/*
 * libpcap on an interface. It lends a packet only until its callback returns, so the packets of
 * a batch are copied, back to back, into a buffer with room for CAPTURE_BATCH of the largest.
 * (A ring of our own, which lends whole batches, takes this file's place where speed matters.)
 */
#define READ_TIMEOUT_MS 10
#define SNAPLEN_MIN     64

struct capture_live_state {
    struct capture base;
    pcap_t *pcap;
    int fd;
    uint16_t linktype;
    uint32_t snaplen;
    char interface[32];
    uint8_t *buffer; /* CAPTURE_BATCH * snaplen */
    size_t used;
    struct packet *out; /* while recv runs: where the next packet goes */
    size_t n;
};

static void take_packet(u_char *user, const struct pcap_pkthdr *h, const u_char *data)
{
    struct capture_live_state *const l = (struct capture_live_state *)(void *)user;
    const uint32_t len = h->caplen < l->snaplen ? h->caplen : l->snaplen;
    const uint32_t wire = h->len < CAPTURE_PACKET_MAX ? h->len : CAPTURE_PACKET_MAX;
    uint8_t *const copy = l->buffer + l->used;

    memcpy(copy, data, len);
    l->used += len;
    l->out[l->n++] = (struct packet){
        .data = copy,
        .len = len,
        .wire_len = wire > len ? wire : len,
        .time_ns = (uint64_t)h->ts.tv_sec * 1000000000 + (uint64_t)h->ts.tv_usec, /* ns, asked so */
        .linktype = l->linktype,
    };
}

static void lose(struct capture_live_state *l, const char *why)
{
    (void)err_set(&l->base.error, -EIO, "'%s' cannot be listened to any more: %s", l->interface,
                  why);
    l->base.state = CAPTURE_CORRUPT;
    l->base.ended = true;
}

/* The kernel unbinds a socket whose interface is gone, and leaves one whose interface is down. */
static void check_interface(struct capture_live_state *l)
{
    struct sockaddr_ll bound = {0};
    socklen_t len = sizeof(bound);

    if (getsockname(l->fd, (struct sockaddr *)&bound, &len) == 0 && bound.sll_ifindex == -1)
        lose(l, "the interface is gone");
}

/*
 * Down, up again: packets come again, so it is only waited for. libpcap is not let near: it would
 * ask for the interface by calls that the sandbox forbids.
 */
static void meet_error(struct capture_live_state *l)
{
    int code = 0;
    socklen_t len = sizeof(code);

    if (getsockopt(l->fd, SOL_SOCKET, SO_ERROR, &code, &len) != 0)
        code = errno;
    if (code == ENETDOWN)
        check_interface(l);
    else if (code != 0)
        lose(l, strerror(code));
}

static size_t live_recv(struct capture *c, struct packet *ret_packets, size_t max, int wait_ms)
{
    struct capture_live_state *const l = (struct capture_live_state *)c;
    struct pollfd p = {.fd = l->fd, .events = POLLIN};

    l->out = ret_packets;
    l->n = l->used = 0;
    if (poll(&p, 1, wait_ms) <= 0)
        return 0;
    if (p.revents & POLLERR)
        meet_error(l);
    if ((p.revents & POLLIN) == 0)
        return 0;
    const int r = pcap_dispatch(l->pcap, (int)(max < CAPTURE_BATCH ? max : CAPTURE_BATCH),
                                take_packet, (u_char *)l);
    if (r < 0)
        lose(l, pcap_geterr(l->pcap));
    return l->n;
}

static bool live_digest(struct capture *c, uint8_t ret_digest[32], int wait_ms)
{
    (void)c;
    (void)wait_ms;
    crypto_sha256("", 0, ret_digest);
    return true;
}

/*
 * Asked of the kernel, and not by pcap_stats: in promiscuous mode that opens files in /sys, which
 * the sandbox forbids. The kernel's numbers start again from 0 whenever they were asked for.
 */
static void live_update_stats(struct capture *c)
{
    struct capture_live_state *const l = (struct capture_live_state *)c;
    struct tpacket_stats_v3 s = {0};
    socklen_t len = sizeof(s);

    if (getsockopt(l->fd, SOL_PACKET, PACKET_STATISTICS, &s, &len) == 0)
        c->stats.kernel_dropped += s.tp_drops;
    check_interface(l);
}

static void live_free(struct capture *c)
{
    struct capture_live_state *const l = (struct capture_live_state *)c;

    if (l->pcap != NULL)
        pcap_close(l->pcap);
    free(l->buffer);
    free(l);
}

static const struct capture_ops live_ops = {
    .is_live = true,
    .recv = live_recv,
    .digest = live_digest,
    .update_stats = live_update_stats,
    .free = live_free,
};

/* ---------------------------------------------------------------- opening */

static int activate(struct capture_live_state *l, const struct capture_live *conf, struct err *e)
{
    char why[PCAP_ERRBUF_SIZE] = "";

    l->pcap = pcap_create(conf->interface, why);
    if (l->pcap == NULL)
        return err_set(e, -EINVAL, "interface '%s': %s", conf->interface, why);
    if (pcap_set_snaplen(l->pcap, (int)l->snaplen) != 0 ||
        pcap_set_promisc(l->pcap, conf->promiscuous) != 0 ||
        pcap_set_timeout(l->pcap, READ_TIMEOUT_MS) != 0 ||
        pcap_set_buffer_size(l->pcap, (int)conf->buffer_bytes) != 0 ||
        pcap_set_tstamp_precision(l->pcap, PCAP_TSTAMP_PRECISION_NANO) != 0)
        return err_set(e, -EINVAL, "interface '%s': %s", conf->interface, pcap_geterr(l->pcap));

    const int r = pcap_activate(l->pcap);
    if (r == PCAP_ERROR_PERM_DENIED)
        return err_set(e, -EPERM, "interface '%s': no right to listen (CAP_NET_RAW)",
                       conf->interface);
    if (r == PCAP_ERROR_NO_SUCH_DEVICE)
        return err_set(e, -ENODEV, "interface '%s' does not exist", conf->interface);
    if (r < 0)
        return err_set(e, -EIO, "interface '%s': %s", conf->interface, pcap_geterr(l->pcap));
    return 0;
}

static int set_filter(struct capture_live_state *l, const char *filter, struct err *e)
{
    struct bpf_program program;

    if (filter == NULL || filter[0] == '\0')
        return 0;
    if (pcap_compile(l->pcap, &program, filter, 1, PCAP_NETMASK_UNKNOWN) != 0)
        return err_set(e, -EINVAL, "filter '%s': %s", filter, pcap_geterr(l->pcap));
    const int r = pcap_setfilter(l->pcap, &program);
    pcap_freecode(&program);
    return r == 0 ? 0 : err_set(e, -EIO, "filter '%s': %s", filter, pcap_geterr(l->pcap));
}

static int prepare(struct capture_live_state *l, const struct capture_live *conf, struct err *e)
{
    char why[PCAP_ERRBUF_SIZE] = "";

    if (conf->snaplen < SNAPLEN_MIN || conf->snaplen > CAPTURE_PACKET_MAX)
        return err_set(e, -EINVAL, "a snap length of %u is outside %d..%d", conf->snaplen,
                       SNAPLEN_MIN, CAPTURE_PACKET_MAX);
    if (conf->buffer_bytes > INT32_MAX)
        return err_set(e, -EINVAL, "a kernel buffer of %u bytes is more than libpcap takes",
                       conf->buffer_bytes);
    l->snaplen = conf->snaplen;
    (void)snprintf(l->interface, sizeof(l->interface), "%s", conf->interface);
    l->buffer = malloc((size_t)CAPTURE_BATCH * l->snaplen);
    if (l->buffer == NULL)
        return err_set(e, -ENOMEM, "interface '%s': out of memory", conf->interface);

    int r = activate(l, conf, e);
    if (r == 0)
        r = set_filter(l, conf->filter, e);
    if (r < 0)
        return r;
    if (pcap_setnonblock(l->pcap, 1, why) != 0)
        return err_set(e, -EIO, "interface '%s': %s", conf->interface, why);
    l->fd = pcap_get_selectable_fd(l->pcap);
    l->linktype = (uint16_t)pcap_datalink(l->pcap); /* DLT_RAW is 12 here: decode knows it */
    return l->fd >= 0 ? 0
                      : err_set(e, -EIO, "interface '%s' cannot be waited for", conf->interface);
}

int capture_live_new(struct capture **ret_capture, const struct capture_live *conf, struct err *e)
{
    struct capture_live_state *const l = calloc(1, sizeof(*l));
    WIND_AUTO(capture) struct capture *c = NULL;

    if (l == NULL)
        return err_set(e, -ENOMEM, "interface '%s': out of memory", conf->interface);
    l->base.ops = &live_ops;
    c = &l->base;
    const int r = prepare(l, conf, e);
    if (r < 0)
        return r;
    *ret_capture = WIND_STEAL(c);
    return 0;
}
