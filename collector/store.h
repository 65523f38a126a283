/*
 * store.h - what alerts and incidents share: their words, entities, tags, history.
 *
 * Why      One list for each vocabulary of the API, and one place that writes side tables.
 * Owns     Nothing: everything lives in the database, inside the caller's transaction.
 * Threads  Any, each with a transaction of its own.
 * Bounds   ENTITIES_MAX entities, TAGS_MAX tags an object; texts as named below, in bytes.
 *
 * Functions that look for one object return 0, STORE_ABSENT, or < 0.
 */
#pragma once

#include <jansson.h>

#include "collector/db.h"
#include "common/buf.h"
#include "common/jsonw.h"

#define STORE_ABSENT 1

/* An answer: 200 alerts, or an incident with all its comments, each as long as it may be. */
#define STORE_JSON_MAX ((size_t)64 << 20)

#define ENTITIES_MAX     32
#define ENTITY_VALUE_MAX 255
#define TAGS_MAX         32
#define TAG_MAX          64
#define TYPE_MAX         48
#define SOURCE_MAX       128
#define PERSON_MAX       64
#define TITLE_MAX        200
#define DESCRIPTION_MAX  4096
#define COMMENT_MAX      8192

/* NULL-ended; severity_words[0] is "low", which the database knows as 1. */
extern const char *const severity_words[];
extern const char *const alert_status_words[];
extern const char *const verdict_words[];
extern const char *const incident_status_words[];
extern const char *const incident_type_words[];
extern const char *const entity_kind_words[];
extern const char *const entity_role_words[];
#define ENTITY_RELATED 2 /* in entity_role_words: when nobody says more */

enum topic { TOPIC_ALERTS, TOPIC_INCIDENTS, TOPICS };
extern const char *const topic_words[]; /* "alerts", "incidents" */

/* What people set, and what ingest and correlation leave alone from then on. */
enum kept { KEPT_TITLE = 1, KEPT_TYPE = 2, KEPT_SEVERITY = 4, KEPT_TAGS = 8 };

struct entity {
    const char *kind, *value, *role; /* borrowed */
};

/* Index of a word, or -1. */
int store_word(const char *const *words, const char *word);

/* 1..4, or 0 when it is no severity. */
int store_severity(const char *word);

/* Find or make it. */
WIND_MUST_USE int store_entity(struct db_tx *tx, const struct entity *en, int64_t *ret_id,
                               struct err *e);

/* From indices of the words above; -EINVAL with a sentence if one is < 0 or `value` is NULL. */
WIND_MUST_USE int store_entity_words(int kind, int role, const char *value,
                                     struct entity *ret_entity, struct err *e);

/*
 * Read `list`, a JSON array of {kind, value, role}, into at most ENTITIES_MAX entities that
 * borrow from it. -EINVAL with a sentence.
 */
WIND_MUST_USE int store_entities_read(const json_t *list, struct entity *ret_entities,
                                      size_t *ret_n, struct err *e);

/* Every byte of a value may be an escape of six. */
#define STORE_ENTITIES_JSON ((size_t)ENTITIES_MAX * (6 * ENTITY_VALUE_MAX + 128))

/* Append them as the API shows them: [{kind, value, role}]. */
void store_entities_write(struct buf *b, const struct entity *entities, size_t n);

/* `list` replaces all tags; duplicates are one. -EINVAL: not 1..TAG_MAX bytes, or too many. */
WIND_MUST_USE int store_tags_set(struct db_tx *tx, enum topic t, int64_t id, const json_t *list,
                                 struct err *e);
/* "tags": [...] */
WIND_MUST_USE int store_show_tags(struct db_tx *tx, enum topic t, int64_t id, struct jsonw *j,
                                  struct err *e);

/* One change of one field by one person; `before` and `after` may be NULL. Equal: nothing. */
struct change {
    enum topic topic;
    int64_t id;
    const char *actor, *field, *before, *after;
};
WIND_MUST_USE int store_history(struct db_tx *tx, const struct change *c, struct err *e);

/* "history": all changes of an object, the oldest first: [{at, actor, field, before, after}]. */
WIND_MUST_USE int store_show_changes(struct db_tx *tx, enum topic t, int64_t id, struct jsonw *j,
                                     struct err *e);

/* A column in the API's form: text or null, time of nanoseconds or null, UUID, word. */
void store_show_text(struct jsonw *j, const char *key, struct db_stmt *s, int col);
void store_show_time(struct jsonw *j, const char *key, struct db_stmt *s, int col);
void store_show_uid(struct jsonw *j, const char *key, struct db_stmt *s, int col);
void store_show_severity(struct jsonw *j, const char *key, struct db_stmt *s, int col);

/* The same for what is asked seldom. */
json_t *store_json_text(const char *s);
json_t *store_json_time(int64_t ns);
json_t *store_json_time_at(struct db_stmt *s, int col); /* null for NULL */
json_t *store_json_severity(int64_t severity);
