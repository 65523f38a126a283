#include "collector/openapi.h"

#include <criterion/criterion.h>
#include <string.h>

#include "collector/routes.h"

/* Every "$ref" of the document points at a schema that is there. */
/* NOLINTNEXTLINE(misc-no-recursion): as deep as the document */
static void check_references(json_t *document, json_t *v)
{
    const char *key;
    json_t *item;
    size_t i;

    json_array_foreach(v, i, item) check_references(document, item);
    json_object_foreach(v, key, item)
    {
        const char *ref = json_string_value(item);
        if (strcmp(key, "$ref") == 0 && ref != NULL) {
            json_t *schemas = json_object_get(json_object_get(document, "components"), "schemas");
            cr_assert_eq(strncmp(ref, "#/components/schemas/", 21), 0);
            cr_assert_not_null(json_object_get(schemas, ref + 21), "%s", ref);
        }
        check_references(document, item);
    }
}

Test(openapi, every_route_is_in_it_and_every_reference_leads_somewhere)
{
    json_t *document = openapi_document(all_routes);
    json_t *paths = json_object_get(document, "paths");
    size_t routes = 0, operations = 0;
    const char *key;
    json_t *item;

    cr_assert_not_null(document);
    for (const struct route *const *t = all_routes; *t != NULL; t++)
        for (const struct route *r = *t; r->method != NULL; r++)
            routes += (r->flags & ROUTE_HIDDEN) == 0;
    json_object_foreach(paths, key, item) operations += json_object_size(item);
    cr_assert_eq(routes, operations);
    check_references(document, document);
    json_decref(document);
}

Test(openapi, routes_are_well_formed)
{
    for (const struct route *const *t = all_routes; *t != NULL; t++) {
        for (const struct route *r = *t; r->method != NULL; r++) {
            cr_assert_not_null(r->handler, "%s", r->pattern);
            cr_assert_not_null(r->summary, "%s", r->pattern);
            cr_assert_eq(r->pattern[0], '/');
            cr_assert(r->need < PERMISSIONS);
            cr_assert(r->body == NULL || strcmp(r->method, "GET") != 0, "%s", r->pattern);
        }
    }
}

Test(openapi, what_anybody_may_call_is_this_and_no_more)
{
    static const char *const open[] = {
        "/api/auth/token",   "/api/auth/refresh", "/api/auth/register",
        "/api/openapi.json", "/api/ws",           "/metrics",
        "/healthz",          "/readyz",           NULL,
    };
    for (const struct route *const *t = all_routes; *t != NULL; t++)
        for (const struct route *r = *t; r->method != NULL; r++)
            if (r->need == PERMISSION_NONE)
                cr_assert_geq(word_find(open, r->pattern), 0, "%s needs no permission", r->pattern);
}

Test(openapi, roles_build_on_one_another)
{
    cr_assert_eq(role_permissions(ROLE_VIEWER) & ~role_permissions(ROLE_ANALYST), 0);
    cr_assert_eq(role_permissions(ROLE_ANALYST) & ~role_permissions(ROLE_ADMIN), 0);
    for (int p = PERMISSION_SELF + 1; p < PERMISSIONS; p++) {
        const bool is_write = strstr(permission_name((enum permission)p), "write") != NULL;
        if (is_write || p == PERMISSION_INGEST)
            cr_assert_eq(role_permissions(ROLE_VIEWER) & (1U << p), 0);
    }
    cr_assert_eq(role_permissions(ROLE_ADMIN) & (1U << PERMISSION_INGEST), 0);
}
