#include <criterion/criterion.h>
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>

#include "sensor/eve.h"
#include "support/records.h"

static const struct eve_source source = {.sensor = "edge-1", .pcap = "x.pcap", .coverage = 1.0f};

/* A slot as the ring hands it out. */
static union {
    struct record_header header;
    struct flow_record flow;
    struct alert_record alert;
    struct anomaly_record anomaly;
    char bytes[8192];
} slot;

static const char *line_of(enum eve_ring ring)
{
    static char text[EVE_LINE_MAX];
    struct buf out = BUF_FIXED(text);
    struct eve_record record;

    cr_assert_eq(eve_take(&slot, sizeof(slot), ring, &record), 0);
    eve_line(&out, &source, &record);
    return buf_text(&out);
}

static json_t *parsed(const char *line)
{
    json_error_t error;
    json_t *root = json_loads(line, JSON_REJECT_DUPLICATES, &error);

    cr_assert(root != NULL, "%s in %s", error.text, line);
    return root;
}

/* Who filters for "tls" means all of it, whatever service nDPI names behind the dot. */
Test(eve, app_proto_is_the_protocol_and_ndpi_says_the_rest)
{
    record_flow(&slot.flow, 5);
    (void)snprintf(slot.flow.app, sizeof(slot.flow.app), "tls.google");
    json_t *line = parsed(line_of(EVE_RING_FLOWS));
    const char *app = json_string_value(json_object_get(line, "app_proto"));
    const char *all = json_string_value(json_object_get(json_object_get(line, "ndpi"), "proto"));

    cr_assert_str_eq(app, "tls");
    cr_assert_str_eq(all, "tls.google");
    json_decref(line);
}

Test(eve, a_flow_is_one_line_with_suricatas_names)
{
    record_flow(&slot.flow, 5);
    slot.flow.key.vlan = 7;
    slot.flow.dpi_risk = 1ull << 63 | 2; /* the last one is none that nDPI knows */
    slot.flow.dpi_confidence = 4;
    slot.flow.conn_state = CONN_SF;
    slot.flow.again[1] = 3;
    memcpy(slot.flow.history, "ShADadFf", 8);
    cr_assert_str_eq(
        line_of(EVE_RING_FLOWS),
        "{\"timestamp\":\"2026-01-02T03:00:00.005000+0000\",\"flow_id\":6,"
        "\"community_id\":\"1:j1qxMvGLAuoy8sKiyxb++pNxDWU=\",\"event_type\":\"flow\","
        "\"src_ip\":\"10.9.0.66\",\"src_port\":40005,\"dest_ip\":\"10.9.0.5\",\"dest_port\":22,"
        "\"proto\":\"TCP\",\"vlan\":[7],\"app_proto\":\"ssh\",\"host\":\"edge-1\","
        "\"pcap_filename\":\"x.pcap\",\"flow\":{\"pkts_toserver\":5,\"pkts_toclient\":4,"
        "\"bytes_toserver\":405,\"bytes_toclient\":3000,"
        "\"start\":\"2026-01-02T02:59:57.505000+0000\",\"end\":\"2026-01-02T03:00:00.005000+0000\","
        "\"age\":2,\"state\":\"closed\",\"reason\":\"closed\",\"alerted\":false},"
        "\"tcp\":{\"tcp_flags\":\"1b\",\"tcp_flags_ts\":\"1b\",\"tcp_flags_tc\":\"13\","
        "\"fin\":true,\"syn\":true,\"psh\":true,\"ack\":true},"
        "\"ndpi\":{\"proto\":\"ssh\",\"category\":\"remoteaccess\",\"guessed\":false,"
        "\"confidence\":\"dpi\",\"risk\":[1,63],\"risk_score\":250,\"risks\":[{\"id\":1,"
        "\"name\":\"XSS Attack\",\"severity\":\"severe\",\"score\":250}]},\"wind\":{\"score\":0.25,"
        "\"p_value\":0.75,\"conn_state\":\"SF\","
        "\"history\":\"ShADadFf\",\"retransmits_toclient\":3,\"analysis_level\":\"full\","
        "\"coverage\":1.0}}\n");
}

Test(eve, icmp_has_type_and_code_and_no_ports)
{
    record_flow(&slot.flow, 1);
    slot.flow.key.proto = 1;
    slot.flow.key.sport = 8;
    slot.flow.key.dport = 0;
    json_t *root = parsed(line_of(EVE_RING_FLOWS));

    cr_assert_eq(json_integer_value(json_object_get(root, "icmp_type")), 8);
    cr_assert(json_is_integer(json_object_get(root, "icmp_code")));
    cr_assert(json_object_get(root, "src_port") == NULL);
    cr_assert(json_object_get(root, "tcp") == NULL);
    cr_assert_str_eq(json_string_value(json_object_get(root, "proto")), "ICMP");
    json_decref(root);
}

