/*
 * disk_guard.h - how full a disk is, in four stages, before it is full.
 *
 * Why      A database on a full disk can neither store nor delete. Whoever asks in time can still
 *          warn, delete more than age asks for, and stop what makes it grow.
 * Owns     The stage it is in: each is left only DISK_GUARD_BACK points below its threshold.
 * Threads  disk_guard_look: one. disk_guard_stage: any.
 *
 *     fine <--> low (warn) <--> high (delete) <--> flood (take nothing new)
 *
 * The thresholds are percent in use, as in Elasticsearch. On a large disk a few percent are much:
 * no stage begins while as much is free as disk_guard_room says.
 */
#pragma once

#include <stdint.h>

#include "common/err.h"

#define DISK_GUARD_BACK 2

enum disk_stage { DISK_FINE, DISK_LOW, DISK_HIGH, DISK_FLOOD, DISK_STAGES };
extern const char *const disk_stage_words[DISK_STAGES];

/* Bytes that are enough on any disk: more free than this is no stage. */
extern const uint64_t disk_guard_room[DISK_STAGES];

struct disk_guard {
    unsigned percent[DISK_STAGES]; /* in use; [DISK_FINE] is 0 */
    _Atomic int stage;             /* relaxed: who sees it late acts a moment late */
};

struct disk_use {
    uint64_t total, free; /* bytes; free: for this process */
};

WIND_MUST_USE int disk_use_of(const char *folder, struct disk_use *ret, struct err *e);

/* The stage that follows from `use` and the stage before. */
enum disk_stage disk_guard_look(struct disk_guard *g, const struct disk_use *use);
enum disk_stage disk_guard_stage(const struct disk_guard *g);

/* How much has to become free to leave `stage`; 0: it is below. */
uint64_t disk_guard_excess(const struct disk_guard *g, const struct disk_use *use,
                           enum disk_stage stage);
