#include "sensor/fact_store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/pool.h"

#define PIECE 256

struct piece {
    struct piece *next;
    uint8_t bytes[PIECE - sizeof(struct piece *)];
};

/* The first piece of a flow. */
struct facts {
    struct piece *next, *last; /* last: NULL while the first is not full */
    uint16_t len;              /* of all */
    uint16_t newest;           /* where the newest begins */
    uint16_t open;
    uint16_t used; /* bytes of the last piece, or of the first */
    bool is_cut;
    uint8_t bytes[PIECE - 2 * sizeof(struct piece *) - 10];
};

_Static_assert(sizeof(struct piece) == PIECE, "both come from one pool");
_Static_assert(sizeof(struct facts) <= PIECE, "both come from one pool");

struct fact_store {
    struct pool *pieces;
    struct counters *counters;
};

/* ---------------------------------------------------------------- life */

static void count(struct fact_store *s)
{
    counters_set(s->counters, COUNTER_facts_bytes, (uint64_t)pool_taken(s->pieces) * PIECE);
}

int fact_store_new(struct fact_store **ret_store, size_t memory, struct counters *counters,
                   struct err *e)
{
    WIND_AUTO(fact_store) struct fact_store *s = calloc(1, sizeof(*s));
    if (s == NULL)
        return err_set(e, -ENOMEM, "out of memory");
    s->counters = counters;
    const int r = pool_new(&s->pieces, PIECE, memory < PIECE ? 1 : memory / PIECE, e);
    if (r < 0)
        return err_wrap(e, r, "facts.memory");
    count(s); /* a dead analyser's are gone */
    *ret_store = WIND_STEAL(s);
    return 0;
}

struct fact_store *fact_store_free(struct fact_store *s)
{
    if (s != NULL) {
        s->pieces = pool_free(s->pieces);
        free(s);
    }
    return NULL;
}

struct facts *fact_drop(struct fact_store *s, struct facts *f)
{
    if (f == NULL)
        return NULL;
    while (f->next != NULL) {
        struct piece *const p = f->next;

        f->next = p->next;
        pool_put(s->pieces, p);
    }
    pool_put(s->pieces, f);
    count(s);
    return NULL;
}

/* ---------------------------------------------------------------- adding */

static bool make(struct fact_store *s, struct facts **ret_facts)
{
    struct facts *const f = pool_take(s->pieces);

    if (f == NULL)
        return false;
    f->next = f->last = NULL;
    f->len = f->used = f->newest = f->open = 0;
    f->is_cut = false;
    *ret_facts = f;
    return true;
}

/* Where the next bytes go, and how many of them. */
static uint8_t *room(struct facts *f, size_t *ret_n)
{
    if (f->last == NULL) {
        *ret_n = sizeof(f->bytes) - f->used;
        return f->bytes + f->used;
    }
    *ret_n = sizeof(f->last->bytes) - f->used;
    return f->last->bytes + f->used;
}

/* Pieces for n more bytes, all or none. Those that are not used yet stand behind the last. */
static bool extend(struct fact_store *s, struct facts *f, size_t n)
{
    size_t left = 0;
    struct piece *chain = NULL;

    (void)room(f, &left);
    while (left < n) {
        struct piece *const p = pool_take(s->pieces);

        if (p == NULL) {
            while (chain != NULL) {
                struct piece *const next = chain->next;
                pool_put(s->pieces, chain);
                chain = next;
            }
            return false;
        }
        p->next = chain;
        chain = p;
        left += sizeof(p->bytes);
    }
    if (f->last == NULL)
        f->next = chain;
    else
        f->last->next = chain;
    return true;
}

static void append(struct facts *f, const void *from, size_t n)
{
    const uint8_t *p = from;
    size_t left;

    while (n > 0) {
        uint8_t *at = room(f, &left);

        if (left == 0) {
            f->last = f->last == NULL ? f->next : f->last->next;
            f->used = 0;
            at = room(f, &left);
        }
        const size_t now = n < left ? n : left;
        memcpy(at, p, now);
        f->used = (uint16_t)(f->used + now);
        f->len = (uint16_t)(f->len + now);
        p += now;
        n -= now;
    }
}

static bool add(struct fact_store *s, struct facts *f, enum record_fact_type type, const void *p,
                size_t len)
{
    const struct record_fact head = {.type = (uint16_t)type, .len = (uint16_t)len};

    if (!extend(s, f, sizeof(head) + len)) {
        counters_add(s->counters, COUNTER_facts_no_memory, 1);
        return false;
    }
    f->newest = f->len;
    append(f, &head, sizeof(head));
    append(f, p, len);
    return true;
}

