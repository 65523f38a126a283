/*
 * uplink_setup.h - what the uplink has to know, out of the sensor's configuration.
 *
 * Why      The supervisor reads keys and passwords once, before anybody gives up a right; the
 *          uplink gets them with everything else.
 * Owns     Nothing.
 * Threads  The supervisor's only one, before the first fork.
 * Bounds   Those of struct uplink_conf; a path that does not fit is an error.
 */
#pragma once

#include "sensor/sensor_conf.h"
#include "sensor/uplink.h"

/*
 * From here on a secret is in memory: no core dump, no look from outside. *ret_kafka: the caller's,
 * borrowed by ret_conf; NULL without Kafka, and on failure it may be set, too.
 */
WIND_MUST_USE int uplink_setup(const struct sensor_conf *c, const struct sensor_args *args,
                               struct uplink_conf *ret_conf, rd_kafka_conf_t **ret_kafka,
                               struct err *e);
