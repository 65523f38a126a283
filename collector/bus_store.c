#include "collector/bus_store.h"

#include <errno.h>
#include <stdlib.h>

#include "collector/sensors.h"
#include "common/count.h"
#include "common/hash.h"
#include "common/log.h"
#include "common/time.h"

#define NONE        UINT32_MAX
#define ATTEMPTS    3  /* before one message alone is to blame */
#define LOSSES_MAX  16 /* told one by one, of a batch */
#define VERSION_MAX 64
#define ASKED       8 /* sequences asked for at a time */

/* The messages of one sensor and topic, in their order: a list through `next`. */
struct group {
    const char *sensor;
    enum bus_topic topic;
    uint32_t first, last;
    struct db_stmt *asked; /* for the sequence of its first run; NULL: it has none */
};

struct loss {
    struct sequence_key key; /* borrowed from the messages */
    struct sequence_range range;
};

/* What one transaction did: it counts when it has lasted. */
struct outcome {
    uint64_t beats, unnumbered;
    struct sequence_events events;
    size_t n_losses;
    struct loss losses[LOSSES_MAX];
};

struct bus_store {
    struct bus_store_conf conf;
    struct bus_tally tally;
    struct group *groups;
    uint32_t *next, *slots; /* slots: a hash table of groups, `mask` + 1 of them */
    struct ingest_item *items;
    uint32_t *index; /* which message an item is */
    size_t n_groups, mask;
    struct outcome now;
    struct bus_message *m; /* of this transaction */
    int64_t now_ns;
};

struct bus_store *bus_store_free(struct bus_store *s)
{
    if (s == NULL)
        return NULL;
    free(s->groups);
    free(s->next);
    free(s->slots);
    free(s->items);
    free(s->index);
    free(s);
    return NULL;
}

int bus_store_new(struct bus_store **ret_store, const struct bus_store_conf *conf, struct err *e)
{
    WIND_AUTO(bus_store) struct bus_store *s = calloc(1, sizeof(*s));
    size_t slots = 1;

    if (s == NULL)
        return err_set(e, -ENOMEM, "bus: out of memory");
    s->conf = *conf;
    while (slots < 2 * conf->max)
        slots *= 2;
    s->mask = slots - 1;
    s->groups = calloc(conf->max, sizeof(*s->groups));
    s->next = calloc(conf->max, sizeof(*s->next));
    s->items = calloc(conf->max, sizeof(*s->items));
    s->index = calloc(conf->max, sizeof(*s->index));
    s->slots = calloc(slots, sizeof(*s->slots));
    if (s->groups == NULL || s->next == NULL || s->items == NULL || s->index == NULL ||
        s->slots == NULL)
        return err_set(e, -ENOMEM, "bus: out of memory for batches of %zu messages", conf->max);
    *ret_store = WIND_STEAL(s);
    return 0;
}

const struct bus_tally *bus_store_tally(const struct bus_store *s)
{
    return &s->tally;
}

/* ---------------------------------------------------------------- who sent what */

static struct group *group_of(struct bus_store *s, const struct bus_message *m)
{
    const size_t len = strlen(m->sensor);

    for (size_t at = hash64(m->sensor, len, (uint64_t)m->topic) & s->mask;;
         at = (at + 1) & s->mask) {
        if (s->slots[at] == NONE) {
            struct group *g = &s->groups[s->n_groups];
            *g = (struct group){.sensor = m->sensor, .topic = m->topic, .first = NONE};
            s->slots[at] = (uint32_t)s->n_groups++;
            return g;
        }
        struct group *g = &s->groups[s->slots[at]];
        if (g->topic == m->topic && strcmp(g->sensor, m->sensor) == 0)
            return g;
    }
}

/* A message whose sensor nobody knows belongs to no group: it is rejected, and that is all. */
static void make_groups(struct bus_store *s, struct bus_message *m, size_t n)
{
    s->n_groups = 0;
    memset(s->slots, 0xff, (s->mask + 1) * sizeof(*s->slots));
    for (size_t i = 0; i < n; i++) {
        s->next[i] = NONE;
        if (m[i].is_stored || m[i].sensor == NULL)
            continue;
        struct group *g = group_of(s, &m[i]);
        if (g->first == NONE)
            g->first = (uint32_t)i;
        else
            s->next[g->last] = (uint32_t)i;
        g->last = (uint32_t)i;
    }
}

