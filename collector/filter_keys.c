#include "collector/filter_keys.h"

#include "collector/store.h"

/* All of entity_kind_words: the index begins with the kind. */
#define ENTITY_KINDS "en.kind IN ('host', 'user', 'domain', 'service', 'file', 'asn')"

#define ALERT_ENTITIES    "alert_entities ae JOIN entities en ON en.id = ae.entity_id"
#define INCIDENT_ENTITIES "incident_entities ie JOIN entities en ON en.id = ie.entity_id"

/* All of entity_role_words: they stand between entity and alert in the index. */
#define ANY_ROLE "ae.role IN ('attacker', 'victim', 'related')"

#define ENTITY "SELECT en.id FROM entities en WHERE "
#define ALERTS_AS(role, roles)                                                                     \
    {                                                                                              \
        "ae.alert_id", ALERT_ENTITIES, "ae.role = '" role "'", ENTITY, roles                       \
    }
#define INCIDENTS_AS(role)                                                                         \
    {                                                                                              \
        "ie.incident_id", INCIDENT_ENTITIES, "ie.role = '" role "'", NULL, NULL                    \
    }

static const char *const attackers[] = {"attacker", NULL}, *const victims[] = {"victim", NULL};

static const struct filter_select
    alert_uid = {"alert_id", "alert_uids", NULL, NULL, NULL},
    alert_host = {"ae.alert_id", ALERT_ENTITIES, ANY_ROLE, ENTITY, entity_role_words},
    alert_attacker = ALERTS_AS("attacker", attackers), alert_victim = ALERTS_AS("victim", victims),
    alert_entity = {"ae.alert_id", ALERT_ENTITIES, ENTITY_KINDS " AND " ANY_ROLE,
                    ENTITY ENTITY_KINDS " AND ", entity_role_words},
    alert_tag = {"object_id", "tags", "topic = 'alerts'", NULL, NULL},
    incident_host = {"ie.incident_id", INCIDENT_ENTITIES, NULL, NULL, NULL},
    incident_attacker = INCIDENTS_AS("attacker"), incident_victim = INCIDENTS_AS("victim"),
    incident_tag = {"object_id", "tags", "topic = 'incidents'", NULL, NULL};

#define NONE FILTER_NO_INDEX
#define SOME FILTER_INDEX
#define IDS  FILTER_INDEX_IDS

/* clang-format off */
static const struct filter_key alert_keys[] = {
    {"id",       FILTER_INT,      "a.id # ?",                 "wind.id",             NULL, NULL, IDS, NULL},
    {"uid",      FILTER_UID,      "uid = ?",                  "event.id",            NULL, NULL, SOME, &alert_uid},
    {"incident", FILTER_INT,      "a.incident_id # ?",        "wind.incident",       NULL, "a.incident_id IS NULL", IDS, NULL},
    {"status",   FILTER_WORD,     "a.status = ?",             "wind.status",         alert_status_words, NULL, IDS, NULL},
    {"verdict",  FILTER_WORD,     "a.verdict = ?",            "wind.verdict",        verdict_words, "a.verdict IS NULL", IDS, NULL},
    {"assigned", FILTER_TEXT,     "a.assigned_to = ?",        "wind.assigned_to",    NULL, "a.assigned_to IS NULL", IDS, NULL},
    {"severity", FILTER_SEVERITY, "a.severity # ?",           "event.severity",      NULL, NULL, IDS, NULL},
    {"type",     FILTER_TEXT,     "a.type = ?",               "wind.type",           NULL, NULL, NONE, NULL},
    {"source",   FILTER_TEXT,     "a.source = ?",             "observer.name",       NULL, NULL, NONE, NULL},
    {"proto",    FILTER_LOWER,    "lower(a.proto) = ?",       "network.transport",   NULL, "a.proto IS NULL", NONE, NULL},
    {"port",     FILTER_INT,      "a.dst_port # ?",           "destination.port",    NULL, "a.dst_port IS NULL", NONE, NULL},
    {"score",    FILTER_REAL,     "a.score # ?",              "wind.score",          NULL, "a.score IS NULL", NONE, NULL},
    {"time",     FILTER_TIME,     "a.detected_at # ?",        "wind.time",           NULL, NULL, SOME, NULL},
    {"created",  FILTER_TIME,     "a.created_at # ?",         "wind.created",        NULL, NULL, IDS, NULL},
    {"src",      FILTER_NET,      "a.src BETWEEN ? AND ?",    "source.ip",           NULL, "a.src IS NULL", IDS, NULL},
    {"dst",      FILTER_NET,      "a.dst BETWEEN ? AND ?",    "destination.ip",      NULL, "a.dst IS NULL", IDS, NULL},
    {"host",     FILTER_NET,      "en.addr BETWEEN ? AND ?",  "related.ip",          NULL, NULL, IDS, &alert_host},
    {"attacker", FILTER_NET,      "en.addr BETWEEN ? AND ?",  "wind.attacker.ip",    NULL, NULL, IDS, &alert_attacker},
    {"victim",   FILTER_NET,      "en.addr BETWEEN ? AND ?",  "wind.victim.ip",      NULL, NULL, IDS, &alert_victim},
    {"entity",   FILTER_TEXT,     "en.value = ?",             "wind.entities",       NULL, NULL, IDS, &alert_entity},
    {"tag",      FILTER_TEXT,     "tag = ?",                  "tags",                NULL, "", SOME, &alert_tag},
    {.name = NULL},
};

