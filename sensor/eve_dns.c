#include "sensor/eve_dns.h"

#include <stdio.h>
#include <string.h>

#include "common/record.h"
#include "sensor/dns.h"
#include "sensor/fact_store.h"

#define ADDRESS_BYTES 16
#define TEXT_MAX      255         /* longer ones come from nobody honest */
#define OUT_MAX       (24u << 10) /* of one flow: names are repeated, so little can say much */

struct writer {
    struct jsonw *j;
    size_t limit; /* of the buf: from there on nothing is begun */
    bool is_cut;
};

/* One item, pointing into its fact. */
struct item {
    struct fact_dns_item head;
    struct span name, data;
};

/* A message, and where its items stand. */
struct message {
    struct fact_dns head;
    struct span items;
    struct span first_name;
};

static bool is_address(const struct fact_dns_item *i)
{
    return (i->type == DNS_TYPE_A || i->type == DNS_TYPE_AAAA) && i->data_len == ADDRESS_BYTES;
}

/* False: no more, or what is there makes no sense. */
static bool next_item(struct span *s, const struct message *m, struct item *ret_item)
{
    const uint8_t *p = span_take(s, sizeof(ret_item->head));

    if (p == NULL)
        return false;
    memcpy(&ret_item->head, p, sizeof(ret_item->head));
    p = span_take(s, (size_t)ret_item->head.name_len + ret_item->head.data_len);
    if (p == NULL)
        return false;
    ret_item->name =
        ret_item->head.name_len > 0 ? (struct span){p, ret_item->head.name_len} : m->first_name;
    ret_item->data = (struct span){p + ret_item->head.name_len, ret_item->head.data_len};
    return true;
}

static bool open_message(const uint8_t *fact, size_t len, struct message *ret_message)
{
    struct span s = {fact, len};
    struct item first;
    const uint8_t *const p = span_take(&s, sizeof(ret_message->head));

    if (p == NULL)
        return false;
    *ret_message = (struct message){.items = s};
    memcpy(&ret_message->head, p, sizeof(ret_message->head));
    if (next_item(&s, ret_message, &first))
        ret_message->first_name = first.name;
    return true;
}

bool eve_dns_check(const uint8_t *fact, size_t len)
{
    struct message m;
    struct item i;

    if (!open_message(fact, len, &m))
        return false;
    struct span s = m.items;
    for (unsigned n = 0; n < m.head.n_items; n++)
        if (!next_item(&s, &m, &i) || i.head.section >= DNS_SECTIONS)
            return false;
    return s.left == 0;
}

/* ---------------------------------------------------------------- pieces */

static void put_span(struct jsonw *j, const char *key, struct span s)
{
    jsonw_strn(j, key, s.left > 0 ? (const char *)s.at : "", s.left < TEXT_MAX ? s.left : TEXT_MAX);
}

static bool has_room(struct writer *w)
{
    if (w->j->buf->len >= w->limit)
        w->is_cut = true;
    return !w->is_cut;
}

static void put_data(struct jsonw *j, const char *key, const struct item *i)
{
    if (is_address(&i->head))
        jsonw_ip(j, key, i->data.at);
    else
        put_span(j, key, i->data);
}

static void put_asked(struct jsonw *j, const struct item *i)
{
    char word[DNS_WORD];

    put_span(j, "rrname", i->name);
    jsonw_str(j, "rrtype", dns_type_name(i->head.type, word));
}

/* The items of a section, if there are at least `least` of them. */
static void put_section(struct writer *w, const char *key, const struct message *m,
                        enum dns_section section, unsigned least)
{
    struct jsonw *const j = w->j;
    struct span s = m->items;
    struct item i;
    unsigned n = 0;

    while (next_item(&s, m, &i))
        n += i.head.section == section;
    if (n < least || !has_room(w))
        return;
    jsonw_array(j, key);
    s = m->items;
    while (has_room(w) && next_item(&s, m, &i)) {
        if (i.head.section != section)
            continue;
        jsonw_object(j, NULL);
        put_asked(j, &i);
        if (section != DNS_QUESTION) {
            jsonw_u64(j, "ttl", i.head.ttl);
            put_data(j, "rdata", &i);
        }
        jsonw_end(j);
    }
    jsonw_end(j);
}

