#include "sensor/listener.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "common/ip.h"
#include "common/pool.h"
#include "sensor/listener_dns.h"
#include "sensor/span.h"
#include "sensor/tls_hello.h"

#define SEGMENTS_MAX   64 /* of a beginning: who sends it byte by byte is not listened to */
#define HELLO_TYPE_AT  5  /* behind the record's header */
#define CLIENT_HELLO   1
#define MESSAGE_LENGTH 2 /* in front of DNS over TCP */

/* Bytes of one direction of a TCP flow, in order, until they are whole. */
struct stream {
    uint32_t next_seq;
    uint16_t len, segments;
    uint8_t dir;
    uint8_t data[LISTENER_STREAM];
};

struct listener {
    struct listener_conf conf;
    struct fact_store *facts;
    struct pool *streams;
    struct listener_dns dns;
};

/* ---------------------------------------------------------------- life */

int listener_new(struct listener **ret_listener, const struct listener_conf *conf, struct err *e)
{
    WIND_AUTO(listener) struct listener *l = calloc(1, sizeof(*l));
    if (l == NULL)
        return err_set(e, -ENOMEM, "out of memory");
    l->conf = *conf;
    int r = fact_store_new(&l->facts, conf->memory, conf->counters, e);
    if (r == 0)
        r = pool_new(&l->streams, sizeof(struct stream), conf->streams, e);
    if (r < 0)
        return r;
    l->dns = (struct listener_dns){.conf = &l->conf, .facts = l->facts};
    *ret_listener = WIND_STEAL(l);
    return 0;
}

struct listener *listener_free(struct listener *l)
{
    if (l != NULL) {
        l->facts = fact_store_free(l->facts);
        l->streams = pool_free(l->streams);
        free(l);
    }
    return NULL;
}

static void end_stream(struct listener *l, struct heard *h)
{
    pool_put(l->streams, h->stream);
    h->stream = NULL;
}

void listener_forget(struct listener *l, struct heard *h)
{
    end_stream(l, h);
    h->facts = fact_drop(l->facts, h->facts);
}

void listener_add(struct listener *l, struct heard *h, enum record_fact_type type, const void *p,
                  size_t len)
{
    (void)fact_add(l->facts, &h->facts, type, p, len);
}

/* ---------------------------------------------------------------- segments */

static uint32_t first_seq(const struct packet_view *v)
{
    return v->tcp_seq + ((v->tcp_flags & TCP_SYN) != 0);
}

/* Keep `s`, the end of this packet's payload, until the rest comes. False: it can't be. */
static bool begin_stream(struct listener *l, struct heard *h, const struct packet_view *v,
                         unsigned dir, struct span s)
{
    struct stream *const st = h->stream == NULL ? pool_take(l->streams) : NULL;

    if (st == NULL) {
        counters_add(l->conf.counters, COUNTER_facts_no_stream, 1);
        return false;
    }
    st->next_seq = first_seq(v) + v->payload_wire_len;
    st->segments = 1;
    st->dir = (uint8_t)dir;
    st->len = (uint16_t)(s.left < sizeof(st->data) ? s.left : sizeof(st->data));
    memcpy(st->data, s.at, st->len);
    h->stream = st;
    return true;
}

/* Append what is new in this packet. False: the rest can't come, or there is no room for it. */
static bool continue_stream(struct listener *l, struct stream *st, const struct packet_view *v)
{
    const int32_t ahead = (int32_t)(first_seq(v) - st->next_seq);
    struct span s = {v->payload, v->payload_len};

    if (ahead > 0) {
        counters_add(l->conf.counters, COUNTER_facts_out_of_order, 1);
        return false;
    }
    if (ahead < 0 && span_take(&s, (size_t)(-(int64_t)ahead)) == NULL)
        return true; /* all of it was here before */
    const size_t room = sizeof(st->data) - st->len, n = s.left < room ? s.left : room;
    memcpy(st->data + st->len, s.at, n);
    st->len = (uint16_t)(st->len + n);
    st->next_seq = first_seq(v) + v->payload_wire_len;
    if (n < s.left || st->segments++ == SEGMENTS_MAX) {
        counters_add(l->conf.counters, COUNTER_facts_too_long, 1);
        return false;
    }
    return v->payload_len == v->payload_wire_len;
}

/* ---------------------------------------------------------------- TLS */

static void add_hello(struct listener *l, struct heard *h, const struct tls_hello *hello)
{
    const size_t name = strlen(hello->server_name);

    counters_add(l->conf.counters, COUNTER_facts_tls_hellos, 1);
    if (name > 0)
        listener_add(l, h, FACT_TLS_NAME, hello->server_name, name);
    listener_add(l, h, FACT_TLS_JA4, hello->ja4, sizeof(hello->ja4) - 1);
    if (hello->alpn_len > 0)
        listener_add(l, h, FACT_TLS_ALPN, hello->alpn, hello->alpn_len);
    listener_add(l, h, FACT_TLS_VERSIONS, hello->versions,
                 hello->n_versions * sizeof(hello->versions[0]));
}

static void add_choice(struct listener *l, struct heard *h, const struct tls_choice *c)
{
    const uint16_t choice[2] = {c->version, c->cipher};

    listener_add(l, h, FACT_TLS_CHOICE, choice, sizeof(choice));
    if (c->alpn_len > 0)
        listener_add(l, h, FACT_TLS_CHOSEN_ALPN, c->alpn, c->alpn_len);
}

