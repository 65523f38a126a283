/*
 * log.h - one line an event on stderr: text for people, JSON lines for machines.
 *
 * Why      A service manager collects stderr; nothing else needs to be configured.
 * Owns     The process's format, level and name: the only mutable state in common/.
 * Threads  log_init and log_set_program before the first thread; the rest from any: a line is
 *          one write.
 * Bounds   A message is cut at LOG_MESSAGE_MAX bytes. Control characters become spaces in text
 *          and are escaped in JSON, so no input can forge a line.
 *
 * Names in single quotes; a line that is not fatal ends with what was done about it.
 * Library code and the data path do not log above debug: they return errors and count.
 */
#pragma once

#include "common/base.h"

#define LOG_MESSAGE_MAX 1024

enum log_format { LOG_AUTO, LOG_TEXT, LOG_JSON }; /* auto: text when stderr is a terminal */
enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* Without it: LOG_AUTO, LOG_LEVEL_INFO. */
void log_init(enum log_format format, enum log_level level);

/* Shown in every line; borrowed for the life of the process. */
void log_set_program(const char *name);

void log_write(enum log_level level, const char *fmt, ...) WIND_PRINTF(2, 3);

#define log_error(...) log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...)  log_write(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...)  log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_write(LOG_LEVEL_DEBUG, __VA_ARGS__)
