#include "collector/filter_keys.h"

#include "collector/store.h"

#define ALERT_HOST                                                                                 \
    "a.id IN (SELECT ae.alert_id FROM alert_entities ae JOIN entities en ON en.id = ae.entity_id " \
    "WHERE en.addr BETWEEN ? AND ?"
#define INCIDENT_HOST                                                                              \
    "i.id IN (SELECT ie.incident_id FROM incident_entities ie JOIN entities en "                   \
    "ON en.id = ie.entity_id WHERE en.addr BETWEEN ? AND ?"

/* All of entity_kind_words: the index begins with the kind. */
#define ENTITY_KINDS "'host', 'user', 'domain', 'service', 'file', 'asn'"

/* clang-format off */
static const struct filter_key alert_keys[] = {
    {"id",       FILTER_INT,      "a.id # ?",                 "wind.id",             NULL, NULL},
    {"uid",      FILTER_UID,      "a.id IN (SELECT alert_id FROM alert_uids WHERE uid = ?)", "event.id",            NULL, NULL},
    {"incident", FILTER_INT,      "a.incident_id # ?",        "wind.incident",       NULL, "a.incident_id IS NULL"},
    {"status",   FILTER_WORD,     "a.status = ?",             "wind.status",         alert_status_words, NULL},
    {"verdict",  FILTER_WORD,     "a.verdict = ?",            "wind.verdict",        verdict_words, "a.verdict IS NULL"},
    {"assigned", FILTER_TEXT,     "a.assigned_to = ?",        "wind.assigned_to",    NULL, "a.assigned_to IS NULL"},
    {"severity", FILTER_SEVERITY, "a.severity # ?",           "event.severity",      NULL, NULL},
    {"type",     FILTER_TEXT,     "a.type = ?",               "wind.type",           NULL, NULL},
    {"source",   FILTER_TEXT,     "a.source = ?",             "observer.name",       NULL, NULL},
    {"proto",    FILTER_LOWER,    "lower(a.proto) = ?",       "network.transport",   NULL, "a.proto IS NULL"},
    {"port",     FILTER_INT,      "a.dst_port # ?",           "destination.port",    NULL, "a.dst_port IS NULL"},
    {"score",    FILTER_REAL,     "a.score # ?",              "wind.score",          NULL, "a.score IS NULL"},
    {"time",     FILTER_TIME,     "a.detected_at # ?",        "wind.time",           NULL, NULL},
    {"created",  FILTER_TIME,     "a.created_at # ?",         "wind.created",        NULL, NULL},
    {"src",      FILTER_NET,      "a.src BETWEEN ? AND ?",    "source.ip",           NULL, "a.src IS NULL"},
    {"dst",      FILTER_NET,      "a.dst BETWEEN ? AND ?",    "destination.ip",      NULL, "a.dst IS NULL"},
    {"host",     FILTER_NET,      ALERT_HOST ")",             "related.ip",          NULL, NULL},
    {"attacker", FILTER_NET,      ALERT_HOST " AND ae.role = 'attacker')", "wind.attacker.ip",    NULL, NULL},
    {"victim",   FILTER_NET,      ALERT_HOST " AND ae.role = 'victim')", "wind.victim.ip",      NULL, NULL},
    {"entity",   FILTER_TEXT,     "a.id IN (SELECT ae.alert_id FROM alert_entities ae JOIN entities en "
                                "ON en.id = ae.entity_id WHERE en.kind IN (" ENTITY_KINDS ") AND en.value = ?)", "wind.entities", NULL, NULL},
    {"tag",      FILTER_TEXT,     "a.id IN (SELECT object_id FROM tags WHERE topic = 'alerts' "
                                "AND tag = ?)", "tags", NULL,
                                "a.id NOT IN (SELECT object_id FROM tags WHERE topic = 'alerts')"},
    {.name = NULL},
};

static const struct filter_key incident_keys[] = {
    {"id",       FILTER_INT,      "i.id # ?",                 "wind.id",             NULL, NULL},
    {"uid",      FILTER_UID,      "i.uid = ?",                "event.id",            NULL, NULL},
    {"status",   FILTER_WORD,     "i.status = ?",             "wind.status",         incident_status_words, NULL},
    {"type",     FILTER_WORD,     "i.type = ?",               "wind.type",           incident_type_words, NULL},
    {"severity", FILTER_SEVERITY, "i.severity # ?",           "event.severity",      NULL, NULL},
    {"assigned", FILTER_TEXT,     "i.assigned_to = ?",        "wind.assigned_to",    NULL, "i.assigned_to IS NULL"},
    {"alerts",   FILTER_INT,      "i.alert_count # ?",        "wind.alerts",         NULL, NULL},
    {"time",     FILTER_TIME,     "i.last_seen # ?",          "wind.time",           NULL, NULL},
    {"created",  FILTER_TIME,     "i.created_at # ?",         "wind.created",        NULL, NULL},
    {"updated",  FILTER_TIME,     "i.updated_at # ?",         "wind.updated",        NULL, NULL},
    {"host",     FILTER_NET,      INCIDENT_HOST ")",          "related.ip",          NULL, NULL},
    {"src",      FILTER_NET,      INCIDENT_HOST " AND ie.role = 'attacker')", "wind.attacker.ip",    NULL, NULL},
    {"dst",      FILTER_NET,      INCIDENT_HOST " AND ie.role = 'victim')", "wind.victim.ip",      NULL, NULL},
    {"attacker", FILTER_NET,      INCIDENT_HOST " AND ie.role = 'attacker')", "wind.attacker.ip",    NULL, NULL},
    {"victim",   FILTER_NET,      INCIDENT_HOST " AND ie.role = 'victim')", "wind.victim.ip",      NULL, NULL},
    {"tag",      FILTER_TEXT,     "i.id IN (SELECT object_id FROM tags WHERE topic = 'incidents' "
                                "AND tag = ?)", "tags", NULL,
                                "i.id NOT IN (SELECT object_id FROM tags WHERE topic = 'incidents')"},
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
