#include "collector/ingest.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "collector/metrics.h"
#include "collector/schema.h"
#include "collector/sensors.h"
#include "common/crypto.h"
#include "common/ip.h"
#include "common/time.h"

#define REV_MAX INT64_C(0x7fffffff)

/* An alert on the wire (EVE), checked and turned into what the store takes. */
struct ingest_alert {
    struct alert alert;
    struct entity entities[ENTITIES_MAX];
    char uid[37];   /* for answers; "" before one was read */
    char *metadata; /* owned */
};

/* ---------------------------------------------------------------- reading one alert */

/* A text of 1..max bytes, or (when it may be missing) NULL. */
static int take_text(const json_t *o, const char *name, size_t max, const char **ret_text,
                     struct err *e)
{
    const char *s = json_string_value(json_object_get(o, name));

    if (s == NULL || s[0] == '\0' || strlen(s) > max)
        return err_set(e, -EINVAL, "%s must be a text of 1 to %zu bytes", name, max);
    *ret_text = s;
    return 0;
}

static const char *text_or_null(const json_t *o, const char *name, size_t max)
{
    const char *s = json_string_value(json_object_get(o, name));

    return s == NULL || s[0] == '\0' || strlen(s) > max ? NULL : s;
}

static int take_time(const json_t *o, const char *name, int64_t absent, int64_t *ret_ns,
                     struct err *e)
{
    const json_t *v = json_object_get(o, name);

    if (v == NULL && absent >= 0) {
        *ret_ns = absent;
        return 0;
    }
    if (!json_is_string(v) || schema_time(json_string_value(v), ret_ns) != 0)
        return err_set(e, -EINVAL, "%s must be a time", name);
    return 0;
}

static int take_port(const json_t *item, const char *name, int64_t *ret_port, struct err *e)
{
    const json_t *v = json_object_get(item, name);
    const json_int_t port = json_integer_value(v);

    if (v != NULL && (!json_is_integer(v) || port < 0 || port > 65535))
        return err_set(e, -EINVAL, "%s must be 0 to 65535", name);
    *ret_port = port;
    return 0;
}

static int take_flow(struct alert *a, const json_t *item, struct err *e)
{
    const json_t *src = json_object_get(item, "src_ip"), *dst = json_object_get(item, "dest_ip");

    if (src == NULL && dst == NULL)
        return 0;
    if (!json_is_string(src) || ip_parse(json_string_value(src), a->src) != 0)
        return err_set(e, -EINVAL, "src_ip must be an address");
    if (!json_is_string(dst) || ip_parse(json_string_value(dst), a->dst) != 0)
        return err_set(e, -EINVAL, "dest_ip must be an address");
    a->has_flow = true;
    a->proto = text_or_null(item, "proto", 16);
    const int r = take_port(item, "src_port", &a->src_port, e);
    return r == 0 ? take_port(item, "dest_port", &a->dst_port, e) : r;
}

static int take_numbers(struct alert *a, const json_t *wind, struct err *e)
{
    const json_t *rev = json_object_get(wind, "rev"), *score = json_object_get(wind, "score");

    a->rev = json_integer_value(rev);
    if (!json_is_integer(rev) || a->rev < 1 || a->rev > REV_MAX)
        return err_set(e, -EINVAL, "wind.rev must be a whole number from 1");
    a->score = -1;
    if (score == NULL || json_is_null(score))
        return 0;
    a->score = json_number_value(score);
    if (!json_is_number(score) || !(a->score >= 0 && a->score <= 1))
        return err_set(e, -EINVAL, "wind.score must be 0 to 1");
    return 0;
}

/* The API's metadata: these of `wind` as they are, and the flow that tipped it. */
static int make_metadata(struct ingest_alert *ia, const json_t *item, const json_t *wind,
                         struct err *e)
{
    static const char *const from_wind[] = {
        "score", "p_value",       "model",          "schema",   "explain",    "technique",
        "count", "community_ids", "analysis_level", "coverage", "first_seen", "last_seen"};
    static const char *const from_flow[] = {"src_ip", "src_port",  "dest_ip", "dest_port",
                                            "proto",  "app_proto", "flow_id", "community_id",
                                            "vlan",   "in_iface"};
    const json_t *eve = json_object_get(item, "alert");
    json_t *o = json_object(), *flow = json_object();
    json_t *v;

