/*
 * A beacon: one host that calls the same outside service again and again, like clockwork.
 *
 * Medians instead of means, because one missed beat must not hide the rest (Bowley's skew and the
 * median absolute deviation, as RITA scores them): the times between calls vary little, and so
 * does what is said. Only calls to the outside count: inside, clockwork is monitoring. A few calls
 * may come evenly by chance, so few must be more even than many; and what retries every second or
 * two soon stops, so it has to go on for a while. A call is a SYN or a new pair of UDP ports: what
 * one long connection says now and then is not looked at.
 */
#include <errno.h>
#include <math.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/hash.h"
#include "common/time.h"
#include "features/sketch.h"
#include "sensor/decode.h"
#include "sensor/detect.h"
#include "sensor/lru.h"

#define KEPT        32 /* gaps and sizes remembered a channel */
#define SIZE_SPREAD 0.15
#define SPAN_MIN_MS 120000.0 /* shorter than this is a retry */

/* Median absolute deviation over median: a uniform jitter of 30 % at 10 gaps, 50 % at KEPT. */
#define GAP_SPREAD_FEW  0.15
#define GAP_SPREAD_MANY 0.25
#define FEW             10
#define CALLERS_MAX     3 /* a service that more of our hosts keep calling is nobody's own channel */
#define KEEPS_CALLING   3

struct channel {
    uint64_t last_start_ns, first_ns, last_ns;
    uint32_t calls;           /* since it was first seen */
    uint32_t n_gaps, n_sizes; /* ever; the newest KEPT are kept */
    float gap_ms[KEPT];
    float size[KEPT]; /* bytes to the server */
};

struct state {
    struct lru *channels;
    struct lru *callers; /* per outside service: a sketch of who keeps calling it */
    uint32_t threshold;
    uint64_t min_ns, max_ns;
};

struct service_key {
    uint8_t dst[16];
    uint16_t dport;
    uint8_t proto, zero[5];
};

static void *beacon_free(void *state)
{
    struct state *s = state;

    if (s != NULL) {
        s->channels = lru_free(s->channels);
        s->callers = lru_free(s->callers);
    }
    free(s);
    return NULL;
}

static int beacon_make(void **ret_state, const struct detect_conf *conf, struct err *e)
{
    struct state *s = calloc(1, sizeof(*s));
    if (s == NULL)
        return err_set(e, -ENOMEM, "out of memory");
    s->threshold = conf->beacon_events;
    s->min_ns = conf->beacon_min_ns;
    s->max_ns = conf->beacon_max_ns;
    int r = lru_new(&s->channels, conf->max, sizeof(struct alert_cause), sizeof(struct channel), e);
    if (r == 0)
        r = lru_new(&s->callers, conf->max, sizeof(struct service_key), sizeof(struct sketch), e);
    if (r < 0) {
        (void)beacon_free(s);
        return r;
    }
    *ret_state = s;
    return 0;
}

static uint64_t beacon_evicted(const void *state)
{
    const struct state *s = state;

    return lru_evicted(s->channels) + lru_evicted(s->callers);
}

/* Protocols that keep time, find neighbours or ask for names do so regularly by design. */
static bool is_candidate(const struct detect_view *v)
{
    const struct flow_key *k = &v->r->key;
    static const uint16_t regular_udp[] = {53, 67, 68, 123, 137, 138, 546, 547, 1900, 5353, 5355};

    if (!v->is_home_src || v->is_home_dst || !detect_is_unicast(k->dst))
        return false;
    if (k->proto == IPPROTO_TCP && !(v->r->tcp_flags[0] & TCP_SYN))
        return false;
    if (k->proto == IPPROTO_UDP)
        for (size_t i = 0; i < WIND_ARRAY_SIZE(regular_udp); i++)
            if (k->dport == regular_udp[i])
                return false;
    return k->proto == IPPROTO_TCP || k->proto == IPPROTO_UDP;
}

static struct alert_cause cause_of(const struct flow_key *k)
{
    struct alert_cause c = {.detector = DETECTOR_BEACON, .dport = k->dport, .proto = k->proto};

    memcpy(c.src, k->src, 16);
    memcpy(c.dst, k->dst, 16);
    return c;
}

static struct service_key service_of(const uint8_t dst[16], uint16_t dport, uint8_t proto)
{
    struct service_key k = {.dport = dport, .proto = proto};

