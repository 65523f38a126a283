#include "sensor/analyser.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/crypto.h"
#include "common/log.h"
#include "sensor/analysis_thread.h"
#include "sensor/sandbox.h"
#include "sensor/worker.h"

#define WAIT_MS 10 /* longest sleep, so that a stop is seen this soon */

struct analyser {
    enum analysis_level level;
    struct model *model; /* until analysis takes it */
    struct dpi *dpi;     /* until the worker takes it */
    struct worker *worker;
    struct analysis *analysis;
    struct analysis_thread *thread; /* live; NULL: replay, the stages take turns */
    struct capture *capture;
    struct counters *counters;
    bool is_loss_told;
};

static bool is_stopping(const struct analyser *a)
{
    return atomic_load_explicit(&a->counters->stop, memory_order_acquire) != 0;
}

/* ---------------------------------------------------------------- set-up */

/* The settings that shape alerts; not where output goes, nor what the machine is called. */
static int digest_settings(const struct sensor_conf *conf, uint8_t ret_digest[32], struct err *e)
{
    struct sensor_conf c = *conf;
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);

    if (f == NULL)
        return err_set(e, -ENOMEM, "out of memory");
    c.name[0] = c.url[0] = c.key_file[0] = c.ca_file[0] = c.spool_dir[0] = c.model_path[0] = '\0';
    c.interfaces.n = 0;
    c.capture_backend = CAPTURE_AUTO;
    c.heartbeat = c.drain = c.stats_interval = c.spool_max = c.spool_fsync = 0;
    c.insecure = false;
    conf_print(sensor_keys, &c, f);
    (void)fclose(f);
    crypto_sha256(text, len, ret_digest);
    free(text);
    return 0;
}

/*
 * Ids of offline alerts: of the input's content, of the settings that shape alerts, of the run
 * id. So the same replay makes the same ids, and another run can ask for others.
 */
static void make_seed(const struct analyser *a, const uint8_t settings[32], const char *run_id,
                      uint8_t ret_seed[32])
{
    struct {
        uint8_t input[32], settings[32], run[32];
    } of = {.input = {0}};
    const char *run = run_id != NULL ? run_id : "";

    while (!capture_digest(a->capture, of.input, WAIT_MS) && !is_stopping(a))
        ; /* a pipe into which nobody has written yet */
    memcpy(of.settings, settings, sizeof(of.settings));
    crypto_sha256(run, strlen(run), of.run);
    crypto_sha256(&of, sizeof(of), ret_seed);
}

static int detect_conf(const struct sensor_conf *c, struct detect_conf *d, struct err *e)
{
    *d = (struct detect_conf){
        .max = (size_t)c->detect_max,
        .scan_targets = (uint32_t)c->scan_targets,
        .brute_attempts = (uint32_t)c->brute_attempts,
        .beacon_events = (uint32_t)c->beacon_events,
        .beacon_min_ns = (uint64_t)c->beacon_min,
        .beacon_max_ns = (uint64_t)c->beacon_max,
        .anomaly_p = strtod(c->anomaly_p, NULL),
        .anomaly_flows = (uint32_t)c->anomaly_flows,
    };
    for (size_t i = 0; i < c->home_nets.n; i++, d->n_home++) {
        const int r = cidr_parse(c->home_nets.item[i], &d->home[i], e);
        if (r < 0)
            return err_wrap(e, r, "home_nets");
    }
    return 0;
}

static int make_analysis(struct analyser *a, const struct analyser_conf *conf,
                         const uint8_t seed[32], struct err *e)
{
    const struct sensor_conf *c = conf->sensor;
    struct analysis_conf an = {
        .flows = conf->flows,
        .alerts = {.ring = conf->alerts,
                   .counters = conf->counters,
                   .max_open = (size_t)c->alert_max_open,
                   .quiet_ns = (uint64_t)c->alert_quiet,
                   .level = a->level,
                   .live = capture_is_live(conf->capture)},
        .hosts_max = (size_t)c->hosts_max,
        .level = a->level,
        .features_fd = conf->features_fd,
    };
    int r = detect_conf(c, &an.detect, e);

    memcpy(an.alerts.seed, seed, sizeof(an.alerts.seed));
    if (r == 0)
        r = analysis_new(&a->analysis, &an, a->model, e);
    if (r == 0)
        a->model = NULL; /* taken */
    return r;
}

