/*
 * ingest_read.h - an alert on the wire, checked and turned into what the store takes.
 *
 * Why      What sensors send is checked in one place, whichever way it came.
 * Owns     The compiled paths of an alert's fields. Texts of an alert live in the caller's arena.
 * Threads  Any: a reader doesn't change.
 * Bounds   INGEST_READ_BYTES(len) of arena for an item of len bytes.
 */
#pragma once

#include "collector/alerts.h"
#include "collector/ingest.h"
#include "common/arena.h"

#define INGEST_READ_BYTES(len) (3 * (len) + 8192)

struct ingest_reader;

WIND_MUST_USE int ingest_reader_new(struct ingest_reader **ret_reader, struct err *e);
struct ingest_reader *ingest_reader_free(struct ingest_reader *rd);
WIND_DEFINE_FREE(ingest_reader)

struct ingest_alert {
    struct alert alert;
    char uid[UUID_TEXT]; /* "" when none could be read */
};

/* `sensor` becomes the alert's source. -EINVAL: permanently bad, with a sentence; uid is set. */
WIND_MUST_USE int ingest_read(const struct ingest_reader *rd, const struct ingest_item *item,
                              const char *sensor, struct arena *arena,
                              struct ingest_alert *ret_alert, struct err *e);
