#include "sensor/counter.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

const struct counter_info counter_info[COUNTERS] = {
#define COUNTER(group, name, help)  {#group, #name, help},
#define DECODE(NAME, text, help)    {"decoder", text, help},
#define LAYER(name, function, help) {"layer", #name, "packets with " help},
#include "sensor/counter.def"
#undef LAYER
#undef DECODE
#undef COUNTER
};

#define BYTES (WORKERS_MAX * sizeof(struct counters))

int counters_new(struct counters **ret_counters, struct err *e)
{
    void *map = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (map == MAP_FAILED)
        return err_set(e, -errno, "counters: no shared memory: %s", strerror(errno));
    *ret_counters = map;
    return 0;
}

struct counters *counters_free(struct counters *c)
{
    if (c != NULL)
        (void)munmap(c, BYTES);
    return NULL;
}

uint64_t counters_sum(const struct counters *sections, enum counter which)
{
    uint64_t n = 0;

    for (unsigned i = 0; i < WORKERS_MAX; i++)
        n += counters_get(&sections[i], which);
    return n;
}

uint64_t counters_position(const struct counters *sections, unsigned workers)
{
    uint64_t least = UINT64_MAX;

    for (unsigned i = 0; i < workers; i++) {
        const uint64_t position = atomic_load(&sections[i].position);
        least = position < least ? position : least;
    }
    return least;
}

uint64_t counters_clock(const struct counters *sections)
{
    uint64_t latest_ns = 0;

    for (unsigned i = 0; i < WORKERS_MAX; i++) {
        const uint64_t clock_ns = atomic_load(&sections[i].clock_ns);
        latest_ns = clock_ns > latest_ns ? clock_ns : latest_ns;
    }
    return latest_ns;
}

uint64_t counters_taken(const struct counters *sections)
{
    uint64_t n = 0;

    for (unsigned i = 0; i < WORKERS_MAX; i++)
        n += atomic_load(&sections[i].position);
    return n;
}

void tally_settle(struct counters *c, const struct tally *t, uint64_t produced)
{
    const uint64_t which = atomic_load(&t->which);

    if (which == 0 || which > COUNTERS) /* the dead one may have written anything */
        return;
    if (produced != atomic_load(&t->position) &&
        counters_get(c, (enum counter)(which - 1)) == atomic_load(&t->value))
        counters_add(c, (enum counter)(which - 1), 1);
}
