#include "collector/bus_sequence.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "collector/bus_message.h"
#include "common/time.h"

#define SWEEP 32 /* sequences at a time */

/* ---------------------------------------------------------------- blocks */

static int64_t base_of(int64_t seq)
{
    return seq - seq % SEQUENCE_BLOCK;
}

static bool bit(const uint64_t *words, int64_t i)
{
    return (words[i / 64] >> (i % 64) & 1) != 0;
}

static void set_bit(uint64_t *words, int64_t i)
{
    words[i / 64] |= UINT64_C(1) << (i % 64);
}

/* Of word i: the bits whose numbers lie in [from, to). */
static uint64_t bits_within(const struct sequence_block *b, int i, int64_t from, int64_t to)
{
    const int64_t low = b->base + (int64_t)i * 64;
    uint64_t mask = UINT64_MAX;

    if (from >= low + 64 || to <= low)
        return 0;
    if (from > low)
        mask <<= from - low;
    if (to < low + 64)
        mask &= UINT64_MAX >> (low + 64 - to);
    return mask;
}

/* Missing numbers of word i below `to`; with `also_told` those too that were told. */
static uint64_t missing_in(const struct sequence *s, const struct sequence_block *b, int i,
                           int64_t to, bool also_told)
{
    const uint64_t all = bits_within(b, i, s->first, to < s->next ? to : s->next);

    return all & ~b->seen[i] & ~(also_told ? 0 : b->lost[i]);
}

static bool has_missing(const struct sequence *s, const struct sequence_block *b, int64_t to)
{
    uint64_t any = 0;

    for (int i = 0; i < SEQUENCE_WORDS; i++)
        any |= missing_in(s, b, i, to, false);
    return any != 0;
}

static bool is_complete(const struct sequence *s, const struct sequence_block *b)
{
    uint64_t any = s->next >= b->base + SEQUENCE_BLOCK ? 0 : 1;

    for (int i = 0; i < SEQUENCE_WORDS; i++)
        any |= missing_in(s, b, i, INT64_MAX, true);
    return any == 0;
}

static void block_remove(struct sequence *s, size_t at)
{
    s->n--;
    memmove(&s->blocks[at], &s->blocks[at + 1], (s->n - at) * sizeof(s->blocks[0]));
}

/* Where base is, or belongs. */
static size_t block_find(const struct sequence *s, int64_t base)
{
    size_t at = s->n;

    while (at > 0 && s->blocks[at - 1].base >= base)
        at--;
    return at;
}

static bool block_is(const struct sequence *s, size_t at, int64_t base)
{
    return at < s->n && s->blocks[at].base == base;
}

/* Losses that are being told. */
struct telling {
    struct sequence_events *ev;
    struct sequence_range *ranges; /* NULL: only counted */
    size_t n;
    int64_t last; /* a number behind it makes the range longer */
};

static void tell(struct telling *t, int64_t seq)
{
    const bool is_next = seq == t->last + 1;

    t->ev->missing++;
    t->ev->gaps += !is_next;
    t->last = seq;
    if (t->ranges == NULL)
        return;
    if (is_next && t->ranges[t->n - 1].to == seq - 1)
        t->ranges[t->n - 1].to = seq;
    else if (!is_next && t->n < SEQUENCE_TOLD)
        t->ranges[t->n++] = (struct sequence_range){seq, seq};
}

/* What is missing of it below `to` is lost. */
static void lose(const struct sequence *s, struct sequence_block *b, int64_t to, struct telling *t)
{
    for (int i = 0; i < SEQUENCE_WORDS; i++) {
        for (uint64_t left = missing_in(s, b, i, to, false); left != 0; left &= left - 1) {
            const int64_t seq = b->base + (int64_t)i * 64 + __builtin_ctzll(left);
            set_bit(b->lost, seq - b->base);
            tell(t, seq);
        }
    }
}

/* An empty block. The lowest gives way when there are too many; it may be this one. */
static void block_add(struct sequence *s, int64_t base, struct sequence_events *ev)
{
    const size_t at = block_find(s, base);
    struct telling t = {.ev = ev, .last = -2};

    if (s->n == s->room) {
        s->room = s->room == 0 ? 4 : 2 * s->room;
        s->blocks = realloc(s->blocks, s->room * sizeof(s->blocks[0]));
        WIND_CHECK(s->blocks != NULL);
    }
    memmove(&s->blocks[at + 1], &s->blocks[at], (s->n - at) * sizeof(s->blocks[0]));
    s->blocks[at] = (struct sequence_block){.base = base};
    s->n++;
    if (s->n > SEQUENCE_BLOCKS) {
        lose(s, &s->blocks[0], INT64_MAX, &t);
        block_remove(s, 0);
    }
}

