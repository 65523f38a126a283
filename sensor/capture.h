/*
 * capture.h - where packets come from: a capture file, a folder of them, a pipe, or a network
 * interface.
 *
 * Why      The rest of the sensor sees batches of packets, whatever they were read from.
 * Owns     The bytes. A packet's `data` is borrowed from capture_recv until capture_release.
 * Threads  A handle belongs to one thread. It may be made before a fork and used in the child.
 *          capture_start_thread gives it a second one of its own, which decompresses.
 * Bounds   A packet is at most CAPTURE_PACKET_MAX bytes. A file is mapped, anything else passes
 *          through a window of a few MiB, and of a folder at most three files are open; an
 *          interface has a ring of buffer_bytes, which the kernel fills. Once made, a handle opens
 *          no file and no socket; the system calls left are read, pread, lseek and poll, what
 * malloc and the thread need, (folder) mmap, write and recvmsg, (live) getsockopt and getsockname.
 *
 * What a file contains is judged in capture_recv, never in the constructor: so hostile bytes
 * are met by the process that has given up its privileges.
 *
 *     capture_recv -> packets -> capture_release -> capture_recv ... 0 and capture_ended
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"
#include "common/record.h"

#define CAPTURE_BATCH          64 /* packets worth asking for at once */
#define CAPTURE_INTERFACES_MAX RECORD_INTERFACES_MAX
#define CAPTURE_PACKET_MAX     (1 << 18) /* bytes of one packet, captured and on the wire */
#define CAPTURE_TIME_MAX       INT64_MAX /* the year 2262: sums with time-outs cannot overflow */
#define CAPTURE_DIGEST_MAX     (1 << 16) /* bytes of input that capture_digest covers */

/* Between which machines, as the kernel sees it by the addresses of the link. */
enum capture_whose { WHOSE_UNKNOWN, WHOSE_OURS, WHOSE_OTHERS, WHOSE_EVERYBODYS };

struct packet {
    const uint8_t *data; /* borrowed: dead after capture_release */
    uint32_t len;        /* bytes present */
    uint32_t wire_len;   /* bytes on the wire, without a tag taken off: len .. CAPTURE_PACKET_MAX */
    uint64_t time_ns;    /* as the input says, in any order; at most CAPTURE_TIME_MAX */
    uint16_t linktype;   /* LINKTYPE_ number of the pcap formats */
    uint16_t vlan_tpid;  /* live: type of the outermost tag, which the kernel took off; 0 = none */
    uint16_t vlan_tci;   /* of that tag: priority and number */
    uint8_t interface;   /* live: which one of capture_live.interface */
    uint8_t whose;       /* live: enum capture_whose */
};

/* How the input fared. Packets that were handed out stand in every case. */
enum capture_state {
    CAPTURE_OK,
    CAPTURE_TRUNCATED, /* the file ends within a packet: all whole ones were handed out */
    CAPTURE_CORRUPT,   /* damaged, unreadable, or an interface gone, from some point on */
    CAPTURE_UNUSABLE   /* empty, no capture file, or a version we don't know: there were none */
};

struct capture_stats {
    uint64_t received; /* packets handed out */
    uint64_t skipped;  /* packets re-read and thrown away after a restart */
    /* Live, as the kernel counts: seen = received + dropped + not yet taken out of the buffer. */
    uint64_t kernel_seen;    /* packets that passed the filter */
    uint64_t kernel_dropped; /* of them, lost for want of buffer space */
    uint64_t kernel_freezes; /* times the buffer was full */
};

/* How: a ring of our own, or libpcap, which knows more kinds of links and copies each packet. */
enum capture_backend { CAPTURE_AUTO, CAPTURE_AFPACKET, CAPTURE_LIBPCAP };

/* Those who share an interface's packets, as the kernel numbers them. */
struct capture_group {
    uint16_t id;
    bool is_made;
};

struct capture_live {
    const char *interface[CAPTURE_INTERFACES_MAX]; /* NULL behind the last */
    const char *filter;                            /* pcap-filter(7), "" or NULL = all */
    uint32_t snaplen;      /* bytes kept of a packet, at most CAPTURE_PACKET_MAX */
    uint32_t buffer_bytes; /* of the kernel's ring, one an interface */
    enum capture_backend backend;
    bool promiscuous;
    /*
     * Not NULL: this handle is one of several that share the interfaces' packets; both directions
     * of a flow come to the same one. One group an interface: the first handle makes them, and no
     * other program is in them; the others join. `fanout_defrag`: the kernel puts fragments of IPv4
     * together first, so that they find their flow's handle. `fanout_hosts`: all that two hosts
     * exchange comes to the same one, for the ports of VXLAN and GENEVE differ by direction.
     */
    struct capture_group *fanout;
    bool fanout_hosts;
    bool fanout_defrag;
};

