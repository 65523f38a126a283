/*
 * openapi.h - the API's description, made from the tables that the router and the checks use.
 *
 * Why      A document that is written by hand is wrong soon.
 * Owns     Nothing.
 * Threads  Any.
 */
#pragma once

#include "collector/http.h"

/* An OpenAPI 3.1 document (new reference); NULL without memory. */
json_t *openapi_document(const struct route *const *tables);
