/*
 * ip.h - addresses as 16 bytes, big endian, IPv4 mapped (::ffff:a.b.c.d), and networks.
 *
 * Why      One form for both families: a key, a table and a compare need no second case.
 * Threads  Any: there is no state.
 * Bounds   A text and its NUL fit in IP_TEXT bytes, a network's in CIDR_TEXT.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "common/err.h"

#define IP_TEXT   46
#define CIDR_TEXT 52

static inline bool ip_is_v4(const uint8_t a[16])
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

    return memcmp(a, mapped, sizeof(mapped)) == 0;
}

static inline void ip_from_v4(const uint8_t v4[4], uint8_t ret_a[16])
{
    memset(ret_a, 0, 10);
    memset(ret_a + 10, 0xff, 2);
    memcpy(ret_a + 12, v4, 4);
}

/* "10.0.0.1", or IPv6 as RFC 5952 wants it. Returns its length. */
size_t ip_format(const uint8_t a[16], char ret_text[IP_TEXT]);

/* Either family. -EINVAL: not an address. */
WIND_MUST_USE int ip_parse(const char *s, uint8_t ret_a[16]);

struct cidr {
    uint8_t net[16]; /* bits beyond `bits` are zero */
    uint8_t bits;    /* of 128: 10.0.0.0/8 has 104 */
};

/* "10.0.0.0/8", "fd00::/8", or an address alone. -EINVAL: not a network. Host bits are cleared. */
WIND_MUST_USE int cidr_parse(const char *s, struct cidr *ret_net, struct err *e);

bool cidr_contains(const struct cidr *net, const uint8_t a[16]);

/* Returns its length. */
size_t cidr_format(const struct cidr *net, char ret_text[CIDR_TEXT]);
