/*
 * losses.h - the books of an analyser that died: what it had in hand is counted as lost.
 *
 * Why      The balances of counter.h hold through any crash.
 * Owns     Nothing.
 * Threads  The supervisor, when the dead one is reaped: nobody else writes its counters then.
 * Bounds   What sharing workers had taken and not looked at yet is counted at the end (crew.c):
 *          whose it was is known when all others are past it.
 */
#pragma once

#include <stdbool.h>

#include "sensor/counter.h"

void losses_settle(struct counters *sections, const struct rings *flows, const struct ring *alerts,
                   bool is_live);
