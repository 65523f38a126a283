#include "collector/bus.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "collector/bus_dlq.h"
#include "collector/bus_kafka.h"
#include "collector/bus_store.h"
#include "collector/metrics.h"
#include "common/count.h"
#include "common/log.h"
#include "common/time.h"

#define POLL_MS      100
#define BACKOFF_MS   100
#define BACKOFF_MAX  5000
#define LOOK_NS      WIND_NS_PER_S
#define SWEEP_NS     (5 * WIND_NS_PER_S)
#define RECONNECT_MS 5000
#define STORE_NS     (1 * WIND_NS_PER_S) /* a transaction is to be no longer: others write too */
#define BATCH_MIN    500
#define AGAIN_NS     (60 * WIND_NS_PER_S) /* what stays wrong is logged again after */

const char *const bus_state_words[] = {"ok", "away", "joining", "database", "dlq", NULL};

struct bus {
    struct bus_conf conf;
    struct bus_kafka_conf kafka_conf;
    struct bus_store *store;
    struct bus_dlq *dlq;

    /* the thread's own */
    struct bus_message *hand;
    size_t n, batch; /* batch: so many may be in hand; follows the database's pace */
    uint64_t looked_ns, swept_ns;

    pthread_t thread;
    bool is_started;
    pthread_mutex_t lock;    /* guards kafka while another thread looks at it */
    struct bus_kafka *kafka; /* NULL while there is none */
    _Atomic bool is_stopping;
    _Atomic int stuck; /* BUS_OK, BUS_DATABASE, BUS_DLQ */
    _Atomic uint64_t fetched[BUS_TOPICS], dead[BUS_TOPICS], returned[BUS_TOPICS];
    _Atomic uint64_t in_hand, batches, database_failures, dlq_failures, sweep_failures;
};

static bool is_stopping(struct bus *b)
{
    return atomic_load_explicit(&b->is_stopping, memory_order_relaxed);
}

/* ---------------------------------------------------------------- the batch in hand */

/* Headers are parsed where they lie; the message keeps them. */
static void read_message(struct bus_message *m, rd_kafka_message_t *msg, int topic)
{
    rd_kafka_timestamp_type_t type;
    rd_kafka_headers_t *headers = NULL;
    const char *name;
    const void *value;
    size_t len;

    *m = (struct bus_message){
        .native = msg,
        .topic = (enum bus_topic)topic,
        .partition = msg->partition,
        .offset = msg->offset,
        .value = msg->payload,
        .len = msg->len,
        .seq = -1,
    };
    const int64_t ms = rd_kafka_message_timestamp(msg, &type);
    if (type != RD_KAFKA_TIMESTAMP_NOT_AVAILABLE && ms > 0 && ms < INT64_MAX / 1000000)
        m->time_ns = ms * 1000000;
    if (rd_kafka_message_headers(msg, &headers) == RD_KAFKA_RESP_ERR_NO_ERROR)
        for (size_t i = 0; rd_kafka_header_get_all(headers, i, &name, &value, &len) == 0; i++)
            bus_message_header(m, name, value, len);
    bus_message_check(m);
}

/* What is not done comes again. */
static void release(struct bus *b, struct bus_message *m)
{
    count(&b->returned[m->topic], !m->is_done);
    rd_kafka_message_destroy(m->native);
    free(m->reason);
    *m = (struct bus_message){0};
    count_set(&b->in_hand, count_get(&b->in_hand) - 1);
}

static bool take(struct bus *b, rd_kafka_message_t *msg)
{
    const int topic = bus_topic_find(b->conf.prefix, rd_kafka_topic_name(msg->rkt));

    if (topic < 0) { /* nothing else was subscribed */
        rd_kafka_message_destroy(msg);
        return false;
    }
    read_message(&b->hand[b->n++], msg, topic);
    count(&b->fetched[topic], 1);
    count(&b->in_hand, 1);
    return true;
}