bool fact_add(struct fact_store *s, struct facts **f, enum record_fact_type type, const void *p,
              size_t len)
{
    bool is_added = false;

    if (*f != NULL && (*f)->is_cut)
        return false;
    if (*f == NULL && !make(s, f)) {
        counters_add(s->counters, COUNTER_facts_no_memory, 1);
        return false;
    }
    if ((*f)->len + 2 * sizeof(struct record_fact) + len > RECORD_FACTS_MAX) {
        (*f)->is_cut = true;
        counters_add(s->counters, COUNTER_facts_cut, 1);
        (void)add(s, *f, FACT_CUT, NULL, 0);
    } else {
        is_added = add(s, *f, type, p, len);
    }
    count(s);
    return is_added;
}

bool fact_is_full(const struct facts *f)
{
    return f != NULL && f->is_cut;
}

/* ---------------------------------------------------------------- reading */

size_t fact_len(const struct facts *f)
{
    return f == NULL ? 0 : f->len;
}

static void copy(const struct facts *f, size_t from, size_t to, uint8_t *ret_bytes)
{
    const uint8_t *bytes = f->bytes;
    const struct piece *next = f->next;
    size_t n = sizeof(f->bytes);

    while (from < to) {
        const size_t end = to < n ? to : n;

        if (from < end) {
            memcpy(ret_bytes, bytes + from, end - from);
            ret_bytes += end - from;
            from = end;
        }
        if (from == to)
            return;
        from -= n; /* as the next piece counts */
        to -= n;
        bytes = next->bytes;
        n = sizeof(next->bytes);
        next = next->next;
    }
}

size_t fact_copy(const struct facts *f, uint8_t *ret_bytes)
{
    if (f == NULL)
        return 0;
    copy(f, 0, f->len, ret_bytes);
    return f->len;
}

size_t fact_newest(const struct facts *f, uint8_t *ret_bytes, size_t max, size_t *ret_at)
{
    if (f == NULL || f->len == 0)
        return 0;
    const size_t n = (size_t)f->len - f->newest;

    *ret_at = f->newest;
    copy(f, f->newest, f->newest + (n < max ? n : max), ret_bytes);
    return n < max ? n : max;
}

static uint8_t *byte_at(struct facts *f, size_t at)
{
    if (at < sizeof(f->bytes))
        return &f->bytes[at];
    at -= sizeof(f->bytes);
    struct piece *p = f->next;
    for (; at >= sizeof(p->bytes); at -= sizeof(p->bytes))
        p = p->next;
    return &p->bytes[at];
}

uint16_t *fact_open(struct facts *f)
{
    return &f->open;
}

void fact_withdraw(struct facts *f, size_t at)
{
    _Static_assert(offsetof(struct record_fact, type) == 0 && FACT_NONE == 0, "two zero bytes");

    *byte_at(f, at) = 0;
    *byte_at(f, at + 1) = 0;
}

/* ---------------------------------------------------------------- names */

static void take_name(const uint8_t *p, size_t n, char ret_name[RECORD_NAME_MAX])
{
    n = n < RECORD_NAME_MAX - 1 ? n : RECORD_NAME_MAX - 1;
    for (size_t i = 0; i < n; i++) {
        const uint8_t c = p[i] >= 'A' && p[i] <= 'Z' ? p[i] | 0x20 : p[i];
        ret_name[i] = '?';
        if (c > ' ' && c <= '~')
            ret_name[i] = (char)c;
    }
    ret_name[n] = '\0';
}

/* Of a DNS message: the name of its first item. */
static void take_dns_name(const uint8_t *p, size_t n, char ret_name[RECORD_NAME_MAX])
{
    struct fact_dns_item item;
    const size_t at = sizeof(struct fact_dns);

    if (n < at + sizeof(item))
        return;
    memcpy(&item, p + at, sizeof(item));
    if (item.name_len <= n - at - sizeof(item))
        take_name(p + at + sizeof(item), item.name_len, ret_name);
}

void fact_server_name(const uint8_t *bytes, size_t len, char ret_name[RECORD_NAME_MAX])
{
    struct record_fact fact;
    enum record_fact_type best = FACT_NONE;
    const uint8_t *p;

    ret_name[0] = '\0';
    for (size_t at = 0; (p = fact_next(bytes, len, &at, &fact)) != NULL;) {
        if (fact.type == FACT_NAME) {
            take_name(p, fact.len, ret_name);
            return;
        }
        if (fact.type == FACT_TLS_NAME && best != FACT_TLS_NAME)
            take_name(p, fact.len, ret_name);
        else if (fact.type == FACT_DNS && best == FACT_NONE)
            take_dns_name(p, fact.len, ret_name);
        else
            continue;
        best = (enum record_fact_type)fact.type;
    }
}