    for (size_t i = 0; i < WIND_ARRAY_SIZE(from_wind); i++)
        if ((v = json_object_get(wind, from_wind[i])) != NULL)
            (void)json_object_set(o, from_wind[i], v);
    for (size_t i = 0; i < WIND_ARRAY_SIZE(from_flow); i++)
        if ((v = json_object_get(item, from_flow[i])) != NULL)
            (void)json_object_set(flow, from_flow[i], v);
    (void)json_object_set_new(o, "flow", flow);
    if ((v = json_object_get(eve, "signature_id")) != NULL)
        (void)json_object_set(o, "signature_id", v);
    if ((v = json_object_get(eve, "category")) != NULL)
        (void)json_object_set(o, "category", v);
    if ((v = json_object_get(item, "pcap_filename")) != NULL)
        (void)json_object_set(o, "pcap_filename", v);
    ia->metadata = json_dumps(o, JSON_COMPACT);
    json_decref(o);
    if (ia->metadata == NULL)
        return err_set(e, -ENOMEM, "out of memory");
    if (strlen(ia->metadata) > ALERT_METADATA_MAX)
        return err_set(e, -EINVAL, "its metadata is longer than %d bytes", ALERT_METADATA_MAX);
    ia->alert.metadata = ia->metadata;
    return 0;
}

static int take_identity(struct ingest_alert *ia, const json_t *wind, struct err *e)
{
    const char *uid = json_string_value(json_object_get(wind, "uid"));
    const char *severity = json_string_value(json_object_get(wind, "severity"));

    if (uid == NULL || uuid_parse(uid, ia->alert.uid) != 0)
        return err_set(e, -EINVAL, "wind.uid must be a UUID");
    uuid_format(ia->alert.uid, ia->uid);
    ia->alert.severity = severity == NULL ? 0 : store_severity(severity);
    if (ia->alert.severity == 0)
        return err_set(e, -EINVAL, "wind.severity must be low, medium, high or critical");
    return take_text(wind, "detector", TYPE_MAX, &ia->alert.type, e);
}

static int read_alert(struct ingest_alert *ia, const json_t *item, struct err *e)
{
    struct alert *a = &ia->alert;
    const json_t *wind = json_object_get(item, "wind");

    if (!json_is_object(wind))
        return err_set(e, -EINVAL, "wind must be an object");
    int r = take_identity(ia, wind, e);
    if (r == 0)
        r = take_numbers(a, wind, e);
    if (r == 0)
        r = take_text(json_object_get(item, "alert"), "signature", DESCRIPTION_MAX, &a->description,
                      e);
    if (r == 0)
        r = take_time(item, "timestamp", -1, &a->detected_ns, e);
    if (r == 0)
        r = take_time(wind, "first_seen", a->detected_ns, &a->first_ns, e);
    if (r == 0)
        r = take_time(wind, "last_seen", a->detected_ns, &a->last_ns, e);
    if (r == 0 && a->first_ns > a->last_ns)
        r = err_set(e, -EINVAL, "first_seen is after last_seen");
    if (r == 0)
        r = take_flow(a, item, e);
    if (r == 0)
        r = store_entities_read(json_object_get(wind, "entities"), ia->entities, &a->n_entities, e);
    if (r != 0)
        return r;
    a->entities = ia->entities;
    a->tactic = text_or_null(json_object_get(wind, "technique"), "tactic", 64);
    return make_metadata(ia, item, wind, e);
}

/* Texts are borrowed from `item`. -EINVAL: permanently bad, with a sentence. */
static int read_item(struct ingest_alert *ret_alert, const json_t *item, const char *sensor,
                     struct err *e)
{
    *ret_alert = (struct ingest_alert){.alert.source = sensor};
    if (!json_is_object(item))
        return err_set(e, -EINVAL, "an alert must be an object");
    return read_alert(ret_alert, item, e);
}

