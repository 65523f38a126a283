/*
 * dns.h - read a DNS message (RFC 1035): its questions and records, one after another.
 *
 * Why      Who asked for which name, and which addresses it got: the best witness of what a
 *          connection is for. mDNS and LLMNR are the same bytes on other ports.
 * Owns     Nothing. A reader borrows the message.
 * Threads  Any: there is no state.
 * Bounds   Reads only [data, data + len). Pointers in names only lead backwards, DNS_JUMPS_MAX of
 *          them; a name is at most 255 bytes on the wire. A text that does not fit is cut.
 *
 *     dns_begin -> dns_next, until it returns DNS_END or an error: what came before is good
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base.h"
#include "sensor/span.h"

#define DNS_HEADER_BYTES 12
#define DNS_JUMPS_MAX    16
#define DNS_NAME_TEXT    256 /* with its NUL; only names full of escapes are cut */
#define DNS_DATA_TEXT    256 /* likewise */
#define DNS_WORD         12  /* "TYPE65535" */

enum dns_section { DNS_QUESTION, DNS_ANSWER, DNS_AUTHORITY, DNS_ADDITIONAL, DNS_SECTIONS };

enum {
    DNS_FLAG_QR = 0x8000, /* an answer */
    DNS_FLAG_AA = 0x0400,
    DNS_FLAG_TC = 0x0200,
    DNS_FLAG_RD = 0x0100,
    DNS_FLAG_RA = 0x0080
};

enum {
    DNS_TYPE_A = 1,
    DNS_TYPE_NS = 2,
    DNS_TYPE_CNAME = 5,
    DNS_TYPE_SOA = 6,
    DNS_TYPE_PTR = 12,
    DNS_TYPE_MX = 15,
    DNS_TYPE_TXT = 16,
    DNS_TYPE_AAAA = 28,
    DNS_TYPE_SRV = 33,
    DNS_TYPE_DNAME = 39,
    DNS_TYPE_OPT = 41,
    DNS_TYPE_SVCB = 64,
    DNS_TYPE_HTTPS = 65,
    DNS_TYPE_SPF = 99,
    DNS_TYPE_CAA = 257
};

struct dns_header {
    uint16_t id, flags;
    uint16_t count[DNS_SECTIONS];
};

struct dns_reader {
    struct span message; /* all of it: names point back into it */
    struct span rest;
    uint16_t left[DNS_SECTIONS];
};

struct dns_item {
    uint8_t section; /* enum dns_section */
    bool is_cut;     /* the name did not fit */
    uint16_t type;
    uint16_t class;   /* without mDNS's topmost bit; OPT: the sender's buffer size */
    uint32_t ttl;     /* questions: 0; OPT: extended rcode, version and flags */
    struct span data; /* questions: empty */
    size_t name_len;
    char name[DNS_NAME_TEXT]; /* as sent, without the final dot; the root is "." */
};

#define DNS_END 1

/*
 * `wire_len`: the whole message's, of which the capture may have kept less. Returns 0, or -EBADMSG:
 * no header, or counts that the message has no room for.
 */
WIND_MUST_USE int dns_begin(struct dns_reader *r, struct span message, size_t wire_len,
                            struct dns_header *ret_header);

/* The next question or record. Returns 0, DNS_END, or -EBADMSG: it makes no sense, or is not all
 * there. */
WIND_MUST_USE int dns_next(struct dns_reader *r, struct dns_item *ret_item);

/*
 * What a record says, as people write it: "192.0.2.1", "mail.example" (MX, without its preference,
 * as Suricata has it), "0 5 5269 xmpp.example" (SRV), and as RFC 3597 has it where we don't know.
 * Printable ASCII. Returns its length, below `size`.
 */
size_t dns_data_text(const struct dns_reader *r, const struct dns_item *item, char *ret_text,
                     size_t size);

/* A or AAAA: its address, IPv4 mapped. */
bool dns_address(const struct dns_item *item, uint8_t ret_address[16]);

/*
 * A message that starts at data, with what EDNS adds to it. `dns_rcode(flags, 0)` where there is
 * no OPT record.
 */
uint16_t dns_rcode(uint16_t flags, uint32_t opt_ttl);

/* "AAAA", "TYPE4711"; "NXDOMAIN", "RCODE99". */
const char *dns_type_name(uint16_t type, char ret_word[DNS_WORD]);
const char *dns_rcode_name(uint16_t rcode, char ret_word[DNS_WORD]);

/* The name at *at, as text; *at is moved behind it. Returns 0 or -EBADMSG. For dns_text.c. */
WIND_MUST_USE int dns_read_name(struct span message, struct span *at, char ret_text[DNS_NAME_TEXT],
                                size_t *ret_len, bool *ret_cut);
