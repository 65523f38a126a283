#include "sensor/folder.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/log.h"
#include "common/time.h"
#include "sensor/folder_files.h"
#include "sensor/folder_talk.h"

#define SCAN_NS (200 * WIND_NS_PER_MS) /* followed: look for new files no more often */

/*
 * At place `at` of the order:
 *     has_file no:  not begun          BEGIN: has_file yes          DONE: at + 1, no
 * `ahead` was handed over last, and is not begun: the place that the next BEGIN is about.
 */
struct reader {
    int fd; /* our end; -1: none */
    size_t at, ahead;
    bool has_file, has_ahead;
    bool is_new;                 /* was connected, and has begun nothing yet */
    uint64_t base;               /* packets received before the file's first */
    struct folder_file *looking; /* reader 0 */
};

struct folder {
    struct folder_conf conf;
    struct folder_files files;
    struct reader reader[FOLDER_READERS_MAX];
    uint64_t scanned_ns; /* monotonic */
    uint64_t told;       /* skipped files that the log names */
    bool said_left_out, has_begun;
};

/* ---------------------------------------------------------------- life */

int folder_new(struct folder **ret_folder, const struct folder_conf *conf, struct err *e)
{
    WIND_AUTO(folder) struct folder *f = calloc(1, sizeof(*f));

    if (f == NULL)
        return err_set(e, -ENOMEM, "out of memory");
    WIND_CHECK(conf->readers >= 1 && conf->readers <= FOLDER_READERS_MAX);
    f->conf = *conf;
    for (unsigned i = 0; i < FOLDER_READERS_MAX; i++)
        f->reader[i].fd = -1;
    int r = folder_files_init(&f->files, conf->path, conf->files_max, e);
    if (r == 0)
        r = folder_files_scan(&f->files, e);
    if (r < 0)
        return r;
    f->scanned_ns = time_mono_ns();
    *ret_folder = WIND_STEAL(f);
    return 0;
}

struct folder *folder_free(struct folder *f)
{
    if (f != NULL) {
        for (unsigned i = 0; i < FOLDER_READERS_MAX; i++)
            if (f->reader[i].fd >= 0)
                (void)close(f->reader[i].fd);
        folder_files_done(&f->files);
        free(f);
    }
    return NULL;
}

int folder_connect(struct folder *f, unsigned i, int *ret_fd, struct err *e)
{
    struct reader *const r = &f->reader[i];
    int fd[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fd) != 0)
        return err_set(e, -errno, "no socket for the analyser: %s", strerror(errno));
    if (r->fd >= 0)
        (void)close(r->fd);
    r->fd = fd[0];
    r->is_new = true;
    r->has_ahead = false;
    r->looking = NULL;
    *ret_fd = fd[1];
    return 0;
}

size_t folder_poll(const struct folder *f, struct pollfd *ret_fds)
{
    size_t n = 0;

    for (unsigned i = 0; i < f->conf.readers; i++)
        if (f->reader[i].fd >= 0)
            ret_fds[n++] = (struct pollfd){.fd = f->reader[i].fd, .events = POLLIN};
    return n;
}

/* ---------------------------------------------------------------- skipped files */

static void WIND_PRINTF(2, 3) tell(struct folder *f, const char *fmt, ...)
{
    char text[400];
    va_list args;

    if (f->told++ >= FOLDER_TOLD_MAX)
        return;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    log_warn("%s, skipping%s", text,
             f->told == FOLDER_TOLD_MAX ? " (more such files are only counted)" : "");
}

static void skip(struct folder *f, struct folder_file *file, const char *why)
{
    if (file->state == FOLDER_FILE_OUT)
        return;
    file->state = FOLDER_FILE_OUT;
    counters_add(f->conf.counters, COUNTER_capture_skipped_files, 1);
    tell(f, "%s", why);
}

static int open_or_skip(struct folder *f, struct folder_file *file)
{
    char why[400];
    const int fd = folder_files_open(&f->files, file);

    if (fd < 0) {
        (void)snprintf(why, sizeof(why), "'%.255s' %s%s", file->name,
                       fd == -EINVAL ? "is no regular file" : "can't be opened: ",
                       fd == -EINVAL ? "" : strerror(-fd));
        skip(f, file, why);
    }
    return fd;
}

