/*
 * tls_ja4.h - JA4, the fingerprint of a TLS ClientHello, from the lists that it is made of.
 *
 * Why      The lists are sorted before they are hashed: a client that shuffles its extensions
 *          keeps its fingerprint. The format is FoxIO's: technical_details/JA4.md of
 *          github.com/FoxIO-LLC/ja4. t13d1516h2_8daaf6152771_e5627efa2ab1 is
 *              t     TLS over TCP
 *              13    the highest version offered
 *              d     with a server name (i: without)
 *              15 16 how many ciphers and extensions, GREASE apart
 *              h2    first and last character of the first ALPN name
 *          and the first 12 digits of the SHA-256 of the sorted ciphers; and of the sorted
 *          extensions (name and ALPN apart) with the signature algorithms in their order.
 * Owns     Nothing.
 * Threads  Any: there is no state.
 * Bounds   JA4_LIST_MAX entries a list; a hello with more has no fingerprint.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "sensor/span.h"
#include "sensor/tls_hello.h"

#define JA4_LIST_MAX 1024

struct ja4_list {
    uint16_t n, value[JA4_LIST_MAX];
};

struct ja4 {
    struct ja4_list ciphers, extensions, signatures; /* as sent, without GREASE */
    struct span alpn;                                /* the first name; borrowed */
    uint16_t version;
    bool has_name;
};

/* RFC 8701: values that clients throw in so that servers learn to ignore what they don't know. */
static inline bool ja4_is_grease(uint16_t v)
{
    return (v & 0x0f0f) == 0x0a0a && v >> 8 == (v & 0xff);
}

/* Empty. Not a big = {0}: the lists are not touched. */
void ja4_begin(struct ja4 *j);

/* False: the list is full. Numbers of two bytes each; GREASE is left out. */
WIND_MUST_USE bool ja4_add(struct ja4_list *l, uint16_t value);
WIND_MUST_USE bool ja4_add_all(struct ja4_list *l, struct span values);

/* Sorts the ciphers and extensions of j. */
void ja4_text(struct ja4 *j, char ret_text[TLS_JA4_TEXT]);
