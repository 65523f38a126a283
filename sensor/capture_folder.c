#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sensor/capture_backend.h"
#include "sensor/capture_file.h"
#include "sensor/folder_talk.h"
#include "sensor/packed.h"

#define NAME_MAX_SHOWN 80
#define LOOK_TURNS     64 /* of a file that grows, for its first packet */
#define ASK_TURNS      20 /* without packets of a followed file, before we ask for news */
#define SETTLED_TURNS  100

/*
 * One file, or what we do without one:
 *
 *     ask -> LOOK: `looking` until its first packet is there, then tell, and ask again
 *         -> READ: `current`; or, while one is being followed, `next`
 *         -> END
 *     current ends -> tell -> next, or ask
 */
struct capture_folder {
    struct capture base;
    int fd;
    bool follow, is_asking;
    uint64_t before; /* packets received before our time */
    char name[NAME_MAX_SHOWN + 1];
    struct source_thread *thread;
    struct capture *looking, *current, *next; /* NULL: none */
    uint32_t looking_id, current_id, next_id;
    uint64_t next_skip;
    bool is_next_due; /* nobody writes to the current one any more */
    unsigned turns;   /* without a packet: of `looking`; else of `current`, or of waiting */
};

/* ---------------------------------------------------------------- messages */

static void tell(const struct capture_folder *f, enum folder_ask_kind kind, uint32_t id,
                 uint64_t number, const char *text)
{
    struct folder_ask ask = {.kind = kind, .id = id, .number = number};

    (void)snprintf(ask.text, sizeof(ask.text), "%s", text);
    while (write(f->fd, &ask, sizeof(ask)) < 0 && errno == EINTR)
        ;
}

static void ask(struct capture_folder *f)
{
    tell(f, FOLDER_NEXT, 0, 0, "");
    f->is_asking = true;
}

static void lose(struct capture_folder *f, const char *why)
{
    (void)err_set(&f->base.error, -EIO, "'%s': %s", f->name, why);
    f->base.state = CAPTURE_CORRUPT;
    f->base.ended = true;
}

/* Returns false when there is no answer within wait_ms. *ret_fd: -1 if none came with it. */
static bool receive(struct capture_folder *f, struct folder_answer *ret_answer, int *ret_fd,
                    int wait_ms)
{
    struct pollfd p = {.fd = f->fd, .events = POLLIN};
    struct iovec iov = {.iov_base = ret_answer, .iov_len = sizeof(*ret_answer)};
    union {
        struct cmsghdr align;
        char room[CMSG_SPACE(sizeof(int))];
    } control;
    struct msghdr m = {.msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = control.room,
                       .msg_controllen = sizeof(control.room)};

    *ret_fd = -1;
    if (poll(&p, 1, wait_ms) <= 0)
        return false;
    if (recvmsg(f->fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) != (ssize_t)sizeof(*ret_answer)) {
        lose(f, "the supervisor hands over no files any more");
        return false;
    }
    const struct cmsghdr *const c = CMSG_FIRSTHDR(&m);
    if (c != NULL && c->cmsg_type == SCM_RIGHTS)
        memcpy(ret_fd, CMSG_DATA(c), sizeof(*ret_fd));
    return true;
}

/* ---------------------------------------------------------------- one file */

/* Takes `fd`. NULL: it can't be read, which was told. */
static struct capture *open_file(struct capture_folder *f, const struct folder_answer *a, int fd,
                                 bool to_look)
{
    const struct capture_file_conf conf = {
        .name = a->name,
        .skip_packets = a->number,
        .flags = PACKED_IS_FILE | (f->follow ? PACKED_FOLLOW : 0),
        .no_digest = to_look || f->before + f->base.stats.received > 0,
        .thread = to_look ? NULL : f->thread,
    };
    struct capture *c = NULL;
    struct err e = {0};

    if (capture_file_open(&c, fd, &conf, &e) == 0)
        return c;
    (void)close(fd);
    if (to_look) {
        tell(f, FOLDER_NO_CAPTURE, a->id, 0, e.text);
    } else if (f->current == NULL) { /* else it will be offered again */
        tell(f, FOLDER_BEGIN, a->id, f->before + f->base.stats.received, "");
        tell(f, FOLDER_DONE, a->id, 0, e.text);
    }
    return NULL;
}

static void begin(struct capture_folder *f, struct capture *c, uint32_t id, uint64_t skip)
{
    f->current = c;
    f->current_id = id;
    f->is_next_due = false;
    f->turns = 0;
    tell(f, FOLDER_BEGIN, id, f->before + f->base.stats.received - skip, "");
}

/* What was wrong with it is told to the analyser as a fault, and to the supervisor. */
static void finish(struct capture_folder *f)
{
    const struct err *what = NULL;
    const enum capture_state state = capture_error(f->current, &what);
    struct capture_stats stats;

    capture_stats(f->current, &stats);
    f->base.stats.skipped += stats.skipped;
    if (state != CAPTURE_OK) {
        f->base.fault = state == CAPTURE_TRUNCATED ? CAPTURE_TRUNCATED : CAPTURE_CORRUPT;
        f->base.fault_error = *what;
    }
    tell(f, FOLDER_DONE, f->current_id, 0, what->text);
    f->current = capture_free(f->current);
    f->turns = 0;
    if (f->next != NULL) {
        begin(f, f->next, f->next_id, f->next_skip);
        f->next = NULL;
    }
}

