#include "sensor/merge.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>

#include "common/time.h"

#define STAGE           0
#define NOBODY          UINT_MAX
#define WAIT_BLOCKED_MS 1 /* no bell rings when a worker's order moves on */

struct source {
    struct ring *ring;
    struct record_header *head; /* peeked, not released */
    const struct counters *of;  /* the worker's section */
    uint64_t order;             /* nothing below it will come, when it was asked last */
    bool is_given_up;           /* it said nothing for too long, at that order */
};

struct merge {
    const struct rings *flows;
    struct counters *counters;
    bool is_live;
    unsigned hand;          /* whose head is in hand */
    unsigned holds_up;      /* who is waited for, though others have records */
    uint64_t blocked_ns;    /* since when, by the monotonic clock; 0: not blocked */
    uint64_t count;         /* records released */
    uint64_t time_ns;       /* of the record in hand, or the last one */
    struct source source[]; /* one a worker */
};

int merge_new(struct merge **ret_merge, const struct rings *flows, struct counters *counters,
              bool is_live, struct err *e)
{
    struct merge *m = calloc(1, sizeof(*m) + flows->n * sizeof(m->source[0]));

    if (m == NULL)
        return err_set(e, -ENOMEM, "out of memory");
    m->flows = flows;
    m->counters = counters;
    m->is_live = is_live;
    m->hand = m->holds_up = NOBODY;
    m->count = atomic_load_explicit(&counters->record_sequence, memory_order_relaxed);
    for (unsigned i = 0; i < flows->n; i++) {
        m->source[i] = (struct source){.ring = flows->ring[i], .of = &counters[i]};
        ring_rewind(flows->ring[i], STAGE); /* what a dead analyser had in hand */
    }
    *ret_merge = m;
    return 0;
}

struct merge *merge_free(struct merge *m)
{
    free(m);
    return NULL;
}

/* In this order: what was committed before its order went up is in the ring by then. */
static void look(struct source *s)
{
    if (s->head != NULL)
        return;
    const uint64_t order = atomic_load_explicit(&s->of->order, memory_order_acquire);
    s->head = ring_peek(s->ring, STAGE, NULL);
    s->is_given_up = s->is_given_up && s->head == NULL && order == s->order;
    s->order = s->head == NULL ? order : 0; /* behind this record there may be others */
}

static unsigned lowest(const struct merge *m)
{
    unsigned best = NOBODY;

    for (unsigned i = 0; i < m->flows->n; i++) {
        const struct source *s = &m->source[i];
        if (s->head != NULL && (best == NOBODY || s->head->order < m->source[best].head->order))
            best = i;
    }
    return best;
}

/* As of when it was looked at last: since then its order can only have gone up. */
static bool may_be_before(const struct merge *m, unsigned i, unsigned best)
{
    const struct source *s = &m->source[i];
    const uint64_t order = m->source[best].head->order;

    return s->head == NULL && (s->order < order || (s->order == order && i < best));
}

/* Who may still have a record that comes before the head of `best`. */
static unsigned who_may_be_first(struct merge *m, unsigned best)
{
    for (unsigned i = 0; i < m->flows->n; i++) {
        if (!may_be_before(m, i, best))
            continue;
        look(&m->source[i]);
        if (m->source[i].head != NULL || (may_be_before(m, i, best) && !m->source[i].is_given_up))
            return i;
    }
    return NOBODY;
}

/* True: wait on. Live, nobody is waited for forever. */
static bool has_patience(struct merge *m, unsigned with)
{
    if (!m->is_live)
        return true;
    const uint64_t now_ns = time_mono_ns();
    if (m->holds_up != with || m->blocked_ns == 0) {
        m->holds_up = with;
        m->blocked_ns = now_ns;
    }
    if (now_ns < m->blocked_ns + MERGE_PATIENCE_NS)
        return true;
    m->source[with].is_given_up = true;
    m->blocked_ns = 0;
    return false;
}

static unsigned choose(struct merge *m)
{
    unsigned best = lowest(m), first;

    for (unsigned i = 0; best == NOBODY && i < m->flows->n; i++) {
        look(&m->source[i]);
        best = lowest(m);
    }
    while (best != NOBODY && (first = who_may_be_first(m, best)) != NOBODY) {
        if (m->source[first].head == NULL && has_patience(m, first))
            return NOBODY;
        best = lowest(m);
    }
    m->blocked_ns = 0;
    return best;
}

struct record_header *merge_peek(struct merge *m)
{
    if (m->hand == NOBODY)
        m->hand = choose(m);
    if (m->hand == NOBODY)
        return NULL;
    struct record_header *h = m->source[m->hand].head;
    if (h->time_ns < m->time_ns)
        h->time_ns = m->time_ns;
    m->time_ns = h->time_ns;
    return h;
}

/* Counted last: who sees the count (the uplink) finds the records. */
void merge_release(struct merge *m)
{
    struct source *s = &m->source[m->hand];

    s->head->after = m->count++;
    s->head = NULL;
    m->hand = NOBODY;
    ring_release(s->ring, STAGE);
    atomic_store_explicit(&m->counters->record_sequence, m->count, memory_order_release);
}

uint64_t merge_count(const struct merge *m)
{
    return m->count;
}

uint64_t merge_clock(const struct merge *m)
{
    uint64_t clock_ns = UINT64_MAX;

    for (unsigned i = 0; i < m->flows->n; i++) {
        const struct source *s = &m->source[i];
        const uint64_t now_ns = atomic_load_explicit(&s->of->clock_ns, memory_order_acquire);
        if (!s->is_given_up && now_ns < clock_ns)
            clock_ns = now_ns;
    }
    return clock_ns == UINT64_MAX ? m->time_ns : clock_ns;
}

void merge_wait(const struct merge *m, int wait_ms)
{
    bool is_blocked = false;

    for (unsigned i = 0; i < m->flows->n; i++)
        is_blocked |= m->source[i].head != NULL;
    rings_wait_data(m->flows, STAGE, is_blocked ? WAIT_BLOCKED_MS : wait_ms);
}