/* Until the batch is full, or kafka.batch_wait after its first message. */
static void collect(struct bus *b)
{
    uint64_t until = 0;
    int64_t bytes = 0;

    while (b->n < b->batch && bytes < b->conf.batch_bytes && !is_stopping(b)) {
        int wait_ms = POLL_MS;
        if (b->n > 0) {
            const uint64_t now = time_mono_ns();
            if (now >= until)
                return;
            wait_ms = (int)((until - now) / WIND_NS_PER_MS) + 1;
        }
        rd_kafka_message_t *msg = bus_kafka_poll(b->kafka, wait_ms);
        if (msg == NULL && b->n == 0)
            return;
        if (msg == NULL)
            continue;
        const int64_t len = (int64_t)msg->len;
        if (!take(b, msg))
            continue;
        bytes += len;
        if (b->n == 1)
            until = time_mono_ns() + (uint64_t)b->conf.batch_wait_ns;
    }
}

/* Tell the group how far each partition is done. Messages of one come in their order. */
static void settle_offsets(struct bus *b, const struct bus_part *only)
{
    for (size_t i = 0; i < b->n; i++) {
        const struct bus_message *m = &b->hand[i];
        bool is_first = true;
        if (only != NULL && (m->topic != only->topic || m->partition != only->partition))
            continue;
        for (size_t k = i; k-- > 0 && is_first;)
            is_first = b->hand[k].partition != m->partition || b->hand[k].topic != m->topic;
        if (!is_first)
            continue;
        int64_t next = -1;
        for (size_t k = i; k < b->n; k++) {
            if (b->hand[k].partition != m->partition || b->hand[k].topic != m->topic)
                continue;
            if (!b->hand[k].is_done)
                break;
            next = b->hand[k].offset + 1;
        }
        if (next >= 0)
            bus_kafka_done(b->kafka, m->topic, m->partition, next);
    }
}

/* The hook: these come again, to whoever has the partition then. */
static void give_up(void *arg, enum bus_topic topic, int32_t partition)
{
    struct bus *b = arg;
    const struct bus_part part = {.topic = topic, .partition = partition};
    size_t kept = 0;

    settle_offsets(b, &part);
    for (size_t i = 0; i < b->n; i++) {
        struct bus_message *m = &b->hand[i];
        if (m->topic != topic || m->partition != partition) {
            b->hand[kept++] = *m;
            continue;
        }
        release(b, m);
    }
    b->n = kept;
}

static void drop_hand(struct bus *b)
{
    for (size_t i = 0; i < b->n; i++)
        release(b, &b->hand[i]);
    b->n = 0;
}

/* ---------------------------------------------------------------- what becomes of it */

/* How many a transaction of STORE_NS would have taken, at the pace of this one. */
static void follow_pace(struct bus *b, uint64_t took_ns)
{
    const size_t max = (size_t)b->conf.batch, min = max < BATCH_MIN ? max : BATCH_MIN;
    const size_t fit = (size_t)(b->n * STORE_NS / (took_ns + 1));

    if (b->n < min)
        return;
    b->batch = fit < b->batch ? fit : b->batch + b->batch / 4;
    b->batch = b->batch < min ? min : b->batch > max ? max : b->batch;
}

static int store(struct bus *b, struct err *e)
{
    const uint64_t began_ns = time_mono_ns();
    const int r = bus_store_put(b->store, b->hand, b->n, e);

    for (size_t i = 0; i < b->n; i++)
        if (b->hand[i].is_stored && b->hand[i].reason == NULL)
            b->hand[i].is_done = true;
    if (r != 0)
        count(&b->database_failures, 1);
    else
        follow_pace(b, time_mono_ns() - began_ns);
    return r;
}

static uint64_t count_dead(const struct bus *b, enum bus_topic topic)
{
    uint64_t n = 0;

    for (size_t i = 0; i < b->n; i++)
        n += b->hand[i].topic == topic && b->hand[i].is_done && b->hand[i].reason != NULL;
    return n;
}

static int bury(struct bus *b, struct err *e)
{
    uint64_t before[BUS_TOPICS];

    for (int t = 0; t < BUS_TOPICS; t++)
        before[t] = count_dead(b, (enum bus_topic)t);
    const int r = bus_dlq_send(b->dlq, b->hand, b->n, e);
    for (int t = 0; t < BUS_TOPICS; t++)
        count(&b->dead[t], count_dead(b, (enum bus_topic)t) - before[t]);
    if (r != 0)
        count(&b->dlq_failures, 1);
    return r;
}

/* One step on. BUS_OK: all is done; else what it waits for. */
static enum bus_state advance(struct bus *b, struct err *e)
{
    if (store(b, e) != 0)
        return BUS_DATABASE;
    return bury(b, e) != 0 ? BUS_DLQ : BUS_OK;
}