static bool has_type_before(const struct message *m, const struct item *until)
{
    struct span s = m->items;
    struct item i;

    while (next_item(&s, m, &i) && i.data.at != until->data.at)
        if (i.head.section == DNS_ANSWER && i.head.type == until->head.type)
            return true;
    return false;
}

/* What the answers say, by type: {"A": ["192.0.2.1"]}. */
static void put_grouped(struct writer *w, const struct message *m)
{
    struct jsonw *const j = w->j;
    struct span s = m->items, same;
    struct item i, k;
    char word[DNS_WORD];
    bool is_open = false;

    while (has_room(w) && next_item(&s, m, &i)) {
        if (i.head.section != DNS_ANSWER || has_type_before(m, &i))
            continue;
        if (!is_open)
            jsonw_object(j, "grouped");
        is_open = true;
        jsonw_array(j, dns_type_name(i.head.type, word));
        same = m->items;
        while (has_room(w) && next_item(&same, m, &k))
            if (k.head.section == DNS_ANSWER && k.head.type == i.head.type)
                put_data(j, NULL, &k);
        jsonw_end(j);
    }
    if (is_open)
        jsonw_end(j);
}

/* ---------------------------------------------------------------- messages */

static void put_message(struct writer *w, const struct message *m)
{
    struct jsonw *const j = w->j;
    static const struct {
        uint16_t bit;
        const char *name;
    } flags[] = {{DNS_FLAG_QR, "qr"},
                 {DNS_FLAG_AA, "aa"},
                 {DNS_FLAG_TC, "tc"},
                 {DNS_FLAG_RD, "rd"},
                 {DNS_FLAG_RA, "ra"}};
    static const char digit[] = "0123456789abcdef";
    char hex[4], word[DNS_WORD];
    size_t digits = sizeof(hex);
    struct span s = m->items;
    struct item first;
    const bool is_answer = (m->head.flags & DNS_FLAG_QR) != 0;

    jsonw_str(j, "type", is_answer ? "answer" : "query");
    jsonw_u64(j, "id", m->head.id);
    for (size_t i = 0; i < sizeof(hex); i++)
        hex[i] = digit[m->head.flags >> (12 - 4 * i) & 15];
    while (digits > 1 && hex[sizeof(hex) - digits] == '0')
        digits--;
    jsonw_strn(j, "flags", hex + sizeof(hex) - digits, digits);
    for (size_t i = 0; i < WIND_ARRAY_SIZE(flags); i++)
        if ((m->head.flags & flags[i].bit) != 0)
            jsonw_bool(j, flags[i].name, true);
    jsonw_u64(j, "opcode", m->head.flags >> 11 & 15);
    if (next_item(&s, m, &first))
        put_asked(j, &first);
    if (is_answer)
        jsonw_str(j, "rcode", dns_rcode_name(m->head.rcode, word));
    put_section(w, "queries", m, DNS_QUESTION, 2);
    put_section(w, "answers", m, DNS_ANSWER, 1);
    put_grouped(w, m);
    put_section(w, "authorities", m, DNS_AUTHORITY, 1);
    put_section(w, "additionals", m, DNS_ADDITIONAL, 1);
    if (m->head.is_cut || w->is_cut)
        jsonw_bool(j, "truncated", true);
}

static bool next_message(const uint8_t *facts, size_t len, size_t *at, struct message *ret_message)
{
    struct record_fact f;
    const uint8_t *p;

    while ((p = fact_next(facts, len, at, &f)) != NULL)
        if (f.type == FACT_DNS)
            return open_message(p, f.len, ret_message);
    return false;
}

void eve_dns_put(struct jsonw *j, const uint8_t *facts, size_t len, bool is_cut)
{
    struct writer w = {.j = j, .limit = j->buf->len + OUT_MAX};
    struct message m, second;
    size_t at = 0, again = 0;

    if (!next_message(facts, len, &at, &m))
        return;
    jsonw_object(j, "dns");
    jsonw_u64(j, "version", 2);
    put_message(&w, &m);
    if (next_message(facts, len, &at, &second)) {
        jsonw_array(j, "transactions");
        while (has_room(&w) && next_message(facts, len, &again, &m)) {
            jsonw_object(j, NULL);
            put_message(&w, &m);
            jsonw_end(j);
        }
        jsonw_end(j);
    }
    if (is_cut || w.is_cut)
        jsonw_bool(j, "more", true);
    jsonw_end(j);
}
