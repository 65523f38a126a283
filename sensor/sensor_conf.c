#include "sensor/sensor_conf.h"

#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/ip.h"
#include "common/record.h"
#include "sensor/capture.h"
#include "sensor/counter.h"
#include "sensor/flow_feed.h"
#include "sensor/flow_table.h"
#include "sensor/sink_http.h"
#include "sensor/sink_kafka.h"

#define S     struct sensor_conf
#define NS(s) ((int64_t)(s)*1000000000)
#define MB    (INT64_C(1) << 20)

static const char *const level_names[] = {
    [ANALYSIS_COUNTERS] = "counters",
    [ANALYSIS_DETECTORS] = "detectors",
    [ANALYSIS_FULL] = "full",
    [ANALYSIS_FULL + 1] = NULL,
};

static const char *const backend_names[] = {
    [CAPTURE_AUTO] = "auto",
    [CAPTURE_AFPACKET] = "afpacket",
    [CAPTURE_LIBPCAP] = "pcap",
    [CAPTURE_LIBPCAP + 1] = NULL,
};

static const char *const fanout_names[] = {
    [FANOUT_FLOW] = "flow",
    [FANOUT_HOSTS] = "hosts",
    [FANOUT_HOSTS + 1] = NULL,
};

static const char *const flows_names[] = {
    [FLOW_FEED_NONE] = "none", [FLOW_FEED_ALERTED] = "alerted", [FLOW_FEED_SAMPLED] = "sampled",
    [FLOW_FEED_ALL] = "all",   [FLOW_FEED_ALL + 1] = NULL,
};

