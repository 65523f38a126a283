#include <criterion/criterion.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/ring.h"
#include "sensor/sandbox.h"
#include "support/child.h"

/* Each forbidden thing is tried in a child of its own, behind the closed door. */
static int status_of(void (*attempt)(void))
{
    int status = 0;
    const pid_t pid = child_fork();
    if (pid == 0) {
        if (sandbox_close_files(NULL) != 0 || sandbox_close_calls(NULL) != 0)
            _exit(99);
        attempt();
        _exit(0);
    }
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    return status;
}

static void dies(void (*attempt)(void), const char *what)
{
    const int status = status_of(attempt);

    cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS, "%s: %#x", what, status);
}
#define DIES(attempt) dies(attempt, #attempt)

static void socket_inet(void)
{
    (void)socket(AF_INET, SOCK_STREAM, 0);
}
static void socket_unix(void)
{
    (void)socket(AF_UNIX, SOCK_STREAM, 0);
}
static void execute(void)
{
    (void)execl("/bin/true", "true", NULL);
}
static void fork_a_child(void)
{
    (void)fork();
}
static void clone_a_child(void)
{
    (void)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
}
static void trace(void)
{
    (void)ptrace(PTRACE_TRACEME, 0, NULL, NULL);
}
static void kill_a_process(void)
{
    (void)kill(getppid(), SIGTERM);
}
static void signal_a_thread_of_another(void)
{
    (void)syscall(SYS_tgkill, getppid(), getppid(), 0);
}
static void make_a_link(void)
{
    (void)symlink("/etc/passwd", "/tmp/wind-sandbox-link");
}
static void remove_a_file(void)
{
    (void)unlink("/tmp/wind-sandbox-none");
}
static void become_root(void)
{
    (void)setuid(0);
}

Test(sandbox, sockets_programs_and_processes_are_forbidden)
{
    DIES(socket_inet);
    DIES(socket_unix);
    DIES(execute);
    DIES(fork_a_child);
    DIES(clone_a_child);
    DIES(trace);
    DIES(kill_a_process);
    DIES(signal_a_thread_of_another);
    DIES(make_a_link);
    DIES(remove_a_file);
    DIES(become_root);
}

#ifndef WIND_SANITIZED /* the sanitizers' reports need these */
static void open_a_file(void)
{
    (void)open("/etc/passwd", O_RDONLY);
}
static void make_a_file(void)
{
    (void)open("/tmp/wind-sandbox-file", O_CREAT | O_WRONLY, 0600);
}
static void executable_mmap(void)
{
    (void)mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}
static void executable_mprotect(void)
{
    static char page[8192];
    char *at = (char *)(((uintptr_t)page + 4095) & ~(uintptr_t)4095);

    (void)mprotect(at, 4096, PROT_READ | PROT_WRITE | PROT_EXEC);
}
static void *nothing(void *arg)
{
    return arg;
}
static void start_a_thread(void)
{
    pthread_t thread;

    (void)pthread_create(&thread, NULL, nothing, NULL);
}

Test(sandbox, files_code_and_threads_are_forbidden)
{
    DIES(open_a_file);
    DIES(make_a_file);
    DIES(executable_mmap);
    DIES(executable_mprotect);
    DIES(start_a_thread);
}

/* Landlock by itself, where the kernel has it: files stay shut although open may be called. */
Test(sandbox, its_first_step_shuts_every_path)
{
    const int version =
        (int)syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    int status = 0;

    if (version < 1)
        cr_skip_test("no Landlock in this kernel");
    const pid_t pid = child_fork();
    if (pid == 0) {
        if (sandbox_close_files(NULL) != 0)
            _exit(1);
        _exit(open("/etc/passwd", O_RDONLY) < 0 &&
                      open("/tmp/wind-sandbox-file", O_CREAT | O_WRONLY, 0600) < 0
                  ? 0
                  : 2);
    }
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%#x", status);
}
#endif

/* ---------------------------------------------------------------- what must go on working */

static struct {
    int in, out;
    struct ring *ring;
} open_before;

