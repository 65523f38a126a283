/*
 * standby.h - a thread that is made early, and told later what to do.
 *
 * Why      Starting a thread is forbidden in the sandbox, so it is made before, and sleeps until it
 *          is told; the sandbox's last step covers it (SECCOMP_FILTER_FLAG_TSYNC).
 * Owns     The thread.
 * Threads  All calls: the one that made it.
 * Bounds   One job, which must end by itself.
 *
 *     new -> (sandbox) -> start -> join -> free        new -> free: it never started
 */
#pragma once

#include "common/err.h"

struct standby;

/* `name` is for messages. */
WIND_MUST_USE int standby_new(struct standby **ret_standby, const char *name, struct err *e);
/* Waits for its end if it was not joined; NULL is fine. */
struct standby *standby_free(struct standby *s);
WIND_DEFINE_FREE(standby)

void standby_start(struct standby *s, void (*job)(void *arg), void *arg);

/* Wait until the job is done: what it wrote is seen. */
void standby_join(struct standby *s);
