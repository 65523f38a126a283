#include "collector/flow_doc.h"

#include <errno.h>
#include <stdlib.h>

#include "collector/schema.h"
#include "collector/search_doc.h"
#include "common/ip.h"
#include "common/json_scan.h"

#define TEXT_MAX 1024 /* bytes of a text that becomes a keyword */

/* NAME, path in EVE */
#define FIELDS(FIELD)                                                                              \
    FIELD(EVENT_TYPE, "event_type")                                                                \
    FIELD(SRC_IP, "src_ip")                                                                        \
    FIELD(SRC_PORT, "src_port")                                                                    \
    FIELD(DEST_IP, "dest_ip")                                                                      \
    FIELD(DEST_PORT, "dest_port")                                                                  \
    FIELD(PROTO, "proto")                                                                          \
    FIELD(APP_PROTO, "app_proto")                                                                  \
    FIELD(COMMUNITY_ID, "community_id")                                                            \
    FIELD(VLAN, "vlan")                                                                            \
    FIELD(START, "flow.start")                                                                     \
    FIELD(END, "flow.end")                                                                         \
    FIELD(REASON, "flow.reason")                                                                   \
    FIELD(ALERTED, "flow.alerted")                                                                 \
    FIELD(PKTS_TO, "flow.pkts_toserver")                                                           \
    FIELD(PKTS_FROM, "flow.pkts_toclient")                                                         \
    FIELD(BYTES_TO, "flow.bytes_toserver")                                                         \
    FIELD(BYTES_FROM, "flow.bytes_toclient")                                                       \
    FIELD(DNS_NAME, "dns.rrname")                                                                  \
    FIELD(SNI, "tls.sni")                                                                          \
    FIELD(JA4, "tls.ja4")                                                                          \
    FIELD(SRC_NAME, "wind.src_name")                                                               \
    FIELD(DEST_NAME, "wind.dest_name")                                                             \
    FIELD(SCORE, "wind.score")                                                                     \
    FIELD(P_VALUE, "wind.p_value")                                                                 \
    FIELD(CONN_STATE, "wind.conn_state")                                                           \
    FIELD(LEVEL, "wind.analysis_level")                                                            \
    FIELD(SCHEMA, "wind.schema")

enum part {
#define FIELD(name, path) F_##name,
    FIELDS(FIELD)
#undef FIELD
        F_N
};

static const char *const paths[] = {
#define FIELD(name, path) [F_##name] = (path),
    FIELDS(FIELD)
#undef FIELD
};

struct flow_doc {
    struct json_scan *scan;
};

/* What of them is needed, and what it says. */
struct flow {
    struct json_span v[F_N];
    uint8_t src[16], dst[16];
    int64_t start_ns, end_ns;
};

int flow_doc_new(struct flow_doc **ret_doc, struct err *e)
{
    WIND_AUTO(flow_doc) struct flow_doc *d = calloc(1, sizeof(*d));

    if (d == NULL)
        return err_set(e, -ENOMEM, "flows: out of memory");
    const int r = json_scan_new(&d->scan, paths, F_N, e);
    if (r == 0)
        *ret_doc = WIND_STEAL(d);
    return r;
}

struct flow_doc *flow_doc_free(struct flow_doc *d)
{
    if (d != NULL)
        json_scan_free(d->scan);
    free(d);
    return NULL;
}

/* ---------------------------------------------------------------- reading */

static int take_address(const struct flow *f, enum part which, uint8_t ret[16], struct err *e)
{
    char text[64];

    return ip_parse(json_span_short(&f->v[which], text, sizeof(text)), ret) == 0
               ? 0
               : err_set(e, -EINVAL, "%s must be an address", paths[which]);
}

static int take_time(const struct flow *f, enum part which, int64_t *ret_ns, struct err *e)
{
    char text[64];

    return schema_time(json_span_short(&f->v[which], text, sizeof(text)), ret_ns) == 0
               ? 0
               : err_set(e, -EINVAL, "%s must be a time", paths[which]);
}

static int read_flow(const struct flow_doc *d, struct flow *f, const char *text, size_t len,
                     struct err *e)
{
    int r = json_scan(d->scan, text, len, f->v, e);

