/*
 * What a hostile analyser may say to the supervisor about a folder: any bytes, in any order. It
 * stays within its own descriptors, answers each question once, and goes on.
 */
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/log.h"
#include "sensor/folder.h"
#include "sensor/folder_talk.h"
#include "support/fuzz.h"

static char path[] = "/tmp/wind-fuzz-XXXXXX";

static void remove_folder(void)
{
    char name[64];

    for (int i = 0; i < 4; i++) {
        (void)snprintf(name, sizeof(name), "%s/%d", path, i);
        (void)unlink(name);
    }
    (void)rmdir(path);
}

/* Made once: three files, and what is none. */
static const char *make_folder(void)
{
    static bool is_made; /* mkdtemp's name may end like its template */
    char name[64];

    if (is_made)
        return path;
    is_made = true;
    FUZZ_CHECK(mkdtemp(path) != NULL && atexit(remove_folder) == 0);
    for (int i = 0; i < 4; i++) {
        (void)snprintf(name, sizeof(name), "%s/%d", path, i);
        const int fd = i < 3 ? open(name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600) : -1;
        FUZZ_CHECK(i < 3 ? fd >= 0 : symlink(name, name) == 0);
        if (fd >= 0)
            (void)close(fd);
    }
    return path;
}

static void drain_answers(int fd)
{
    struct folder_answer a;
    struct iovec iov = {&a, sizeof(a)};
    char control[CMSG_SPACE(sizeof(int))];

    for (;;) {
        struct msghdr m = {.msg_iov = &iov,
                           .msg_iovlen = 1,
                           .msg_control = control,
                           .msg_controllen = sizeof(control)};
        if (recvmsg(fd, &m, MSG_DONTWAIT) != (ssize_t)sizeof(a))
            return;
        FUZZ_CHECK(a.kind >= FOLDER_LOOK && a.kind <= FOLDER_END);
        FUZZ_CHECK(memchr(a.name, '\0', sizeof(a.name)) != NULL);
        const struct cmsghdr *const c = CMSG_FIRSTHDR(&m);
        FUZZ_CHECK((c != NULL) == (a.kind == FOLDER_LOOK || a.kind == FOLDER_READ));
        if (c != NULL) {
            int got;
            memcpy(&got, CMSG_DATA(c), sizeof(got));
            FUZZ_CHECK(close(got) == 0);
        }
    }
}

/* Each message: a byte that says what else happens and how much of it is sent, kind, id, number. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct counters *counters = NULL;
    struct folder *folder = NULL;
    int fd = -1;

    log_init(LOG_JSON, LOG_LEVEL_ERROR);
    FUZZ_CHECK(counters_new(&counters, NULL) == 0);
    const struct folder_conf conf = {.path = make_folder(),
                                     .follow = size > 0 && (data[0] & 1) != 0,
                                     .files_max = 3,
                                     .readers = 1,
                                     .counters = counters};
    FUZZ_CHECK(folder_new(&folder, &conf, NULL) == 0);
    FUZZ_CHECK(folder_connect(folder, 0, &fd, NULL) == 0);
    for (size_t at = 0; at + 4 <= size && at < 400; at += 4) {
        struct folder_ask ask = {
            .kind = data[at + 1] % 8, .id = data[at + 2] % 8, .number = data[at + 3]};
        const size_t len = data[at] % 16 == 15 ? data[at + 3] : sizeof(ask);

        memset(ask.text, data[at + 3], sizeof(ask.text)); /* without an end */
        if (len > 0)
            FUZZ_CHECK(send(fd, &ask, len, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)len);
        folder_serve(folder);
        drain_answers(fd);
        atomic_fetch_add(&counters->position, data[at] % 16);
        if (data[at] >= 0xe0)
            (void)folder_give_up(folder);
        if (data[at] >= 0xd0) {
            (void)close(fd);
            FUZZ_CHECK(folder_connect(folder, 0, &fd, NULL) == 0);
        }
    }
    FUZZ_CHECK(counters_get(counters, COUNTER_capture_files) <= 3 ||
               conf.follow); /* none is read twice */
    (void)close(fd);
    folder = folder_free(folder);
    counters = counters_free(counters);
    return 0;
}
