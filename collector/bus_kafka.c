#include "collector/bus_kafka.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/kafka_conf.h"
#include "common/log.h"
#include "common/time.h"

#define PROBE_MS       500
#define PROBE_EVERY_NS (1 * WIND_NS_PER_S)
#define REPEAT_NS      (60 * WIND_NS_PER_S) /* the same error is logged again after */
#define LAG_QUERY_NS   (5 * WIND_NS_PER_S)  /* while paused, when fetches don't tell */
#define LAG_BUDGET_NS  (2 * WIND_NS_PER_S)
#define UNKNOWN        INT64_C(-1)

struct part {
    enum bus_topic topic;
    int32_t partition;
    int64_t next; /* everything before it is done; UNKNOWN: ask the broker */
    int64_t high;
};

struct bus_kafka {
    struct bus_kafka_conf conf;
    rd_kafka_t *rk;
    rd_kafka_queue_t *queue;
    struct part *parts;
    size_t n_parts, room;
    bool is_paused, is_broken, was_assigned, has_uncommitted;
    uint64_t probed_ns, asked_ns;
    int logged_code;
    uint64_t logged_ns;
    pthread_mutex_t lock; /* guards view */
    struct bus_kafka_view view;
};

/* ---------------------------------------------------------------- what goes wrong */

static void set_up(struct bus_kafka *k, bool is_up)
{
    (void)pthread_mutex_lock(&k->lock);
    const bool was_up = k->view.is_up;
    k->view.is_up = is_up;
    (void)pthread_mutex_unlock(&k->lock);
    if (is_up && !was_up)
        log_info("bus: a broker answers");
    else if (!is_up && was_up)
        log_warn("bus: no broker answers; what sensors send waits until one does");
}

/* Counted always, logged when it is another one than before, or a minute later. */
static void note_error(struct bus_kafka *k, rd_kafka_resp_err_t code, const char *text)
{
    const uint64_t now = time_mono_ns();

    (void)pthread_mutex_lock(&k->lock);
    k->view.errors++;
    k->view.error_ns = (int64_t)time_wall_ns();
    (void)snprintf(k->view.error, sizeof(k->view.error), "%s", text);
    (void)pthread_mutex_unlock(&k->lock);
    if ((int)code == k->logged_code && now - k->logged_ns < REPEAT_NS)
        return;
    k->logged_code = code;
    k->logged_ns = now;
    log_warn("bus: %s, trying again", text);
}

static void on_error(rd_kafka_t *rk, int code, const char *reason, void *opaque)
{
    struct bus_kafka *k = opaque;

    if (code == RD_KAFKA_RESP_ERR__FATAL) {
        char text[200];
        const rd_kafka_resp_err_t why = rd_kafka_fatal_error(rk, text, sizeof(text));
        k->is_broken = true;
        note_error(k, why, text);
        return;
    }
    note_error(k, code, reason);
    if (code == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN)
        set_up(k, false);
}

static void on_commit(rd_kafka_t *rk, rd_kafka_resp_err_t code,
                      rd_kafka_topic_partition_list_t *offsets, void *opaque)
{
    struct bus_kafka *k = opaque;

    (void)rk;
    (void)offsets;
    if (code == RD_KAFKA_RESP_ERR__NO_OFFSET)
        return;
    (void)pthread_mutex_lock(&k->lock);
    k->view.commits += code == RD_KAFKA_RESP_ERR_NO_ERROR;
    k->view.commits_failed += code != RD_KAFKA_RESP_ERR_NO_ERROR;
    (void)pthread_mutex_unlock(&k->lock);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        k->has_uncommitted = true; /* the next commit has these too */
        note_error(k, code, rd_kafka_err2str(code));
    }
}

/* ---------------------------------------------------------------- partitions */

void bus_topic_name(const char *prefix, const char *word, char *ret_name)
{
    (void)snprintf(ret_name, BUS_TOPIC_NAME, "%s%s", prefix, word);
}

