/*
 * child.h - fork in a test, safely.
 *
 * Why      Criterion's messages run on a thread of their own in every test. What that thread has
 *          locked when the test forks stays locked in the child for ever (ASan's allocator, for
 *          one, has no handlers for fork): so fork only while all other threads sleep.
 * Bounds   A child never outlives its test: a leaked one would keep ctest's pipe open.
 */
#pragma once

#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static inline bool child_is_asleep(const char *thread)
{
    char path[64], line[256] = "";

    (void)snprintf(path, sizeof(path), "/proc/self/task/%.20s/stat", thread);
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return true; /* it has ended */
    const bool is_read = fgets(line, sizeof(line), f) != NULL;
    (void)fclose(f);
    const char *name_end = strrchr(line, ')');
    return !is_read || (name_end != NULL && strncmp(name_end, ") S", 3) == 0);
}

static inline bool child_others_sleep(void)
{
    DIR *threads = opendir("/proc/self/task");
    const struct dirent *thread;
    bool sleep = true;

    cr_assert(threads != NULL);
    while ((thread = readdir(threads)) != NULL)
        if (thread->d_name[0] != '.' && atoi(thread->d_name) != gettid())
            sleep = sleep && child_is_asleep(thread->d_name);
    (void)closedir(threads);
    return sleep;
}

/* Like fork(). Only from the test's own thread, and not while threads of the test work. */
static inline pid_t child_fork(void)
{
    const pid_t parent = getpid();

    while (!child_others_sleep()) /* the test's time limit ends this */
        (void)usleep(100);
    const pid_t pid = fork();
    if (pid == 0 && (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent))
        _exit(98);
    if (pid < 0)
        cr_assert_fail("fork: %s", strerror(errno));
    return pid;
}

/* Waits for its end: the exit code, or minus the signal. */
static inline int child_end(pid_t pid)
{
    int status = -1;

    cr_assert_eq(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}
