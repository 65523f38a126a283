#include "sensor/eve.h"

#include <errno.h>
#include <math.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "common/community_id.h"
#include "common/jsonw.h"
#include "common/time.h"
#include "features/feature.h"
#include "sensor/dpi.h"
#include "sensor/eve_facts.h"

#define COUNT_MAX ((1ull << 53) - 1) /* what a JavaScript number holds; jansson takes 2^63 - 1 */

static const char *const level_name[] = {
    [ANALYSIS_COUNTERS] = "counters",
    [ANALYSIS_DETECTORS] = "detectors",
    [ANALYSIS_FULL] = "full",
};

/* ---------------------------------------------------------------- checks */

static bool is_sane_flow(const struct flow_record *f)
{
    return f->n_features <= RECORD_FEATURES_MAX && f->facts_len <= RECORD_FACTS_MAX &&
           f->header.len >= sizeof(*f) + f->n_features * sizeof(float) + f->facts_len &&
           f->flow_id <= COUNT_MAX && f->state < FLOW_STATES && f->end < FLOW_ENDS &&
           f->conn_state < CONN_STATES && f->analysis_level <= ANALYSIS_FULL &&
           (f->key.ip_version == 4 || f->key.ip_version == 6);
}

static bool is_sane_alert(const struct alert_record *a)
{
    for (size_t i = 0; i < a->n_evidence && i < ALERT_EVIDENCE_MAX; i++)
        if (a->evidence[i].ip_version != 4 && a->evidence[i].ip_version != 6)
            return false;
    return a->flow_id <= COUNT_MAX && a->severity >= SEVERITY_LOW &&
           a->severity <= SEVERITY_CRITICAL && a->analysis_level <= ANALYSIS_FULL &&
           a->n_reasons <= ALERT_REASONS_MAX && a->n_entities <= ALERT_ENTITIES_MAX &&
           a->n_evidence <= ALERT_EVIDENCE_MAX && a->rev > 0 && a->detector[0] != '\0' &&
           (a->key.ip_version == 4 || a->key.ip_version == 6);
}

static bool is_sane_anomaly(const struct anomaly_record *a)
{
    return a->key.ip_version == 0 || a->key.ip_version == 4 || a->key.ip_version == 6;
}

/* Features, then facts; the record's numbers are checked. */
static bool take_rest(const void *slot, struct eve_record *r)
{
    const struct flow_record *const f = &r->flow;
    const size_t bytes = f->n_features * sizeof(float);

    memcpy(r->feature, (const char *)slot + sizeof(*f), bytes);
    memcpy(r->facts, (const char *)slot + sizeof(*f) + bytes, f->facts_len);
    return eve_facts_check(r->facts, f->facts_len);
}

int eve_take(const void *slot, size_t room, enum eve_ring ring, struct eve_record *ret_record)
{
    struct record_header h;
    size_t body = 0;
    bool is_sane = false;

    if (room < sizeof(h))
        return -EBADMSG;
    memcpy(&h, slot, sizeof(h));
    if (h.version != RECORD_VERSION || h.len > room)
        return -EBADMSG;
    ret_record->header = h;
    if (ring == EVE_RING_FLOWS &&
        (h.kind == RECORD_FLOW_OPENED || h.kind == RECORD_FLOW_UPDATE || h.kind == RECORD_NAMED ||
         h.kind == RECORD_ANOMALY)) /* has come by the other ring */
        return EVE_NO_LINE;

    if (ring == EVE_RING_FLOWS && h.kind == RECORD_FLOW_ENDED)
        body = sizeof(struct flow_record);
    else if (ring == EVE_RING_ALERTS && h.kind == RECORD_ALERT)
        body = sizeof(struct alert_record);
    else if (ring == EVE_RING_ALERTS && h.kind == RECORD_ANOMALY)
        body = sizeof(struct anomaly_record);
    if (body == 0 || h.len < body)
        return -EBADMSG;
    memcpy((char *)ret_record + offsetof(struct eve_record, header), slot, body);
    ret_record->header = h; /* it may have changed since it was checked */

    if (h.kind == RECORD_FLOW_ENDED)
        is_sane = is_sane_flow(&ret_record->flow) && take_rest(slot, ret_record);
    else if (h.kind == RECORD_ALERT)
        is_sane = is_sane_alert(&ret_record->alert);
    else
        is_sane = is_sane_anomaly(&ret_record->anomaly);
    return is_sane ? 0 : -EBADMSG;
}

