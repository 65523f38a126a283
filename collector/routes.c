#include "collector/routes.h"

const struct route *const all_routes[] = {
    auth_routes,      /* api_auth.c */
    users_routes,     /* api_users.c */
    keys_routes,      /* api_keys.c */
    meta_routes,      /* api_meta.c */
    alerts_routes,    /* api_alerts.c */
    incidents_routes, /* api_incidents.c */
    ingest_routes,    /* api_ingest.c */
    search_routes,    /* api_search.c */
    sensors_routes,   /* api_sensors.c */
    stats_routes,     /* api_stats.c */
    NULL,
};