void sequence_done(struct sequence *s)
{
    free(s->blocks);
    *s = (struct sequence){0};
}

/* ---------------------------------------------------------------- numbers */

/* It is above all others: the blocks between are missing, whole. */
static void go_up(struct sequence *s, int64_t seq, struct sequence_events *ev)
{
    const int64_t to = base_of(seq);
    int64_t from = s->next == 0 ? to : base_of(s->next - 1) + SEQUENCE_BLOCK;

    if (to - from > (int64_t)SEQUENCE_BLOCK * SEQUENCE_BLOCKS) {
        ev->gaps++;
        ev->missing += to - from;
        from = to;
    }
    s->first = s->next == 0 ? seq : s->first;
    s->next = seq + 1;
    for (; from <= to; from += SEQUENCE_BLOCK)
        block_add(s, from, ev);
}

/* It is below all others, not too far: what is between may yet come. */
static bool go_down(struct sequence *s, int64_t seq, struct sequence_events *ev)
{
    const int64_t was = s->first, base = base_of(was);

    if (base - base_of(seq) > (int64_t)SEQUENCE_BLOCK * SEQUENCE_BLOCKS / 2)
        return false;
    if (!block_is(s, block_find(s, base), base)) {
        block_add(s, base, ev);
        const size_t at = block_find(s, base);
        for (int64_t i = was - base; i < SEQUENCE_BLOCK && block_is(s, at, base); i++)
            set_bit(s->blocks[at].seen, i);
    }
    s->first = seq;
    for (int64_t b = base_of(seq); b < base; b += SEQUENCE_BLOCK)
        block_add(s, b, ev);
    return true;
}

bool sequence_take(struct sequence *s, int64_t seq, struct sequence_events *ev)
{
    const bool is_above = seq >= s->next;

    if (is_above)
        go_up(s, seq, ev);
    else
        ev->reordered++;
    const bool is_known = !is_above && seq < s->first && !go_down(s, seq, ev);
    const int64_t base = base_of(seq);
    const size_t at = block_find(s, base);
    if (is_known || !block_is(s, at, base) || bit(s->blocks[at].seen, seq - base)) {
        ev->duplicates++;
        ev->reordered--;
        return false;
    }
    struct sequence_block *b = &s->blocks[at];
    set_bit(b->seen, seq - base);
    if (bit(b->lost, seq - base)) {
        b->lost[(seq - base) / 64] &= ~(UINT64_C(1) << (seq - base) % 64);
        ev->found++;
        ev->missing--;
    }
    if (is_complete(s, b))
        block_remove(s, at);
    return true;
}

size_t sequence_settle(struct sequence *s, int64_t now_ns, int64_t wait_ns,
                       struct sequence_events *ev, struct sequence_range *ret_lost)
{
    struct telling t = {.ev = ev, .ranges = ret_lost, .last = -2};

    for (size_t i = 0; i < s->n; i++) {
        struct sequence_block *b = &s->blocks[i];
        if (b->since_ns != 0 && b->since_ns + wait_ns <= now_ns) {
            lose(s, b, b->mark, &t);
            b->since_ns = 0;
        }
        if (b->since_ns != 0 && !has_missing(s, b, b->mark))
            b->since_ns = 0;
        if (b->since_ns == 0 && has_missing(s, b, INT64_MAX)) {
            b->since_ns = now_ns;
            b->mark = s->next;
        }
    }
    return t.n;
}

int64_t sequence_due(const struct sequence *s, int64_t wait_ns)
{
    int64_t due = 0;

    for (size_t i = 0; i < s->n; i++)
        if (s->blocks[i].since_ns != 0 && (due == 0 || s->blocks[i].since_ns + wait_ns < due))
            due = s->blocks[i].since_ns + wait_ns;
    return due;
}

/* ---------------------------------------------------------------- bytes */

static uint8_t *put_u64(uint8_t *to, uint64_t v)
{
    for (int i = 0; i < 8; i++)
        *to++ = (uint8_t)(v >> (8 * i));
    return to;
}

static uint64_t get_u64(const uint8_t **from)
{
    uint64_t v = 0;

    for (int i = 0; i < 8; i++)
        v |= (uint64_t) * (*from)++ << (8 * i);
    return v;
}

void sequence_write(const struct sequence *s, uint8_t *to)
{
    for (size_t i = 0; i < s->n; i++) {
        const struct sequence_block *b = &s->blocks[i];
        to = put_u64(to, (uint64_t)b->base);
        to = put_u64(to, (uint64_t)b->since_ns);
        to = put_u64(to, (uint64_t)b->mark);
        for (int w = 0; w < SEQUENCE_WORDS; w++)
            to = put_u64(to, b->seen[w]);
        for (int w = 0; w < SEQUENCE_WORDS; w++)
            to = put_u64(to, b->lost[w]);
    }
}

