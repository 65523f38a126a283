/*
 * bus_message.h - one message of the bus: what its headers say, and what became of it.
 *
 * Why      Headers come from whoever may write to the topic; they are read in one place that
 *          needs no broker and is fuzzed.
 * Owns     `reason`, and `native` as long as it is there; the rest is borrowed from native.
 * Threads  One at a time.
 * Bounds   Values of BUS_VALUE_MAX bytes; names as in store.h; seq up to BUS_SEQ_MAX.
 *
 *     collected -> stored (in the database) -> done
 *              \-> rejected (has a reason) --> done: wind.dlq has it
 *
 * The offset of a message may be committed when it is done.
 */
#pragma once

#include <stdbool.h>

#include "collector/store.h"

#define BUS_VALUE_MAX ((size_t)256 * 1024)
#define BUS_RUN_MAX   64
#define BUS_SEQ_MAX   (INT64_C(1) << 52)
#define BUS_SCHEMA    "1"

/* Those of the database come first, BUS_TOPICS of them. */
enum bus_topic { BUS_ALERTS, BUS_HEALTH, BUS_TOPICS, BUS_FLOWS = BUS_TOPICS };
extern const char *const bus_topic_words[]; /* "alerts", ..., NULL: behind the prefix */

struct bus_message {
    struct rd_kafka_message_s *native;
    enum bus_topic topic;
    int32_t partition;
    int64_t offset, time_ns; /* time_ns: when it was sent; 0 = nobody knows */
    const char *value;
    size_t len;
    const char *sensor, *run; /* NULL: none that can be believed */
    int64_t seq;              /* with `run` only */
    char *reason;             /* why it is rejected; NULL: it isn't */
    bool has_schema, is_stored, is_done;
};

/*
 * One header, `value` NUL-terminated behind its `len` bytes; of two with one name the last
 * counts. What is wrong with it becomes the reason.
 */
void bus_message_header(struct bus_message *m, const char *name, const char *value, size_t len);

/* After the last header: is anything missing, is the value something to look at? */
void bus_message_check(struct bus_message *m);

/* The first reason stays. */
void bus_message_reject(struct bus_message *m, const char *fmt, ...) WIND_PRINTF(2, 3);
