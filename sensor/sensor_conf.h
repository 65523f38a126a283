/*
 * sensor_conf.h - the sensor's settings and command line.
 *
 * Why      One table gives defaults, parsing, ranges, --print-config and the packaged sample.
 * Owns     Nothing: the struct is plain data without pointers, and can be copied.
 * Threads  Start-up only; immutable afterwards.
 *
 * Later beats earlier: defaults, -c FILE (or /etc/wind/sensor.yaml and conf.d when they are there
 * and an interface is listened on), environment WIND_SECTION__KEY, --set.
 */
#pragma once

#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/cli.h"

enum sensor_fanout { FANOUT_FLOW, FANOUT_HOSTS };

struct sensor_conf {
    char name[64];
    struct conf_list home_nets;

    struct conf_list interfaces;
    char filter[256];
    int capture_backend; /* enum capture_backend */
    bool promiscuous, fanout_defrag, span_check;
    int fanout; /* enum sensor_fanout */
    int64_t snaplen, kernel_buffer, workers, files_max;

    bool tunnels, vlan_in_key;
    int64_t tunnel_depth, decode_anomalies;
    int64_t defrag_max, defrag_memory, defrag_timeout;
    int64_t flow_max, flow_memcap, flow_idle, flow_idle_udp, flow_idle_new, flow_half_open,
        flow_linger, flow_active, flow_first_pkts;
    bool dpi_enabled;
    int64_t dpi_flows, dpi_packets;
    int64_t facts_memory, facts_streams;
    int64_t names_max, names_ttl_min, names_ttl_max;
    int level; /* enum analysis_level */
    bool ladder;
    int64_t hosts_max;
    char model_path[512];

    int64_t detect_max, scan_targets, brute_attempts, beacon_events, beacon_min, beacon_max;
    char anomaly_p[16];
    int64_t anomaly_flows;
    int64_t alert_max_open, alert_quiet;

    int64_t ring_size, alert_ring_size;
    int64_t community_seed;
    int64_t stats_interval;

    char url[512], key_file[512], ca_file[512];
    bool insecure;
    int64_t heartbeat, drain;
    char kafka_brokers[512], kafka_prefix[32], kafka_password_file[512];
    int kafka_flows; /* enum flow_feed_which */
    int64_t kafka_flow_sample, kafka_queue;
    struct conf_list kafka_options;
    char spool_dir[512];
    int64_t spool_max, spool_age, spool_fsync;
};

/* What only the command line can say. Texts are borrowed from argv. */
struct sensor_args {
    struct cli_conf conf;
    const char *pcap;            /* -r: a file, a folder, or "-"; NULL: live */
    struct conf_list interfaces; /* -i, once or more; goes into the settings */
    const char *dir;             /* -l */
    const char *features;        /* --features, or NULL */
    const char *run_id;          /* --run-id, or NULL */
    const char *user, *group;
    double speed; /* --speed; 0: at once */
    bool follow;  /* --follow */
    bool quiet;
};

extern const struct conf_key sensor_keys[];

/* The settings anew, from the same command line: what it names may have changed. */
WIND_MUST_USE int sensor_conf_load(const struct sensor_args *args, struct sensor_conf *ret_conf,
                                   struct err *e);

/* Brokers, options and password for librdkafka. */
WIND_MUST_USE int sensor_conf_kafka(const struct sensor_conf *c, rd_kafka_conf_t **ret_kafka,
                                    struct err *e);

/* Flows of all workers together: flow.max, or what fits into flow.memcap. */
size_t sensor_conf_flows_max(const struct sensor_conf *c);

/*
 * Read the command line, files and environment. Returns 0, CLI_DONE, CLI_USAGE, or another
 * negative: the configuration is wrong.
 */
WIND_MUST_USE int sensor_conf_from_args(int argc, char **argv, struct sensor_conf *ret_conf,
                                        struct sensor_args *ret_args, struct err *e);