static bool is_number(int64_t v, int64_t max)
{
    return v >= 0 && v <= max;
}

int sequence_read(struct sequence *s, int64_t first, int64_t next, const void *from, size_t len)
{
    const uint8_t *p = from;
    const size_t n = len / SEQUENCE_BLOCK_BYTES;
    int64_t above = 0;

    *s = (struct sequence){.first = first, .next = next};
    if (len % SEQUENCE_BLOCK_BYTES != 0 || n > SEQUENCE_BLOCKS || first < 0 || first >= next ||
        next > BUS_SEQ_MAX + 1)
        return -EINVAL;
    s->blocks = calloc(n + 1, sizeof(s->blocks[0]));
    WIND_CHECK(s->blocks != NULL);
    s->room = n + 1;
    for (; s->n < n; s->n++) {
        struct sequence_block *b = &s->blocks[s->n];
        b->base = (int64_t)get_u64(&p);
        b->since_ns = (int64_t)get_u64(&p);
        b->mark = (int64_t)get_u64(&p);
        for (int w = 0; w < SEQUENCE_WORDS; w++)
            b->seen[w] = get_u64(&p);
        for (int w = 0; w < SEQUENCE_WORDS; w++)
            b->lost[w] = get_u64(&p);
        if (!is_number(b->base, BUS_SEQ_MAX) || b->base % SEQUENCE_BLOCK != 0 || b->base < above ||
            !is_number(b->since_ns, INT64_MAX / 2) || !is_number(b->mark, BUS_SEQ_MAX + 1)) {
            sequence_done(s);
            return -EINVAL;
        }
        above = b->base + SEQUENCE_BLOCK;
    }
    return 0;
}

/* ---------------------------------------------------------------- table */

int sequence_ask(struct db_tx *tx, const struct sequence_key *key, struct db_stmt **ret_stmt,
                 struct err *e)
{
    return db_query(tx,
                    "SELECT first, next, blocks FROM bus_sequences "
                    "WHERE sensor = $1 AND topic = $2 AND run = $3",
                    DB_ARGS(db_str(key->sensor), db_str(key->topic), db_str(key->run)), ret_stmt,
                    e);
}

/* What nobody can read starts anew; it was written by sequence_save alone. */
static void take_row(struct sequence *s, struct db_stmt *stmt, int col)
{
    size_t len = 0;
    const void *blocks = db_blob(stmt, col + 2, &len);

    if (sequence_read(s, db_i64(stmt, col), db_i64(stmt, col + 1), blocks, len) != 0)
        *s = (struct sequence){0};
    s->is_kept = true;
}

int sequence_load(struct db_stmt *stmt, struct sequence *ret_sequence, struct err *e)
{
    const int r = db_step(stmt, e);

    *ret_sequence = (struct sequence){0};
    if (r == DB_ROW)
        take_row(ret_sequence, stmt, 0);
    return r == DB_ROW ? 0 : r;
}

static int forget(struct db_tx *tx, const struct sequence_key *key, struct err *e)
{
    int r = db_defer(tx,
                     "DELETE FROM bus_sequences WHERE sensor = $1 AND topic = $2 AND used_at < "
                     "(SELECT min(used_at) FROM (SELECT used_at FROM bus_sequences "
                     "WHERE sensor = $1 AND topic = $2 ORDER BY used_at DESC LIMIT $3) AS kept)",
                     DB_ARGS(db_str(key->sensor), db_str(key->topic), db_int(SEQUENCE_RUNS)), e);
    if (r == 0)
        r = db_defer(tx,
                     "DELETE FROM bus_sequences WHERE used_at < (SELECT used_at FROM "
                     "bus_sequences ORDER BY used_at DESC LIMIT 1 OFFSET $1)",
                     DB_ARGS(db_int(SEQUENCES_MAX)), e);
    return r;
}

int sequence_save(struct db_tx *tx, const struct sequence_key *key, const struct sequence *s,
                  int64_t wait_ns, const struct sequence_events *ev, struct err *e)
{
    static const char insert[] =
        "INSERT INTO bus_sequences (sensor, topic, run, first, next, blocks, due_at, used_at) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    static const char update[] =
        "UPDATE bus_sequences SET first = $4, next = $5, blocks = $6, due_at = $7, used_at = $8 "
        "WHERE sensor = $1 AND topic = $2 AND run = $3";
    const int64_t due = sequence_due(s, wait_ns);
    const size_t len = s->n * SEQUENCE_BLOCK_BYTES;
    uint8_t *blocks = malloc(len + 1);

    if (blocks == NULL)
        return err_set(e, -ENOMEM, "bus: out of memory");
    sequence_write(s, blocks);
    const struct db_value due_value = due > 0 ? db_int(due) : db_null();
    int r = db_defer(tx, s->is_kept ? update : insert,
                     DB_ARGS(db_str(key->sensor), db_str(key->topic), db_str(key->run),
                             db_int(s->first), db_int(s->next), db_bytes(blocks, len), due_value,
                             db_int((int64_t)time_wall_ns())),
                     e);
    free(blocks);
    if (r == 0 && !s->is_kept)
        r = forget(tx, key, e);
    if (r == 0 && (ev->gaps != 0 || ev->missing != 0))
        r = db_defer(tx,
                     "UPDATE sensors SET gaps = gaps + $2, missing = missing + $3 WHERE name = $1",
                     DB_ARGS(db_str(key->sensor), db_int(ev->gaps), db_int(ev->missing)), e);
    return r;
}

