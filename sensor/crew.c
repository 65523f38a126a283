#include "sensor/crew.h"

#include <errno.h>
#include <stdlib.h>

#include "common/crypto.h"
#include "sensor/standby.h"
#include "sensor/worker.h"

#define LIVE_BURST 8  /* a packet makes one flow at most: overdue ones go eight times as fast */
#define WAIT_MS    10 /* longest sleep, so that a stop is seen this soon */

struct member {
    struct crew *crew;
    struct capture *capture;
    struct dpi *dpi;     /* until the worker takes it */
    struct board *board; /* replay by several: our own, or of worker 0, which owns it */
    struct worker *worker;
    struct standby *thread; /* of worker 0: none */
};

struct crew {
    struct crew_conf conf;
    unsigned n;
    bool is_live;
    struct member member[]; /* n */
};

/* Worker i's part of what all have together; the first ones take what is left. 0 only of 0. */
static size_t part(const struct crew *c, unsigned i, int64_t whole)
{
    const size_t n = (size_t)whole / c->n + (i < (size_t)whole % c->n);

    return n == 0 && whole > 0 ? 1 : n;
}

/* ---------------------------------------------------------------- life */

int crew_new(struct crew **ret_crew, const struct crew_conf *conf, struct err *e)
{
    const struct sensor_conf *s = conf->sensor;
    const unsigned n = conf->flows->n;
    WIND_AUTO(crew) struct crew *c = calloc(1, sizeof(*c) + n * sizeof(c->member[0]));
    if (c == NULL)
        return err_set(e, -ENOMEM, "out of memory");
    c->conf = *conf;
    c->n = n;
    c->is_live = capture_is_live(conf->captures[0]);
    for (unsigned i = 0; i < n; i++) {
        const struct dpi_conf dpi = {.flows_max = (uint32_t)part(c, i, s->dpi_flows),
                                     .packets_max = (uint32_t)s->dpi_packets};
        c->member[i] =
            (struct member){.crew = c, .capture = conf->captures[conf->n_captures > 1 ? i : 0]};
        const int r = s->dpi_enabled ? dpi_new(&c->member[i].dpi, &dpi, e) : 0;
        if (r < 0)
            return r;
    }
    *ret_crew = WIND_STEAL(c);
    return 0;
}

struct crew *crew_free(struct crew *c)
{
    if (c != NULL) {
        for (unsigned i = 0; i < c->n; i++) {
            struct member *m = &c->member[i];
            m->thread = standby_free(m->thread);
            m->worker = worker_free(m->worker);
            m->dpi = dpi_free(m->dpi);
        }
        for (unsigned i = c->n; i-- > 0;)
            if (i == 0 || c->member[i].board != c->member[0].board)
                c->member[i].board = board_free(c->member[i].board);
        free(c);
    }
    return NULL;
}

int crew_start_threads(struct crew *c, struct err *e)
{
    int r = 0;

    for (unsigned i = 1; r == 0 && i < c->n; i++)
        r = standby_new(&c->member[i].thread, "worker", e);
    for (unsigned i = 0; r == 0 && i < c->conf.n_captures; i++)
        r = capture_start_thread(c->conf.captures[i], e);
    return r;
}

/* ---------------------------------------------------------------- workers */

static struct flow_table_conf flow_conf(const struct crew *c, unsigned i)
{
    const struct sensor_conf *s = c->conf.sensor;
    const uint64_t ids = atomic_load(&c->conf.counters[i].flow_sequence);
    struct flow_table_conf f = {.max = part(c, i, (int64_t)sensor_conf_flows_max(s)),
                                .idle_ns = (uint64_t)s->flow_idle,
                                .idle_udp_ns = (uint64_t)s->flow_idle_udp,
                                .idle_new_ns = (uint64_t)s->flow_idle_new,
                                .half_open_ns = (uint64_t)s->flow_half_open,
                                .linger_ns = (uint64_t)s->flow_linger,
                                .active_ns = (uint64_t)s->flow_active,
                                .first_pkts = (uint32_t)s->flow_first_pkts,
                                .burst = c->is_live ? LIVE_BURST : 0,
                                /* a batch's worth of ids may have been given out and not told */
                                .first_id = ids == 0 ? ((uint64_t)i << FLOW_ID_SHIFT) + 1
                                                     : ids + CAPTURE_BATCH};

    /* Keyed by chance, in replay too: nobody can aim at a bucket, and no output depends on it. */
    crypto_random(&f.seed, sizeof(f.seed));
    return f;
}

static struct defrag_conf defrag_conf(const struct crew *c, unsigned i)
{
    const struct sensor_conf *s = c->conf.sensor;
    struct defrag_conf d = {.max = (size_t)s->defrag_max,
                            .memory = (size_t)s->defrag_memory,
                            .timeout_ns = (uint64_t)s->defrag_timeout};

