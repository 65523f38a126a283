#include "sensor/lru.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/crypto.h"
#include "common/hash.h"
#include "common/huge.h"

#define NONE UINT32_MAX

/*
 * Links and hashes stand apart from keys and values, close together: a step along a chain, or to a
 * neighbour in age, is no visit to an entry, which may be kilobytes from the next.
 */
struct link {
    uint32_t chain, hash;
    uint32_t newer, older;
};

struct lru {
    size_t max, key_len, value_at, entry_len;
    lru_forget *forget;
    void *arg;
    uint32_t *bucket; /* lies behind the links */
    uint32_t mask, used, free, newest, oldest;
    size_t live;
    uint64_t evicted;
    uint64_t seed; /* of the hash; by chance, so that nobody can aim at a bucket */
    struct link *link;
    unsigned char *entries; /* key, padded to 8, then value */
};

int lru_new(struct lru **ret_lru, size_t max, size_t key_len, size_t value_len, struct err *e)
{
    uint32_t buckets = 16;

    while (buckets < max && buckets < UINT32_C(1) << 30)
        buckets *= 2;
    WIND_AUTO(lru) struct lru *l = calloc(1, sizeof(*l));
    if (l == NULL)
        return err_set(e, -ENOMEM, "out of memory");
    l->max = max;
    l->key_len = key_len;
    l->value_at = (key_len + 7) & ~(size_t)7;
    l->entry_len = (l->value_at + value_len + 7) & ~(size_t)7;
    l->mask = buckets - 1;
    crypto_random(&l->seed, sizeof(l->seed));
    l->free = l->newest = l->oldest = NONE;
    l->link = malloc(max * sizeof(struct link) + buckets * sizeof(uint32_t));
    l->entries = calloc(max, l->entry_len); /* pages come as they are used */
    if (max == 0 || l->link == NULL || l->entries == NULL)
        return err_set(e, -ENOMEM, "no memory for a table of %zu entries", max);
    huge_advise(l->entries, max * l->entry_len);
    l->bucket = (uint32_t *)(void *)(l->link + max);
    memset(l->bucket, 0xff, buckets * sizeof(uint32_t)); /* NONE */
    *ret_lru = WIND_STEAL(l);
    return 0;
}

void lru_on_forget(struct lru *l, lru_forget *forget, void *arg)
{
    l->forget = forget;
    l->arg = arg;
}

struct lru *lru_free(struct lru *l)
{
    if (l != NULL) {
        free(l->link);
        free(l->entries);
        free(l);
    }
    return NULL;
}

static unsigned char *key_at(const struct lru *l, uint32_t i)
{
    return l->entries + i * l->entry_len;
}

static void *value_at(const struct lru *l, uint32_t i)
{
    return key_at(l, i) + l->value_at;
}

static uint32_t index_of(const struct lru *l, const void *value)
{
    return (uint32_t)((size_t)((const unsigned char *)value - l->entries) / l->entry_len);
}

static uint32_t lookup(const struct lru *l, const void *key, uint32_t hash)
{
    for (uint32_t i = l->bucket[hash & l->mask]; i != NONE; i = l->link[i].chain)
        if (l->link[i].hash == hash && memcmp(key_at(l, i), key, l->key_len) == 0)
            return i;
    return NONE;
}

static void unlink_age(struct lru *l, uint32_t i)
{
    const struct link *x = &l->link[i];

    *(x->newer == NONE ? &l->newest : &l->link[x->newer].older) = x->older;
    *(x->older == NONE ? &l->oldest : &l->link[x->older].newer) = x->newer;
}

static void link_newest(struct lru *l, uint32_t i)
{
    l->link[i].newer = NONE;
    l->link[i].older = l->newest;
    *(l->newest == NONE ? &l->oldest : &l->link[l->newest].newer) = i;
    l->newest = i;
}

static void renew(struct lru *l, uint32_t i)
{
    if (i != l->newest) {
        unlink_age(l, i);
        link_newest(l, i);
    }
}

static uint32_t hash_of(const struct lru *l, const void *key)
{
    return (uint32_t)hash64_keyed(key, l->key_len, l->seed);
}

void lru_prefetch(const struct lru *l, const void *key)
{
    __builtin_prefetch(&l->bucket[hash_of(l, key) & l->mask]);
}

void *lru_peek(const struct lru *l, const void *key)
{
    const uint32_t i = lookup(l, key, hash_of(l, key));

    return i == NONE ? NULL : value_at(l, i);
}

void *lru_find(struct lru *l, const void *key)
{
    const uint32_t i = lookup(l, key, hash_of(l, key));

    if (i == NONE)
        return NULL;
    renew(l, i);
    return value_at(l, i);
}

static void drop(struct lru *l, uint32_t i)
{
    uint32_t *link = &l->bucket[l->link[i].hash & l->mask];

    if (l->forget != NULL)
        l->forget(l->arg, key_at(l, i), value_at(l, i));
    while (*link != i)
        link = &l->link[*link].chain;
    *link = l->link[i].chain;
    unlink_age(l, i);
    l->link[i].chain = l->free;
    l->free = i;
    l->live--;
}

void lru_drop(struct lru *l, void *value)
{
    drop(l, index_of(l, value));
}

static uint32_t make(struct lru *l, const void *key, uint32_t hash)
{
    if (l->live == l->max) {
        drop(l, l->oldest);
        l->evicted++;
    }
    uint32_t i = l->free;
    if (i != NONE)
        l->free = l->link[i].chain;
    else
        i = l->used++;

    memset(key_at(l, i), 0, l->entry_len);
    memcpy(key_at(l, i), key, l->key_len);
    l->link[i].hash = hash;
    l->link[i].chain = l->bucket[hash & l->mask];
    l->bucket[hash & l->mask] = i;
    link_newest(l, i);
    l->live++;
    return i;
}

void *lru_touch(struct lru *l, const void *key, bool *ret_new)
{
    const uint32_t hash = hash_of(l, key);
    uint32_t i = lookup(l, key, hash);

    if (ret_new != NULL)
        *ret_new = i == NONE;
    if (i == NONE)
        i = make(l, key, hash);
    else
        renew(l, i);
    return value_at(l, i);
}

void *lru_oldest(const struct lru *l, const void **ret_key)
{
    if (l->oldest == NONE)
        return NULL;
    if (ret_key != NULL)
        *ret_key = key_at(l, l->oldest);
    return value_at(l, l->oldest);
}

size_t lru_live(const struct lru *l)
{
    return l->live;
}

uint64_t lru_evicted(const struct lru *l)
{
    return l->evicted;
}