/* clang-format off */
const struct conf_key sensor_keys[] = {
    CONF_TEXT(S, name, "sensor.name", "", "Name of this sensor in every record; empty = the host's name."),
    CONF_LIST(S, home_nets, "home_nets", "10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, fc00::/7",
              "The networks that are ours."),

    CONF_LIST(S, interfaces, "capture.interface", "", "Interfaces to listen on (-i), 16 at most."),
    CONF_ENUM(S, capture_backend, "capture.backend", "auto", backend_names, "How: afpacket (a ring of our own, read in place), pcap (libpcap, for links that it alone knows), or auto (whichever can)."),
    CONF_TEXT(S, filter, "capture.filter", "", "Packets to look at, as pcap-filter(7); empty = all."),
    CONF_BOOL(S, promiscuous, "capture.promiscuous", "yes", "See all traffic on the link."),
    CONF_SIZE(S, snaplen, "capture.snaplen", "64kb", 64, 262144, "Bytes kept of a packet."),
    CONF_SIZE(S, kernel_buffer, "capture.buffer", "64mb", MB, 2047 * MB, "The kernel's buffer for captured packets, one for each interface and worker."),
    CONF_INT(S, workers, "capture.workers", "1", 1, WORKERS_MAX, "Threads that take packets, a share of the flows each; other limits are of all together."),
    CONF_ENUM(S, fanout, "capture.fanout", "flow", fanout_names, "Several workers: which packets of an interface are one worker's: those of a flow, or of two hosts (both directions of a flow in VXLAN or GENEVE have the tunnel's hosts in common, and not its ports)."),
    CONF_BOOL(S, fanout_defrag, "capture.fanout_defrag", "yes", "Several workers: the kernel puts fragments of IPv4 together before it chooses the flow's worker; no = fragments of a flow may be another worker's."),
    CONF_BOOL(S, span_check, "capture.span_check", "yes", "Look for packets that come twice, in one direction only, put together by the card, or with wrong checksums; what is found is an anomaly record of type capture, and live the features that it makes worthless are missing from then on."),
    CONF_INT(S, files_max, "capture.files", "100000", 1, 10000000, "Files of a folder (-r DIR) that are kept in mind; more are left out and counted."),

    CONF_BOOL(S, tunnels, "decode.tunnels", "yes", "A packet in a tunnel (GRE, ERSPAN, VXLAN, GENEVE, IP in IP) belongs to the flow of the innermost packet; no = to the tunnel's."),
    CONF_INT(S, tunnel_depth, "decode.tunnel_depth", "4", 1, 8, "Tunnels in tunnels that are followed; a packet with more is counted as too_deep."),
    CONF_INT(S, decode_anomalies, "decode.anomalies", "10", 0, 100000, "Anomaly records a second of packets that are truncated, malformed, too deep, of an unknown link or overlapping; so many of each."),
    CONF_INT(S, defrag_max, "defrag.max", "4096", 0, 1000000, "Fragmented packets that are put together at a time; when full, the one that waits longest is given up; 0 = none are put together."),
    CONF_SIZE(S, defrag_memory, "defrag.memory", "8mb", MB / 4, 4096 * MB, "Memory for their fragments; likewise."),
    CONF_TIME(S, defrag_timeout, "defrag.timeout", "30s", NS(1), NS(600), "A packet that gets no fragment for so long is given up."),

    CONF_INT(S, flow_max, "flow.max", "1000000", 1024, 100000000, "Flows kept at a time; when full, one that is over, was never answered or is idle is ended as evicted."),
    CONF_SIZE(S, flow_memcap, "flow.memcap", "1gb", MB, 1048576 * MB, "Memory for them, about 340 bytes each: the smaller of both limits holds."),
    CONF_TIME(S, flow_idle, "flow.idle", "120s", NS(1), NS(86400), "A flow that was answered ends after so long without a packet."),
    CONF_TIME(S, flow_idle_udp, "flow.idle_udp", "60s", NS(1), NS(86400), "The same of one without a connection: UDP, ICMP and others that are not TCP."),
    CONF_TIME(S, flow_idle_new, "flow.idle_new", "30s", NS(1), NS(86400), "A flow that was not answered ends after so long."),
    CONF_TIME(S, flow_half_open, "flow.half_open", "10s", NS(1), NS(86400), "A TCP connection whose opener never acknowledged the answer ends after so long."),
    CONF_TIME(S, flow_linger, "flow.linger", "2s", NS(0), NS(600), "A closed flow takes stragglers for so long."),
    CONF_TIME(S, flow_active, "flow.active", "60s", NS(1), NS(86400), "A flow that lasts is scored again at least so often, unless it would end within half of that."),
    CONF_INT(S, flow_first_pkts, "flow.first_packets", "16", 0, 1000000, "A flow is scored for the first time after so many packets; 0 = when it ends."),
    CONF_BOOL(S, vlan_in_key, "flow.vlan_in_key", "yes", "The same addresses and ports in two VLANs are two flows; no = one, and records name no VLAN."),

    CONF_BOOL(S, dpi_enabled, "dpi.enabled", "yes", "Find the application with nDPI."),
    CONF_INT(S, dpi_flows, "dpi.max", "100000", 16, 10000000, "Flows that nDPI looks at, at a time; more go without."),
    CONF_INT(S, dpi_packets, "dpi.packets", "4", 1, 255, "Packets of a flow after which nDPI gives up; those without payload count a quarter."),
    CONF_SIZE(S, facts_memory, "facts.memory", "64mb", MB, 16384 * MB, "Memory for what is said on flows (TLS, HTTP, DNS); when full, a flow goes without."),
    CONF_INT(S, facts_streams, "facts.streams", "1024", 1, 1000000, "Beginnings of TLS and DNS that lie in several TCP segments, at a time (8 kb each); more are given up."),

    CONF_INT(S, names_max, "dns.names_max", "65536", 16, 10000000, "Names of addresses that are remembered, as DNS answers tell them (two an address); the least recent is forgotten."),
    CONF_TIME(S, names_ttl_min, "dns.names_ttl_min", "5m", NS(0), NS(604800), "A name is good for at least so long, whatever its answer says: connections outlive it."),
    CONF_TIME(S, names_ttl_max, "dns.names_ttl_max", "24h", NS(1), NS(604800), "And for at most so long."),

    CONF_ENUM(S, level, "analysis.level", "full", level_names, "How much is done: counters (flows only, nothing written), detectors, or full."),
    CONF_BOOL(S, ladder, "analysis.ladder", "yes", "Live, when more comes than can be analysed: do without models, then without records, for ordinary flows first."),
    CONF_INT(S, hosts_max, "hosts.max", "65536", 16, 10000000, "Hosts remembered; the least recent is forgotten."),
    CONF_TEXT(S, model_path, "model.path", "auto", "Model file; auto = the one beside the programs, empty = none."),

    CONF_INT(S, detect_max, "detect.max", "65536", 16, 10000000, "Entities or channels that each detector remembers; the least recent is forgotten."),
    CONF_INT(S, scan_targets, "detect.scan_targets", "20", 2, 1000, "Different targets that refuse or ignore one host within a minute or two: a scan."),
    CONF_INT(S, brute_attempts, "detect.brute_attempts", "8", 2, 100000, "Short sessions on one login service within a minute or two: password guessing."),
    CONF_INT(S, beacon_events, "detect.beacon_events", "10", 4, 32, "Calls to one outside service, as regular as clockwork: a beacon."),
    CONF_TIME(S, beacon_min, "detect.beacon_min", "2s", NS(0), NS(86400), "Faster than this is no beacon."),
    CONF_TIME(S, beacon_max, "detect.beacon_max", "1h", NS(1), NS(604800), "Slower than this is no beacon."),
    CONF_TEXT(S, anomaly_p, "anomaly.p_max", "0.01", "A flow that the model expects less often than this is unusual (0..1)."),
    CONF_INT(S, anomaly_flows, "anomaly.flows", "6", 1, 1000000, "So many unusual flows of one host within ten minutes, to three services, and far more than chance: an alert."),

    CONF_INT(S, alert_max_open, "alert.max_open", "4096", 16, 1000000, "Alerts open at a time; when full, the least recent is closed early."),
    CONF_TIME(S, alert_quiet, "alert.quiet", "10m", NS(1), NS(86400), "An alert closes after so long without new evidence."),

    CONF_SIZE(S, ring_size, "ring.flows", "16mb", 65536, 4096 * MB, "Ring of flow records of each worker, a power of two; when full, live refuses the newest, replay waits."),
    CONF_SIZE(S, alert_ring_size, "ring.alerts", "4mb", 65536, 1024 * MB, "Ring of alerts, likewise."),
    CONF_INT(S, community_seed, "community_id.seed", "0", 0, 65535, "Seed of the Community ID; the same in all tools."),
    CONF_TIME(S, stats_interval, "stats.interval", "60s", NS(1), NS(86400), "A stats record so often (live)."),

    CONF_TEXT(S, url, "uplink.url", "", "The collector, e.g. https://wind.example.org:8443; empty = eve.json only."),
    CONF_TEXT(S, key_file, "uplink.key_file", "", "File with the sensor's key (wind-collector --create-key NAME --scope ingest)."),
    CONF_TEXT(S, ca_file, "uplink.ca_file", "", "Certificates to trust for it; empty = the system's."),
    CONF_BOOL(S, insecure, "uplink.insecure", "no", "Allow plain http to other machines than this one."),
    CONF_TIME(S, heartbeat, "uplink.heartbeat", "10s", NS(1), NS(3600), "Time between two signs of life."),
    CONF_TIME(S, drain, "uplink.drain", "30s", NS(0), NS(86400), "At the end: how long to wait for the collector to take what is spooled."),
    CONF_TEXT(S, kafka_brokers, "kafka.brokers", "", "Kafka instead of uplink.url: host:9092, several with commas; empty = none. Topics: wind.alerts, wind.health, wind.flows."),
    CONF_TEXT(S, kafka_prefix, "kafka.prefix", "wind.", "What the topics' names begin with; the collector's is the same."),
    CONF_ENUM(S, kafka_flows, "kafka.flows", "none", flows_names, "Flows that are sent too, with their features: none, alerted (evidence of an alert), sampled (these, and a sample of the others), or all. They are sent once: what the brokers don't take in time is dropped and counted."),
    CONF_INT(S, kafka_flow_sample, "kafka.flow_sample", "100", 1, 1000000, "Sampled: one in so many of the flows without an alert."),
    CONF_SIZE(S, kafka_queue, "kafka.queue", "32mb", MB, 4096 * MB, "Flows on their way, bytes of JSON (librdkafka needs about as much again); when full, live drops the newest, a replay waits while the brokers answer."),
    CONF_LIST(S, kafka_options, "kafka.options", "", "Properties of librdkafka as name=value: security.protocol=SASL_SSL, sasl.mechanisms=SCRAM-SHA-512, sasl.username=edge, ssl.ca.location=FILE, compression.type=zstd, linger.ms=50, ..."),
    CONF_TEXT(S, kafka_password_file, "kafka.password_file", "", "File with the password: SASL's, or that of the key in ssl.key.location."),
    CONF_TEXT(S, spool_dir, "spool.dir", "", "Where alerts wait for collector or Kafka; empty = spool in the output folder (-l)."),
    CONF_SIZE(S, spool_max, "spool.max", "256mb", MB, 1048576 * MB, "Size of the spool; when full, the oldest alerts are lost and counted, whatever their severity."),
    CONF_TIME(S, spool_age, "spool.age", "0s", NS(0), NS(31536000), "Alerts that nobody has taken for so long are lost and counted; 0 = they wait."),
    CONF_TIME(S, spool_fsync, "spool.fsync", "1s", NS(0), NS(3600), "A power cut may cost the alerts of so long."),
    {.name = NULL},
};
/* clang-format on */