struct capture;

/*
 * Read a capture file: pcap (microseconds or nanoseconds, both byte orders) or pcapng, plain or
 * inside gzip, zstd or LZ4, all told by content. Takes `fd` when it returns 0; regular files are
 * read from their start, whatever the offset. `name` is for messages. The first `skip_packets`
 * packets are read and thrown away (-ESPIPE for a pipe, which can't be read again).
 */
WIND_MUST_USE int capture_file_new(struct capture **ret_capture, int fd, const char *name,
                                   uint64_t skip_packets, struct err *e);

/*
 * The same, but the end of the file is none: it grows, and what is half written is waited for.
 * It ends when it is cut. Regular files only (-EINVAL).
 */
WIND_MUST_USE int capture_followed_new(struct capture **ret_capture, int fd, const char *name,
                                       uint64_t skip_packets, struct err *e);

/*
 * Read the captures of a folder, in time order, as if they were one. `fd`, taken: the socket
 * through which folder.h hands over the files. `name` is for messages. `received` packets were
 * read before this handle was made. `follow`: files grow, and new ones are waited for.
 */
WIND_MUST_USE int capture_folder_new(struct capture **ret_capture, int fd, const char *name,
                                     uint64_t received, bool follow, struct err *e);

/*
 * Listen on interfaces; their packets come in the order of time, as far as they are there. Needs
 * CAP_NET_RAW now, and never again. Where the next packet lies in the kernel's ring is known to the
 * one process that reads: when it dies, its successor needs a new handle. An interface that is down
 * is waited for; one that goes away is told by capture_error, and ends the input if it is the last.
 */
WIND_MUST_USE int capture_live_new(struct capture **ret_capture, const struct capture_live *conf,
                                   struct err *e);

/*
 * Before the sandbox forbids it: make the thread that decompresses, if there is anything for it to
 * do, or may be later. Without one it is done in capture_recv.
 */
WIND_MUST_USE int capture_start_thread(struct capture *c, struct err *e);

/* Close; NULL is fine. Always returns NULL. */
struct capture *capture_free(struct capture *c);
WIND_DEFINE_FREE(capture)

/*
 * Borrow up to `max` packets; waits at most wait_ms for the first. Returns how many. 0 is no
 * end: ask capture_ended. Everything borrowed before must have been released.
 */
size_t capture_recv(struct capture *c, struct packet *ret_packets, size_t max, int wait_ms);

/* Give back everything that the last capture_recv lent. */
void capture_release(struct capture *c);

/*
 * True when the bytes of packets stay where they are until the handle is freed (a mapped file),
 * whatever capture_release says. Ask when some have come.
 */
bool capture_keeps(const struct capture *c);

/* True when no packet will come any more. */
bool capture_ended(const struct capture *c);

/* True for an interface: time goes on without packets. */
bool capture_is_live(const struct capture *c);

/* What it is read by: "AF_PACKET", "libpcap", "file"; of several interfaces, the first one's. */
const char *capture_backend_name(const struct capture *c);

/* What is wrong with the input, be it over or not. *ret_error (may be NULL): a sentence, "" = OK.
 */
enum capture_state capture_error(const struct capture *c, const struct err **ret_error);

/*
 * Did a file among several end badly? CAPTURE_TRUNCATED or CAPTURE_CORRUPT, and a sentence, once
 * each, when capture_recv returned 0; the next file goes on. Else CAPTURE_OK.
 */
enum capture_state capture_take_fault(struct capture *c, const struct err **ret_error);

/*
 * The time that the rest of the sensor lives in: of a file, the latest packet's so far, so
 * that each replay gives the same result; of an interface, the wall clock.
 */
uint64_t capture_now(const struct capture *c);

/*
 * SHA-256 of the first 64 KiB (all, if shorter) of the decompressed input: which input was it?
 * Of a folder: of its first file. False: a slow pipe has not given that much within wait_ms; ask
 * again. Live, or followed: not of anything.
 */
WIND_MUST_USE bool capture_digest(struct capture *c, uint8_t ret_digest[32], int wait_ms);

void capture_stats(struct capture *c, struct capture_stats *ret_stats);