    if (r == 0 && !json_span_is(&f->v[F_EVENT_TYPE], "flow"))
        r = err_set(e, -EINVAL, "event_type must be \"flow\"");
    if (r == 0)
        r = take_address(f, F_SRC_IP, f->src, e);
    if (r == 0)
        r = take_address(f, F_DEST_IP, f->dst, e);
    if (r == 0)
        r = take_time(f, F_START, &f->start_ns, e);
    if (r == 0)
        r = take_time(f, F_END, &f->end_ns, e);
    return r;
}

/* ---------------------------------------------------------------- writing */

static void put_text(struct jsonw *j, const char *key, const struct json_span *v)
{
    char text[TEXT_MAX];

    if (v->kind == SPAN_STRING && v->len > 0 && v->len < sizeof(text))
        jsonw_strn(j, key, text, json_span_text(v, text));
}

static void put_lower(struct jsonw *j, const char *key, const struct json_span *v)
{
    char text[32];

    (void)json_span_short(v, text, sizeof(text));
    for (char *p = text; *p != '\0'; p++)
        *p = (char)(*p >= 'A' && *p <= 'Z' ? *p | 0x20 : *p);
    if (text[0] != '\0')
        jsonw_str(j, key, text);
}

static void put_int(struct jsonw *j, const char *key, const struct json_span *v)
{
    if (v->kind == SPAN_INT)
        jsonw_i64(j, key, json_span_i64(v));
}

static void put_real(struct jsonw *j, const char *key, const struct json_span *v)
{
    if (v->kind == SPAN_INT || v->kind == SPAN_REAL)
        jsonw_f64(j, key, json_span_f64(v));
}

static void put_sum(struct jsonw *j, const char *key, const struct json_span *a,
                    const struct json_span *b)
{
    const int64_t x = json_span_i64(a), y = json_span_i64(b);

    if (x >= 0 && y >= 0 && x <= INT64_MAX - y)
        jsonw_i64(j, key, x + y);
}

static void put_event(struct jsonw *j, const struct flow *f, const char *text, size_t len)
{
    jsonw_object(j, "event");
    jsonw_str(j, "kind", "event");
    jsonw_array(j, "category");
    jsonw_str(j, NULL, "network");
    jsonw_end(j);
    jsonw_array(j, "type");
    jsonw_str(j, NULL, "connection");
    jsonw_str(j, NULL, "end");
    jsonw_end(j);
    jsonw_str(j, "module", "wind");
    jsonw_str(j, "dataset", "wind.flow");
    jsonw_time_rfc3339(j, "start", (uint64_t)f->start_ns);
    jsonw_time_rfc3339(j, "end", (uint64_t)f->end_ns);
    if (f->end_ns >= f->start_ns)
        jsonw_i64(j, "duration", f->end_ns - f->start_ns);
    jsonw_strn(j, "original", text, len);
    jsonw_end(j);
}

/* One end: its part in the names, and how much came from there. */
struct end {
    const char *key;
    const uint8_t *address;
    enum part port, name, bytes, packets;
};

static void put_end(struct jsonw *j, const struct flow *f, const struct end *end)
{
    jsonw_object(j, end->key);
    jsonw_ip(j, "ip", end->address);
    put_int(j, "port", &f->v[end->port]);
    put_text(j, "domain", &f->v[end->name]);
    put_int(j, "bytes", &f->v[end->bytes]);
    put_int(j, "packets", &f->v[end->packets]);
    jsonw_end(j);
}

static void put_network(struct jsonw *j, const struct flow *f)
{
    jsonw_object(j, "network");
    put_lower(j, "transport", &f->v[F_PROTO]);
    put_text(j, "protocol", &f->v[F_APP_PROTO]);
    put_text(j, "community_id", &f->v[F_COMMUNITY_ID]);
    put_sum(j, "bytes", &f->v[F_BYTES_TO], &f->v[F_BYTES_FROM]);
    put_sum(j, "packets", &f->v[F_PKTS_TO], &f->v[F_PKTS_FROM]);
    jsonw_end(j);
}

/* {outer: {inner: {key: text}}}, if there is such a text */
static void put_nested(struct jsonw *j, const char *outer, const char *inner, const char *key,
                       const struct json_span *v)
{
    if (v->kind != SPAN_STRING)
        return;
    jsonw_object(j, outer);
    jsonw_object(j, inner);
    put_text(j, key, v);
    jsonw_end(j);
    jsonw_end(j);
}

