/*
 * flow_life.h - when a flow is over or due, and how little it would be missed.
 *
 * Why      The rules of a flow's life, apart from the table and the wheel that carry them out.
 *          Inline: they are asked at every packet.
 * Owns     Nothing.
 * Threads  Any: there is no state.
 * Bounds   Times are of the table's clock.
 */
#pragma once

#include <netinet/in.h>

#include "sensor/flow_table.h"

/* Nobody has answered yet, or the opener never went on: all that a flood of openings makes. */
static inline bool flow_is_half_open(const struct flow *f)
{
    return f->state == FLOW_NEW || (f->state == FLOW_ESTABLISHED && f->key.proto == IPPROTO_TCP &&
                                    !(f->tcp_flags[0] & TCP_ACK));
}

static inline bool flow_is_over(const struct flow *f)
{
    return f->state == FLOW_CLOSED || f->state == FLOW_RESET;
}

/* How long it may be silent. */
static inline uint64_t flow_patience(const struct flow_table_conf *c, const struct flow *f)
{
    if (flow_is_over(f))
        return c->linger_ns;
    if (f->state == FLOW_NEW)
        return c->idle_new_ns;
    if (f->key.proto != IPPROTO_TCP && c->idle_udp_ns != 0)
        return c->idle_udp_ns;
    return flow_is_half_open(f) && c->half_open_ns != 0 ? c->half_open_ns : c->idle_ns;
}

/* When the next update is due. Never, if nothing came since, or if the flow ends soon after. */
static inline uint64_t flow_update_due(const struct flow_table_conf *c, const struct flow *f)
{
    const uint64_t at = f->update_ns + c->active_ns;
    const bool is_wanted =
        f->seen_ns > f->update_ns && at + c->active_ns / 2 <= f->seen_ns + flow_patience(c, f);

    return is_wanted ? at : UINT64_MAX;
}

/* When something is due for this flow, by the clock. */
static inline uint64_t flow_due(const struct flow_table_conf *c, const struct flow *f)
{
    const uint64_t update = flow_update_due(c, f);
    uint64_t at = f->seen_ns + flow_patience(c, f);

    if (f->opening == OPENING_PENDING && f->made_ns + FLOW_OPENING_WAIT_NS < at)
        at = f->made_ns + FLOW_OPENING_WAIT_NS;
    return update < at ? update : at;
}

/*
 * How little it would be missed: what it is first, then how long it has been idle, beside how long
 * it lasted until then: what lasted for a minute may well come back after another. It looks at two
 * lines of the entry.
 */
static inline uint64_t flow_dispensable(const struct flow *f, uint64_t clock_ns)
{
    const uint64_t seconds = (f->seen_ns - f->made_ns) >> FLOW_TABLE_TICK_SHIFT;
    const uint64_t missed = (clock_ns - f->seen_ns) / (1 + seconds) / 8;

    if (flow_is_over(f))
        return UINT64_C(2) << 61 | missed;
    return (flow_is_half_open(f) ? UINT64_C(1) << 61 : 0) | missed;
}