int bus_topic_find(const char *prefix, const char *name)
{
    const size_t n = strlen(prefix);

    return strncmp(name, prefix, n) == 0 ? store_word(bus_topic_words, name + n) : -1;
}

static int topic_of(const struct bus_kafka *k, const char *name)
{
    return bus_topic_find(k->conf.prefix, name);
}

static rd_kafka_topic_partition_t *add_to(const struct bus_kafka *k,
                                          rd_kafka_topic_partition_list_t *list,
                                          enum bus_topic topic, int32_t partition)
{
    char name[BUS_TOPIC_NAME];

    bus_topic_name(k->conf.prefix, bus_topic_words[topic], name);
    return rd_kafka_topic_partition_list_add(list, name, partition);
}

static struct part *find(struct bus_kafka *k, enum bus_topic topic, int32_t partition)
{
    for (size_t i = 0; i < k->n_parts; i++)
        if (k->parts[i].partition == partition && k->parts[i].topic == topic)
            return &k->parts[i];
    return NULL;
}

static void add_part(struct bus_kafka *k, const rd_kafka_topic_partition_t *p)
{
    const int topic = topic_of(k, p->topic);

    if (topic < 0 || find(k, (enum bus_topic)topic, p->partition) != NULL)
        return;
    if (k->n_parts == k->room) {
        k->room = k->room == 0 ? 16 : 2 * k->room;
        k->parts = realloc(k->parts, k->room * sizeof(*k->parts));
        WIND_CHECK(k->parts != NULL);
    }
    k->parts[k->n_parts++] = (struct part){(enum bus_topic)topic, p->partition, UNKNOWN, UNKNOWN};
}

static void remove_part(struct bus_kafka *k, const rd_kafka_topic_partition_t *p)
{
    const int topic = topic_of(k, p->topic);
    struct part *part = topic < 0 ? NULL : find(k, (enum bus_topic)topic, p->partition);

    if (part == NULL)
        return;
    k->conf.revoked(k->conf.arg, part->topic, part->partition);
    *part = k->parts[--k->n_parts];
}

static void remove_all(struct bus_kafka *k)
{
    while (k->n_parts > 0) {
        const struct part *last = &k->parts[k->n_parts - 1];
        k->conf.revoked(k->conf.arg, last->topic, last->partition);
        k->n_parts--;
    }
}

/* For assignments; every call of the older protocol replaces all. */
static bool is_cooperative(rd_kafka_t *rk)
{
    return strcmp(rd_kafka_rebalance_protocol(rk), "COOPERATIVE") == 0;
}

static void assign(struct bus_kafka *k, rd_kafka_topic_partition_list_t *list)
{
    if (is_cooperative(k->rk)) {
        rd_kafka_error_t *error = rd_kafka_incremental_assign(k->rk, list);
        if (error != NULL)
            note_error(k, rd_kafka_error_code(error), rd_kafka_error_string(error));
        rd_kafka_error_destroy(error);
    } else {
        (void)rd_kafka_assign(k->rk, list);
    }
    for (int i = 0; i < list->cnt; i++)
        add_part(k, &list->elems[i]);
    k->was_assigned = true;
    if (k->is_paused)
        (void)rd_kafka_pause_partitions(k->rk, list);
}

/* What was lost already is nobody's to commit. */
static void unassign(struct bus_kafka *k, rd_kafka_topic_partition_list_t *list)
{
    for (int i = 0; i < list->cnt; i++)
        remove_part(k, &list->elems[i]); /* the hook says what is done */
    if (!rd_kafka_assignment_lost(k->rk))
        (void)rd_kafka_commit(k->rk, NULL, 0);
    if (is_cooperative(k->rk)) {
        rd_kafka_error_t *error = rd_kafka_incremental_unassign(k->rk, list);
        if (error != NULL)
            note_error(k, rd_kafka_error_code(error), rd_kafka_error_string(error));
        rd_kafka_error_destroy(error);
    } else {
        (void)rd_kafka_assign(k->rk, NULL);
    }
}

