#include "sensor/uplink_setup.h"

#include <errno.h>
#include <stdio.h>
#include <sys/prctl.h>

#include "common/crypto.h"
#include "sensor/input.h"
#include "sensor/sink_http.h"

/* Where output goes. A name that was cut would be another file. */
static int set_paths(const struct sensor_conf *c, const struct sensor_args *args,
                     struct uplink_conf *u, struct err *e)
{
    const int eve = snprintf(u->eve_path, sizeof(u->eve_path), "%s/eve.json", args->dir);
    const int spool = c->spool_dir[0] != '\0'
                          ? snprintf(u->spool.dir, sizeof(u->spool.dir), "%s", c->spool_dir)
                          : snprintf(u->spool.dir, sizeof(u->spool.dir), "%s/spool", args->dir);

    if (eve < 0 || (size_t)eve >= sizeof(u->eve_path) || spool < 0 ||
        (size_t)spool >= sizeof(u->spool.dir))
        return err_set(e, -ENAMETOOLONG, "-l: the path is longer than %zu characters",
                       sizeof(u->eve_path) - sizeof("/eve.json"));
    return 0;
}

/* Key or password is in memory from now on: no core dump, no look from outside. */
static int load_key(const struct sensor_conf *c, struct sink_conf *sink,
                    rd_kafka_conf_t **ret_kafka, struct err *e)
{
    int r = 0;

    (void)prctl(PR_SET_DUMPABLE, 0);
    if (c->kafka_brokers[0] != '\0') {
        r = sensor_conf_kafka(c, ret_kafka, e);
        sink->kafka = *ret_kafka;
        return r;
    }
    r = sink_key_load(sink, c->key_file, e);
    return r < 0 ? r : sink_conf_check(sink, e);
}

/* What the uplink says about itself, and where to. */
static void configure_sink(const struct sensor_conf *c, bool is_replay, struct sink_conf *sink)
{
    uint8_t run[(SINK_RUN_TEXT - 1) / 2];

    *sink = (struct sink_conf){.version = WIND_VERSION,
                               .insecure = c->insecure,
                               .queue_bytes = (uint64_t)c->kafka_queue,
                               .is_patient = is_replay};
    crypto_random(run, sizeof(run));
    (void)hex_encode(run, sizeof(run), sink->run);
    (void)snprintf(sink->sensor, sizeof(sink->sensor), "%s", c->name);
    (void)snprintf(sink->prefix, sizeof(sink->prefix), "%s", c->kafka_prefix);
    (void)snprintf(sink->url, sizeof(sink->url), "%s", c->url);
    (void)snprintf(sink->ca_file, sizeof(sink->ca_file), "%s", c->ca_file);
}

int uplink_setup(const struct sensor_conf *c, const struct sensor_args *args,
                 struct uplink_conf *ret_conf, rd_kafka_conf_t **ret_kafka, struct err *e)
{
    struct uplink_conf *const u = ret_conf;
    const char *pcap = args->pcap;

    *u = (struct uplink_conf){
        .is_replay = pcap != NULL && !args->follow,
        .stats_ns = (uint64_t)c->stats_interval,
        .heartbeat_ns = (uint64_t)c->heartbeat,
        .drain_ns = (uint64_t)c->drain,
        .source = {.community_seed = (uint16_t)c->community_seed, .coverage = 1},
        .flows = c->kafka_brokers[0] != '\0' ? c->kafka_flows : FLOW_FEED_NONE,
        .flow_sample = (uint64_t)c->kafka_flow_sample,
        .spool = {.max_bytes = (uint64_t)c->spool_max,
                  .max_age_ns = (uint64_t)c->spool_age,
                  .fsync_ns = (uint64_t)c->spool_fsync},
    };
    const int r = set_paths(c, args, u, e);
    (void)snprintf(u->source.sensor, sizeof(u->source.sensor), "%s", c->name);
    input_name(pcap != NULL ? pcap : "", u->source.pcap, sizeof(u->source.pcap));
    for (size_t i = 0; pcap == NULL && i < c->interfaces.n && i < CAPTURE_INTERFACES_MAX; i++)
        (void)snprintf(u->source.iface[i], sizeof(u->source.iface[i]), "%.15s",
                       c->interfaces.item[i]);
    configure_sink(c, u->is_replay, &u->sink);
    const bool is_set = c->url[0] != '\0' || c->kafka_brokers[0] != '\0';
    return r < 0 || !is_set ? r : load_key(c, &u->sink, ret_kafka, e);
}
