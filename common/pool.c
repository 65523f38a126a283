#include "common/pool.h"

#include <errno.h>
#include <stdalign.h>
#include <stdint.h>
#include <stdlib.h>

#include "common/huge.h"

struct spare {
    struct spare *next;
};

struct pool {
    size_t object_bytes, capacity;
    size_t taken;
    size_t fresh;         /* objects from here on were never taken */
    struct spare *spares; /* those that came back */
    char *block;
};

static size_t alignment(size_t object_bytes)
{
    return object_bytes >= WIND_CACHE_LINE ? WIND_CACHE_LINE : alignof(max_align_t);
}

static size_t padded(size_t object_bytes)
{
    const size_t align = alignment(object_bytes);

    return (object_bytes + align - 1) / align * align;
}

int pool_new(struct pool **ret_pool, size_t object_bytes, size_t capacity, struct err *e)
{
    if (object_bytes == 0 || capacity == 0 || object_bytes > SIZE_MAX / 2 ||
        capacity > SIZE_MAX / 2 / padded(object_bytes))
        return err_set(e, -EINVAL, "pool: %zu objects of %zu bytes is no size", capacity,
                       object_bytes);

    struct pool *p = malloc(sizeof(*p));
    if (p == NULL)
        return err_set(e, -ENOMEM, "pool: out of memory");
    *p = (struct pool){.object_bytes = padded(object_bytes), .capacity = capacity};
#ifndef WIND_SANITIZED
    const size_t bytes = p->object_bytes * capacity;
    p->block = aligned_alloc(WIND_CACHE_LINE,
                             (bytes + WIND_CACHE_LINE - 1) / WIND_CACHE_LINE * WIND_CACHE_LINE);
    huge_advise(p->block, bytes);
    if (p->block == NULL) {
        (void)pool_free(p);
        return err_set(e, -ENOMEM, "pool: out of memory for %zu bytes", bytes);
    }
#else
    p->object_bytes = object_bytes;
#endif
    *ret_pool = p;
    return 0;
}

struct pool *pool_free(struct pool *p)
{
    if (p != NULL)
        free(p->block);
    free(p);
    return NULL;
}

#ifdef WIND_SANITIZED

static void *get(struct pool *p)
{
    void *object;

    if (posix_memalign(&object, alignment(p->object_bytes), p->object_bytes) != 0)
        return NULL;
    return object;
}

static void put(struct pool *p, void *object)
{
    (void)p;
    free(object);
}

#else

static void *get(struct pool *p)
{
    struct spare *s = p->spares;

    if (s != NULL) {
        p->spares = s->next;
        return s;
    }
    return p->block + p->object_bytes * p->fresh++;
}

static void put(struct pool *p, void *object)
{
    struct spare *s = object;

    s->next = p->spares;
    p->spares = s;
}

#endif

void *pool_take(struct pool *p)
{
    if (p->taken == p->capacity)
        return NULL;
    void *object = get(p);
    if (object != NULL)
        p->taken++;
    return object;
}

void pool_put(struct pool *p, void *object)
{
    if (object == NULL)
        return;
    WIND_CHECK(p->taken > 0);
    p->taken--;
    put(p, object);
}

size_t pool_taken(const struct pool *p)
{
    return p->taken;
}