/* ---------------------------------------------------------------- pieces */

#define PUT_TEXT(j, key, array) jsonw_strn(j, key, array, strnlen(array, sizeof(array)))

static void put_text_or_null(struct jsonw *j, const char *key, const char *s, size_t max)
{
    if (s[0] == '\0')
        jsonw_null(j, key);
    else
        jsonw_strn(j, key, s, strnlen(s, max));
}

/* Scores and probabilities: a number from 0 to 1 in every case. */
static void put_share(struct jsonw *j, const char *key, float v)
{
    jsonw_f32(j, key, isfinite(v) ? fminf(fmaxf(v, 0.0f), 1.0f) : 0.0f);
}

/* A hostile number must not make the line unreadable. */
static void put_count(struct jsonw *j, const char *key, uint64_t v)
{
    jsonw_u64(j, key, v < COUNT_MAX ? v : COUNT_MAX);
}

static void put_proto(struct jsonw *j, uint8_t proto)
{
    static const char *const known[256] = {
        [IPPROTO_ICMP] = "ICMP", [IPPROTO_IGMP] = "IGMP",        [IPPROTO_TCP] = "TCP",
        [IPPROTO_UDP] = "UDP",   [IPPROTO_GRE] = "GRE",          [IPPROTO_ESP] = "ESP",
        [IPPROTO_AH] = "AH",     [IPPROTO_ICMPV6] = "IPv6-ICMP", [IPPROTO_SCTP] = "SCTP",
    };
    char number[4];

    if (known[proto] != NULL) {
        jsonw_str(j, "proto", known[proto]);
        return;
    }
    (void)snprintf(number, sizeof(number), "%03u", proto);
    jsonw_str(j, "proto", number);
}

static void put_key(struct jsonw *j, const struct flow_key *k)
{
    const bool is_icmp = k->proto == IPPROTO_ICMP || k->proto == IPPROTO_ICMPV6;
    const bool has_ports =
        k->proto == IPPROTO_TCP || k->proto == IPPROTO_UDP || k->proto == IPPROTO_SCTP;

    jsonw_ip(j, "src_ip", k->src);
    if (has_ports)
        jsonw_u64(j, "src_port", k->sport);
    jsonw_ip(j, "dest_ip", k->dst);
    if (has_ports)
        jsonw_u64(j, "dest_port", k->dport);
    put_proto(j, k->proto);
    if (is_icmp) {
        jsonw_u64(j, "icmp_type", k->sport & 0xff);
        jsonw_u64(j, "icmp_code", k->dport & 0xff);
    }
    if (k->vlan != 0) {
        jsonw_array(j, "vlan");
        jsonw_u64(j, NULL, k->vlan);
        jsonw_end(j);
    }
}

static void put_community_id(struct jsonw *j, const char *key, const struct eve_source *source,
                             const struct flow_key *k)
{
    char text[COMMUNITY_ID_TEXT];

    community_id(k, source->community_seed, text);
    jsonw_str(j, key, text);
}

static void put_source(struct jsonw *j, const struct eve_source *source, uint8_t interface)
{
    if (interface < RECORD_INTERFACES_MAX && source->iface[interface][0] != '\0')
        PUT_TEXT(j, "in_iface", source->iface[interface]);
    PUT_TEXT(j, "host", source->sensor);
    if (source->pcap[0] != '\0')
        PUT_TEXT(j, "pcap_filename", source->pcap);
}

/*
 * nDPI names protocol and service, "tls.google"; app_proto is the protocol, ndpi.proto both.
 * `else_app`: when nDPI doesn't know (NULL: nobody knows).
 */
