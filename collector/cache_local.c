#include "collector/cache_local.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "collector/cache.h"
#include "common/crypto.h"
#include "common/hash.h"

#define WAYS        4
#define SETS        (CACHE_SLOTS / WAYS)
#define SHARE_LARGE 8 /* of the memory: a value may have one such part */

struct slot {
    char *key; /* NULL: free. The value follows the key's NUL. */
    size_t n;  /* of the value */
    uint64_t ends_ns, used;
};

struct cache_local {
    pthread_mutex_t lock;
    uint64_t seed, turn; /* of uses: the smallest is the oldest */
    size_t memory, bytes;
    struct slot slots[CACHE_SLOTS];
};

int cache_local_new(struct cache_local **ret, size_t memory, struct err *e)
{
    struct cache_local *l = calloc(1, sizeof(*l));

    if (l == NULL)
        return err_set(e, -ENOMEM, "cache: out of memory");
    (void)pthread_mutex_init(&l->lock, NULL);
    crypto_random(&l->seed, sizeof(l->seed));
    l->memory = memory;
    *ret = l;
    return 0;
}

static size_t bytes_of(const struct slot *s)
{
    return s->key == NULL ? 0 : strlen(s->key) + 1 + s->n;
}

static void clear(struct cache_local *l, struct slot *s)
{
    l->bytes -= bytes_of(s);
    free(s->key);
    *s = (struct slot){.key = NULL};
}

struct cache_local *cache_local_free(struct cache_local *l)
{
    if (l == NULL)
        return NULL;
    for (size_t i = 0; i < CACHE_SLOTS; i++)
        free(l->slots[i].key);
    (void)pthread_mutex_destroy(&l->lock);
    free(l);
    return NULL;
}

static struct slot *set_of(struct cache_local *l, const char *key)
{
    return &l->slots[hash64_keyed(key, strlen(key), l->seed) % SETS * WAYS];
}

static struct slot *find(struct cache_local *l, const char *key)
{
    struct slot *set = set_of(l, key);

    for (size_t i = 0; i < WAYS; i++)
        if (set[i].key != NULL && strcmp(set[i].key, key) == 0)
            return &set[i];
    return NULL;
}

static struct slot *oldest(struct slot *slots, size_t n)
{
    struct slot *best = &slots[0];

    for (size_t i = 1; i < n; i++)
        if (best->key != NULL && (slots[i].key == NULL || slots[i].used < best->used))
            best = &slots[i];
    return best;
}

/* Make room for n bytes: of all values the one unused longest goes first. */
static void make_room(struct cache_local *l, size_t n)
{
    while (l->bytes + n > l->memory) {
        struct slot *worst = NULL;
        for (size_t i = 0; i < CACHE_SLOTS; i++)
            if (l->slots[i].key != NULL && (worst == NULL || l->slots[i].used < worst->used))
                worst = &l->slots[i];
        if (worst == NULL)
            return;
        clear(l, worst);
    }
}

int cache_local_get(struct cache_local *l, const char *key, struct buf *into, uint64_t now_ns)
{
    const size_t len = into->len;

    (void)pthread_mutex_lock(&l->lock);
    struct slot *s = find(l, key);
    if (s != NULL && s->ends_ns <= now_ns) {
        clear(l, s);
        s = NULL;
    }
    if (s != NULL) {
        s->used = ++l->turn;
        buf_put(into, s->key + strlen(s->key) + 1, s->n);
    }
    (void)pthread_mutex_unlock(&l->lock);
    if (!into->failed)
        return s != NULL ? 0 : CACHE_ABSENT;
    buf_truncate(into, len);
    return CACHE_ABSENT;
}

void cache_local_put(struct cache_local *l, const char *key, const struct cache_value *v)
{
    const size_t key_n = strlen(key) + 1, n = key_n + v->n;
    char *copy = n <= l->memory / SHARE_LARGE ? malloc(n) : NULL;

    if (copy != NULL) {
        memcpy(copy, key, key_n);
        if (v->n > 0)
            memcpy(copy + key_n, v->data, v->n);
    }
    (void)pthread_mutex_lock(&l->lock);
    struct slot *s = find(l, key);
    if (s != NULL)
        clear(l, s); /* also when the new value is not kept: the old one is no longer right */
    if (copy != NULL) {
        make_room(l, n);
        s = oldest(set_of(l, key), WAYS);
        clear(l, s);
        *s = (struct slot){.key = copy, .n = v->n, .ends_ns = v->ends_ns, .used = ++l->turn};
        l->bytes += n;
    }
    (void)pthread_mutex_unlock(&l->lock);
}

size_t cache_local_bytes(struct cache_local *l)
{
    (void)pthread_mutex_lock(&l->lock);
    const size_t n = l->bytes;
    (void)pthread_mutex_unlock(&l->lock);
    return n;
}