/* ---------------------------------------------------------------- heartbeats */

static json_t *parse(struct bus_message *m)
{
    json_error_t why;
    json_t *o = json_loadb(m->value, m->len, JSON_REJECT_DUPLICATES, &why);

    if (o == NULL)
        bus_message_reject(m, "not JSON: %.100s", why.text);
    return o;
}

/* {"event_type": "stats", "stats": {...}} */
static int put_beat(struct bus_store *s, struct db_tx *tx, const struct group *g,
                    struct bus_message *m, struct err *e)
{
    json_t *o = parse(m);
    const json_t *stats = json_object_get(o, "stats");
    const char *version = json_string_value(json_object_get(json_object_get(o, "wind"), "version"));
    const char *type = json_string_value(json_object_get(o, "event_type"));
    int r = 0;

    if (o != NULL && (!json_is_object(stats) || type == NULL || strcmp(type, "stats") != 0)) {
        bus_message_reject(m, "a heartbeat must be an event of type stats, with stats");
    } else if (o != NULL) {
        char *text = json_dumps(stats, JSON_COMPACT);
        const struct sensor_report report = {
            .name = g->sensor,
            .version = version != NULL && strlen(version) <= VERSION_MAX ? version : NULL,
            .stats = text,
            .sent_ns = m->time_ns,
        };
        r = sensor_seen(tx, &report, e);
        free(text);
        s->now.beats++;
    }
    json_decref(o);
    return r;
}

static int put_health(struct bus_store *s, struct db_tx *tx, const struct group *g, struct err *e)
{
    int r = 0;

    for (uint32_t i = g->first; r == 0 && i != NONE; i = s->next[i])
        if (s->m[i].reason == NULL)
            r = put_beat(s, tx, g, &s->m[i], e);
    return r;
}

/* ---------------------------------------------------------------- numbers */

static void add_events(struct sequence_events *sum, const struct sequence_events *ev)
{
    sum->gaps += ev->gaps;
    sum->missing += ev->missing;
    sum->duplicates += ev->duplicates;
    sum->reordered += ev->reordered;
    sum->found += ev->found;
}

static uint32_t skip_unnumbered(struct bus_store *s, uint32_t at)
{
    for (; at != NONE && s->m[at].run == NULL; at = s->next[at])
        s->now.unnumbered++;
    return at;
}

static struct sequence_key key_of(const struct bus_store *s, const struct group *g, uint32_t at)
{
    return (struct sequence_key){g->sensor, bus_topic_words[g->topic], s->m[at].run};
}

static void note_lost(struct outcome *o, const struct sequence_key *key,
                      const struct sequence_range *lost, size_t n)
{
    for (size_t i = 0; i < n && o->n_losses < LOSSES_MAX; i++)
        o->losses[o->n_losses++] = (struct loss){*key, lost[i]};
}

/* The messages of one run, from *at to where another run begins. */
static int number_run(struct bus_store *s, struct db_tx *tx, const struct group *g,
                      struct db_stmt *asked, uint32_t *at, struct err *e)
{
    const struct sequence_key key = key_of(s, g, *at);
    struct sequence_range lost[SEQUENCE_TOLD];
    struct sequence_events ev = {0};
    struct sequence q;

    int r = sequence_load(asked, &q, e);
    if (r != 0)
        return r;
    while (*at != NONE && strcmp(s->m[*at].run, key.run) == 0) {
        (void)sequence_take(&q, s->m[*at].seq, &ev);
        *at = skip_unnumbered(s, s->next[*at]);
    }
    const size_t n = sequence_settle(&q, s->now_ns, s->conf.gap_wait_ns, &ev, lost);
    note_lost(&s->now, &key, lost, n);
    add_events(&s->now.events, &ev);
    r = sequence_save(tx, &key, &q, s->conf.gap_wait_ns, &ev, e);
    sequence_done(&q);
    return r;
}

