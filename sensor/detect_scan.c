/*
 * A scan is one source whose openings fail at many different targets.
 *
 * Failure is what tells it from a busy client, which also calls many, but is answered
 * (Jung, Portscan detection by sequential hypothesis testing, IEEE S&P 2004: the same evidence).
 * Targets are host, port and protocol; repeating one of them adds nothing, whether it fails or
 * answers. What a scan is not:
 *   - the tail of a conversation whose start was missed, or one seen from one side only: payload
 *     without a SYN, a lone RST, a stream of datagrams, answers that come late (is_probe);
 *   - a peer-to-peer client: its dead peers have a port of their own each. A scan walks along
 *     hosts, or along ports, so its targets are many more than the fewer of both (is_scan).
 */
#include <errno.h>
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

#define PANE_NS          (60 * WIND_NS_PER_S)
#define FAILED_SHARE_MIN 0.7 /* of different targets */
#define STREAM_PKTS      4   /* so many datagrams within a second are more than a probe */
#define SERVICE_PORT_MAX 1024
#define HEADERS_MAX      80 /* bytes of a packet that says nothing: IPv4 or 6, TCP, some options */
#define BARE_WEIGHT      0.25 /* of a silent ACK: an idle connection's keep-alive looks the same */

struct pane {
    uint64_t first_ns;                   /* start of the first opening that failed */
    uint32_t failed, bare;               /* openings; of those, an ACK that nobody answered */
    struct sketch targets, peers, ports; /* of those that failed */
    struct sketch answered;              /* targets that did not */
};

struct scan {
    uint64_t pane_ns;
    struct pane pane[2]; /* this minute, the one before */
    struct pane whole;   /* since the alert opened */
    uint64_t last_ns;
    uint8_t last_dst[16];
    uint16_t last_port;
    uint8_t last_proto;
    bool is_home;
    struct detect_normal normal; /* failed targets a minute */
};

struct state {
    struct lru *sources;
    uint32_t threshold;
};

static void *scan_free(void *state)
{
    struct state *s = state;

    if (s != NULL)
        s->sources = lru_free(s->sources);
    free(s);
    return NULL;
}

static int scan_make(void **ret_state, const struct detect_conf *conf, struct err *e)
{
    struct state *s = calloc(1, sizeof(*s));
    if (s == NULL)
        return err_set(e, -ENOMEM, "out of memory");
    s->threshold = conf->scan_targets;
    const int r = lru_new(&s->sources, conf->max, 16, sizeof(struct scan), e);
    if (r < 0) {
        free(s);
        return r;
    }
    *ret_state = s;
    return 0;
}

static uint64_t scan_evicted(const void *state)
{
    return lru_evicted(((const struct state *)state)->sources);
}

static struct alert_cause cause_of(const struct flow_record *r)
{
    struct alert_cause c = {.detector = DETECTOR_PORT_SCAN};

    memcpy(c.src, r->key.src, 16);
    return c;
}

static void turn(struct scan *s, uint64_t now_ns)
{
    const int turns = detect_turn(&s->pane_ns, now_ns, PANE_NS);

    if (turns > 0 && s->whole.failed == 0)
        detect_normal_add(&s->normal, sketch_count(&s->pane[0].targets, NULL));
    if (turns > 0) {
        s->pane[1] = turns == 1 ? s->pane[0] : (struct pane){0};
        s->pane[0] = (struct pane){0};
    }
}

static uint64_t hash_target(const struct flow_key *k)
{
    return hash_u64(hash64(k->dst, 16, 1), hash_u64((uint64_t)k->proto << 16 | k->dport, 2));
}

/* Nothing but an ACK, without an answer of any kind. */
static bool is_bare(const struct flow_record *r)
{
    return r->key.proto == IPPROTO_TCP && r->opening == OPENING_SILENT &&
           (r->tcp_flags[0] & (TCP_SYN | TCP_ACK)) == TCP_ACK;
}

static void add_failure(struct pane *p, const struct flow_record *r)
{
    const struct flow_key *k = &r->key;

    if (p->failed == 0 || r->start_ns < p->first_ns)
        p->first_ns = r->start_ns;
    p->failed++;
    p->bare += is_bare(r);
    sketch_add(&p->peers, hash64(k->dst, 16, 1));
    sketch_add(&p->ports, hash_u64((uint64_t)k->proto << 16 | k->dport, 2));
    sketch_add(&p->targets, hash_target(k));
}

