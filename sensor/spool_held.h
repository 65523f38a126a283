/*
 * spool_held.h - what the disk refuses, in memory until it takes it.
 *
 * Why      A full or failed disk must not keep alerts from whoever is there to take them.
 * Owns     Its bytes.
 * Threads  One.
 * Bounds   HELD_MAX bytes; then the oldest goes.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"

#define HELD_MAX ((size_t)4 << 20)

struct held {
    struct buf bytes; /* of each: length, bytes */
    size_t head;      /* before it they are taken out */
    size_t n;
};

void held_init(struct held *h);
void held_done(struct held *h);

/* Two pieces, kept as one behind all others. */
void held_put(struct held *h, const void *head, size_t head_len, const void *body, size_t len);

/* Walk from the oldest: *at is 0 at first. NULL: that was all. Borrowed until the next change. */
const void *held_next(const struct held *h, size_t *at, size_t *ret_len);

/* The oldest is out. */
void held_take(struct held *h);