    memcpy(k.dst, dst, 16);
    return k;
}

static void beacon_opened(void *state, struct detect_view *v)
{
    struct state *s = state;
    const struct flow_record *r = v->r;
    const struct alert_cause cause = cause_of(&r->key);
    const struct service_key service = service_of(r->key.dst, r->key.dport, r->key.proto);

    if (!is_candidate(v))
        return;
    struct channel *c = lru_touch(s->channels, &cause, NULL);
    if (c->calls == 0)
        c->first_ns = r->start_ns;
    if (c->calls > 0 && r->start_ns > c->last_start_ns)
        c->gap_ms[c->n_gaps++ % KEPT] = (float)((double)(r->start_ns - c->last_start_ns) / 1e6);
    c->last_start_ns = r->start_ns > c->last_start_ns ? r->start_ns : c->last_start_ns;
    if (++c->calls >= KEEPS_CALLING)
        sketch_add(lru_touch(s->callers, &service, NULL), hash64(r->key.src, 16, 3));
}

static int by_value(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;

    return (x > y) - (x < y);
}

/* Median, and the median of the distances from it. */
static void spread(const float *values, uint32_t ever, double *ret_median, double *ret_mad)
{
    float v[KEPT];
    const uint32_t n = ever < KEPT ? ever : KEPT;

    *ret_median = *ret_mad = 0;
    if (n == 0)
        return;
    memcpy(v, values, n * sizeof(v[0]));
    qsort(v, n, sizeof(v[0]), by_value);
    *ret_median = (double)v[n / 2];
    for (uint32_t i = 0; i < n; i++)
        v[i] = fabsf(v[i] - (float)*ret_median);
    qsort(v, n, sizeof(v[0]), by_value);
    *ret_mad = (double)v[n / 2];
}

struct rhythm {
    double gap, gap_mad, size, size_mad;
    uint32_t callers;
};

static struct rhythm measure(const struct state *s, const struct channel *c,
                             const struct alert_cause *k)
{
    const struct service_key service = service_of(k->dst, k->dport, k->proto);
    const struct sketch *callers = lru_peek(s->callers, &service);
    struct rhythm m = {.callers = callers == NULL ? 1 : sketch_count(callers, NULL)};

    spread(c->gap_ms, c->n_gaps, &m.gap, &m.gap_mad);
    spread(c->size, c->n_sizes, &m.size, &m.size_mad);
    return m;
}

static double gap_spread_max(uint32_t gaps)
{
    if (gaps >= KEPT)
        return GAP_SPREAD_MANY;
    return gaps <= FEW ? GAP_SPREAD_FEW
                       : GAP_SPREAD_FEW + (GAP_SPREAD_MANY - GAP_SPREAD_FEW) * (gaps - FEW) /
                                              (double)(KEPT - FEW);
}

static bool is_beacon(const struct state *s, const struct channel *c, const struct rhythm *m)
{
    return c->n_gaps >= s->threshold && c->n_sizes >= s->threshold &&
           m->gap * 1e6 >= (double)s->min_ns && m->gap * 1e6 <= (double)s->max_ns &&
           m->gap * c->n_gaps >= SPAN_MIN_MS && m->gap_mad <= gap_spread_max(c->n_gaps) * m->gap &&
           m->size > 0 && m->size_mad <= SIZE_SPREAD * m->size && m->callers <= CALLERS_MAX;
}

/* What was said on the flow; else what DNS said before; else "". */
static const char *name_of(const char *server_name, uint8_t names, const char *dst_name)
{
    return server_name[0] == '\0' && (names & FLOW_NAME_DST) != 0 ? dst_name : server_name;
}

/*
 * "Is there Internet?": operating systems and browsers ask that of a page of theirs for ever. Told
 * by the name alone, over clear HTTP: who takes such a name for his own server is not found here.
 */
static bool is_connectivity_check(const struct flow_record *r)
{
    static const char *const begins[] = {
        "connectivity",   "connectivity-check",  "connectivitycheck",
        "conncheck",      "detectportal",        "captive",
        "network-test",   "networkcheck",        "nmcheck",
        "ipv4only",       "www.msftconnecttest", "www.msftncsi",
        "clients3.google"};
    const char *const name = name_of(r->server_name, r->names, r->dst_name);

    if (r->key.dport != 80)
        return false;
    for (size_t i = 0; i < WIND_ARRAY_SIZE(begins); i++) {
        const size_t n = strlen(begins[i]);
        if (strncmp(name, begins[i], n) == 0 && name[n] == '.')
            return true;
    }
    return false;
}

