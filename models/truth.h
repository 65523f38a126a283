/*
 * truth.h - which flows of a recording were attacks: a CSV beside the rows.
 *
 * Why      Evaluation needs labels, and the sensor must never see them.
 * Owns     Its entries.
 * Threads  One.
 * Bounds   TRUTH_MAX entries, LABELS_MAX labels.
 *
 *      start,src_ip,src_port,dest_ip,dest_port,proto,label[,...]     header, further columns
 * ignored 2026-01-02T03:04:05.678901Z,10.0.0.9,4242,10.0.0.2,22,TCP,brute_force,...
 *
 * `start` is RFC 3339, or seconds since 1970. A row belongs to the entry with the same addresses,
 * ports and protocol, in either direction, whose start is the latest that is not after the row's
 * (TRUTH_SLACK_NS later is not after). ICMP has type and code as its ports.
 */
#pragma once

#include "common/err.h"
#include "common/record.h"

#define TRUTH_MAX      5000000u
#define TRUTH_SLACK_NS UINT64_C(1000000)
#define LABELS_MAX     64

struct labels {
    size_t n;
    char name[LABELS_MAX][32]; /* [0] is "benign" */
};

void labels_init(struct labels *l);

/* Index of the label, added if new; 0 is benign. -EINVAL: too many, empty, or too long. */
WIND_MUST_USE int labels_index(struct labels *l, const char *name, struct err *e);

struct truth_entry {
    struct flow_key key; /* the smaller end first */
    uint64_t start_ns;
    int label;
};

struct truth {
    struct truth_entry *entry; /* sorted once find is called */
    size_t n, cap;
    int is_sorted;
};

/* Adds a file's entries. -EINVAL with file and line, -ENOENT..., -ENOMEM. */
WIND_MUST_USE int truth_read(struct truth *t, const char *path, struct labels *labels,
                             struct err *e);
void truth_done(struct truth *t);

/* Label of the flow, or -1: not in the file. */
int truth_find(struct truth *t, const struct flow_key *key, uint64_t start_ns);
