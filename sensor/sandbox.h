/*
 * sandbox.h - give up everything that looking at packets does not need.
 *
 * Why      A hostile packet must meet a process that can do nothing but write records.
 * Owns     Nothing. There is no way back.
 * Threads  sandbox_close_files before the first thread of the process is made: Landlock holds for
 *          the caller and what it starts later. sandbox_close_calls holds for all threads.
 * Bounds   Afterwards: no file, socket, program or process can be opened or started; memory can't
 *          be made executable; what was open stays open. A forbidden call kills the process
 *          (SIGSYS). Landlock is used where the kernel has it; seccomp always.
 */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "common/err.h"

/* First step: no path can be opened any more. What is still allowed: starting threads. */
WIND_MUST_USE int sandbox_close_files(struct err *e);

/* Last step: no system call but those that looking at packets needs. */
WIND_MUST_USE int sandbox_close_calls(struct err *e);

/* Who `user` and `group` are (names; NULL: as now, or the user's own group). */
WIND_MUST_USE int sandbox_identity(const char *user, const char *group, uid_t *ret_uid,
                                   gid_t *ret_gid, struct err *e);

/* Become `user` and `group` (names; NULL: stay). Both children do, the supervisor doesn't. */
WIND_MUST_USE int sandbox_drop(const char *user, const char *group, struct err *e);

/* Give up all capabilities but those in `keep` (bit CAP_x), for good: also the ambient ones. */
WIND_MUST_USE int sandbox_drop_capabilities(uint64_t keep, struct err *e);
