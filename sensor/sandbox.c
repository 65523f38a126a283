#include "sensor/sandbox.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <malloc.h>
#include <pwd.h>
#include <seccomp.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* What replay, live capture (libpcap's too), malloc and a clean end need. */
static const int allowed[] = {
    SCMP_SYS(read),
    SCMP_SYS(pread64),
    SCMP_SYS(readv),
    SCMP_SYS(write),
    SCMP_SYS(writev),
    SCMP_SYS(close),
    SCMP_SYS(fstat),
    SCMP_SYS(lseek),
    SCMP_SYS(munmap),
    SCMP_SYS(mremap),
    SCMP_SYS(madvise),
    SCMP_SYS(brk),
    SCMP_SYS(futex),
    SCMP_SYS(clock_gettime),
    SCMP_SYS(clock_nanosleep),
    SCMP_SYS(nanosleep),
    SCMP_SYS(gettimeofday),
    SCMP_SYS(poll),
    SCMP_SYS(ppoll),
    SCMP_SYS(recvfrom),
    SCMP_SYS(recvmsg),
    SCMP_SYS(getsockopt),
    SCMP_SYS(getsockname),
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigaction),
    SCMP_SYS(sigaltstack),
    SCMP_SYS(getpid),
    SCMP_SYS(gettid),
    SCMP_SYS(sched_yield),
    SCMP_SYS(sched_getaffinity), /* malloc, when a second thread first uses it */
    SCMP_SYS(restart_syscall),
    SCMP_SYS(getrandom),
    SCMP_SYS(set_robust_list),
    SCMP_SYS(rseq),
    SCMP_SYS(membarrier),
#ifdef WIND_SANITIZED /* what the sanitizers' reports and shadow memory need */
    SCMP_SYS(openat),
    SCMP_SYS(readlink),
    SCMP_SYS(prlimit64),
    SCMP_SYS(getrlimit),
    SCMP_SYS(newfstatat),
    SCMP_SYS(mmap),
    SCMP_SYS(mprotect),
    SCMP_SYS(getppid),
    SCMP_SYS(uname),
    SCMP_SYS(ioctl),
    SCMP_SYS(prctl),
#endif
};

static int allow_memory(scmp_filter_ctx filter)
{
    const struct scmp_arg_cmp not_executable = SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0);

#ifdef WIND_SANITIZED
    (void)not_executable;
    (void)filter;
    return 0;
#else
    const int r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1, not_executable);
    return r < 0 ? r
                 : seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1, not_executable);
#endif
}

/* abort() ends the process by tgkill; nobody else is to be ended. */
static int allow_own_signals(scmp_filter_ctx filter)
{
    const struct scmp_arg_cmp ourselves = SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid(), 0);

    return seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1, ourselves);
}

/*
 * Before it gives memory back at the top of a heap that isn't the first thread's, malloc would ask
 * /proc how memory is accounted. So it keeps it: what was needed once is needed again.
 */
static void keep_memory(void)
{
    (void)mallopt(M_TRIM_THRESHOLD, -1);
}

int sandbox_close_calls(struct err *e)
{
    keep_memory();
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
    int r = filter == NULL ? -ENOMEM : seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);

    for (size_t i = 0; r == 0 && i < WIND_ARRAY_SIZE(allowed); i++)
        r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, allowed[i], 0);
    if (r == 0)
        r = allow_memory(filter);
    if (r == 0)
        r = allow_own_signals(filter);
    if (r == 0)
        r = seccomp_load(filter);
    if (filter != NULL)
        seccomp_release(filter);
    return r < 0 ? err_set(e, r, "sandbox: seccomp: %s", strerror(-r)) : 0;
}

/* A ruleset without a rule: no path can be opened, whatever seccomp lets through. */
static int forbid_files(struct err *e)
{
    const struct landlock_ruleset_attr everything = {.handled_access_fs =
                                                         (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1};
    const int fd = (int)syscall(SYS_landlock_create_ruleset, &everything, sizeof(everything), 0);

    if (fd < 0 && (errno == ENOSYS || errno == EOPNOTSUPP))
        return 0; /* a kernel without Landlock: seccomp has to do */
    if (fd < 0)
        return err_set(e, -errno, "sandbox: Landlock: %s", strerror(errno));
    const int r = (int)syscall(SYS_landlock_restrict_self, fd, 0);
    const int code = errno;
    (void)close(fd);
    return r < 0 ? err_set(e, -code, "sandbox: Landlock: %s", strerror(code)) : 0;
}

int sandbox_close_files(struct err *e)
{
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return err_set(e, -errno, "sandbox: no_new_privs: %s", strerror(errno));
#ifdef WIND_SANITIZED /* reports read /proc/self/maps */
    (void)forbid_files;
    return 0;
#else
    return forbid_files(e);
#endif
}

int sandbox_identity(const char *user, const char *group, uid_t *ret_uid, gid_t *ret_gid,
                     struct err *e)
{
    const struct passwd *pw = user != NULL ? getpwnam(user) : NULL;
    const struct group *gr = group != NULL ? getgrnam(group) : NULL;

    if (user != NULL && pw == NULL)
        return err_set(e, -ENOENT, "--user: there is no user '%s'", user);
    if (group != NULL && gr == NULL)
        return err_set(e, -ENOENT, "--group: there is no group '%s'", group);
    *ret_uid = pw != NULL ? pw->pw_uid : geteuid();
    *ret_gid = gr != NULL ? gr->gr_gid : pw != NULL ? pw->pw_gid : getegid();
    return 0;
}

int sandbox_drop(const char *user, const char *group, struct err *e)
{
    uid_t uid = (uid_t)-1;
    gid_t gid = (gid_t)-1;
    const int r = sandbox_identity(user, group, &uid, &gid, e);

    if (r < 0 || (user == NULL && group == NULL))
        return r;
    if (setgroups(0, NULL) != 0 || setgid(gid) != 0 || (user != NULL && setuid(uid) != 0))
        return err_set(e, -errno, "can't become user '%s': %s", user != NULL ? user : "(same)",
                       strerror(errno));
    return 0;
}

int sandbox_drop_capabilities(uint64_t keep, struct err *e)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct sets[2];

    if (syscall(SYS_capget, &head, sets) != 0)
        return err_set(e, -errno, "capabilities: %s", strerror(errno));
    for (unsigned i = 0; i < 2; i++) {
        sets[i].effective &= (uint32_t)(keep >> (32 * i));
        sets[i].permitted &= (uint32_t)(keep >> (32 * i));
        sets[i].inheritable = 0; /* takes the ambient ones along */
    }
    if (syscall(SYS_capset, &head, sets) != 0)
        return err_set(e, -errno, "capabilities: %s", strerror(errno));
    return 0;
}
