#include "sensor/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/log.h"
#include "common/rings.h"
#include "common/time.h"
#include "sensor/analyser.h"
#include "sensor/child.h"
#include "sensor/folder.h"
#include "sensor/input.h"
#include "sensor/live.h"
#include "sensor/losses.h"
#include "sensor/reload.h"
#include "sensor/sandbox.h"
#include "sensor/uplink.h"
#include "sensor/uplink_setup.h"

#define RESTART_DELAY_MS 100
#define STOP_AGAIN_NS    WIND_NS_PER_S /* sooner, a second signal is the first one's echo */
#define EXIT_AGAIN       75            /* a child's way to say: start me again */

struct supervisor {
    const struct sensor_conf *conf;
    const struct sensor_args *args;
    struct counters *counters;
    struct rings *flows; /* one a worker */
    struct ring *alerts;
    struct uplink_state *state;
    struct uplink_conf uplink;
    rd_kafka_conf_t *kafka; /* the uplink's, or NULL */
    struct folder *folder;  /* -r FOLDER, or NULL */
    int model_fd, features_fd, signal_fd;
    pid_t pid;                  /* our own: what the children's parent must be */
    pid_t analyser, uplink_pid; /* 0: not running */
    const char *captured_by;    /* static */
    uint32_t frame_max;         /* of the interfaces; 0: not known */
    uint64_t stop_ns;           /* when the end was asked for; 0: not yet */
    int analyser_crashes, uplink_crashes;
    uint64_t analyser_at, uplink_at; /* progress at the last crash */
    bool analyser_failed, undelivered, uplink_failed;
};

/* ---------------------------------------------------------------- opening */

/* Beside the programs: build/<preset>/bin and build/<preset>/models, /usr/bin and /usr/share/wind.
 */
static int open_auto_model(void)
{
    static const char *const places[] = {"../models/flow-iforest.model",
                                         "../share/wind/models/flow-iforest.model"};
    char exe[PATH_MAX], path[PATH_MAX + 64];
    const ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);

    if (n <= 0)
        return -1;
    exe[n] = '\0';
    *strrchr(exe, '/') = '\0';
    for (size_t i = 0; i < WIND_ARRAY_SIZE(places); i++) {
        (void)snprintf(path, sizeof(path), "%s/%s", exe, places[i]);
        const int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd >= 0)
            return fd;
    }
    return -1;
}

static int open_model(const struct sensor_conf *conf, int *ret_fd, struct err *e)
{
    *ret_fd = -1;
    if (conf->level != ANALYSIS_FULL || conf->model_path[0] == '\0')
        return 0;
    if (strcmp(conf->model_path, "auto") == 0) {
        *ret_fd = open_auto_model();
        if (*ret_fd < 0)
            log_warn("no model file beside the programs: going on with detectors only");
        return 0;
    }
    *ret_fd = open(conf->model_path, O_RDONLY | O_CLOEXEC);
    if (*ret_fd < 0)
        return err_set(e, -errno, "model.path: can't open '%s': %s", conf->model_path,
                       strerror(errno));
    return 0;
}

/* Live, and of a folder: one a worker. Of a file or a pipe they share one. */
static unsigned count_captures(const struct supervisor *s)
{
    return s->args->pcap == NULL || s->folder != NULL ? s->flows->n : 1;
}

/*
 * A new handle for each analyser: the dead one's place in the kernel's ring died with it. Of a file
 * it begins where the worker that was last had come to.
 */
static int open_capture(const struct supervisor *s, unsigned reader, struct capture_group *groups,
                        struct capture **ret_capture, struct err *e)
{
    const uint64_t received = s->folder != NULL ? atomic_load(&s->counters[reader].position)
                                                : counters_position(s->counters, s->flows->n);

    if (s->args->pcap == NULL)
        return live_open(s->conf, s->flows->n > 1 ? groups : NULL, ret_capture, e);
    return input_open(ret_capture, s->args, s->folder, reader, received, e);
}