static void beacon_ended(void *state, struct detect_view *v)
{
    struct state *s = state;
    const struct flow_record *r = v->r;
    const struct alert_cause cause = cause_of(&r->key);

    if (r->header.kind != RECORD_FLOW_ENDED || r->opening != OPENING_ANSWERED || !is_candidate(v) ||
        !detect_says_something(r) || is_connectivity_check(r))
        return;
    struct channel *c = lru_find(s->channels, &cause);
    if (c == NULL)
        return;
    c->size[c->n_sizes++ % KEPT] = (float)r->bytes[0];
    c->last_ns = r->end_ns;
    const struct rhythm m = measure(s, c, &cause);
    if (is_beacon(s, c, &m)) {
        detect_evidence(v, alerts_note(v->alerts, &cause, r));
    }
}

static void reasons(const struct channel *c, const struct rhythm *m, struct alert_record *a)
{
    char number[DETECT_NUMBER], other[DETECT_NUMBER];
    struct alert_reason *r = alert_reason(a, "gap_spread", "ratio", m->gap_mad / m->gap, 0.5);

    (void)snprintf(r->text, sizeof(r->text),
                   "%u connections, one every %s; half of them come within %s of the beat",
                   c->calls, detect_number(m->gap, "ms", number),
                   detect_number(m->gap_mad, "ms", other));
    r = alert_reason(a, "size_spread", "ratio", m->size_mad / m->size, 0.3);
    if (m->size_mad < 1)
        (void)snprintf(r->text, sizeof(r->text), "at least half of them send the same %s",
                       detect_number(m->size, "bytes", number));
    else
        (void)snprintf(
            r->text, sizeof(r->text), "each sends about %s; half of them within %s of it",
            detect_number(m->size, "bytes", number), detect_number(m->size_mad, "bytes", other));
    r = alert_reason(a, "callers", "count", m->callers, 0.2);
    (void)snprintf(r->text, sizeof(r->text),
                   m->callers <= 1 ? "no other of our hosts keeps calling that service"
                                   : "only %u of our hosts keep calling that service",
                   m->callers);
}

static bool beacon_describe(void *state, const struct alert_cause *cause, struct alert_record *a)
{
    const struct state *s = state;
    const struct channel *c = lru_peek(s->channels, cause);
    char src[IP_TEXT], dst[IP_TEXT], number[DETECT_NUMBER];

    if (c == NULL || c->n_gaps == 0)
        return false;
    const struct rhythm m = measure(s, c, cause);
    ip_format(cause->src, src);
    ip_format(cause->dst, dst);
    const char *const name = name_of(a->server_name, a->names, a->dst_name);
    (void)snprintf(a->signature, sizeof(a->signature),
                   "%s calls %.80s port %u like clockwork, every %s", src,
                   name[0] != '\0' ? name : dst, cause->dport, detect_number(m.gap, "ms", number));
    a->count = c->calls;
    a->first_ns = c->first_ns;
    /* Much that is harmless calls home by the clock, too, but says a name. */
    a->severity = a->server_name[0] != '\0' ? SEVERITY_MEDIUM : SEVERITY_HIGH;
    a->score = (float)(1 - 0.25 * (m.gap > 0 ? m.gap_mad / m.gap / GAP_SPREAD_MANY : 1) -
                       0.25 * (m.size > 0 ? m.size_mad / m.size / SIZE_SPREAD : 0));
    a->score = a->score < 0.5F ? 0.5F : a->score;
    alert_entity(a, "attacker", cause->src);
    alert_entity(a, "related", cause->dst);
    reasons(c, &m, a);
    return true;
}

const struct detector_ops detect_beacon = {
    .kind = {.name = "beacon",
             .signature_id = 9000003,
             .category = "Command and control",
             .technique_id = "T1071",
             .technique = "Application Layer Protocol",
             .tactic = "Command and Control",
             .describe = beacon_describe},
    .make = beacon_make,
    .free = beacon_free,
    .opened = beacon_opened,
    .ended = beacon_ended,
    .evicted = beacon_evicted,
};
