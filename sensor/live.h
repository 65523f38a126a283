/*
 * live.h - the interfaces that the settings name: opened, looked at, and said to people.
 *
 * Why      The supervisor starts and ends processes; what is odd about a card is no concern of its.
 * Owns     Nothing.
 * Threads  The supervisor's; before the analyser is started.
 */
#pragma once

#include "sensor/capture.h"
#include "sensor/counter.h"
#include "sensor/sensor_conf.h"

/* A handle on all of them. `fanout`: capture.h. */
WIND_MUST_USE int live_open(const struct sensor_conf *conf, struct capture_group *fanout,
                            struct capture **ret_capture, struct err *e);

/*
 * Warn of what makes them show something else than the wire, with the command that mends it; count
 * it as span.offloads. Returns the largest frame of any of them, 0 = unknown.
 */
uint32_t live_look(const struct sensor_conf *conf, struct counters *counters);

/* "listening on 'eth0', 'eth1' by AF_PACKET" */
void live_describe(const struct sensor_conf *conf, const char *backend, char *out, size_t size);
