#include "sensor/dns.h"

#include <errno.h>
#include <stdio.h>

#include "common/ip.h"

#define LABEL_MAX      63
#define WIRE_NAME_MAX  255
#define POINTER        0xc0
#define QUESTION_BYTES 5 /* the least: the root, type, class */
#define RECORD_BYTES   11
#define CLASS_MASK     0x7fff /* mDNS: answer to me alone, or forget what you knew */

/* ---------------------------------------------------------------- names */

struct name_text {
    char *at;
    size_t len;
    bool is_cut;
};

/* A character or an escape; whole or not at all, and nothing after what did not fit. */
static void add(struct name_text *t, const char *s, size_t n)
{
    if (t->is_cut || t->len + n >= DNS_NAME_TEXT) {
        t->is_cut = true;
        return;
    }
    memcpy(t->at + t->len, s, n);
    t->len += n;
}

static bool is_plain(uint8_t c)
{
    return c > ' ' && c <= '~' && c != '.' && c != '\\';
}

/* Whether any of 8 bytes may not be plain: 8 comparisons at a time. May say yes for nothing. */
static bool may_be_odd(uint64_t v)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), highs = ones << 7;
    const uint64_t dot = v ^ (ones * '.'), slash = v ^ (ones * '\\'), del = v ^ (ones * 0x7f);

    return (((v - ones * ('!')) | (dot - ones) | (slash - ones) | (del - ones) | v) & highs) != 0;
}

/* Long labels are looked at 8 bytes at a time, some of them twice. */
static bool is_plain_label(const uint8_t *p, size_t n)
{
    bool is_odd = false;

    if (n >= 8) {
        for (size_t i = 0; i + 8 <= n; i += 8)
            is_odd |= may_be_odd(load_64(p + i, false));
        if (!is_odd && !may_be_odd(load_64(p + n - 8, false)))
            return true;
        is_odd = false;
    }
    for (size_t i = 0; i < n; i++)
        is_odd |= !is_plain(p[i]);
    return !is_odd;
}

/* RFC 1035 5.1: a dot or backslash within a label is escaped, and what nobody can read. */
static void add_label(struct name_text *t, const uint8_t *p, size_t n)
{
    if (t->len > 0)
        add(t, ".", 1);
    if (is_plain_label(p, n) && t->len + n < DNS_NAME_TEXT) { /* nearly all of them */
        add(t, (const char *)p, n);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        const char escape[4] = {'\\', (char)('0' + p[i] / 100), (char)('0' + p[i] / 10 % 10),
                                (char)('0' + p[i] % 10)};

        if (p[i] == '.' || p[i] == '\\')
            add(t, (const char[]){'\\', (char)p[i]}, 2);
        else if (is_plain(p[i]))
            add(t, (const char *)&p[i], 1);
        else
            add(t, escape, sizeof(escape));
    }
}

int dns_read_name(struct span message, struct span *at, char ret_text[DNS_NAME_TEXT],
                  size_t *ret_len, bool *ret_cut)
{
    struct name_text text = {.at = ret_text};
    struct span s = *at;
    size_t wire = 0;
    int jumps = 0;

    for (;;) {
        const uint8_t *const start = s.at, *const p = span_take(&s, 1);
        if (p == NULL)
            return -EBADMSG;
        if ((*p & POINTER) == POINTER) {
            const uint8_t *const low = span_take(&s, 1);
            if (low == NULL)
                return -EBADMSG;
            const size_t to = (size_t)(*p & ~POINTER) << 8 | *low;
            if (jumps == 0)
                *at = s;
            /* Only backwards: what was read already can't lead here again. */
            if (++jumps > DNS_JUMPS_MAX || to >= (size_t)(start - message.at))
                return -EBADMSG;
            s = (struct span){message.at + to, (size_t)(start - message.at) - to};
            continue;
        }
        if (*p == 0)
            break;
        const uint8_t *const label = span_take(&s, *p);
        wire += *p + 1u;
        if (*p > LABEL_MAX || label == NULL || wire >= WIRE_NAME_MAX)
            return -EBADMSG;
        add_label(&text, label, *p);
    }
    if (jumps == 0)
        *at = s;
    if (wire == 0)
        add(&text, ".", 1);
    ret_text[text.len] = '\0';
    *ret_len = text.len;
    *ret_cut = text.is_cut;
    return 0;
}

/* ---------------------------------------------------------------- messages */

int dns_begin(struct dns_reader *r, struct span message, size_t wire_len,
              struct dns_header *ret_header)
{
    struct span s = message;
    const uint8_t *const h = span_take(&s, DNS_HEADER_BYTES);
    size_t least = 0;

    if (h == NULL)
        return -EBADMSG;
    *r = (struct dns_reader){.message = message, .rest = s};
    ret_header->id = load_be16(h);
    ret_header->flags = load_be16(h + 2);
    for (size_t i = 0; i < DNS_SECTIONS; i++) {
        r->left[i] = ret_header->count[i] = load_be16(h + 4 + 2 * i);
        least += (size_t)r->left[i] * (i == DNS_QUESTION ? QUESTION_BYTES : RECORD_BYTES);
    }
    return least > wire_len - DNS_HEADER_BYTES ? -EBADMSG : 0;
}

static int read_record(struct span *s, struct dns_item *item)
{
    const uint8_t *const p = span_take(s, 10);
    const uint8_t *const data = p == NULL ? NULL : span_take(s, load_be16(p + 8));

    if (data == NULL)
        return -EBADMSG;
    item->type = load_be16(p);
    item->class = load_be16(p + 2);
    item->ttl = load_be32(p + 4);
    item->data = (struct span){data, load_be16(p + 8)};
    return 0;
}

static int read_question(struct span *s, struct dns_item *item)
{
    const uint8_t *const p = span_take(s, 4);

    if (p == NULL)
        return -EBADMSG;
    item->type = load_be16(p);
    item->class = load_be16(p + 2);
    item->ttl = 0;
    item->data = (struct span){s->at, 0};
    return 0;
}

int dns_next(struct dns_reader *r, struct dns_item *ret_item)
{
    unsigned section = 0;

    while (section < DNS_SECTIONS && r->left[section] == 0)
        section++;
    if (section == DNS_SECTIONS)
        return DNS_END;
    r->left[section]--;
    ret_item->section = (uint8_t)section;
    int e =
        dns_read_name(r->message, &r->rest, ret_item->name, &ret_item->name_len, &ret_item->is_cut);
    if (e == 0)
        e = section == DNS_QUESTION ? read_question(&r->rest, ret_item)
                                    : read_record(&r->rest, ret_item);
    if (e < 0) {
        memset(r->left, 0, sizeof(r->left)); /* no more of it can be found */
        return e;
    }
    if (ret_item->type != DNS_TYPE_OPT)
        ret_item->class &= CLASS_MASK;
    return 0;
}

bool dns_address(const struct dns_item *item, uint8_t ret_address[16])
{
    if (item->type == DNS_TYPE_A && item->data.left == 4) {
        ip_from_v4(item->data.at, ret_address);
        return true;
    }
    if (item->type != DNS_TYPE_AAAA || item->data.left != 16)
        return false;
    memcpy(ret_address, item->data.at, 16);
    return true;
}

uint16_t dns_rcode(uint16_t flags, uint32_t opt_ttl)
{
    return (uint16_t)((flags & 15) | (opt_ttl >> 24) << 4);
}