static void put_app(struct jsonw *j, const char app[RECORD_APP_MAX], const char *else_app)
{
    const size_t n = strnlen(app, RECORD_APP_MAX);
    const char *dot = memchr(app, '.', n);

    if (n == 0)
        jsonw_str(j, "app_proto", else_app != NULL ? else_app : "unknown");
    else
        jsonw_strn(j, "app_proto", app, dot != NULL && dot != app ? (size_t)(dot - app) : n);
}

/* ---------------------------------------------------------------- flow */

static void put_flow(struct jsonw *j, const struct flow_record *f)
{
    static const char *const state[FLOW_STATES] = {"new", "established", "closed", "closed"};
    static const char *const reason[FLOW_ENDS] = {"closed", "timeout", "forced", "shutdown"};

    jsonw_object(j, "flow");
    put_count(j, "pkts_toserver", f->pkts[0]);
    put_count(j, "pkts_toclient", f->pkts[1]);
    put_count(j, "bytes_toserver", f->bytes[0]);
    put_count(j, "bytes_toclient", f->bytes[1]);
    jsonw_time(j, "start", f->start_ns);
    jsonw_time(j, "end", f->end_ns);
    jsonw_u64(j, "age", f->end_ns > f->start_ns ? (f->end_ns - f->start_ns) / WIND_NS_PER_S : 0);
    jsonw_str(j, "state", state[f->state]);
    jsonw_str(j, "reason", reason[f->end]);
    jsonw_bool(j, "alerted", f->alerted != 0);
    jsonw_end(j);
}

static void put_connection(struct jsonw *j, const struct flow_record *f)
{
    static const char *const name[CONN_STATES] = {
        [CONN_OTH] = "OTH",       [CONN_S0] = "S0",       [CONN_S1] = "S1",
        [CONN_SF] = "SF",         [CONN_REJ] = "REJ",     [CONN_S2] = "S2",
        [CONN_S3] = "S3",         [CONN_RSTO] = "RSTO",   [CONN_RSTR] = "RSTR",
        [CONN_RSTOS0] = "RSTOS0", [CONN_RSTRH] = "RSTRH", [CONN_SH] = "SH",
        [CONN_SHR] = "SHR"};
    static const char *const key[4] = {"missed_bytes_toserver", "missed_bytes_toclient",
                                       "retransmits_toserver", "retransmits_toclient"};
    const uint32_t value[4] = {f->missed[0], f->missed[1], f->again[0], f->again[1]};

    jsonw_str(j, "conn_state", name[f->conn_state]);
    PUT_TEXT(j, "history", f->history);
    for (size_t i = 0; i < WIND_ARRAY_SIZE(value); i++)
        if (value[i] != 0)
            jsonw_u64(j, key[i], value[i]);
}

static void put_flags(struct jsonw *j, const char *key, uint8_t flags)
{
    static const char hex[] = "0123456789abcdef";

    jsonw_strn(j, key, (const char[]){hex[flags >> 4], hex[flags & 15]}, 2);
}

static void put_tcp(struct jsonw *j, const struct flow_record *f)
{
    static const char *const name[] = {"fin", "syn", "rst", "psh", "ack", "urg", "ecn", "cwr"};
    const uint8_t all = f->tcp_flags[0] | f->tcp_flags[1];

    jsonw_object(j, "tcp");
    put_flags(j, "tcp_flags", all);
    put_flags(j, "tcp_flags_ts", f->tcp_flags[0]);
    put_flags(j, "tcp_flags_tc", f->tcp_flags[1]);
    for (size_t i = 0; i < WIND_ARRAY_SIZE(name); i++)
        if ((all >> i & 1) != 0)
            jsonw_bool(j, name[i], true);
    jsonw_end(j);
}

/*
 * `risk` has the bits' numbers: a mask of 64 bits would not survive a reader's double; `risks` the
 * words for them.
 */
