#include "features/host_stats.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "common/hash.h"

#define KNOWN_BITS    ((size_t)HOST_KNOWN_WORDS * 64)
#define KNOWN_MAX     256 /* then the older half is forgotten: about 5 % taken for known wrongly */
#define CHANNEL_STALE UINT64_C(3600000000000)
#define PAST_WINDOW   10  /* panes after which older ones fade */
#define PAST_FORGOT   200 /* 0.9^200: nothing is left */
#define NORMAL_MIN    8   /* flows before a host has a normal to compare with */

/* A fixed seed: a host spoils at most its own sketches, and a replay is the same every time. */
static uint64_t hash_peer(const struct flow_key *key)
{
    return hash64(key->dst, sizeof(key->dst), 1);
}

static uint64_t hash_port(const struct flow_key *key)
{
    return hash_u64((uint64_t)key->proto << 16 | key->dport, 2);
}

/* Peer, port and protocol; never 0, which marks a free channel. */
static uint64_t hash_service(const struct flow_key *key)
{
    const uint64_t h = hash_u64(hash_peer(key) ^ hash_port(key), 3);

    return h != 0 ? h : 1;
}

/* Two bits a service in each generation. Returns whether it was there, and makes it so. */
static int known_add(struct host_stats *h, uint64_t hash)
{
    const unsigned a = (unsigned)(hash % KNOWN_BITS), b = (unsigned)((hash >> 32) % KNOWN_BITS);
    const uint64_t bit_a = UINT64_C(1) << (a % 64), bit_b = UINT64_C(1) << (b % 64);
    int is_known = 0, is_newest = 0;

    for (unsigned g = 0; g < 2; g++) {
        if ((h->known[g][a / 64] & bit_a) && (h->known[g][b / 64] & bit_b)) {
            is_known = 1;
            is_newest |= g == 0;
        }
    }
    if (is_newest)
        return 1;
    if (h->known_n == KNOWN_MAX) {
        memcpy(h->known[1], h->known[0], sizeof(h->known[0]));
        memset(h->known[0], 0, sizeof(h->known[0]));
        h->known_n = 0;
    }
    h->known[0][a / 64] |= bit_a;
    h->known[0][b / 64] |= bit_b;
    h->known_n++;
    return is_known;
}

/* What the n-th value weighs beside all before; after `window` values the older ones fade. */
static double weight(uint32_t n, uint32_t window)
{
    return 1.0 / (n < window ? n : window);
}

/* Running mean and population variance, of one more value of weight w. */
static void normal_weigh(struct host_normal *normal, double value, double w)
{
    normal->n += normal->n != UINT32_MAX;
    const double delta = value - normal->mean;
    const double var = (1 - w) * (normal->var + w * delta * delta);

    normal->mean = (float)(normal->mean + w * delta);
    normal->var = feature_finite(var);
}

static void normal_add(struct host_normal *normal, double value, uint32_t window)
{
    normal_weigh(normal, value, weight(normal->n + (normal->n != UINT32_MAX), window));
}

static void past_add(struct host_stats *h, double flows)
{
    struct host_normal past = {h->past_mean, h->past_var, h->past_panes};

    normal_add(&past, flows, PAST_WINDOW);
    h->past_mean = past.mean;
    h->past_var = past.var;
    h->past_panes = past.n;
}

/* Move the window so that `now_ns` is in the current pane. Time that runs backwards stands still.
 */
static void advance(struct host_stats *h, uint64_t now_ns)
{
    if (now_ns < h->pane_ns || now_ns - h->pane_ns < HOST_PANE_NS)
        return;
    const uint64_t steps = (now_ns - h->pane_ns) / HOST_PANE_NS;

    if (h->pane_ns >= h->first_ns + HOST_PANE_NS) /* there was a pane before this one */
        past_add(h, h->pane[1].flows);
    h->pane[1] = h->pane[0];
    h->pane[0] = (struct host_pane){0};
    if (steps > 1) {
        past_add(h, h->pane[1].flows);
        h->pane[1] = (struct host_pane){0};
        for (uint64_t i = 2; i < steps && i < PAST_FORGOT; i++)
            past_add(h, 0);
    }
    h->pane_ns += steps * HOST_PANE_NS;
}

