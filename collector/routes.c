#include "collector/routes.h"

const struct route *const all_routes[] = {
    auth_routes,  /* api_auth.c */
    users_routes, /* api_users.c */
    keys_routes,  /* api_keys.c */
    meta_routes,  /* api_meta.c */
    NULL,
};