static void put_risks(struct jsonw *j, uint64_t risks)
{
    struct dpi_risk known;

    jsonw_array(j, "risk");
    for (unsigned bit = 0; bit < DPI_RISKS; bit++)
        if ((risks >> bit & 1) != 0)
            jsonw_u64(j, NULL, bit);
    jsonw_end(j);
    jsonw_u64(j, "risk_score", dpi_risk_score(risks));
    jsonw_array(j, "risks");
    for (unsigned bit = 0; bit < DPI_RISKS; bit++) {
        if ((risks >> bit & 1) == 0 || !dpi_risk(bit, &known))
            continue;
        jsonw_object(j, NULL);
        jsonw_u64(j, "id", bit);
        jsonw_str(j, "name", known.name);
        jsonw_str(j, "severity", known.severity);
        jsonw_u64(j, "score", known.score);
        jsonw_end(j);
    }
    jsonw_end(j);
}

static void put_ndpi(struct jsonw *j, const struct flow_record *f)
{
    const char *const confidence = dpi_confidence_name(f->dpi_confidence);

    if (f->app[0] == '\0' && f->dpi_risk == 0)
        return;
    jsonw_object(j, "ndpi");
    if (f->app[0] != '\0')
        PUT_TEXT(j, "proto", f->app);
    if (f->category[0] != '\0')
        PUT_TEXT(j, "category", f->category);
    if (f->server_name[0] != '\0')
        PUT_TEXT(j, "hostname", f->server_name);
    jsonw_bool(j, "guessed", f->dpi_guessed != 0);
    if (confidence != NULL)
        jsonw_str(j, "confidence", confidence);
    if (f->dpi_risk != 0)
        put_risks(j, f->dpi_risk);
    jsonw_end(j);
}

/* Whom the addresses belong to, as DNS said. */
static void put_end_names(struct jsonw *j, uint8_t names, const char src[RECORD_NAME_MAX],
                          const char dst[RECORD_NAME_MAX])
{
    if ((names & FLOW_NAME_SRC) != 0)
        jsonw_strn(j, "src_name", src, strnlen(src, RECORD_NAME_MAX));
    if ((names & FLOW_NAME_DST) != 0)
        jsonw_strn(j, "dest_name", dst, strnlen(dst, RECORD_NAME_MAX));
}

static void flow_line(struct jsonw *j, const struct eve_source *source, const struct eve_record *r)
{
    const struct flow_record *const f = &r->flow;

    jsonw_time(j, "timestamp", f->header.time_ns);
    jsonw_u64(j, "flow_id", f->flow_id);
    put_community_id(j, "community_id", source, &f->key);
    jsonw_str(j, "event_type", "flow");
    put_key(j, &f->key);
    put_app(j, f->app, eve_facts_app(f, r->facts, f->facts_len));
    put_source(j, source, f->interface);
    put_flow(j, f);
    if (f->key.proto == IPPROTO_TCP)
        put_tcp(j, f);
    put_ndpi(j, f);
    eve_facts_put(j, f, r->facts, f->facts_len);
    jsonw_object(j, "wind");
    put_end_names(j, f->names, f->src_name, f->dst_name);
    put_share(j, "score", f->score);
    put_share(j, "p_value", f->p_value);
    put_connection(j, f);
    jsonw_str(j, "analysis_level", level_name[f->analysis_level]);
    put_share(j, "coverage", source->coverage);
    jsonw_end(j);
}

/* ---------------------------------------------------------------- alert */

static const char *severity_name(uint8_t severity)
{
    static const char *const name[] = {"", "low", "medium", "high", "critical"};

    return name[severity];
}

static void put_alert(struct jsonw *j, const struct alert_record *a)
{
    jsonw_object(j, "alert");
    jsonw_str(j, "action", "allowed");
    jsonw_u64(j, "gid", 1);
    jsonw_u64(j, "signature_id", a->signature_id);
    jsonw_u64(j, "rev", 1);
    PUT_TEXT(j, "signature", a->signature);
    PUT_TEXT(j, "category", a->category);
    jsonw_u64(j, "severity", 5u - a->severity); /* EVE counts from the worst */
    jsonw_object(j, "metadata");
    if (a->technique_id[0] != '\0') {
        jsonw_array(j, "attack_technique");
        PUT_TEXT(j, NULL, a->technique_id);
        jsonw_end(j);
    }
    jsonw_array(j, "severity");
    jsonw_str(j, NULL, severity_name(a->severity));
    jsonw_end(j);
    jsonw_end(j);
    jsonw_end(j);
}

