#include "sensor/worker_state.h"

#include <stdio.h>
#include <string.h>

#include "features/feature.h"
#include "sensor/flow_key.h"

#define CLIMB_EVERY  64
#define RING_WAIT_MS 10

/*
 * What a worker puts into its ring: flows, names, and what is odd.
 */

static void *reserve(struct worker *w, size_t len)
{
    void *r = ring_reserve(w->conf.ring, len);

    while (r == NULL && w->may_wait) {
        worker_relieve(w);
        r = ring_reserve(w->conf.ring, len);
        if (r == NULL) {
            ring_wait_room(w->conf.ring, RING_WAIT_MS);
            r = ring_reserve(w->conf.ring, len);
        }
    }
    return r;
}

/* What a connection without sequence numbers tells: who has sent. */
static enum conn_state talk_state(const struct flow *f)
{
    if (flow_key_is_icmp(&f->key))
        return CONN_OTH;
    if (f->stats.dir[0].pkts == 0)
        return CONN_SHR;
    return f->stats.dir[1].pkts > 0 ? CONN_SF : CONN_S0;
}

static void fill_connection(const struct worker *w, const struct flow *f, struct flow_record *r)
{
    const struct flow_tcp *const t = flow_table_tcp(w->flows, f);
    const bool has_answer = f->stats.dir[1].pkts > 0;

    memset(r->history, 0, sizeof(r->history));
    if (f->key.proto != IPPROTO_TCP) {
        r->missed[0] = r->missed[1] = r->again[0] = r->again[1] = 0;
        r->conn_state = (uint8_t)talk_state(f);
        memcpy(r->history, f->stats.dir[0].pkts == 0 ? "d" : has_answer ? "Dd" : "D", 2);
        return;
    }
    memcpy(r->missed, t->missed, sizeof(r->missed));
    memcpy(r->again, t->again, sizeof(r->again));
    memcpy(r->history, t->history, t->n_history);
    r->conn_state = (uint8_t)flow_tcp_state(t, f->tcp_flags, has_answer);
}

static void fill(const struct worker *w, const struct flow *f, struct flow_record *r,
                 enum record_kind kind, enum flow_end end)
{
    r->header.kind = (uint16_t)kind;
    r->header.time_ns = w->clock_ns;
    r->header.order = worker_order_now(w);
    r->header.after = 0;
    r->key = f->key;
    r->flow_id = f->flow_id;
    r->start_ns = f->start_ns;
    r->end_ns = f->end_ns;
    for (int d = 0; d < 2; d++) {
        r->pkts[d] = f->stats.dir[d].pkts;
        r->bytes[d] = f->stats.dir[d].bytes;
        r->tcp_flags[d] = f->tcp_flags[d];
    }
    r->state = f->state;
    r->opening = f->opening;
    r->end = (uint8_t)end;
    r->alerted = 0;
    r->missing = 0;
    r->score = 0;
    r->p_value = 1;
    r->interface = f->interface;
    r->names = 0;
    fill_connection(w, f, r);
}

static enum counter end_counter(enum flow_end end)
{
    static const enum counter by_end[FLOW_ENDS] = {
        [FLOW_END_CLOSED] = COUNTER_flow_ended_closed,
        [FLOW_END_IDLE] = COUNTER_flow_ended_idle,
        [FLOW_END_EVICTED] = COUNTER_flow_ended_evicted,
        [FLOW_END_FLUSHED] = COUNTER_flow_ended_flushed,
    };
    return by_end[end];
}

static void commit(struct worker *w, enum record_kind kind, enum flow_end end)
{
    struct counters *c = w->conf.counters;

    if (kind == RECORD_FLOW_ENDED)
        tally_begin(c, &c->flow_tally, end_counter(end), ring_produced(w->conf.ring));
    ring_commit(w->conf.ring);
    if (kind == RECORD_FLOW_ENDED)
        counters_add(c, end_counter(end), 1);
}

static void count_tcp(const struct worker *w, const struct flow *f)
{
    const struct flow_tcp *const t = flow_table_tcp(w->flows, f);
    struct counters *const c = w->conf.counters;

    if (f->key.proto != IPPROTO_TCP)
        return;
    counters_add(c, COUNTER_tcp_payload_bytes, f->stats.dir[0].payload + f->stats.dir[1].payload);
    counters_add(c, COUNTER_tcp_missed_bytes, (uint64_t)t->missed[0] + t->missed[1]);
    counters_add(c, COUNTER_tcp_retransmits, (uint64_t)t->again[0] + t->again[1]);
    span_check_flow(w->span, (const uint32_t[]){f->stats.dir[0].pkts, f->stats.dir[1].pkts},
                    (const uint32_t[]){f->stats.dir[0].payload_pkts, f->stats.dir[1].payload_pkts});
}