static void on_rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t code,
                         rd_kafka_topic_partition_list_t *list, void *opaque)
{
    struct bus_kafka *k = opaque;

    switch (code) {
    case RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS:
        log_info("bus: %d partitions are ours now, besides %zu", list->cnt, k->n_parts);
        assign(k, list);
        break;
    case RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS:
        log_info("bus: %d of our %zu partitions go to others", list->cnt, k->n_parts);
        unassign(k, list);
        break;
    default:
        note_error(k, code, rd_kafka_err2str(code));
        remove_all(k);
        (void)rd_kafka_assign(rk, NULL);
        break;
    }
    (void)pthread_mutex_lock(&k->lock);
    k->view.rebalances++;
    k->view.is_member = true;
    (void)pthread_mutex_unlock(&k->lock);
}

/* ---------------------------------------------------------------- life */

static int make_conf(rd_kafka_conf_t **ret_conf, const struct bus_kafka_conf *c, struct err *e)
{
    char queue_kb[24];
    const struct kafka_setting own[] = {
        {"group.id", c->group, true},
        {"enable.auto.commit", "false", true},
        {"enable.auto.offset.store", "false", true},
        {"enable.partition.eof", "false", true},
        {"auto.offset.reset", "earliest", true},
        {"client.id", "wind-collector", false},
        {"partition.assignment.strategy", "cooperative-sticky", false},
        {"session.timeout.ms", "6000", false}, /* so that another takes over within 10 s */
        {"heartbeat.interval.ms", "2000", false},
        {"topic.metadata.refresh.interval.ms", "5000", false}, /* new topics and partitions */
        {"reconnect.backoff.max.ms", "2000", false},
        {"queued.max.messages.kbytes", queue_kb, true},
        {"queued.min.messages", "1000000", false}, /* bytes are the limit */
        {NULL, NULL, false},
    };
    const struct kafka_conf conf = {c->brokers, c->password_file, c->options};

    (void)snprintf(queue_kb, sizeof(queue_kb), "%" PRId64, c->queue_bytes / 1024);
    if (c->group[0] == '\0')
        return err_set(e, -EINVAL, "kafka.group is empty");
    return kafka_conf_new(ret_conf, &conf, own, e);
}

int bus_kafka_check(const struct bus_kafka_conf *conf, struct err *e)
{
    rd_kafka_conf_t *made = NULL;
    const int r = make_conf(&made, conf, e);

    return r == 0 ? kafka_conf_try(made, RD_KAFKA_CONSUMER, e) : r;
}

static int subscribe(struct bus_kafka *k, struct err *e)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(BUS_TOPICS);

    for (int i = (int)k->conf.first; i < k->conf.end; i++)
        (void)add_to(k, list, (enum bus_topic)i, RD_KAFKA_PARTITION_UA);
    const rd_kafka_resp_err_t code = rd_kafka_subscribe(k->rk, list);
    rd_kafka_topic_partition_list_destroy(list);
    return code == 0 ? 0 : err_set(e, -EIO, "bus: %s", rd_kafka_err2str(code));
}

int bus_kafka_new(struct bus_kafka **ret_kafka, const struct bus_kafka_conf *conf, struct err *e)
{
    rd_kafka_conf_t *made = NULL;
    char why[200];

    int r = make_conf(&made, conf, e);
    if (r != 0)
        return r;
    WIND_AUTO(bus_kafka) struct bus_kafka *k = calloc(1, sizeof(*k));
    if (k == NULL) {
        rd_kafka_conf_destroy(made);
        return err_set(e, -ENOMEM, "bus: out of memory");
    }
    k->conf = *conf;
    (void)pthread_mutex_init(&k->lock, NULL);
    rd_kafka_conf_set_opaque(made, k);
    rd_kafka_conf_set_rebalance_cb(made, on_rebalance);
    rd_kafka_conf_set_offset_commit_cb(made, on_commit);
    rd_kafka_conf_set_error_cb(made, on_error);
    k->rk = rd_kafka_new(RD_KAFKA_CONSUMER, made, why, sizeof(why));
    if (k->rk == NULL) {
        rd_kafka_conf_destroy(made);
        return err_set(e, -EINVAL, "kafka.options: %s", why);
    }
    (void)rd_kafka_poll_set_consumer(k->rk);
    k->queue = rd_kafka_queue_get_consumer(k->rk);
    r = subscribe(k, e);
    if (r != 0)
        return r;
    *ret_kafka = WIND_STEAL(k);
    return 0;
}

