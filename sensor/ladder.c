#include "sensor/ladder.h"

#include "common/hash.h"
#include "common/time.h"

#define FADE_AT (UINT32_C(1) << 16)

static const double down_at[] = {[ANALYSIS_COUNTERS] = 0.75, [ANALYSIS_DETECTORS] = 0.5};
static const double up_below = 0.25;

void ladder_init(struct ladder *l, enum analysis_level top)
{
    *l = (struct ladder){.top = top, .level = top};
}

bool ladder_update(struct ladder *l, double fill, uint64_t clock_ns)
{
    enum analysis_level wanted = l->level;

    while (wanted > ANALYSIS_COUNTERS && fill >= down_at[wanted - 1])
        wanted--;
    const bool is_down = wanted < l->level;
    if (fill < up_below && l->level < l->top && clock_ns >= l->changed_ns + WIND_NS_PER_S)
        wanted = l->level + 1;
    if (wanted != l->level || fill >= up_below)
        l->changed_ns = clock_ns; /* a calm second is one without a quarter of the ring */
    l->level = wanted;
    return is_down;
}

static unsigned service_slot(const struct flow_key *k)
{
    return hash_u64((uint64_t)k->proto << 16 | k->dport, 11) % LADDER_SLOTS;
}

static unsigned source_slot(const struct flow_key *k)
{
    return hash64(k->src, sizeof(k->src), 12) % LADDER_SLOTS;
}

static void count(uint16_t *n)
{
    if (*n != UINT16_MAX)
        ++*n;
}

void ladder_see(struct ladder *l, const struct flow *f)
{
    if (++l->flows == FADE_AT) {
        l->flows /= 2;
        for (size_t i = 0; i < LADDER_SLOTS; i++) {
            l->service[i] /= 2;
            l->source[i] /= 2;
        }
    }
    count(&l->service[service_slot(&f->key)]);
    count(&l->source[source_slot(&f->key)]);
}

static bool is_common(const struct ladder *l, uint16_t n)
{
    return (uint32_t)n * LADDER_COMMON > l->flows + LADDER_COMMON;
}

static bool is_spared(const struct ladder *l, const struct flow *f)
{
    const uint64_t pkts = (uint64_t)f->stats.dir[0].pkts + f->stats.dir[1].pkts;

    if (pkts >= LADDER_LONG_PKTS || f->seen_ns - f->made_ns >= LADDER_LONG_NS)
        return true;
    return f->stats.dir[1].pkts > 0 && !is_common(l, l->service[service_slot(&f->key)]) &&
           !is_common(l, l->source[source_slot(&f->key)]);
}

enum analysis_level ladder_level(const struct ladder *l, const struct flow *f)
{
    return l->level == l->top || is_spared(l, f) ? l->top : l->level;
}
