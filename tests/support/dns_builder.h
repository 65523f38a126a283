/*
 * dns_builder.h - make DNS messages byte by byte, for tests.
 */
#pragma once

#include "common/ip.h"
#include "support/pcap_builder.h"

/* "www.example.org", not compressed; "" is the root. */
static inline void dns_name(struct bytes *b, const char *name)
{
    while (*name != '\0') {
        const size_t n = strcspn(name, ".");
        put8(b, (unsigned)n);
        put(b, name, n);
        name += n + (name[n] == '.');
    }
    put8(b, 0);
}

static inline void dns_pointer(struct bytes *b, unsigned to)
{
    put_number(b, 0xc000 | to, 2, true);
}

/* `counts`: questions, answers, authorities, additionals, a digit each. */
static inline void dns_head(struct bytes *b, unsigned id, unsigned flags, const char counts[4])
{
    put_number(b, id, 2, true);
    put_number(b, flags, 2, true);
    for (int i = 0; i < 4; i++)
        put_number(b, (unsigned)(counts[i] - '0'), 2, true);
}

static inline void dns_question(struct bytes *b, const char *name, unsigned type)
{
    dns_name(b, name);
    put_number(b, type, 2, true);
    put_number(b, 1, 2, true);
}

/* What stands between a record's name and its data, of which `n` bytes follow. */
static inline void dns_record(struct bytes *b, unsigned type, uint32_t ttl, size_t n)
{
    put_number(b, type, 2, true);
    put_number(b, 1, 2, true);
    put_number(b, ttl, 4, true);
    put_number(b, n, 2, true);
}

/* A record whose name is that of the first question. */
static inline void dns_answer(struct bytes *b, unsigned type, uint32_t ttl, const void *p, size_t n)
{
    dns_pointer(b, 12);
    dns_record(b, type, ttl, n);
    put(b, p, n);
}

/* An answer to "name? type A" with so many addresses 192.0.2.1, .2, ... */
static inline void dns_addresses(struct bytes *b, unsigned id, const char *name, unsigned n)
{
    char counts[4] = "1000";

    counts[1] = (char)('0' + n);
    dns_head(b, id, 0x8180, counts);
    dns_question(b, name, 1);
    for (unsigned i = 1; i <= n; i++)
        dns_answer(b, 1, 300, (const uint8_t[]){192, 0, 2, (uint8_t)i}, 4);
}