static int number_group(struct bus_store *s, struct db_tx *tx, struct group *g, uint32_t at,
                        struct err *e)
{
    int r = 0;

    while (r == 0 && at != NONE) {
        WIND_AUTO(db_stmt) struct db_stmt *stmt = WIND_STEAL(g->asked);
        const struct sequence_key key = key_of(s, g, at);
        if (stmt == NULL)
            r = sequence_ask(tx, &key, &stmt, e);
        if (r == 0)
            r = number_run(s, tx, g, stmt, &at, e);
    }
    return r;
}

/* A few groups: their questions go out together. */
static int number_groups(struct bus_store *s, struct db_tx *tx, struct group *g, size_t n,
                         struct err *e)
{
    uint32_t at[ASKED];
    int r = 0;

    for (size_t i = 0; i < n; i++) {
        at[i] = skip_unnumbered(s, g[i].first);
        const struct sequence_key key =
            at[i] == NONE ? (struct sequence_key){0} : key_of(s, &g[i], at[i]);
        if (r == 0 && at[i] != NONE)
            r = sequence_ask(tx, &key, &g[i].asked, e);
    }
    for (size_t i = 0; i < n; i++) {
        if (r == 0)
            r = number_group(s, tx, &g[i], at[i], e);
        g[i].asked = db_stmt_free(g[i].asked);
    }
    return r;
}

/* ---------------------------------------------------------------- one transaction */

/* The sensor was heard, and this many of its messages are refused before anybody looked inside. */
static int note_rejected(struct bus_store *s, struct db_tx *tx, const struct group *g,
                         struct err *e)
{
    struct sensor_report report = {.name = g->sensor};

    for (uint32_t i = g->first; i != NONE; i = s->next[i]) {
        report.rejected += s->m[i].reason != NULL;
        if (s->m[i].time_ns > report.sent_ns)
            report.sent_ns = s->m[i].time_ns;
    }
    return report.rejected > 0 ? sensor_seen(tx, &report, e) : 0;
}

/* After the alerts, in their transaction. */
static int put_rest(struct db_tx *tx, void *arg, struct err *e)
{
    struct bus_store *s = arg;
    int r = 0;

    for (size_t i = 0; r == 0 && i < s->n_groups; i++) {
        const struct group *g = &s->groups[i];
        if (g->topic == BUS_HEALTH)
            r = put_health(s, tx, g, e);
        if (r == 0)
            r = note_rejected(s, tx, g, e);
    }
    for (size_t i = 0; r == 0 && i < s->n_groups; i += ASKED)
        r = number_groups(s, tx, &s->groups[i], s->n_groups - i < ASKED ? s->n_groups - i : ASKED,
                          e);
    return r > 0 ? err_set(e, -EINVAL, "a key of the batch does not fit") : r;
}

static size_t list_items(struct bus_store *s, size_t n)
{
    size_t n_items = 0;

    for (size_t i = 0; i < n; i++) {
        const struct bus_message *m = &s->m[i];
        if (m->is_stored || m->reason != NULL || m->topic != BUS_ALERTS)
            continue;
        s->index[n_items] = (uint32_t)i;
        s->items[n_items++] = (struct ingest_item){
            .json = m->value, .len = m->len, .sensor = m->sensor, .sent_ns = m->time_ns};
    }
    return n_items;
}

static void tell_loss(const struct sequence_key *key, const struct sequence_range *lost)
{
    log_warn("bus: sensor '%s': %s %lld to %lld of run '%s' did not come, %lld are lost",
             key->sensor, key->topic, (long long)lost->from, (long long)lost->to, key->run,
             (long long)(lost->to - lost->from + 1));
}

static void count_events(struct bus_tally *t, const struct sequence_events *ev)
{
    count(&t->gaps, (uint64_t)ev->gaps);
    count(&t->missing, (uint64_t)(ev->missing + ev->found)); /* as it was told */
    count(&t->found, (uint64_t)ev->found);
    count(&t->duplicates, (uint64_t)ev->duplicates);
    count(&t->reordered, (uint64_t)ev->reordered);
}

