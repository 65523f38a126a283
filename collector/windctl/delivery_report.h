/*
 * delivery_report.h - does what a sensor finds get through? As its last heartbeat counts.
 *
 * Why      What is lost on the way is counted over there, and missed by nobody here.
 * Owns     Nothing.
 * Threads  Any: there is no state.
 */
#pragma once

#include <jansson.h>

struct delivery_report {
    char text[320]; /* "3 alerts were lost ...; ...", "" = nothing to find fault with */
    const char *fix;
};

/* `stats` as in /api/sensors/; anything may be missing or of another kind. */
void delivery_report_make(const json_t *stats, struct delivery_report *ret_report);