static void channel_again(struct host_channel *c, uint64_t start_ns)
{
    const double gap = start_ns > c->last_ns ? (double)(start_ns - c->last_ns) * 1e-6 : 0;
    struct host_normal gaps = {c->gap_mean, c->gap_var, c->opens - 1};

    normal_add(&gaps, gap, 64);
    c->gap_mean = gaps.mean;
    c->gap_var = gaps.var;
    c->opens += c->opens != UINT32_MAX;
    c->last_ns = start_ns > c->last_ns ? start_ns : c->last_ns;
}

static const struct host_channel *channel_find(const struct host_stats *h, uint64_t hash)
{
    for (unsigned i = 0; i < HOST_CHANNELS; i++)
        if (h->channel[i].hash == hash)
            return &h->channel[i];
    return NULL;
}

/* What a channel is worth keeping for: repeated ones outlive a scan, unless silent for an hour. */
static uint64_t channel_worth(const struct host_channel *c, uint64_t now_ns)
{
    const int is_stale = now_ns > c->last_ns && now_ns - c->last_ns > CHANNEL_STALE;

    if (c->hash == 0)
        return 0;
    return (c->opens > 1 && !is_stale ? UINT64_C(1) << 63 : 0) | c->last_ns >> 1;
}

static void channel_opened(struct host_stats *h, uint64_t hash, uint64_t start_ns)
{
    struct host_channel *least = &h->channel[0];

    for (unsigned i = 0; i < HOST_CHANNELS; i++) {
        struct host_channel *c = &h->channel[i];
        if (c->hash == hash) {
            channel_again(c, start_ns);
            return;
        }
        if (channel_worth(c, start_ns) < channel_worth(least, start_ns))
            least = c;
    }
    *least = (struct host_channel){.hash = hash, .last_ns = start_ns, .opens = 1};
}

void host_stats_init(struct host_stats *h, uint64_t now_ns)
{
    if (h == NULL)
        return;
    memset(h, 0, sizeof(*h));
    h->first_ns = h->pane_ns = now_ns;
}

void host_stats_opened(struct host_stats *h, uint64_t now_ns, uint64_t start_ns,
                       const struct flow_key *key, enum flow_opening opening)
{
    if (h == NULL)
        return;
    advance(h, now_ns);
    struct host_pane *pane = &h->pane[0];
    const uint64_t service = hash_service(key);

    pane->flows++;
    pane->failed += opening == OPENING_REFUSED || opening == OPENING_SILENT;
    pane->fresh += !known_add(h, service);
    sketch_add(&pane->peers, hash_peer(key));
    sketch_add(&pane->ports, hash_port(key));
    sketch_add(&pane->services, service);
    channel_opened(h, service, start_ns);
}

void host_stats_ended(struct host_stats *h, uint64_t now_ns, const float *row, uint64_t missing)
{
    if (h == NULL)
        return;
    advance(h, now_ns);
    if (!feature_is_missing(missing, FEATURE_bytes_fwd)) {
        h->pane[0].ended++;
        h->pane[0].bytes_out += (double)row[FEATURE_bytes_fwd];
        h->pane[0].bytes_in += (double)row[FEATURE_bytes_rev];
    }
    uint32_t last_n = 0; /* most features have come equally often: divide once */
    double w = 1;
    for (size_t f = 0; f < FEATURE_COUNT; f++) {
        struct host_normal *const normal = &h->normal[f];

        if (feature_is_missing(missing, f))
            continue;
        if (normal->n != last_n) {
            last_n = normal->n;
            w = weight(last_n + (last_n != UINT32_MAX), HOST_NORMAL_WINDOW);
        }
        normal_weigh(normal, feature_finite(row[f]), w);
    }
}

