/*
 * input.h - opens what -r names: a capture file, a pipe, or a folder of captures.
 *
 * Why      The supervisor opens, the analyser reads.
 * Owns     Nothing.
 * Threads  The supervisor's.
 */
#pragma once

#include "sensor/capture.h"
#include "sensor/folder.h"
#include "sensor/sensor_conf.h"

/* *ret_folder stays NULL when `args->pcap` is none; what it is then, input_open finds out. */
WIND_MUST_USE int input_folder(struct folder **ret_folder, const struct sensor_conf *conf,
                               const struct sensor_args *args, unsigned readers,
                               struct counters *counters, struct err *e);

/*
 * A handle for reader `reader`, which goes on behind the `received` packets that its predecessors
 * took. -ESPIPE: a pipe can't be read again.
 */
WIND_MUST_USE int input_open(struct capture **ret_capture, const struct sensor_args *args,
                             struct folder *folder, unsigned reader, uint64_t received,
                             struct err *e);

/* "/data/captures/" -> "captures" */
void input_name(const char *path, char *to, size_t size);
