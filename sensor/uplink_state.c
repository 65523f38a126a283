#include "sensor/uplink_state.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

int uplink_state_new(struct uplink_state **ret_state, struct err *e)
{
    void *map = mmap(NULL, sizeof(struct uplink_state), PROT_READ | PROT_WRITE,
                     MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (map == MAP_FAILED)
        return err_set(e, -errno, "uplink: no shared memory: %s", strerror(errno));
    *ret_state = map;
    return 0;
}

struct uplink_state *uplink_state_free(struct uplink_state *s)
{
    if (s != NULL)
        (void)munmap(s, sizeof(*s));
    return NULL;
}

void uplink_state_publish(const struct uplink_commit *c, const struct spool *spool,
                          struct counters *counters)
{
    counters_set(counters, COUNTER_uplink_records, c->records);
    counters_set(counters, COUNTER_uplink_bad_records, c->bad_records);
    counters_set(counters, COUNTER_uplink_lines, c->lines);
    counters_set(counters, COUNTER_uplink_lines_lost, c->lines_lost);
    counters_set(counters, COUNTER_uplink_write_errors, c->write_errors);
    counters_set(counters, COUNTER_alert_logged, c->logged);
    atomic_store_explicit(&counters->alert_lines, c->alert_lines, memory_order_release);
    if (spool == NULL)
        return;
    counters_set(counters, COUNTER_kafka_flows, c->others.flows);
    counters_set(counters, COUNTER_kafka_flows_delivered, c->others.flows_delivered);
    counters_set(counters, COUNTER_kafka_flows_dropped, c->others.flows_dropped);
    counters_set(counters, COUNTER_kafka_flows_waiting,
                 c->others.flows - c->others.flows_delivered - c->others.flows_dropped);
    counters_set(counters, COUNTER_uplink_requests, c->books.requests);
    counters_set(counters, COUNTER_uplink_failures, c->books.failures);
    counters_set(counters, COUNTER_alert_delivered, sender_delivered(&c->books));
    counters_set(counters, COUNTER_alert_rejected, c->books.rejected);
    counters_set(counters, COUNTER_alert_lost_spool, c->books.lost + c->books.gone);
    counters_set(counters, COUNTER_alert_spooled, sender_waiting(&c->books, c->spool_next));
    counters_set(counters, COUNTER_spool_bytes, spool_bytes(spool));
    counters_set(counters, COUNTER_spool_held, spool_held(spool) - c->books.gone);
}
