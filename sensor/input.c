#include "sensor/input.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int open_file(const char *path, int *ret_fd, struct err *e)
{
    const bool is_stdin = strcmp(path, "-") == 0;
    /* O_NONBLOCK: nobody may have opened the other end of a pipe yet. The reader waits. */
    const int fd = is_stdin ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3)
                            : open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

    if (fd < 0)
        return err_set(e, -errno, "can't open '%s': %s", path, strerror(errno));
    if (is_stdin && isatty(fd)) {
        (void)close(fd);
        return err_set(e, -EINVAL,
                       "-r -: standard input is a terminal; give it a capture, e.g. "
                       "tcpdump -w - | wind-sensor -r -");
    }
    *ret_fd = fd;
    return 0;
}

int input_folder(struct folder **ret_folder, const struct sensor_conf *conf,
                 const struct sensor_args *args, unsigned readers, struct counters *counters,
                 struct err *e)
{
    struct stat st;

    if (args->pcap == NULL || stat(args->pcap, &st) != 0 || !S_ISDIR(st.st_mode))
        return 0;
    const struct folder_conf folder = {.path = args->pcap,
                                       .follow = args->follow,
                                       .files_max = (size_t)conf->files_max,
                                       .readers = readers,
                                       .counters = counters};
    return folder_new(ret_folder, &folder, e);
}

int input_open(struct capture **ret_capture, const struct sensor_args *args, struct folder *folder,
               unsigned reader, uint64_t received, struct err *e)
{
    const char *const path = args->pcap;
    int fd = -1;
    int r = folder != NULL ? folder_connect(folder, reader, &fd, e) : open_file(path, &fd, e);

    if (r < 0)
        return r;
    if (folder != NULL)
        r = capture_folder_new(ret_capture, fd, path, received, args->follow, e);
    else if (args->follow)
        r = capture_followed_new(ret_capture, fd, path, received, e);
    else
        r = capture_file_new(ret_capture, fd, path, received, e);
    if (r < 0)
        (void)close(fd);
    return r;
}

void input_name(const char *path, char *to, size_t size)
{
    size_t end = strlen(path);

    while (end > 1 && path[end - 1] == '/')
        end--;
    size_t start = end;
    while (start > 0 && path[start - 1] != '/')
        start--;
    (void)snprintf(to, size, "%.*s", (int)(end - start), path + start);
}
