/*
 * tls_hello.h - what TLS says in the clear: the first message of each side.
 *
 * Why      Name, protocols and versions that a client asks for, and JA4, the fingerprint of how
 *          it asks (FoxIO's published format); what the server chose of it.
 * Owns     Nothing. A hello's texts are copies.
 * Threads  Any: there is no state.
 * Bounds   Reads only the bytes given. A hello of at most TLS_HELLO_MAX bytes; a name or a list
 *          that does not fit is cut, or left out of the answer, as its member says.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base.h"

#define TLS_HELLO_MAX    8192
#define TLS_NAME_TEXT    256
#define TLS_ALPN_BYTES   128
#define TLS_VERSIONS_MAX 8
#define TLS_JA4_TEXT     37
#define TLS_WORD         16

#define TLS_HELLO_MORE 1 /* good so far, but not all of it */

struct tls_hello {
    char server_name[TLS_NAME_TEXT]; /* SNI as sent, printable; "" = none */
    char ja4[TLS_JA4_TEXT];
    uint8_t alpn[TLS_ALPN_BYTES]; /* length, name, length, name, ...: as many as fit */
    uint8_t alpn_len;
    uint8_t n_versions;
    uint16_t versions[TLS_VERSIONS_MAX]; /* as offered, without GREASE; first ones */
    uint16_t n_ciphers, n_extensions;    /* without GREASE */
};

struct tls_choice {
    uint16_t version, cipher;
    uint8_t alpn[TLS_ALPN_BYTES]; /* as above: one name, or none (TLS 1.3 hides it) */
    uint8_t alpn_len;
};

/* Could a TCP stream that begins like this be TLS? Wants 3 bytes. */
static inline bool tls_is_handshake(const uint8_t *p, size_t n)
{
    return n >= 3 && p[0] == 22 && p[1] == 3;
}

/*
 * `stream`: what a side said first, TLS records. Returns 0, TLS_HELLO_MORE, or -EBADMSG: something
 * else, or too long.
 */
WIND_MUST_USE int tls_hello_read(const uint8_t *stream, size_t len, struct tls_hello *ret_hello);
WIND_MUST_USE int tls_choice_read(const uint8_t *stream, size_t len, struct tls_choice *ret_choice);

/* "TLS 1.3" as Suricata writes it; "0x7f1c" for those that it has no name for. */
const char *tls_version_name(uint16_t version, char ret_word[TLS_WORD]);