void host_stats_window(struct host_stats *h, uint64_t now_ns, struct host_window *ret_window)
{
    *ret_window = (struct host_window){0};
    if (h == NULL)
        return;
    advance(h, now_ns);
    const struct host_pane *now = &h->pane[0], *before = &h->pane[1];
    const uint64_t in_pane = now_ns > h->pane_ns ? now_ns - h->pane_ns : 0;

    *ret_window = (struct host_window){
        .flows = now->flows + before->flows,
        .failed = now->failed + before->failed,
        .fresh = now->fresh + before->fresh,
        .peers = sketch_count(&now->peers, &before->peers),
        .ports = sketch_count(&now->ports, &before->ports),
        .services = sketch_count(&now->services, &before->services),
        .past_mean = h->past_mean,
        .past_sd = (float)sqrt((double)h->past_var),
        .past_panes = h->past_panes,
        .length_ns = in_pane + (h->pane_ns > h->first_ns ? HOST_PANE_NS : 0),
    };
}

static void put_window(struct host_stats *h, uint64_t now_ns, float *row, uint64_t *missing)
{
    struct host_window w;
    const struct host_pane *a = &h->pane[0], *b = &h->pane[1];

    host_stats_window(h, now_ns, &w);
    feature_put(row, missing, FEATURE_src_flows, w.flows);
    feature_put(row, missing, FEATURE_src_peers, w.peers);
    feature_put(row, missing, FEATURE_src_ports, w.ports);
    feature_put(row, missing, FEATURE_src_services, w.services);
    if (w.past_panes >= 2) {
        const double panes = (double)w.length_ns / (double)HOST_PANE_NS;
        feature_put(row, missing, FEATURE_src_rate_ratio,
                    (w.flows + 1.0) / (w.past_mean * panes + 1.0));
    }
    if (w.flows > 0) {
        feature_put(row, missing, FEATURE_src_failed_share, (double)w.failed / w.flows);
        if (w.past_panes >= 2) /* before that everything is new */
            feature_put(row, missing, FEATURE_src_new_share, (double)w.fresh / w.flows);
    }
    const double out = a->bytes_out + b->bytes_out, all = out + a->bytes_in + b->bytes_in;
    if (all > 0)
        feature_put(row, missing, FEATURE_src_out_share, out / all);
}

void feature_host(struct host_stats *h, uint64_t now_ns, const struct flow_key *key, float *row,
                  uint64_t *missing)
{
    if (h == NULL)
        return;
    put_window(h, now_ns, row, missing);

    const struct host_normal *bytes = &h->normal[FEATURE_bytes_fwd];
    if (bytes->n >= NORMAL_MIN && !feature_is_missing(*missing, FEATURE_bytes_fwd))
        feature_put(row, missing, FEATURE_own_bytes_ratio,
                    (row[FEATURE_bytes_fwd] + 1.0) / (bytes->mean + 1.0));

    const struct host_channel *c = channel_find(h, hash_service(key));
    if (c == NULL)
        return;
    feature_put(row, missing, FEATURE_channel_opens, c->opens);
    if (c->opens > 3 && c->gap_mean > 0)
        feature_put(row, missing, FEATURE_channel_gap_cv, sqrt((double)c->gap_var) / c->gap_mean);
}

uint32_t host_stats_normal(const struct host_stats *h, size_t feature, float *ret_mean,
                           float *ret_sd)
{
    const int is_there = h != NULL && feature < FEATURE_COUNT;

    *ret_mean = is_there ? h->normal[feature].mean : 0;
    *ret_sd = is_there ? (float)sqrt((double)h->normal[feature].var) : 0;
    return is_there ? h->normal[feature].n : 0;
}