static void finish(struct bus *b)
{
    settle_offsets(b, NULL);
    bus_kafka_commit(b->kafka);
    drop_hand(b);
    count(&b->batches, 1);
}

static void look(struct bus *b)
{
    const uint64_t now = time_mono_ns();
    struct err e = {0};

    if (now - b->looked_ns >= LOOK_NS) {
        b->looked_ns = now;
        bus_kafka_look(b->kafka);
    }
    if (now - b->swept_ns >= SWEEP_NS) {
        b->swept_ns = now;
        if (bus_store_sweep(b->store, &e) != 0)
            count(&b->sweep_failures, 1);
    }
}

/* Everything in hand is stored or dead, or has gone to others; however long that takes. */
static void settle(struct bus *b)
{
    enum bus_state stuck;
    struct err e = {0};
    int backoff = BACKOFF_MS;
    uint64_t said_ns = 0;

    while (b->n > 0 && (stuck = advance(b, &e)) != BUS_OK) {
        const uint64_t now = time_mono_ns();
        if (said_ns == 0 || now - said_ns > AGAIN_NS) {
            log_error("bus: %s; %zu messages wait, trying again", e.text, b->n);
            said_ns = now;
        }
        atomic_store_explicit(&b->stuck, (int)stuck, memory_order_relaxed);
        bus_kafka_wait(b->kafka, backoff);
        look(b);
        backoff = 2 * backoff < BACKOFF_MAX ? 2 * backoff : BACKOFF_MAX;
        if (is_stopping(b))
            return;
    }
    if (said_ns != 0)
        log_info("bus: going on");
    atomic_store_explicit(&b->stuck, BUS_OK, memory_order_relaxed);
    bus_kafka_resume(b->kafka);
    if (b->n > 0)
        finish(b);
}

/* ---------------------------------------------------------------- the thread */

static void set_kafka(struct bus *b, struct bus_kafka *k)
{
    (void)pthread_mutex_lock(&b->lock);
    struct bus_kafka *old = b->kafka;
    b->kafka = k;
    (void)pthread_mutex_unlock(&b->lock);
    bus_kafka_free(old); /* only this thread uses it by now */
}

/* What only a new connection mends, such as a member id that somebody else took. */
static void reconnect(struct bus *b)
{
    struct bus_kafka *k = NULL;
    struct err e = {0};

    drop_hand(b);
    set_kafka(b, NULL);
    while (!is_stopping(b) && bus_kafka_new(&k, &b->kafka_conf, &e) != 0) {
        log_error("bus: %s, trying again", e.text);
        for (int i = 0; i < RECONNECT_MS / POLL_MS && !is_stopping(b); i++)
            (void)usleep(POLL_MS * 1000);
    }
    set_kafka(b, k);
}

static void *run(void *arg)
{
    struct bus *b = arg;

    (void)pthread_setname_np(pthread_self(), "wind-bus");

    while (!is_stopping(b)) {
        if (b->kafka == NULL || bus_kafka_is_broken(b->kafka)) {
            reconnect(b);
            continue;
        }
        collect(b);
        settle(b);
        look(b);
    }
    drop_hand(b);
    return NULL;
}

/* ---------------------------------------------------------------- life */

static struct bus_kafka_conf kafka_conf_of(const struct bus_conf *c)
{
    return (struct bus_kafka_conf){.brokers = c->brokers,
                                   .prefix = c->prefix,
                                   .group = c->group,
                                   .password_file = c->password_file,
                                   .options = &c->options,
                                   .queue_bytes = c->queue_bytes,
                                   .first = BUS_ALERTS,
                                   .end = BUS_TOPICS,
                                   .revoked = give_up};
}

static struct bus_dlq_conf dlq_conf_of(const struct bus_conf *c)
{
    return (struct bus_dlq_conf){.brokers = c->brokers,
                                 .prefix = c->prefix,
                                 .password_file = c->password_file,
                                 .options = &c->options};
}

int bus_check(const struct bus_conf *conf, struct err *e)
{
    const struct bus_kafka_conf kafka = kafka_conf_of(conf);
    const struct bus_dlq_conf dlq = dlq_conf_of(conf);
    const int r = bus_kafka_check(&kafka, e);

    return r == 0 ? bus_dlq_check(&dlq, e) : r;
}