/* ---------------------------------------------------------------- storing a batch */

/* What became of alerts of one detector and severity, for the metrics. */
struct kind {
    char type[TYPE_MAX + 1];
    int severity;
    uint64_t n[ALERT_OUTCOMES];
};
#define KINDS 64 /* the last is "other" */

/* What one sensor sent in this batch. */
struct sender {
    const char *name;
    int64_t n[INGEST_STATES];
    int64_t sent_ns; /* the newest */
};
#define SENDERS 64

struct ingest {
    struct ingest_conf conf;
};

/* One call of ingest_batch. */
struct work {
    struct ingest *in;
    const struct ingest_batch *batch;
    struct ingest_result res;
    struct correlate correlate;
    size_t n_kinds, n_senders;
    struct kind kinds[KINDS];
    struct sender senders[SENDERS];
};

int ingest_new(struct ingest **ret_ingest, const struct ingest_conf *conf, struct err *e)
{
    struct ingest *in = calloc(1, sizeof(*in));

    if (in == NULL)
        return err_set(e, -ENOMEM, "ingest: out of memory");
    in->conf = *conf;
    *ret_ingest = in;
    return 0;
}

struct ingest *ingest_free(struct ingest *in)
{
    free(in);
    return NULL;
}

void ingest_result_done(struct ingest_result *res)
{
    for (size_t i = 0; i < res->n_outcomes; i++)
        free(res->outcomes[i].reason);
    free(res->outcomes);
    *res = (struct ingest_result){.outcomes = NULL};
}

static void tally(struct work *w, const struct alert *a, enum alert_put_outcome outcome)
{
    size_t i = 0;

    WIND_CHECK(a->type != NULL);
    while (i < w->n_kinds &&
           (w->kinds[i].severity != a->severity || strcmp(w->kinds[i].type, a->type) != 0))
        i++;
    if (i == w->n_kinds && i < KINDS) {
        struct kind *k = &w->kinds[w->n_kinds++];
        *k = (struct kind){.severity = a->severity};
        (void)snprintf(k->type, sizeof(k->type), "%s", w->n_kinds == KINDS ? "other" : a->type);
    }
    w->kinds[i < KINDS ? i : KINDS - 1].n[outcome]++;
}

static int report(struct work *w, struct db_tx *tx, struct err *e)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < w->n_senders; i++) {
        const struct sender *s = &w->senders[i];
        const bool is_batch = s->name == w->batch->sensor;
        const struct sensor_report said = {
            .name = s->name,
            .version = is_batch ? w->batch->version : NULL,
            .alerts = s->n[INGEST_STORED],
            .updates = s->n[INGEST_UPDATED],
            .rejected = s->n[INGEST_REJECTED],
            .stats = is_batch ? w->batch->stats : NULL,
            .sent_ns = s->sent_ns,
        };
        r = sensor_seen(tx, &said, e);
    }
    w->n_senders = 0;
    return r;
}

/* The counters of a sensor; when too many sent in one batch, what was counted is written. */
static int sender_of(struct work *w, struct db_tx *tx, const char *name, struct sender **ret_sender,
                     struct err *e)
{
    for (size_t i = 0; i < w->n_senders; i++)
        if (strcmp(w->senders[i].name, name) == 0) {
            *ret_sender = &w->senders[i];
            return 0;
        }
    const int r = w->n_senders == SENDERS ? report(w, tx, e) : 0;
    if (r != 0)
        return r;
    *ret_sender = &w->senders[w->n_senders++];
    **ret_sender = (struct sender){.name = name};
    return 0;
}

static int put_one(struct work *w, struct db_tx *tx, const struct alert *a,
                   enum ingest_state *ret_state, struct err *e)
{
    int64_t id = 0;
    const int r = alert_put(tx, a, &id, e);

    if (r >= 0)
        tally(w, a, (enum alert_put_outcome)r);
    switch (r) {
    case ALERT_ADDED:
        *ret_state = INGEST_STORED;
        return correlate_alert(&w->correlate, tx, id, a, e);
    case ALERT_UPDATED:
        *ret_state = INGEST_UPDATED;
        return correlate_changed(&w->correlate, tx, id, e);
    case ALERT_UNCHANGED:
        *ret_state = INGEST_KNOWN;
        return 0;
    default:
        return r;
    }
}

