/*
 * time.h - nanoseconds since 1970 in 64 bits (good until 2554), and their texts.
 *
 * Why      Records carry plain numbers; the two text forms are made by arithmetic alone,
 *          because every line of the event log has several.
 * Threads  Any: there is no state.
 * Bounds   A text and its NUL fit in TIME_TEXT bytes.
 */
#pragma once

#include <stdint.h>

#include "common/base.h"

#define WIND_NS_PER_S  UINT64_C(1000000000)
#define WIND_NS_PER_MS UINT64_C(1000000)
#define WIND_NS_PER_US UINT64_C(1000)

#define TIME_TEXT 32

/* "2026-01-02T03:04:05.678901+0000", as in Suricata's EVE. Returns its length. */
size_t time_eve(uint64_t ns, char ret_text[TIME_TEXT]);

/* "2026-01-02T03:04:05.678901Z". Returns its length. */
size_t time_rfc3339(uint64_t ns, char ret_text[TIME_TEXT]);

/*
 * Both forms above, any RFC 3339 time, and offsets without colon. Digits after the ninth are
 * cut. -EINVAL: not such a text, or a time before 1970 or after 2553.
 */
WIND_MUST_USE int time_parse_rfc3339(const char *s, uint64_t *ret_ns);

/* The system's clocks: for programs and threads only, never below capture. */
uint64_t time_wall_ns(void);
uint64_t time_mono_ns(void);