    if (c->is_live) {
        d.max = part(c, i, s->defrag_max);
        d.memory = part(c, i, s->defrag_memory);
    }
    return d;
}

static unsigned place_of(const struct member *m)
{
    return m->crew->conf.n_captures == 1 ? (unsigned)(m - m->crew->member) : 0;
}

static int make_worker(struct crew *c, unsigned i, struct err *e)
{
    const struct sensor_conf *s = c->conf.sensor;
    struct member *m = &c->member[i];
    const struct worker_conf w = {
        .flows = flow_conf(c, i),
        .decode = {.tunnels = s->tunnels,
                   .vlan_in_key = s->vlan_in_key,
                   .tunnel_depth = (uint8_t)s->tunnel_depth},
        .defrag = defrag_conf(c, i),
        .capture = m->capture,
        .talk = {.dpi = m->dpi,
                 .listener = {.memory = (size_t)part(c, i, s->facts_memory),
                              .streams = (size_t)part(c, i, s->facts_streams)}},
        .ring = c->conf.flows->ring[i],
        .counters = &c->conf.counters[i],
        .told = &c->conf.counters->told,
        .span_check = s->span_check,
        .frame_max = c->conf.frame_max,
        .is_defragmented = c->is_live && c->n > 1 && s->fanout_defrag,
        .number = i,
        .board = m->board,
        .place = place_of(m),
        .sharing = m->board != NULL ? c->n : 0,
        .anomalies =
            (uint32_t)(c->is_live ? part(c, i, s->decode_anomalies) : (size_t)s->decode_anomalies),
        .level = c->conf.level,
        .has_ladder = c->is_live && s->ladder,
        .speed = c->conf.speed,
        .relieve = c->conf.relieve,
        .relieve_arg = c->conf.arg,
    };
    const int r = worker_new(&m->worker, &w, e);

    if (r == 0)
        m->dpi = NULL; /* taken */
    return r;
}

/* A capture that is shared begins where the one that was last of an earlier crew had come to. */
static int make_boards(struct crew *c, struct err *e)
{
    const bool is_one = c->conf.n_captures == 1;
    int r = 0;

    for (unsigned i = 0; r == 0 && i < c->n; i++) {
        struct member *const m = &c->member[i];
        const struct board_conf conf = {
            .capture = m->capture,
            .shares = c->n,
            .places = is_one ? c->n : 1,
            .first = is_one ? counters_position(c->conf.counters, c->n)
                            : atomic_load(&c->conf.counters[i].position),
            .at_once = c->conf.speed > 0 ? 1 : 0,
        };
        if (is_one && i > 0)
            m->board = c->member[0].board;
        else
            r = board_new(&m->board, &conf, e);
    }
    return r;
}

int crew_begin(struct crew *c, struct err *e)
{
    int r = c->n > 1 && !c->is_live ? make_boards(c, e) : 0;

    for (unsigned i = 0; r == 0 && i < c->n; i++)
        r = make_worker(c, i, e);
    return r;
}

/* ---------------------------------------------------------------- the loop */

static bool has_ended(const struct member *m)
{
    return m->board != NULL ? board_ended(m->board, place_of(m)) : capture_ended(m->capture);
}

static void work(void *arg)
{
    const struct member *m = arg;
    const struct crew_conf *conf = &m->crew->conf;

    while (!has_ended(m) &&
           atomic_load_explicit(&conf->counters->stop, memory_order_acquire) == 0) {
        (void)worker_step(m->worker, WAIT_MS);
        if (m->thread == NULL)
            conf->turn(conf->arg);
    }
    worker_flush(m->worker);
}

/*
 * Sharing workers know whose a packet is when it is decoded. One that an earlier analyser died of,
 * or with, was counted by nobody: all that were taken and not offered are lost.
 */
static void count_missing(const struct crew *c)
{
    struct counters *const own = c->conf.counters;
    const uint64_t taken = atomic_load(&own->position);
    const uint64_t offered = counters_sum(own, COUNTER_capture_packets);

    if (offered >= taken || counters_get(own, COUNTER_supervisor_analyser_restarts) == 0)
        return;
    counters_add(own, COUNTER_capture_packets, taken - offered);
    counters_add(own, COUNTER_decoder_lost, taken - offered);
}

void crew_run(struct crew *c)
{
    for (unsigned i = 1; i < c->n; i++)
        standby_start(c->member[i].thread, work, &c->member[i]);
    work(&c->member[0]);
    for (unsigned i = 1; i < c->n; i++)
        standby_join(c->member[i].thread);
    if (c->member[0].board != NULL && atomic_load(&c->conf.counters->stop) == 0)
        count_missing(c);
}