/* ---------------------------------------------------------------- silent sensors */

struct swept {
    char *sensor, *topic, *run;
    struct sequence sequence;
    struct sequence_range lost[SEQUENCE_TOLD];
    size_t n_lost;
};

static int load_due(struct db_tx *tx, int64_t now_ns, struct swept *sw, size_t *ret_n,
                    struct err *e)
{
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;
    size_t n = 0;
    int r = db_query(tx,
                     "SELECT sensor, topic, run, first, next, blocks FROM bus_sequences "
                     "WHERE due_at <= $1 ORDER BY due_at LIMIT $2",
                     DB_ARGS(db_int(now_ns), db_int(SWEEP)), &s, e);

    while (r == 0 && n < SWEEP && (r = db_step(s, e)) == DB_ROW) {
        sw[n].sensor = strdup(db_text(s, 0));
        sw[n].topic = strdup(db_text(s, 1));
        sw[n].run = strdup(db_text(s, 2));
        WIND_CHECK(sw[n].sensor != NULL && sw[n].topic != NULL && sw[n].run != NULL);
        take_row(&sw[n].sequence, s, 3);
        n++;
        r = 0;
    }
    *ret_n = n;
    return r;
}

struct sweep {
    int64_t now_ns, wait_ns;
    struct sequence_events ev;
    struct swept swept[SWEEP];
    size_t n;
};

static int settle_due(struct db_tx *tx, struct sweep *w, struct err *e)
{
    int r = load_due(tx, w->now_ns, w->swept, &w->n, e);

    for (size_t i = 0; r == 0 && i < w->n; i++) {
        struct swept *sw = &w->swept[i];
        const struct sequence_key key = {sw->sensor, sw->topic, sw->run};
        struct sequence_events ev = {0};
        sw->n_lost = sequence_settle(&sw->sequence, w->now_ns, w->wait_ns, &ev, sw->lost);
        w->ev.gaps += ev.gaps;
        w->ev.missing += ev.missing;
        r = sequence_save(tx, &key, &sw->sequence, w->wait_ns, &ev, e);
    }
    return r;
}

static int settle_in(struct db *db, struct sweep *w, struct err *e)
{
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;
    int r = db_begin_write(db, &tx, e);

    if (r == 0)
        r = settle_due(tx, w, e);
    return r == 0 ? db_commit(&tx, e) : r;
}

static bool is_any_due(struct db *db, int64_t now_ns, int *ret_r, struct err *e)
{
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;
    int64_t n = 0;

    *ret_r = db_begin_single(db, &tx, e);
    if (*ret_r == 0)
        *ret_r = db_query_i64(tx, "SELECT count(*) FROM bus_sequences WHERE due_at <= $1",
                              DB_ARGS(db_int(now_ns)), &n, e);
    return n > 0;
}

static void swept_done(struct swept *sw)
{
    free(sw->sensor);
    free(sw->topic);
    free(sw->run);
    sequence_done(&sw->sequence);
}

int sequence_sweep(struct db *db, int64_t now_ns, int64_t wait_ns, sequence_lost *lost,
                   struct sequence_events *ev, struct err *e)
{
    int r = 0;

    if (!is_any_due(db, now_ns, &r, e))
        return r;
    struct sweep *w = calloc(1, sizeof(*w));
    if (w == NULL)
        return err_set(e, -ENOMEM, "bus: out of memory");
    w->now_ns = now_ns;
    w->wait_ns = wait_ns;
    r = settle_in(db, w, e);
    if (r == 0) {
        ev->gaps += w->ev.gaps;
        ev->missing += w->ev.missing;
    }
    for (size_t i = 0; i < w->n; i++) {
        struct swept *sw = &w->swept[i];
        const struct sequence_key key = {sw->sensor, sw->topic, sw->run};
        for (size_t k = 0; r == 0 && k < sw->n_lost; k++)
            lost(&key, &sw->lost[k]);
        swept_done(sw);
    }
    free(w);
    return r;
}
