#include "sensor/analyser.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/crypto.h"
#include "common/log.h"
#include "sensor/analysis_thread.h"
#include "sensor/crew.h"
#include "sensor/sandbox.h"

#define WAIT_MS 10 /* longest sleep, so that a stop is seen this soon */

struct analyser {
    enum analysis_level level;
    struct model *model; /* until analysis takes it */
    struct crew *crew;
    struct analysis *analysis;
    struct analysis_thread *thread; /* NULL: the stages take turns */
    struct capture *capture;        /* worker 0's: for what is the same of all */
    bool is_live, is_threaded;
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
    c.workers = 0;
    c.heartbeat = c.drain = c.stats_interval = c.spool_max = c.spool_fsync = 0;
    c.files_max = 0;
    c.insecure = false;
    conf_print(sensor_keys, &c, f);
    (void)fclose(f);
    crypto_sha256(text, len, ret_digest);
    free(text);
    return 0;
}

/*
 * Ids of offline alerts: of the input's content, of the settings that shape alerts, of the run
 * id. So the same replay makes the same ids, and another run can ask for others. A capture that is
 * followed has the ids of its run id, or random ones.
 */
static void make_seed(const struct analyser *a, const uint8_t settings[32],
                      const struct sensor_args *args, uint8_t ret_seed[32])
{
    struct {
        uint8_t input[32], settings[32], run[32];
    } of = {.input = {0}};
    const char *run = args->run_id != NULL ? args->run_id : "";

    if (args->follow && args->run_id == NULL) { /* how much of it is there yet is chance */
        crypto_random(ret_seed, 32);
        return;
    }
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
                   .live = a->is_live},
        .hosts_max = (size_t)c->hosts_max,
        .names = {.max = (size_t)c->names_max,
                  .ttl_min_ns = (uint64_t)c->names_ttl_min,
                  .ttl_max_ns = (uint64_t)c->names_ttl_max},
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

/* Replay with one worker: the ring is full, or there is time: the later stage works on what is
 * there. */
static void relieve(void *arg)
{
    const struct analyser *a = arg;

    (void)analysis_step(a->analysis);
}

/* Live: one interface of several is gone. */
static void warn_of_loss(void *arg)
{
    struct analyser *a = arg;
    const struct err *why = NULL;

    if (a->is_loss_told || capture_ended(a->capture) ||
        capture_error(a->capture, &why) == CAPTURE_OK)
        return;
    a->is_loss_told = true;
    log_warn("%s; going on with the others", why->text);
}

/* The later stages have threads of their own. */
static void rest(void *arg)
{
    (void)arg;
}

/* What opens files or takes long, before the door is shut. */
static int prepare(struct analyser *a, const struct analyser_conf *conf, struct err *e)
{
    struct crew_conf crew = {.sensor = conf->sensor,
                             .captures = conf->captures,
                             .n_captures = conf->n_captures,
                             .flows = conf->flows,
                             .counters = conf->counters,
                             .frame_max = conf->frame_max,
                             .speed = conf->args->speed,
                             .relieve = a->is_threaded ? NULL : relieve,
                             .turn = a->is_live       ? warn_of_loss
                                     : a->is_threaded ? rest
                                                      : relieve,
                             .arg = a};
    int r = 0;

    a->level = (enum analysis_level)conf->sensor->level;
    if (conf->model_fd >= 0)
        r = model_load_fd(&a->model, conf->model_fd, e);
    else if (a->level == ANALYSIS_FULL)
        a->level = ANALYSIS_DETECTORS;
    crew.level = a->level;
    return r == 0 ? crew_new(&a->crew, &crew, e) : r;
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
        const char *event = a->is_live                   ? "interface_lost"
                            : state == CAPTURE_TRUNCATED ? "file_truncated"
                                                         : "file_corrupt";
        counters_add(a->counters, COUNTER_capture_damaged_files, 1);
        if (!is_told(a, TOLD_INTERFACE_LOST))
            analysis_anomaly(a->analysis, "capture", event, input->text);
        if (!a->is_live)
            log_warn("%s", input->text);
    }
    if (counters_sum(a->counters, COUNTER_capture_time_backwards) > 0)
        analysis_anomaly(a->analysis, "capture", "time_backwards",
                         "packets are not in time order: times of flows are their own, time-outs "
                         "follow the latest time seen");
}

static void finish(struct analyser *a)
{
    if (a->thread != NULL)
        analysis_thread_join(a->thread);
    else
        (void)analysis_step(a->analysis);
    analysis_tick(a->analysis, counters_clock(a->counters));
    report_input(a);
    analysis_close(a->analysis);
}

static int loop(struct analyser *a, struct err *e)
{
    const struct err *input = NULL;

    if (a->thread != NULL)
        analysis_thread_start(a->thread, a->analysis, a->is_live);
    else
        (void)analysis_step(a->analysis); /* what a dead analyser left in the ring */
    crew_run(a->crew);
    const enum capture_state state = capture_error(a->capture, &input);
    if (state == CAPTURE_UNUSABLE)
        return err_set(e, -EINVAL, "%s", input->text);
    finish(a);
    /* The end of a file is an end; that of an interface is a failure, whatever was saved. */
    return state == CAPTURE_CORRUPT && a->is_live && capture_ended(a->capture)
               ? err_set(e, -EIO, "%s", input->text)
               : 0;
}

/* From here on nothing can be opened, and no thread started. Only now the input is read. */
static int shut_the_door(struct analyser *a, struct err *e)
{
    int r = sandbox_close_files(e);

    if (r == 0 && a->is_threaded)
        r = analysis_thread_new(&a->thread, e);
    if (r == 0)
        r = crew_start_threads(a->crew, e);
    return r == 0 ? sandbox_close_calls(e) : r;
}

static void tear_down(struct analyser *a, const struct analyser_conf *conf)
{
    a->thread = analysis_thread_free(a->thread);
    a->crew = crew_free(a->crew);
    a->analysis = analysis_free(a->analysis);
    a->model = model_free(a->model);
    if (a->is_live) /* closing one needs calls that are forbidden: it ends with the process */
        return;
    for (unsigned i = 0; i < conf->n_captures; i++)
        (void)capture_free(conf->captures[i]);
}

int analyser_run(const struct analyser_conf *conf, struct err *e)
{
    const bool is_live = capture_is_live(conf->captures[0]);
    struct analyser a = {.capture = conf->captures[0],
                         .counters = conf->counters,
                         .is_live = is_live,
                         .is_threaded = is_live || conf->flows->n > 1};
    uint8_t settings[32], seed[32];

    int r = digest_settings(conf->sensor, settings, e);
    if (r == 0)
        r = prepare(&a, conf, e);
    if (r == 0)
        r = shut_the_door(&a, e);
    if (r == 0) {
        make_seed(&a, settings, conf->args, seed);
        r = make_analysis(&a, conf, seed, e);
    }
    if (r == 0)
        r = crew_begin(a.crew, e);
    if (r == 0)
        r = loop(&a, e);
    /* Also when the input was refused: the uplink has nothing more to wait for. */
    atomic_store_explicit(&conf->counters->producer_done, 1, memory_order_release);
    rings_wake(conf->flows, 1);
    tear_down(&a, conf);
    return r;
}