Test(eve, an_alert_says_who_how_bad_and_why)
{
    record_alert(&slot.alert, 3);
    cr_assert_str_eq(
        line_of(EVE_RING_ALERTS),
        "{\"timestamp\":\"2026-01-02T03:00:00.003000+0000\",\"flow_id\":4,"
        "\"community_id\":\"1:AOb0qQVdsSxEs99p98Uvxo0HoVM=\",\"event_type\":\"alert\","
        "\"src_ip\":\"10.9.0.66\",\"src_port\":40003,\"dest_ip\":\"10.9.0.3\",\"dest_port\":22,"
        "\"proto\":\"TCP\",\"app_proto\":\"ssh\",\"host\":\"edge-1\",\"pcap_filename\":\"x.pcap\","
        "\"alert\":{\"action\":\"allowed\",\"gid\":1,\"signature_id\":9000001,\"rev\":1,"
        "\"signature\":\"10.9.0.66 tried 1000 ports (3)\",\"category\":\"Network scan\","
        "\"severity\":2,\"metadata\":{\"attack_technique\":[\"T1046\"],\"severity\":[\"high\"]}},"
        "\"wind\":{\"uid\":\"0198f2c4-0000-7000-8000-000003000000\",\"rev\":1,"
        "\"detector\":\"port_scan\",\"severity\":\"high\",\"model\":null,\"schema\":null,"
        "\"score\":0.98,\"p_value\":null,\"count\":1000,"
        "\"first_seen\":\"2026-01-02T02:59:59.003000Z\",\"last_seen\":\"2026-01-02T03:00:00."
        "003000Z\","
        "\"entities\":[{\"kind\":\"host\",\"value\":\"10.9.0.66\",\"role\":\"attacker\"}],"
        "\"technique\":{\"id\":\"T1046\",\"name\":\"Network Service Discovery\","
        "\"tactic\":\"Discovery\"},\"explain\":[{\"name\":\"distinct_ports\",\"unit\":\"count\","
        "\"text\":\"1000 different ports in 12 s\",\"value\":1000.0,\"normal\":null,"
        "\"normal_sd\":null,\"normal_n\":0,\"contribution\":0.6}],"
        "\"community_ids\":[\"1:AOb0qQVdsSxEs99p98Uvxo0HoVM=\"],\"analysis_level\":\"full\","
        "\"coverage\":1.0}}\n");
}

Test(eve, an_anomaly_without_a_packet_has_no_addresses)
{
    record_anomaly(&slot.anomaly, 9);
    cr_assert_str_eq(line_of(EVE_RING_ALERTS),
                     "{\"timestamp\":\"2026-01-02T03:00:00.009000+0000\",\"event_type\":"
                     "\"anomaly\",\"host\":\"edge-1\",\"pcap_filename\":\"x.pcap\",\"anomaly\":"
                     "{\"type\":\"capture\",\"event\":\"file_truncated\"},\"wind\":{\"text\":"
                     "\"the file ends in the middle of packet 9\"}}\n");
}

/* The largest line there can be: every text full of bytes that need six characters. */
Test(eve, the_worst_alert_stays_below_the_limit)
{
    memset(&slot, 1, sizeof(slot));
    record_alert(&slot.alert, 0);
    struct alert_record *a = &slot.alert;
    a->n_reasons = ALERT_REASONS_MAX;
    a->n_entities = ALERT_ENTITIES_MAX;
    a->n_evidence = ALERT_EVIDENCE_MAX;
    memset(a->detector, 1, sizeof(*a) - offsetof(struct alert_record, detector));
    for (size_t i = 0; i < ALERT_EVIDENCE_MAX; i++)
        a->evidence[i] = a->key;

    const char *line = line_of(EVE_RING_ALERTS);
    cr_assert_lt(strlen(line), EVE_LINE_MAX);
    json_decref(parsed(line));
}

Test(eve, numbers_that_are_none_become_harmless)
{
    record_alert(&slot.alert, 0);
    slot.alert.score = NAN;
    slot.alert.p_value = INFINITY;
    slot.alert.reason[0].value = -INFINITY;
    slot.alert.reason[0].normal_n = 1;
    slot.alert.reason[0].normal = NAN;
    json_t *root = parsed(line_of(EVE_RING_ALERTS));
    json_t *wind = json_object_get(root, "wind");

    cr_assert_eq(json_real_value(json_object_get(wind, "score")), 0.0);
    json_t *why = json_array_get(json_object_get(wind, "explain"), 0);
    cr_assert(json_is_null(json_object_get(why, "value")));
    cr_assert(json_is_null(json_object_get(why, "normal")));
    json_decref(root);
}

Test(eve, a_number_that_readers_cannot_hold_is_cut)
{
    record_flow(&slot.flow, 0);
    slot.flow.bytes[0] = UINT64_MAX;
    json_t *root = parsed(line_of(EVE_RING_FLOWS));

    cr_assert_eq(
        json_integer_value(json_object_get(json_object_get(root, "flow"), "bytes_toserver")),
        (1ll << 53) - 1);
    json_decref(root);
}