static void put_uid(struct jsonw *j, const uint8_t uid[16])
{
    static const char hex[] = "0123456789abcdef";
    char text[36];
    size_t n = 0;

    for (size_t i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            text[n++] = '-';
        text[n++] = hex[uid[i] >> 4];
        text[n++] = hex[uid[i] & 15];
    }
    jsonw_strn(j, "uid", text, sizeof(text));
}

static void put_entities(struct jsonw *j, const struct alert_record *a)
{
    jsonw_array(j, "entities");
    for (size_t i = 0; i < a->n_entities; i++) {
        jsonw_object(j, NULL);
        PUT_TEXT(j, "kind", a->entity[i].kind);
        PUT_TEXT(j, "value", a->entity[i].value);
        PUT_TEXT(j, "role", a->entity[i].role);
        jsonw_end(j);
    }
    jsonw_end(j);
}

static void put_technique(struct jsonw *j, const struct alert_record *a)
{
    if (a->technique_id[0] == '\0') {
        jsonw_null(j, "technique");
        return;
    }
    jsonw_object(j, "technique");
    PUT_TEXT(j, "id", a->technique_id);
    PUT_TEXT(j, "name", a->technique);
    PUT_TEXT(j, "tactic", a->tactic);
    jsonw_end(j);
}

static void put_reasons(struct jsonw *j, const struct alert_record *a)
{
    jsonw_array(j, "explain");
    for (size_t i = 0; i < a->n_reasons; i++) {
        const struct alert_reason *r = &a->reason[i];

        jsonw_object(j, NULL);
        PUT_TEXT(j, "name", r->name);
        PUT_TEXT(j, "unit", r->unit);
        PUT_TEXT(j, "text", r->text);
        jsonw_f32(j, "value", r->value);
        jsonw_f32(j, "normal", r->normal_n > 0 ? r->normal : NAN);
        jsonw_f32(j, "normal_sd", r->normal_n > 0 ? r->normal_sd : NAN);
        jsonw_u64(j, "normal_n", r->normal_n);
        put_share(j, "contribution", r->contribution);
        jsonw_end(j);
    }
    jsonw_end(j);
}

static void put_alert_wind(struct jsonw *j, const struct eve_source *source,
                           const struct alert_record *a)
{
    jsonw_object(j, "wind");
    put_uid(j, a->uid);
    jsonw_u64(j, "rev", a->rev);
    PUT_TEXT(j, "detector", a->detector);
    jsonw_str(j, "severity", severity_name(a->severity));
    put_text_or_null(j, "model", a->model, sizeof(a->model));
    put_text_or_null(j, "schema", a->schema, sizeof(a->schema));
    put_share(j, "score", a->score);
    if (a->p_value >= 0)
        put_share(j, "p_value", a->p_value);
    else
        jsonw_null(j, "p_value");
    put_count(j, "count", a->count);
    jsonw_time_rfc3339(j, "first_seen", a->first_ns);
    jsonw_time_rfc3339(j, "last_seen", a->last_ns);
    put_end_names(j, a->names, a->src_name, a->dst_name);
    put_entities(j, a);
    put_technique(j, a);
    put_reasons(j, a);
    jsonw_array(j, "community_ids");
    for (size_t i = 0; i < a->n_evidence; i++)
        put_community_id(j, NULL, source, &a->evidence[i]);
    jsonw_end(j);
    jsonw_str(j, "analysis_level", level_name[a->analysis_level]);
    put_share(j, "coverage", source->coverage);
    jsonw_end(j);
}

static void alert_line(struct jsonw *j, const struct eve_source *source,
                       const struct alert_record *a)
{
    jsonw_time(j, "timestamp", a->header.time_ns);
    jsonw_u64(j, "flow_id", a->flow_id);
    put_community_id(j, "community_id", source, &a->key);
    jsonw_str(j, "event_type", "alert");
    put_key(j, &a->key);
    put_app(j, a->app, NULL);
    put_source(j, source, a->interface);
    put_alert(j, a);
    put_alert_wind(j, source, a);
}

