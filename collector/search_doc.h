/*
 * search_doc.h - alerts and incidents as documents of a search server, and the query that reads
 * them.
 *
 * Why      Names are ECS (event.kind, source.ip, threat.technique.id, ...), so that dashboards
 *          and rules made for it find what they look for; what Wind alone has is under `wind`,
 *          and so is what the search grammar sorts and filters by.
 * Owns     Nothing.
 * Threads  Any.
 */
#pragma once

#include "collector/search_index.h"
#include "common/json_scan.h"
#include "common/jsonw.h"

#define SEARCH_MAPPING "1" /* raise it when fields or tokens change: the index is filled anew */

#define SEARCH_DOC_CREATED 1
#define SEARCH_DOC_UID     2

/* These rows, at least one, as search_doc_put reads them; created_at and uid are in these columns.
 */
WIND_MUST_USE int search_doc_query(struct db_tx *tx, enum topic t, const struct search_ids *ids,
                                   struct db_stmt **ret_stmt, struct err *e);

/* What search_doc_put reads an alert's metadata with. */
WIND_MUST_USE int search_doc_scan(struct json_scan **ret_metadata, struct err *e);

/* The row that `s` stands on as one JSON object. `tokens` is room for its words. */
void search_doc_put(struct jsonw *j, struct db_stmt *s, enum topic t,
                    const struct json_scan *metadata, struct buf *tokens);

/* Objects by dots: "source.ip". A list ends with a NULL name. */
struct search_field {
    const char *name, *type;
};
json_t *search_doc_properties(const struct search_field *list);

/* {"_meta": ..., "properties": ...} of the index template; new reference, NULL: no memory. */
json_t *search_doc_mapping(const char *generation);
