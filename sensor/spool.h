/*
 * spool.h - alerts on disk until the collector has confirmed them.
 *
 * Why      An alert must outlive the uplink, the collector and the network: it is appended here
 *          before its ring slot is released, and removed when it was confirmed.
 * Owns     The folder: segments `spool-<first index>.seg`, the files `confirmed`, `run` and
 *          `lock`.
 *          One process at a time.
 * Threads  One.
 * Bounds   max_bytes on disk, and max_age_ns since its last alert: beyond, the oldest segment is
 *          dropped, unconfirmed or not, whatever its alerts' severity. What the disk refuses (full,
 *          read-only, failed) stays in memory, HELD_MAX bytes, the oldest goes first there, too.
 *          An entry holds at most SPOOL_ENTRY_MAX bytes. Nothing found on disk is believed before
 *          its length and checksum fit.
 * Cost     What a power cut may lose is fsync_ns worth of alerts; a killed process loses nothing
 *          but what the disk refused.
 *
 * Every alert has an absolute index that only grows, over all runs. An index that can't be read
 * back (dropped, damaged, never written because the disk was full) is a gap, and a gap is what
 * the reader counts as lost: so that it's counted once, however often the process is killed.
 *
 *     appended = confirmed + gaps + still to read
 *
 * A segment is a row of frames {magic, crc, index, uid, rev, len} + JSON in the machine's byte
 * order. A torn frame at the end (power cut) is cut off when the spool is opened.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"

#define SPOOL_ENTRY_MAX    65536u
#define SPOOL_SEGMENTS_MAX 1024
#define SPOOL_INDEX_MAX    (1ull << 52) /* what is believed of a disk */

struct spool;

struct spool_conf {
    char dir[1024]; /* made if it isn't there */
    uint64_t max_bytes;
    uint64_t max_age_ns; /* 0: none. By this machine's clock only for what is found at the start */
    uint64_t fsync_ns;
};

/* Alerts before `confirmed` are done; the next one appended gets `next`. */
struct spool_mark {
    uint64_t next, confirmed;
};

struct spool_entry {
    uint64_t index;
    uint8_t uid[16];
    uint32_t rev;
    uint32_t len;
    const char *json; /* borrowed until the next spool_read; not NUL-terminated */
};

/*
 * Open or make the folder. `resume`: where a killed process stood; what it wrote behind that
 * was never committed and is cut off. NULL: take the spool as it is found.
 */
WIND_MUST_USE int spool_new(struct spool **ret_spool, const struct spool_conf *conf,
                            const struct spool_mark *resume, struct err *e);
struct spool *spool_free(struct spool *s);
WIND_DEFINE_FREE(spool)

/*
 * Append one alert and spend an index on it. When the disk refuses, the errno comes back, and the
 * alert is kept in memory until it takes it. -EMSGSIZE: it's not kept; its index becomes a gap.
 */
int spool_append(struct spool *s, const uint8_t uid[16], uint32_t rev, const char *json,
                 size_t len);

#define SPOOL_END 1 /* nothing at or behind this index */

/* The first readable alert at or behind `from`; a gap shows as ret_entry->index > from. */
WIND_MUST_USE int spool_read(struct spool *s, uint64_t from, struct spool_entry *ret_entry);

/* Everything before `index` is done: remembered on disk, and whole segments of it are removed. */
int spool_confirm(struct spool *s, uint64_t index);

/*
 * Call now and then: writes through to the disk when fsync_ns has passed, drops what is too old,
 * and offers the disk once a second what it refused; `force`: all at once.
 */
void spool_sync(struct spool *s, uint64_t mono_ns, bool force);

/*
 * 32 hex digits, for the life of the folder: another one when the indices start anew. Kept in the
 * file `run`; where that can't be written, it's another one with each start.
 */
const char *spool_run(const struct spool *s);

struct spool_mark spool_where(const struct spool *s);

/* The oldest index that may still be on disk; `next` when there is none. */
uint64_t spool_oldest(const struct spool *s);

uint64_t spool_bytes(const struct spool *s);

/* Alerts that are in memory alone. */
size_t spool_held(const struct spool *s);