static bool is_scan(const struct state *s, const struct scan *c)
{
    const struct pane *a = &c->pane[0], *b = &c->pane[1];
    const double failed = a->failed + (double)b->failed, bare = a->bare + (double)b->bare;

    if (failed < s->threshold)
        return false;
    const uint32_t targets = sketch_count(&a->targets, &b->targets);
    const uint32_t answered = sketch_count(&a->answered, &b->answered);
    const uint32_t peers = sketch_count(&a->peers, &b->peers);
    const uint32_t ports = sketch_count(&a->ports, &b->ports);
    const double weight = 1 - (1 - BARE_WEIGHT) * bare / failed;

    return targets * weight >= s->threshold && targets >= 2 * (peers < ports ? peers : ports) &&
           targets >= FAILED_SHARE_MIN * ((double)targets + answered);
}

/* From a service's port to a client's: an answer whose question was not seen, or long ago. */
static bool is_answer(const struct flow_key *k)
{
    return k->sport < SERVICE_PORT_MAX && k->dport >= SERVICE_PORT_MAX;
}

/*
 * What was sent in vain: was it meant to find out who is there? Payload tells: a probe without a
 * SYN carries none.
 */
static bool is_probe(const struct flow_record *r)
{
    const uint8_t flags = r->tcp_flags[0];

    if (r->key.proto == IPPROTO_UDP)
        return r->opening == OPENING_REFUSED || (!is_answer(&r->key) && r->pkts[0] < STREAM_PKTS);
    if (r->key.proto != IPPROTO_TCP || (flags & TCP_SYN))
        return true;
    if (flags & TCP_RST)
        return false;
    return !(flags & TCP_ACK) ||
           (!is_answer(&r->key) && r->bytes[0] <= r->pkts[0] * (uint64_t)HEADERS_MAX);
}

/* An attempt to reach somebody: no error reports, no groups. */
static bool is_attempt(const struct flow_record *r)
{
    const struct flow_key *k = &r->key;

    if (!detect_is_unicast(k->dst))
        return false;
    if (k->proto == IPPROTO_ICMP)
        return k->sport == 8;
    if (k->proto == IPPROTO_ICMPV6)
        return k->sport == 128;
    return r->opening == OPENING_ANSWERED || is_probe(r);
}

/* The alert opens with what both minutes hold. */
static void begin(struct scan *c)
{
    struct pane *w = &c->whole;

    *w = c->pane[0];
    if (c->pane[1].failed == 0)
        return;
    w->first_ns = c->pane[1].first_ns < w->first_ns ? c->pane[1].first_ns : w->first_ns;
    w->failed += c->pane[1].failed;
    for (int i = 0; i < SKETCH_WORDS; i++) {
        w->targets.bit[i] |= c->pane[1].targets.bit[i];
        w->peers.bit[i] |= c->pane[1].peers.bit[i];
        w->ports.bit[i] |= c->pane[1].ports.bit[i];
        w->answered.bit[i] |= c->pane[1].answered.bit[i];
    }
}

static void scan_opened(void *state, struct detect_view *v)
{
    struct state *s = state;
    const struct flow_record *r = v->r;
    const struct alert_cause cause = cause_of(r);
    bool is_new = false;

    if (!is_attempt(r))
        return;
    struct scan *c = lru_touch(s->sources, r->key.src, &is_new);
    if (is_new)
        c->pane_ns = r->header.time_ns;
    const bool is_open = alerts_open(v->alerts, &cause) != NULL;
    if (!is_open)
        c->whole.failed = 0;
    turn(c, r->header.time_ns);
    if (r->opening == OPENING_ANSWERED) {
        sketch_add(&c->pane[0].answered, hash_target(&r->key));
        sketch_add(&c->whole.answered, hash_target(&r->key));
        return;
    }
    add_failure(&c->pane[0], r);
    if (!is_open && !is_scan(s, c))
        return;
    if (is_open)
        add_failure(&c->whole, r);
    else
        begin(c);
    c->last_ns = r->end_ns > c->last_ns ? r->end_ns : c->last_ns;
    memcpy(c->last_dst, r->key.dst, 16);
    c->last_port = r->key.dport;
    c->last_proto = r->key.proto;
    c->is_home = v->is_home_src;
    detect_evidence(v, alerts_note(v->alerts, &cause, r));
}

