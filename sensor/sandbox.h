/*
 * sandbox.h - give up everything that looking at packets does not need.
 *
 * Why      A hostile packet must meet a process that can do nothing but write records.
 * Owns     Nothing. There is no way back.
 * Threads  Before the first thread of the process: threads made later inherit it.
 * Bounds   Afterwards: no file, socket, program or process can be opened or started; memory can't
 *          be made executable; what was open stays open. A forbidden call kills the process
 *          (SIGSYS). Landlock is used where the kernel has it; seccomp always.
 */
#pragma once

#include "common/err.h"

WIND_MUST_USE int sandbox_enter(struct err *e);

/* Become `user` and `group` (names; NULL: stay). Both children do, the supervisor doesn't. */
WIND_MUST_USE int sandbox_drop(const char *user, const char *group, struct err *e);