/* A folder that is made belongs to who will write there. */
static int make_part(const char *part, const struct sensor_args *args, struct err *e)
{
    uid_t uid;
    gid_t gid;
    const int r = sandbox_identity(args->user, args->group, &uid, &gid, e);
    const bool is_other = args->user != NULL || args->group != NULL;

    if (r < 0)
        return r;
    if (mkdir(part, 0750) != 0)
        return errno == EEXIST ? 0
                               : err_set(e, -errno, "-l: can't make the folder '%s': %s", part,
                                         strerror(errno));
    if (is_other && chown(part, uid, gid) != 0)
        return err_set(e, -errno, "-l: can't give the folder '%s' away: %s", part, strerror(errno));
    return 0;
}

static int make_dir(const struct sensor_args *args, struct err *e)
{
    const char *path = args->dir;
    char part[PATH_MAX];
    int r = 0;

    if (path[0] == '\0' || strlen(path) >= sizeof(part))
        return err_set(e, -EINVAL, "-l: the path is %s", path[0] == '\0' ? "empty" : "too long");
    for (const char *p = path; r == 0 && *p != '\0';) {
        p += strspn(p, "/");
        p += strcspn(p, "/");
        memcpy(part, path, (size_t)(p - path));
        part[p - path] = '\0';
        r = make_part(part, args, e);
    }
    return r;
}

/* ---------------------------------------------------------------- set-up */

/* Signals come through a descriptor; children put the mask back. */
static int catch_signals(struct supervisor *s, struct err *e)
{
    sigset_t set;

    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    (void)sigaddset(&set, SIGHUP); /* reload.h; or the terminal is closed: as SIGTERM */
    (void)sigaddset(&set, SIGCHLD);
    (void)sigaddset(&set, SIGUSR1);
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGXFSZ, SIG_IGN); /* the write says EFBIG, and that is said to people */
    if (sigprocmask(SIG_BLOCK, &set, NULL) != 0)
        return err_set(e, -errno, "signals: %s", strerror(errno));
    s->signal_fd = signalfd(-1, &set, SFD_CLOEXEC);
    return s->signal_fd < 0 ? err_set(e, -errno, "signals: %s", strerror(errno)) : 0;
}

/* Who follows a folder decides by the clock when a file is over: only one of them can. */
static unsigned count_workers(const struct supervisor *s)
{
    struct stat st;

    if (s->conf->workers == 1 || s->args->pcap == NULL || !s->args->follow ||
        stat(s->args->pcap, &st) != 0 || !S_ISDIR(st.st_mode))
        return (unsigned)s->conf->workers;
    log_info("capture.workers: '%s' is followed, and read by one", s->args->pcap);
    return 1;
}

