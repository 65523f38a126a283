/*
 * pcap_builder.h - make frames and capture files byte by byte, for tests.
 *
 * A frame is written from the outside in: frame_eth, frame_vlan, frame_ipv4, frame_tcp, ...
 * A file is a struct bytes: file_pcap then file_record, or file_section, file_interface, ...
 * in either byte order.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define BYTES_MAX (1 << 22)

struct bytes {
    uint8_t *data;
    size_t len;
    bool big_endian; /* of put16, put32, put64: as a capture file's writer */
};

static inline void put(struct bytes *b, const void *p, size_t n)
{
    if (b->data == NULL)
        b->data = malloc(BYTES_MAX);
    if (b->data == NULL || n > BYTES_MAX - b->len)
        abort();
    if (n > 0)
        memcpy(b->data + b->len, p, n);
    b->len += n;
}

static inline void put8(struct bytes *b, unsigned v)
{
    put(b, &(uint8_t){(uint8_t)v}, 1);
}

static inline void put_number(struct bytes *b, uint64_t v, unsigned n, bool big_endian)
{
    for (unsigned i = 0; i < n; i++)
        put8(b, (unsigned)(v >> 8 * (big_endian ? n - 1 - i : i)) & 0xff);
}

static inline void put16(struct bytes *b, unsigned v)
{
    put_number(b, v, 2, b->big_endian);
}

static inline void put32(struct bytes *b, uint32_t v)
{
    put_number(b, v, 4, b->big_endian);
}

static inline void put64(struct bytes *b, uint64_t v)
{
    put_number(b, v, 8, b->big_endian);
}

static inline void bytes_done(struct bytes *b)
{
    free(b->data);
    *b = (struct bytes){0};
}

/* ---------------------------------------------------------------- frames: network order */

static inline void frame_eth(struct bytes *b, unsigned type)
{
    put(b, "\x02\0\0\0\0\x02\x02\0\0\0\0\x01", 12);
    put_number(b, type, 2, true);
}

static inline void frame_vlan(struct bytes *b, unsigned tci, unsigned type)
{
    put_number(b, tci, 2, true);
    put_number(b, type, 2, true);
}

/* 10.0.0.src -> 10.0.0.dst, `n` bytes follow. */
static inline void frame_ipv4(struct bytes *b, unsigned proto, unsigned src, unsigned dst, size_t n)
{
    put(b, "\x45\0", 2);
    put_number(b, 20 + n, 2, true);
    put(b, "\0\x01\0\0\x40", 5);
    put8(b, proto);
    put(b, "\0\0\x0a\0\0", 5);
    put8(b, src);
    put(b, "\x0a\0\0", 3);
    put8(b, dst);
}

/* fd00::src -> fd00::dst, `n` bytes follow. */
static inline void frame_ipv6(struct bytes *b, unsigned next, unsigned src, unsigned dst, size_t n)
{
    put(b, "\x60\0\0\0", 4);
    put_number(b, n, 2, true);
    put8(b, next);
    put8(b, 63);
    put(b, "\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 15);
    put8(b, src);
    put(b, "\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 15);
    put8(b, dst);
}

static inline void frame_tcp(struct bytes *b, unsigned sport, unsigned dport, unsigned flags)
{
    put_number(b, sport, 2, true);
    put_number(b, dport, 2, true);
    put_number(b, 0x01020304, 4, true);
    put_number(b, 0x05060708, 4, true);
    put8(b, 5 << 4);
    put8(b, flags);
    put_number(b, 0xfaf0, 2, true);
    put(b, "\0\0\0\0", 4);
}

/* `n` bytes of payload follow. */
static inline void frame_udp(struct bytes *b, unsigned sport, unsigned dport, size_t n)
{
    put_number(b, sport, 2, true);
    put_number(b, dport, 2, true);
    put_number(b, 8 + n, 2, true);
    put(b, "\0\0", 2);
}

/* ---------------------------------------------------------------- pcap */

static inline void file_pcap(struct bytes *b, uint32_t magic, uint32_t linktype)
{
    put32(b, magic);
    put16(b, 2);
    put16(b, 4);
    put32(b, 0);
    put32(b, 0);
    put32(b, 262144);
    put32(b, linktype);
}

static inline void file_record(struct bytes *b, uint32_t s, uint32_t fraction, const void *p,
                               uint32_t n)
{
    put32(b, s);
    put32(b, fraction);
    put32(b, n);
    put32(b, n + 10); /* ten bytes more were on the wire */
    put(b, p, n);
}

/* ---------------------------------------------------------------- pcapng */

static inline void file_section(struct bytes *b)
{
    put32(b, 0x0a0d0d0a);
    put32(b, 28);
    put32(b, 0x1a2b3c4d);
    put16(b, 1);
    put16(b, 0);
    put64(b, UINT64_MAX);
    put32(b, 28);
}

/* With if_tsresol and if_tsoffset. */
static inline void file_interface(struct bytes *b, unsigned linktype, uint32_t snaplen,
                                  unsigned resolution, int64_t offset_s)
{
    put32(b, 1);
    put32(b, 44);
    put16(b, linktype);
    put16(b, 0);
    put32(b, snaplen);
    put16(b, 9);
    put16(b, 1);
    put8(b, resolution);
    put(b, "\0\0\0", 3);
    put16(b, 14);
    put16(b, 8);
    put64(b, (uint64_t)offset_s);
    put32(b, 0);
    put32(b, 44);
}

static inline void file_enhanced(struct bytes *b, uint32_t interface, uint64_t units, const void *p,
                                 uint32_t n)
{
    const uint32_t total = 32 + ((n + 3) & ~3U);

    put32(b, 6);
    put32(b, total);
    put32(b, interface);
    put32(b, (uint32_t)(units >> 32));
    put32(b, (uint32_t)units);
    put32(b, n);
    put32(b, n + 10);
    put(b, p, n);
    put(b, "\0\0\0", ((n + 3) & ~3U) - n);
    put32(b, total);
}

static inline void file_simple(struct bytes *b, uint32_t wire, const void *p, uint32_t n)
{
    const uint32_t total = 16 + ((n + 3) & ~3U);

    put32(b, 3);
    put32(b, total);
    put32(b, wire);
    put(b, p, n);
    put(b, "\0\0\0", ((n + 3) & ~3U) - n);
    put32(b, total);
}

/* A block that no reader knows. */
static inline void file_other(struct bytes *b, uint32_t type, uint32_t n)
{
    const uint32_t total = 12 + ((n + 3) & ~3U);

    put32(b, type);
    put32(b, total);
    for (uint32_t i = 0; i < total - 12; i++)
        put8(b, 0xee);
    put32(b, total);
}
