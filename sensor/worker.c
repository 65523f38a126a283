#include "sensor/worker.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/time.h"
#include "features/feature.h"
#include "sensor/flow_key.h"
#include "sensor/ladder.h"
#include "sensor/share.h"
#include "sensor/span_check.h"

#define BACKWARDS_NS  WIND_NS_PER_S /* disorder below this is ordinary */
#define PACE_SLICE_NS (20 * WIND_NS_PER_MS)
#define RING_WAIT_MS  10
#define CLIMB_EVERY   64
#define DRAIN_WAIT_MS 50 /* longer than the kernel keeps a packet to itself */

enum { VLAN_TAG_BYTES = 4 };

struct worker {
    struct worker_conf conf;
    struct flow_table *flows;
    struct span_check *span; /* NULL: nobody asked */
    struct talk *talk;       /* beside the table: touched once a flow, not once a packet */
    struct ladder ladder;
    uint32_t events; /* that the table told */
    uint64_t clock_ns;
    uint64_t order; /* replay: place in the input of the packet in hand */
    bool is_live;
    struct counters *alike, *aside; /* of what sharing workers do alike: worker 0's counts */
    struct {
        uint64_t second;
        uint32_t told;
    } odd[DECODE_VERDICTS]; /* DECODE_OK: overlaps */
    bool is_discarding;     /* worker_free: nobody is told of the flows that are left */
    bool may_wait; /* for room in the ring: replay always, live when no packet is waiting for us */
    uint64_t followed_ns, followed_mono_ns; /* live: our clock and the monotonic one */
    uint64_t pace_packet_ns, pace_mono_ns;  /* where the replay's pace started */
    uint64_t kernel_ns;                     /* when it was asked last, and its answer: */
    struct capture_stats kernel;
};

/* ---------------------------------------------------------------- records */

static void relieve(const struct worker *w)
{
    if (w->conf.relieve != NULL)
        w->conf.relieve(w->conf.relieve_arg);
}

static void *reserve(struct worker *w, size_t len)
{
    void *r = ring_reserve(w->conf.ring, len);

    while (r == NULL && w->may_wait) {
        relieve(w);
        r = ring_reserve(w->conf.ring, len);
        if (r == NULL) {
            ring_wait_room(w->conf.ring, RING_WAIT_MS);
            r = ring_reserve(w->conf.ring, len);
        }
    }
    return r;
}