static const enum counter level_counter[] = {
    [ANALYSIS_DETECTORS] = COUNTER_flow_depth_detectors, [ANALYSIS_FULL] = COUNTER_flow_depth_full};

/* Is there more than the later stages get done? */
void worker_climb(struct worker *w)
{
    if (!w->conf.has_ladder)
        return;
    if (ladder_update(&w->ladder, ring_fill(w->conf.ring), w->clock_ns))
        counters_add(w->conf.counters, COUNTER_ladder_descents, 1);
    counters_set(w->conf.counters, COUNTER_ladder_lowered, w->ladder.level < w->ladder.top);
}

static void lose(struct worker *w, enum record_kind kind)
{
    counters_add(w->conf.counters,
                 kind == RECORD_FLOW_ENDED ? COUNTER_flow_lost_ring : COUNTER_flow_events_lost, 1);
}

/* Live: what a mirror port or the card spoils is not known. */
static void hide_spoilt(const struct worker *w, struct flow_record *r)
{
    const uint32_t told = atomic_load_explicit(w->conf.told, memory_order_relaxed);
    uint64_t hidden = w->is_live && w->span != NULL && told != 0 ? span_check_hidden(told) : 0;

    r->missing |= hidden;
    for (; hidden != 0; hidden &= hidden - 1)
        r->feature[__builtin_ctzll(hidden)] = 0;
}

/* Step 4: the flow's features are computed in the reserved slot itself. */
static void tell_flow(struct worker *w, const struct flow *f, enum record_kind kind,
                      enum flow_end end, enum analysis_level level)
{
    const size_t index = flow_table_index(w->flows, f);
    const bool is_ended = kind == RECORD_FLOW_ENDED;
    const size_t n_features = kind == RECORD_FLOW_OPENED ? 0 : FEATURE_COUNT;
    const size_t features = n_features * sizeof(float);
    struct flow_record *const r =
        reserve(w, sizeof(*r) + features + (is_ended ? talk_facts(w->talk, index) : 0));

    if (r == NULL) {
        lose(w, kind);
        return;
    }
    fill(w, f, r, kind, end);
    r->analysis_level = (uint8_t)level;
    r->n_features = (uint16_t)n_features;
    if (n_features > 0) {
        feature_flow(&f->stats, f->key.proto, r->feature, &r->missing);
        hide_spoilt(w, r);
    }
    talk_fill(w->talk, f, index, r, is_ended ? (uint8_t *)r->feature + features : NULL);
    commit(w, kind, end);
    if (is_ended)
        counters_add(w->conf.counters, level_counter[level], 1);
}

static void shed(struct worker *w, enum flow_end end)
{
    counters_add(w->conf.counters, end_counter(end), 1);
    counters_add(w->conf.counters, COUNTER_flow_shed, 1);
}

void worker_on_flow(void *arg, struct flow *f, enum record_kind kind, enum flow_end end)
{
    struct worker *w = arg;
    const bool is_ended = kind == RECORD_FLOW_ENDED;
    const size_t index = flow_table_index(w->flows, f);

    if (is_ended && !w->is_discarding) {
        talk_finish(w->talk, f, index);
        count_tcp(w, f);
    }
    if (!w->is_discarding && w->events++ % CLIMB_EVERY == 0)
        worker_climb(w); /* thousands may end at one turn of the wheel */
    const enum analysis_level level =
        w->is_discarding ? ANALYSIS_COUNTERS : ladder_level(&w->ladder, f);
    if (level != ANALYSIS_COUNTERS)
        tell_flow(w, f, kind, end, level);
    else if (is_ended && !w->is_discarding)
        shed(w, end);
    if (is_ended)
        talk_forget(w->talk, f, index);
}

/* Which addresses a name has, told at once: the flows to them may end before this one does. */
void worker_on_named(void *arg, const struct listener_named *named)
{
    struct worker *w = arg;
    const size_t addresses = named->n * sizeof(named->address[0]);
    struct named_record *const r = reserve(w, sizeof(*r) + addresses);

    if (r == NULL) {
        counters_add(w->conf.counters, COUNTER_names_lost_ring, 1);
        return;
    }
    r->header.kind = RECORD_NAMED;
    r->header.time_ns = w->clock_ns;
    r->header.order = worker_order_now(w);
    r->header.after = 0;
    memcpy(r->client, named->client, sizeof(r->client));
    memcpy(r->name, named->name, sizeof(r->name));
    r->n_addresses = (uint32_t)named->n;
    memcpy(r->address, named->address, addresses);
    ring_commit(w->conf.ring);
    counters_add(w->conf.counters, COUNTER_names_told, 1);
}