static const struct filter_key incident_keys[] = {
    {"id",       FILTER_INT,      "i.id # ?",                 "wind.id",             NULL, NULL, IDS, NULL},
    {"uid",      FILTER_UID,      "i.uid = ?",                "event.id",            NULL, NULL, IDS, NULL},
    {"status",   FILTER_WORD,     "i.status = ?",             "wind.status",         incident_status_words, NULL, SOME, NULL},
    {"type",     FILTER_WORD,     "i.type = ?",               "wind.type",           incident_type_words, NULL, NONE, NULL},
    {"severity", FILTER_SEVERITY, "i.severity # ?",           "event.severity",      NULL, NULL, IDS, NULL},
    {"assigned", FILTER_TEXT,     "i.assigned_to = ?",        "wind.assigned_to",    NULL, "i.assigned_to IS NULL", NONE, NULL},
    {"alerts",   FILTER_INT,      "i.alert_count # ?",        "wind.alerts",         NULL, NULL, IDS, NULL},
    {"time",     FILTER_TIME,     "i.last_seen # ?",          "wind.time",           NULL, NULL, IDS, NULL},
    {"created",  FILTER_TIME,     "i.created_at # ?",         "wind.created",        NULL, NULL, IDS, NULL},
    {"updated",  FILTER_TIME,     "i.updated_at # ?",         "wind.updated",        NULL, NULL, IDS, NULL},
    {"host",     FILTER_NET,      "en.addr BETWEEN ? AND ?",  "related.ip",          NULL, NULL, SOME, &incident_host},
    {"src",      FILTER_NET,      "en.addr BETWEEN ? AND ?",  "wind.attacker.ip",    NULL, NULL, SOME, &incident_attacker},
    {"dst",      FILTER_NET,      "en.addr BETWEEN ? AND ?",  "wind.victim.ip",      NULL, NULL, SOME, &incident_victim},
    {"attacker", FILTER_NET,      "en.addr BETWEEN ? AND ?",  "wind.attacker.ip",    NULL, NULL, SOME, &incident_attacker},
    {"victim",   FILTER_NET,      "en.addr BETWEEN ? AND ?",  "wind.victim.ip",      NULL, NULL, SOME, &incident_victim},
    {"tag",      FILTER_TEXT,     "tag = ?",                  "tags",                NULL, "", SOME, &incident_tag},
    {.name = NULL},
};

static const struct filter_order alert_sorts[] = {
    {"id", "a.id", "wind.id", false, true},
    {"time", "a.detected_at", "wind.time", false, true},
    {"severity", "a.severity", "event.severity", false, false},
    {"score", "coalesce(a.score, -1)", "wind.score", true, false},
    {"created", "a.created_at", "wind.created", false, true},
    {"updated", "a.updated_at", "wind.updated", false, false},
    {.name = NULL},
};

static const struct filter_order incident_sorts[] = {
    {"id", "i.id", "wind.id", false, true},
    {"time", "i.last_seen", "wind.time", false, false},
    {"severity", "i.severity", "event.severity", false, false},
    {"alerts", "i.alert_count", "wind.alerts", false, false},
    {"created", "i.created_at", "wind.created", false, true},
    {"updated", "i.updated_at", "wind.updated", false, false},
    {.name = NULL},
};

const struct filter_keys filter_keys[] = {
    [FILTER_ALERTS] = {"alerts a", "a.id", alert_keys, alert_sorts, "alert_text"},
    [FILTER_INCIDENTS] = {"incidents i", "i.id", incident_keys, incident_sorts, "incident_text"},
};
/* clang-format on */
