#include "collector/ingest.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

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

static void reject(struct ingest_result *res, size_t index, const char *uid, const char *detail)
{
    json_t *o = json_object();

    (void)json_object_set_new(o, "index", json_integer((json_int_t)index));
    (void)json_object_set_new(o, "uid", uid[0] ? json_string(uid) : json_null());
    (void)json_object_set_new(o, "detail", json_string(detail));
    (void)json_array_append_new(res->rejected, o);
}

static void tally(struct ingest_result *res, const struct alert *a, enum alert_put_outcome outcome)
{
    size_t i = 0;

    WIND_CHECK(a->type != NULL);
    while (i < res->n_kinds &&
           (res->kinds[i].severity != a->severity || strcmp(res->kinds[i].type, a->type) != 0))
        i++;
    if (i == res->n_kinds && i < INGEST_KINDS) {
        struct ingest_kind *k = &res->kinds[res->n_kinds++];
        *k = (struct ingest_kind){.severity = a->severity};
        (void)snprintf(k->type, sizeof(k->type), "%s",
                       res->n_kinds == INGEST_KINDS ? "other" : a->type);
    }
    res->kinds[i < INGEST_KINDS ? i : INGEST_KINDS - 1].n[outcome]++;
}

static int put_one(struct db_tx *tx, struct correlate *c, const struct alert *a,
                   struct ingest_result *res, struct err *e)
{
    int64_t id = 0;
    const int r = alert_put(tx, a, &id, e);

    if (r >= 0)
        tally(res, a, (enum alert_put_outcome)r);
    switch (r) {
    case ALERT_ADDED:
        res->accepted++;
        return correlate_alert(c, tx, id, a, e);
    case ALERT_UPDATED:
        res->updated++;
        return correlate_changed(c, tx, id, e);
    case ALERT_UNCHANGED:
        res->unchanged++;
        return 0;
    default:
        return r;
    }
}

static int put_all(struct db_tx *tx, struct correlate *c, const struct ingest_batch *b,
                   struct ingest_result *res, struct err *e)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < json_array_size(b->alerts); i++) {
        struct ingest_alert a;
        struct err why = {0};
        r = read_item(&a, json_array_get(b->alerts, i), b->sensor, &why);
        if (r == 0)
            r = put_one(tx, c, &a.alert, res, e);
        else if (r == -EINVAL) {
            reject(res, i, a.uid, why.text);
            r = 0;
        } else
            r = err_set(e, r, "%s", why.text);
        free(a.metadata);
    }
    return r;
}

static int store_batch(struct db_tx *tx, struct correlate *c, const struct ingest_batch *b,
                       struct ingest_result *res, struct err *e)
{
    int r = put_all(tx, c, b, res, e);

    if (r == 0)
        r = correlate_finish(c, tx, e);
    if (r == 0) {
        const struct sensor_report report = {
            .name = b->sensor,
            .version = b->version,
            .alerts = res->accepted,
            .updates = res->updated,
            .rejected = (int64_t)json_array_size(res->rejected),
            .stats = b->stats,
        };
        r = sensor_seen(tx, &report, e);
    }
    return r;
}

int ingest_put(struct db_tx *tx, const struct correlate_conf *conf,
               const struct ingest_batch *batch, struct ingest_result *ret_result, struct err *e)
{
    struct ingest_result res = {.rejected = json_array()};
    struct correlate c;

    correlate_init(&c, conf);
    const int r = store_batch(tx, &c, batch, &res, e);
    if (r != 0) {
        json_decref(res.rejected);
        return r < 0 ? r : err_set(e, -EIO, "a key of the batch does not fit");
    }
    *ret_result = res;
    return 0;
}

int ingest_batch(struct db *db, const struct correlate_conf *conf, const struct ingest_batch *batch,
                 struct ingest_result *ret_result, struct err *e)
{
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;
    struct ingest_result res;

    int r = db_begin_write(db, &tx, e);
    if (r == 0)
        r = ingest_put(tx, conf, batch, &res, e);
    if (r != 0)
        return r;
    r = db_commit(&tx, e);
    if (r != 0) {
        json_decref(res.rejected);
        return r;
    }
    *ret_result = res;
    return 0;
}
