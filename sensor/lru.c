#include "sensor/lru.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/crypto.h"
#include "common/hash.h"

#define NONE UINT32_MAX

struct entry {
    uint32_t chain, hash;
    uint32_t newer, older;
    unsigned char bytes[]; /* key, padded to 8, then value */
};

struct lru {
    size_t max, key_len, value_at, entry_len;
    lru_forget *forget;
    void *arg;
    uint32_t *bucket;
    uint32_t mask, used, free, newest, oldest;
    size_t live;
    uint64_t evicted;
    uint64_t seed; /* of the hash; by chance, so that nobody can aim at a bucket */
    unsigned char *entries;
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
    l->entry_len = sizeof(struct entry) + ((l->value_at + value_len + 7) & ~(size_t)7);
    l->mask = buckets - 1;
    crypto_random(&l->seed, sizeof(l->seed));
    l->free = l->newest = l->oldest = NONE;
    l->bucket = malloc(buckets * sizeof(uint32_t));
    l->entries = calloc(max, l->entry_len); /* pages come as they are used */
    if (max == 0 || l->bucket == NULL || l->entries == NULL)
        return err_set(e, -ENOMEM, "no memory for a table of %zu entries", max);
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
        free(l->bucket);
        free(l->entries);
        free(l);
    }
    return NULL;
}

static struct entry *at(const struct lru *l, uint32_t i)
{
    return (struct entry *)(void *)(l->entries + i * l->entry_len);
}

static uint32_t index_of(const struct lru *l, const struct entry *x)
{
    return (uint32_t)((size_t)((const unsigned char *)x - l->entries) / l->entry_len);
}

static struct entry *of_value(const struct lru *l, void *value)
{
    return (struct entry *)(void *)((unsigned char *)value - l->value_at -
                                    offsetof(struct entry, bytes));
}

static void *value_of(const struct lru *l, struct entry *x)
{
    return x->bytes + l->value_at;
}

static struct entry *lookup(const struct lru *l, const void *key, uint32_t hash)
{
    for (uint32_t i = l->bucket[hash & l->mask]; i != NONE; i = at(l, i)->chain)
        if (at(l, i)->hash == hash && memcmp(at(l, i)->bytes, key, l->key_len) == 0)
            return at(l, i);
    return NULL;
}

static void unlink_age(struct lru *l, const struct entry *x)
{
    *(x->newer == NONE ? &l->newest : &at(l, x->newer)->older) = x->older;
    *(x->older == NONE ? &l->oldest : &at(l, x->older)->newer) = x->newer;
}

static void link_newest(struct lru *l, struct entry *x)
{
    const uint32_t i = index_of(l, x);

    x->newer = NONE;
    x->older = l->newest;
    *(l->newest == NONE ? &l->oldest : &at(l, l->newest)->newer) = i;
    l->newest = i;
}

static uint32_t hash_of(const struct lru *l, const void *key)
{
    return (uint32_t)hash64_keyed(key, l->key_len, l->seed);
}

void *lru_peek(const struct lru *l, const void *key)
{
    struct entry *x = lookup(l, key, hash_of(l, key));

    return x == NULL ? NULL : value_of(l, x);
}

void *lru_find(struct lru *l, const void *key)
{
    struct entry *x = lookup(l, key, hash_of(l, key));

    if (x == NULL)
        return NULL;
    unlink_age(l, x);
    link_newest(l, x);
    return value_of(l, x);
}

void lru_drop(struct lru *l, void *value)
{
    struct entry *x = of_value(l, value);
    const uint32_t i = index_of(l, x);
    uint32_t *link = &l->bucket[x->hash & l->mask];

    if (l->forget != NULL)
        l->forget(l->arg, x->bytes, value);
    while (*link != i)
        link = &at(l, *link)->chain;
    *link = x->chain;
    unlink_age(l, x);
    x->chain = l->free;
    l->free = i;
    l->live--;
}

void *lru_touch(struct lru *l, const void *key, bool *ret_new)
{
    const uint32_t hash = hash_of(l, key);
    struct entry *x = lookup(l, key, hash);

    if (ret_new != NULL)
        *ret_new = x == NULL;
    if (x != NULL) {
        unlink_age(l, x);
        link_newest(l, x);
        return value_of(l, x);
    }
    if (l->live == l->max) {
        lru_drop(l, value_of(l, at(l, l->oldest)));
        l->evicted++;
    }
    uint32_t i = l->free;
    if (i != NONE)
        l->free = at(l, i)->chain;
    else
        i = l->used++;

    x = at(l, i);
    memset(x, 0, l->entry_len);
    memcpy(x->bytes, key, l->key_len);
    x->hash = hash;
    x->chain = l->bucket[hash & l->mask];
    l->bucket[hash & l->mask] = i;
    link_newest(l, x);
    l->live++;
    return value_of(l, x);
}

void *lru_oldest(const struct lru *l, const void **ret_key)
{
    if (l->oldest == NONE)
        return NULL;
    if (ret_key != NULL)
        *ret_key = at(l, l->oldest)->bytes;
    return value_of(l, at(l, l->oldest));
}

size_t lru_live(const struct lru *l)
{
    return l->live;
}

uint64_t lru_evicted(const struct lru *l)
{
    return l->evicted;
}
