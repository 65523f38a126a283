#include "collector/route.h"

#include <criterion/criterion.h>
#include <string.h>

static const struct route one[] = {
    {.method = "GET", .pattern = "/api/alerts/"},
    {.method = "POST", .pattern = "/api/alerts/"},
    {.method = "GET", .pattern = "/api/alerts/{alert_id}"},
    {.method = "PATCH", .pattern = "/api/alerts/{alert_id}"},
    {.method = NULL},
};
static const struct route two[] = {
    {.method = "GET", .pattern = "/api/sensors/{name:text}/keys/{id}"},
    {.method = NULL},
};
static const struct route *const tables[] = {one, two, NULL};

static int find(const char *method, const char *path, struct route_match *m)
{
    return route_find(tables, method, path, m);
}

Test(route, the_final_slash_does_not_matter)
{
    struct route_match m;

    cr_assert_eq(find("GET", "/api/alerts/", &m), 0);
    cr_assert_eq(m.route, &one[0]);
    cr_assert_eq(find("GET", "/api/alerts", &m), 0);
    cr_assert_eq(m.route, &one[0]);
    cr_assert_eq(find("GET", "/api/alerts/7", &m), 0);
    cr_assert_eq(find("GET", "/api/alerts/7/", &m), 0);
    cr_assert_eq(m.route, &one[2]);
    cr_assert_eq(m.params[0].id, 7);
}

Test(route, two_slashes_are_another_path)
{
    struct route_match m;

    cr_assert_eq(find("GET", "/api/alerts//", &m), ROUTE_BAD_PARAM);
    cr_assert_eq(find("GET", "//api/alerts", &m), ROUTE_NO_PATH);
    cr_assert_eq(find("GET", "/api//alerts", &m), ROUTE_NO_PATH);
    cr_assert_eq(find("GET", "", &m), ROUTE_NO_PATH);
    cr_assert_eq(find("GET", "/", &m), ROUTE_NO_PATH);
    cr_assert_eq(find("GET", "/api/alerts/7/8", &m), ROUTE_NO_PATH);
}

Test(route, an_id_is_a_positive_integer)
{
    static const char *const bad[] = {"x",  "0", "-1", "1x", "+1", " 1", "1234567890123456789",
                                      "1.0"};
    struct route_match m;
    char path[80];

    for (size_t i = 0; i < WIND_ARRAY_SIZE(bad); i++) {
        (void)snprintf(path, sizeof(path), "/api/alerts/%s", bad[i]);
        cr_assert_eq(find("GET", path, &m), ROUTE_BAD_PARAM, "%s", path);
        cr_assert_eq(m.n_params, 1);
    }
    cr_assert_eq(find("GET", "/api/alerts/999999999999999999", &m), 0);
    cr_assert_eq(m.params[0].id, 999999999999999999);
}

Test(route, another_method_names_those_there_are)
{
    struct route_match m;

    cr_assert_eq(find("DELETE", "/api/alerts/7", &m), ROUTE_NO_METHOD);
    cr_assert_str_eq(m.allow, "GET, PATCH");
    cr_assert_null(m.route);
}

Test(route, head_is_answered_by_get)
{
    struct route_match m;

    cr_assert_eq(find("HEAD", "/api/alerts", &m), 0);
    cr_assert_eq(m.route, &one[0]);
}

Test(route, text_parameters_keep_their_name_and_limit)
{
    struct route_match m;
    char path[300] = "/api/sensors/";

    cr_assert_eq(find("GET", "/api/sensors/edge-1/keys/3", &m), 0);
    cr_assert_eq(m.n_params, 2);
    cr_assert_str_eq(m.params[0].text, "edge-1");
    cr_assert(m.params[0].name_len == 4 && memcmp(m.params[0].name, "name", 4) == 0);
    cr_assert_eq(m.params[1].id, 3);

    memset(path + 13, 'a', 200);
    memcpy(path + 213, "/keys/3", 8);
    cr_assert_eq(find("GET", path, &m), ROUTE_BAD_PARAM);
}
