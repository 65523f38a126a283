#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>

#include "collector/flow_doc.h"

#define ENDS                                                                                       \
    "\"src_ip\":\"10.0.0.1\",\"src_port\":4000,\"dest_ip\":\"2001:db8::1\",\"dest_port\":53,"
#define TIMES                                                                                      \
    "\"flow\":{\"start\":\"2026-01-02T03:04:05.000001+0000\",\"end\":\"2026-01-02T03:04:06+"       \
    "0000\","                                                                                      \
    "\"pkts_toserver\":2,\"pkts_toclient\":1,\"bytes_toserver\":100,\"bytes_toclient\":50,"        \
    "\"alerted\":true}"

/* NULL: it is no flow. Else the document. */
static json_t *document(const char *text, const char *sensor, struct err *e)
{
    struct flow_doc *d = NULL;
    struct jsonw j;
    struct buf b;

    buf_init(&b, 1 << 20);
    cr_assert_eq(flow_doc_new(&d, e), 0);
    jsonw_begin(&j, &b);
    const int r = flow_doc_put(d, &j, text, strlen(text), sensor, e);
    cr_assert_eq(b.failed, false);
    json_t *doc = r == 0 ? json_loadb(b.data, b.len, JSON_REJECT_DUPLICATES, NULL) : NULL;
    cr_assert(r == 0 ? doc != NULL : (r == -EINVAL && b.len == 0));
    buf_done(&b);
    d = flow_doc_free(d);
    return doc;
}

/* The text, or the number as text, at a path with dots. */
static const char *at(const json_t *doc, const char *path)
{
    static char text[64];
    char part[64];
    const char *dot;

    while ((dot = strchr(path, '.')) != NULL) {
        (void)snprintf(part, sizeof(part), "%.*s", (int)(dot - path), path);
        doc = json_object_get(doc, part);
        path = dot + 1;
    }
    doc = json_object_get(doc, path);
    if (json_is_integer(doc))
        (void)snprintf(text, sizeof(text), "%lld", (long long)json_integer_value(doc));
    return json_is_integer(doc) ? text : json_string_value(doc);
}

Test(flow_doc, a_flow_has_the_names_of_ecs_and_is_kept_as_it_came)
{
    static const char flow[] =
        "{\"event_type\":\"flow\"," ENDS "\"proto\":\"UDP\",\"app_proto\":\"dns.x\"," TIMES
        ",\"dns\":{\"rrname\":\"a\\u00e4.example\"},\"wind\":{\"dest_name\":\"ns\",\"score\":0.5,"
        "\"p_value\":0.01,\"features\":[1,2]}}";
    static const struct {
        const char *path, *value;
    } wanted[] = {{"@timestamp", "2026-01-02T03:04:06Z"},
                  {"event.start", "2026-01-02T03:04:05.000001Z"},
                  {"event.duration", "999999000"},
                  {"event.dataset", "wind.flow"},
                  {"event.original", flow},
                  {"source.ip", "10.0.0.1"},
                  {"source.port", "4000"},
                  {"source.bytes", "100"},
                  {"destination.ip", "2001:db8::1"},
                  {"destination.domain", "ns"},
                  {"destination.packets", "1"},
                  {"network.transport", "udp"},
                  {"network.protocol", "dns.x"},
                  {"network.bytes", "150"},
                  {"dns.question.name", "a\xc3\xa4.example"},
                  {"observer.name", "edge"}};
    struct err e = {0};
    json_t *doc = document(flow, "edge", &e);

    cr_assert_not_null(doc, "%s", e.text);
    for (size_t i = 0; i < WIND_ARRAY_SIZE(wanted); i++) {
        const char *found = at(doc, wanted[i].path);
        cr_assert(found != NULL && strcmp(found, wanted[i].value) == 0, "%s: %s", wanted[i].path,
                  found != NULL ? found : "(none)");
    }
    const json_t *wind = json_object_get(doc, "wind");
    cr_assert(json_is_true(json_object_get(wind, "alerted")));
    cr_assert_float_eq(json_number_value(json_object_get(wind, "score")), 0.5, 0);
    json_decref(doc);
}

Test(flow_doc, what_is_no_flow_is_refused_with_the_reason)
{
    static const struct {
        const char *text, *why;
    } bad[] = {{"", "JSON"},
               {"[]", "event_type"},
               {"{\"event_type\":\"alert\"," ENDS TIMES "}", "event_type"},
               {"{\"event_type\":\"flow\"," TIMES "}", "src_ip"},
               {"{\"event_type\":\"flow\"," ENDS "\"flow\":{\"start\":7}}", "flow.start"},
               {"{\"event_type\":\"flow\"," ENDS TIMES, ""}};

    for (size_t i = 0; i < WIND_ARRAY_SIZE(bad); i++) {
        struct err e = {0};
        cr_assert_null(document(bad[i].text, NULL, &e), "%zu", i);
        cr_assert(e.text[0] != '\0' && (i == 0 || strstr(e.text, bad[i].why) != NULL), "%zu: %s", i,
                  e.text);
    }
}

Test(flow_doc, every_field_of_the_mapping_has_a_type)
{
    json_t *m = flow_doc_mapping();

    cr_assert_str_eq(at(m, "properties.source.properties.ip.type"), "ip");
    cr_assert_str_eq(at(m, "properties.wind.properties.alerted.type"), "boolean");
    json_decref(m);
}