/* Replay: the ring is full, or there is time: the later stage works on what is there. */
static void relieve(void *arg)
{
    const struct analyser *a = arg;

    (void)analysis_step(a->analysis);
}

static size_t flows_max(const struct sensor_conf *c)
{
    const size_t fit = (size_t)c->flow_memcap / FLOW_TABLE_BYTES;

    return (size_t)c->flow_max < fit ? (size_t)c->flow_max : fit;
}

static int make_worker(struct analyser *a, const struct analyser_conf *conf, struct err *e)
{
    const struct sensor_conf *c = conf->sensor;
    const uint64_t ids = atomic_load(&conf->counters->flow_sequence);
    struct worker_conf w = {
        .flows = {.max = flows_max(c),
                  .idle_ns = (uint64_t)c->flow_idle,
                  .idle_new_ns = (uint64_t)c->flow_idle_new,
                  .half_open_ns = (uint64_t)c->flow_half_open,
                  .linger_ns = (uint64_t)c->flow_linger,
                  .active_ns = (uint64_t)c->flow_active,
                  .first_pkts = (uint32_t)c->flow_first_pkts,
                  /* a batch's worth of ids may have been given out and not told */
                  .first_id = ids == 0 ? 1 : ids + CAPTURE_BATCH},
        .decode = {.tunnels = c->tunnels,
                   .vlan_in_key = c->vlan_in_key,
                   .tunnel_depth = (uint8_t)c->tunnel_depth},
        .anomalies = (uint32_t)c->decode_anomalies,
        .defrag = {.max = (size_t)c->defrag_max,
                   .memory = (size_t)c->defrag_memory,
                   .timeout_ns = (uint64_t)c->defrag_timeout},
        .capture = conf->capture,
        .dpi = a->dpi,
        .ring = conf->flows->ring[0],
        .counters = conf->counters,
        .told = &conf->counters->told,
        .level = a->level,
        .speed = conf->args->speed,
        .relieve = capture_is_live(conf->capture) ? NULL : relieve,
        .relieve_arg = a,
    };

    /* Keyed by chance, in replay too: nobody can aim at a bucket, and no output depends on it. */
    crypto_random(&w.flows.seed, sizeof(w.flows.seed));
    const int r = worker_new(&a->worker, &w, e);
    if (r == 0)
        a->dpi = NULL; /* taken */
    return r;
}

/* What opens files or takes long, before the door is shut. */
static int prepare(struct analyser *a, const struct analyser_conf *conf, struct err *e)
{
    const struct dpi_conf dpi = {.flows_max = (uint32_t)conf->sensor->dpi_flows,
                                 .packets_max = (uint32_t)conf->sensor->dpi_packets};
    int r = 0;

    a->level = (enum analysis_level)conf->sensor->level;
    if (conf->model_fd >= 0)
        r = model_load_fd(&a->model, conf->model_fd, e);
    else if (a->level == ANALYSIS_FULL)
        a->level = ANALYSIS_DETECTORS;
    if (r == 0 && conf->sensor->dpi_enabled)
        r = dpi_new(&a->dpi, &dpi, e);
    return r;
}

/* ---------------------------------------------------------------- the loop */

static bool is_told(const struct analyser *a, enum told what)
{
    return (atomic_load_explicit(&a->counters->told, memory_order_relaxed) & 1u << what) != 0;
}