/* librdkafka 2.0 crashes when a member that was never assigned anything leaves: it just goes. */
struct bus_kafka *bus_kafka_free(struct bus_kafka *k)
{
    if (k == NULL)
        return NULL;
    if (k->queue != NULL)
        rd_kafka_queue_destroy(k->queue);
    if (k->rk != NULL) {
        if (k->was_assigned)
            (void)rd_kafka_consumer_close(k->rk);
        rd_kafka_destroy_flags(k->rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    }
    (void)pthread_mutex_destroy(&k->lock);
    free(k->parts);
    free(k);
    return NULL;
}

bool bus_kafka_is_broken(const struct bus_kafka *k)
{
    return k->is_broken;
}

/* ---------------------------------------------------------------- messages */

rd_kafka_message_t *bus_kafka_poll(struct bus_kafka *k, int timeout_ms)
{
    rd_kafka_message_t *msg = rd_kafka_consumer_poll(k->rk, timeout_ms);

    if (msg == NULL || msg->err == RD_KAFKA_RESP_ERR_NO_ERROR)
        return msg;
    note_error(k, msg->err, rd_kafka_message_errstr(msg));
    rd_kafka_message_destroy(msg);
    return NULL;
}

static rd_kafka_topic_partition_list_t *list_all(const struct bus_kafka *k)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)k->n_parts + 1);

    for (size_t i = 0; i < k->n_parts; i++)
        (void)add_to(k, list, k->parts[i].topic, k->parts[i].partition);
    return list;
}

static void set_paused(struct bus_kafka *k, bool is_paused)
{
    rd_kafka_topic_partition_list_t *list = list_all(k);

    k->is_paused = is_paused;
    if (is_paused)
        (void)rd_kafka_pause_partitions(k->rk, list);
    else
        (void)rd_kafka_resume_partitions(k->rk, list);
    rd_kafka_topic_partition_list_destroy(list);
}

/* A pause that came too late for it: the broker gives it again. */
static void give_back(struct bus_kafka *k, rd_kafka_message_t *msg)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);

    rd_kafka_topic_partition_list_add(list, rd_kafka_topic_name(msg->rkt), msg->partition)->offset =
        msg->offset;
    rd_kafka_message_destroy(msg);
    rd_kafka_error_destroy(rd_kafka_seek_partitions(k->rk, list, PROBE_MS));
    (void)rd_kafka_pause_partitions(k->rk, list);
    rd_kafka_topic_partition_list_destroy(list);
}

void bus_kafka_wait(struct bus_kafka *k, int ms)
{
    const uint64_t until = time_mono_ns() + (uint64_t)ms * WIND_NS_PER_MS;

    if (!k->is_paused)
        set_paused(k, true);
    for (uint64_t now; (now = time_mono_ns()) < until;) {
        rd_kafka_message_t *msg = bus_kafka_poll(k, (int)((until - now) / WIND_NS_PER_MS) + 1);
        if (msg != NULL)
            give_back(k, msg);
    }
}

void bus_kafka_resume(struct bus_kafka *k)
{
    if (k->is_paused)
        set_paused(k, false);
}

void bus_kafka_done(struct bus_kafka *k, enum bus_topic topic, int32_t partition, int64_t next)
{
    struct part *part = find(k, topic, partition);

    if (part == NULL)
        return;
    part->next = next;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    add_to(k, list, topic, partition)->offset = next;
    (void)rd_kafka_offsets_store(k->rk, list);
    rd_kafka_topic_partition_list_destroy(list);
    k->has_uncommitted = true;
}

