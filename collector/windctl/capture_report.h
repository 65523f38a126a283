/*
 * capture_report.h - does a sensor see what is on the wire? As its last heartbeat counts.
 *
 * Why      A mirror port that is set wrong makes no error: only shares that should not be.
 * Owns     Nothing.
 * Threads  Any: there is no state.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

struct capture_report {
    char text[320]; /* "50 % of its packets come twice; ...", "" = nothing to find fault with */
    const char *fix;
    bool is_alone; /* it sees packets of its own machine, and none between others */
};

/* `stats` as in /api/sensors/; anything may be missing or of another kind. */
void capture_report_make(const json_t *stats, struct capture_report *ret_report);