static const char usage[] =
    "wind-sensor - watches traffic, and says what matters and why\n"
    "\n"
    "  wind-sensor -r FILE -l DIR       analyse a capture (pcap, pcapng, also .gz .zst .lz4; - = "
    "stdin)\n"
    "  wind-sensor -r FOLDER -l DIR     all captures of a folder in time order, as if they were "
    "one\n"
    "  wind-sensor -i IFACE -l DIR      listen on an interface (needs CAP_NET_RAW)\n"
    "\n"
    "  -c FILE            configuration (YAML); else the defaults\n"
    "  -r FILE            capture file, or folder of them, to analyse\n"
    "  --follow           what -r names still grows: wait for more, also for new files of a "
    "folder\n"
    "  -i IFACE           interface to listen on; may be given again for more\n"
    "  -l DIR             where eve.json goes (made if need be; default: this folder)\n"
    "  -T                 test the configuration and end\n"
    "  -q                 no summary\n"
    "  -v                 say more\n"
    "  -V                 version\n"
    "  --set KEY=VALUE    change one setting, e.g. --set flow.max=200000\n"
    "  --print-config     print all settings as YAML, with what they mean\n"
    "  --features FILE    write the feature row of each flow to FILE (CSV)\n"
    "  --run-id ID        ids of alerts derive from it; replays that should be told apart need one "
    "each\n"
    "  --speed N          replay N times as fast as it was recorded, 5 s without packets at most;\n"
    "                     default: as fast as possible\n"
    "  --user NAME, --group NAME   run analyser and uplink as this user and group\n"
    "\n"
    "Signals: TERM and INT end it, USR1 opens eve.json anew, HUP reads the file of -c again "
    "(live):\n"
    "flow.max and flow.memcap take effect at once, the rest at the next start.\n"
    "\n"
    "Examples:\n"
    "  wind-sensor -r office.pcap -l out && jq 'select(.event_type==\"alert\")' out/eve.json\n"
    "  tcpdump -w - | wind-sensor -r - -l out\n"
    "  wind-sensor -r /var/spool/captures --follow -l out\n"
    "  wind-sensor -i eth1 -l /var/log/wind --set uplink.url=https://wind:8443 \\\n"
    "              --set uplink.key_file=/etc/wind/sensor.key\n";

