#include "common/id_map.h"

#include <errno.h>
#include <stdlib.h>

#include "common/hash.h"

#define SIZE_MIN 8

/* Where the key is, or the free slot where it would be. */
static struct id_slot *slot_of(const struct id_map *m, uint64_t key)
{
    size_t at = hash_u64(key, 0) & (m->size - 1);

    while (m->slots[at].key != 0 && m->slots[at].key != key)
        at = (at + 1) & (m->size - 1);
    return &m->slots[at];
}

static int grow(struct id_map *m)
{
    const struct id_map old = *m;
    const size_t size = old.size == 0 ? SIZE_MIN : old.size * 2;
    struct id_slot *slots = calloc(size, sizeof(*slots));

    if (slots == NULL)
        return -ENOMEM;
    m->slots = slots;
    m->size = size;
    for (size_t i = 0; i < old.size; i++)
        if (old.slots[i].key != 0)
            *slot_of(m, old.slots[i].key) = old.slots[i];
    free(old.slots);
    return 0;
}

void *id_map_get(const struct id_map *m, uint64_t key)
{
    return m->n == 0 ? NULL : slot_of(m, key)->value;
}

static int place(struct id_map *m, uint64_t key, struct id_slot **ret_slot)
{
    WIND_CHECK(key != 0);
    const int r = (m->n + 1) * 4 > m->size * 3 ? grow(m) : 0;
    if (r != 0)
        return r;
    struct id_slot *s = slot_of(m, key);
    const bool is_new = s->key == 0;
    m->n += is_new;
    s->key = key;
    *ret_slot = s;
    return is_new;
}

int id_map_put(struct id_map *m, uint64_t key, void *value)
{
    struct id_slot *s = NULL;
    const int r = place(m, key, &s);

    if (r < 0)
        return r;
    WIND_CHECK(s != NULL);
    s->value = value;
    return 0;
}

int id_map_add(struct id_map *m, uint64_t key)
{
    struct id_slot *s = NULL;

    return place(m, key, &s);
}

void id_map_done(struct id_map *m)
{
    free(m->slots);
    *m = (struct id_map){.slots = NULL};
}
