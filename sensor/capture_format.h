/*
 * capture_format.h - records of the two capture file formats, out of a window of bytes.
 *
 * Why      pcap_format.c and pcapng_format.c know bytes; capture_file.c knows files.
 * Owns     Nothing: packets borrow from the window.
 * Threads  The one that has the handle (capture.h).
 * Bounds   A packet has at most CAPTURE_PACKET_MAX bytes, a block that we look into at most
 *          PCAPNG_BLOCK_MAX, a section at most PCAPNG_INTERFACES_MAX interfaces.
 *
 * read() takes whole records off the window until it has `max` packets, or says why it stopped.
 */
#pragma once

#include "sensor/capture.h"
#include "sensor/span.h"

#define PCAP_HEADER_LEN       24
#define PCAPNG_HEADER_LEN     28
#define PCAPNG_BLOCK_MAX      (1 << 19)
#define PCAPNG_INTERFACES_MAX 1024

enum format_stop {
    FORMAT_FULL,    /* max packets */
    FORMAT_MORE,    /* the next record is not all there: `need` bytes in all are */
    FORMAT_DAMAGED, /* no way to go on: `problem` says why */
    FORMAT_REFUSED  /* the file's own header: a version that we don't read */
};

struct format {
    uint64_t packets;   /* read so far: the next one is packets + 1 */
    size_t need;        /* FORMAT_MORE: bytes of the record that starts the window */
    const char *record; /* FORMAT_MORE: "packet", "the header of packet", ... */
    bool is_started;    /* the file's own header was read */
    bool is_midway;     /* the start of the record was taken off the window already */
    char problem[120];  /* "packet 5 claims 4000000000 bytes, more than ..." */
};

struct pcap_format {
    struct format format;
    bool swapped;
    uint16_t linktype;
    uint32_t fraction_ns; /* 1000 or 1 */
};

struct pcapng_interface {
    uint64_t units_per_s; /* of its time stamps */
    int64_t offset_s;
    uint32_t snaplen; /* 0 = none */
    uint16_t linktype;
};

struct pcapng_format {
    struct format format;
    bool swapped;
    uint32_t n_interfaces;
    uint64_t skip;    /* bytes left of a block that we don't look into */
    uint64_t last_ns; /* for packets without a time of their own */
    struct pcapng_interface interface[PCAPNG_INTERFACES_MAX];
};

/* Do these bytes (at least 4) start such a file? */
bool pcap_format_is(const uint8_t magic[4]);
bool pcapng_format_is(const uint8_t magic[4]);

size_t pcap_format_read(struct pcap_format *f, struct span *window, struct packet *ret_packets,
                        size_t max, enum format_stop *ret_stop);
size_t pcapng_format_read(struct pcapng_format *f, struct span *window, struct packet *ret_packets,
                          size_t max, enum format_stop *ret_stop);

/* wire_len within its promise, whatever the file claims. */
static inline uint32_t format_wire_len(uint32_t claimed, uint32_t len)
{
    const uint32_t bounded = claimed < CAPTURE_PACKET_MAX ? claimed : CAPTURE_PACKET_MAX;

    return bounded > len ? bounded : len;
}
