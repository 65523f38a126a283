/*
 * rows.h - feature rows as a text file: what the sensor writes with --features and training reads.
 *
 * Why      Rows come from the sensor's own code, so training and production cannot drift apart.
 *          CSV, because people and other tools look at them too.
 * Owns     A reader owns its line buffer; it borrows the FILE.
 * Threads  One at a time.
 * Bounds   A line has at most ROWS_LINE_MAX bytes. A reader refuses, with file and line number,
 *          anything else than what the writer writes; it never guesses.
 *
 *      # wind-rows 1 31:0123456789abcdef          format version, feature schema
 *      community_id,src_ip,src_port,dest_ip,dest_port,proto,start,duration,...
 *      1:abc=,10.0.0.1,4242,10.0.0.2,22,TCP,1700000000.123456789,12.5,...
 *
 * The first seven columns say which flow it is, so that truth can be joined. They are never inputs
 * of a model. An empty cell is missing. `start` is seconds since 1970.
 */
#pragma once

#include <stdio.h>

#include "common/buf.h"
#include "common/err.h"
#include "common/record.h"
#include "features/feature.h"

#define ROWS_LINE_MAX 4096

/* Writer: append to `b`, a line each. See buf.h for what happens when it is full. */
void rows_put_header(struct buf *b);
void rows_put(struct buf *b, const struct flow_record *record, const char *community_id);

struct row {
    struct flow_key key; /* vlan is 0 */
    uint64_t start_ns;
    char community_id[48];
    float value[FEATURE_COUNT];
    uint64_t missing; /* features the file does not have are missing */
};

struct rows {
    FILE *file;       /* borrowed */
    const char *name; /* borrowed; for errors */
    size_t line;
    size_t n_features; /* columns of the file: a prefix of features.def */
    char text[ROWS_LINE_MAX + 2];
};

/* Read the two header lines. -EINVAL: not such a file, or made with another feature list. */
WIND_MUST_USE int rows_begin(struct rows *r, FILE *file, const char *name, struct err *e);

/* Next row. 0: there is one. 1: the end. -EINVAL, -EIO. */
WIND_MUST_USE int rows_next(struct rows *r, struct row *ret_row, struct err *e);

/* Pieces of such a line, for files that name flows in the same way (a truth file does). */

/* Seconds since 1970 with up to nine decimals. -EINVAL. */
WIND_MUST_USE int rows_parse_start(const char *cell, uint64_t *ret_ns);

/*
 * The five cells src_ip to proto at `*at`, which moves behind them (NULL: the line ends there).
 * Cells are cut apart in place. -EINVAL.
 */
WIND_MUST_USE int rows_parse_key(char **at, struct flow_key *ret_key);