int bus_new(struct bus **ret_bus, const struct bus_conf *conf, struct db *db, struct ingest *ingest,
            struct err *e)
{
    WIND_AUTO(bus) struct bus *b = calloc(1, sizeof(*b));

    if (b == NULL)
        return err_set(e, -ENOMEM, "bus: out of memory");
    (void)pthread_mutex_init(&b->lock, NULL);
    b->conf = *conf;
    b->kafka_conf = kafka_conf_of(&b->conf);
    b->kafka_conf.arg = b;
    b->batch = (size_t)conf->batch;
    b->hand = calloc(b->batch, sizeof(*b->hand));
    if (b->hand == NULL)
        return err_set(e, -ENOMEM, "bus: out of memory for %" PRId64 " messages", conf->batch);
    const struct bus_store_conf store_conf = {
        .db = db, .ingest = ingest, .max = (size_t)conf->batch, .gap_wait_ns = conf->gap_wait_ns};
    const struct bus_dlq_conf dlq = dlq_conf_of(&b->conf);
    int r = bus_store_new(&b->store, &store_conf, e);
    if (r == 0)
        r = bus_kafka_check(&b->kafka_conf, e);
    if (r == 0)
        r = bus_dlq_new(&b->dlq, &dlq, e);
    if (r != 0)
        return r;
    *ret_bus = WIND_STEAL(b);
    return 0;
}

int bus_start(struct bus *b, struct err *e)
{
    const int r = pthread_create(&b->thread, NULL, run, b);

    b->is_started = r == 0;
    return r == 0 ? 0 : err_set(e, -r, "bus: no thread");
}

void bus_stop(struct bus *b)
{
    if (b == NULL || !b->is_started)
        return;
    atomic_store_explicit(&b->is_stopping, true, memory_order_relaxed);
    (void)pthread_join(b->thread, NULL);
    b->is_started = false;
    set_kafka(b, NULL);
}

struct bus *bus_free(struct bus *b)
{
    if (b == NULL)
        return NULL;
    bus_stop(b);
    bus_dlq_free(b->dlq);
    bus_store_free(b->store);
    (void)pthread_mutex_destroy(&b->lock);
    free(b->hand);
    free(b);
    return NULL;
}

/* ---------------------------------------------------------------- what others see */

static void view(struct bus *b, struct bus_kafka_view *ret_view)
{
    *ret_view = (struct bus_kafka_view){0};
    (void)pthread_mutex_lock(&b->lock);
    if (b->kafka != NULL)
        bus_kafka_view(b->kafka, ret_view);
    (void)pthread_mutex_unlock(&b->lock);
}

static enum bus_state state_of(struct bus *b, const struct bus_kafka_view *v)
{
    const int stuck = atomic_load_explicit(&b->stuck, memory_order_relaxed);

    if (!v->is_up)
        return BUS_AWAY;
    if (stuck != BUS_OK)
        return (enum bus_state)stuck;
    return v->is_member ? BUS_OK : BUS_JOINING;
}

enum bus_state bus_state_now(struct bus *b)
{
    struct bus_kafka_view v;

    view(b, &v);
    return state_of(b, &v);
}

static void print_messages(struct bus *b, struct buf *out)
{
    const struct bus_tally *t = bus_store_tally(b->store);
    const struct {
        const char *name;
        const _Atomic uint64_t *n;
    } outcomes[] = {
        {"stored", t->stored}, {"updated", t->updated},   {"known", t->known},
        {"dlq", b->dead},      {"returned", b->returned},
    };

    buf_puts(out, "# HELP wind_bus_fetched_total Messages taken from the bus.\n"
                  "# TYPE wind_bus_fetched_total counter\n");
    for (size_t i = 0; i < BUS_TOPICS; i++)
        buf_printf(out, "wind_bus_fetched_total{topic=\"%s\"} %" PRIu64 "\n", bus_topic_words[i],
                   count_get(&b->fetched[i]));
    buf_puts(out, "# HELP wind_bus_messages_total What became of them; returned: not stored here, "
                  "so they come again.\n# TYPE wind_bus_messages_total counter\n");
    for (size_t i = 0; i < BUS_TOPICS; i++)
        for (size_t o = 0; o < WIND_ARRAY_SIZE(outcomes); o++)
            buf_printf(out, "wind_bus_messages_total{topic=\"%s\",outcome=\"%s\"} %" PRIu64 "\n",
                       bus_topic_words[i], outcomes[o].name, count_get(&outcomes[o].n[i]));
}

