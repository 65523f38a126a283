/*
 * reload.h - settings that change while the sensor runs.
 *
 * Why      An operator edits the file and sends HUP: nothing is lost, and a mistake changes
 * nothing. Owns     Nothing. Writes into the shared counters, which the workers look at once a
 * batch. Threads  The supervisor's only one. Bounds   flow.max and flow.memcap take effect at once,
 * up to what the sensor was started with; everything else at the next start, and that is said.
 */
#pragma once

#include "sensor/counter.h"
#include "sensor/sensor_conf.h"

/* Does HUP mean this? Live, from a file; else it is the terminal that was closed. */
bool reload_is_meant(const struct sensor_args *args);

/* `running` is what the sensor was started with, `counters` is of n workers. Says how it went. */
void reload(const struct sensor_args *args, const struct sensor_conf *running,
            struct counters *counters, unsigned n);
