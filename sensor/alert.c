#include "sensor/alert.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/crypto.h"
#include "common/ip.h"
#include "common/time.h"
#include "sensor/lru.h"

#define TELL_EVERY_NS (60 * WIND_NS_PER_S)
#define RING_WAIT_MS  10

_Static_assert(sizeof(struct alert_cause) == 40, "the cause is a key: no padding");

/* An open alert: its record as it was last told, and what came since. */
struct open_alert {
    uint64_t count, told_count; /* evidence so far; when last told */
    uint64_t told_ns, last_ns;  /* clock */
    struct alert_record record; /* header unused */
};

struct alerts {
    struct alerts_conf conf;
    const struct alert_kind *kinds;
    size_t n_kinds;
    struct lru *open;
    uint64_t clock_ns, ticked_ns;
    uint64_t anomalies;
};

/* ---------------------------------------------------------------- life */

static void tell(struct alerts *a, const struct alert_cause *cause, struct open_alert *o);

/* lru's farewell: the alert is closed, whether quiet or pushed out. */
static void closed(void *arg, const void *key, void *value)
{
    struct alerts *a = arg;
    struct open_alert *o = value;

    if (o->count > o->told_count) {
        counters_add(a->conf.counters, COUNTER_alert_raised, 1);
        tell(a, key, o);
    }
}

int alerts_new(struct alerts **ret_alerts, const struct alerts_conf *conf,
               const struct alert_kind *kinds, size_t n_kinds, struct err *e)
{
    WIND_AUTO(alerts) struct alerts *a = calloc(1, sizeof(*a));
    if (a == NULL)
        return err_set(e, -ENOMEM, "out of memory");
    a->conf = *conf;
    a->kinds = kinds;
    a->n_kinds = n_kinds;
    int r =
        lru_new(&a->open, conf->max_open, sizeof(struct alert_cause), sizeof(struct open_alert), e);
    if (r < 0)
        return err_wrap(e, r, "alert.max_open");
    lru_on_forget(a->open, closed, a);
    *ret_alerts = WIND_STEAL(a);
    return 0;
}

struct alerts *alerts_free(struct alerts *a)
{
    if (a != NULL) {
        a->open = lru_free(a->open);
        free(a);
    }
    return NULL;
}

/* ---------------------------------------------------------------- telling */

/* RFC 9562 UUIDv7. Replay: of the input's digest and a sequence, so the same in every run. */
static void make_uid(struct alerts *a, uint8_t ret_uid[16])
{
    struct {
        uint8_t seed[32];
        uint64_t sequence;
    } from = {.sequence = atomic_fetch_add(&a->conf.counters->alert_sequence, 1)};
    uint8_t digest[SHA256_BYTES];

    memcpy(from.seed, a->conf.seed, sizeof(from.seed));
    if (a->conf.live)
        crypto_random(digest, 10);
    else
        crypto_sha256(&from, sizeof(from), digest);
    uuid_v7(a->clock_ns / WIND_NS_PER_MS, digest, ret_uid);
}

static void *reserve(struct alerts *a, size_t len)
{
    void *slot = ring_reserve(a->conf.ring, len);

    while (slot == NULL && !a->conf.live) { /* the uplink is another process: it makes room */
        ring_wait_room(a->conf.ring, RING_WAIT_MS);
        slot = ring_reserve(a->conf.ring, len);
    }
    return slot;
}

static void publish(struct alerts *a, struct record_header *h, enum record_kind kind)
{
    h->kind = (uint16_t)kind;
    h->time_ns = a->clock_ns;
    h->after = *a->conf.after;
    ring_commit(a->conf.ring);
}

