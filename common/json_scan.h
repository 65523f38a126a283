/*
 * json_scan.h - reads one JSON text of the record stream in place: checks all of it, and finds
 * the values of known paths on the way.
 *
 * Why      A tree of allocated nodes costs 25 µs an alert; the stream has a few for everything.
 *          Everything else (API, configuration, tests) uses jansson, whose names begin with json_
 *          as well; what this takes and refuses is what jansson does (JSON_REJECT_DUPLICATES |
 *          JSON_DECODE_ANY), within the bounds below: fuzz.json_scan asks both.
 * Owns     The compiled paths. Spans borrow from the text.
 * Threads  Any: a compiled scanner doesn't change, and a scan allocates nothing.
 * Bounds   Values are nested JSON_SCAN_DEPTH deep at most; an object and those around it have
 *          JSON_SCAN_MEMBERS members together; keys JSON_SCAN_KEY bytes, numbers
 *          JSON_NUMBER_MAX. Beyond, the text is refused.
 */
#pragma once

#include "common/err.h"
#include "common/json_span.h"

#define JSON_SCAN_DEPTH   32
#define JSON_SCAN_MEMBERS 1024
#define JSON_SCAN_KEY     1024
#define JSON_SCAN_PATHS   64

struct json_scan;

/*
 * `paths` are keys of nested objects: "wind", "wind.uid"; spans come in their order. At most
 * JSON_SCAN_PATHS, borrowed for ever. -EINVAL: too many, or one twice. -ENOMEM.
 */
WIND_MUST_USE int json_scan_new(struct json_scan **ret_scan, const char *const *paths,
                                size_t n_paths, struct err *e);
struct json_scan *json_scan_free(struct json_scan *s);
WIND_DEFINE_FREE(json_scan)

/*
 * 0: `text` is one JSON value; ret_spans has one for each path, SPAN_ABSENT for those that it has
 * not. -EINVAL with a sentence: it is none, or beyond the bounds; the spans found before are set.
 */
WIND_MUST_USE int json_scan(const struct json_scan *s, const char *text, size_t len,
                            struct json_span *ret_spans, struct err *e);
