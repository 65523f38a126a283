/*
 * tls_builder.h - make the first messages of TLS byte by byte, for tests.
 *
 * Lists are texts of hexadecimal numbers, as in descriptions of JA4: "1301,1302". An extension is
 * written with a body of its own where the builder knows one, else empty.
 */
#pragma once

#include <stdio.h>

#include "support/pcap_builder.h"

struct hello_parts {
    unsigned version;        /* legacy_version */
    const char *ciphers;     /* "1301,1302" */
    const char *extensions;  /* NULL: not even an empty list */
    const char *signatures;  /* of extension 000d */
    const char *versions;    /* of extension 002b */
    const char *name;        /* of extension 0000 */
    const char *const *alpn; /* of extension 0010, NULL at the end */
};

/* The length in front of what `from` .. the end holds, in `n` bytes that were left for it. */
static inline void put_length(struct bytes *b, size_t from, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        b->data[from - 1 - i] = (uint8_t)((b->len - from) >> 8 * i);
}

static inline size_t leave_length(struct bytes *b, unsigned n)
{
    put_number(b, 0, n, true);
    return b->len;
}

static inline void put_hex_list(struct bytes *b, const char *list, void (*each)(unsigned, void *),
                                void *arg)
{
    unsigned v = 0;
    int n = 0;

    for (const char *at = list; at != NULL && sscanf(at, "%4x%n", &v, &n) == 1;
         at += n + (at[n] == ',')) {
        if (each != NULL)
            each(v, arg);
        else
            put_number(b, v, 2, true);
    }
}

struct extension_writer {
    struct bytes *b;
    const struct hello_parts *parts;
};

static inline void put_extension(unsigned type, void *arg)
{
    const struct extension_writer *w = arg;
    struct bytes *b = w->b;

    put_number(b, type, 2, true);
    const size_t body = leave_length(b, 2);
    if (type == 0) {
        const size_t list = leave_length(b, 2);
        put8(b, 0);
        const size_t name = leave_length(b, 2);
        put(b, w->parts->name, strlen(w->parts->name));
        put_length(b, name, 2);
        put_length(b, list, 2);
    } else if (type == 13 || type == 43) {
        const size_t list = leave_length(b, type == 13 ? 2 : 1);
        put_hex_list(b, type == 13 ? w->parts->signatures : w->parts->versions, NULL, NULL);
        put_length(b, list, type == 13 ? 2 : 1);
    } else if (type == 16) {
        const size_t list = leave_length(b, 2);
        for (const char *const *a = w->parts->alpn; *a != NULL; a++) {
            put8(b, (unsigned)strlen(*a));
            put(b, *a, strlen(*a));
        }
        put_length(b, list, 2);
    }
    put_length(b, body, 2);
}

/* The handshake message of a ClientHello, without a record around it. */
static inline void put_client_hello(struct bytes *b, const struct hello_parts *parts)
{
    struct extension_writer w = {b, parts};

    put8(b, 1);
    const size_t body = leave_length(b, 3);
    put_number(b, parts->version, 2, true);
    put(b, "0123456789abcdef0123456789abcdef", 32);
    put8(b, 0);
    const size_t ciphers = leave_length(b, 2);
    put_hex_list(b, parts->ciphers, NULL, NULL);
    put_length(b, ciphers, 2);
    put(b, "\1\0", 2);
    if (parts->extensions != NULL) {
        const size_t list = leave_length(b, 2);
        put_hex_list(b, parts->extensions, put_extension, &w);
        put_length(b, list, 2);
    }
    put_length(b, body, 3);
}

/* `n` bytes in records of at most `piece` bytes. */
static inline void put_tls_records(struct bytes *b, const uint8_t *p, size_t n, size_t piece)
{
    for (size_t at = 0; at < n; at += piece) {
        const size_t len = n - at < piece ? n - at : piece;

        put(b, "\x16\x03\x01", 3);
        put_number(b, len, 2, true);
        put(b, p + at, len);
    }
}

/* A whole ClientHello in one record. */
static inline void put_hello_record(struct bytes *b, const struct hello_parts *parts)
{
    struct bytes message = {.data = NULL};

    put_client_hello(&message, parts);
    put_tls_records(b, message.data, message.len, 16384);
    bytes_done(&message);
}

/* The example of JA4's description: t13d1516h2_8daaf6152771_e5627efa2ab1. */
static inline const struct hello_parts *hello_of_chrome(void)
{
    static const char *const alpn[] = {"h2", "http/1.1", NULL};
    static const struct hello_parts parts = {
        .version = 0x0303,
        .ciphers =
            "1a1a,1301,1302,1303,c02b,c02f,c02c,c030,cca9,cca8,c013,c014,009c,009d,002f,0035",
        .extensions = "2a2a,001b,0000,0033,0010,4469,0017,002d,000d,0005,0023,0012,002b,ff01,000b,"
                      "000a,0015,8a8a",
        .signatures = "0403,0804,0401,0503,0805,0501,0806,0601",
        .versions = "5a5a,0304,0303",
        .name = "www.wind-lab.example",
        .alpn = alpn,
    };

    return &parts;
}