static void work(void)
{
    static char buffer[100];
    const struct timespec moment = {.tv_nsec = 1000};
    struct timespec now;

    for (size_t n = 16; n < 64 << 20; n *= 2) { /* malloc of all sizes: brk, mmap, mremap */
        char *p = malloc(n);
        if (p == NULL || (p = realloc(p, 2 * n)) == NULL)
            _exit(1);
        p[2 * n - 1] = 1;
        free(p);
    }
    if (read(open_before.in, buffer, sizeof(buffer)) <= 0 || write(open_before.out, "x", 1) != 1)
        _exit(2);
    if (ring_reserve(open_before.ring, 100) == NULL)
        _exit(3);
    ring_commit(open_before.ring);
    ring_wait_room(open_before.ring, 1);
    if (clock_nanosleep(CLOCK_MONOTONIC, 0, &moment, NULL) != 0 ||
        clock_gettime(CLOCK_REALTIME, &now) != 0)
        _exit(4);
}

Test(sandbox, memory_clocks_the_ring_and_what_was_open_go_on_working)
{
    open_before.in = open("/etc/passwd", O_RDONLY);
    open_before.out = open("/dev/null", O_WRONLY);
    cr_assert(open_before.in >= 0 && open_before.out >= 0);
    cr_assert_eq(ring_new(&open_before.ring, 65536, 1, NULL), 0);
    const int status = status_of(work);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%#x", status);
    open_before.ring = ring_free(open_before.ring);
}

/* ---------------------------------------------------------------- threads made before it */

static _Atomic int is_shut;

static void *open_a_socket_later(void *arg)
{
    while (!is_shut)
        (void)sched_yield();
    free(malloc(100000)); /* its own arena: a second thread's first use of malloc */
    (void)socket(AF_INET, SOCK_STREAM, 0);
    return arg;
}

Test(sandbox, threads_made_before_its_last_step_are_inside_too)
{
    int status = 0;
    const pid_t pid = child_fork();
    if (pid == 0) {
        pthread_t thread;
        if (sandbox_close_files(NULL) != 0 ||
            pthread_create(&thread, NULL, open_a_socket_later, NULL) != 0 ||
            sandbox_close_calls(NULL) != 0)
            _exit(99);
        is_shut = 1;
        (void)pthread_join(thread, NULL);
        _exit(0);
    }
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS, "%#x", status);
}

/* What a worker gives back of an arena that is not the first thread's, some megabytes at its top.
 */
static void *free_much(void *arg)
{
    void *part[300];

    while (!is_shut)
        (void)sched_yield();
    for (int turn = 0; turn < 3; turn++) {
        for (size_t i = 0; i < WIND_ARRAY_SIZE(part); i++)
            part[i] = calloc(1, 100000);
        for (size_t i = WIND_ARRAY_SIZE(part); i-- > 0;)
            free(part[i]);
    }
    return arg;
}

Test(sandbox, a_thread_may_give_memory_back)
{
    const pid_t child = child_fork();

    if (child == 0) {
        pthread_t thread;
        if (sandbox_close_files(NULL) < 0 || pthread_create(&thread, NULL, free_much, NULL) != 0 ||
            sandbox_close_calls(NULL) < 0)
            _exit(1);
        is_shut = 1;
        _exit(pthread_join(thread, NULL) == 0 ? 0 : 2);
    }
    cr_assert_eq(child_end(child), 0);
}

Test(sandbox, an_unknown_user_or_group_is_named)
{
    struct err e = {0};

    cr_assert_lt(sandbox_drop("no-such-user", NULL, &e), 0);
    cr_assert_str_eq(e.text, "--user: there is no user 'no-such-user'");
    cr_assert_lt(sandbox_drop(NULL, "no-such-group", &e), 0);
    cr_assert_str_eq(e.text, "--group: there is no group 'no-such-group'");
    cr_assert_eq(sandbox_drop(NULL, NULL, &e), 0);
}

static int drop_to_nobody(void)
{
    if (sandbox_drop("nobody", NULL, NULL) != 0)
        return 1;
    return getuid() != 0 && geteuid() != 0 && getgid() != 0 && getgroups(0, NULL) == 0 &&
                   setuid(0) != 0
               ? 0
               : 2;
}

Test(sandbox, a_user_is_become_for_good)
{
    int status = 0;

    if (getuid() != 0)
        cr_skip_test("needs root");
    const pid_t pid = child_fork();
    if (pid == 0)
        _exit(drop_to_nobody());
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%#x", status);
}
