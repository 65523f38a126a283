#include "collector/ratelimit.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/crypto.h"
#include "common/hash.h"
#include "common/time.h"

#define WAYS 4 /* slots a key may be in */

struct slot {
    uint64_t key; /* 0 = free */
    uint64_t clear_ns;
};

struct ratelimit {
    pthread_mutex_t lock;
    uint64_t seed;
    uint64_t step_ns; /* what one event costs */
    int64_t burst;
    size_t mask; /* of sets */
    struct slot *slots;
};

int ratelimit_new(struct ratelimit **ret, const struct ratelimit_conf *conf, struct err *e)
{
    size_t sets = 1;
    while (sets * WAYS < conf->slots)
        sets *= 2;

    WIND_AUTO(ratelimit) struct ratelimit *l = calloc(1, sizeof(*l));
    if (l == NULL)
        return err_set(e, -ENOMEM, "rate limit: out of memory");
    (void)pthread_mutex_init(&l->lock, NULL);
    l->step_ns = 60 * WIND_NS_PER_S / (uint64_t)conf->per_minute;
    l->burst = conf->burst;
    l->mask = sets - 1;
    crypto_random(&l->seed, sizeof(l->seed));
    l->slots = calloc(sets * WAYS, sizeof(*l->slots));
    if (l->slots == NULL)
        return err_set(e, -ENOMEM, "rate limit: out of memory for %zu slots", conf->slots);

    *ret = WIND_STEAL(l);
    return 0;
}

struct ratelimit *ratelimit_free(struct ratelimit *l)
{
    if (l == NULL)
        return NULL;
    (void)pthread_mutex_destroy(&l->lock);
    free(l->slots);
    free(l);
    return NULL;
}

/* The key's slot, or NULL. */
static struct slot *find(struct ratelimit *l, uint64_t key)
{
    struct slot *set = &l->slots[(key & l->mask) * WAYS];

    for (size_t i = 0; i < WAYS; i++)
        if (set[i].key == key)
            return &set[i];
    return NULL;
}

static struct slot *claim(struct ratelimit *l, uint64_t key)
{
    struct slot *set = &l->slots[(key & l->mask) * WAYS], *best = &set[0];

    for (size_t i = 1; i < WAYS; i++)
        if (set[i].clear_ns < best->clear_ns)
            best = &set[i];
    *best = (struct slot){.key = key};
    return best;
}

static uint64_t hash_key(const struct ratelimit *l, const char *key)
{
    const uint64_t h = hash64(key, strlen(key), l->seed);
    return h != 0 ? h : 1;
}

struct ratelimit_verdict ratelimit_take(struct ratelimit *l, const char *key, uint64_t now_ns)
{
    const uint64_t h = hash_key(l, key), room_ns = (uint64_t)l->burst * l->step_ns;
    struct ratelimit_verdict v = {.limit = l->burst};

    (void)pthread_mutex_lock(&l->lock);
    struct slot *s = find(l, h);
    if (s == NULL)
        s = claim(l, h);
    const uint64_t from = s->clear_ns > now_ns ? s->clear_ns : now_ns;
    const uint64_t clear_ns = from + l->step_ns;
    v.is_over = clear_ns - now_ns > room_ns;
    if (!v.is_over)
        s->clear_ns = clear_ns;
    (void)pthread_mutex_unlock(&l->lock);

    const uint64_t wait_ns = v.is_over ? clear_ns - now_ns - room_ns : clear_ns - now_ns;
    v.wait_s = (int64_t)((wait_ns + WIND_NS_PER_S - 1) / WIND_NS_PER_S);
    v.remaining = v.is_over ? 0 : (int64_t)((room_ns - (clear_ns - now_ns)) / l->step_ns);
    return v;
}

void ratelimit_give_back(struct ratelimit *l, const char *key)
{
    (void)pthread_mutex_lock(&l->lock);
    struct slot *s = find(l, hash_key(l, key));
    if (s != NULL && s->clear_ns > l->step_ns)
        s->clear_ns -= l->step_ns;
    (void)pthread_mutex_unlock(&l->lock);
}
