#include "sensor/reload.h"

#include <stdio.h>
#include <string.h>

#include "common/log.h"

static const char *const at_once[] = {"flow.max", "flow.memcap"};

bool reload_is_meant(const struct sensor_args *args)
{
    return args->pcap == NULL && args->conf.file != NULL;
}

static bool is_at_once(const char *name)
{
    for (size_t i = 0; i < WIND_ARRAY_SIZE(at_once); i++)
        if (strcmp(at_once[i], name) == 0)
            return true;
    return false;
}

/* Of the settings that differ, those that wait for the next start, with commas between them. */
static size_t list_waiting(const char *const *differ, size_t n, char *out, size_t size)
{
    size_t waiting = 0;

    out[0] = '\0';
    for (size_t i = 0; i < n; i++) {
        const size_t at = strlen(out);

        if (!is_at_once(differ[i]))
            (void)snprintf(out + at, size - at, "%s%s", waiting++ > 0 ? ", " : "", differ[i]);
    }
    return waiting;
}

void reload(const struct sensor_args *args, const struct sensor_conf *running,
            struct counters *counters, unsigned n)
{
    static struct sensor_conf wanted; /* static: large */
    const char *differ[CONF_KEYS_MAX];
    char waiting[512];
    struct err e = {0};

    if (sensor_conf_load(args, &wanted, &e) < 0) {
        log_error("reload: %s; going on as before", e.text);
        return;
    }
    if (wanted.name[0] == '\0')
        memcpy(wanted.name, running->name, sizeof(wanted.name)); /* the machine's */
    const size_t max = sensor_conf_flows_max(&wanted);
    for (unsigned i = 0; i < n; i++) { /* as crew.c shares it */
        const size_t part = max / n + (i < max % n);
        atomic_store_explicit(&counters[i].flow_max, part > 0 ? part : 1, memory_order_relaxed);
    }
    const size_t changed = conf_differ(sensor_keys, running, &wanted, differ);
    log_info("reload: at most %zu flows%s", max,
             max > sensor_conf_flows_max(running) ? ", but no more than at the start" : "");
    if (list_waiting(differ, changed, waiting, sizeof(waiting)) > 0)
        log_warn("reload: these settings take effect at the next start: %s", waiting);
}
