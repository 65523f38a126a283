#include "collector/disk_guard.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/statvfs.h>

#define GB (UINT64_C(1) << 30)

const char *const disk_stage_words[DISK_STAGES] = {"fine", "low", "high", "flood"};
const uint64_t disk_guard_room[DISK_STAGES] = {UINT64_MAX, 40 * GB, 20 * GB, 4 * GB};

int disk_use_of(const char *folder, struct disk_use *ret, struct err *e)
{
    struct statvfs v;

    if (statvfs(folder, &v) != 0)
        return err_set(e, -errno, "'%s': %s", folder, strerror(errno));
    /* What only root may use counts as used. */
    ret->free = (uint64_t)v.f_bavail * v.f_frsize;
    ret->total = (uint64_t)(v.f_blocks - v.f_bfree + v.f_bavail) * v.f_frsize;
    return 0;
}

/* What has to be free so that less than `percent` is in use. */
static uint64_t wanted(const struct disk_use *use, unsigned percent, enum disk_stage stage)
{
    const uint64_t part = use->total / 100 * (100 - percent);

    return part < disk_guard_room[stage] ? part : disk_guard_room[stage];
}

uint64_t disk_guard_excess(const struct disk_guard *g, const struct disk_use *use,
                           enum disk_stage stage)
{
    const uint64_t want = wanted(use, g->percent[stage] - DISK_GUARD_BACK, stage);

    return use->free < want ? want - use->free : 0;
}

enum disk_stage disk_guard_look(struct disk_guard *g, const struct disk_use *use)
{
    const enum disk_stage before = disk_guard_stage(g);
    enum disk_stage stage = DISK_FINE;

    for (enum disk_stage s = DISK_LOW; s < DISK_STAGES; s++) {
        const unsigned percent = g->percent[s] - (s <= before ? DISK_GUARD_BACK : 0);
        if (use->free < wanted(use, percent, s))
            stage = s;
    }
    atomic_store_explicit(&g->stage, (int)stage, memory_order_relaxed);
    return stage;
}

enum disk_stage disk_guard_stage(const struct disk_guard *g)
{
    return (enum disk_stage)atomic_load_explicit(&g->stage, memory_order_relaxed);
}