/* In whose place the merge puts a record of now. */
static uint64_t order_now(const struct worker *w)
{
    return w->is_live ? w->clock_ns : w->order;
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
    r->header.order = order_now(w);
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
static void climb(struct worker *w)
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
    if (n_features > 0)
        feature_flow(&f->stats, f->key.proto, r->feature, &r->missing);
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

static void on_flow(void *arg, struct flow *f, enum record_kind kind, enum flow_end end)
{
    struct worker *w = arg;
    const bool is_ended = kind == RECORD_FLOW_ENDED;
    const size_t index = flow_table_index(w->flows, f);

    if (is_ended && !w->is_discarding) {
        talk_finish(w->talk, f, index);
        count_tcp(w, f);
    }
    if (!w->is_discarding && w->events++ % CLIMB_EVERY == 0)
        climb(w); /* thousands may end at one turn of the wheel */
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
static void on_named(void *arg, const struct listener_named *named)
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
    r->header.order = order_now(w);
    r->header.after = 0;
    memcpy(r->client, named->client, sizeof(r->client));
    memcpy(r->name, named->name, sizeof(r->name));
    r->n_addresses = (uint32_t)named->n;
    memcpy(r->address, named->address, addresses);
    ring_commit(w->conf.ring);
    counters_add(w->conf.counters, COUNTER_names_told, 1);
}

/* ---------------------------------------------------------------- life */

static int make_talk(struct worker *w, const struct worker_conf *conf, struct err *e)
{
    struct talk_conf t = conf->talk;

    t.flows_max = conf->flows.max;
    t.counters = t.listener.counters = conf->counters;
    t.listener.named = on_named;
    t.listener.arg = w;
    if (conf->level == ANALYSIS_COUNTERS)
        t.listener.memory = 0; /* nobody is told */
    return talk_new(&w->talk, &t, e);
}

int worker_new(struct worker **ret_worker, const struct worker_conf *conf, struct err *e)
{
    WIND_AUTO(worker) struct worker *w = calloc(1, sizeof(*w));
    if (w == NULL)
        return err_set(e, -ENOMEM, "out of memory");
    w->conf = *conf;
    w->conf.talk.dpi = NULL; /* taken at the end, when nothing can fail */
    w->conf.decode.defrag = NULL;
    w->conf.told = conf->told != NULL ? conf->told : &conf->counters->told;
    w->clock_ns = atomic_load_explicit(&conf->counters->clock_ns, memory_order_relaxed);
    w->order = atomic_load_explicit(&conf->counters->position, memory_order_relaxed);
    w->is_live = capture_is_live(conf->capture);
    ladder_init(&w->ladder, conf->level);
    w->may_wait = !w->is_live;
    int r = 0;
    w->alike = conf->counters;
    if (conf->sharing > 0 && conf->number > 0) {
        r = counters_new(&w->aside, e);
        w->alike = w->aside;
    }
    if (r == 0 && conf->defrag.max > 0) {
        w->conf.defrag.counters = w->alike;
        r = defrag_new(&w->conf.decode.defrag, &w->conf.defrag, e);
    }
    if (r == 0 && conf->span_check && conf->level != ANALYSIS_COUNTERS)
        r = span_check_new(&w->span, conf->counters, conf->frame_max, e);
    if (r < 0)
        return r;
    r = flow_table_new(&w->flows, &conf->flows, on_flow, w, e);
    if (r == 0)
        r = make_talk(w, conf, e);
    if (r < 0)
        return r;
    atomic_store_explicit(&conf->counters->order, order_now(w), memory_order_relaxed);
    *ret_worker = WIND_STEAL(w);
    return 0;
}

struct worker *worker_free(struct worker *w)
{
    if (w != NULL) {
        w->is_discarding = true;
        if (w->flows != NULL)
            flow_table_flush(w->flows);
        w->flows = flow_table_free(w->flows);
        w->conf.decode.defrag = defrag_free(w->conf.decode.defrag);
        w->aside = counters_free(w->aside);
        w->span = span_check_free(w->span);
        w->talk = talk_free(w->talk);
        free(w);
    }
    return NULL;
}

uint64_t worker_clock(const struct worker *w)
{
    return w->clock_ns;
}

/* ---------------------------------------------------------------- packets */

static void advance_clock(struct worker *w, uint64_t time_ns)
{
    if (time_ns > w->clock_ns)
        w->clock_ns = time_ns;
    else if (time_ns + BACKWARDS_NS < w->clock_ns)
        counters_add(w->alike, COUNTER_capture_time_backwards, 1);
}

/* Replay as fast as it was recorded, times speed; meanwhile the later stages go on. */
static void keep_pace(struct worker *w, uint64_t packet_ns)
{
    if (w->pace_mono_ns == 0) {
        w->pace_mono_ns = time_mono_ns();
        w->pace_packet_ns = packet_ns;
    }
    if (packet_ns <= w->pace_packet_ns)
        return;
    const double ahead = (double)(packet_ns - w->pace_packet_ns) / w->conf.speed;
    for (;;) {
        const double passed = (double)(time_mono_ns() - w->pace_mono_ns);
        if (passed >= ahead ||
            atomic_load_explicit(&w->conf.counters->stop, memory_order_relaxed) != 0)
            return;
        relieve(w);
        const uint64_t left = (uint64_t)(ahead - passed);
        const struct timespec slice = {.tv_nsec =
                                           (long)(left < PACE_SLICE_NS ? left : PACE_SLICE_NS)};
        (void)clock_nanosleep(CLOCK_MONOTONIC, 0, &slice, NULL);
    }
}

static void take_packet(struct worker *w, const struct packet *p, const struct packet_view *view,
                        uint32_t hash)
{
    unsigned dir = 0;
    struct flow *f = flow_table_touch(w->flows, view, hash, p->time_ns, &dir);

    if (f->stats.dir[0].pkts + f->stats.dir[1].pkts == 1) {
        f->interface = p->interface;
        counters_add(w->conf.counters, COUNTER_flow_made, 1);
        ladder_see(&w->ladder, f);
        talk_begin(w->talk, f);
    }
    talk_packet(w->talk, f, flow_table_index(w->flows, f), view, p->time_ns, dir);
}

static void count_layers(struct worker *w, uint32_t layers, uint64_t n)
{
    for (; layers != 0; layers &= layers - 1)
        counters_add(w->conf.counters, COUNTER_layer_ethernet + (enum counter)__builtin_ctz(layers),
                     n);
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
static void tell_oddity(struct worker *w, enum decode_verdict verdict, const struct packet *p,
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
    a->header.order = order_now(w);
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
    a->header.order = order_now(w);
    a->header.after = 0;
    (void)snprintf(a->type, sizeof(a->type), "capture");
    (void)snprintf(a->event, sizeof(a->event), "%s", event);
    (void)snprintf(a->text, sizeof(a->text), "%.159s", text);
    ring_commit(w->conf.ring);
}

/* Of the input as a whole, once a run. When there is no room: later. */
static void tell_once(struct worker *w, enum told what, const char *event, const char *text)
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

static void judge_span(struct worker *w)
{
    const char *event = NULL;
    char text[SPAN_TEXT_MAX];
    const uint32_t told = atomic_load_explicit(w->conf.told, memory_order_relaxed);

    if (w->conf.number != 0) /* one is enough, and in replay always the same one */
        return;
    const int what = span_check_judge(w->span, told, &event, text);
    if (what >= 0)
        tell_once(w, (enum told)what, event, text);
}

static bool is_odd(enum decode_verdict verdict, const struct packet_view *v)
{
    return verdict == DECODE_TRUNCATED || verdict == DECODE_MALFORMED ||
           verdict == DECODE_TOO_DEEP || verdict == DECODE_UNSUPPORTED_LINK || v->is_overlap;
}

/* A file among several was cut short or damaged; the next one goes on. */
static void tell_fault(struct worker *w, enum capture_state state, const struct err *what)
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

/* What decoding says of the packets of a batch. */
struct batch {
    struct packet_view view[CAPTURE_BATCH];
    enum decode_verdict verdict[CAPTURE_BATCH]; /* or, of a packet that is another worker's: */
    uint32_t hash[CAPTURE_BATCH];
};

#define REPORT ((enum decode_verdict)DECODE_VERDICTS) /* is about a flow of ours */
#define OTHERS ((enum decode_verdict)(DECODE_VERDICTS + 1))

/*
 * Sharing, and only decoding could tell whose the packet is. What is no packet of a flow is worker
 * 0's; an error by ICMP is also for whose flow it is about.
 */
static enum decode_verdict sort_out(const struct worker *w, enum decode_verdict verdict,
                                    const struct packet_view *v)
{
    const uint32_t sharing = w->conf.sharing, number = w->conf.number;
    const uint32_t owner = verdict == DECODE_OK ? share_of_key(&v->key, sharing) : 0;

    if (owner == number)
        return verdict;
    return verdict == DECODE_OK && v->has_inner && share_of_key(&v->inner, sharing) == number
               ? REPORT
               : OTHERS;
}

/*
 * Decode and hash the whole batch first, then ask for the flows: so the memory of the buckets, and
 * then of the flows, is on its way when it is touched. `is_ours`: NULL: all of them. Returns how
 * many are.
 */
static size_t decode_batch(struct worker *w, const struct packet *packets, size_t n,
                           const bool *is_ours, struct batch *b)
{
    uint64_t bytes = 0;
    size_t run = 0, others = 0; /* run: of packets made of the same layers: most are */

    for (size_t i = 0; i < n; i++) {
        b->verdict[i] = decode_packet(&w->conf.decode, &packets[i], &b->view[i]);
        if (is_ours != NULL && !is_ours[i])
            b->verdict[i] = sort_out(w, b->verdict[i], &b->view[i]);
        if (WIND_LIKELY(b->verdict[i] < DECODE_VERDICTS)) {
            bytes += packets[i].wire_len + (packets[i].vlan_tpid != 0 ? VLAN_TAG_BYTES : 0);
        } else {
            b->view[i].layers = 0;
            others++;
        }
        if (b->verdict[i] == DECODE_OK)
            b->hash[i] = flow_table_prefetch(w->flows, &b->view[i].key);
        if (b->view[i].layers != b->view[run].layers) {
            count_layers(w, b->view[run].layers, i - run);
            run = i;
        }
    }
    count_layers(w, b->view[run].layers, n - run);
    counters_add(w->conf.counters, COUNTER_capture_bytes, bytes);
    for (size_t i = 0; i < n; i++)
        if (b->verdict[i] == DECODE_OK)
            flow_table_prefetch_flow(w->flows, b->hash[i]);
    return n - others;
}

static void account(struct worker *w, const struct packet *p, const struct batch *b, size_t i)
{
    const enum decode_verdict verdict = b->verdict[i];

    if (WIND_UNLIKELY(verdict >= DECODE_VERDICTS)) {
        if (verdict == REPORT)
            flow_table_hear(w->flows, &b->view[i]);
        return;
    }
    if (verdict == DECODE_OK) {
        take_packet(w, p, &b->view[i], b->hash[i]);
        if (span_check_packet(w->span, p, &b->view[i]))
            judge_span(w);
    }
    counters_add(w->conf.counters, COUNTER_decoder_OK + (enum counter)verdict, 1);
    if (WIND_UNLIKELY(is_odd(verdict, &b->view[i])) && w->conf.anomalies > 0 &&
        w->conf.level != ANALYSIS_COUNTERS)
        tell_oddity(w, verdict, p, &b->view[i]);
}

static void take_batch(struct worker *w, const struct packet *packets, size_t n)
{
    struct batch b;

    (void)decode_batch(w, packets, n, NULL, &b);
    for (size_t i = 0; i < n; i++) {
        advance_clock(w, packets[i].time_ns);
        /* Before every packet, not at every batch: batches are cut differently by each source. */
        flow_table_advance(w->flows, w->clock_ns);
        account(w, &packets[i], &b, i);
        w->order++;
    }
}

/* The supervisor may have been told of another flow.max (reload.h). */
static void adopt_limit(struct worker *w)
{
    const uint64_t max = atomic_load_explicit(&w->conf.counters->flow_max, memory_order_relaxed);

    if (max != 0)
        flow_table_set_max(w->flows, max);
    counters_set(w->conf.counters, COUNTER_flow_max, flow_table_max(w->flows));
}

static void publish(struct worker *w)
{
    struct counters *c = w->conf.counters;

    climb(w);
    adopt_limit(w);
    /* release: whoever sees these sees the records before them (merge.c) */
    atomic_store_explicit(&c->order, order_now(w), memory_order_release);
    atomic_store_explicit(&c->clock_ns, w->clock_ns, memory_order_release);
    atomic_store_explicit(&c->flow_sequence, flow_table_next_id(w->flows), memory_order_relaxed);
    counters_set(c, COUNTER_flow_live, flow_table_live(w->flows));
}

/*
 * A new capture after a crash counts from 0: the counters go on from where they stood. Returns how
 * many packets lie in the kernel's buffer.
 */
static uint64_t count_kernel(struct worker *w)
{
    struct counters *c = w->conf.counters;
    struct capture_stats s;

    capture_stats(w->conf.capture, &s);
    const uint64_t left = s.kernel_seen - s.kernel_dropped - s.received;
    counters_add(c, COUNTER_capture_kernel_packets, s.kernel_seen - w->kernel.kernel_seen);
    counters_add(c, COUNTER_capture_kernel_drops, s.kernel_dropped - w->kernel.kernel_dropped);
    counters_add(c, COUNTER_capture_kernel_freezes, s.kernel_freezes - w->kernel.kernel_freezes);
    counters_set(c, COUNTER_capture_kernel_left, left);
    w->kernel = s;
    return left;
}

/*
 * Live, time goes on without packets, and also when somebody sets the wall clock back: at least as
 * fast as the monotonic one. The kernel is asked once a second: it is a system call.
 */
static void follow_wall_clock(struct worker *w)
{
    const uint64_t now = capture_now(w->conf.capture), mono_ns = time_mono_ns();
    const struct err *lost = NULL;
    const uint64_t passed_ns = w->followed_mono_ns == 0 ? 0 : mono_ns - w->followed_mono_ns;

    w->clock_ns = now > w->clock_ns ? now : w->clock_ns;
    if (w->clock_ns < w->followed_ns + passed_ns)
        w->clock_ns = w->followed_ns + passed_ns;
    w->followed_ns = w->clock_ns;
    w->followed_mono_ns = mono_ns;
    flow_table_advance(w->flows, w->clock_ns);
    if (now < w->kernel_ns + WIND_NS_PER_S && now >= w->kernel_ns)
        return;
    w->kernel_ns = now;
    (void)count_kernel(w);
    if (capture_error(w->conf.capture, &lost) != CAPTURE_OK)
        tell_once(w, TOLD_INTERFACE_LOST, "interface_lost", lost->text);
}

/* ---------------------------------------------------------------- shared packets */

/* Ours of a batch, as far as there is room for them. */
struct ours {
    size_t n;
    struct packet packet[CAPTURE_BATCH];
    bool is_ours[CAPTURE_BATCH]; /* for certain */
    uint16_t at[CAPTURE_BATCH];
    uint64_t clock_ns[CAPTURE_BATCH];
};

/*
 * In the order of the input. *own and *unsure: how far we are among ours, and among those that have
 * to be decoded. Where an earlier worker had been before it died, we need not go again.
 */
static void gather(const struct worker *w, const struct board_batch *b, uint16_t *own,
                   uint16_t *unsure, struct ours *o)
{
    const uint16_t own_end = b->from[w->conf.number + 1], unsure_end = b->from[w->conf.sharing + 1];

    for (o->n = 0; o->n < CAPTURE_BATCH && (*own < own_end || *unsure < unsure_end);) {
        const bool is_ours =
            *unsure == unsure_end || (*own < own_end && b->packet[*own].at < b->packet[*unsure].at);
        const struct board_packet *const p = &b->packet[is_ours ? (*own)++ : (*unsure)++];

        if (b->first + p->at < w->order)
            continue;
        __builtin_prefetch(p->packet.data);
        __builtin_prefetch(p->packet.data + WIND_CACHE_LINE);
        o->packet[o->n] = p->packet;
        o->is_ours[o->n] = is_ours;
        o->at[o->n] = p->at;
        o->clock_ns[o->n++] = p->clock_ns;
    }
}

/* To a packet, at its clock. On the way the packets of others turn the clock's ticks, each at its
 * time. */
static void go_on_to(struct worker *w, const struct board_batch *b, size_t at, uint64_t clock_ns)
{
    if (flow_table_tick(clock_ns) != flow_table_tick(w->clock_ns)) {
        for (; w->order < b->first + at; w->order++) {
            const uint64_t then_ns = b->clock_ns[w->order - b->first];
            if (flow_table_tick(then_ns) > flow_table_tick(w->clock_ns))
                flow_table_advance(w->flows, w->clock_ns = then_ns);
        }
    }
    w->order = b->first + at;
    w->clock_ns = clock_ns > w->clock_ns ? clock_ns : w->clock_ns;
    flow_table_advance(w->flows, w->clock_ns);
}

static void take_batch_of(struct worker *w, const struct board_batch *board)
{
    uint16_t own = board->from[w->conf.number], unsure = board->from[w->conf.sharing];
    struct batch b;
    struct ours o;

    for (gather(w, board, &own, &unsure, &o); o.n > 0; gather(w, board, &own, &unsure, &o)) {
        counters_add(w->conf.counters, COUNTER_capture_packets,
                     decode_batch(w, o.packet, o.n, o.is_ours, &b));
        for (size_t i = 0; i < o.n; i++) {
            go_on_to(w, board, o.at[i], o.clock_ns[i]);
            account(w, &o.packet[i], &b, i);
        }
        if (w->conf.decode.defrag != NULL)
            defrag_release(w->conf.decode.defrag);
    }
    go_on_to(w, board, board->n - 1, board->clock_ns[board->n - 1]);
    w->order = board->first + board->n;
}

static size_t take_shared(struct worker *w, int wait_ms)
{
    const struct board_batch *const b = board_take(w->conf.board, w->conf.place, wait_ms);

    if (b == NULL)
        return 0;
    if (w->conf.speed > 0 && b->n > 0)
        keep_pace(w, b->packet[0].packet.time_ns);
    if (b->first + b->n > w->order) { /* counted first, as below */
        atomic_store_explicit(&w->conf.counters->position, b->first + b->n, memory_order_relaxed);
        counters_add(w->alike, COUNTER_capture_time_backwards, b->backwards);
        take_batch_of(w, b);
    }
    tell_fault(w, b->fault, &b->what);
    board_done(w->conf.board, w->conf.place);
    return BOARD_PACKETS;
}

/* ---------------------------------------------------------------- packets of its own */

static size_t take_own(struct worker *w, int wait_ms)
{
    const struct err *what = NULL;
    struct packet packets[CAPTURE_BATCH];
    const size_t max = w->conf.speed > 0 ? 1 : CAPTURE_BATCH;
    const size_t n = capture_recv(w->conf.capture, packets, max, wait_ms);

    if (n > 0) {
        if (w->conf.speed > 0)
            keep_pace(w, packets[0].time_ns);
        /* Counted first: should a packet be our end, the next analyser goes on behind it. */
        atomic_store_explicit(&w->conf.counters->position, w->order + n, memory_order_relaxed);
        counters_add(w->conf.counters, COUNTER_capture_packets, n);
        take_batch(w, packets, n);
        if (w->conf.decode.defrag != NULL)
            defrag_release(w->conf.decode.defrag);
        capture_release(w->conf.capture);
    } else {
        const enum capture_state state = capture_take_fault(w->conf.capture, &what);
        tell_fault(w, state, what);
    }
    return n;
}

size_t worker_step(struct worker *w, int wait_ms)
{
    const size_t n = w->conf.board != NULL ? take_shared(w, wait_ms) : take_own(w, wait_ms);

    if (capture_is_live(w->conf.capture))
        follow_wall_clock(w);
    publish(w);
    return n;
}

/* What had come by now is still taken; what comes meanwhile is counted as left. */
static void drain(struct worker *w)
{
    uint64_t left = count_kernel(w);

    while (left > 0) {
        const size_t n = worker_step(w, DRAIN_WAIT_MS);

        if (n == 0)
            break;
        left -= n < left ? n : left;
    }
    (void)count_kernel(w);
}

void worker_flush(struct worker *w)
{
    if (capture_is_live(w->conf.capture))
        drain(w);
    w->may_wait = true;
    flow_table_flush(w->flows);
    for (int i = 0; w->span != NULL && i < SPAN_FINDINGS; i++)
        judge_span(w);
    publish(w);
    atomic_store_explicit(&w->conf.counters->order, COUNTERS_ORDER_END, memory_order_release);
}