static void put_wind(struct jsonw *j, const struct flow *f)
{
    jsonw_object(j, "wind");
    put_real(j, "score", &f->v[F_SCORE]);
    put_real(j, "p_value", &f->v[F_P_VALUE]);
    put_text(j, "conn_state", &f->v[F_CONN_STATE]);
    put_text(j, "analysis_level", &f->v[F_LEVEL]);
    put_text(j, "schema", &f->v[F_SCHEMA]);
    put_text(j, "reason", &f->v[F_REASON]);
    put_text(j, "ja4", &f->v[F_JA4]);
    put_int(j, "vlan", &f->v[F_VLAN]);
    jsonw_bool(j, "alerted", f->v[F_ALERTED].kind == SPAN_TRUE);
    jsonw_end(j);
}

int flow_doc_put(const struct flow_doc *d, struct jsonw *j, const char *text, size_t len,
                 const char *sensor, struct err *e)
{
    struct flow f = {0};

    const int r = read_flow(d, &f, text, len, e);
    if (r != 0)
        return r;
    const struct end ends[] = {
        {"source", f.src, F_SRC_PORT, F_SRC_NAME, F_BYTES_TO, F_PKTS_TO},
        {"destination", f.dst, F_DEST_PORT, F_DEST_NAME, F_BYTES_FROM, F_PKTS_FROM}};
    jsonw_object(j, NULL);
    jsonw_time_rfc3339(j, "@timestamp", (uint64_t)f.end_ns);
    jsonw_object(j, "ecs");
    jsonw_str(j, "version", "8.11.0");
    jsonw_end(j);
    put_event(j, &f, text, len);
    for (size_t i = 0; i < WIND_ARRAY_SIZE(ends); i++)
        put_end(j, &f, &ends[i]);
    put_network(j, &f);
    put_nested(j, "dns", "question", "name", &f.v[F_DNS_NAME]);
    put_nested(j, "tls", "client", "server_name", &f.v[F_SNI]);
    jsonw_object(j, "observer");
    if (sensor != NULL)
        jsonw_str(j, "name", sensor);
    jsonw_str(j, "type", "sensor");
    jsonw_str(j, "vendor", "Wind");
    jsonw_end(j);
    put_wind(j, &f);
    jsonw_end(j);
    return 0;
}

/* ---------------------------------------------------------------- mapping */

static const struct search_field fields[] = {
    {"@timestamp", "date_nanos"},
    {"ecs.version", "keyword"},
    {"event.kind", "keyword"},
    {"event.category", "keyword"},
    {"event.type", "keyword"},
    {"event.module", "keyword"},
    {"event.dataset", "keyword"},
    {"event.start", "date_nanos"},
    {"event.end", "date_nanos"},
    {"event.duration", "long"},
    {"source.ip", "ip"},
    {"source.port", "long"},
    {"source.domain", "keyword"},
    {"source.bytes", "long"},
    {"source.packets", "long"},
    {"destination.ip", "ip"},
    {"destination.port", "long"},
    {"destination.domain", "keyword"},
    {"destination.bytes", "long"},
    {"destination.packets", "long"},
    {"network.transport", "keyword"},
    {"network.protocol", "keyword"},
    {"network.community_id", "keyword"},
    {"network.bytes", "long"},
    {"network.packets", "long"},
    {"dns.question.name", "keyword"},
    {"tls.client.server_name", "keyword"},
    {"observer.name", "keyword"},
    {"observer.type", "keyword"},
    {"observer.vendor", "keyword"},
    {"wind.score", "float"},
    {"wind.p_value", "float"},
    {"wind.conn_state", "keyword"},
    {"wind.analysis_level", "keyword"},
    {"wind.schema", "keyword"},
    {"wind.reason", "keyword"},
    {"wind.ja4", "keyword"},
    {"wind.vlan", "long"},
    {"wind.alerted", "boolean"},
    {NULL, NULL},
};

/* What has no field (event.original) is kept in the document, and not searched. */
json_t *flow_doc_mapping(void)
{
    return json_pack("{s:b, s:o}", "dynamic", 0, "properties", search_doc_properties(fields));
}