/* One step towards its first packet. */
static void look(struct capture_folder *f)
{
    struct packet first;
    const struct err *why = NULL;
    const size_t n = capture_recv(f->looking, &first, 1, 0);

    capture_release(f->looking);
    if (n > 0)
        tell(f, FOLDER_FOUND, f->looking_id, first.time_ns, "");
    else if (!capture_ended(f->looking) && (!f->follow || f->turns++ < LOOK_TURNS))
        return;
    else if (!capture_ended(f->looking))
        tell(f, FOLDER_NOT_YET, f->looking_id, 0, "");
    else if (capture_error(f->looking, &why) == CAPTURE_UNUSABLE)
        tell(f, FOLDER_NO_CAPTURE, f->looking_id, 0, why->text);
    else
        tell(f, FOLDER_FOUND, f->looking_id, UINT64_MAX, ""); /* last; what is wrong, then */
    f->looking = capture_free(f->looking);
    f->turns = 0;
    ask(f);
}

/* ---------------------------------------------------------------- which file? */

static void end(struct capture_folder *f, bool is_without_files)
{
    f->base.ended = true;
    if (!is_without_files)
        return;
    (void)err_set(&f->base.error, -EINVAL, "'%s' has no capture file in it", f->name);
    f->base.state = CAPTURE_UNUSABLE;
}

static void take_file(struct capture_folder *f, const struct folder_answer *a, int fd)
{
    struct capture *const c = open_file(f, a, fd, a->kind == FOLDER_LOOK);

    if (c == NULL) {
        f->turns = 1; /* ask again later */
    } else if (a->kind == FOLDER_LOOK) {
        f->looking = c;
        f->looking_id = a->id;
        f->turns = 0;
    } else if (f->current == NULL) {
        begin(f, c, a->id, a->number);
    } else {
        f->next = c;
        f->next_id = a->id;
        f->next_skip = a->number;
        f->is_next_due = a->is_settled != 0;
        f->turns = 0;
    }
}

/* An answer, if there is one. */
static void hear(struct capture_folder *f, int wait_ms)
{
    struct folder_answer a;
    int fd = -1;

    if (!receive(f, &a, &fd, wait_ms))
        return;
    f->is_asking = false;
    a.name[sizeof(a.name) - 1] = '\0';
    if (fd >= 0)
        take_file(f, &a, fd);
    else if (a.kind == FOLDER_END)
        end(f, a.number == 0);
    else
        f->turns = f->follow ? 1 : ASK_TURNS - 1; /* nothing: ask again, later or soon */
}

/* Towards a current file. Waits at most wait_ms. */
static void find_file(struct capture_folder *f, int wait_ms)
{
    if (f->looking != NULL)
        look(f);
    else if (f->is_asking)
        hear(f, wait_ms);
    else if (f->turns++ % ASK_TURNS == 0)
        ask(f);
    else
        (void)poll(NULL, 0, wait_ms);
}

/* The current file has nothing to give now: is there another one, and is it this one's end? */
static void wait_at_end(struct capture_folder *f)
{
    if (f->next == NULL)
        find_file(f, 0);
    else if (f->is_next_due || f->turns++ >= SETTLED_TURNS)
        capture_file_stop_following(f->current);
}

/* ---------------------------------------------------------------- the backend */

static size_t folder_recv(struct capture *c, struct packet *ret_packets, size_t max, int wait_ms)
{
    struct capture_folder *const f = (struct capture_folder *)c;

    if (f->current == NULL)
        find_file(f, wait_ms);
    if (f->current == NULL)
        return 0;
    const size_t n = capture_recv(f->current, ret_packets, max, wait_ms);
    if (n > 0)
        f->turns = 1;
    else if (capture_ended(f->current))
        finish(f);
    else if (f->follow)
        wait_at_end(f);
    return n;
}

static void folder_release(struct capture *c)
{
    struct capture_folder *const f = (struct capture_folder *)c;

    if (f->current != NULL)
        capture_release(f->current);
}

static bool folder_digest(struct capture *c, uint8_t ret_digest[32], int wait_ms)
{
    struct capture_folder *const f = (struct capture_folder *)c;

    memset(ret_digest, 0, 32);
    if (f->current == NULL && !c->ended)
        find_file(f, wait_ms);
    if (c->ended || f->follow)
        return true;
    return f->current != NULL && capture_digest(f->current, ret_digest, wait_ms);
}

static int folder_start_thread(struct capture *c, struct err *e)
{
    return source_thread_new(&((struct capture_folder *)c)->thread, e);
}

static void folder_free_all(struct capture *c)
{
    struct capture_folder *const f = (struct capture_folder *)c;

    (void)capture_free(f->looking);
    (void)capture_free(f->current);
    (void)capture_free(f->next);
    (void)source_thread_free(f->thread);
    if (f->fd >= 0)
        (void)close(f->fd);
    free(f);
}

static const struct capture_ops folder_ops = {
    .recv = folder_recv,
    .digest = folder_digest,
    .release = folder_release,
    .start_thread = folder_start_thread,
    .free = folder_free_all,
};

int capture_folder_new(struct capture **ret_capture, int fd, const char *name, uint64_t received,
                       bool follow, struct err *e)
{
    struct capture_folder *const f = calloc(1, sizeof(*f));

    if (f == NULL)
        return err_set(e, -ENOMEM, "'%s': out of memory", name);
    f->base.ops = &folder_ops;
    f->base.name = "folder";
    f->fd = fd;
    f->before = received;
    f->follow = follow;
    (void)snprintf(f->name, sizeof(f->name), "%s", name);
    *ret_capture = &f->base;
    return 0;
}
