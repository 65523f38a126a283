#include "models/train_rows.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define ROWS_MAGIC "# wind-rows "

/* 1: feature rows; 0: something else, so a capture; < 0: cannot be read. */
static int is_rows(const char *path, struct err *e)
{
    char start[sizeof(ROWS_MAGIC)] = "";
    FILE *f = fopen(path, "re");

    if (f == NULL)
        return err_set(e, -errno, "%s: %s", path, strerror(errno));
    const size_t n = fread(start, 1, sizeof(start) - 1, f);
    const int failed = ferror(f);
    (void)fclose(f);
    if (failed)
        return err_set(e, -EIO, "%s: cannot read it", path);
    return n == sizeof(start) - 1 && memcmp(start, ROWS_MAGIC, n) == 0;
}

static int sensor_path(const char *given, char *ret_path, size_t size, struct err *e)
{
    if (given != NULL) {
        if (strlen(given) >= size)
            return err_set(e, -ENAMETOOLONG, "the path of wind-sensor is too long");
        memcpy(ret_path, given, strlen(given) + 1);
        return 0;
    }
    const ssize_t n = readlink("/proc/self/exe", ret_path, size - sizeof("wind-sensor"));
    if (n < 0)
        return err_set(e, -errno, "cannot tell where this program is: %s", strerror(errno));
    ret_path[n] = '\0';
    char *slash = strrchr(ret_path, '/');
    memcpy(slash != NULL ? slash + 1 : ret_path, "wind-sensor", sizeof("wind-sensor"));
    return 0;
}

/* Whatever it writes goes into `dir`; its words to our standard error. */
static int run_sensor(const char *sensor, const char *capture, const char *dir, const char *out,
                      struct err *e)
{
    char *argv[] = {strdup(sensor),       strdup("-r"), strdup(capture),
                    strdup("--features"), strdup(out),  strdup("-l"),
                    strdup(dir),          strdup("-q"), NULL};
    posix_spawn_file_actions_t actions;
    pid_t pid = 0;
    int status = 0;

    (void)posix_spawn_file_actions_init(&actions);
    (void)posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO, STDOUT_FILENO);
    int r = -posix_spawn(&pid, sensor, &actions, NULL, argv, environ);
    (void)posix_spawn_file_actions_destroy(&actions);
    for (size_t i = 0; i + 1 < WIND_ARRAY_SIZE(argv); i++)
        free(argv[i]);
    if (r < 0)
        return err_set(e, r, "%s: cannot run %s: %s", capture, sensor, strerror(-r));
    while ((r = waitpid(pid, &status, 0)) < 0 && errno == EINTR)
        ;
    if (r < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
        return err_set(e, -EINVAL, "%s: wind-sensor could not make rows of it (%s %d)", capture,
                       WIFSIGNALED(status) ? "signal" : "exit code",
                       WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    return 0;
}

/* A folder that holds only files. */
static void remove_folder(const char *path)
{
    DIR *dir = opendir(path);
    const struct dirent *item;

    while (dir != NULL && (item = readdir(dir)) != NULL)
        (void)unlinkat(dirfd(dir), item->d_name, 0);
    if (dir != NULL)
        (void)closedir(dir);
    (void)rmdir(path);
}

int train_rows_read(struct dataset *d, const char *path, const char *label, const char *sensor,
                    struct err *e)
{
    char program[PATH_MAX], dir[] = "/tmp/wind-train-XXXXXX", rows[sizeof(dir) + 16];

    int r = is_rows(path, e);
    if (r < 0)
        return r;
    if (r > 0)
        return dataset_read(d, path, path, label, e);

    r = sensor_path(sensor, program, sizeof(program), e);
    if (r < 0)
        return r;
    if (mkdtemp(dir) == NULL)
        return err_set(e, -errno, "cannot make a folder in /tmp: %s", strerror(errno));
    (void)snprintf(rows, sizeof(rows), "%s/rows.csv", dir);
    r = run_sensor(program, path, dir, rows, e);
    if (r == 0)
        r = dataset_read(d, rows, path, label, e);
    remove_folder(dir);
    return r;
}