static int take_speed(void *field, const char *text, struct err *e)
{
    double *const speed = field;
    char *end = NULL;

    *speed = strtod(text, &end);
    if (end == text || *end != '\0' || !(*speed > 0 && *speed <= 1e6))
        return err_set(e, CLI_USAGE, "'%s' is not a number above 0", text);
    return 0;
}

/* -i eth0 -i eth1, or -i eth0,eth1 */
static int take_interface(void *field, const char *text, struct err *e)
{
    struct conf_list *const list = field;

    for (const char *p = text; *p != '\0'; p += *p == ',') {
        const size_t n = strcspn(p, ",");

        if (n == 0 || n >= CONF_ITEM_MAX || list->n == CONF_LIST_MAX)
            return err_set(e, CLI_USAGE, "'%s' names no interface", text);
        memcpy(list->item[list->n], p, n);
        list->item[list->n++][n] = '\0';
        p += n;
    }
    return text[0] == '\0' ? err_set(e, CLI_USAGE, "an interface has a name") : 0;
}

static int refuse_word(void *args, const char *word, struct err *e)
{
    (void)args;
    return err_set(e, CLI_USAGE, "'%s' is no option; a capture file is given as -r %s", word, word);
}

#define A struct sensor_args

static const struct cli_option options[] = {
    CLI_CONF(A, conf),
    CLI_TEXT(A, pcap, NULL, 'r'),
    CLI_TAKE(A, interfaces, NULL, 'i', take_interface),
    CLI_TEXT(A, dir, NULL, 'l'),
    CLI_FLAG(A, quiet, NULL, 'q'),
    CLI_FLAG(A, follow, "follow", 0),
    CLI_TEXT(A, features, "features", 0),
    CLI_TEXT(A, run_id, "run-id", 0),
    CLI_TAKE(A, speed, "speed", 0, take_speed),
    CLI_TEXT(A, user, "user", 0),
    CLI_TEXT(A, group, "group", 0),
    CLI_END,
};