/* So many a second are worth a line; the others are counted. */
static bool is_told(struct worker *w, enum decode_verdict verdict)
{
    const uint64_t second = w->clock_ns / WIND_NS_PER_S;

    if (w->odd[verdict].second != second)
        w->odd[verdict].told = 0;
    w->odd[verdict].second = second;
    return w->odd[verdict].told++ < w->conf.anomalies;
}

/* "tcp_truncated": tell analysis what is odd about a packet. */
void worker_tell_oddity(struct worker *w, enum decode_verdict verdict, const struct packet *p,
                        const struct packet_view *v)
{
    const bool is_overlap = v->is_overlap;
    const char *const layer = decode_layer_name((enum decode_layer)v->last_layer);
    struct anomaly_record *const a =
        is_told(w, is_overlap ? DECODE_OK : verdict) ? reserve(w, sizeof(*a)) : NULL;

    if (a == NULL) {
        counters_add(w->conf.counters, COUNTER_anomaly_capped, 1);
        return;
    }
    memset((char *)a + sizeof(a->header), 0, sizeof(*a) - sizeof(a->header));
    a->header.kind = RECORD_ANOMALY;
    a->header.time_ns = w->clock_ns;
    a->header.order = worker_order_now(w);
    a->header.after = 0;
    (void)snprintf(a->type, sizeof(a->type), "decode");
    if (is_overlap)
        (void)snprintf(a->event, sizeof(a->event), "fragment_overlap");
    else if (verdict == DECODE_UNSUPPORTED_LINK)
        (void)snprintf(a->event, sizeof(a->event), "%s", decode_verdict_name(verdict));
    else
        (void)snprintf(a->event, sizeof(a->event), "%s_%s", layer, decode_verdict_name(verdict));
    (void)snprintf(a->text, sizeof(a->text), "%s",
                   is_overlap ? "a fragment contradicts those before it, whose bytes stay"
                              : decode_verdict_meaning(verdict));
    a->key = v->key;
    a->interface = p->interface;
    ring_commit(w->conf.ring);
}

static void put_input_anomaly(struct worker *w, struct anomaly_record *a, const char *event,
                              const char *text)
{
    memset((char *)a + sizeof(a->header), 0, sizeof(*a) - sizeof(a->header));
    a->header.kind = RECORD_ANOMALY;
    a->header.time_ns = w->clock_ns;
    a->header.order = worker_order_now(w);
    a->header.after = 0;
    (void)snprintf(a->type, sizeof(a->type), "capture");
    (void)snprintf(a->event, sizeof(a->event), "%s", event);
    (void)snprintf(a->text, sizeof(a->text), "%.159s", text);
    ring_commit(w->conf.ring);
}

/* Of the input as a whole, once a run. When there is no room: later. */
void worker_tell_once(struct worker *w, enum told what, const char *event, const char *text)
{
    _Atomic uint32_t *const told = w->conf.told;
    const uint32_t bit = 1u << what;

    if (w->conf.level == ANALYSIS_COUNTERS ||
        (atomic_load_explicit(told, memory_order_relaxed) & bit) != 0)
        return;
    struct anomaly_record *const a = reserve(w, sizeof(*a));
    if (a == NULL)
        return;
    /* Reserved and never committed is as if it had not been: another worker was first. */
    if ((atomic_fetch_or_explicit(told, bit, memory_order_relaxed) & bit) != 0)
        return;
    put_input_anomaly(w, a, event, text);
}

void worker_judge_span(struct worker *w)
{
    const char *event = NULL;
    char text[SPAN_TEXT_MAX];
    const uint32_t told = atomic_load_explicit(w->conf.told, memory_order_relaxed);

    if (w->conf.number != 0) /* one is enough, and in replay always the same one */
        return;
    const int what = span_check_judge(w->span, told, &event, text);
    if (what >= 0)
        worker_tell_once(w, (enum told)what, event, text);
}

/* A file among several was cut short or damaged; the next one goes on. */
void worker_tell_fault(struct worker *w, enum capture_state state, const struct err *what)
{
    struct anomaly_record *a;

    if (state == CAPTURE_OK || w->conf.number != 0) /* once, whoever else reads it */
        return;
    counters_add(w->conf.counters, COUNTER_capture_damaged_files, 1);
    if (w->conf.level == ANALYSIS_COUNTERS || (a = reserve(w, sizeof(*a))) == NULL)
        return;
    put_input_anomaly(w, a, state == CAPTURE_TRUNCATED ? "file_truncated" : "file_corrupt",
                      what->text);
}
