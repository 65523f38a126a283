/*
 * train_rows.h - rows out of any input: a file of rows, or a capture by way of wind-sensor.
 *
 * Why      Training must see exactly what the sensor would: so the sensor makes the rows, as a
 *          child, and wind-train never reads a packet.
 * Owns     A temporary file while the child's rows are read.
 * Threads  One.
 */
#pragma once

#include "models/dataset.h"

/* `sensor`: path of wind-sensor; NULL: beside the running program. Labels as dataset_read. */
WIND_MUST_USE int train_rows_read(struct dataset *d, const char *path, const char *label,
                                  const char *sensor, struct err *e);