static void anomaly_line(struct jsonw *j, const struct eve_source *source,
                         const struct anomaly_record *a)
{
    jsonw_time(j, "timestamp", a->header.time_ns);
    jsonw_str(j, "event_type", "anomaly");
    if (a->key.ip_version != 0)
        put_key(j, &a->key);
    put_source(j, source, a->interface);
    jsonw_object(j, "anomaly");
    PUT_TEXT(j, "type", a->type);
    PUT_TEXT(j, "event", a->event);
    jsonw_end(j);
    jsonw_object(j, "wind");
    PUT_TEXT(j, "text", a->text);
    jsonw_end(j);
}

void eve_line(struct buf *out, const struct eve_source *source, const struct eve_record *record)
{
    struct jsonw j;

    jsonw_begin(&j, out);
    jsonw_object(&j, NULL);
    if (record->header.kind == RECORD_FLOW_ENDED)
        flow_line(&j, source, record);
    else if (record->header.kind == RECORD_ALERT)
        alert_line(&j, source, &record->alert);
    else
        anomaly_line(&j, source, &record->anomaly);
    jsonw_end(&j);
    buf_putc(out, '\n');
}

void eve_add_features(struct buf *out, const char *line, size_t len,
                      const struct eve_record *record)
{
    const struct flow_record *const f = &record->flow;
    const size_t n = f->n_features < FEATURE_COUNT ? f->n_features : FEATURE_COUNT;
    char schema[FEATURE_SCHEMA_TEXT];
    struct jsonw j;

    buf_reset(out);
    buf_put(out, line, len - 2); /* "wind" is its last object, and has members */
    feature_schema_text(n, schema);
    buf_printf(out, ",\"schema\":\"%s\",\"features\":", schema);
    jsonw_begin(&j, out);
    jsonw_array(&j, NULL);
    for (size_t i = 0; i < n; i++)
        jsonw_f32(&j, NULL, feature_is_missing(f->missing, i) ? NAN : record->feature[i]);
    jsonw_end(&j);
    buf_puts(out, "}}");
}

/* ---------------------------------------------------------------- stats */

static bool is_by_luck(enum counter c)
{
    return c == COUNTER_uplink_requests || c == COUNTER_uplink_failures ||
           c == COUNTER_uplink_write_errors || c == COUNTER_supervisor_uplink_restarts;
}

static bool is_group_done(size_t upto, const char *group)
{
    for (size_t i = 0; i < upto; i++)
        if (strcmp(counter_info[i].group, group) == 0)
            return true;
    return false;
}

static void put_stats(struct jsonw *j, const char *key, const struct eve_stats *st)
{
    jsonw_object(j, key);
    if (!st->is_replay)
        jsonw_u64(j, "uptime", st->uptime_s);
    for (size_t i = 0; i < COUNTERS; i++) { /* a group's counters need not stand together */
        const char *group = counter_info[i].group;

        if (is_group_done(i, group))
            continue;
        jsonw_object(j, group);
        for (size_t k = i; k < COUNTERS; k++)
            if (strcmp(counter_info[k].group, group) == 0 &&
                !(st->is_replay && is_by_luck((enum counter)k)))
                put_count(j, counter_info[k].name, counters_sum(st->counters, (enum counter)k));
        jsonw_end(j);
    }
    jsonw_end(j);
}

void eve_stats_line(struct buf *out, const struct eve_source *source, const struct eve_stats *st)
{
    struct jsonw j;

    jsonw_begin(&j, out);
    jsonw_object(&j, NULL);
    jsonw_time(&j, "timestamp", st->time_ns);
    jsonw_str(&j, "event_type", "stats");
    PUT_TEXT(&j, "host", source->sensor);
    if (source->pcap[0] != '\0')
        PUT_TEXT(&j, "pcap_filename", source->pcap);
    put_stats(&j, "stats", st);
    jsonw_end(&j);
    buf_putc(out, '\n');
}

void eve_stats_object(struct buf *out, const struct eve_stats *st)
{
    struct jsonw j;

    jsonw_begin(&j, out);
    put_stats(&j, NULL, st);
}
