#include "sensor/capture_interface.h"

#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <pcap/pcap.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "common/crypto.h"

#define COMPILE_BUFFER (1 << 20) /* of a handle that is only there to compile */

_Static_assert(sizeof(struct bpf_insn) == sizeof(struct sock_filter), "one instruction, two names");

/* ---------------------------------------------------------------- sockets */

bool capture_socket_is_gone(int fd)
{
    struct sockaddr_ll bound = {0};
    socklen_t len = sizeof(bound);

    return getsockname(fd, (struct sockaddr *)&bound, &len) == 0 && bound.sll_ifindex == -1;
}

int capture_socket_error(int fd)
{
    int code = 0;
    socklen_t len = sizeof(code);

    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &len) != 0)
        return -errno;
    if (code == ENETDOWN)
        return capture_socket_is_gone(fd) ? -ENODEV : 0;
    return -code;
}

void capture_lose(struct capture *c, const char *interface, const char *why)
{
    (void)err_set(&c->error, -EIO, "'%s' cannot be listened to any more: %s", interface, why);
    c->state = CAPTURE_CORRUPT;
    c->ended = true;
}

/* The kernel's numbers start again from 0 whenever they were asked for. */
void capture_socket_count(int fd, struct capture_stats *stats)
{
    struct tpacket_stats_v3 s = {0};
    socklen_t len = sizeof(s);

    if (getsockopt(fd, SOL_PACKET, PACKET_STATISTICS, &s, &len) != 0)
        return;
    stats->kernel_seen += s.tp_packets;
    stats->kernel_dropped += s.tp_drops;
    stats->kernel_freezes += len >= sizeof(s) ? s.tp_freeze_q_cnt : 0;
}

#define NET(at) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)SKF_NET_OFF + (at))
#define XOR(at) BPF_STMT(BPF_MISC | BPF_TAX, 0), NET(at), BPF_STMT(BPF_ALU | BPF_XOR | BPF_X, 0)
#define GOLDEN  0x9e3779b1u /* 2^32 by the golden ratio: spreads numbers that differ little */

/* The same number for both directions between two hosts; what is no IP is the first member's. */
static int fanout_by_hosts(int fd)
{
    static struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)SKF_AD_OFF + SKF_AD_PROTOCOL),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ETH_P_IP, 2, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ETH_P_IPV6, 6, 0),
        BPF_STMT(BPF_RET | BPF_K, 0),
        NET(12),
        XOR(16),
        BPF_STMT(BPF_JMP | BPF_JA, 22),
        NET(8),
        XOR(12),
        XOR(16),
        XOR(20),
        XOR(24),
        XOR(28),
        XOR(32),
        XOR(36),
        BPF_STMT(BPF_ALU | BPF_MUL | BPF_K, GOLDEN),
        BPF_STMT(BPF_ALU | BPF_RSH | BPF_K, 16),
        BPF_STMT(BPF_RET | BPF_A, 0),
    };
    const struct sock_fprog program = {.len = WIND_ARRAY_SIZE(code), .filter = code};

    return setsockopt(fd, SOL_PACKET, PACKET_FANOUT_DATA, &program, sizeof(program));
}

/* The kernel finds a number for a new group: two that chose theirs may choose the same one. */
static int join(int fd, struct capture_group *group, uint32_t how)
{
    uint32_t words =
        group->is_made ? group->id | how << 16 : (how | PACKET_FANOUT_FLAG_UNIQUEID) << 16;
    socklen_t len = sizeof(words);

    if (setsockopt(fd, SOL_PACKET, PACKET_FANOUT, &words, sizeof(words)) != 0 ||
        getsockopt(fd, SOL_PACKET, PACKET_FANOUT, &words, &len) != 0)
        return -1;
    *group = (struct capture_group){.id = (uint16_t)words, .is_made = true};
    return 0;
}

int capture_fanout_join(int fd, const struct capture_live *conf, const char *interface,
                        struct err *e)
{
    const uint32_t how = (conf->fanout_hosts ? PACKET_FANOUT_CBPF : PACKET_FANOUT_HASH) |
                         (conf->fanout_defrag ? PACKET_FANOUT_FLAG_DEFRAG : 0);

    if (conf->fanout == NULL)
        return 0;
    if (join(fd, conf->fanout, how) != 0 || (conf->fanout_hosts && fanout_by_hosts(fd) != 0))
        return err_set(e, -errno, "interface '%s': its packets can't be divided: %s", interface,
                       strerror(errno));
    return 0;
}

