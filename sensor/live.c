#include "sensor/live.h"

#include <stdio.h>

#include "common/log.h"
#include "sensor/nic.h"

#define LINK_BYTES 22 /* Ethernet's header and two tags: beside what the MTU counts */

int live_open(const struct sensor_conf *conf, struct capture_group *fanout,
              struct capture **ret_capture, struct err *e)
{
    struct capture_live live = {.filter = conf->filter,
                                .snaplen = (uint32_t)conf->snaplen,
                                .buffer_bytes = (uint32_t)conf->kernel_buffer,
                                .backend = (enum capture_backend)conf->capture_backend,
                                .promiscuous = conf->promiscuous,
                                .fanout = fanout,
                                .fanout_hosts = conf->fanout == FANOUT_HOSTS,
                                .fanout_defrag = conf->fanout_defrag};

    for (size_t i = 0; i < conf->interfaces.n && i < CAPTURE_INTERFACES_MAX; i++)
        live.interface[i] = conf->interfaces.item[i];
    return capture_live_new(ret_capture, &live, e);
}

static void warn_of(const char *name, const struct nic *nic)
{
    if (nic->gro || nic->lro)
        log_warn("'%s' puts packets together before they are seen (%s%s%s): their sizes, times "
                 "and counts are not those of the wire; mend it: ethtool -K %s%s%s",
                 name, nic->gro ? "GRO" : "", nic->gro && nic->lro ? ", " : "",
                 nic->lro ? "LRO" : "", name, nic->gro ? " gro off" : "",
                 nic->lro ? " lro off" : "");
    if (!nic->is_up)
        log_warn("'%s' is down: waiting for it (ip link set %s up)", name, name);
}

uint32_t live_look(const struct sensor_conf *conf, struct counters *counters)
{
    uint32_t frame_max = 0;
    uint64_t offloads = 0;

    for (size_t i = 0; i < conf->interfaces.n; i++) {
        struct nic nic;

        nic_probe(conf->interfaces.item[i], &nic);
        if (nic.is_loopback) { /* there is no wire that it could differ from */
            frame_max = UINT32_MAX;
            continue;
        }
        offloads += nic.gro || nic.lro;
        warn_of(conf->interfaces.item[i], &nic);
        if (nic.mtu != 0 && nic.mtu + LINK_BYTES > frame_max)
            frame_max = nic.mtu + LINK_BYTES;
    }
    counters_set(counters, COUNTER_span_offloads, offloads);
    return frame_max;
}

void live_describe(const struct sensor_conf *conf, const char *backend, char *out, size_t size)
{
    const struct conf_list *const list = &conf->interfaces;
    size_t at = (size_t)snprintf(out, size, "listening on ");

    for (size_t i = 0; i < list->n && at < size; i++)
        at += (size_t)snprintf(out + at, size - at, "%s'%s'", i > 0 ? ", " : "", list->item[i]);
    if (at < size)
        (void)snprintf(out + at, size - at, " by %s", backend);
}
