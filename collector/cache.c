#include "collector/cache.h"

#include <errno.h>
#include <stdlib.h>

#include "collector/cache_local.h"
#include "common/time.h"

struct listener {
    cache_fn *fn; /* NULL: nobody listens */
    void *arg;
};

struct cache {
    struct cache_local *local;
    struct listener listeners[CACHE_TOPICS];
};

struct cache_limit {
    struct ratelimit *here;
};

int cache_new(struct cache **ret, const struct cache_conf *conf, struct err *e)
{
    WIND_AUTO(cache) struct cache *c = calloc(1, sizeof(*c));
    if (c == NULL)
        return err_set(e, -ENOMEM, "cache: out of memory");
    const int r = cache_local_new(&c->local, conf->memory, e);
    if (r != 0)
        return r;
    *ret = WIND_STEAL(c);
    return 0;
}

struct cache *cache_free(struct cache *c)
{
    if (c == NULL)
        return NULL;
    cache_local_free(c->local);
    free(c);
    return NULL;
}

/* ---------------------------------------------------------------- values */

int cache_get(struct cache *c, const char *key, struct buf *into)
{
    return cache_local_get(c->local, key, into, time_mono_ns());
}

void cache_put(struct cache *c, const char *key, const void *data, size_t n, int64_t ttl_s)
{
    const struct cache_value v = {data, n, time_mono_ns() + (uint64_t)ttl_s * WIND_NS_PER_S};

    cache_local_put(c->local, key, &v);
}

void cache_drop(struct cache *c, const char *key)
{
    cache_local_drop(c->local, key);
}

/* ---------------------------------------------------------------- limits */

int cache_limit_new(struct cache_limit **ret, struct cache *c, const char *name,
                    const struct ratelimit_conf *conf, struct err *e)
{
    WIND_AUTO(cache_limit) struct cache_limit *l = calloc(1, sizeof(*l));
    (void)c;
    if (l == NULL)
        return err_set(e, -ENOMEM, "limit '%s': out of memory", name);
    const int r = ratelimit_new(&l->here, conf, e);
    if (r != 0)
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): it does not see WIND_AUTO */
        return r;
    *ret = WIND_STEAL(l);
    return 0;
}

struct cache_limit *cache_limit_free(struct cache_limit *l)
{
    if (l == NULL)
        return NULL;
    ratelimit_free(l->here);
    free(l);
    return NULL;
}

struct ratelimit_verdict cache_limit_take(struct cache_limit *l, const char *key)
{
    return ratelimit_take(l->here, key, time_mono_ns());
}

void cache_limit_give_back(struct cache_limit *l, const char *key)
{
    ratelimit_give_back(l->here, key);
}

/* ---------------------------------------------------------------- topics */

void cache_listen(struct cache *c, enum cache_topic t, cache_fn *fn, void *arg)
{
    c->listeners[t] = (struct listener){fn, arg};
}

void cache_publish(struct cache *c, enum cache_topic t, const char *text)
{
    const struct listener *l = &c->listeners[t];

    if (l->fn != NULL)
        l->fn(l->arg, text);
}

bool cache_is_current(struct cache *c)
{
    (void)c;
    return true;
}