static const struct cli cli = {
    .program = "wind-sensor",
    .help = usage,
    .options = options,
    .take_word = refuse_word,
};

static int check_interfaces(const struct conf_list *list, struct err *e)
{
    if (list->n > CAPTURE_INTERFACES_MAX)
        return err_set(e, -EINVAL, "capture.interface: %zu interfaces, %d at most", list->n,
                       CAPTURE_INTERFACES_MAX);
    for (size_t i = 0; i < list->n; i++) {
        if (strlen(list->item[i]) >= IFNAMSIZ)
            return err_set(e, -EINVAL, "capture.interface: '%s' is longer than a name can be",
                           list->item[i]);
        for (size_t k = 0; k < i; k++)
            if (strcmp(list->item[i], list->item[k]) == 0)
                return err_set(e, -EINVAL, "capture.interface: '%s' is there twice", list->item[i]);
    }
    return 0;
}

static int check(const struct sensor_conf *c, struct err *e)
{
    struct cidr net;
    char *end = NULL;
    const double p = strtod(c->anomaly_p, &end);
    const int interfaces = check_interfaces(&c->interfaces, e);

    if (interfaces < 0)
        return interfaces;

    for (size_t i = 0; i < c->home_nets.n; i++) {
        const int r = cidr_parse(c->home_nets.item[i], &net, e);
        if (r < 0)
            return err_wrap(e, r, "home_nets");
    }
    if (end == c->anomaly_p || *end != '\0' || !(p >= 0 && p <= 1))
        return err_set(e, -EINVAL, "anomaly.p_max: '%s' is not a number from 0 to 1", c->anomaly_p);
    if (c->beacon_min > c->beacon_max)
        return err_set(e, -EINVAL, "detect.beacon_min is above detect.beacon_max");
    if (c->names_ttl_min > c->names_ttl_max)
        return err_set(e, -EINVAL, "dns.names_ttl_min is above dns.names_ttl_max");
    if ((c->ring_size & (c->ring_size - 1)) != 0)
        return err_set(e, -EINVAL, "ring.flows: %lld bytes is not a power of two",
                       (long long)c->ring_size);
    if ((c->alert_ring_size & (c->alert_ring_size - 1)) != 0)
        return err_set(e, -EINVAL, "ring.alerts: %lld bytes is not a power of two",
                       (long long)c->alert_ring_size);
    if (c->url[0] != '\0' && c->kafka_brokers[0] != '\0')
        return err_set(e, -EINVAL,
                       "uplink.url and kafka.brokers are both set: alerts go to one of them");
    if (c->url[0] != '\0' && c->key_file[0] == '\0')
        return err_set(e, -EINVAL,
                       "uplink.url is set, but uplink.key_file isn't: make a key with "
                       "wind-collector --create-key NAME --scope ingest");
    return 0;
}