static void count_outcome(struct bus_store *s, const struct ingest_result *res)
{
    const struct outcome *o = &s->now;
    struct bus_tally *t = &s->tally;

    count(&t->stored[BUS_ALERTS], (uint64_t)res->n[INGEST_STORED]);
    count(&t->updated[BUS_ALERTS], (uint64_t)res->n[INGEST_UPDATED]);
    count(&t->known[BUS_ALERTS], (uint64_t)res->n[INGEST_KNOWN]);
    count(&t->stored[BUS_HEALTH], o->beats);
    count(&t->unnumbered, o->unnumbered);
    count_events(t, &o->events);
    for (size_t i = 0; i < o->n_losses; i++)
        tell_loss(&o->losses[i].key, &o->losses[i].range);
    if (o->events.gaps > (int64_t)o->n_losses)
        log_warn("bus: %lld gaps besides", (long long)o->events.gaps - (long long)o->n_losses);
}

static void take_outcomes(struct bus_store *s, size_t n, const struct ingest_result *res)
{
    for (size_t i = 0; i < res->n_outcomes; i++)
        if (res->outcomes[i].state == INGEST_REJECTED)
            bus_message_reject(&s->m[s->index[i]], "%s", res->outcomes[i].reason);
    for (size_t i = 0; i < n; i++) {
        count(&s->tally.rejected, !s->m[i].is_stored && s->m[i].reason != NULL);
        s->m[i].is_stored = true;
    }
}

static bool is_any_left(const struct bus_message *m, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!m[i].is_stored)
            return true;
    return false;
}

/* All that is not stored yet, or nothing. */
static int put_once(struct bus_store *s, struct bus_message *m, size_t n, struct err *e)
{
    struct ingest_result res;

    if (!is_any_left(m, n))
        return 0;

    s->now = (struct outcome){0};
    s->m = m;
    s->now_ns = (int64_t)time_wall_ns();
    make_groups(s, m, n);
    const struct ingest_batch batch = {
        .items = s->items, .n_items = list_items(s, n), .also = put_rest, .also_arg = s};
    const int r = ingest_batch(s->conf.ingest, &batch, &res, e);
    if (r != 0)
        return r;
    count_outcome(s, &res);
    take_outcomes(s, n, &res);
    ingest_result_done(&res);
    return 0;
}

/* ---------------------------------------------------------------- when it fails */

/* It says so itself: no message is to blame. */
static bool is_away(int r)
{
    return r == -EBUSY || r == -ENOSPC || r == -EROFS || r == -ENOMEM || r == -EAGAIN;
}

/* The same transaction without it tells whether it was the message. */
static int put_single(struct bus_store *s, struct bus_message *m, struct err *e)
{
    struct err without = {0};
    int r = -EINVAL;

    for (int i = 0; r != 0 && i < ATTEMPTS; i++)
        if ((r = put_once(s, m, 1, e)) != 0 && is_away(r))
            return r;
    if (r == 0 || m->reason != NULL)
        return r;
    bus_message_reject(m, "the database refuses it: %s", e->text);
    if (put_once(s, m, 1, &without) == 0)
        return 0;
    free(m->reason);
    m->reason = NULL;
    return r;
}

/* What is refused is halved until it is one message; what is not may double again. */
int bus_store_put(struct bus_store *s, struct bus_message *m, size_t n, struct err *e)
{
    size_t size = n;

    for (size_t at = 0; at < n;) {
        const size_t now = size < n - at ? size : n - at;
        const int r = now == 1 ? put_single(s, &m[at], e) : put_once(s, &m[at], now, e);
        if (r == 0) {
            at += now;
            size *= 2;
        } else if (now == 1 || is_away(r)) {
            return r;
        } else {
            count(&s->tally.splits, 1);
            size = now / 2;
        }
    }
    return 0;
}

int bus_store_sweep(struct bus_store *s, struct err *e)
{
    struct sequence_events ev = {0};
    const int r =
        sequence_sweep(s->conf.db, (int64_t)time_wall_ns(), s->conf.gap_wait_ns, tell_loss, &ev, e);

    count_events(&s->tally, &ev);
    return r;
}