static void tell(struct alerts *a, const struct alert_cause *cause, struct open_alert *o)
{
    const struct alert_kind *kind = &a->kinds[cause->detector];
    struct alert_record draft = o->record;

    draft.n_entities = draft.n_reasons = 0;
    draft.count = o->count;
    if (!kind->describe(kind->state, cause, &draft)) {
        draft = o->record;
        draft.count = o->count;
    }
    draft.rev = o->record.rev + 1;
    draft.severity = draft.severity > o->record.severity ? draft.severity : o->record.severity;
    o->record = draft;
    o->count = draft.count > o->count ? draft.count : o->count; /* what came before it opened */

    struct alert_record *slot = reserve(a, sizeof(*slot));
    if (slot == NULL) { /* still untold: the next evidence tries again */
        counters_add(a->conf.counters, COUNTER_alert_lost_ring, 1);
        return;
    }
    o->told_count = o->count;
    o->told_ns = a->clock_ns;
    const struct record_header header = slot->header;
    *slot = o->record;
    slot->header = header;
    tally_begin(a->conf.counters, &a->conf.counters->alert_tally, COUNTER_alert_published,
                ring_produced(a->conf.ring));
    publish(a, &slot->header, RECORD_ALERT);
    counters_add(a->conf.counters, COUNTER_alert_published, 1);
}

static void begin(struct alerts *a, const struct alert_cause *cause, struct open_alert *o,
                  const struct flow_record *r)
{
    const struct alert_kind *kind = &a->kinds[cause->detector];
    struct alert_record *rec = &o->record;

    make_uid(a, rec->uid);
    rec->signature_id = kind->signature_id;
    rec->first_ns = r->start_ns;
    rec->p_value = -1;
    rec->analysis_level = (uint8_t)a->conf.level;
    (void)snprintf(rec->detector, sizeof(rec->detector), "%s", kind->name);
    (void)snprintf(rec->category, sizeof(rec->category), "%s", kind->category);
    (void)snprintf(rec->technique_id, sizeof(rec->technique_id), "%s", kind->technique_id);
    (void)snprintf(rec->technique, sizeof(rec->technique), "%s", kind->technique);
    (void)snprintf(rec->tactic, sizeof(rec->tactic), "%s", kind->tactic);
}

/* The newest evidence first; the flow that tipped it is the newest. */
static void add_evidence(struct alert_record *rec, const struct flow_record *r)
{
    rec->flow_id = r->flow_id;
    rec->key = r->key;
    rec->interface = r->interface;
    rec->last_ns = r->end_ns > rec->last_ns ? r->end_ns : rec->last_ns;
    rec->first_ns = r->start_ns < rec->first_ns ? r->start_ns : rec->first_ns;
    memcpy(rec->app, r->app, sizeof(rec->app));
    memcpy(rec->server_name, r->server_name, sizeof(rec->server_name));
    rec->names = r->names;
    if ((r->names & FLOW_NAME_DST) != 0)
        memcpy(rec->dst_name, r->dst_name, sizeof(rec->dst_name));
    if ((r->names & FLOW_NAME_SRC) != 0)
        memcpy(rec->src_name, r->src_name, sizeof(rec->src_name));
    if (rec->n_evidence > 0 && memcmp(&rec->evidence[0], &r->key, sizeof(r->key)) == 0)
        return;
    memmove(&rec->evidence[1], &rec->evidence[0],
            (ALERT_EVIDENCE_MAX - 1) * sizeof(rec->evidence[0]));
    rec->evidence[0] = r->key;
    if (rec->n_evidence < ALERT_EVIDENCE_MAX)
        rec->n_evidence++;
}

const struct alert_record *alerts_note(struct alerts *a, const struct alert_cause *cause,
                                       const struct flow_record *r)
{
    bool is_new = false;

    a->clock_ns = r->header.time_ns > a->clock_ns ? r->header.time_ns : a->clock_ns;
    counters_add(a->conf.counters, COUNTER_alert_raised, 1);
    struct open_alert *o = lru_touch(a->open, cause, &is_new);
    if (is_new)
        begin(a, cause, o, r);
    add_evidence(&o->record, r);
    o->count++;
    o->last_ns = a->clock_ns;
    if (is_new || o->count >= 2 * o->told_count || a->clock_ns >= o->told_ns + TELL_EVERY_NS)
        tell(a, cause, o);
    else
        counters_add(a->conf.counters, COUNTER_alert_suppressed, 1);
    counters_set(a->conf.counters, COUNTER_alert_open, lru_live(a->open));
    counters_set(a->conf.counters, COUNTER_alert_evicted, lru_evicted(a->open));
    return &o->record;
}

