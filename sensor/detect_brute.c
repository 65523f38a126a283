/*
 * Guessing passwords: many short sessions of one client on one login service.
 *
 * Each session got through the handshake, said something both ways, and ended soon, with little
 * said: what a refused login looks like from outside, encrypted or not.
 */
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/time.h"
#include "sensor/detect.h"
#include "sensor/lru.h"

#define PANE_NS       (60 * WIND_NS_PER_S)
#define SESSION_NS    (60 * WIND_NS_PER_S) /* longer than this is work, not guessing */
#define SESSION_BYTES 20000                /* of either side, likewise */

#define PROGRAMS 6 /* times as many: programs log in by themselves, for every mail or query */

/* Services that take a password. nDPI's word counts more than the port. */
static const struct service {
    uint16_t port;
    const char *app, *name;
    uint32_t times; /* the threshold */
} services[] = {
    {22, "ssh", "SSH", 1},
    {21, "ftp_control", "FTP", 1},
    {23, "telnet", "Telnet", 1},
    {3389, "rdp", "RDP", 1},
    {5900, "vnc", "VNC", 1},
    {445, "smbv23", "SMB", PROGRAMS},
    {143, "imap", "IMAP", PROGRAMS},
    {110, "pop3", "POP3", PROGRAMS},
    {3306, "mysql", "MySQL", PROGRAMS},
    {5432, "postgres", "PostgreSQL", PROGRAMS},
    {1433, "mssql-tds", "SQL Server", PROGRAMS},
    {389, "ldap", "LDAP", PROGRAMS},
};

struct pane {
    uint32_t attempts;
    uint64_t first_ns;
    double duration_ms; /* summed */
};

struct channel {
    uint64_t pane_ns;
    struct pane pane[2]; /* this minute, the one before */
    struct pane whole;   /* since the alert opened */
    uint64_t last_ns;
    uint8_t service;
    bool is_home;
    struct detect_normal normal; /* attempts a minute */
};

struct state {
    struct lru *channels;
    uint32_t threshold;
};

static void *brute_free(void *state)
{
    struct state *s = state;

    if (s != NULL)
        s->channels = lru_free(s->channels);
    free(s);
    return NULL;
}

static int brute_make(void **ret_state, const struct detect_conf *conf, struct err *e)
{
    struct state *s = calloc(1, sizeof(*s));
    if (s == NULL)
        return err_set(e, -ENOMEM, "out of memory");
    s->threshold = conf->brute_attempts;
    const int r =
        lru_new(&s->channels, conf->max, sizeof(struct alert_cause), sizeof(struct channel), e);
    if (r < 0) {
        free(s);
        return r;
    }
    *ret_state = s;
    return 0;
}

static uint64_t brute_evicted(const void *state)
{
    return lru_evicted(((const struct state *)state)->channels);
}

static const struct service *find_service(const struct flow_record *r)
{
    const struct service *by_port = NULL;

    for (size_t i = 0; i < WIND_ARRAY_SIZE(services); i++) {
        if (r->app[0] != '\0' && !r->dpi_guessed && strcmp(r->app, services[i].app) == 0)
            return &services[i];
        if (r->key.dport == services[i].port)
            by_port = &services[i];
    }
    return by_port;
}

static bool is_attempt(const struct flow_record *r)
{
    return r->header.kind == RECORD_FLOW_ENDED && r->key.proto == IPPROTO_TCP &&
           detect_says_something(r) && r->opening == OPENING_ANSWERED && r->pkts[0] >= 4 &&
           r->pkts[1] >= 3 && r->bytes[0] <= SESSION_BYTES && r->bytes[1] <= SESSION_BYTES &&
           r->end_ns - r->start_ns <= SESSION_NS;
}

static void turn(struct channel *c, uint64_t now_ns)
{
    const int turns = detect_turn(&c->pane_ns, now_ns, PANE_NS);

    if (turns > 0 && c->whole.attempts == 0)
        detect_normal_add(&c->normal, c->pane[0].attempts);
    if (turns > 0) {
        c->pane[1] = turns == 1 ? c->pane[0] : (struct pane){0};
        c->pane[0] = (struct pane){0};
    }
}

static void add(struct pane *p, const struct flow_record *r)
{
    if (p->attempts++ == 0 || r->start_ns < p->first_ns)
        p->first_ns = r->start_ns;
    p->duration_ms += (double)(r->end_ns - r->start_ns) / 1e6;
}

