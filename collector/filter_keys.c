#include "collector/filter_keys.h"

#include "collector/store.h"

/* All of entity_kind_words: the index begins with the kind. */
#define ENTITY_KINDS "en.kind IN ('host', 'user', 'domain', 'service', 'file', 'asn')"

#define ALERT_ENTITIES    "alert_entities ae JOIN entities en ON en.id = ae.entity_id"
#define INCIDENT_ENTITIES "incident_entities ie JOIN entities en ON en.id = ie.entity_id"

static const struct filter_select alert_uid = {"alert_id", "alert_uids", NULL},
                                  alert_host = {"ae.alert_id", ALERT_ENTITIES, NULL},
                                  alert_attacker = {"ae.alert_id", ALERT_ENTITIES,
                                                    "ae.role = 'attacker'"},
                                  alert_victim = {"ae.alert_id", ALERT_ENTITIES,
                                                  "ae.role = 'victim'"},
                                  alert_entity = {"ae.alert_id", ALERT_ENTITIES, ENTITY_KINDS},
                                  alert_tag = {"object_id", "tags", "topic = 'alerts'"},
                                  incident_host = {"ie.incident_id", INCIDENT_ENTITIES, NULL},
                                  incident_attacker = {"ie.incident_id", INCIDENT_ENTITIES,
                                                       "ie.role = 'attacker'"},
                                  incident_victim = {"ie.incident_id", INCIDENT_ENTITIES,
                                                     "ie.role = 'victim'"},
                                  incident_tag = {"object_id", "tags", "topic = 'incidents'"};

/* clang-format off */
static const struct filter_key alert_keys[] = {
    {"id",       FILTER_INT,      "a.id # ?",                 "wind.id",             NULL, NULL, true, NULL},
    {"uid",      FILTER_UID,      "uid = ?",                  "event.id",            NULL, NULL, true, &alert_uid},
    {"incident", FILTER_INT,      "a.incident_id # ?",        "wind.incident",       NULL, "a.incident_id IS NULL", true, NULL},
    {"status",   FILTER_WORD,     "a.status = ?",             "wind.status",         alert_status_words, NULL, true, NULL},
    {"verdict",  FILTER_WORD,     "a.verdict = ?",            "wind.verdict",        verdict_words, "a.verdict IS NULL", true, NULL},
    {"assigned", FILTER_TEXT,     "a.assigned_to = ?",        "wind.assigned_to",    NULL, "a.assigned_to IS NULL", true, NULL},
    {"severity", FILTER_SEVERITY, "a.severity # ?",           "event.severity",      NULL, NULL, true, NULL},
    {"type",     FILTER_TEXT,     "a.type = ?",               "wind.type",           NULL, NULL, false, NULL},
    {"source",   FILTER_TEXT,     "a.source = ?",             "observer.name",       NULL, NULL, false, NULL},
    {"proto",    FILTER_LOWER,    "lower(a.proto) = ?",       "network.transport",   NULL, "a.proto IS NULL", false, NULL},
    {"port",     FILTER_INT,      "a.dst_port # ?",           "destination.port",    NULL, "a.dst_port IS NULL", false, NULL},
    {"score",    FILTER_REAL,     "a.score # ?",              "wind.score",          NULL, "a.score IS NULL", false, NULL},
    {"time",     FILTER_TIME,     "a.detected_at # ?",        "wind.time",           NULL, NULL, true, NULL},
    {"created",  FILTER_TIME,     "a.created_at # ?",         "wind.created",        NULL, NULL, true, NULL},
    {"src",      FILTER_NET,      "a.src BETWEEN ? AND ?",    "source.ip",           NULL, "a.src IS NULL", true, NULL},
    {"dst",      FILTER_NET,      "a.dst BETWEEN ? AND ?",    "destination.ip",      NULL, "a.dst IS NULL", true, NULL},
    {"host",     FILTER_NET,      "en.addr BETWEEN ? AND ?",  "related.ip",          NULL, NULL, true, &alert_host},
    {"attacker", FILTER_NET,      "en.addr BETWEEN ? AND ?",  "wind.attacker.ip",    NULL, NULL, true, &alert_attacker},
    {"victim",   FILTER_NET,      "en.addr BETWEEN ? AND ?",  "wind.victim.ip",      NULL, NULL, true, &alert_victim},
    {"entity",   FILTER_TEXT,     "en.value = ?",             "wind.entities",       NULL, NULL, true, &alert_entity},
    {"tag",      FILTER_TEXT,     "tag = ?",                  "tags",                NULL, "", true, &alert_tag},
    {.name = NULL},
};