static void scan_ended(void *state, struct detect_view *v)
{
    const struct alert_cause cause = cause_of(v->r);

    (void)state;
    if (v->r->opening != OPENING_ANSWERED && is_attempt(v->r))
        detect_evidence(v, alerts_open(v->alerts, &cause));
}

static void sentence(const struct scan *c, const char *src, char *out, size_t size)
{
    const char *proto = c->last_proto == IPPROTO_UDP ? "UDP" : "TCP";
    const uint32_t peers = sketch_count(&c->whole.peers, NULL);
    const uint32_t ports = sketch_count(&c->whole.ports, NULL);
    char dst[IP_TEXT], n[DETECT_NUMBER], m[DETECT_NUMBER];

    ip_format(c->last_dst, dst);
    detect_distinct(ports, n);
    detect_distinct(peers, m);
    if (ports <= 1 && (c->last_proto == IPPROTO_ICMP || c->last_proto == IPPROTO_ICMPV6))
        (void)snprintf(out, size, "%s pinged %s addresses that did not answer", src, m);
    else if (peers <= 1)
        (void)snprintf(out, size, "%s tried %s ports of %s", src, n, dst);
    else if (ports <= 1)
        (void)snprintf(out, size, "%s looked for %s port %u on %s hosts", src, proto, c->last_port,
                       m);
    else
        (void)snprintf(out, size, "%s tried %s ports on %s hosts", src, n, m);
}

static void reasons(const struct scan *c, struct alert_record *a, uint32_t targets)
{
    char number[DETECT_NUMBER], normal[DETECT_NUMBER], span[DETECT_NUMBER];
    const double ms =
        (double)(c->last_ns > c->whole.first_ns ? c->last_ns - c->whole.first_ns : 0) / 1e6;
    const double all = (double)targets + sketch_count(&c->whole.answered, NULL);
    struct alert_reason *r = alert_reason(a, "failed_targets", "count", targets, 0.6);

    detect_reason_normal(r, &c->normal);
    (void)snprintf(
        r->text, sizeof(r->text),
        "%s different pairs of host and port refused it or did not answer, within %s; %s%s%s",
        detect_distinct(targets, number), detect_number(ms > 1 ? ms : 1, "ms", span),
        c->normal.n > 0 ? "this host's normal is " : "this host had no history yet",
        c->normal.n > 0 ? detect_number((double)c->normal.mean, "count", normal) : "",
        c->normal.n > 0 ? " a minute" : "");
    r = alert_reason(a, "failed_share", "ratio", targets / all, 0.3);
    (void)snprintf(r->text, sizeof(r->text),
                   "%.0f %% of all pairs that it tried meanwhile did not let it in",
                   100 * (double)r->value);
    if (ms >= 1000) {
        r = alert_reason(a, "pace", "per_s", c->whole.failed / (ms / 1e3), 0.1);
        (void)snprintf(r->text, sizeof(r->text), "on average %s",
                       detect_number((double)r->value, "per_s", number));
    }
}

static bool scan_describe(void *state, const struct alert_cause *cause, struct alert_record *a)
{
    const struct state *s = state;
    const struct scan *c = lru_peek(s->sources, cause->src);
    char src[IP_TEXT];

    if (c == NULL || c->whole.failed == 0)
        return false;
    const uint32_t targets = sketch_count(&c->whole.targets, NULL);

    ip_format(cause->src, src);
    sentence(c, src, a->signature, sizeof(a->signature));
    a->count = c->whole.failed;
    a->first_ns = c->whole.first_ns;
    a->severity = c->is_home ? SEVERITY_HIGH : SEVERITY_MEDIUM;
    a->score =
        (float)(1 - s->threshold / (2.0 * (targets > s->threshold ? targets : s->threshold)));
    alert_entity(a, "attacker", cause->src);
    if (sketch_count(&c->whole.peers, NULL) <= 1)
        alert_entity(a, "victim", c->last_dst);
    reasons(c, a, targets);
    return true;
}

const struct detector_ops detect_port_scan = {
    .kind = {.name = "port_scan",
             .signature_id = 9000001,
             .category = "Network scan",
             .technique_id = "T1046",
             .technique = "Network Service Discovery",
             .tactic = "Discovery",
             .describe = scan_describe},
    .make = scan_make,
    .free = scan_free,
    .opened = scan_opened,
    .ended = scan_ended,
    .evicted = scan_evicted,
};
