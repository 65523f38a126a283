/*
 * summary.h - what a person wants to know after a run: the alerts, and a line of totals.
 *
 * Why      `wind-sensor -r FILE` is an answer by itself, without jq.
 * Owns     Nothing. Reads the eve.json that the run wrote.
 * Threads  The supervisor, after all other processes have ended.
 * Bounds   SUMMARY_ALERTS alerts are shown, the worst first; the rest is counted,
 *          up to 4096 in all.
 */
#pragma once

#include <stdio.h>

#include "sensor/counter.h"
#include "sensor/sensor_conf.h"

#define SUMMARY_ALERTS 20

void summary_print(FILE *to, const struct sensor_args *args, const struct counters *counters);
