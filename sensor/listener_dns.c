#include "sensor/listener_dns.h"

#include <netinet/in.h>
#include <string.h>

#include "common/ip.h"
#include "sensor/dns.h"

#define PORT_DNS   53
#define PORT_MDNS  5353
#define PORT_LLMNR 5355
#define CLASS_IN   1

bool listener_dns_is_port(const struct flow_key *key)
{
    static const uint16_t ports[] = {PORT_DNS, PORT_MDNS, PORT_LLMNR};

    if (key->proto != IPPROTO_UDP && key->proto != IPPROTO_TCP)
        return false;
    for (size_t i = 0; i < WIND_ARRAY_SIZE(ports); i++)
        if (key->sport == ports[i] || key->dport == ports[i])
            return true;
    return false;
}

static bool is_local_port(const struct flow_key *key)
{
    return key->sport == PORT_MDNS || key->sport == PORT_LLMNR;
}

static bool is_group(const uint8_t a[16])
{
    return a[0] == 0xff || (ip_is_v4(a) && a[12] >= 224);
}

/* ---------------------------------------------------------------- the fact */

/* A fact in the making: its items stand in l->fact from sizeof(struct fact_dns) on. */
struct draft {
    struct fact_dns head;
    size_t len;
    char first[DNS_NAME_TEXT]; /* the name of its first item */
};

static void put_item(struct listener_dns *l, struct draft *d, const struct dns_reader *r,
                     const struct dns_item *item)
{
    struct fact_dns_item f = {.ttl = item->ttl, .type = item->type, .section = item->section};
    char text[DNS_DATA_TEXT];
    uint8_t address[16];
    const void *data = text;
    const bool is_first = d->head.n_items == 0;

    if (item->section != DNS_QUESTION && dns_address(item, address)) {
        data = address;
        f.data_len = sizeof(address);
    } else if (item->section != DNS_QUESTION) {
        f.data_len = (uint16_t)dns_data_text(r, item, text, sizeof(text));
    }
    if (is_first)
        memcpy(d->first, item->name, item->name_len + 1);
    if (is_first || strcmp(d->first, item->name) != 0)
        f.name_len = (uint8_t)item->name_len;
    if (d->head.n_items == UINT8_MAX ||
        d->len + sizeof(f) + f.name_len + f.data_len > sizeof(l->fact)) {
        d->head.is_cut = 1;
        return;
    }
    memcpy(l->fact + d->len, &f, sizeof(f));
    memcpy(l->fact + d->len + sizeof(f), item->name, f.name_len);
    memcpy(l->fact + d->len + sizeof(f) + f.name_len, data, f.data_len);
    d->len += sizeof(f) + f.name_len + f.data_len;
    d->head.n_items++;
}

/* Is this fact the question that l->fact answers? */
static bool is_question_of(const struct listener_dns *l, const struct draft *d, const uint8_t *p,
                           size_t n)
{
    struct fact_dns head;
    struct fact_dns_item a, b;
    const size_t at = sizeof(head);

    if (n < at + sizeof(a) || d->head.n_items == 0)
        return false;
    memcpy(&head, p, sizeof(head));
    memcpy(&a, p + at, sizeof(a));
    memcpy(&b, l->fact + at, sizeof(b));
    return head.id == d->head.id && (head.flags & DNS_FLAG_QR) == 0 && a.type == b.type &&
           b.section == DNS_QUESTION && a.name_len == b.name_len &&
           n >= at + sizeof(a) + a.name_len &&
           memcmp(p + at + sizeof(a), l->fact + at + sizeof(b), a.name_len) == 0;
}

/* Most often it is the only one that is open, and what was heard last. */
static bool withdraw_newest(struct listener_dns *l, struct facts *facts, const struct draft *d)
{
    size_t at = 0, next = 0;
    const size_t len = fact_newest(facts, l->known, sizeof(l->known), &at);
    struct record_fact fact;
    const uint8_t *const p = fact_next(l->known, len, &next, &fact);

    if (p == NULL || fact.type != FACT_DNS || !is_question_of(l, d, p, fact.len))
        return false;
    fact_withdraw(facts, at);
    *fact_open(facts) = 0;
    return true;
}

static void withdraw_question(struct listener_dns *l, struct facts *facts, const struct draft *d)
{
    if (*fact_open(facts) == 0 || (*fact_open(facts) == 1 && withdraw_newest(l, facts, d)))
        return;
    const size_t len = fact_copy(facts, l->known);
    struct record_fact fact;
    const uint8_t *p;

    for (size_t at = 0, next = 0; (p = fact_next(l->known, len, &next, &fact)) != NULL; at = next)
        if (fact.type == FACT_DNS && is_question_of(l, d, p, fact.len)) {
            fact_withdraw(facts, at);
            --*fact_open(facts);
        }
}

