/*
 * routes.h - every resource of the API in one list.
 *
 * Why      Adding a resource is one line here; router, permissions, metrics and openapi.json
 *          all read this list.
 * Owns     Nothing: tables are static.
 * Threads  Any.
 */
#pragma once

#include "collector/http.h"

/* Each ends with a row whose method is NULL. */
extern const struct route auth_routes[];
extern const struct route users_routes[];
extern const struct route keys_routes[];
extern const struct route meta_routes[];
extern const struct route alerts_routes[];
extern const struct route incidents_routes[];
extern const struct route ingest_routes[];
extern const struct route search_routes[];
extern const struct route sensors_routes[];
extern const struct route stats_routes[];

/* All tables above; ends with NULL. */
extern const struct route *const all_routes[];
