#include "sensor/worker_state.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "common/time.h"
#include "sensor/share.h"

#define BACKWARDS_NS  WIND_NS_PER_S       /* disorder below this is ordinary */
#define TURNS_AT_REST 64                  /* times worker_conf.flows.burst, between two batches */
#define PACE_GAP_NS   (5 * WIND_NS_PER_S) /* nobody waits for the end of a night without packets */
#define PACE_SLICE_NS (20 * WIND_NS_PER_MS)
#define HOLD_FILL     0.375 /* of the ring: before the ladder's first step */
#define DRAIN_WAIT_MS 50    /* longer than the kernel keeps a packet to itself */

enum { VLAN_TAG_BYTES = 4 };

/* ---------------------------------------------------------------- life */

static int make_talk(struct worker *w, const struct worker_conf *conf, struct err *e)
{
    struct talk_conf t = conf->talk;

    t.flows_max = conf->flows.max;
    t.counters = t.listener.counters = conf->counters;
    t.listener.named = worker_on_named;
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
    if (r == 0 && w->span != NULL && conf->is_defragmented)
        span_check_defragmented(w->span);
    if (r < 0)
        return r;
    r = flow_table_new(&w->flows, &conf->flows, worker_on_flow, w, e);
    if (r == 0)
        r = make_talk(w, conf, e);
    if (r < 0)
        return r;
    atomic_store_explicit(&conf->counters->order, worker_order_now(w), memory_order_relaxed);
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

void worker_keep_pace(struct worker *w, uint64_t packet_ns)
{
    if (w->pace_mono_ns == 0) {
        w->pace_mono_ns = time_mono_ns();
        w->pace_packet_ns = packet_ns;
    }
    if (packet_ns <= w->pace_packet_ns)
        return;
    double ahead = (double)(packet_ns - w->pace_packet_ns) / w->conf.speed;
    const uint64_t now_ns = time_mono_ns();
    if (ahead > (double)(now_ns + PACE_GAP_NS - w->pace_mono_ns)) {
        w->pace_packet_ns = packet_ns; /* due when the gap has been waited for so long */
        w->pace_mono_ns = now_ns + PACE_GAP_NS;
        ahead = 0;
    }
    for (;;) {
        const double passed = (double)(int64_t)(time_mono_ns() - w->pace_mono_ns);
        if (passed >= ahead ||
            atomic_load_explicit(&w->conf.counters->stop, memory_order_relaxed) != 0)
            return;
        worker_relieve(w);
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

static bool is_odd(enum decode_verdict verdict, const struct packet_view *v)
{
    return verdict == DECODE_TRUNCATED || verdict == DECODE_MALFORMED ||
           verdict == DECODE_TOO_DEEP || verdict == DECODE_UNSUPPORTED_LINK || v->is_overlap;
}

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
               ? WORKER_REPORT
               : WORKER_OTHERS;
}

size_t worker_decode_batch(struct worker *w, const struct packet *packets, size_t n,
                           const bool *is_ours, struct worker_batch *b)
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

void worker_account(struct worker *w, const struct packet *p, const struct worker_batch *b,
                    size_t i)
{
    const enum decode_verdict verdict = b->verdict[i];

    if (WIND_UNLIKELY(verdict >= DECODE_VERDICTS)) {
        if (verdict == WORKER_REPORT)
            flow_table_hear(w->flows, &b->view[i]);
        return;
    }
    if (verdict == DECODE_OK) {
        take_packet(w, p, &b->view[i], b->hash[i]);
        if (span_check_packet(w->span, p, &b->view[i]))
            worker_judge_span(w);
    }
    counters_add(w->conf.counters, COUNTER_decoder_OK + (enum counter)verdict, 1);
    if (WIND_UNLIKELY(is_odd(verdict, &b->view[i])) && w->conf.anomalies > 0 &&
        w->conf.level != ANALYSIS_COUNTERS)
        worker_tell_oddity(w, verdict, p, &b->view[i]);
}

static void take_batch(struct worker *w, const struct packet *packets, size_t n)
{
    struct worker_batch b;

    (void)worker_decode_batch(w, packets, n, NULL, &b);
    for (size_t i = 0; i < n; i++) {
        advance_clock(w, packets[i].time_ns);
        /* Before every packet, not at every batch: batches are cut differently by each source. */
        flow_table_advance(w->flows, w->clock_ns);
        worker_account(w, &packets[i], &b, i);
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

    worker_climb(w);
    if (w->is_live)
        flow_table_hold(w->flows, ring_fill(w->conf.ring) >= HOLD_FILL);
    adopt_limit(w);
    /* release: whoever sees these sees the records before them (merge.c) */
    atomic_store_explicit(&c->order, worker_order_now(w), memory_order_release);
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
    for (unsigned n = 0; n < TURNS_AT_REST && flow_table_is_behind(w->flows); n++)
        flow_table_advance(w->flows, w->clock_ns);
    if (now < w->kernel_ns + WIND_NS_PER_S && now >= w->kernel_ns)
        return;
    w->kernel_ns = now;
    (void)count_kernel(w);
    if (capture_error(w->conf.capture, &lost) != CAPTURE_OK)
        worker_tell_once(w, TOLD_INTERFACE_LOST, "interface_lost", lost->text);
}

static size_t take_own(struct worker *w, int wait_ms)
{
    const struct err *what = NULL;
    struct packet packets[CAPTURE_BATCH];
    const size_t max = w->conf.speed > 0 ? 1 : CAPTURE_BATCH;
    const size_t n = capture_recv(w->conf.capture, packets, max, wait_ms);

    if (n > 0) {
        if (w->conf.speed > 0)
            worker_keep_pace(w, packets[0].time_ns);
        /* Counted first: should a packet be our end, the next analyser goes on behind it. */
        atomic_store_explicit(&w->conf.counters->position, w->order + n, memory_order_relaxed);
        counters_add(w->conf.counters, COUNTER_capture_packets, n);
        take_batch(w, packets, n);
        if (w->conf.decode.defrag != NULL)
            defrag_release(w->conf.decode.defrag);
        capture_release(w->conf.capture);
    } else {
        const enum capture_state state = capture_take_fault(w->conf.capture, &what);
        worker_tell_fault(w, state, what);
    }
    return n;
}

size_t worker_step(struct worker *w, int wait_ms)
{
    const size_t n = w->conf.board != NULL ? worker_take_shared(w, wait_ms) : take_own(w, wait_ms);

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
        worker_judge_span(w);
    publish(w);
    atomic_store_explicit(&w->conf.counters->order, COUNTERS_ORDER_END, memory_order_release);
}
