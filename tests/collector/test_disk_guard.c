#include "collector/disk_guard.h"

#include <criterion/criterion.h>

#define MB (UINT64_C(1) << 20)
#define GB (UINT64_C(1) << 30)

static struct disk_guard guard(void)
{
    return (struct disk_guard){.percent = {[DISK_LOW] = 85, [DISK_HIGH] = 90, [DISK_FLOOD] = 95}};
}

/* On a disk of 1000 MB. */
static enum disk_stage at(struct disk_guard *g, unsigned used_mb)
{
    const struct disk_use use = {1000 * MB, (1000 - used_mb) * MB};
    return disk_guard_look(g, &use);
}

Test(disk_guard, each_stage_begins_at_its_percent_and_ends_two_points_below)
{
    struct disk_guard g = guard();

    cr_assert_eq(at(&g, 850), DISK_FINE);
    cr_assert_eq(at(&g, 851), DISK_LOW);
    cr_assert_eq(at(&g, 840), DISK_LOW, "it stays");
    cr_assert_eq(at(&g, 830), DISK_FINE);
    cr_assert_eq(at(&g, 840), DISK_FINE, "and begins at the same place again");
    cr_assert_eq(at(&g, 951), DISK_FLOOD, "at once");
    cr_assert_eq(at(&g, 940), DISK_FLOOD);
    cr_assert_eq(at(&g, 930), DISK_HIGH);
    cr_assert_eq(at(&g, 881), DISK_HIGH);
    cr_assert_eq(at(&g, 880), DISK_LOW);
    cr_assert_eq(disk_guard_stage(&g), DISK_LOW);
}

Test(disk_guard, what_has_to_go_ends_the_stage)
{
    struct disk_guard g = guard();

    for (unsigned used = 0; used <= 1000; used++) {
        struct disk_use use = {1000 * MB, (1000 - used) * MB};
        (void)disk_guard_look(&g, &use);
        use.free += disk_guard_excess(&g, &use, DISK_HIGH);
        cr_assert_lt(disk_guard_look(&g, &use), DISK_HIGH, "%u", used);
    }
}

Test(disk_guard, a_large_disk_may_be_fuller)
{
    struct disk_guard g = guard();
    struct disk_use use = {10000 * GB, 41 * GB};

    cr_assert_eq(disk_guard_look(&g, &use), DISK_FINE, "99.6 percent, and 41 GB to go");
    use.free = 39 * GB;
    cr_assert_eq(disk_guard_look(&g, &use), DISK_LOW);
    use.free = 19 * GB;
    cr_assert_eq(disk_guard_look(&g, &use), DISK_HIGH);
    use.free = 3 * GB;
    cr_assert_eq(disk_guard_look(&g, &use), DISK_FLOOD);
}

Test(disk_guard, it_asks_the_real_disk)
{
    struct disk_use use = {0};
    struct err e = {0};

    cr_assert_eq(disk_use_of("/", &use, &e), 0);
    cr_assert_gt(use.total, 0);
    cr_assert_leq(use.free, use.total);
    cr_assert_lt(disk_use_of("/nowhere/at/all", &use, &e), 0);
    cr_assert(e.text[0] != '\0');
}