static int set_up(struct supervisor *s, struct err *e)
{
    int r = make_dir(s->args, e);

    if (r == 0)
        r = uplink_setup(s->conf, s->args, &s->uplink, &s->kafka, e);
    if (r == 0)
        r = open_model(s->conf, &s->model_fd, e);
    if (r == 0 && s->args->features != NULL) {
        s->features_fd = open(s->args->features, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
        if (s->features_fd < 0)
            r = err_set(e, -errno, "--features: can't write '%s': %s", s->args->features,
                        strerror(errno));
    }
    if (r == 0)
        r = rings_new(&s->flows, count_workers(s), (size_t)s->conf->ring_size, 2, e);
    if (r == 0)
        r = input_folder(&s->folder, s->conf, s->args, s->flows->n, s->counters, e);
    if (r == 0)
        r = ring_new(&s->alerts, (size_t)s->conf->alert_ring_size, 1, e);
    if (r == 0)
        r = uplink_state_new(&s->state, e);
    return r == 0 ? catch_signals(s, e) : r;
}

/* ---------------------------------------------------------------- children */

/* In the child. `capabilities`: what it keeps if the supervisor has it. */
static int begin_child(const struct supervisor *s, const char *name, uint64_t capabilities,
                       struct err *e)
{
    const struct child child = {.name = name,
                                .parent = s->pid,
                                .user = s->args->user,
                                .group = s->args->group,
                                .capabilities = capabilities};

    (void)close(s->signal_fd);
    return child_begin(&child, e);
}

static void forget_kafka(struct supervisor *s)
{
    if (s->kafka != NULL)
        rd_kafka_conf_destroy(s->kafka); /* it wipes what is secret */
    s->kafka = NULL;
}

static _Noreturn void analyser_main(struct supervisor *s, struct capture *const *captures)
{
    struct err e = {0};
    const struct analyser_conf conf = {.sensor = s->conf,
                                       .args = s->args,
                                       .captures = captures,
                                       .n_captures = count_captures(s),
                                       .frame_max = s->frame_max,
                                       .model_fd = s->model_fd,
                                       .features_fd = s->features_fd,
                                       .flows = s->flows,
                                       .alerts = s->alerts,
                                       .counters = s->counters};

    s->state = uplink_state_free(s->state); /* not ours to see */
    s->folder = folder_free(s->folder);
    memset(&s->uplink.sink, 0, sizeof(s->uplink.sink));
    forget_kafka(s);
    int r = begin_child(s, "wind-analyser", 0, &e);
    if (r == 0)
        r = analyser_run(&conf, &e);
    if (r < 0)
        log_error("%s", e.text);
    _exit(r < 0 ? EXIT_FAILURE : EXIT_SUCCESS);
}

static _Noreturn void uplink_main(struct supervisor *s)
{
    struct err e = {0};

    s->folder = folder_free(s->folder); /* not ours to see */
    /* Root may write where -l says, whosever folder that is. */
    int r = begin_child(s, "wind-uplink", UINT64_C(1) << CAP_DAC_OVERRIDE, &e);

    if (r == 0)
        r = uplink_run(&s->uplink, s->state, s->flows, s->alerts, s->counters, &e);
    if (r < 0)
        log_error("%s", e.text);
    _exit(r < 0 ? EXIT_FAILURE : r == UPLINK_UNDELIVERED ? EXIT_AGAIN : EXIT_SUCCESS);
}

static int start_analyser(struct supervisor *s, struct err *e)
{
    struct capture *captures[WORKERS_MAX] = {NULL};
    struct capture_group groups[CAPTURE_INTERFACES_MAX] = {{.is_made = false}};
    const unsigned n = count_captures(s);
    pid_t pid = 0;
    int r = 0;

    for (unsigned i = 0; r == 0 && i < n; i++)
        r = open_capture(s, i, groups, &captures[i], e);
    if (r == 0) {
        (void)fflush(NULL);
        pid = fork();
        if (pid == 0)
            analyser_main(s, captures);
        if (pid < 0)
            r = err_set(e, -errno, "can't start the analyser: %s", strerror(errno));
        s->captured_by = capture_backend_name(captures[0]);
    }
    for (unsigned i = 0; i < n; i++)
        captures[i] = capture_free(captures[i]); /* the child has its own */
    s->analyser = r == 0 ? pid : 0;
    return r;
}

static int start_uplink(struct supervisor *s, struct err *e)
{
    (void)fflush(NULL);
    const pid_t pid = fork();

    if (pid == 0)
        uplink_main(s);
    if (pid < 0)
        return err_set(e, -errno, "can't start the uplink: %s", strerror(errno));
    s->uplink_pid = pid;
    return 0;
}

/* ---------------------------------------------------------------- ends and crashes */

static void describe_end(char *out, size_t size, int status)
{
    if (WIFSIGNALED(status))
        (void)snprintf(
            out, size, "was killed by signal %d (%s)%s", WTERMSIG(status),
            strsignal(WTERMSIG(status)),
            WTERMSIG(status) == SIGSYS ? ": it made a system call that the sandbox forbids" : "");
    else
        (void)snprintf(out, size, "ended with %d", WEXITSTATUS(status));
}

/* Crashes in a row, without any progress between them. */
static bool is_hopeless(int *crashes, uint64_t *at, uint64_t now)
{
    *crashes = now == *at ? *crashes + 1 : 1;
    *at = now;
    return *crashes > SUPERVISOR_CRASHES_MAX;
}

static int analyser_ended(struct supervisor *s, int status, struct err *e)
{
    char how[160];

    s->analyser = 0;
    if (WIFEXITED(status)) {
        s->analyser_failed = WEXITSTATUS(status) != EXIT_SUCCESS;
        atomic_store(&s->counters->producer_done, 1);
        return 0;
    }
    describe_end(how, sizeof(how), status);
    if (atomic_load(&s->counters->producer_done) != 0) { /* it had done all, and was leaving */
        log_warn("the analyser %s after its work was done", how);
        return 0;
    }
    if (s->folder != NULL)
        folder_serve(s->folder); /* what it said before it died */
    losses_settle(s->counters, s->flows, s->alerts, s->args->pcap == NULL);
    counters_add(s->counters, COUNTER_supervisor_analyser_restarts, 1);
    bool is_over = is_hopeless(&s->analyser_crashes, &s->analyser_at, counters_taken(s->counters));
    if (is_over && s->folder != NULL && folder_give_up(s->folder)) {
        s->analyser_crashes = 0; /* that file was it, perhaps */
        is_over = false;
    }
    if (is_over) {
        log_error("the analyser %s, %d times at the same place: giving up", how,
                  s->analyser_crashes);
        s->analyser_failed = true;
        atomic_store(&s->counters->producer_done, 1);
        return 0;
    }
    log_warn("the analyser %s, starting it again", how);
    (void)usleep(RESTART_DELAY_MS * 1000);
    const int r = start_analyser(s, e);
    if (r == -ESPIPE) { /* a pipe can't be read again */
        log_error("%s", e->text);
        s->analyser_failed = true;
        atomic_store(&s->counters->producer_done, 1);
        return 0;
    }
    return r;
}

static int uplink_ended(struct supervisor *s, int status, struct err *e)
{
    char how[160];

    s->uplink_pid = 0;
    if (WIFEXITED(status)) {
        s->undelivered = WEXITSTATUS(status) == EXIT_AGAIN;
        s->uplink_failed = !s->undelivered && WEXITSTATUS(status) != EXIT_SUCCESS;
        return 0;
    }
    describe_end(how, sizeof(how), status);
    counters_add(s->counters, COUNTER_supervisor_uplink_restarts, 1);
    if (is_hopeless(&s->uplink_crashes, &s->uplink_at,
                    counters_get(s->counters, COUNTER_uplink_records))) {
        log_error("the uplink %s, %d times at the same place: giving up", how, s->uplink_crashes);
        s->uplink_failed = true;
        return 0;
    }
    log_warn("the uplink %s, starting it again", how);
    (void)usleep(RESTART_DELAY_MS * 1000);
    return start_uplink(s, e);
}

static int reap(struct supervisor *s, struct err *e)
{
    int status = 0, r = 0;
    pid_t pid;

    while (r == 0 && (pid = waitpid(-1, &status, WNOHANG)) > 0) {
        if (pid == s->analyser)
            r = analyser_ended(s, status, e);
        else if (pid == s->uplink_pid)
            r = uplink_ended(s, status, e);
    }
    return r;
}

static void kill_children(const struct supervisor *s)
{
    if (s->analyser > 0)
        (void)kill(s->analyser, SIGKILL);
    if (s->uplink_pid > 0)
        (void)kill(s->uplink_pid, SIGKILL);
}

static int on_signal(struct supervisor *s, uint32_t signal, struct err *e)
{
    if (signal == SIGCHLD)
        return reap(s, e);
    if (signal == SIGHUP && reload_is_meant(s->args)) {
        reload(s->args, s->conf, s->counters, s->flows->n);
        return 0;
    }
    if (signal == SIGUSR1) {
        atomic_fetch_add(&s->state->reopen, 1);
        return 0;
    }
    const uint64_t now_ns = time_mono_ns();
    if (s->stop_ns == 0) {
        s->stop_ns = now_ns;
        for (unsigned i = 0; i < s->flows->n; i++)
            atomic_store(&s->counters[i].stop, 1);
    } else if (now_ns < s->stop_ns + STOP_AGAIN_NS) {
        return 0; /* one wish, told to us and to our group: timeout(1), a service manager */
    } else {
        return err_set(e, -EINTR, "asked twice to stop: what was in hand is lost");
    }
    log_info("stopping: finishing what is in hand (once more to stop at once)");
    return 0;
}

/* Until there is a signal; meanwhile the analyser may ask for files. */
static void wait_for_signal(const struct supervisor *s)
{
    struct pollfd fds[1 + FOLDER_READERS_MAX] = {{.fd = s->signal_fd, .events = POLLIN}};

    while (s->folder != NULL) {
        const size_t n = 1 + folder_poll(s->folder, fds + 1);
        if (poll(fds, n, -1) < 0 || fds[0].revents != 0)
            return;
        folder_serve(s->folder);
    }
}

/* Until both are gone. An uplink that failed leaves the analyser nothing to live for. */
static int watch(struct supervisor *s, struct err *e)
{
    struct signalfd_siginfo info;
    int r = 0;

    while (r == 0 && (s->analyser > 0 || s->uplink_pid > 0)) {
        if (s->uplink_pid == 0 && s->uplink_failed)
            break;
        wait_for_signal(s);
        const ssize_t n = read(s->signal_fd, &info, sizeof(info));
        if (n == (ssize_t)sizeof(info))
            r = on_signal(s, info.ssi_signo, e);
        else if (n < 0 && errno != EINTR)
            r = err_set(e, -errno, "signals: %s", strerror(errno));
    }
    return r;
}

static void tear_down(struct supervisor *s)
{
    kill_children(s);
    while (s->analyser > 0 || s->uplink_pid > 0) {
        if (waitpid(-1, NULL, 0) <= 0)
            break;
    }
    memset(&s->uplink.sink, 0, sizeof(s->uplink.sink));
    forget_kafka(s);
    s->flows = rings_free(s->flows);
    s->alerts = ring_free(s->alerts);
    forget_kafka(s);
    s->folder = folder_free(s->folder);
    s->state = uplink_state_free(s->state);
    if (s->signal_fd >= 0)
        (void)close(s->signal_fd);
    if (s->model_fd >= 0)
        (void)close(s->model_fd);
    if (s->features_fd >= 0)
        (void)close(s->features_fd);
}

static void say_hello(const struct supervisor *s)
{
    char input[CAPTURE_INTERFACES_MAX * CONF_ITEM_MAX];

    if (s->args->pcap != NULL)
        (void)snprintf(input, sizeof(input), "following '%s'", s->args->pcap);
    else
        live_describe(s->conf, s->captured_by, input, sizeof(input));
    log_info("%s, writing to '%s/eve.json'%s%s", input, s->args->dir,
             s->conf->url[0] != '\0' ? ", reporting to " : "", s->conf->url);
}

int supervisor_run(const struct sensor_conf *conf, const struct sensor_args *args,
                   struct counters *counters, struct err *e)
{
    struct supervisor s = {.conf = conf,
                           .args = args,
                           .counters = counters,
                           .pid = getpid(),
                           .model_fd = -1,
                           .features_fd = -1,
                           .signal_fd = -1};
    int r = set_up(&s, e);

    if (r == 0 && args->pcap == NULL)
        s.frame_max = live_look(conf, counters);
    if (r == 0)
        r = start_analyser(&s, e);
    if (r == 0)
        r = start_uplink(&s, e);
    if (r == 0 && (args->pcap == NULL || args->follow))
        say_hello(&s);
    if (r == 0)
        r = watch(&s, e);
    tear_down(&s);
    if (r == 0 && (s.analyser_failed || s.uplink_failed))
        r = err_set(e, -EIO, "%s", ""); /* the child has said why */
    return r == 0 && s.undelivered ? SUPERVISOR_UNDELIVERED : r;
}
