/*
 * flow_doc.h - a flow, as a sensor sends it, as a document of a search server.
 *
 * Why      Names are ECS, so that dashboards made for network flows find what they look for; the
 *          record as it came, features and all, is in event.original, for training.
 * Owns     The compiled scanner.
 * Threads  Any, once it is made.
 * Bounds   A flow of BUS_VALUE_MAX bytes.
 */
#pragma once

#include <jansson.h>

#include "common/err.h"
#include "common/jsonw.h"

struct flow_doc;

WIND_MUST_USE int flow_doc_new(struct flow_doc **ret_doc, struct err *e);
struct flow_doc *flow_doc_free(struct flow_doc *d);
WIND_DEFINE_FREE(flow_doc)

/*
 * `text` is a flow as EVE JSON, `sensor` who sent it (NULL: nobody knows). One JSON object is
 * written, or nothing: -EINVAL with a sentence, it is no flow.
 */
WIND_MUST_USE int flow_doc_put(const struct flow_doc *d, struct jsonw *j, const char *text,
                               size_t len, const char *sensor, struct err *e);

/* "mappings" of the index template; new reference, NULL: no memory. */
json_t *flow_doc_mapping(void);
