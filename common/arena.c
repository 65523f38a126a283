#include "common/arena.h"

#include <errno.h>
#include <stdalign.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define ARENA_ALIGN alignof(max_align_t)

#ifdef WIND_SANITIZED
struct piece {
    struct piece *next;
    max_align_t data[];
};
#endif

struct arena {
    size_t size, used;
#ifdef WIND_SANITIZED
    struct piece *pieces;
#else
    max_align_t block[];
#endif
};

int arena_new(struct arena **ret_arena, size_t bytes, struct err *e)
{
    if (bytes == 0 || bytes > SIZE_MAX / 2)
        return err_set(e, -EINVAL, "arena: %zu bytes is no size", bytes);
#ifdef WIND_SANITIZED
    struct arena *a = malloc(sizeof(*a));
#else
    struct arena *a = malloc(sizeof(*a) + bytes);
#endif
    if (a == NULL)
        return err_set(e, -ENOMEM, "arena: out of memory for %zu bytes", bytes);
    memset(a, 0, sizeof(*a));
    a->size = bytes;
    *ret_arena = a;
    return 0;
}

struct arena *arena_free(struct arena *a)
{
    if (a != NULL)
        arena_reset(a);
    free(a);
    return NULL;
}

void *arena_alloc(struct arena *a, size_t n)
{
    if (n > a->size)
        return NULL;
    const size_t need = (n + ARENA_ALIGN - 1) / ARENA_ALIGN * ARENA_ALIGN;
    if (need > a->size - a->used)
        return NULL;
#ifdef WIND_SANITIZED
    struct piece *p = malloc(sizeof(*p) + n);
    if (p == NULL)
        return NULL;
    p->next = a->pieces;
    a->pieces = p;
    void *at = p->data;
#else
    void *at = (char *)a->block + a->used;
#endif
    a->used += need;
    return at;
}

char *arena_text(struct arena *a, const char *s, size_t n)
{
    char *text = n < SIZE_MAX ? arena_alloc(a, n + 1) : NULL;

    if (text != NULL) {
        memcpy(text, s, n);
        text[n] = '\0';
    }
    return text;
}

void arena_reset(struct arena *a)
{
#ifdef WIND_SANITIZED
    while (a->pieces != NULL) {
        struct piece *next = a->pieces->next;

        free(a->pieces);
        a->pieces = next;
    }
#endif
    a->used = 0;
}

size_t arena_used(const struct arena *a)
{
    return a->used;
}
