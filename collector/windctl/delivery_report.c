#include "collector/windctl/delivery_report.h"

#include <stdio.h>
#include <string.h>

#include "common/base.h"

static const struct {
    const char *group, *name, *text, *fix;
} rules[] = {
    {"spool", "held", "alerts are in its memory alone", "its disk refuses the spool: df, dmesg"},
    {"alert", "lost_spool", "alerts were lost before they were delivered",
     "was this collector, or Kafka, away for long? spool.max, spool.age, and the sensor's disk"},
    {"alert", "rejected", "alerts were refused for good",
     "its log says why; are sensor and collector of the same version?"},
    {"uplink", "lines_lost", "lines of its eve.json were lost", "its disk was full: df"},
    {"kafka", "flows_dropped", "flows were dropped on their way to Kafka",
     "its log says why; kafka.queue, or fewer flows: kafka.flows"},
};

void delivery_report_make(const json_t *stats, struct delivery_report *ret_report)
{
    struct delivery_report *const r = ret_report;

    *r = (struct delivery_report){.fix = NULL};
    for (size_t i = 0; i < WIND_ARRAY_SIZE(rules); i++) {
        const json_t *const group = json_object_get(stats, rules[i].group);
        const json_int_t n = json_integer_value(json_object_get(group, rules[i].name));
        const size_t at = strlen(r->text);

        if (n <= 0)
            continue;
        (void)snprintf(r->text + at, sizeof(r->text) - at, "%s%lld %s", at > 0 ? "; " : "",
                       (long long)n, rules[i].text);
        if (r->fix == NULL)
            r->fix = rules[i].fix;
    }
}
