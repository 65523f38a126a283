#include <errno.h>
#include <linux/if_packet.h>
#include <pcap/pcap.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "sensor/capture_interface.h"

/*
 * libpcap on an interface, for links and kernels that capture_afpacket.c leaves to it. It lends a
 * packet only until its callback returns, so the packets of a batch are copied, back to back, into
 * a buffer with room for CAPTURE_BATCH of the largest.
 */
#define READ_TIMEOUT_MS 10

struct capture_libpcap {
    struct capture base;
    pcap_t *pcap;
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
    struct capture_libpcap *const l = (struct capture_libpcap *)(void *)user;
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

/*
 * libpcap is not let near an interface that went down: it would ask for it by calls that the
 * sandbox forbids.
 */
static void meet_error(struct capture_libpcap *l)
{
    const int r = capture_socket_error(l->base.fd);

    if (r < 0)
        capture_lose(&l->base, l->interface, r == -ENODEV ? "the interface is gone" : strerror(-r));
}

static size_t libpcap_recv(struct capture *c, struct packet *ret_packets, size_t max, int wait_ms)
{
    struct capture_libpcap *const l = (struct capture_libpcap *)c;
    struct pollfd p = {.fd = l->base.fd, .events = POLLIN};

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
        capture_lose(c, l->interface, pcap_geterr(l->pcap));
    return l->n;
}

/*
 * Asked of the kernel, and not by pcap_stats: in promiscuous mode that opens files in /sys, which
 * the sandbox forbids. A filter may be libpcap's own: what passes it is known, and no more.
 */
static void libpcap_update_stats(struct capture *c)
{
    struct capture_libpcap *const l = (struct capture_libpcap *)c;

    capture_socket_count(c->fd, &c->stats);
    c->stats.kernel_seen = c->stats.received + c->stats.kernel_dropped;
    if (!c->ended && capture_socket_is_gone(c->fd))
        capture_lose(c, l->interface, "the interface is gone");
}

static void libpcap_free(struct capture *c)
{
    struct capture_libpcap *const l = (struct capture_libpcap *)c;

    if (l->pcap != NULL)
        pcap_close(l->pcap);
    free(l->buffer);
    free(l);
}

static const struct capture_ops libpcap_ops = {
    .is_live = true,
    .recv = libpcap_recv,
    .digest = capture_no_digest,
    .update_stats = libpcap_update_stats,
    .free = libpcap_free,
};

/* ---------------------------------------------------------------- opening */

static int activate(struct capture_libpcap *l, const struct capture_live *conf, struct err *e)
{
    char why[PCAP_ERRBUF_SIZE] = "";

    l->pcap = pcap_create(l->interface, why);
    if (l->pcap == NULL)
        return err_set(e, -EINVAL, "interface '%s': %s", l->interface, why);
    if (pcap_set_snaplen(l->pcap, (int)l->snaplen) != 0 ||
        pcap_set_promisc(l->pcap, conf->promiscuous) != 0 ||
        pcap_set_timeout(l->pcap, READ_TIMEOUT_MS) != 0 ||
        pcap_set_buffer_size(l->pcap, (int)conf->buffer_bytes) != 0 ||
        pcap_set_tstamp_precision(l->pcap, PCAP_TSTAMP_PRECISION_NANO) != 0)
        return err_set(e, -EINVAL, "interface '%s': %s", l->interface, pcap_geterr(l->pcap));

    const int r = pcap_activate(l->pcap);
    if (r == PCAP_ERROR_PERM_DENIED)
        return err_set(e, -EPERM, "interface '%s': no right to listen (CAP_NET_RAW)", l->interface);
    if (r == PCAP_ERROR_NO_SUCH_DEVICE)
        return err_set(e, -ENODEV, "interface '%s' does not exist", l->interface);
    if (r < 0)
        return err_set(e, -EIO, "interface '%s': %s", l->interface, pcap_geterr(l->pcap));
    return 0;
}

static int set_filter(struct capture_libpcap *l, const char *filter, struct err *e)
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

static int prepare(struct capture_libpcap *l, const struct capture_live *conf, struct err *e)
{
    char why[PCAP_ERRBUF_SIZE] = "";

    l->snaplen = conf->snaplen;
    l->buffer = malloc((size_t)CAPTURE_BATCH * l->snaplen);
    if (l->buffer == NULL)
        return err_set(e, -ENOMEM, "interface '%s': out of memory", l->interface);

    int r = activate(l, conf, e);
    if (r == 0)
        r = set_filter(l, conf->filter, e);
    if (r < 0)
        return r;
    if (pcap_setnonblock(l->pcap, 1, why) != 0)
        return err_set(e, -EIO, "interface '%s': %s", l->interface, why);
    l->base.fd = pcap_get_selectable_fd(l->pcap);
    l->linktype = (uint16_t)pcap_datalink(l->pcap); /* DLT_RAW is 12 here: decode knows it */
    if (l->base.fd < 0)
        return err_set(e, -EIO, "interface '%s' cannot be waited for", l->interface);
    return capture_fanout_join(l->base.fd, conf, l->interface, e);
}

int capture_libpcap_new(struct capture **ret_capture, const struct capture_live *conf,
                        const char *interface, struct err *e)
{
    struct capture_libpcap *const l = calloc(1, sizeof(*l));
    WIND_AUTO(capture) struct capture *c = NULL;

    if (l == NULL)
        return err_set(e, -ENOMEM, "interface '%s': out of memory", interface);
    l->base.ops = &libpcap_ops;
    l->base.name = "libpcap";
    (void)snprintf(l->interface, sizeof(l->interface), "%s", interface);
    c = &l->base;
    const int r = prepare(l, conf, e);
    if (r < 0)
        return r;
    *ret_capture = WIND_STEAL(c);
    return 0;
}
