/* What the records of a DNS message say, and what their numbers are called. */
#include <stdio.h>

#include "common/ip.h"
#include "sensor/dns.h"

/* ---------------------------------------------------------------- names of numbers */

const char *dns_type_name(uint16_t type, char ret_word[DNS_WORD])
{
    switch (type) {
#define TYPE(number, name)                                                                         \
    case (number):                                                                                 \
        return #name;
#define RCODE(number, name)
#include "sensor/dns_names.def"
#undef RCODE
#undef TYPE
    default:
        (void)snprintf(ret_word, DNS_WORD, "TYPE%u", type);
        return ret_word;
    }
}

const char *dns_rcode_name(uint16_t rcode, char ret_word[DNS_WORD])
{
    switch (rcode) {
#define TYPE(number, name)
#define RCODE(number, name)                                                                        \
    case (number):                                                                                 \
        return #name;
#include "sensor/dns_names.def"
#undef RCODE
#undef TYPE
    default:
        (void)snprintf(ret_word, DNS_WORD, "RCODE%u", rcode);
        return ret_word;
    }
}

/* ---------------------------------------------------------------- text */

struct text {
    char *at;
    size_t len, size; /* len < size */
};

static void put(struct text *t, const char *s, size_t n)
{
    if (n > t->size - 1 - t->len)
        n = t->size - 1 - t->len;
    memcpy(t->at + t->len, s, n);
    t->len += n;
}

static void put_str(struct text *t, const char *s)
{
    put(t, s, strlen(s));
}

static void put_u32(struct text *t, uint32_t v)
{
    char number[12];

    put(t, number, (size_t)snprintf(number, sizeof(number), "%u", v));
}

static void put_printable(struct text *t, const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        put(t, p[i] >= ' ' && p[i] <= '~' ? (const char *)&p[i] : "?", 1);
}

static void put_hex(struct text *t, struct span s)
{
    static const char digit[] = "0123456789abcdef";

    for (size_t i = 0; i < s.left; i++)
        put(t, (const char[]){digit[s.at[i] >> 4], digit[s.at[i] & 15]}, 2);
}

/* Each returns false where the data is not what its type says. */

static bool put_name(struct text *t, const struct dns_reader *r, struct span *s)
{
    char name[DNS_NAME_TEXT];
    size_t len = 0;
    bool is_cut = false;

    if (dns_read_name(r->message, s, name, &len, &is_cut) < 0)
        return false;
    put(t, name, len);
    return true;
}

static bool put_u16(struct text *t, struct span *s)
{
    const uint8_t *const p = span_take(s, 2);

    if (p != NULL)
        put_u32(t, load_be16(p));
    return p != NULL;
}

/* TXT: one or more strings of up to 255 bytes. */
static bool put_strings(struct text *t, struct span s)
{
    const size_t start = t->len;

    while (s.left > 0) {
        const uint8_t n = *s.at;
        const uint8_t *const p = span_take(&s, n + 1u);
        if (p == NULL)
            return false;
        if (t->len > start)
            put(t, " ", 1);
        put_printable(t, p + 1, n);
    }
    return true;
}

static bool put_soa(struct text *t, const struct dns_reader *r, struct span s)
{
    if (!put_name(t, r, &s))
        return false;
    put(t, " ", 1);
    if (!put_name(t, r, &s))
        return false;
    for (int i = 0; i < 5; i++) {
        const uint8_t *const p = span_take(&s, 4);
        if (p == NULL)
            return false;
        put(t, " ", 1);
        put_u32(t, load_be32(p));
    }
    return true;
}

static bool put_srv(struct text *t, const struct dns_reader *r, struct span s)
{
    for (int i = 0; i < 3; i++) {
        if (!put_u16(t, &s))
            return false;
        put(t, " ", 1);
    }
    return put_name(t, r, &s);
}

static bool put_caa(struct text *t, struct span s)
{
    const uint8_t *const p = span_take(&s, 2);
    const uint8_t *const tag = p == NULL ? NULL : span_take(&s, p[1]);

    if (tag == NULL)
        return false;
    put_u32(t, p[0]);
    put(t, " ", 1);
    put_printable(t, tag, p[1]);
    put(t, " ", 1);
    put_printable(t, s.at, s.left);
    return true;
}

