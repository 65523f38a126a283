/*
 * lru.h - a bounded table that forgets what was not asked for longest.
 *
 * Why      Hosts, channels and open alerts are all "state per key, at most so many".
 * Owns     Keys and values, in place: a value's pointer is good until its key is forgotten.
 * Threads  One.
 * Bounds   `max` entries; a new key in a full table takes the place of the least recent one.
 *          Memory is touched as the table grows.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base.h"
#include "common/err.h"

struct lru;

WIND_MUST_USE int lru_new(struct lru **ret_lru, size_t max, size_t key_len, size_t value_len,
                          struct err *e);
struct lru *lru_free(struct lru *l); /* forgets nobody: values are plain memory */
WIND_DEFINE_FREE(lru)

/* Have `forget` told when a key is forgotten, before its value is gone. Must not call the table. */
typedef void lru_forget(void *arg, const void *key, void *value);
void lru_on_forget(struct lru *l, lru_forget *forget, void *arg);

/* The value of `key`, or NULL. lru_find makes it the most recent, lru_peek doesn't. */
void *lru_find(struct lru *l, const void *key);
void *lru_peek(const struct lru *l, const void *key);

/* It will be asked for soon: bring the place where that begins into the cache. */
void lru_prefetch(const struct lru *l, const void *key);

/* The value of `key`, made (zeroed) if need be; *ret_new (may be NULL) says so. Never NULL. */
void *lru_touch(struct lru *l, const void *key, bool *ret_new);

/* Forget the value that lru_find or lru_oldest returned. */
void lru_drop(struct lru *l, void *value);

/* The least recent value, or NULL; and its key. */
void *lru_oldest(const struct lru *l, const void **ret_key);

size_t lru_live(const struct lru *l);
uint64_t lru_evicted(const struct lru *l); /* forgotten because the table was full */
