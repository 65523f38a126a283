#include "sensor/defrag.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sensor/counter.h"
#include "sensor/lru.h"

#define IPV6_HEADER 40

/* Bytes at .. end of the packet's data. In order, and no two overlap. */
struct piece {
    struct piece *next;
    uint32_t at, end;
    uint8_t data[];
};

struct datagram {
    struct piece *first, *last;
    uint64_t seen_ns;
    uint32_t pieces, have; /* their number, their bytes */
    uint32_t end;          /* 0: the last fragment is still to come */
    uint16_t header_len;   /* 0: the first is */
    uint16_t next_at;
    uint8_t next;
    uint8_t header[DEFRAG_HEADER_MAX];
};

struct defrag {
    struct defrag_conf conf;
    struct lru *datagrams;
    uint64_t clock_ns;
    size_t used;    /* bytes of pieces */
    uint8_t *whole; /* DEFRAG_WHOLE_MAX packets */
    size_t wholes;
};

/* ---------------------------------------------------------------- life */

static void free_pieces(struct defrag *d, struct datagram *g)
{
    while (g->first != NULL) {
        struct piece *const p = g->first;

        g->first = p->next;
        d->used -= sizeof(*p) + (p->end - p->at);
        free(p);
    }
    g->last = NULL;
}

/* lru's farewell. */
static void forgotten(void *arg, const void *key, void *value)
{
    (void)key;
    free_pieces(arg, value);
}

int defrag_new(struct defrag **ret_defrag, const struct defrag_conf *conf, struct err *e)
{
    WIND_AUTO(defrag) struct defrag *d = calloc(1, sizeof(*d));
    if (d == NULL)
        return err_set(e, -ENOMEM, "out of memory");
    d->conf = *conf;
    const int r =
        lru_new(&d->datagrams, conf->max, sizeof(struct defrag_key), sizeof(struct datagram), e);
    if (r < 0)
        return err_wrap(e, r, "defrag.max");
    lru_on_forget(d->datagrams, forgotten, d);
    d->whole = calloc(DEFRAG_WHOLE_MAX, DEFRAG_PACKET_MAX); /* pages come as they are used */
    if (d->whole == NULL)
        return err_set(e, -ENOMEM, "out of memory");
    *ret_defrag = WIND_STEAL(d);
    return 0;
}

struct defrag *defrag_free(struct defrag *d)
{
    struct datagram *g;

    if (d == NULL)
        return NULL;
    while (d->datagrams != NULL && (g = lru_oldest(d->datagrams, NULL)) != NULL)
        lru_drop(d->datagrams, g);
    d->datagrams = lru_free(d->datagrams);
    free(d->whole);
    free(d);
    return NULL;
}

void defrag_release(struct defrag *d)
{
    d->wholes = 0;
}

/* ---------------------------------------------------------------- room */

static void give_up(struct defrag *d, struct datagram *g, enum counter why)
{
    counters_add(d->conf.counters, why, 1);
    lru_drop(d->datagrams, g);
}

static void expire(struct defrag *d)
{
    struct datagram *g;

    while ((g = lru_oldest(d->datagrams, NULL)) != NULL &&
           g->seen_ns + d->conf.timeout_ns <= d->clock_ns)
        give_up(d, g, COUNTER_defrag_timed_out);
}

static struct datagram *find(struct defrag *d, const struct defrag_key *key)
{
    const uint64_t evicted = lru_evicted(d->datagrams);
    bool is_new = false;
    struct datagram *const g = lru_touch(d->datagrams, key, &is_new);

    counters_add(d->conf.counters, COUNTER_defrag_evicted, lru_evicted(d->datagrams) - evicted);
    if (is_new)
        counters_add(d->conf.counters, COUNTER_defrag_started, 1);
    g->seen_ns = d->clock_ns;
    return g;
}

/* Room for `len` bytes beside those of `g`, which is the most recent. */
static void make_room(struct defrag *d, const struct datagram *g, size_t len)
{
    while (d->used + sizeof(struct piece) + len > d->conf.memory) {
        struct datagram *const oldest = lru_oldest(d->datagrams, NULL);

        if (oldest == g)
            return;
        give_up(d, oldest, COUNTER_defrag_evicted);
    }
}

/* ---------------------------------------------------------------- pieces */

/* Put bytes into the gap behind which *link is. */
static bool fill_gap(struct defrag *d, struct datagram *g, struct piece **link, uint32_t at,
                     uint32_t end, const uint8_t *data)
{
    const size_t size = sizeof(struct piece) + (end - at);
    struct piece *const p =
        g->pieces == DEFRAG_PIECES_MAX || d->used + size > d->conf.memory ? NULL : malloc(size);

    if (p == NULL) {
        counters_add(d->conf.counters, COUNTER_defrag_refused, 1);
        return false;
    }
    *p = (struct piece){.next = *link, .at = at, .end = end};
    memcpy(p->data, data, end - at);
    *link = p;
    if (p->next == NULL)
        g->last = p;
    g->pieces++;
    g->have += end - at;
    d->used += size;
    return true;
}

