#include "sensor/worker_state.h"

/*
 * Packets of a board (board.h), of which we take our share.
 */

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
    struct worker_batch b;
    struct ours o;

    for (gather(w, board, &own, &unsure, &o); o.n > 0; gather(w, board, &own, &unsure, &o)) {
        counters_add(w->conf.counters, COUNTER_capture_packets,
                     worker_decode_batch(w, o.packet, o.n, o.is_ours, &b));
        for (size_t i = 0; i < o.n; i++) {
            go_on_to(w, board, o.at[i], o.clock_ns[i]);
            worker_account(w, &o.packet[i], &b, i);
        }
        if (w->conf.decode.defrag != NULL)
            defrag_release(w->conf.decode.defrag);
    }
    go_on_to(w, board, board->n - 1, board->clock_ns[board->n - 1]);
    w->order = board->first + board->n;
}

size_t worker_take_shared(struct worker *w, int wait_ms)
{
    const struct board_batch *const b = board_take(w->conf.board, w->conf.place, wait_ms);

    if (b == NULL)
        return 0;
    if (w->conf.speed > 0 && b->n > 0)
        worker_keep_pace(w, b->packet[0].packet.time_ns);
    if (b->first + b->n > w->order) { /* counted first, as below */
        atomic_store_explicit(&w->conf.counters->position, b->first + b->n, memory_order_relaxed);
        counters_add(w->alike, COUNTER_capture_time_backwards, b->backwards);
        take_batch_of(w, b);
    }
    worker_tell_fault(w, b->fault, &b->what);
    board_done(w->conf.board, w->conf.place);
    return BOARD_PACKETS;
}