Test(eve, opened_and_so_far_make_no_line)
{
    struct eve_record record;

    record_flow(&slot.flow, 0);
    slot.header.kind = RECORD_FLOW_OPENED;
    cr_assert_eq(eve_take(&slot, sizeof(slot), EVE_RING_FLOWS, &record), EVE_NO_LINE);
    slot.header.kind = RECORD_FLOW_UPDATE;
    cr_assert_eq(eve_take(&slot, sizeof(slot), EVE_RING_FLOWS, &record), EVE_NO_LINE);
}

#define REFUSED(ring, spoil)                                                                       \
    do {                                                                                           \
        struct eve_record record_;                                                                 \
        if ((ring) == EVE_RING_FLOWS)                                                              \
            record_flow(&slot.flow, 0);                                                            \
        else                                                                                       \
            record_alert(&slot.alert, 0);                                                          \
        cr_assert_eq(eve_take(&slot, sizeof(slot), ring, &record_), 0);                            \
        spoil;                                                                                     \
        cr_assert_eq(eve_take(&slot, sizeof(slot), ring, &record_), -EBADMSG, #spoil);             \
    } while (0)

Test(eve, what_makes_no_sense_is_refused)
{
    REFUSED(EVE_RING_FLOWS, slot.header.version++);
    REFUSED(EVE_RING_FLOWS, slot.header.kind = RECORD_ALERT);
    REFUSED(EVE_RING_FLOWS, slot.header.kind = RECORD_KINDS);
    REFUSED(EVE_RING_FLOWS, slot.header.len = 64);
    REFUSED(EVE_RING_FLOWS, slot.header.len = sizeof(slot) + 1);
    REFUSED(EVE_RING_FLOWS, slot.flow.n_features = RECORD_FEATURES_MAX);
    REFUSED(EVE_RING_FLOWS, slot.flow.n_features = UINT16_MAX);
    REFUSED(EVE_RING_FLOWS, slot.flow.state = FLOW_STATES);
    REFUSED(EVE_RING_FLOWS, slot.flow.end = FLOW_ENDS);
    REFUSED(EVE_RING_FLOWS, slot.flow.conn_state = CONN_STATES);
    REFUSED(EVE_RING_FLOWS, slot.flow.analysis_level = 3);
    REFUSED(EVE_RING_FLOWS, slot.flow.key.ip_version = 0);
    REFUSED(EVE_RING_FLOWS, slot.flow.flow_id = 1ull << 53);
    REFUSED(EVE_RING_ALERTS, slot.header.kind = RECORD_FLOW_ENDED);
    REFUSED(EVE_RING_ALERTS, slot.alert.severity = 0);
    REFUSED(EVE_RING_ALERTS, slot.alert.severity = 5);
    REFUSED(EVE_RING_ALERTS, slot.alert.n_reasons = ALERT_REASONS_MAX + 1);
    REFUSED(EVE_RING_ALERTS, slot.alert.n_entities = ALERT_ENTITIES_MAX + 1);
    REFUSED(EVE_RING_ALERTS, slot.alert.n_evidence = ALERT_EVIDENCE_MAX + 1);
    REFUSED(EVE_RING_ALERTS, slot.alert.evidence[0].ip_version = 9);
    REFUSED(EVE_RING_ALERTS, slot.alert.rev = 0);
    REFUSED(EVE_RING_ALERTS, slot.alert.detector[0] = '\0');
}

Test(eve, stats_have_every_counter_once_and_a_replay_no_luck)
{
    static char text[EVE_LINE_MAX];
    struct buf out = BUF_FIXED(text);
    WIND_AUTO(counters) struct counters *c = NULL;

    cr_assert_eq(counters_new(&c, NULL), 0);
    for (size_t i = 0; i < COUNTERS; i++)
        counters_set(c, (enum counter)i, i + 1000);
    struct eve_stats st = {.counters = c, .time_ns = RECORDS_START_NS, .uptime_s = 7};

    eve_stats_line(&out, &source, &st);
    json_t *root = parsed(buf_text(&out)); /* a group that came twice would be a duplicate */
    json_t *stats = json_object_get(root, "stats");
    for (size_t i = 0; i < COUNTERS; i++) {
        json_t *group = json_object_get(stats, counter_info[i].group);
        cr_assert_eq(json_integer_value(json_object_get(group, counter_info[i].name)),
                     (json_int_t)i + 1000);
    }
    cr_assert_eq(json_integer_value(json_object_get(stats, "uptime")), 7);
    json_decref(root);

    buf_reset(&out);
    st.is_replay = true;
    eve_stats_object(&out, &st);
    stats = parsed(buf_text(&out));
    cr_assert(json_object_get(stats, "uptime") == NULL);
    cr_assert(json_object_get(json_object_get(stats, "uplink"), "requests") == NULL);
    cr_assert(json_object_get(json_object_get(stats, "uplink"), "lines") != NULL);
    json_decref(stats);
}
