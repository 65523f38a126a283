/*
 * supervisor.h - opens what needs privilege, starts analyser and uplink, and starts them again.
 *
 * Why      The two that meet hostile bytes and the network can die; somebody small must not.
 * Owns     Rings, counters, uplink state: shared memory made before the first fork.
 * Threads  One. Parses nothing.
 * Bounds   An analyser or uplink that dies SUPERVISOR_CRASHES_MAX times without getting on ends
 *          the run with a sentence.
 *
 *     start both -> analyser ends (input over) -> uplink drains and ends -> done
 *     killed: count what it held, start it again      SIGTERM, SIGINT: finish what is in hand
 */
#pragma once

#include "sensor/counter.h"
#include "sensor/sensor_conf.h"

#define SUPERVISOR_CRASHES_MAX 5

#define SUPERVISOR_UNDELIVERED 1 /* all is written, but alerts are left in the spool */

/* Run the sensor to its end. Returns 0, SUPERVISOR_UNDELIVERED, or negative with a sentence. */
WIND_MUST_USE int supervisor_run(const struct sensor_conf *conf, const struct sensor_args *args,
                                 struct counters *counters, struct err *e);