/* ---------------------------------------------------------------- the news */

static void tell(struct listener_dns *l)
{
    if (l->named.n > 0)
        l->conf->named(l->conf->arg, &l->named);
    l->named.n = 0;
}

static void name_for(struct listener_dns *l, const char *name)
{
    char lower[RECORD_NAME_MAX];
    size_t n = 0;

    for (; name[n] != '\0' && n < sizeof(lower) - 1; n++)
        lower[n] = (char)(name[n] >= 'A' && name[n] <= 'Z' ? name[n] | 0x20 : name[n]);
    lower[n] = '\0';
    if (strcmp(lower, l->named.name) != 0)
        tell(l);
    memcpy(l->named.name, lower, n + 1);
}

static void note_address(struct listener_dns *l, const char *name, const struct dns_item *item)
{
    struct named_address a = {.ttl = item->ttl};

    if (item->class != CLASS_IN || !dns_address(item, a.address))
        return;
    name_for(l, name); /* may tell, and begin anew */
    l->named.address[l->named.n++] = a;
    if (l->named.n == NAMED_ADDRESSES_MAX)
        tell(l);
}

/*
 * Whom to believe: who answers from where a question was sent to; in the local protocols, where
 * nobody need have asked, everybody.
 */
static bool is_believed(const struct packet_view *v, unsigned dir, const struct dns_header *h)
{
    return (h->flags & DNS_FLAG_QR) != 0 && (h->flags & 15) == 0 &&
           (dir == 1 || is_local_port(&v->key));
}

/* ---------------------------------------------------------------- messages */

static bool is_told(const struct dns_item *item, const struct packet_view *v)
{
    return item->section == DNS_ANSWER ||
           (item->section == DNS_ADDITIONAL && is_local_port(&v->key));
}

static void begin_news(struct listener_dns *l, const struct packet_view *v)
{
    l->named.n = 0;
    l->named.name[0] = '\0';
    memcpy(l->named.client, v->key.dst, sizeof(l->named.client));
    if (is_group(v->key.dst))
        memset(l->named.client, 0, sizeof(l->named.client));
}

bool listener_dns_message(struct listener_dns *l, struct facts **facts, const struct packet_view *v,
                          unsigned dir, struct span message, size_t wire_len)
{
    const bool is_whole = message.left == wire_len;
    struct dns_reader r;
    struct dns_header h;
    struct dns_item item;
    struct draft d; /* not zeroed: a name's room is a kilobyte */
    int outcome = dns_begin(&r, message, wire_len, &h);
    size_t items = 0;

    if (outcome < 0) {
        counters_add(l->conf->counters, COUNTER_facts_bad_dns, is_whole);
        return false;
    }
    const bool is_believable = is_believed(v, dir, &h);
    d.head = (struct fact_dns){.id = h.id, .flags = h.flags, .rcode = dns_rcode(h.flags, 0)};
    d.len = sizeof(d.head);
    d.first[0] = '\0';
    begin_news(l, v);
    while (items++ < LISTENER_ITEMS && (outcome = dns_next(&r, &item)) == 0) {
        if (item.type == DNS_TYPE_OPT && item.section == DNS_ADDITIONAL) {
            d.head.rcode = dns_rcode(h.flags, item.ttl);
            continue;
        }
        put_item(l, &d, &r, &item);
        if (is_believable && is_told(&item, v))
            note_address(l, h.count[DNS_QUESTION] == 1 ? d.first : item.name, &item);
    }
    tell(l);
    counters_add(l->conf->counters, COUNTER_facts_dns_messages, 1);
    counters_add(l->conf->counters, COUNTER_facts_bad_dns, outcome < 0 && is_whole);
    if (outcome != DNS_END)
        d.head.is_cut = 1;
    memcpy(l->fact, &d.head, sizeof(d.head));
    if (!fact_is_full(*facts)) {
        if ((h.flags & DNS_FLAG_QR) != 0 && *facts != NULL)
            withdraw_question(l, *facts, &d);
        if (fact_add(l->facts, facts, FACT_DNS, l->fact, d.len))
            *fact_open(*facts) = (uint16_t)(*fact_open(*facts) + ((h.flags & DNS_FLAG_QR) == 0));
    }
    return outcome >= 0 || d.head.n_items > 0;
}