int sensor_conf_kafka(const struct sensor_conf *c, rd_kafka_conf_t **ret_kafka, struct err *e)
{
    const struct kafka_conf kafka = {.brokers = c->kafka_brokers,
                                     .password_file = c->kafka_password_file,
                                     .options = &c->kafka_options};

    return sink_kafka_conf_new(ret_kafka, &kafka, (uint64_t)c->kafka_queue, e);
}

static int check_kafka(const struct sensor_conf *c, struct err *e)
{
    rd_kafka_conf_t *kafka = NULL;
    int r = sensor_conf_kafka(c, &kafka, e);

    if (r == 0)
        r = kafka_conf_try(kafka, RD_KAFKA_PRODUCER, e);
    return r;
}

/* Address and key of the collector, or Kafka's, as far as they can be wrong without asking them. */
static int check_uplink(const struct sensor_conf *c, struct err *e)
{
    struct sink_conf sink = {.insecure = c->insecure};

    if (c->kafka_brokers[0] != '\0')
        return check_kafka(c, e);
    if (c->url[0] == '\0')
        return 0;
    (void)snprintf(sink.url, sizeof(sink.url), "%s", c->url);
    (void)snprintf(sink.ca_file, sizeof(sink.ca_file), "%s", c->ca_file);
    int r = sink_key_load(&sink, c->key_file, e);
    if (r == 0)
        r = sink_conf_check(&sink, e);
    explicit_bzero(&sink, sizeof(sink));
    return r;
}

int sensor_conf_load(const struct sensor_args *args, struct sensor_conf *conf, struct err *e)
{
    static const struct cli_places live = {"/etc/wind/sensor.yaml", "/etc/wind/conf.d"};
    static const struct cli_places replay = {.file = NULL}; /* the same wherever it runs */

    int r = cli_conf_load(&args->conf, sensor_keys, args->pcap == NULL ? &live : &replay, conf, e);
    if (r == 0 && args->interfaces.n > 0)
        conf->interfaces = args->interfaces;
    return r == 0 ? check(conf, e) : r;
}

int sensor_conf_from_args(int argc, char **argv, struct sensor_conf *ret_conf,
                          struct sensor_args *ret_args, struct err *e)
{
    *ret_args = (struct sensor_args){.dir = "."};
    int r = cli_parse(&cli, argc, argv, ret_args, e);
    if (r == 0)
        r = sensor_conf_load(ret_args, ret_conf, e);
    if (r == 0)
        r = cli_conf_printed(&ret_args->conf, sensor_keys, ret_conf);
    if (r == 0)
        r = check_uplink(ret_conf, e);
    if (r == 0)
        r = cli_conf_tested(&ret_args->conf, cli.program);
    if (r != 0)
        return r;
    if (ret_args->pcap == NULL && ret_conf->interfaces.n == 0)
        return err_set(e, CLI_USAGE,
                       "give a capture file (-r FILE) or an interface (-i IFACE); see --help");
    if (ret_args->pcap != NULL && ret_args->interfaces.n > 0)
        return err_set(e, CLI_USAGE, "-r and -i exclude each other");
    if (ret_args->pcap == NULL && ret_args->speed > 0)
        return err_set(e, CLI_USAGE, "--speed is for capture files (-r); see --help");
    if (ret_args->follow && (ret_args->pcap == NULL || strcmp(ret_args->pcap, "-") == 0))
        return err_set(e, CLI_USAGE,
                       "--follow is for capture files and folders (-r); standard input is read "
                       "until it ends anyway");
    if (ret_conf->name[0] == '\0' && gethostname(ret_conf->name, sizeof(ret_conf->name) - 1) != 0)
        return err_set(e, -errno, "sensor.name: no host name: %s", strerror(errno));
    return 0;
}

size_t sensor_conf_flows_max(const struct sensor_conf *c)
{
    const size_t fit = (size_t)c->flow_memcap / FLOW_TABLE_BYTES;

    return (size_t)c->flow_max < fit ? (size_t)c->flow_max : fit;
}