/* ---------------------------------------------------------------- answers */

/* A reader whose buffer is full, or that is gone, gets nothing: it will be replaced. */
static void answer(const struct reader *r, struct folder_answer *a, const struct folder_file *file,
                   int fd)
{
    struct iovec iov = {.iov_base = a, .iov_len = sizeof(*a)};
    union {
        struct cmsghdr align;
        char room[CMSG_SPACE(sizeof(int))];
    } control = {.room = {0}};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};

    if (file != NULL) {
        a->id = file->id;
        (void)snprintf(a->name, sizeof(a->name), "%s", file->name);
    }
    if (fd >= 0) {
        m.msg_control = control.room;
        m.msg_controllen = sizeof(control.room);
        struct cmsghdr *const c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &fd, sizeof(fd));
    }
    (void)sendmsg(r->fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (fd >= 0)
        (void)close(fd);
}

/* Not while one is looked at: it would be forgotten, should it be gone. */
static void scan_again(struct folder *f)
{
    const uint64_t now_ns = time_mono_ns();

    if (!f->conf.follow || f->reader[0].looking != NULL || now_ns < f->scanned_ns + SCAN_NS)
        return;
    f->scanned_ns = now_ns;
    size_t through = SIZE_MAX;
    for (unsigned i = 0; i < f->conf.readers; i++)
        through = f->reader[i].at < through ? f->reader[i].at : through;
    folder_files_forget(&f->files, through);
    for (unsigned i = 0; i < f->conf.readers; i++) {
        f->reader[i].at -= through;
        f->reader[i].ahead -= f->reader[i].ahead < through ? f->reader[i].ahead : through;
    }
    folder_files_scan_again(&f->files);
}

static void note_left_out(struct folder *f)
{
    if (f->files.left_out == 0 || f->said_left_out)
        return;
    f->said_left_out = true;
    if (!f->conf.follow)
        counters_add(f->conf.counters, COUNTER_capture_skipped_files, f->files.left_out);
    log_warn("'%s' has %llu files more than capture.files allows, skipping them", f->conf.path,
             (unsigned long long)f->files.left_out);
}

/* Something that nobody has looked at yet. */
static bool hand_over_new(struct folder *f, struct reader *r)
{
    struct folder_answer a = {.kind = FOLDER_LOOK};
    struct folder_file *file;

    while ((file = folder_files_new_one(&f->files)) != NULL) {
        const int fd = open_or_skip(f, file);
        if (fd < 0)
            continue;
        r->looking = file;
        answer(r, &a, file, fd);
        return true;
    }
    return false;
}

static uint64_t received(const struct folder *f, unsigned i)
{
    return atomic_load(&f->conf.counters[i].position);
}

/* The one that the reader is at when it has begun it and died, else the one after that. */
static bool hand_over_next(struct folder *f, unsigned i)
{
    struct reader *const r = &f->reader[i];
    struct folder_answer a = {.kind = FOLDER_READ};
    const bool is_resumed = r->has_file && r->is_new;
    struct folder_file *file;
    int fd = -1;

    r->ahead = r->at + (r->has_file && !is_resumed);
    while ((file = folder_files_at(&f->files, r->ahead)) != NULL) {
        fd = file->state == FOLDER_FILE_OUT ? -1 : open_or_skip(f, file);
        if (fd >= 0)
            break;
        r->has_file = is_resumed ? false : r->has_file; /* what is left of it is lost */
        r->ahead++;
    }
    if (file == NULL)
        return false;
    if (r->has_file && is_resumed)
        a.number = received(f, i) > r->base ? received(f, i) - r->base : 0;
    else if (r->has_file)
        a.is_settled =
            folder_files_is_settled(&f->files, folder_files_at(&f->files, r->at)) ? 1 : 0;
    r->has_ahead = true;
    answer(r, &a, file, fd);
    return true;
}

static void say_next(struct folder *f, unsigned i)
{
    struct reader *const r = &f->reader[i];
    struct folder_answer a = {.kind = FOLDER_NOTHING};

    scan_again(f);
    note_left_out(f);
    if (i == 0 && r->looking == NULL && hand_over_new(f, r))
        return;
    if (f->reader[0].looking == NULL && folder_files_new_one(&f->files) == NULL) {
        if (hand_over_next(f, i))
            return;
        if (!f->conf.follow) {
            a.kind = FOLDER_END;
            a.number = f->has_begun;
        }
    }
    answer(r, &a, NULL, -1);
}