/* Fill the gaps; what is there already stays. Returns false when it is there with other bytes. */
static bool fill_gaps(struct defrag *d, struct datagram *g, const struct defrag_fragment *f)
{
    uint32_t at = f->at;
    const uint32_t end = at + (uint32_t)f->data.left;
    const bool is_behind = g->last != NULL && g->last->end <= at;
    struct piece **link = is_behind ? &g->last->next : &g->first;
    bool is_same = true, is_duplicate = false;

    while (*link != NULL && (*link)->end <= at)
        link = &(*link)->next;
    while (at < end) {
        struct piece *p = *link;
        const uint32_t gap_end = p != NULL && p->at < end ? p->at : end;

        if (at < gap_end) {
            if (!fill_gap(d, g, link, at, gap_end, f->data.at + (at - f->at)))
                break;
            link = &(*link)->next;
            at = gap_end;
            continue;
        }
        const uint32_t upto = end < p->end ? end : p->end; /* p covers `at` */
        is_duplicate = true;
        if (memcmp(f->data.at + (at - f->at), p->data + (at - p->at), upto - at) != 0)
            is_same = false;
        at = upto;
        link = &p->next;
    }
    if (is_duplicate && is_same)
        counters_add(d->conf.counters, COUNTER_defrag_duplicates, 1);
    return is_same;
}

/* Does it end where another said that the packet ends? */
static bool fits_end(const struct datagram *g, const struct defrag_fragment *f)
{
    const uint32_t end = f->at + (uint32_t)f->data.left;

    if (g->end != 0 && (f->has_more ? end > g->end : end != g->end))
        return false;
    return f->has_more || g->last == NULL || g->last->end <= end;
}

/* ---------------------------------------------------------------- whole packets */

static void fix_header(uint8_t *h, const struct datagram *g, uint8_t ip_version, size_t len)
{
    const size_t len_at = ip_version == 6 ? 4 : 2;

    h[len_at] = (uint8_t)(len >> 8);
    h[len_at + 1] = (uint8_t)len;
    if (ip_version == 6)
        h[g->next_at] = g->next;
    else
        h[6] = h[7] = 0; /* no fragment; the checksum is as it was, nobody looks at it */
}

static enum defrag_result assemble(struct defrag *d, struct datagram *g, uint8_t ip_version,
                                   struct span *ret_packet)
{
    const size_t len = g->header_len + (size_t)g->end - (ip_version == 6 ? IPV6_HEADER : 0);

    if (len > UINT16_MAX || d->wholes == DEFRAG_WHOLE_MAX) { /* longer with the first's header */
        give_up(d, g, COUNTER_defrag_evicted);
        return len > UINT16_MAX ? DEFRAG_BAD : DEFRAG_HELD;
    }
    uint8_t *const out = d->whole + d->wholes++ * DEFRAG_PACKET_MAX;

    memcpy(out, g->header, g->header_len);
    for (const struct piece *p = g->first; p != NULL; p = p->next)
        memcpy(out + g->header_len + p->at, p->data, p->end - p->at);
    fix_header(out, g, ip_version, len);
    *ret_packet = (struct span){out, g->header_len + (size_t)g->end};
    give_up(d, g, COUNTER_defrag_completed);
    return DEFRAG_WHOLE;
}

static bool is_possible(const struct defrag_fragment *f)
{
    const size_t counted =
        f->header.left - (f->key.ip_version == 6 ? IPV6_HEADER : 0) + f->at + f->data.left;

    return f->data.left > 0 && counted <= UINT16_MAX && (!f->has_more || f->data.left % 8 == 0);
}

static void take_header(struct datagram *g, const struct defrag_fragment *f)
{
    if (f->at != 0 || g->header_len != 0)
        return;
    memcpy(g->header, f->header.at, f->header.left);
    g->header_len = (uint16_t)f->header.left;
    g->next_at = f->next_at;
    g->next = f->next;
}

enum defrag_result defrag_add(struct defrag *d, const struct defrag_fragment *f, uint64_t time_ns,
                              struct span *ret_packet, bool *ret_overlap)
{
    enum defrag_result result = DEFRAG_HELD;

    d->clock_ns = time_ns > d->clock_ns ? time_ns : d->clock_ns;
    expire(d);
    if (!is_possible(f))
        return DEFRAG_BAD;
    if (f->header.left > DEFRAG_HEADER_MAX) {
        counters_add(d->conf.counters, COUNTER_defrag_refused, 1);
        return DEFRAG_HELD;
    }
    struct datagram *const g = find(d, &f->key);
    make_room(d, g, f->data.left);
    if (fits_end(g, f)) {
        take_header(g, f);
        if (!f->has_more)
            g->end = f->at + (uint32_t)f->data.left;
        *ret_overlap = !fill_gaps(d, g, f);
    } else {
        *ret_overlap = true;
    }
    if (*ret_overlap)
        counters_add(d->conf.counters, COUNTER_defrag_overlaps, 1);
    if (g->end != 0 && g->have == g->end && g->header_len != 0)
        result = assemble(d, g, f->key.ip_version, ret_packet);
    counters_set(d->conf.counters, COUNTER_defrag_live, lru_live(d->datagrams));
    return result;
}