static void report_input(struct analyser *a)
{
    const struct err *input = NULL;
    const enum capture_state state = capture_error(a->capture, &input);

    if (state == CAPTURE_TRUNCATED || state == CAPTURE_CORRUPT) {
        const char *event = capture_is_live(a->capture)  ? "interface_lost"
                            : state == CAPTURE_TRUNCATED ? "file_truncated"
                                                         : "file_corrupt";
        counters_add(a->counters, COUNTER_capture_damaged_files, 1);
        if (!is_told(a, TOLD_INTERFACE_LOST))
            analysis_anomaly(a->analysis, "capture", event, input->text);
        if (!capture_is_live(a->capture))
            log_warn("%s", input->text);
    }
    if (counters_sum(a->counters, COUNTER_capture_time_backwards) > 0)
        analysis_anomaly(a->analysis, "capture", "time_backwards",
                         "packets are not in time order: times of flows are their own, time-outs "
                         "follow the latest time seen");
}

/* One interface of several is gone. */
static void warn_of_loss(struct analyser *a)
{
    const struct err *why = NULL;

    if (a->is_loss_told || !capture_is_live(a->capture) || capture_ended(a->capture) ||
        capture_error(a->capture, &why) == CAPTURE_OK)
        return;
    a->is_loss_told = true;
    log_warn("%s; going on with the others", why->text);
}

static void finish(struct analyser *a)
{
    worker_flush(a->worker);
    if (a->thread != NULL)
        analysis_thread_join(a->thread);
    else
        (void)analysis_step(a->analysis);
    analysis_tick(a->analysis, worker_clock(a->worker));
    report_input(a);
    analysis_close(a->analysis);
}

static int loop(struct analyser *a, struct err *e)
{
    const struct err *input = NULL;

    if (a->thread != NULL)
        analysis_thread_start(a->thread, a->analysis, capture_is_live(a->capture));
    else
        (void)analysis_step(a->analysis); /* what a dead analyser left in the ring */
    while (!capture_ended(a->capture) && !is_stopping(a)) {
        (void)worker_step(a->worker, WAIT_MS);
        warn_of_loss(a);
        if (a->thread == NULL)
            (void)analysis_step(a->analysis);
    }
    const enum capture_state state = capture_error(a->capture, &input);
    if (state == CAPTURE_UNUSABLE)
        return err_set(e, -EINVAL, "%s", input->text);
    finish(a);
    /* The end of a file is an end; that of an interface is a failure, whatever was saved. */
    return state == CAPTURE_CORRUPT && capture_is_live(a->capture) && capture_ended(a->capture)
               ? err_set(e, -EIO, "%s", input->text)
               : 0;
}

/* From here on nothing can be opened, and no thread started. Only now the input is read. */
static int shut_the_door(struct analyser *a, struct err *e)
{
    int r = sandbox_close_files(e);

    if (r == 0 && capture_is_live(a->capture))
        r = analysis_thread_new(&a->thread, e);
    return r == 0 ? sandbox_close_calls(e) : r;
}

static void tear_down(struct analyser *a)
{
    a->thread = analysis_thread_free(a->thread);
    a->worker = worker_free(a->worker);
    a->analysis = analysis_free(a->analysis);
    a->dpi = dpi_free(a->dpi);
    a->model = model_free(a->model);
    if (!capture_is_live(
            a->capture)) /* closing a live one needs calls that are forbidden by now: */
        a->capture = capture_free(a->capture); /* it ends with the process */
}

int analyser_run(const struct analyser_conf *conf, struct err *e)
{
    struct analyser a = {.capture = conf->capture, .counters = conf->counters};
    uint8_t settings[32], seed[32];

    int r = digest_settings(conf->sensor, settings, e);
    if (r == 0)
        r = prepare(&a, conf, e);
    if (r == 0)
        r = shut_the_door(&a, e);
    if (r == 0) {
        make_seed(&a, settings, conf->args->run_id, seed);
        r = make_analysis(&a, conf, seed, e);
    }
    if (r == 0)
        r = make_worker(&a, conf, e);
    if (r == 0)
        r = loop(&a, e);
    /* Also when the input was refused: the uplink has nothing more to wait for. */
    atomic_store_explicit(&conf->counters->producer_done, 1, memory_order_release);
    tear_down(&a);
    return r;
}
