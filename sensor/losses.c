#include "sensor/losses.h"

static uint64_t sum(const struct counters *c, enum counter first, enum counter last)
{
    uint64_t n = 0;

    for (enum counter i = first; i <= last; i++)
        n += counters_get(c, i);
    return n;
}

/* What it had not taken out of its ring went with it, as far as the kernel had been asked. */
static void count_kernel_lost(struct counters *c)
{
    const uint64_t known = counters_get(c, COUNTER_capture_packets) +
                           counters_get(c, COUNTER_capture_kernel_drops) +
                           counters_get(c, COUNTER_capture_kernel_lost);
    const uint64_t seen = counters_get(c, COUNTER_capture_kernel_packets);

    counters_set(c, COUNTER_capture_kernel_left, 0);
    if (seen > known)
        counters_add(c, COUNTER_capture_kernel_lost, seen - known);
    else
        counters_set(c, COUNTER_capture_kernel_packets, known);
}

/* What a worker had taken and not accounted for; of worker 0 also the analysis. */
static void count_losses(struct counters *c, bool is_live)
{
    const uint64_t decoded = sum(c, COUNTER_decoder_OK, COUNTER_decoder_lost);
    const uint64_t ended = sum(c, COUNTER_flow_ended_closed, COUNTER_flow_ended_crashed);
    const uint64_t told =
        counters_get(c, COUNTER_alert_suppressed) + counters_get(c, COUNTER_alert_lost_ring) +
        counters_get(c, COUNTER_alert_lost_crash) + counters_get(c, COUNTER_alert_published);

    counters_add(c, COUNTER_decoder_lost, counters_get(c, COUNTER_capture_packets) - decoded);
    if (is_live)
        count_kernel_lost(c);
    counters_add(c, COUNTER_flow_ended_crashed,
                 counters_get(c, COUNTER_flow_made) - ended -
                     counters_get(c, COUNTER_flow_lost_ring));
    counters_add(c, COUNTER_alert_lost_crash, counters_get(c, COUNTER_alert_raised) - told);
    counters_set(c, COUNTER_flow_live, 0);
    counters_set(c, COUNTER_facts_bytes, 0);
    counters_set(c, COUNTER_names_live, 0);
    counters_set(c, COUNTER_alert_open, 0);
}

void losses_settle(struct counters *sections, const struct rings *flows, const struct ring *alerts,
                   bool is_live)
{
    tally_settle(sections, &sections->alert_tally, ring_produced(alerts));
    for (unsigned i = 0; i < flows->n; i++) {
        struct counters *const c = &sections[i];
        tally_settle(c, &c->flow_tally, ring_produced(flows->ring[i]));
        count_losses(c, is_live);
    }
}
