/*
 * A scan is one source whose openings fail at many different targets.
 *
 * Failure is what tells it from a busy client, which also calls many, but is answered
 * (Jung, Portscan detection by sequential hypothesis testing, IEEE S&P 2004: the same evidence).
 * Targets are host, port and protocol; repeating one of them adds nothing.
 */
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/hash.h"
#include "common/time.h"
#include "features/sketch.h"
#include "sensor/detect.h"
#include "sensor/lru.h"

#define PANE_NS          (60 * WIND_NS_PER_S)
#define FAILED_SHARE_MIN 0.5

struct pane {
    uint32_t failed, answered;
    uint64_t first_ns;                   /* of what failed */
    struct sketch targets, peers, ports; /* of those that failed */
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
    const int r = lru_new(&s->sources, conf->max, 16, sizeof(struct scan), NULL, NULL, e);
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

static void add_failure(struct pane *p, const struct flow_record *r)
{
    const struct flow_key *k = &r->key;
    const uint64_t peer = hash64(k->dst, 16, 1),
                   port = hash_u64((uint64_t)k->proto << 16 | k->dport, 2);

    if (p->failed++ == 0 || r->start_ns < p->first_ns)
        p->first_ns = r->start_ns;
    sketch_add(&p->peers, peer);
    sketch_add(&p->ports, port);
    sketch_add(&p->targets, hash_u64(peer, port));
}

static bool is_scan(const struct state *s, const struct scan *c)
{
    const double failed = (double)c->pane[0].failed + c->pane[1].failed;
    const double answered = (double)c->pane[0].answered + c->pane[1].answered;

    return failed >= s->threshold && failed >= FAILED_SHARE_MIN * (failed + answered) &&
           sketch_count(&c->pane[0].targets, &c->pane[1].targets) >= s->threshold;
}

/* An attempt to reach somebody: no error reports, no groups. */
static bool is_attempt(const struct flow_key *k)
{
    if (!detect_is_unicast(k->dst))
        return false;
    if (k->proto == IPPROTO_ICMP)
        return k->sport == 8;
    if (k->proto == IPPROTO_ICMPV6)
        return k->sport == 128;
    return true;
}

/* The alert opens with what both minutes hold. */
static void begin(struct scan *c)
{
    c->whole = (struct pane){.first_ns = c->pane[c->pane[1].failed > 0].first_ns};
    for (int i = 0; i < 2; i++) {
        c->whole.failed += c->pane[i].failed;
        c->whole.answered += c->pane[i].answered;
        for (int w = 0; w < SKETCH_WORDS; w++) {
            c->whole.targets.bit[w] |= c->pane[i].targets.bit[w];
            c->whole.peers.bit[w] |= c->pane[i].peers.bit[w];
            c->whole.ports.bit[w] |= c->pane[i].ports.bit[w];
        }
    }
}

static void scan_opened(void *state, struct detect_view *v)
{
    struct state *s = state;
    const struct flow_record *r = v->r;
    const struct alert_cause cause = cause_of(r);
    bool is_new = false;

    if (!is_attempt(&r->key))
        return;
    struct scan *c = lru_touch(s->sources, r->key.src, &is_new);
    if (is_new)
        c->pane_ns = r->header.time_ns;
    const bool is_open = alerts_open(v->alerts, &cause) != NULL;
    if (!is_open)
        c->whole.failed = 0;
    turn(c, r->header.time_ns);
    if (r->opening == OPENING_ANSWERED) {
        c->pane[0].answered++;
        c->whole.answered++;
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
    if (v->r->opening != OPENING_ANSWERED && is_attempt(&v->r->key))
        detect_evidence(v, alerts_open(v->alerts, &cause));
}

static void sentence(const struct scan *c, const char *src, uint32_t peers, uint32_t ports,
                     char *out, size_t size)
{
    const char *proto = c->last_proto == IPPROTO_UDP ? "UDP" : "TCP";
    char dst[IP_TEXT], n[DETECT_NUMBER], m[DETECT_NUMBER];

    ip_format(c->last_dst, dst);
    detect_number(ports, "count", n);
    detect_number(peers, "count", m);
    if (c->last_proto == IPPROTO_ICMP || c->last_proto == IPPROTO_ICMPV6)
        (void)snprintf(out, size, "%s pinged %s addresses that did not answer", src, m);
    else if (peers <= 1)
        (void)snprintf(out, size, "%s tried %s ports of %s", src, n, dst);
    else if (ports <= 3)
        (void)snprintf(out, size, "%s looked for %s port %u on %s hosts", src, proto, c->last_port,
                       m);
    else
        (void)snprintf(out, size, "%s tried %s ports on %s hosts", src, n, m);
}

static double span_ms(const struct scan *c)
{
    return c->last_ns > c->whole.first_ns ? (double)(c->last_ns - c->whole.first_ns) / 1e6 : 0;
}

static void reasons(const struct scan *c, struct alert_record *a, uint32_t targets,
                    double failed_share)
{
    char number[DETECT_NUMBER], normal[DETECT_NUMBER], span[DETECT_NUMBER];
    const double ms = span_ms(c);
    struct alert_reason *r = alert_reason(a, "failed_targets", "count", targets, 0.6);

    detect_reason_normal(r, &c->normal);
    (void)snprintf(
        r->text, sizeof(r->text),
        "%s different host and port pairs refused it or did not answer, within %s; %s%s%s",
        detect_number(targets, "count", number), detect_number(ms, "ms", span),
        c->normal.n > 0 ? "this host's normal is " : "this host had no history yet",
        c->normal.n > 0 ? detect_number((double)c->normal.mean, "count", normal) : "",
        c->normal.n > 0 ? " a minute" : "");
    r = alert_reason(a, "failed_share", "ratio", failed_share, 0.3);
    (void)snprintf(r->text, sizeof(r->text),
                   "%.0f %% of the connections it opened meanwhile failed", 100 * failed_share);
    if (ms > 0) {
        r = alert_reason(a, "pace", "per_s", c->whole.failed / (ms / 1e3), 0.1);
        (void)snprintf(r->text, sizeof(r->text), "it tried %s",
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
    const uint32_t peers = sketch_count(&c->whole.peers, NULL);
    const uint32_t ports = sketch_count(&c->whole.ports, NULL);
    const double failed_share = c->whole.failed / ((double)c->whole.failed + c->whole.answered);

    ip_format(cause->src, src);
    sentence(c, src, peers, ports, a->signature, sizeof(a->signature));
    a->count = c->whole.failed;
    a->first_ns = c->whole.first_ns;
    a->severity = c->is_home ? SEVERITY_HIGH : SEVERITY_MEDIUM;
    a->score =
        (float)(1 - s->threshold / (2.0 * (targets > s->threshold ? targets : s->threshold)));
    alert_entity(a, "attacker", cause->src);
    if (peers <= 1)
        alert_entity(a, "victim", c->last_dst);
    reasons(c, a, targets, failed_share);
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