/* How surely: half at the threshold, more the further beyond. */
static double certainty(const struct state *s, const struct channel *c)
{
    const uint32_t line = s->threshold * services[c->service].times;

    return 1 - line / (2.0 * (c->whole.attempts > line ? c->whole.attempts : line));
}

/* The alert opens with what both minutes hold. */
static void begin(struct channel *c)
{
    c->whole = c->pane[0];
    c->whole.attempts += c->pane[1].attempts;
    c->whole.duration_ms += c->pane[1].duration_ms;
    c->whole.first_ns = c->pane[c->pane[1].attempts > 0].first_ns;
}

static void brute_ended(void *state, struct detect_view *v)
{
    struct state *s = state;
    const struct flow_record *r = v->r;
    const struct service *service = find_service(r);
    struct alert_cause cause = {
        .detector = DETECTOR_BRUTE_FORCE, .dport = r->key.dport, .proto = r->key.proto};
    bool is_new = false;

    if (service == NULL || !is_attempt(r))
        return;
    memcpy(cause.src, r->key.src, 16);
    memcpy(cause.dst, r->key.dst, 16);
    struct channel *c = lru_touch(s->channels, &cause, &is_new);
    if (is_new)
        c->pane_ns = r->start_ns;
    const bool is_open = alerts_open(v->alerts, &cause) != NULL;
    if (!is_open)
        c->whole = (struct pane){0};
    turn(c, r->header.time_ns);
    add(&c->pane[0], r);
    if (!is_open && c->pane[0].attempts + c->pane[1].attempts < s->threshold * service->times)
        return;
    if (is_open)
        add(&c->whole, r);
    else
        begin(c);
    c->last_ns = r->end_ns > c->last_ns ? r->end_ns : c->last_ns;
    c->service = (uint8_t)(service - services);
    c->is_home = v->is_home_src;
    detect_evidence(v, alerts_note(v->alerts, &cause, r));
}

static bool brute_describe(void *state, const struct alert_cause *cause, struct alert_record *a)
{
    const struct state *s = state;
    const struct channel *c = lru_peek(s->channels, cause);
    char src[IP_TEXT], dst[IP_TEXT], number[DETECT_NUMBER], span[DETECT_NUMBER],
        normal[DETECT_NUMBER];

    if (c == NULL || c->whole.attempts == 0)
        return false;
    const char *service = services[c->service].name;
    const uint32_t n = c->whole.attempts;
    const double each_ms = c->whole.duration_ms / n;
    const double ms =
        c->last_ns > c->whole.first_ns ? (double)(c->last_ns - c->whole.first_ns) / 1e6 : 0;
    ip_format(cause->src, src);
    ip_format(cause->dst, dst);
    detect_number(n, "count", number);
    detect_number(ms, "ms", span);

    (void)snprintf(a->signature, sizeof(a->signature),
                   "%s tried to log in to %s on %s %s times within %s", src, service, dst, number,
                   span);
    a->count = n;
    a->first_ns = c->whole.first_ns;
    a->severity = SEVERITY_HIGH;
    a->score = (float)certainty(s, c);
    alert_entity(a, "attacker", cause->src);
    alert_entity(a, "victim", cause->dst);

    struct alert_reason *r = alert_reason(a, "short_logins", "count", n, 0.7);
    detect_reason_normal(r, &c->normal);
    (void)snprintf(r->text, sizeof(r->text), "%s short %s sessions within %s; %s%s%s", number,
                   service, span,
                   c->normal.n > 0 ? "normal for these two is " : "these two had no history yet",
                   c->normal.n > 0 ? detect_number((double)c->normal.mean, "count", normal) : "",
                   c->normal.n > 0 ? " a minute" : "");
    r = alert_reason(a, "session_time", "ms", each_ms, 0.3);
    (void)snprintf(r->text, sizeof(r->text), "each lasted %s on average: a refused login, not work",
                   detect_number(each_ms, "ms", span));
    return true;
}

const struct detector_ops detect_brute_force = {
    .kind = {.name = "brute_force",
             .signature_id = 9000002,
             .category = "Password guessing",
             .technique_id = "T1110",
             .technique = "Brute Force",
             .tactic = "Credential Access",
             .describe = brute_describe},
    .make = brute_make,
    .free = brute_free,
    .ended = brute_ended,
    .evicted = brute_evicted,
};