/* ---------------------------------------------------------------- SVCB and HTTPS (RFC 9460) */

static void put_addresses(struct text *t, struct span s, size_t each)
{
    uint8_t address[16];
    char text[IP_TEXT];
    const uint8_t *p;

    for (bool more = false; (p = span_take(&s, each)) != NULL; more = true) {
        if (more)
            put(t, ",", 1);
        if (each == 4)
            ip_from_v4(p, address);
        else
            memcpy(address, p, 16);
        put(t, text, ip_format(address, text));
    }
}

static void put_alpn(struct text *t, struct span s)
{
    for (bool more = false; s.left > 0; more = true) {
        const uint8_t n = *s.at;
        const uint8_t *const p = span_take(&s, n + 1u);
        if (p == NULL)
            return;
        if (more)
            put(t, ",", 1);
        put_printable(t, p + 1, n);
    }
}

static void put_svc_value(struct text *t, uint16_t key, struct span s)
{
    if (key == 1)
        put_alpn(t, s);
    else if (key == 3)
        (void)put_u16(t, &s);
    else if (key == 4)
        put_addresses(t, s, 4);
    else if (key == 6)
        put_addresses(t, s, 16);
    else
        put_hex(t, s);
}

static bool put_svcb(struct text *t, const struct dns_reader *r, struct span s)
{
    static const char *const known[] = {"mandatory", "alpn", "no-default-alpn", "port",
                                        "ipv4hint",  "ech",  "ipv6hint"};

    if (!put_u16(t, &s))
        return false;
    put(t, " ", 1);
    if (!put_name(t, r, &s))
        return false;
    while (s.left > 0) {
        const uint8_t *const p = span_take(&s, 4);
        const uint8_t *const value = p == NULL ? NULL : span_take(&s, load_be16(p + 2));
        if (value == NULL)
            return false;
        const uint16_t key = load_be16(p);
        put(t, " ", 1);
        put_str(t, key < WIND_ARRAY_SIZE(known) ? known[key] : "key");
        if (key >= WIND_ARRAY_SIZE(known))
            put_u32(t, key);
        if (load_be16(p + 2) > 0) {
            put(t, "=", 1);
            put_svc_value(t, key, (struct span){value, load_be16(p + 2)});
        }
    }
    return true;
}

/* ---------------------------------------------------------------- records */

static bool put_data(struct text *t, const struct dns_reader *r, const struct dns_item *item)
{
    struct span s = item->data;
    uint8_t address[16];
    char text[IP_TEXT];

    switch (item->type) {
    case DNS_TYPE_A:
    case DNS_TYPE_AAAA:
        if (!dns_address(item, address))
            return false;
        put(t, text, ip_format(address, text));
        return true;
    case DNS_TYPE_NS:
    case DNS_TYPE_CNAME:
    case DNS_TYPE_PTR:
    case DNS_TYPE_DNAME:
        return put_name(t, r, &s);
    case DNS_TYPE_MX:
        return span_take(&s, 2) != NULL && put_name(t, r, &s);
    case DNS_TYPE_TXT:
    case DNS_TYPE_SPF:
        return put_strings(t, s);
    case DNS_TYPE_SOA:
        return put_soa(t, r, s);
    case DNS_TYPE_SRV:
        return put_srv(t, r, s);
    case DNS_TYPE_CAA:
        return put_caa(t, s);
    case DNS_TYPE_SVCB:
    case DNS_TYPE_HTTPS:
        return put_svcb(t, r, s);
    default:
        return false;
    }
}

size_t dns_data_text(const struct dns_reader *r, const struct dns_item *item, char *ret_text,
                     size_t size)
{
    struct text t = {.at = ret_text, .size = size};

    if (!put_data(&t, r, item)) {
        t.len = 0;
        put_str(&t, "\\# ");
        put_u32(&t, (uint32_t)item->data.left);
        put(&t, " ", item->data.left > 0);
        put_hex(&t, item->data);
    }
    ret_text[t.len] = '\0';
    return t.len;
}