bool capture_no_digest(struct capture *c, uint8_t ret_digest[32], int wait_ms)
{
    (void)c;
    (void)wait_ms;
    crypto_sha256("", 0, ret_digest);
    return true;
}

/* ---------------------------------------------------------------- filter */

static const struct sock_filter only_incoming[] = {
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)SKF_AD_OFF + SKF_AD_PKTTYPE),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PACKET_OUTGOING, 0, 1),
    BPF_STMT(BPF_RET | BPF_K, 0),
};

/* Jumps are relative: what stands before a program does not change it. */
static int keep_program(struct sock_fprog *ret_filter, const struct sock_filter *code, unsigned n,
                        bool is_loopback, struct err *e)
{
    const unsigned before = is_loopback ? WIND_ARRAY_SIZE(only_incoming) : 0;

    if (n == 0 || before + n > BPF_MAXINSNS)
        return err_set(e, -EOPNOTSUPP, "filter: %u instructions are not for the kernel", n);
    struct sock_filter *const copy = calloc(before + n, sizeof(*copy));
    if (copy == NULL)
        return err_set(e, -ENOMEM, "filter: out of memory");
    memcpy(copy, only_incoming, before * sizeof(*copy));
    memcpy(copy + before, code, n * sizeof(*copy));
    *ret_filter = (struct sock_fprog){.len = (unsigned short)(before + n), .filter = copy};
    return 0;
}

/* By a handle on the interface, which is there for this alone. -ENETDOWN: it is down. */
static int compile_by_interface(struct bpf_program *ret_program, const struct capture_live *conf,
                                const char *interface, uint16_t linktype, struct err *e)
{
    char why[PCAP_ERRBUF_SIZE] = "";
    pcap_t *const pcap = pcap_create(interface, why);
    int r = 0;

    if (pcap == NULL)
        return err_set(e, -EINVAL, "interface '%s': %s", interface, why);
    (void)pcap_set_snaplen(pcap, (int)conf->snaplen);
    (void)pcap_set_buffer_size(pcap, COMPILE_BUFFER);
    const int state = pcap_activate(pcap);
    if (state == PCAP_ERROR_IFACE_NOT_UP)
        r = err_set(e, -ENETDOWN,
                    "interface '%s' is down: a filter with 'vlan' can only be made while it is up "
                    "(ip link set %s up)",
                    interface, interface);
    else if (state < 0 || pcap_datalink(pcap) != linktype)
        r = err_set(e, -EOPNOTSUPP, "interface '%s': libpcap sees another link", interface);
    else if (pcap_compile(pcap, ret_program, conf->filter, 1, PCAP_NETMASK_UNKNOWN) != 0)
        r = err_set(e, -EINVAL, "filter '%s': %s", conf->filter, pcap_geterr(pcap));
    pcap_close(pcap);
    return r;
}

/* By the kind of link. What the kernel does to tags on an interface is not known then. */
static int compile_by_link(struct bpf_program *ret_program, const struct capture_live *conf,
                           uint16_t linktype, struct err *e)
{
    pcap_t *const pcap = pcap_open_dead(linktype, (int)conf->snaplen);
    int r = 0;

    if (pcap == NULL)
        return err_set(e, -ENOMEM, "filter: out of memory");
    if (pcap_compile(pcap, ret_program, conf->filter, 1, PCAP_NETMASK_UNKNOWN) != 0)
        r = err_set(e, -EINVAL, "filter '%s': %s", conf->filter, pcap_geterr(pcap));
    pcap_close(pcap);
    return r;
}

int capture_filter_new(struct sock_fprog *ret_filter, const struct capture_live *conf,
                       const char *interface, uint16_t linktype, bool is_loopback, struct err *e)
{
    const struct sock_filter all = BPF_STMT(BPF_RET | BPF_K, conf->snaplen);
    struct bpf_program program = {.bf_len = 0, .bf_insns = NULL};

    if (conf->filter == NULL || conf->filter[0] == '\0')
        return keep_program(ret_filter, &all, 1, is_loopback, e);
    int r = compile_by_interface(&program, conf, interface, linktype, e);
    if (r == -ENETDOWN && strstr(conf->filter, "vlan") == NULL)
        r = compile_by_link(&program, conf, linktype, e);
    if (r < 0)
        return r;
    r = keep_program(ret_filter, (const struct sock_filter *)(const void *)program.bf_insns,
                     program.bf_len, is_loopback, e);
    pcap_freecode(&program);
    return r;
}