const struct alert_record *alerts_open(const struct alerts *a, const struct alert_cause *cause)
{
    const struct open_alert *o = lru_peek(a->open, cause);

    return o == NULL ? NULL : &o->record;
}

bool alerts_is_due(const struct alerts *a, uint64_t clock_ns)
{
    return clock_ns >= a->ticked_ns + WIND_NS_PER_S;
}

/* Least recent first, so it stops at the first one that is not quiet. */
void alerts_tick(struct alerts *a, uint64_t clock_ns)
{
    struct open_alert *o;

    a->clock_ns = clock_ns > a->clock_ns ? clock_ns : a->clock_ns;
    if (!alerts_is_due(a, clock_ns))
        return;
    a->ticked_ns = clock_ns;
    while ((o = lru_oldest(a->open, NULL)) != NULL && o->last_ns + a->conf.quiet_ns <= clock_ns)
        lru_drop(a->open, o);
    counters_set(a->conf.counters, COUNTER_alert_open, lru_live(a->open));
}

void alerts_close(struct alerts *a)
{
    struct open_alert *o;

    while ((o = lru_oldest(a->open, NULL)) != NULL)
        lru_drop(a->open, o);
    counters_set(a->conf.counters, COUNTER_alert_open, 0);
}

void alerts_anomaly(struct alerts *a, const char *type, const char *event, const char *text)
{
    counters_add(a->conf.counters, COUNTER_anomaly_raised, 1);
    struct anomaly_record *slot =
        a->anomalies < ALERTS_ANOMALIES_MAX ? reserve(a, sizeof(*slot)) : NULL;
    if (slot == NULL) {
        counters_add(a->conf.counters, COUNTER_anomaly_lost, 1);
        return;
    }
    a->anomalies++;
    memset((char *)slot + sizeof(slot->header), 0, sizeof(*slot) - sizeof(slot->header));
    (void)snprintf(slot->type, sizeof(slot->type), "%s", type);
    (void)snprintf(slot->event, sizeof(slot->event), "%s", event);
    (void)snprintf(slot->text, sizeof(slot->text), "%s", text);
    publish(a, &slot->header, RECORD_ANOMALY);
}

void alerts_packet_anomaly(struct alerts *a, const struct anomaly_record *r)
{
    a->clock_ns = r->header.time_ns > a->clock_ns ? r->header.time_ns : a->clock_ns;
    counters_add(a->conf.counters, COUNTER_anomaly_raised, 1);
    struct anomaly_record *slot = reserve(a, sizeof(*slot));
    if (slot == NULL) {
        counters_add(a->conf.counters, COUNTER_anomaly_lost, 1);
        return;
    }
    const struct record_header header = slot->header;
    *slot = *r;
    slot->header = header;
    publish(a, &slot->header, RECORD_ANOMALY);
}

/* ---------------------------------------------------------------- for detectors */

void alert_entity(struct alert_record *a, const char *role, const uint8_t address[16])
{
    if (a->n_entities == ALERT_ENTITIES_MAX)
        return;
    struct alert_entity *n = &a->entity[a->n_entities++];
    *n = (struct alert_entity){.kind = "host"};
    (void)snprintf(n->role, sizeof(n->role), "%s", role);
    ip_format(address, n->value);
}

struct alert_reason *alert_reason(struct alert_record *a, const char *name, const char *unit,
                                  double value, double contribution)
{
    struct alert_reason *n =
        &a->reason[a->n_reasons < ALERT_REASONS_MAX ? a->n_reasons++ : ALERT_REASONS_MAX - 1];

    *n = (struct alert_reason){.value = (float)value, .contribution = (float)contribution};
    (void)snprintf(n->name, sizeof(n->name), "%s", name);
    (void)snprintf(n->unit, sizeof(n->unit), "%s", unit);
    return n;
}