static void print_lag(const struct bus_kafka_view *v, struct buf *out)
{
    buf_puts(out, "# HELP wind_bus_lag Messages of a partition of ours that are not done.\n"
                  "# TYPE wind_bus_lag gauge\n");
    for (size_t i = 0; i < v->n_shown; i++)
        buf_printf(out, "wind_bus_lag{topic=\"%s\",partition=\"%d\"} %" PRId64 "\n",
                   bus_topic_words[v->parts[i].topic], (int)v->parts[i].partition, v->parts[i].lag);
}

static void print_state(enum bus_state now, struct buf *out)
{
    buf_puts(out, "# HELP wind_bus_state Which one is 1: the bus is so.\n"
                  "# TYPE wind_bus_state gauge\n");
    for (int i = 0; i < BUS_STATES; i++)
        buf_printf(out, "wind_bus_state{state=\"%s\"} %d\n", bus_state_words[i], i == (int)now);
}

/* name, type, help, value */
#define NUMBERS(N)                                                                                 \
    N("wind_bus_in_hand", "gauge", "Messages of the batch at work.", count_get(&b->in_hand))       \
    N("wind_bus_queue", "gauge", "Messages fetched ahead.", v.queued)                              \
    N("wind_bus_lag_sum", "gauge", "Messages of all our partitions that are not done.",            \
      (uint64_t)v.lag)                                                                             \
    N("wind_bus_lag_max", "gauge", "Of the partition that has most.", (uint64_t)v.lag_max)         \
    N("wind_bus_partitions", "gauge", "Partitions that are ours.", v.n_parts)                      \
    N("wind_bus_rebalances_total", "counter", "Times that our share of the partitions changed.",   \
      v.rebalances)                                                                                \
    N("wind_bus_batches_total", "counter", "Batches that were done.", count_get(&b->batches))      \
    N("wind_bus_splits_total", "counter", "Batches halved to find what the database refuses.",     \
      count_get(&t->splits))                                                                       \
    N("wind_bus_rejected_total", "counter", "Messages that can't be stored.",                      \
      count_get(&t->rejected))                                                                     \
    N("wind_bus_database_failures_total", "counter", "Attempts that the database did not take.",   \
      count_get(&b->database_failures))                                                            \
    N("wind_bus_dlq_failures_total", "counter", "Attempts that wind.dlq did not take.",            \
      count_get(&b->dlq_failures))                                                                 \
    N("wind_bus_commits_total", "counter", "Times that offsets were committed.", v.commits)        \
    N("wind_bus_commits_failed_total", "counter", "Times that they were not.", v.commits_failed)   \
    N("wind_bus_errors_total", "counter", "Errors of the bus.", v.errors)                          \
    N("wind_bus_last_error_timestamp_seconds", "gauge", "When the last one was; 0 = never.",       \
      (uint64_t)v.error_ns / WIND_NS_PER_S)                                                        \
    N("wind_bus_unnumbered_total", "counter", "Messages without seq: no gap would be seen.",       \
      count_get(&t->unnumbered))                                                                   \
    N("wind_bus_gap_total", "counter", "Gaps in the numbers of a sensor's messages.",              \
      count_get(&t->gaps))                                                                         \
    N("wind_bus_missing_total", "counter", "Messages in these gaps.", count_get(&t->missing))      \
    N("wind_bus_found_total", "counter", "Of them, those that came after all.",                    \
      count_get(&t->found))                                                                        \
    N("wind_bus_duplicates_total", "counter", "Messages whose number had come before.",            \
      count_get(&t->duplicates))                                                                   \
    N("wind_bus_reordered_total", "counter", "Messages that came after a higher number.",          \
      count_get(&t->reordered))

void bus_print(struct bus *b, struct buf *out)
{
    const struct bus_tally *t = bus_store_tally(b->store);
    struct bus_kafka_view v;

    view(b, &v);
    print_state(state_of(b, &v), out);
    print_messages(b, out);
    print_lag(&v, out);
#define N(name, type, help, value) metrics_print_one(out, name, type, help, value);
    NUMBERS(N)
#undef N
}