void bus_kafka_commit(struct bus_kafka *k)
{
    if (!k->has_uncommitted)
        return;
    k->has_uncommitted = false;
    (void)rd_kafka_commit(k->rk, NULL, 1);
}

/* ---------------------------------------------------------------- how it goes */

/* Where the group stands, of partitions that are new here. */
static void ask_committed(struct bus_kafka *k)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)k->n_parts + 1);

    for (size_t i = 0; i < k->n_parts; i++)
        if (k->parts[i].next == UNKNOWN)
            (void)add_to(k, list, k->parts[i].topic, k->parts[i].partition);
    if (list->cnt > 0 && rd_kafka_committed(k->rk, list, PROBE_MS) == RD_KAFKA_RESP_ERR_NO_ERROR) {
        for (int i = 0; i < list->cnt; i++) {
            struct part *part = find(k, (enum bus_topic)topic_of(k, list->elems[i].topic),
                                     list->elems[i].partition);
            if (part != NULL && part->next == UNKNOWN && list->elems[i].err == 0)
                part->next = list->elems[i].offset >= 0 ? list->elems[i].offset : 0;
        }
    }
    rd_kafka_topic_partition_list_destroy(list);
}

/* Fetches tell the end of a partition; while nothing is fetched, it has to be asked for. */
static void ask_ends(struct bus_kafka *k, uint64_t now)
{
    const bool may_ask = k->is_paused && now - k->asked_ns > LAG_QUERY_NS;

    for (size_t i = 0; i < k->n_parts; i++) {
        struct part *part = &k->parts[i];
        int64_t low = 0, high = UNKNOWN;
        char name[BUS_TOPIC_NAME];
        bus_topic_name(k->conf.prefix, bus_topic_words[part->topic], name);
        if (may_ask && time_mono_ns() - now < LAG_BUDGET_NS)
            (void)rd_kafka_query_watermark_offsets(k->rk, name, part->partition, &low, &high,
                                                   PROBE_MS);
        else
            (void)rd_kafka_get_watermark_offsets(k->rk, name, part->partition, &low, &high);
        if (high >= 0)
            part->high = high;
        if (part->next >= 0 && low > part->next)
            part->next = low; /* what was before it is gone */
    }
    if (may_ask)
        k->asked_ns = now;
}

static void probe(struct bus_kafka *k, uint64_t now)
{
    const struct rd_kafka_metadata *metadata = NULL;

    if (k->view.is_up || now - k->probed_ns < PROBE_EVERY_NS) /* only this thread writes it */
        return;
    k->probed_ns = now;
    if (rd_kafka_metadata(k->rk, 0, NULL, &metadata, PROBE_MS) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return;
    rd_kafka_metadata_destroy(metadata);
    set_up(k, true);
}

static void show_parts(struct bus_kafka *k)
{
    struct bus_kafka_view *v = &k->view;

    v->lag = v->lag_max = 0;
    v->n_parts = k->n_parts;
    v->n_shown = 0;
    for (size_t i = 0; i < k->n_parts; i++) {
        const struct part *part = &k->parts[i];
        const int64_t lag =
            part->next >= 0 && part->high > part->next ? part->high - part->next : 0;
        v->lag += lag;
        v->lag_max = lag > v->lag_max ? lag : v->lag_max;
        if (v->n_shown < BUS_PARTS_SHOWN)
            v->parts[v->n_shown++] = (struct bus_part){part->topic, part->partition, lag};
    }
}

void bus_kafka_look(struct bus_kafka *k)
{
    const uint64_t now = time_mono_ns();

    probe(k, now);
    if (k->view.is_up) {
        ask_committed(k);
        ask_ends(k, now);
    }
    (void)pthread_mutex_lock(&k->lock);
    show_parts(k);
    k->view.queued = rd_kafka_queue_length(k->queue);
    (void)pthread_mutex_unlock(&k->lock);
}

void bus_kafka_view(struct bus_kafka *k, struct bus_kafka_view *ret_view)
{
    (void)pthread_mutex_lock(&k->lock);
    *ret_view = k->view;
    (void)pthread_mutex_unlock(&k->lock);
}