/* Either side's first message. Returns what the readers return. */
static int read_tls(struct listener *l, struct heard *h, const uint8_t *p, size_t n)
{
    struct tls_hello hello;
    struct tls_choice choice;
    int r = TLS_HELLO_MORE;

    if (n > HELLO_TYPE_AT && p[HELLO_TYPE_AT] == CLIENT_HELLO) {
        r = tls_hello_read(p, n, &hello);
        if (r == 0)
            add_hello(l, h, &hello);
    } else if (n > HELLO_TYPE_AT) {
        r = tls_choice_read(p, n, &choice);
        if (r == 0)
            add_choice(l, h, &choice);
    }
    if (r < 0)
        counters_add(l->conf.counters, COUNTER_facts_bad_tls, 1);
    return r;
}

static void hear_tls(struct listener *l, struct heard *h, uint8_t *bits,
                     const struct packet_view *v, unsigned dir)
{
    const uint8_t side = dir == 0 ? HEARD_TO_SERVER : HEARD_TO_CLIENT;
    bool goes_on = false;

    if ((*bits & side) != 0)
        return;
    if (h->stream != NULL && h->stream->dir == dir) {
        goes_on = continue_stream(l, h->stream, v);
        if (goes_on)
            goes_on = read_tls(l, h, h->stream->data, h->stream->len) == TLS_HELLO_MORE;
        if (!goes_on)
            end_stream(l, h);
    } else if (tls_is_handshake(v->payload, v->payload_len)) {
        goes_on = read_tls(l, h, v->payload, v->payload_len) == TLS_HELLO_MORE &&
                  v->payload_len == v->payload_wire_len &&
                  begin_stream(l, h, v, dir, (struct span){v->payload, v->payload_len});
    } else if ((*bits & HEARD_BITS) == 0 && h->stream == NULL) {
        *bits |= HEARD_ALL; /* who does not begin with it does not come to it, but for STARTTLS */
    }
    if (!goes_on)
        *bits |= side;
}

/* ---------------------------------------------------------------- DNS */

/* The messages at the front of `s`, each behind its length. False: that is no DNS. */
static bool hear_messages(struct listener *l, struct heard *h, const struct packet_view *v,
                          unsigned dir, struct span *s)
{
    while (s->left >= MESSAGE_LENGTH) {
        const size_t len = load_be16(s->at);

        if (len > s->left - MESSAGE_LENGTH)
            return true;
        if (!listener_dns_message(&l->dns, &h->facts, v, dir,
                                  (struct span){s->at + MESSAGE_LENGTH, len}, len))
            return false;
        (void)span_take(s, MESSAGE_LENGTH + len);
    }
    return true;
}

static bool go_on_with_stream(struct listener *l, struct heard *h, const struct packet_view *v,
                              unsigned dir)
{
    struct stream *const st = h->stream;
    const bool goes_on = continue_stream(l, st, v);
    struct span s = {st->data, st->len};

    if (!hear_messages(l, h, v, dir, &s))
        return false;
    if (!goes_on && s.left > MESSAGE_LENGTH) /* its beginning has to do */
        (void)listener_dns_message(&l->dns, &h->facts, v, dir,
                                   (struct span){s.at + MESSAGE_LENGTH, s.left - MESSAGE_LENGTH},
                                   load_be16(s.at));
    if (!goes_on)
        return false;
    st->segments = s.left < st->len ? 1 : st->segments;
    memmove(st->data, s.at, s.left);
    st->len = (uint16_t)s.left;
    if (s.left == 0)
        end_stream(l, h);
    return true;
}

/* False: it is no DNS after all. */
static bool hear_dns_stream(struct listener *l, struct heard *h, const struct packet_view *v,
                            unsigned dir)
{
    struct span s = {v->payload, v->payload_len};

    if (h->stream != NULL && h->stream->dir == dir)
        return go_on_with_stream(l, h, v, dir);
    if (!hear_messages(l, h, v, dir, &s))
        return false;
    if (s.left > 0 && v->payload_len == v->payload_wire_len)
        (void)begin_stream(l, h, v, dir, s);
    return true;
}

void listener_packet(struct listener *l, struct heard *h, uint8_t *heard_bits,
                     const struct packet_view *v, unsigned dir)
{
    const bool is_tcp = v->key.proto == IPPROTO_TCP;
    bool is_dns = (*heard_bits & HEARD_DNS) != 0;

    if ((*heard_bits & HEARD_BITS) == 0 && listener_dns_is_port(&v->key)) {
        *heard_bits |= HEARD_DNS;
        is_dns = true;
    }
    if (!is_dns) {
        if (is_tcp)
            hear_tls(l, h, heard_bits, v, dir);
        else
            *heard_bits |= HEARD_ALL;
        return;
    }
    const bool still = is_tcp ? hear_dns_stream(l, h, v, dir)
                              : listener_dns_message(&l->dns, &h->facts, v, dir,
                                                     (struct span){v->payload, v->payload_len},
                                                     v->payload_wire_len);
    if (!still) {
        *heard_bits |= HEARD_ALL;
        end_stream(l, h);
    }
}