/* ---------------------------------------------------------------- what readers say */

static void on_look(struct folder *f, struct reader *r, const struct folder_ask *ask)
{
    struct folder_file *const file = r->looking;
    struct stat st;

    if (file == NULL || file->id != ask->id)
        return;
    r->looking = NULL;
    if (ask->kind == FOLDER_FOUND) {
        folder_files_enqueue(&f->files, file, ask->number);
    } else if (ask->kind == FOLDER_NO_CAPTURE) {
        skip(f, file, ask->text);
    } else {
        file->state = FOLDER_FILE_WAITING;
        file->size = fstatat(f->files.fd, file->name, &st, 0) == 0 ? st.st_size : -1;
    }
}

static void on_begin(struct folder *f, struct reader *r, const struct folder_ask *ask)
{
    const struct folder_file *const file =
        r->has_ahead ? folder_files_at(&f->files, r->ahead) : NULL;

    if (file == NULL || file->id != ask->id)
        return;
    r->has_ahead = false;
    r->at = r->ahead;
    r->has_file = true;
    r->is_new = false;
    f->has_begun = true;
    r->base = ask->number;
}

static void on_done(struct folder *f, unsigned i, const struct folder_ask *ask)
{
    struct reader *const r = &f->reader[i];
    struct folder_file *const file = folder_files_at(&f->files, r->at);

    if (!r->has_file || file == NULL || file->id != ask->id)
        return;
    r->has_file = false;
    r->at++;
    if (i != 0)
        return;
    counters_add(f->conf.counters, COUNTER_capture_files, 1);
    if (ask->text[0] != '\0')
        log_warn("%s", ask->text);
}

static void on_ask(struct folder *f, unsigned i, struct folder_ask *ask)
{
    ask->text[sizeof(ask->text) - 1] = '\0';
    switch (ask->kind) {
    case FOLDER_NEXT:
        say_next(f, i);
        break;
    case FOLDER_FOUND:
    case FOLDER_NO_CAPTURE:
    case FOLDER_NOT_YET:
        on_look(f, &f->reader[i], ask);
        break;
    case FOLDER_BEGIN:
        on_begin(f, &f->reader[i], ask);
        break;
    case FOLDER_DONE:
        on_done(f, i, ask);
        break;
    default:
        break;
    }
}

void folder_serve(struct folder *f)
{
    for (unsigned i = 0; i < f->conf.readers; i++) {
        struct reader *const r = &f->reader[i];
        struct folder_ask ask;
        ssize_t n = -1;

        while (r->fd >= 0 && (n = recv(r->fd, &ask, sizeof(ask), MSG_DONTWAIT)) > 0)
            if (n == (ssize_t)sizeof(ask))
                on_ask(f, i, &ask);
        if (r->fd >= 0 && n == 0) { /* the other end is closed */
            (void)close(r->fd);
            r->fd = -1;
        }
    }
}

/* The file that the slowest readers are at. Returns false when there is none. */
static bool give_up_reading(struct folder *f)
{
    size_t least = SIZE_MAX;

    for (unsigned i = 0; i < f->conf.readers; i++)
        if (f->reader[i].has_file && f->reader[i].at < least)
            least = f->reader[i].at;
    if (least == SIZE_MAX)
        return false;
    for (unsigned i = 0; i < f->conf.readers; i++) {
        struct reader *const r = &f->reader[i];
        if (r->has_file && r->at == least) {
            r->has_file = false;
            r->at++;
        }
    }
    counters_add(f->conf.counters, COUNTER_capture_files, 1);
    counters_add(f->conf.counters, COUNTER_capture_damaged_files, 1);
    log_error("the analyser dies of '%s': going on with the next file",
              folder_files_at(&f->files, least)->name);
    return true;
}

bool folder_give_up(struct folder *f)
{
    struct folder_file *const looking = f->reader[0].looking;
    char why[320];

    if (looking == NULL)
        return give_up_reading(f);
    f->reader[0].looking = NULL;
    (void)snprintf(why, sizeof(why), "the analyser dies of '%.255s'", looking->name);
    skip(f, looking, why);
    return true;
}
