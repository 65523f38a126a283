#include "common/rings.h"

#include <errno.h>
#include <stdlib.h>

int rings_new(struct rings **ret_rings, unsigned n, size_t bytes, unsigned stages, struct err *e)
{
    if (n < 1 || n > RINGS_MAX)
        return err_set(e, -EINVAL, "rings: %u is outside 1..%d", n, RINGS_MAX);
    WIND_AUTO(rings) struct rings *r = calloc(1, sizeof(*r));
    if (r == NULL)
        return err_set(e, -ENOMEM, "rings: out of memory");
    for (; r->n < n; r->n++) {
        const int failed = ring_new(&r->ring[r->n], bytes, stages, e);
        if (failed < 0)
            return failed;
        ring_share_bells(r->ring[r->n], r->ring[0]);
    }
    *ret_rings = WIND_STEAL(r);
    return 0;
}

struct rings *rings_free(struct rings *r)
{
    if (r != NULL) {
        for (unsigned i = 0; i < r->n; i++)
            r->ring[i] = ring_free(r->ring[i]);
        free(r);
    }
    return NULL;
}

void rings_wait_data(const struct rings *r, unsigned stage, int wait_ms)
{
    ring_wait_any(r->ring, r->n, stage, wait_ms);
}

void rings_wake(const struct rings *r, unsigned stage)
{
    ring_wake(r->ring[0], stage);
}
