#include "sensor/child.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "sensor/sandbox.h"

/* Ctrl-C and a closed terminal reach the whole group: the supervisor decides what they mean. */
static void leave_signals(void)
{
    sigset_t none;

    (void)signal(SIGHUP, SIG_IGN);
    (void)signal(SIGINT, SIG_IGN);
    (void)signal(SIGTERM, SIG_IGN);
    (void)signal(SIGUSR1, SIG_IGN);
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

int child_begin(const struct child *c, struct err *e)
{
    (void)prctl(PR_SET_NAME, c->name);
    leave_signals();
    int r = sandbox_drop(c->user, c->group, e);
    if (r == 0)
        r = sandbox_drop_capabilities(c->capabilities, e);
    if (r == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        r = err_set(e, -errno, "no_new_privs: %s", strerror(errno));
    if (r < 0)
        return r;
    /* Last: the kernel forgets it whenever the user changes. Then look: it may be too late. */
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    return getppid() == c->parent ? 0 : err_set(e, -EIO, "the supervisor is gone");
}
