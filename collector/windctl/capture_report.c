#include "collector/windctl/capture_report.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/base.h"

#define OWN_ENOUGH 100 /* of the packets that are compared: one in 32 */

/* A share of at least 1 / one_in, of at least `least`. The first that applies has its fix shown. */
static const struct rule {
    const char *group, *part, *of_group, *of;
    json_int_t least, one_in;
    const char *text, *fix;
} rules[] = {
    {"capture", "kernel_drops", "capture", "kernel_packets", 1000, 1000,
     "of its packets are dropped by the kernel",
     "a larger capture.buffer, a capture.filter, or more workers"},
    {"span", "duplicates", "span", "sampled", 128, 20, "of its packets come twice",
     "let the switch mirror each packet once: one direction of every port, or the uplink alone"},
    {"span", "tcp_one_way", "span", "tcp_flows", 50, 5,
     "of its TCP flows are seen in one direction only",
     "let the switch mirror both directions (rx and tx) of the port"},
    {"span", "oversized", "capture", "packets", 1000, 100,
     "of its packets are larger than a frame can be",
     "ethtool -K IFACE gro off lro off; on a host that watches itself also tso off gso off"},
    {"span", "bad_checksums", "span", "checksums", 64, 10, "of its packets have a wrong checksum",
     "on a host that watches itself: ethtool -K IFACE tx off; else look for a bad cable"},
};

static json_int_t number(const json_t *stats, const char *group, const char *name)
{
    return json_integer_value(json_object_get(json_object_get(stats, group), name));
}

static void WIND_PRINTF(3, 4)
    add(struct capture_report *r, const char *fix, const char *format, ...)
{
    const size_t at = strlen(r->text);
    va_list args;

    (void)snprintf(r->text + at, sizeof(r->text) - at, "%s", at > 0 ? "; " : "");
    va_start(args, format);
    (void)vsnprintf(r->text + strlen(r->text), sizeof(r->text) - strlen(r->text), format, args);
    va_end(args);
    if (r->fix == NULL)
        r->fix = fix;
}

void capture_report_make(const json_t *stats, struct capture_report *ret_report)
{
    *ret_report = (struct capture_report){.fix = NULL};
    for (size_t i = 0; i < WIND_ARRAY_SIZE(rules); i++) {
        const struct rule *const r = &rules[i];
        const json_int_t part = number(stats, r->group, r->part);
        const json_int_t of = number(stats, r->of_group, r->of);

        if (part > 0 && of >= r->least && part >= of / r->one_in)
            add(ret_report, r->fix, "%.1f %% %s", 100.0 * (double)part / (double)of, r->text);
    }
    ret_report->is_alone =
        number(stats, "span", "own") >= OWN_ENOUGH && number(stats, "span", "others") == 0;
    const json_int_t offloads = number(stats, "span", "offloads");
    if (offloads > 0)
        add(ret_report, "ethtool -K IFACE gro off lro off",
            "%lld of its interfaces put packets together before they are seen (GRO, LRO)",
            (long long)offloads);
}