static int put_item(struct work *w, struct db_tx *tx, size_t i, struct err *e)
{
    const struct ingest_item *item = &w->batch->items[i];
    const char *sensor = item->sensor != NULL ? item->sensor : w->batch->sensor;
    struct sender *sender = NULL;
    struct ingest_alert a = {.uid = ""};
    struct err why = {0};

    WIND_CHECK(sensor != NULL && w->res.outcomes != NULL);
    struct ingest_outcome *out = &w->res.outcomes[i];
    json_t *parsed =
        json_loadb(item->json, item->len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, NULL);
    int r = read_item(&a, parsed, sensor, &why);
    memcpy(out->uid, a.uid, sizeof(out->uid));
    if (r == 0) {
        r = put_one(w, tx, &a.alert, &out->state, e);
    } else if (r == -EINVAL) {
        out->state = INGEST_REJECTED;
        out->reason = strdup(why.text);
        r = out->reason == NULL ? err_set(e, -ENOMEM, "out of memory") : 0;
    } else {
        r = err_set(e, r, "%s", why.text);
    }
    free(a.metadata);
    json_decref(parsed);
    if (r == 0)
        r = sender_of(w, tx, sensor, &sender, e);
    if (r == 0) {
        sender->n[out->state]++;
        if (item->sent_ns > sender->sent_ns)
            sender->sent_ns = item->sent_ns;
        w->res.n[out->state]++;
    }
    return r;
}

static int store(struct work *w, struct db_tx *tx, struct err *e)
{
    const struct ingest_batch *b = w->batch;
    struct sender *own = NULL;
    int r = b->sensor != NULL ? sender_of(w, tx, b->sensor, &own, e) : 0;

    for (size_t i = 0; r == 0 && i < b->n_items; i++)
        r = put_item(w, tx, i, e);
    if (r == 0)
        r = correlate_finish(&w->correlate, tx, e);
    if (r == 0)
        r = report(w, tx, e);
    if (r == 0 && b->also != NULL)
        r = b->also(tx, b->also_arg, e);
    return r;
}

static void count_all(struct metrics *m, const struct work *w)
{
    metrics_add(m, METRICS_INGEST_BATCHES, 1);
    metrics_add(m, METRICS_INGEST_REJECTED, (uint64_t)w->res.n[INGEST_REJECTED]);
    for (size_t i = 0; i < w->n_kinds; i++)
        for (int o = 0; o < ALERT_OUTCOMES; o++)
            metrics_alerts(m, w->kinds[i].type, w->kinds[i].severity, (enum alert_put_outcome)o,
                           w->kinds[i].n[o]);
}

int ingest_batch(struct ingest *in, const struct ingest_batch *batch,
                 struct ingest_result *ret_result, struct err *e)
{
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;
    struct work *w = calloc(1, sizeof(*w));

    if (w == NULL)
        return err_set(e, -ENOMEM, "ingest: out of memory");
    *w = (struct work){.in = in, .batch = batch, .res.n_outcomes = batch->n_items};
    correlate_init(&w->correlate, &in->conf.correlate);
    w->res.outcomes = calloc(batch->n_items + 1, sizeof(*w->res.outcomes));
    int r = w->res.outcomes == NULL ? err_set(e, -ENOMEM, "ingest: out of memory")
                                    : db_begin_write(in->conf.db, &tx, e);
    if (r == 0)
        r = store(w, tx, e);
    if (r == 0)
        r = db_commit(&tx, e);
    if (r > 0)
        r = err_set(e, -EIO, "a key of the batch does not fit");
    if (r == 0) {
        if (in->conf.metrics != NULL)
            count_all(in->conf.metrics, w);
        *ret_result = w->res;
    } else {
        if (w->res.outcomes == NULL)
            w->res.n_outcomes = 0;
        ingest_result_done(&w->res);
    }
    free(w);
    return r;
}