static const struct filter_key incident_keys[] = {
    {"id",       FILTER_INT,      "i.id # ?",                 "wind.id",             NULL, NULL, true, NULL},
    {"uid",      FILTER_UID,      "i.uid = ?",                "event.id",            NULL, NULL, true, NULL},
    {"status",   FILTER_WORD,     "i.status = ?",             "wind.status",         incident_status_words, NULL, true, NULL},
    {"type",     FILTER_WORD,     "i.type = ?",               "wind.type",           incident_type_words, NULL, false, NULL},
    {"severity", FILTER_SEVERITY, "i.severity # ?",           "event.severity",      NULL, NULL, true, NULL},
    {"assigned", FILTER_TEXT,     "i.assigned_to = ?",        "wind.assigned_to",    NULL, "i.assigned_to IS NULL", false, NULL},
    {"alerts",   FILTER_INT,      "i.alert_count # ?",        "wind.alerts",         NULL, NULL, true, NULL},
    {"time",     FILTER_TIME,     "i.last_seen # ?",          "wind.time",           NULL, NULL, true, NULL},
    {"created",  FILTER_TIME,     "i.created_at # ?",         "wind.created",        NULL, NULL, true, NULL},
    {"updated",  FILTER_TIME,     "i.updated_at # ?",         "wind.updated",        NULL, NULL, true, NULL},
    {"host",     FILTER_NET,      "en.addr BETWEEN ? AND ?",  "related.ip",          NULL, NULL, true, &incident_host},
    {"src",      FILTER_NET,      "en.addr BETWEEN ? AND ?",  "wind.attacker.ip",    NULL, NULL, true, &incident_attacker},
    {"dst",      FILTER_NET,      "en.addr BETWEEN ? AND ?",  "wind.victim.ip",      NULL, NULL, true, &incident_victim},
    {"attacker", FILTER_NET,      "en.addr BETWEEN ? AND ?",  "wind.attacker.ip",    NULL, NULL, true, &incident_attacker},
    {"victim",   FILTER_NET,      "en.addr BETWEEN ? AND ?",  "wind.victim.ip",      NULL, NULL, true, &incident_victim},
    {"tag",      FILTER_TEXT,     "tag = ?",                  "tags",                NULL, "", true, &incident_tag},
    {.name = NULL},
};

static const struct filter_order alert_sorts[] = {
    {"id", "a.id", "wind.id", false},
    {"time", "a.detected_at", "wind.time", false},
    {"severity", "a.severity", "event.severity", false},
    {"score", "coalesce(a.score, -1)", "wind.score", true},
    {"created", "a.created_at", "wind.created", false},
    {"updated", "a.updated_at", "wind.updated", false},
    {.name = NULL},
};

static const struct filter_order incident_sorts[] = {
    {"id", "i.id", "wind.id", false},
    {"time", "i.last_seen", "wind.time", false},
    {"severity", "i.severity", "event.severity", false},
    {"alerts", "i.alert_count", "wind.alerts", false},
    {"created", "i.created_at", "wind.created", false},
    {"updated", "i.updated_at", "wind.updated", false},
    {.name = NULL},
};

const struct filter_keys filter_keys[] = {
    [FILTER_ALERTS] = {"alerts a", "a.id", alert_keys, alert_sorts, "alert_text"},
    [FILTER_INCIDENTS] = {"incidents i", "i.id", incident_keys, incident_sorts, "incident_text"},
};
/* clang-format on */
