/*
 * prompt.h - a password from a terminal, a file or a pipe, never from the command line.
 *
 * Owns     The terminal's mode while it asks; it is as before afterwards, also after Ctrl-C.
 * Threads  One.
 * Bounds   PROMPT_MAX characters.
 */
#pragma once

#include "common/err.h"

#define PROMPT_MAX 256

/* From `path` when it is not NULL; else asked for, or the first line of standard input. */
WIND_MUST_USE int prompt_password(const char *path, const char *question,
                                  char ret_password[PROMPT_MAX + 1], struct err *e);
