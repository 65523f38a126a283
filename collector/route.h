/*
 * route.h - which route answers a method and a path.
 *
 * Why      Matching is apart from the server, so that it is tested and fuzzed without sockets.
 * Owns     Nothing.
 * Threads  Any.
 * Bounds   HTTP_PARAMS_MAX parameters a pattern; a text parameter fits path_param.text.
 */
#pragma once

#include "collector/http.h"

#define ROUTE_NO_PATH   1
#define ROUTE_NO_METHOD 2 /* ret->allow names the methods there are */
#define ROUTE_BAD_PARAM 3 /* ret->params[n_params - 1] is not an id, or too long */

struct route_match {
    const struct route *route;
    struct path_param params[HTTP_PARAMS_MAX];
    size_t n_params;
    char allow[64];
};

/*
 * Find `path` (decoded, without query; with or without a final slash) in `tables`, a list of
 * route tables that ends with NULL. Returns 0 or an outcome above.
 */
int route_find(const struct route *const *tables, const char *method, const char *path,
               struct route_match *ret);
